package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/lonng/nano"
	"github.com/lonng/nano/lua"
	"github.com/lonng/nano/nanotest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// view is what players see of the quiz.
type view struct {
	Version, Number, Of, Correct int
	Phase, Question              string
	Answers                      []string
	Left                         float64
	Players                      []struct {
		Name     string
		Score    int
		Answered bool
	}
}

// start starts a server with a copy of the scripts, which the test may edit.
func start(t *testing.T) (srv *nanotest.Server, script string) {
	t.Helper()
	script = filepath.Join(t.TempDir(), "quiz.lua")
	if err := copyScripts(filepath.Dir(script)); err != nil {
		t.Fatal(err)
	}
	return nanotest.Start(t, options(script, lua.WithTimeout(time.Minute))...), script
}

func join(t *testing.T, p *nanotest.Player, name string) (v view) {
	t.Helper()
	if err := p.Request(t.Context(), "quiz.join", map[string]string{"name": name}, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// latest returns the last view that a player got.
func latest(t *testing.T, p *nanotest.Player) (v view) {
	t.Helper()
	synctest.Wait()
	list := p.Pushes("onQuiz")
	if len(list) == 0 {
		t.Fatal("the player got no view")
	}
	if err := list[len(list)-1].Decode(&v); err != nil {
		t.Fatal(err)
	}
	return v
}

func choose(t *testing.T, p *nanotest.Player, question, choice int) error {
	t.Helper()
	return p.Request(t.Context(), "quiz.choose", map[string]int{"question": question, "choice": choice}, nil)
}

func code(err error) string {
	if e, ok := errors.AsType[*nano.Error](err); ok {
		return e.Code
	}
	return ""
}

// edit replaces a text in a file of the quiz.
func edit(t *testing.T, file, old, changed string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(data), old) {
		t.Fatalf("%s does not contain %q", file, old)
	}
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(data), old, changed)), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestQuiz(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := start(t)
		ann, bob := srv.Connect(t), srv.Connect(t)
		v := join(t, ann, " Ann ")
		if v.Phase != "question" || v.Number != 1 || v.Of < 5 || len(v.Answers) != 4 || v.Correct != 0 || v.Left != 15 || v.Players[0].Name != "Ann" {
			t.Fatalf("the first view = %+v, want question 1 for Ann", v)
		}
		join(t, bob, "Bob")
		if got := latest(t, ann); len(got.Players) != 2 {
			t.Errorf("%d players, want 2", len(got.Players))
		}
		time.Sleep(3 * time.Second)
		if err := choose(t, ann, 1, 2); err != nil { // Jupiter
			t.Fatal(err)
		}
		if got := latest(t, bob); got.Phase != "question" || !got.Players[0].Answered || got.Players[1].Answered || got.Correct != 0 {
			t.Errorf("view after an answer = %+v, want Ann's answer and no solution", got)
		}
		for want, err := range map[string]error{
			"QUIZ-CHOSEN": choose(t, ann, 1, 3),
			"QUIZ-CHOICE": choose(t, bob, 1, 5),
			"QUIZ-LATE":   choose(t, bob, 2, 1),
			"QUIZ-JOINED": ann.Request(t.Context(), "quiz.join", map[string]string{"name": "Eve"}, nil),
			"QUIZ-JOIN":   choose(t, srv.Connect(t), 1, 1),
			"QUIZ-NAME":   srv.Connect(t).Request(t.Context(), "quiz.join", map[string]int{"name": 5}, nil),
			"NANO-404":    ann.Request(t.Context(), "quiz._reveal", nil, nil),
		} {
			if code(err) != want {
				t.Errorf("err = %v, want %s", err, want)
			}
		}
		if err := choose(t, bob, 1, 1); err != nil {
			t.Fatal(err)
		}
		if got := latest(t, bob); got.Phase != "answer" || got.Correct != 2 || got.Players[0].Score != 180 || got.Players[1].Score != 0 {
			t.Errorf("view when all have chosen = %+v, want 180 points for Ann", got)
		}
		time.Sleep(6 * time.Second)
		if got := latest(t, bob); got.Phase != "question" || got.Number != 2 || got.Players[0].Answered {
			t.Errorf("view after the pause = %+v, want question 2", got)
		}
		time.Sleep(15 * time.Second) // nobody answers
		if got := latest(t, bob); got.Phase != "answer" || got.Players[0].Score != 180 {
			t.Errorf("view at the end of the time = %+v, want the answer", got)
		}
		if err := ann.Close(); err != nil {
			t.Fatal(err)
		}
		if got := latest(t, bob); len(got.Players) != 1 || got.Players[0].Name != "Bob" {
			t.Errorf("players = %+v after Ann has left, want Bob", got.Players)
		}
	})
}

// TestEdit changes the script while people play: the scores, the question and its timer go on.
func TestEdit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, script := start(t)
		ann := srv.Connect(t)
		join(t, ann, "Ann")
		if err := choose(t, ann, 1, 2); err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Second) // question 2
		time.Sleep(5 * time.Second)
		edit(t, script, "local POINTS = 100", "local POINTS = 500")
		edit(t, filepath.Join(filepath.Dir(script), "questions.lua"), "How many bits has a byte?", "How many bits are in a byte?")
		time.Sleep(time.Second)
		got := latest(t, ann)
		if got.Version != 2 || got.Phase != "question" || got.Question != "How many bits are in a byte?" || got.Left > 10 || got.Players[0].Score != 200 {
			t.Errorf("view of the new version = %+v, want the new text in the same question", got)
		}
		edit(t, script, "local PAUSE = 6", "local PAUSE = = 6") // an error keeps version 2
		time.Sleep(time.Second)
		if st := srv.Stats().Scripts[0]; st.Version != 2 || st.ReloadsFailed != 1 {
			t.Errorf("script = %+v, want version 2 after a reload with an error", st)
		}
		edit(t, script, "local PAUSE = = 6", "local PAUSE = 2")
		time.Sleep(time.Second)
		if err := choose(t, ann, 2, 3); err != nil {
			t.Fatal(err)
		}
		if got := latest(t, ann); got.Version != 3 || got.Phase != "answer" || got.Players[0].Score <= 700 {
			t.Errorf("view = %+v, want the points of the new version on top of 200", got)
		}
		time.Sleep(2 * time.Second)
		if got := latest(t, ann); got.Number != 3 {
			t.Errorf("view = %+v, want question 3 after the new pause", got)
		}
	})
}

// TestQuestions checks that each question has four answers, and a correct one.
func TestQuestions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv, _ := start(t)
		ann := srv.Connect(t)
		v := join(t, ann, "Ann")
		for n := range v.Of {
			time.Sleep(15 * time.Second)
			got := latest(t, ann)
			if got.Number != n+1 || len(got.Answers) != 4 || got.Correct < 1 || got.Correct > 4 || got.Question == "" {
				t.Errorf("question %d = %+v", n+1, got)
			}
			time.Sleep(6 * time.Second)
		}
		if got := latest(t, ann); got.Number != 1 {
			t.Errorf("question %d follows the last one, want 1", got.Number)
		}
	})
}

// TestFind checks which script the program uses.
func TestFind(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("TMPDIR", t.TempDir())
	copied, err := find()
	if err != nil {
		t.Fatal(err)
	}
	srv := nano.New(options(copied, lua.WithPoll(0))...)
	if err := srv.Start(); err != nil {
		t.Errorf("Start with the copy = %v", err)
	}
	if err := srv.Shutdown(context.Background()); err != nil {
		t.Error(err)
	}
	if err := copyScripts(filepath.FromSlash(source)); err != nil {
		t.Fatal(err)
	}
	if file, err := find(); err != nil || file != filepath.Join(filepath.FromSlash(source), "quiz.lua") {
		t.Errorf("find() = %s, %v, want the script of the repository", file, err)
	}
}

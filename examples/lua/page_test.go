package main

import (
	"net/http"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/lonng/nano"
	"github.com/lonng/nano/examples/internal/browsertest"
	"github.com/lonng/nano/examples/internal/site"
)

// Two players answer a question in the browser, and the script changes meanwhile.
func TestPage(t *testing.T) {
	ann := browsertest.Start(t)
	script := filepath.Join(t.TempDir(), "quiz.lua")
	if err := copyScripts(filepath.Dir(script)); err != nil {
		t.Fatal(err)
	}
	edit(t, script, "local PAUSE = 6", "local PAUSE = 600")
	edit(t, script, "local ANSWER_TIME = 15", "local ANSWER_TIME = 1000000") // any answer counts as a fast one
	mux := http.NewServeMux()
	site.Handle(mux, web)
	addr := browsertest.Serve(t, nano.New(append(options(script), nano.WithWebSocket("/nano"), nano.WithHTTPHandler(mux))...))
	bob, closeBob := ann.Tab()
	for name, p := range map[string]*browsertest.Page{"Ann": ann, "Bob": bob} {
		p.Do("opening the page", chromedp.Navigate("http://"+addr+"/"))
		p.Fits("quiz-welcome", 390)
		p.Shows("#state", "Connected")
		p.Type("#name", name)
		p.Click("#welcome button")
		p.Shows("#question", "Which planet is the largest?")
	}
	ann.Shows("#players", "Bob")
	// Ann answers while Bob holds the mouse button. His click counts.
	bob.Mouse("mousePressed", "#answers button:nth-child(1)")
	ann.Click("#answers button:nth-child(2)") // Jupiter
	ann.Shows("#outcome", "Waiting for the others")
	bob.Shows("#players .mark", "✓")
	bob.Mouse("mouseReleased", "#answers button:nth-child(1)")
	bob.Shows("#outcome", "Wrong")
	ann.Shows("#outcome", "Correct")
	ann.Shows("#players .gained", "+200")
	ann.Fits("quiz", 390)
	ann.Fits("quiz", 1000)

	edit(t, filepath.Join(filepath.Dir(script), "questions.lua"), "Which planet is the largest?", "Which planet is the heaviest?")
	ann.Shows("#version", "script 2")
	ann.Shows("#question", "heaviest")
	ann.Shows("#players .score", "200")
	closeBob()
	ann.Until("document.querySelectorAll('#players li').length === 1")
}

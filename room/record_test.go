package room_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lonng/nano"
	croom "github.com/lonng/nano/client/room"
	"github.com/lonng/nano/nanotest"
	"github.com/lonng/nano/room"
	"github.com/lonng/nano/serialize/json"
	"github.com/lonng/nano/state"
)

// replayed reads a recording to its end, and returns the values at a path by tick.
func replayed(t *testing.T, file string, path ...string) (p *state.Replay, values map[uint64]string) {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if p, err = state.NewReplay(f); err != nil {
		t.Fatal(err)
	}
	values = map[uint64]string{}
	for {
		if err = p.Next(); err != nil {
			break
		}
		v, _ := p.Get(path...)
		values[p.Tick()] = fmt.Sprint(v)
	}
	if !errors.Is(err, io.EOF) {
		t.Fatalf("Next = %v, want io.EOF", err)
	}
	return p, values
}

// TestRecord records a room to a file, and compares the replay with what a player saw.
func TestRecord(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		dir := t.TempDir()
		srv, kind := newRace(t, room.Record(func(i room.Info) (io.WriteCloser, error) {
			return os.Create(filepath.Join(dir, i.Kind+"."+i.ID))
		}))
		_, r := race(t, srv)
		seen := map[uint64]string{}
		time.Sleep(50 * time.Millisecond) // between two ticks
		for range 250 {
			time.Sleep(100 * time.Millisecond)
			if tick, _ := r.Tick(); tick > 0 {
				seen[tick] = get(r, "dice")
			}
		}
		if err := kind.Do(t.Context(), r.ID(), func(r *Race) { r.Close("over") }); err != nil {
			t.Fatal(err)
		}
		p, values := replayed(t, filepath.Join(dir, "race."+r.ID()), "dice")
		if p.Meta()["id"] != r.ID() || p.Meta()["kind"] != "race" {
			t.Errorf("Meta = %v, want the id and the kind of the room", p.Meta())
		}
		if d := p.At(); d < 24*time.Second || d > 26*time.Second {
			t.Errorf("the recording ends after %v, want 25s", d)
		}
		if len(seen) < 240 {
			t.Fatalf("the player saw %d ticks", len(seen))
		}
		for tick, dice := range seen {
			if values[tick] != dice {
				t.Errorf("tick %d: the recording has %s, the player saw %s", tick, values[tick], dice)
			}
		}
	})
}

// Cards is a room without a tick rate.
type Cards struct {
	room.Base[struct{ Top int }]
}

func (c *Cards) Play(_ *room.Player, card *struct{ Card int }) { c.State.Top = card.Card }

// TestRecordWithoutTicks checks that the file has each state at once, although the next one may be long in coming.
func TestRecordWithoutTicks(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "cards")
		kind := room.Define[Cards]("cards", room.Schedulers(schedulers),
			room.Record(func(room.Info) (io.WriteCloser, error) { return os.Create(file) }))
		srv := nanotest.Start(t, kind.Option(), nano.WithSerializer(json.NewSerializer()))
		p := srv.Connect(t)
		r, err := croom.JoinOrCreate(t.Context(), p.Client, "cards", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		for card := range 3 {
			if err := r.Send("Play", map[string]any{"Card": card + 1}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			replay, err := state.NewReplay(bytes.NewReader(b))
			if err != nil {
				t.Fatal(err)
			}
			for err == nil {
				err = replay.Next()
			}
			if top, _ := replay.Get("top"); top != int64(card+1) || !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("after card %d, the file ends with %v, %v", card+1, top, err)
			}
		}
	})
}

// faulty is a writer whose calls fail.
type faulty struct {
	writes int // that succeed
	panics bool
	closed int
}

func (f *faulty) Write(p []byte) (int, error) {
	if f.writes--; f.writes < 0 {
		if f.panics {
			panic("writer")
		}
		return 0, errors.New("disk full")
	}
	return len(p), nil
}

func (f *faulty) Close() error { f.closed++; return nil }

// TestRecordFails checks that a room continues without its recording.
func TestRecordFails(t *testing.T) {
	for _, test := range []struct {
		name   string
		open   func() (io.WriteCloser, error) // nil: a faulty writer
		faulty faulty
	}{
		{name: "open", open: func() (io.WriteCloser, error) { return nil, errors.New("no directory") }},
		{name: "open panics", open: func() (io.WriteCloser, error) { panic("open") }},
		{name: "no writer", open: func() (io.WriteCloser, error) { return nil, nil }},
		{name: "the head"},
		{name: "a state", faulty: faulty{writes: 2}},
		{name: "a panic", faulty: faulty{writes: 2, panics: true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				opened, w := 0, test.faulty
				srv, kind := newRace(t, room.Record(func(i room.Info) (io.WriteCloser, error) {
					if opened++; !strings.Contains(i.ID, "-") {
						t.Errorf("the room's id is %q", i.ID)
					}
					if test.open != nil {
						return test.open()
					}
					return &w, nil
				}))
				_, r := race(t, srv)
				time.Sleep(10 * time.Second)
				if n := get(r, "ticks"); n != "100" && n != "99" {
					t.Errorf("the room ran %s ticks in 10 s", n)
				}
				if err := kind.Do(t.Context(), r.ID(), func(r *Race) { r.Close("over") }); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if want := test.open == nil; opened != 1 || (w.closed == 1) != want {
					t.Errorf("opened %d times, and the writer was closed %d times", opened, w.closed)
				}
			})
		})
	}
}

// TestRecordShutdown checks that the file is whole after the server has shut down.
func TestRecordShutdown(t *testing.T) {
	inBubble(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "race")
		srv, _ := newRace(t, room.Record(func(room.Info) (io.WriteCloser, error) { return os.Create(file) }))
		race(t, srv)
		time.Sleep(3050 * time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		if _, values := replayed(t, file, "ticks"); len(values) < 30 {
			t.Errorf("the recording has %d states, want 30", len(values))
		}
	})
}

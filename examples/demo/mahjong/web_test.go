package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/lonng/nano"
	"github.com/lonng/nano/examples/demo/mahjong/rules"
	"github.com/lonng/nano/scheduler"
)

// wait is the time limit of each wait of a test.
const wait = 60 * time.Second

// site is a game on real sockets.
type site struct {
	app  *App
	addr string
}

func serveSite(t *testing.T, times Times) *site {
	t.Helper()
	store, err := OpenStore("")
	if err != nil {
		t.Fatal(err)
	}
	app := newApp(store, scheduler.New(), times, emptyTime)
	srv := nano.New(app.options()...)
	if err := srv.Start(); err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	handle(mux)
	mux.Handle("/nano", srv.WebSocketHandler())
	web := httptest.NewServer(mux)
	t.Cleanup(func() {
		// Players are still connected, so their rooms do not end without a shutdown.
		short, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		_ = srv.Shutdown(short) // fails if rooms have to be closed
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		web.CloseClientConnections()
		web.Close()
		if err := store.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return &site{app, web.Listener.Addr().String()}
}

// on runs f with the only table on the logic goroutine.
func (s *site) on(f func(*Table)) {
	done := make(chan struct{})
	s.app.sched.Invoke(func() {
		defer close(done)
		for _, t := range s.app.codes {
			f(t)
		}
	})
	<-done
}

// page is a browser tab.
type page struct {
	*testing.T
	ctx  context.Context
	size string // used in the names of screenshots
}

func openPage(t *testing.T, width, height int64) page {
	t.Helper()
	if testing.Short() {
		t.Skip("short mode: needs a browser")
	}
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if p, err := exec.LookPath(name); err == nil && path == "" {
			path = p
		}
	}
	if path == "" && os.Getenv("NANO_REQUIRE_BROWSER") != "" {
		t.Fatal("no Chromium on PATH, and NANO_REQUIRE_BROWSER is set")
	} else if path == "" {
		t.Skip("no Chromium on PATH")
	}
	flags := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU)
	for _, flag := range []string{"disable-quic", "no-first-run", "disable-background-networking", "disable-component-update", "disable-sync"} {
		flags = append(flags, chromedp.Flag(flag, true))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*wait)
	t.Cleanup(cancel)
	allocator, cancel := chromedp.NewExecAllocator(ctx, flags...)
	t.Cleanup(cancel)
	root, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	if err := chromedp.Do(root, chromedp.EmulateViewport(width, height)); err != nil {
		t.Fatalf("starting %s: %v", path, err)
	}
	return page{t, root, fmt.Sprint(width)}
}

func (p page) do(what string, actions ...chromedp.Action[chromedp.Void]) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, wait)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.shoot("failure")
		p.Fatalf("%s: %v", what, err)
	}
}

// until waits until an expression is true.
func (p page) until(expression string) {
	p.Helper()
	p.do("waiting for "+expression, chromedp.Poll[chromedp.Void](expression, chromedp.WithPollingInterval(50*time.Millisecond), chromedp.WithPollingTimeout(0)))
}

// click clicks elements in order, each as soon as it exists. The page may replace an
// element at any time, so one step finds and clicks it.
func (p page) click(selectors ...string) {
	p.Helper()
	for _, s := range selectors {
		p.until(fmt.Sprintf(`(() => { const e = document.querySelector(%q); if (!e || e.disabled || !e.offsetParent) return false; e.click(); return true; })()`, s))
	}
}

// read returns the value of a string expression.
func (p page) read(expression string) string {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, wait)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](expression))
	if err != nil {
		p.Fatalf("%s: %v", expression, err)
	}
	return text
}

// shoot saves a screenshot to the directory in MAHJONG_PICTURES, if it is set.
func (p page) shoot(name string) {
	dir := os.Getenv("MAHJONG_PICTURES")
	if dir == "" {
		return
	}
	ctx, cancel := context.WithTimeout(p.ctx, wait)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, name+"-"+p.size+".png"), png, 0o644)
	}
	if err != nil {
		p.Logf("%s: %v", name, err)
	}
}

// alone logs in and starts a hand with three bots.
func (p page) alone(addr string) {
	p.Helper()
	p.do("logging in",
		chromedp.Navigate("http://"+addr+"/"),
		chromedp.WaitVisible("#enter input"),
		chromedp.SetValue("#enter input", "Ann <b>"),
		chromedp.Click("#enter .primary"),
		chromedp.WaitVisible("#create"))
	p.shoot("lobby")
	p.click("#create > .primary")
	p.until(`document.querySelector("[data-action=fill]") !== null`)
	p.shoot("gathering")
	p.click("[data-action=fill]", "#claims [data-action=ready]")
	p.until(`document.querySelector("#table").dataset.stage === "1"`)
}

// player plays in the page as a person does, by clicking what the page offers.
const player = `
window.plays = 0;
window.playing = setInterval(() => {
  if (!document.querySelector("#panel").hidden) return;
  const click = (s) => { const e = document.querySelector(s); if (e && !e.disabled) { e.click(); window.plays++; return true; } };
  if (document.querySelector("#claims [data-action=give]")) {
    if (click("#claims [data-action=give]")) return;
    const tiles = [...document.querySelectorAll("#hand .can")];
    const suit = (e) => Math.floor(e.dataset.tile / 9);
    const three = [0, 1, 2].map((s) => tiles.filter((e) => suit(e) === s)).filter((l) => l.length >= 3).sort((a, b) => a.length - b.length)[0];
    const next = three.slice(0, 3).find((e) => !e.classList.contains("up"));
    if (next) next.click();
    return;
  }
  if (window.slow && Date.now() < window.slow) return;
  click("#claims .advised") || click("#claims .claim.win") || click("#claims .claim.kong") || click("#claims .claim.pong") || click("#claims .claim.pass") ||
    click("#hand .can.up") || click("#hand .can.drawn") || click("#hand .can:last-child") || click("#hand .can");
}, 60); ""`

// results reads the settlement on the page: the change of each seat.
const results = `JSON.stringify(Object.fromEntries([...document.querySelectorAll(".results > li")].map((li) => [li.dataset.seat, Number(li.querySelector(".change").dataset.change)])))`

func fast() Times {
	times := usual()
	times.Bot, times.Pause = 60*time.Millisecond, 60*time.Millisecond
	times.Next = 10 * time.Minute // the test reads the settlement first
	return times
}

// This test plays a whole hand with three bots by clicks. The settlement on the page
// equals the server's.
func TestHandInABrowser(t *testing.T) {
	for _, size := range []struct {
		name          string
		width, height int64
	}{{"phone", 390, 844}, {"desktop", 1280, 800}} {
		t.Run(size.name, func(t *testing.T) {
			s := serveSite(t, fast())
			p := openPage(t, size.width, size.height)
			p.alone(s.addr)
			p.shoot("exchange")
			p.read(player)
			p.until(`document.querySelectorAll(".pool .tile").length >= 24`)
			p.shoot("middle")
			p.until(`document.querySelectorAll(".pool .tile").length >= 44 || document.querySelector("#panel .settlement") !== null`)
			p.shoot("late")
			p.until(`document.querySelector("#panel .settlement") !== null`)
			p.shoot("settlement")
			p.read(`clearInterval(playing); ""`)
			var page map[string]int
			text := p.read(results)
			if err := json.Unmarshal([]byte(text), &page); err != nil {
				t.Fatal(err)
			}
			var server, scores []int
			s.on(func(table *Table) {
				server = table.hand.Totals()
				for i := range table.State.Seats {
					scores = append(scores, table.State.Seats[i].Score)
				}
			})
			for i, n := range server {
				if got, ok := page[fmt.Sprint(i)]; !ok || got != n || scores[i] != n {
					t.Errorf("seat %d: the page has %d, the table %d, the rules %d", i, got, scores[i], n)
				}
			}
			p.click("[data-action=put]")
			p.until(`document.querySelector("#panel").hidden`)
			p.shoot("after")
			p.click("[data-action=dissolve]", "#lobby [data-action=history]")
			p.until(`document.querySelector("#lobby [data-action=replay]") !== null`)
			p.shoot("history")
			p.click("#lobby [data-action=replay]")
			p.until(`document.querySelector("#at") !== null`)
			for range 40 {
				p.read(`document.querySelector("[data-action=next]").click(); ""`)
			}
			p.shoot("replay")
			p.read(`document.querySelector("#at").value = 1000; document.querySelector("#at").dispatchEvent(new Event("input", {bubbles: true})); ""`)
			if again := p.read(results); again != text {
				t.Errorf("the replay ends with %s, the hand with %s", again, text)
			}
			p.click("[data-action=put]", "[data-action=endReplay]", "[data-action=lobby]", "[data-action=language]")
			p.until(`document.documentElement.lang === "zh-CN"`)
			p.shoot("chinese")
			if overflow := p.read(`String(document.documentElement.scrollWidth - innerWidth)`); overflow != "0" {
				t.Errorf("the page is %s pixels wider than the window", overflow)
			}
			if markup := p.read(`String(document.querySelectorAll(".name b").length)`); markup != "0" {
				t.Error("a name has become markup")
			}
		})
	}
}

// gate is a proxy that can interrupt the network.
type gate struct {
	listener net.Listener
	mu       sync.Mutex
	cut      bool       // the network is interrupted; mu guards it and conns
	conns    []net.Conn // open connections
}

func (g *gate) serve(to string) {
	for {
		in, err := g.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", to)
		if err != nil {
			_ = in.Close()
			continue
		}
		g.mu.Lock()
		refuse := g.cut
		if !refuse {
			g.conns = append(g.conns, in, out)
		}
		g.mu.Unlock()
		if refuse {
			_, _ = in.Close(), out.Close()
			continue
		}
		for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
			go func() {
				_, _ = io.Copy(pair[0], pair[1])
				_, _ = pair[0].Close(), pair[1].Close()
			}()
		}
	}
}

// set interrupts or restores the network.
func (g *gate) set(cut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cut = cut
	for _, c := range g.conns {
		_ = c.Close()
	}
	g.conns = nil
}

// The network of the page is interrupted for 20 s during a hand. The page then resumes
// the same hand by itself.
func TestNetworkIsGone(t *testing.T) {
	times := usual()
	times.Turn, times.Claim = 90*time.Second, 30*time.Second // the hand waits for its player
	s := serveSite(t, times)
	p := openPage(t, 1280, 800)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	g := &gate{listener: l}
	go g.serve(s.addr)
	defer g.set(true)
	p.alone(l.Addr().String())
	p.read(player)
	p.until(`document.querySelector("#pool0 .tile") !== null && document.querySelector("#hand .can") !== null`)
	p.read(`clearInterval(playing); ""`)
	hand := `[...document.querySelectorAll("#hand .tile")].map((e) => e.dataset.tile).sort().join()`
	before, seat := p.read(hand), 0
	s.on(func(table *Table) {
		seat = slices.IndexFunc(table.State.Seats, func(s Seat) bool { return !s.Bot })
	})
	g.set(true)
	p.until(`!document.querySelector("#lost").hidden`)
	p.shoot("reconnecting")
	<-time.After(20 * time.Second)
	g.set(false)
	p.until(`document.querySelector("#lost").hidden`)
	p.until(`!document.querySelector(".plate .badge.away")`)
	var now Tiles
	number := 0
	s.on(func(table *Table) {
		number = table.State.Hand
		now = numbers(table.hand.View(seat).Hand)
		if table.hand.Phase == rules.Over {
			t.Error("the hand is over")
		}
	})
	if number != 1 {
		t.Errorf("hand %d, want the same one, 1", number)
	}
	var want []string
	for _, n := range now {
		want = append(want, fmt.Sprint(n))
	}
	slices.Sort(want)
	text, _ := json.Marshal(want)
	p.until(fmt.Sprintf(`%s === %s.join()`, hand, text))
	if got := p.read(hand); len(got) < len(before)-4 {
		t.Errorf("the hand is %s, and was %s", got, before)
	}
	p.do("playing on", chromedp.Evaluate[chromedp.Void](player))
	p.until(`document.querySelectorAll("#pool0 .tile").length > 1 || document.querySelector("#panel .settlement") !== null || document.querySelectorAll("#melds .meld").length > 0`)
}

// Package browsertest opens the pages of the examples in a browser.
package browsertest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/lonng/nano"
)

// wait is the longest time that a test waits for one event.
const wait = time.Minute

// Page is a tab of a browser.
type Page struct {
	testing.TB
	ctx context.Context
}

// Start starts a browser and returns its first tab. The end of the test stops the
// browser. Start skips the test in short mode. It also skips it without Chromium, unless
// NANO_REQUIRE_BROWSER is set.
func Start(t testing.TB) *Page {
	t.Helper()
	flags := append(chromedp.DefaultExecAllocatorOptions[:], // headless, with its own user-data-dir
		chromedp.ExecPath(find(t)), chromedp.NoSandbox, chromedp.DisableGPU)
	for _, flag := range []string{"disable-quic", "no-first-run", "disable-background-networking", "disable-component-update", "disable-sync"} {
		flags = append(flags, chromedp.Flag(flag, true))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 8*wait)
	t.Cleanup(cancel)
	allocator, cancel := chromedp.NewExecAllocator(ctx, flags...)
	t.Cleanup(cancel)
	// The browser stops when the context that started it ends, so this context must
	// outlast one wait.
	root, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	if err := chromedp.Do(root); err != nil {
		t.Fatalf("starting a browser: %v", err)
	}
	return &Page{t, root}
}

// Context returns the context of the tab, for actions that Do does not support.
func (p *Page) Context() context.Context { return p.ctx }

// Tab opens another tab, which shares no state with the first one. The caller may close
// it before the test ends.
func (p *Page) Tab() (tab *Page, closeTab func()) {
	p.Helper()
	ctx, cancel := chromedp.NewContext(p.ctx, chromedp.WithNewBrowserContext())
	p.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		p.Fatalf("opening a tab: %v", err)
	}
	return &Page{p.TB, ctx}, cancel
}

// Open starts a browser with the page at url.
func Open(t testing.TB, url string) *Page {
	t.Helper()
	p := Start(t)
	p.Do("opening "+url, chromedp.Navigate(url))
	return p
}

// find returns the path of the Chromium program.
func find(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("short mode: needs a browser")
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("NANO_REQUIRE_BROWSER") != "" {
		t.Fatal("no Chromium on PATH, and NANO_REQUIRE_BROWSER is set")
	}
	t.Skip("no Chromium on PATH")
	return ""
}

// Do runs actions. If one fails, Do ends the test and reports what.
func (p *Page) Do(what string, actions ...chromedp.Action[chromedp.Void]) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, wait)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.Fatalf("%s: %v", what, err)
	}
}

// Shows waits until the element that selector finds contains text.
func (p *Page) Shows(selector, text string) {
	p.Helper()
	found := fmt.Sprintf("[...document.querySelectorAll(%q)].some((e) => e.textContent.includes(%q))", selector, text)
	p.Do(fmt.Sprintf("waiting for %q in %s", text, selector),
		chromedp.Poll[chromedp.Void](found, chromedp.WithPollingMutation(), chromedp.WithPollingTimeout(0)))
}

// Until waits until a JavaScript expression is true. It polls, because some changes do not mutate the page.
func (p *Page) Until(expression string) {
	p.Helper()
	p.Do("waiting for "+expression, chromedp.Poll[chromedp.Void](expression,
		chromedp.WithPollingInterval(50*time.Millisecond), chromedp.WithPollingTimeout(0)))
}

// Text returns what a JavaScript expression evaluates to.
func (p *Page) Text(expression string) string {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, wait)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](expression))
	if err != nil {
		p.Fatalf("%s: %v", expression, err)
	}
	return text
}

// Fits waits until the page at a width in pixels is no wider than its window. It writes a screenshot to the directory that
// NANO_SCREENSHOTS names, if any.
func (p *Page) Fits(name string, width int64) {
	p.Helper()
	p.Do("resizing", chromedp.EmulateViewport(width, 844))
	p.Until(fmt.Sprintf("innerWidth === %d && document.documentElement.scrollWidth <= innerWidth", width))
	dir := os.Getenv("NANO_SCREENSHOTS")
	if dir == "" {
		return
	}
	ctx, cancel := context.WithTimeout(p.ctx, wait)
	defer cancel()
	picture, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		p.Fatalf("taking a screenshot: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%d.png", name, width)), picture, 0o600); err != nil {
		p.Fatal(err)
	}
}

// Scheme makes the page prefer a color scheme: light or dark.
func (p *Page) Scheme(name string) {
	p.Helper()
	p.Do("preferring "+name, chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
		})
		return err
	}))
}

// Type types text into the element that selector finds.
func (p *Page) Type(selector, text string) {
	p.Helper()
	p.Do("typing into "+selector, chromedp.SendKeys(selector, text))
}

// place is an expression for the center of the element that selector finds: null while it
// is missing, disabled, hidden or covered.
func place(selector string) string {
	return fmt.Sprintf(`((e) => {
		if (!e || e.disabled) return null;
		e.scrollIntoView({ behavior: 'instant', block: 'center', inline: 'nearest' });
		const { x, y, width, height } = e.getBoundingClientRect();
		const at = { X: x + width / 2, Y: y + height / 2 };
		return e.contains(document.elementFromPoint(at.X, at.Y)) ? at : null;
	})(document.querySelector(%q))`, selector)
}

// Click clicks the element that selector finds, once it is enabled and not covered. One
// step finds and clicks it, because the page may move or replace it at any time.
func (p *Page) Click(selector string) {
	p.Helper()
	p.Do("clicking "+selector, chromedp.Poll[chromedp.Void](
		fmt.Sprintf("%s !== null && (document.querySelector(%q).click(), true)", place(selector), selector),
		chromedp.WithPollingInterval(50*time.Millisecond), chromedp.WithPollingTimeout(0)))
}

// Focus focuses the element that selector finds, in one step.
func (p *Page) Focus(selector string) {
	p.Helper()
	p.Until(fmt.Sprintf("(document.querySelector(%q)?.focus(), document.activeElement?.matches(%[1]q))", selector))
}

// Mouse sends an event of the left mouse button, such as mousePressed, at the center of the
// element that selector finds, once it is enabled and not covered.
func (p *Page) Mouse(event, selector string) {
	p.Helper()
	p.Do(event+" at "+selector, chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		at, err := chromedp.Poll[struct{ X, Y float64 }](place(selector),
			chromedp.WithPollingInterval(50*time.Millisecond), chromedp.WithPollingTimeout(0))(ctx, t)
		if err != nil {
			return err
		}
		return t.Call(ctx, "Input.dispatchMouseEvent", map[string]any{
			"type": event, "x": at.X, "y": at.Y, "button": "left", "buttons": 1, "clickCount": 1,
		}, nil)
	}))
}

// Serve serves the players and pages of srv and returns host and port. The end of the
// test shuts srv down. Rooms that go on then have a second to end before they are closed.
func Serve(t testing.TB, srv *nano.Server) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- srv.ServeWebSocket(l) }()
	t.Cleanup(func() {
		short, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = srv.Shutdown(short) // fails if rooms have to be closed
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		if err := srv.Shutdown(ctx); err != nil {
			t.Errorf("Shutdown: %v", err)
		}
		if err := <-served; err != nil && !errors.Is(err, nano.ErrServerClosed) { // shut down before it served
			t.Errorf("ServeWebSocket: %v", err)
		}
	})
	return l.Addr().String()
}

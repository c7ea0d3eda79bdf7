// Package browser opens pages in a Chromium, for tests.
package browser

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// wait bounds each wait for a page.
const wait = 30 * time.Second

// Page is one tab.
type Page struct {
	testing.TB
	ctx   context.Context
	close context.CancelFunc
}

// Open starts a browser and returns its first page. Without a Chromium on PATH the test is skipped, unless
// NANO_REQUIRE_BROWSER is set.
func Open(t testing.TB) Page {
	t.Helper()
	path := find(t)
	flags := append(chromedp.DefaultExecAllocatorOptions[:], // headless, with a user-data-dir of its own
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU)
	for _, flag := range []string{"disable-quic", "no-first-run", "disable-background-networking",
		"disable-component-update", "disable-sync"} {
		flags = append(flags, chromedp.Flag(flag, true))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*wait)
	t.Cleanup(cancel)
	allocator, cancel := chromedp.NewExecAllocator(ctx, flags...)
	t.Cleanup(cancel)
	// The context that starts a browser bounds its life, so it is not the context of one wait.
	root, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	if err := chromedp.Do(root); err != nil {
		t.Fatalf("starting %s: %v", path, err)
	}
	return Page{t, root, cancel}
}

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

// Another opens a page of the same browser that shares no cookies and no storage with p.
func (p Page) Another() Page {
	p.Helper()
	ctx, cancel := chromedp.NewContext(p.ctx, chromedp.WithNewBrowserContext())
	p.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		p.Fatalf("opening another page: %v", err)
	}
	return Page{p.TB, ctx, cancel}
}

// Close closes the page.
func (p Page) Close() { p.close() }

// Do runs actions. what names them in an error.
func (p Page) Do(what string, actions ...chromedp.Action[chromedp.Void]) {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, wait)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		p.Fatalf("%s: %v", what, err)
	}
}

// Until waits until a JavaScript expression is true.
// It polls, because a page in the background gets no animation frames.
func (p Page) Until(expression string) {
	p.Helper()
	p.Do("waiting for "+expression, chromedp.Poll[chromedp.Void](expression,
		chromedp.WithPollingInterval(50*time.Millisecond), chromedp.WithPollingTimeout(0)))
}

// Shows waits until an element that selector finds has text in it.
func (p Page) Shows(selector, text string) {
	p.Helper()
	p.Until(fmt.Sprintf("[...document.querySelectorAll(%q)].some((e) => e.textContent.includes(%q))", selector, text))
}

// Text returns what a JavaScript expression evaluates to.
func (p Page) Text(expression string) string {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, wait)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](expression))
	if err != nil {
		p.Fatalf("%s: %v", expression, err)
	}
	return text
}

// Fits checks that the page at a width in pixels is no wider than its window. It writes a screenshot to the directory that
// NANO_SCREENSHOTS names, if any.
func (p Page) Fits(name string, width int64) {
	p.Helper()
	p.Do("resizing", chromedp.EmulateViewport(width, 844))
	p.Until(fmt.Sprintf("innerWidth === %d", width))
	p.Until("document.documentElement.scrollWidth <= innerWidth")
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

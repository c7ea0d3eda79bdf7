package main

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/lonng/nano"
	"github.com/lonng/nano/examples/internal/browsertest"
	"github.com/lonng/nano/examples/internal/site"
)

// slide moves a slider.
func slide(p *browsertest.Page, id string, value int) {
	p.Do("moving "+id, chromedp.Evaluate[chromedp.Void](fmt.Sprintf(
		"{ const e = document.getElementById(%q); e.value = %d; e.dispatchEvent(new Event('input')); }", id, value)))
}

// value is an expression for the number that an element shows.
func value(id string) string {
	return fmt.Sprintf("parseFloat(document.getElementById(%q).textContent)", id)
}

// TestPage moves the sliders and reads the numbers of the page.
func TestPage(t *testing.T) {
	p := browsertest.Start(t)
	mux := http.NewServeMux()
	site.Handle(mux, web)
	addr := browsertest.Serve(t, nano.New(append(options(ranges()), nano.WithWebSocket("/nano"), nano.WithHTTPHandler(mux))...))
	p.Do("opening the page", chromedp.Navigate("http://"+addr+"/"))
	p.Shows("#state", "Connected")

	slide(p, "jitter", 0)
	slide(p, "loss", 0)
	slide(p, "latency", 100)
	p.Shows("#latency-text", "100 ms")
	p.Until("parseInt(document.getElementById('shots').textContent) >= 20")
	p.Until(value("rtt") + " >= 200")
	p.Until(value("hits-without") + " <= 50")
	p.Until(value("error-without") + " > 15")
	p.Until(value("error-with") + " < " + value("error-without") + " / 2")
	rtt, off := p.Text("String("+value("rtt")+")"), p.Text("String("+value("error-without")+")")
	for _, width := range []int64{390, 1280} {
		p.Fits("lab", width)
	}

	// A cut resumes the session, and the room continues.
	p.Do("cutting", chromedp.Click("#cut"))
	p.Until("document.getElementById('state').dataset.state !== 'online'")
	p.Shows("#state", "Connected")

	// Half of the latency leaves time for a slow device: the server keeps half a second.
	slide(p, "latency", 50)
	p.Until("parseInt(document.getElementById('shots').textContent) >= 20")
	p.Until(value("hits-with") + " >= 80")
	p.Until(value("hits-without") + " <= 50")

	slide(p, "latency", 0)
	p.Until("parseInt(document.getElementById('shots').textContent) >= 10")
	p.Until(value("rtt") + " < " + rtt + " - 100") // the latency was 200 ms of it
	p.Until(value("error-without") + " < " + off)

	// Shots of longer ago than that are too late.
	slide(p, "latency", 300)
	p.Shows("#shots", "too late")
	p.Until(value("hits-with") + " < 50")
	if text := p.Text("document.getElementById('problem').textContent"); text != "" {
		t.Errorf("the page shows the problem %q", text)
	}
}

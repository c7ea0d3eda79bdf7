package main

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/lonng/nano"
	"github.com/lonng/nano/examples/internal/browsertest"
	"github.com/lonng/nano/room"
)

// page is the page of a player.
type page struct{ *browsertest.Page }

func dive(tab *browsertest.Page, url, name string) page {
	p := page{tab}
	p.Do("opening the page", chromedp.Navigate(url), chromedp.WaitVisible("#name"))
	p.Text(`{
		globalThis.least = Infinity;
		const context = CanvasRenderingContext2D.prototype;
		const { setTransform } = context;
		context.setTransform = function (scale, ...rest) {
			least = Math.min(least, scale);
			return setTransform.call(this, scale, ...rest);
		};
		''
	}`)
	p.Do("entering as "+name, chromedp.SetValue("#name", name), chromedp.Click("#enter button"))
	p.Until("tadpole.shown?.tadpoles.some((t) => t.own)")
	// Before the first state, the page does not know how far a tadpole sees.
	if least := p.Text("String(least)"); least[0] == '-' {
		p.Fatalf("a frame was drawn at a scale of %s", least)
	}
	return p
}

// mouse sends an event of the mouse at a place of the window.
func (p page) mouse(event string, x, y int) {
	p.Helper()
	p.Do(event, chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		return t.Call(ctx, "Input.dispatchMouseEvent", map[string]any{
			"type": event, "x": x, "y": y, "button": "left", "buttons": 1, "clickCount": 1,
		}, nil)
	}))
}

// slide sets a slider.
func (p page) slide(id string, value int) {
	p.Helper()
	p.Text(fmt.Sprintf("{ const slider = document.getElementById(%q); slider.value = %d; slider.dispatchEvent(new Event('input')); slider.value }",
		id, value))
}

// of is an expression for what a page draws of the tadpole with a name.
func of(name string) string {
	return fmt.Sprintf("tadpole.shown.tadpoles.find((t) => t.name === %q)", name)
}

// gather moves all tadpoles to the center of their pond, so that they see each other.
func gather(t *testing.T) {
	t.Helper()
	for pond := range ponds.List(room.Filter{}) {
		err := ponds.Do(t.Context(), pond.ID, func(p *Pond) {
			for id, tadpole := range p.State.Tadpoles.All() {
				tadpole.X, tadpole.Y = float32(id)*60, 0
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Ann swims on a phone and Bob on a desktop.
func TestPages(t *testing.T) {
	first := browsertest.Start(t)
	other, _ := first.Tab()
	mux := http.NewServeMux()
	handle(mux)
	srv := nano.New(append(options(), nano.WithHTTPHandler(mux))...)
	url := "http://" + browsertest.Serve(t, srv) + "/"

	first.Do("opening the page", chromedp.Navigate(url), chromedp.WaitVisible("#name"))
	for _, width := range []int64{1280, 390} {
		first.Fits("tadpole-enter", width)
	}
	ann, bob := dive(first, url, "Ann"), dive(other, url, "Bob")
	bob.Fits("tadpole-swim", 1280)
	ann.Until(of("Bob") + "?.own === false")
	bob.Until(of("Ann") + "?.own === false")
	ann.Shows("#seen", "2 of 2")
	for id, unit := range map[string]string{"#rate": "B/s", "#lag": "ms", "#delay": "ms"} {
		ann.Shows(id, unit)
	}
	ann.Until("Number(document.getElementById('fps').textContent) > 0")

	// The canvas has more than one color.
	bob.Until(`(() => {
		const { data } = document.getElementById('pond').getContext('2d').getImageData(0, 0, 400, 400);
		return new Set(new Uint32Array(data.buffer)).size > 100;
	})()`)

	// With a slow network, Ann's tadpole still moves at once. The state that the page has is behind.
	gather(t)
	ann.slide("latency", 600)
	ann.Shows("#latency-is", "600 ms")
	bob.Text("globalThis.between = false; setInterval(() => (between ||= " + of("Ann") + "?.x * 4 % 1 > 0), 10); ''")
	ann.mouse("mousePressed", 199, 422) // so slowly that Bob sees her for a minute
	// Bob's page draws Ann between the places that the server sends, which are quarters.
	bob.Until("between")
	ann.Until("tadpole.shown.at.x - tadpole.pond.state.tadpoles[tadpole.pond.player].x > 2")
	ann.mouse("mouseReleased", 199, 422)
	ann.Until("/[6-9].. ms|s$/.test(document.getElementById('delay').textContent)")
	ann.slide("latency", 0)

	// Both come to the same result: the prediction is what the server does.
	ann.Until(`(() => {
		const { at } = tadpole.shown;
		const { x, y } = tadpole.pond.state.tadpoles[tadpole.pond.player];
		return Math.abs(at.x - x) < 0.5 && Math.abs(at.y - y) < 0.5;
	})()`)

	gather(t)
	// Words appear above Ann on both pages, also with loss.
	bob.slide("loss", 20)
	bob.Shows("#loss-is", "20 %")
	ann.Type("#words", "hello, pond")
	ann.Click("#talk button")
	for _, p := range []page{ann, bob} {
		p.Until(of("Ann") + "?.says === 'hello, pond'")
	}
	ann.Fits("tadpole-swim", 390)
	bob.Fits("tadpole-talk", 1280)
	bob.slide("loss", 0)

	// A page that lost its connection returns to its tadpole.
	player := ann.Text("String(tadpole.pond.player)")
	ann.Text("String(tadpole.network.cut())")
	bob.mouse("mousePressed", 640, 450)
	bob.Until(of("Bob") + "?.y > 20")
	bob.mouse("mouseReleased", 640, 450)
	ann.Until("document.getElementById('state').hidden && tadpole.pond.synced")
	ann.Until(of("Bob") + "?.y > 20")
	if now := ann.Text("String(tadpole.pond.player)"); now != player {
		t.Errorf("after a cut the player is %s, want %s", now, player)
	}

	// A pond that ends says why, and lets the players dive into another one.
	old := ann.Text("tadpole.pond.id")
	if err := ponds.Do(t.Context(), old, func(p *Pond) { p.Close("it has dried up") }); err != nil {
		t.Fatal(err)
	}
	ann.Shows("#problem", "it has dried up")
	ann.Click("#enter button")
	ann.Until(fmt.Sprintf("tadpole.shown?.tadpoles.some((t) => t.own) && tadpole.pond?.id !== %q", old))
}

package main

import (
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/lonng/nano/examples/internal/browsertest"
)

// The console of one node shows the pages of another one.
func TestConsoleOfAnotherNode(t *testing.T) {
	p := browsertest.Start(t)
	master := launch(t, "master", "--listen", "127.0.0.1:0", "--web", "127.0.0.1:0", "--console", "127.0.0.1:0")
	chat := launch(t, "chat", "--listen", "127.0.0.1:0", "--master", master.addr, "--console", "127.0.0.1:0")
	bare := launch(t, "gate", "--listen", "127.0.0.1:0", "--gate-address", "127.0.0.1:0", "--master", master.addr)
	p.Do("opening the console", chromedp.Navigate(master.console+"#cluster"))
	p.Shows("#name", "master node")
	p.Shows("#members th", chat.addr) // with the next sample
	p.Shows("#members th", bare.addr)
	p.Shows("#node option", "chat, "+chat.addr)
	p.Shows("#node option", "gate, "+bare.addr)
	for _, scheme := range []string{"light", "dark"} {
		p.Scheme(scheme)
		p.Fits("console-cluster-"+scheme, 390)
		p.Fits("console-cluster-"+scheme, 1280)
	}
	p.Click(`#members button[aria-label="Pages of node ` + chat.addr + `"]`)
	p.Shows("#name", "chat node")
	p.Shows("#self", chat.addr)
	p.Until(`document.getElementById("node").selectedOptions[0]?.text.startsWith("chat")`)
	p.Do("opening its overview", chromedp.Click(`nav a[href="#overview"]`), chromedp.WaitVisible("#figures dd"))
	p.Shows("#name", "chat node")

	choose := func(text string) {
		p.Do("choosing "+text, chromedp.Evaluate[chromedp.Void](`{
			const node = document.getElementById("node");
			node.value = [...node.options].find((o) => o.text.includes("`+text+`")).value;
			node.dispatchEvent(new Event("change"));
		}`))
	}
	p.Text(`{
		globalThis.cleared = 0; // how often the page no longer said that there is a problem
		new MutationObserver((list) => (cleared += list.filter((m) => m.removedNodes.length > 0).length))
			.observe(document.getElementById("problem"), { childList: true });
		''
	}`)
	choose("gate")
	p.Shows("#problem", "the node has no console")
	if cleared := p.Text("String(cleared)"); cleared != "0" {
		t.Errorf("the problem was cleared %s times while it lasted", cleared)
	}
	choose("this one")
	p.Shows("#name", "master node")
	p.Until(`document.getElementById("problem").textContent === ""`)
}

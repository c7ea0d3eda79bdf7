// Package site serves the pages of the examples.
package site

import (
	"cmp"
	"embed"
	"fmt"
	"io/fs"
	"net"
	"net/http"

	"github.com/lonng/nano/clients/js"
	"github.com/lonng/nano/component"
)

//go:embed style.css icon.svg common.js
var shared embed.FS

// Handle serves the directory web under /web/, with the JavaScript client, the common
// style and the common script. It redirects / to the page.
func Handle(mux *http.ServeMux, web fs.FS) {
	mux.Handle("/web/", http.FileServerFS(web))
	for _, name := range []string{"nano.js", "room.js", "state.js", "smooth.js", "predict.js", "match.js", "netsim.js"} {
		mux.Handle("/web/"+name, http.StripPrefix("/web", http.FileServerFS(js.FS)))
	}
	for _, name := range []string{"style.css", "icon.svg", "common.js"} {
		mux.Handle("/web/"+name, http.StripPrefix("/web", http.FileServerFS(shared)))
	}
	mux.Handle("/{$}", http.RedirectHandler("/web/", http.StatusFound))
}

// URL returns the URL of the page of a server that listens on addr.
func URL(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		host = addr // Listen reports the error
	}
	return "http://" + net.JoinHostPort(cmp.Or(host, "localhost"), port) + "/web/"
}

// Announcer is the base of a component that prints a line when the server's port is open.
type Announcer struct {
	component.Base
	Line string // empty for none
}

// AfterInit runs when the port is open, right before the server accepts the first client.
func (a *Announcer) AfterInit() {
	if a.Line != "" {
		fmt.Println(a.Line)
	}
}

// Package js carries the browser client, so that a Go program can serve it beside its pages. It knows nothing of HTTP.
package js

import "embed"

// FS holds nano.js, the client as one ES module, and beside it state.js and smooth.js for the state of rooms.
//
//	http.Handle("/nano.js", http.FileServerFS(js.FS))
//
//go:embed nano.js state.js smooth.js
var FS embed.FS

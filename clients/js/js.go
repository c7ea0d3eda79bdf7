// Package js carries the browser client, so that a Go program can serve it beside its pages. It knows nothing of HTTP.
package js

import "embed"

// FS holds nano.js, the client as one ES module, and the modules for rooms beside it: room.js, state.js and smooth.js.
//
//	http.Handle("/nano.js", http.FileServerFS(js.FS))
//
//go:embed nano.js room.js state.js smooth.js
var FS embed.FS

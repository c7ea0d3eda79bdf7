// Package js holds the JavaScript client, which a Go program can serve beside its pages.
package js

import "embed"

// FS holds nano.js, the client as one ES module, and starx.js, which gives the client the API
// of nano-websocket-client and starx-wsclient.
//
//	http.Handle("/nano.js", http.FileServerFS(js.FS))
//
//go:embed nano.js starx.js
var FS embed.FS

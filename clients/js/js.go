package js

import "embed"

// FS holds the modules of the client: nano.js, the client itself; starx.js, which gives it the API of
// nano-websocket-client and starx-wsclient; room.js, for rooms, with state.js, smooth.js, predict.js and match.js; and
// netsim.js, which simulates a network for tests and demos.
//
//	http.Handle("/nano.js", http.FileServerFS(js.FS))
//
//go:embed nano.js starx.js room.js state.js smooth.js predict.js match.js netsim.js
var FS embed.FS

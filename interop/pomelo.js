// Runs pomelo-jsclient-websocket as a browser would, and has it driven by a test: one JSON object a line comes in on
// stdin and says what to do, one a line goes out on stdout and tells what happened. It ends when stdin does.
//
//   in   {"do": "init", "params": {...}}                what pomelo.init takes
//        {"do": "request", "n": 1, "route": "", "body": {...}}
//        {"do": "notify", "route": "", "body": {...}}
//        {"do": "disconnect"}
//   out  {"event": "ready"}                             the handshake is complete
//        {"event": "user", "body": ...}                 the server's user data, before that
//        {"event": "response", "n": 1, "body": ...}
//        {"event": "emit", "name": "", "body": ...}     what the client emits: pushes by their route, "onKick", "close"
//        {"event": "sent"} and {"event": "received"}    a packet: "type", and of messages "compressed"; "packets" is
//                                                       how many the WebSocket frame held
'use strict'

const { EventEmitter } = require('node:events')
const fs = require('node:fs')
const readline = require('node:readline')
const WebSocket = require('ws')

const tell = (event) => process.stdout.write(JSON.stringify(event) + '\n')

const source = (name) => fs.readFileSync(require.resolve(name), 'utf8')

const DATA = 4

// report prints the packets of a frame. Its own decoding is apart from the client's.
function report(event, frame) {
  const bytes = new Uint8Array(frame)
  const packets = []
  for (let at = 0; at < bytes.length;) {
    packets.push(bytes.subarray(at, (at += 4 + (bytes[at + 1] << 16 | bytes[at + 2] << 8 | bytes[at + 3]))))
  }
  for (const p of packets) {
    tell({ event, type: p[0], compressed: p[0] === DATA && (p[4] & 1) === 1, packets: packets.length })
  }
}

class Socket extends WebSocket {
  constructor(url) {
    super(url)
    this.addEventListener('message', (e) => report('received', e.data))
  }

  send(data) {
    report('sent', data)
    super.send(data)
  }
}

// Both files look for a window to tell a browser from a server, and export to a module all the same.
const window = { EventEmitter }
const quiet = { log() {}, error() {} }
new Function('window', 'module', source('pomelo-protocol/lib/protocol.js')).call(window, window, {})
new Function('window', 'module', 'WebSocket', 'console', source('pomelo-jsclient-websocket'))(window, {}, Socket, quiet)
const { pomelo } = window

pomelo.emit = (name, body) => {
  if (body?.target instanceof Socket) {
    body = { code: body.code, reason: body.reason }
  }
  tell({ event: 'emit', name, body })
}

const actions = {
  init({ params }) {
    pomelo.init({ ...params, handshakeCallback: (body) => tell({ event: 'user', body }) }, () => tell({ event: 'ready' }))
  },
  request({ n, route, body }) {
    pomelo.request(route, body, (answer) => tell({ event: 'response', n, body: answer }))
  },
  notify({ route, body }) {
    pomelo.notify(route, body)
  },
  disconnect() {
    pomelo.disconnect()
  },
}

readline.createInterface({ input: process.stdin })
  .on('line', (line) => {
    const action = JSON.parse(line)
    actions[action.do](action)
  })
  .on('close', () => process.exit())

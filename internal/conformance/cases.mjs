// Writes client.json, the conformance table of clients. README.md specifies the format.
// It has an encoder of its own, so that a fault of a client's encoder shows.
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const hex = (data) => Buffer.from(data).toString('hex');
/** Writes each run of 32 equal bytes or more as "61*40", with blanks around it. */
const short = (text) =>
  text
    .match(/(..)\1*/g)
    ?.reduce((all, run) => all + (run.length < 64 ? run : ` ${run.slice(0, 2)}*${run.length / 2} `), '')
    .trim() ?? '';
const utf8 = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));

function packet(type, body = []) {
  const bytes = Buffer.from(body);
  return hex(
    Buffer.concat([Buffer.from([type, bytes.length >> 16, (bytes.length >> 8) & 255, bytes.length & 255]), bytes]),
  );
}

function varint(n) {
  const bytes = [];
  for (let rest = BigInt(n); ; rest >>= 7n) {
    if (rest < 128n) return Buffer.from([...bytes, Number(rest)]);
    bytes.push(Number(rest & 127n) | 128);
  }
}

const named = (route) => Buffer.concat([Buffer.from([Buffer.byteLength(route)]), utf8(route)]);
const coded = (code) => Buffer.from([code >> 8, code & 255]);
const body = (value) => (value === undefined ? Buffer.alloc(0) : Buffer.isBuffer(value) ? value : utf8(value));
const data = (...parts) => packet(4, Buffer.concat(parts.map((part) => Buffer.from(part))));

const request = (id, route, value) => data([0], varint(id), named(route), body(value));
const notify = (route, value) => data([2], named(route), body(value));
const response = (id, value) => data([4], varint(id), body(value));
const failure = (id, value) => data([0x24], varint(id), body(value));
const push = (route, value) => data([6], named(route), body(value));
const kick = (value) => packet(5, body(value));
const heartbeat = (count) => packet(3, count === undefined ? [] : varint(count));
const ACK = packet(2);
const welcome = (sys = {}, more = {}) => packet(1, utf8({ code: 200, sys: { heartbeat: 30, ...sys }, ...more }));

// Steps
const connect = { call: 'connect' };
const close = { call: 'close' };
const on = (route) => ({ call: 'on', route });
const ask = (id, route, json = {}) => ({ call: 'request', id, route, json });
const tell = (route, json = {}, more = {}) => ({
  call: 'notify',
  route,
  json,
  ...more,
});
const cancel = (id) => ({ call: 'cancel', id });
const accept = { server: 'accept' };
const refuse = { server: 'refuse' };
const send = (...frames) => ({ server: 'send', hex: frames });
const cut = { server: 'cut' };
const ends = (code) => ({ server: 'close', code });
const advance = (ms) => ({ advance: ms });
const sleep = (ms) => ({ sleep: ms });
const dial = { expect: 'dial' };
const none = { expect: 'none' };
const alive = { expect: 'alive' };
const shakes = (resume, more = {}) => ({
  expect: 'handshake',
  ...(resume && { resume }),
  ...more,
});
const packets = (...list) => ({ expect: 'packets', hex: list });
const closed = (how) => ({ expect: 'closed', how });
const events = (...list) => ({ expect: 'events', events: list });

// Events
const connecting = { status: 'connecting' };
const connected = { status: 'connected', resumed: false };
const resumed = { status: 'connected', resumed: true };
const anew = (reason) => ({ status: 'connected', resumed: false, reason });
const reconnecting = (reason) => ({ status: 'reconnecting', reason });
const over = (reason) => ({ status: 'closed', reason });
const pushed = (route, json) => ({
  push: route,
  ...(json !== undefined && { json }),
});
const reply = (id, json) => ({
  reply: id,
  ...(json !== undefined && { json }),
});
const failed = (id, kind, more) => ({ failed: id, kind, ...more });
const kicked = (code, reason) => ({ kick: code, reason });

const token = (n) => `token-${n}`.padEnd(22, 'x');
const first = { token: token(1), window: 30, resumed: false };
const again = (received, n = 2) => ({
  token: token(n),
  window: 30,
  resumed: true,
  received,
});
const refusedResume = (reason, n = 2, more = {}) => ({
  token: token(n),
  window: 30,
  resumed: false,
  reason,
  ...more,
});

/** A client that is connected to a server without resume. */
const plain = (sys, more) => [
  connect,
  dial,
  accept,
  shakes({}),
  send(welcome(sys, more)),
  packets(ACK),
  events(connecting, connected),
];
/** A client that has a session that can be resumed. */
const session = (sys) => plain({ ...sys, resume: first });
/** The connection breaks, and the client has sent its next handshake. */
const lose = (received, n = 1) => [
  cut,
  events(reconnecting('lost')),
  advance(5000),
  dial,
  accept,
  shakes({ token: token(n), received }),
];

const cases = [];
const add = (name, steps, options) =>
  cases.push({
    name,
    ...(options && { options }),
    steps: steps.flat(Infinity),
  });

// Handshake -------------------------------------------------------------------------------------------------------

add('handshake: it is sent when the connection is open, and acknowledged', [
  connect,
  dial,
  events(connecting),
  none,
  accept,
  shakes({}),
  none,
  send(welcome()),
  packets(ACK),
  events(connected),
]);
for (const [name, user] of Object.entries({
  'an object': { token: 'x' },
  'a text': 'ann',
  'a number': 7,
  'a list': [1, 2],
})) {
  add(
    `handshake: the user data is ${name}`,
    [connect, dial, accept, shakes({}, { user }), send(welcome()), packets(ACK), events(connecting, connected)],
    { user },
  );
}
add(
  'handshake: without reconnecting it does not ask for resume',
  [connect, dial, accept, shakes(), send(welcome()), packets(ACK), events(connecting, connected)],
  { reconnect: false },
);
for (const [name, sys] of Object.entries({
  'without a heartbeat': { heartbeat: 0 },
  'with a fraction of a second as heartbeat': { heartbeat: 0.5 },
  'with fields that the client does not know': {
    unknown: { deep: [1] },
    servertime: 1700000000,
  },
  'with an empty dictionary': { dict: {} },
  'with the serializer that the client has': { serializer: 'json' },
  'with null as resume': { resume: null },
})) {
  add(`handshake: an answer ${name}`, plain(sys));
}
for (const [name, answer] of Object.entries({
  500: { code: 500, message: 'no', sys: { heartbeat: 30 } },
  501: { code: 501, message: 'old', sys: { heartbeat: 30 } },
  'another code': { code: 404 },
  'a code that is a text': { code: '200' },
  'no code': {},
  null: null,
  'a list': [],
})) {
  add(`handshake: ${name} is a refusal`, [
    connect,
    dial,
    accept,
    shakes({}),
    send(packet(1, utf8(answer))),
    closed('any'),
    events(connecting, over('refused')),
  ]);
}
for (const [name, frame] of Object.entries({
  'an answer that is not JSON': packet(1, utf8('{')),
  'an answer that is empty': packet(1),
  'an answer that is not UTF-8': packet(1, [0x22, 0xff, 0x22]),
  'a heartbeat that is a text': welcome({ heartbeat: '30' }),
  'a heartbeat that is negative': welcome({ heartbeat: -1 }),
  'a dictionary that is a list of texts': welcome({ dict: ['a'] }),
  'a dictionary with a code over 65535': welcome({ dict: { a: 65536 } }),
  'a dictionary with a negative code': welcome({ dict: { a: -1 } }),
  'a dictionary with a fraction': welcome({ dict: { a: 1.5 } }),
  'a dictionary with a code twice': welcome({ dict: { a: 1, b: 1 } }),
  'data before it': push('a', 1),
  'a heartbeat before it': heartbeat(),
  'an ack before it': packet(2),
  'an unknown packet': packet(6),
})) {
  add(`handshake: ${name} ends the attempt`, [
    connect,
    dial,
    accept,
    shakes({}),
    send(frame),
    closed('any'),
    events(connecting, over('protocol')),
  ]);
}
add('handshake: a text frame ends the attempt', [
  connect,
  dial,
  accept,
  shakes({}),
  { server: 'text', text: 'hello' },
  closed('any'),
  events(connecting, over('protocol')),
]);
add('handshake: a kick ends the attempt', [
  connect,
  dial,
  accept,
  shakes({}),
  send(kick({ reason: 'full', code: 'limit' })),
  closed('any'),
  events(connecting, over('limit')),
]);
add('handshake: a kick for a shutdown ends the first attempt too', [
  connect,
  dial,
  accept,
  shakes({}),
  send(kick({ reason: 'server shutdown', code: 'shutdown' })),
  closed('any'),
  events(connecting, over('shutdown')),
]);
add('handshake: a connection that fails', [
  connect,
  dial,
  refuse,
  events(connecting, over('lost')),
  advance(10000),
  none,
]);
add('handshake: a connection that breaks', [
  connect,
  dial,
  accept,
  shakes({}),
  cut,
  events(connecting, over('lost')),
  advance(10000),
  none,
]);
add(
  'handshake: a server that does not accept in time',
  [connect, dial, advance(2999), events(connecting), advance(1), closed('any'), events(over('timeout'))],
  { connectTimeout: 3000 },
);
add(
  'handshake: a server that does not answer in time',
  [connect, dial, accept, shakes({}), advance(3000), closed('any'), events(connecting, over('timeout'))],
  { connectTimeout: 3000 },
);
add('handshake: a second one is malformed', [
  plain(),
  send(welcome()),
  closed('any'),
  events(reconnecting('protocol')),
]);
add('handshake: the program closes before the connection is open', [
  connect,
  dial,
  close,
  closed('any'),
  events(connecting, over('client')),
]);
add('handshake: the program closes before the answer', [
  connect,
  dial,
  accept,
  shakes({}),
  close,
  closed('leave'),
  events(connecting, over('client')),
]);
add('handshake: the client connects again after a refusal', [
  connect,
  dial,
  accept,
  shakes({}),
  send(packet(1, utf8({ code: 500 }))),
  closed('any'),
  events(connecting, over('refused')),
  plain(),
]);
{
  const answer = Buffer.from(welcome(), 'hex');
  for (const at of [1, 3, 4, 5, 20, answer.length - 1]) {
    add(`handshake: the answer comes in two pieces, cut at ${at}`, [
      connect,
      dial,
      accept,
      shakes({}),
      send(hex(answer.subarray(0, at))),
      events(connecting),
      send(hex(answer.subarray(at))),
      packets(ACK),
      events(connected),
    ]);
  }
  add('handshake: the answer and a push come in one frame', [
    on('a'),
    connect,
    dial,
    accept,
    shakes({}),
    send(welcome() + push('a', 1)),
    packets(ACK),
    events(connecting, connected, pushed('a', 1)),
  ]);
}

// Requests --------------------------------------------------------------------------------------------------------

add('request: a call without a connection fails', [ask('a', 'r'), events(failed('a', 'closed'))]);
add('request: it has an id, a route and a body', [
  plain(),
  ask('a', 'room.join', { name: 'ann' }),
  packets(request(1, 'room.join', { name: 'ann' })),
  send(response(1, { ok: true })),
  events(reply('a', { ok: true })),
]);
add('request: answers come in any order', [
  plain(),
  ask('a', 'r'),
  ask('b', 's'),
  packets(request(1, 'r', {}), request(2, 's', {})),
  send(response(2, 2), response(1, 1)),
  events(reply('b', 2), reply('a', 1)),
]);
for (const [name, value] of Object.entries({
  'an object': {},
  'a list': [1, 'two'],
  'a text': 'é房',
  'a number': 1.5,
  true: true,
  null: null,
})) {
  add(`request: an answer that is ${name}`, [
    plain(),
    ask('a', 'r'),
    packets(request(1, 'r', {})),
    send(response(1, value === null ? utf8('null') : value === 'é房' ? utf8('"é房"') : value)),
    events({ reply: 'a', json: value }),
  ]);
}
for (const [name, value] of Object.entries({
  'a list': [1],
  'a number': 7,
  null: null,
  'a text': 'x',
  'a nested object': { a: { b: [null] } },
})) {
  add(`request: a body that is ${name}`, [
    plain(),
    ask('a', 'r', value),
    packets(data([0], [1], named('r'), utf8(JSON.stringify(value)))),
  ]);
}
add('request: an empty answer', [
  plain(),
  ask('a', 'r'),
  packets(request(1, 'r', {})),
  send(response(1)),
  events(reply('a')),
]);
add('request: a body of bytes goes out as it is', [
  plain(),
  { call: 'request', id: 'a', route: 'r', hex: '00ff7b' },
  packets(request(1, 'r', Buffer.from('00ff7b', 'hex'))),
]);
add('request: an empty body of bytes', [
  plain(),
  { call: 'request', id: 'a', route: 'r', hex: '' },
  packets(request(1, 'r')),
]);
for (const [name, wire] of Object.entries({
  'not JSON': utf8('ok'),
  'cut short': utf8('{"a":'),
  'not UTF-8': Buffer.from([0x22, 0xc3, 0x28, 0x22]),
})) {
  add(`request: an answer that is ${name} costs this request only`, [
    plain(),
    ask('a', 'r'),
    ask('b', 'r'),
    packets(request(1, 'r', {}), request(2, 'r', {})),
    send(response(1, wire), response(2, 2)),
    events(failed('a', 'payload'), reply('b', 2)),
  ]);
}
add('request: an error response', [
  plain(),
  ask('a', 'r'),
  packets(request(1, 'r', {})),
  send(failure(1, { code: 'NANO-404', msg: 'no route' })),
  events(
    failed('a', 'answer', {
      code: 'NANO-404',
      message: 'no route',
      metadata: {},
    }),
  ),
]);
add('request: an error response with metadata', [
  plain(),
  ask('a', 'r'),
  packets(request(1, 'r', {})),
  send(failure(1, { code: 'SHOP-POOR', msg: 'no', metadata: { gold: '3' } })),
  events(
    failed('a', 'answer', {
      code: 'SHOP-POOR',
      message: 'no',
      metadata: { gold: '3' },
    }),
  ),
]);
add('request: an error response without fields', [
  plain(),
  ask('a', 'r'),
  packets(request(1, 'r', {})),
  send(failure(1, {})),
  events(failed('a', 'answer', { code: '', message: '', metadata: {} })),
]);
add('request: an error response that does not decode costs this request only', [
  plain(),
  ask('a', 'r'),
  ask('b', 'r'),
  packets(request(1, 'r', {}), request(2, 'r', {})),
  send(failure(1, utf8('{')), response(2, 2)),
  events(failed('a', 'payload'), reply('b', 2)),
]);
{
  const pb = (field, value) => Buffer.concat([Buffer.from([field * 8 + 2]), varint(value.length), value]);
  const error = Buffer.concat([
    pb(1, utf8('NANO-404')),
    pb(2, utf8('no route')),
    pb(3, Buffer.concat([pb(1, utf8('k')), pb(2, utf8('v'))])),
  ]);
  add('request: an error response in protobuf, from a server without a serializer name, does not decode', [
    plain(),
    ask('a', 'r'),
    packets(request(1, 'r', {})),
    send(failure(1, error)),
    events(failed('a', 'payload')),
  ]);
}
add('request: an answer to nothing is ignored', [
  plain(),
  send(response(9, 1), failure(8, {})),
  none,
  ask('a', 'r'),
  packets(request(1, 'r', {})),
  send(response(1, 1)),
  events(reply('a', 1)),
]);
add('request: a second answer is ignored', [
  plain(),
  ask('a', 'r'),
  packets(request(1, 'r', {})),
  send(response(1, 1), response(1, 2)),
  events(reply('a', 1)),
]);
add(
  'request: it gives up in time, and the late answer is ignored',
  [
    plain(),
    ask('a', 'r'),
    packets(request(1, 'r', {})),
    advance(499),
    none,
    advance(1),
    events(failed('a', 'timeout')),
    send(response(1, 1)),
    none,
  ],
  { timeout: 500 },
);
add('request: it is canceled, and the late answer is ignored', [
  plain(),
  ask('a', 'r'),
  packets(request(1, 'r', {})),
  cancel('a'),
  events(failed('a', 'canceled')),
  send(response(1, 1)),
  none,
]);
add('request: canceled after its answer', [
  plain(),
  ask('a', 'r'),
  packets(request(1, 'r', {})),
  send(response(1, 1)),
  events(reply('a', 1)),
  cancel('a'),
  none,
]);
{
  const many = Array.from({ length: 130 }, (_, i) => i + 1);
  add('request: ids of two bytes', [
    plain(),
    many.map((n) => ask(`r${n}`, 'r')),
    packets(...many.map((n) => request(n, 'r', {}))),
    send(...[127, 128, 129, 130].map((n) => response(n, n))),
    events(...[127, 128, 129, 130].map((n) => reply(`r${n}`, n))),
  ]);
}
add('request: what waits fails when the connection to a server without resume breaks', [
  plain(),
  ask('a', 'r'),
  packets(request(1, 'r', {})),
  cut,
  events(failed('a', 'closed'), reconnecting('lost')),
]);
add('request: what waits fails when the program closes', [
  plain(),
  ask('a', 'r'),
  packets(request(1, 'r', {})),
  close,
  closed('leave'),
  events(failed('a', 'closed'), over('client')),
]);
for (const [name, route] of Object.entries({
  'an empty route': '',
  'a route of 256 bytes': 'r'.repeat(256),
  'a route of 129 letters of two bytes': 'é'.repeat(129),
})) {
  add(`request: ${name} is refused`, [
    plain(),
    ask('a', route),
    events(failed('a', 'usage')),
    tell('r'),
    packets(notify('r', {})),
  ]);
}
add('request: a route of 255 bytes', [plain(), ask('a', 'r'.repeat(255)), packets(request(1, 'r'.repeat(255), {}))]);
add('request: a route that is not ASCII', [plain(), ask('a', '房间.加入'), packets(request(1, '房间.加入', {}))]);

// Notifies --------------------------------------------------------------------------------------------------------

add('notify: a call without a connection fails', [tell('r', {}, { fails: 'closed' })]);
add('notify: it has a route and a body', [
  plain(),
  tell('room.say', { text: 'hi' }),
  packets(notify('room.say', { text: 'hi' })),
]);
add('notify: a body of bytes', [
  plain(),
  { call: 'notify', route: 'r', hex: 'ff00' },
  packets(notify('r', Buffer.from([255, 0]))),
]);
add('notify: an empty route is refused', [plain(), tell('', {}, { fails: 'usage' })]);
add('notify: after close it fails', [
  plain(),
  close,
  closed('leave'),
  events(over('client')),
  tell('r', {}, { fails: 'closed' }),
]);

// The largest packet ----------------------------------------------------------------------------------------------

// flag, route length, route "r", and n bytes of body
for (const [size, fits] of [
  [99, true],
  [100, true],
  [101, false],
  [1000, false],
]) {
  const bytes = Buffer.alloc(size - 3, 0x61);
  add(`maxPacket: a notify of ${size} bytes, where 100 fit`, [
    plain({ maxPacket: 100 }),
    {
      call: 'notify',
      route: 'r',
      hex: hex(bytes),
      ...(!fits && { fails: 'usage' }),
    },
    fits ? packets(notify('r', bytes)) : none,
  ]);
}
add('maxPacket: a request that does not fit fails, and the id is not used', [
  plain({ maxPacket: 20 }),
  { call: 'request', id: 'a', route: 'r', hex: '61'.repeat(30) },
  events(failed('a', 'usage')),
  ask('b', 'r'),
  packets(request(1, 'r', {})),
]);
add('maxPacket: a server that does not announce it', [
  plain(),
  { call: 'notify', route: 'r', hex: '61'.repeat(70000) },
  packets(notify('r', Buffer.alloc(70000, 0x61))),
]);
add('maxPacket: it holds while messages wait', [
  session({ maxPacket: 20 }),
  cut,
  events(reconnecting('lost')),
  { call: 'notify', route: 'r', hex: '61'.repeat(30), fails: 'usage' },
]);

// Pushes ----------------------------------------------------------------------------------------------------------

add('push: it reaches its listener', [
  on('onMessage'),
  plain(),
  send(push('onMessage', { n: 1 })),
  events(pushed('onMessage', { n: 1 })),
]);
add('push: without a listener it is dropped', [
  plain(),
  send(push('onMessage', { n: 1 })),
  none,
  on('onMessage'),
  send(push('onMessage', { n: 2 })),
  events(pushed('onMessage', { n: 2 })),
]);
add('push: without a listener its payload is not read', [plain(), send(push('x', utf8('{'))), none]);
add('push: with an empty payload', [on('a'), plain(), send(push('a')), events(pushed('a'))]);
for (const route of ['a', 'onMessage', '房间', 'é.a.b.c', 'r'.repeat(255), '', 'a b', '__proto__', 'constructor']) {
  add(`push: the route ${route.length > 40 ? 'of 255 bytes' : JSON.stringify(route)}`, [
    on(route),
    plain(),
    send(push(route, [1])),
    events(pushed(route, [1])),
  ]);
}
for (const [name, wire] of Object.entries({
  'not JSON': utf8('ok'),
  'cut short': utf8('{"a":'),
  'not UTF-8': Buffer.from([0x22, 0xff, 0x22]),
  binary: Buffer.from([0, 1, 2, 3]),
})) {
  add(`push: a payload that is ${name} costs this push only`, [
    on('a'),
    plain(),
    ask('q', 'r'),
    packets(request(1, 'r', {})),
    send(push('a', wire), push('a', 2), response(1, 3)),
    events({ unreadable: 'a' }, pushed('a', 2), reply('q', 3)),
  ]);
}
add('push: many in one frame', [
  on('a'),
  plain(),
  send([1, 2, 3, 4].map((n) => push('a', n)).join('')),
  events(...[1, 2, 3, 4].map((n) => pushed('a', n))),
]);
{
  const frame = Buffer.from(push('a', { n: 1 }) + push('a', { n: 2 }), 'hex');
  for (let at = 1; at < frame.length; at += 3) {
    add(`push: two in pieces, cut at ${at}`, [
      on('a'),
      plain(),
      send(hex(frame.subarray(0, at)), hex(frame.subarray(at))),
      events(pushed('a', { n: 1 }), pushed('a', { n: 2 })),
    ]);
  }
  add('push: byte by byte', [
    on('a'),
    plain(),
    send(...Array.from(frame, (byte) => hex([byte]))),
    events(pushed('a', { n: 1 }), pushed('a', { n: 2 })),
  ]);
}
add('push: of 65,536 bytes', [
  on('a'),
  plain(),
  send(push('a', 'x'.repeat(65531).replace(/^/, '"').replace(/.{1}$/, '"'))),
  events(pushed('a', 'x'.repeat(65530))),
]);
add('push: an empty frame is ignored', [on('a'), plain(), send(''), none, send(push('a', 1)), events(pushed('a', 1))]);

// The dictionary --------------------------------------------------------------------------------------------------

for (const [route, code] of [
  ['room.join', 1],
  ['x', 0],
  ['房间.x', 32767],
  ['é.a', 32768],
  ['onMessage', 65535],
  ['r'.repeat(300), 77],
]) {
  const sys = { dict: { [route]: code } };
  add(`dictionary: code ${code}`, [
    on(route),
    plain(sys),
    ask('a', route),
    tell(route),
    packets(data([1], [1], coded(code), utf8('{}')), data([3], coded(code), utf8('{}'))),
    send(data([7], coded(code), utf8('1'))),
    events(pushed(route, 1)),
  ]);
}
add('dictionary: routes that it lacks go out as text, and come so', [
  on('b'),
  plain({ dict: { a: 1 } }),
  tell('b'),
  packets(notify('b', {})),
  send(push('b', 1)),
  events(pushed('b', 1)),
]);
add('dictionary: a route that it has may come as text', [
  on('a'),
  plain({ dict: { a: 1 } }),
  send(push('a', 1)),
  events(pushed('a', 1)),
]);
add('dictionary: each connection has its own', [
  plain({ dict: { a: 1 } }),
  tell('a'),
  packets(data([3], coded(1), utf8('{}'))),
  cut,
  events(reconnecting('lost')),
  advance(100),
  dial,
  accept,
  shakes({}),
  send(welcome({ dict: { a: 2 } })),
  packets(ACK),
  events(connected),
  tell('a'),
  packets(data([3], coded(2), utf8('{}'))),
]);

// Malformed packets -----------------------------------------------------------------------------------------------

const malformed = {
  'an unknown packet type': packet(6),
  'packet type 0': packet(0),
  'packet type 255': packet(255),
  'an ack': packet(2),
  'a second handshake': welcome(),
  'a request': request(1, 'a', {}),
  'a notify': notify('a', {}),
  'an empty message': packet(4),
  'message type 4': packet(4, [8, 1]),
  'message type 7': packet(4, [14, 1]),
  'a gzip flag': packet(4, [0x16, 1, 0x61]),
  'an unknown flag': packet(4, [0x86, 1, 0x61]),
  'an error flag on a push': packet(4, [0x26, 1, 0x61]),
  'a response with a route code': packet(4, [5, 1]),
  'a response without an id': packet(4, [4]),
  'a response with id 0': packet(4, [4, 0]),
  'an id cut short': packet(4, [4, 0x80]),
  'an id without an end': packet(4, [4, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1]),
  'a push without a route length': packet(4, [6]),
  'a route cut short': packet(4, [6, 3, 0x61]),
  'a route that is not UTF-8': packet(4, [6, 2, 0xc3, 0x28]),
  'a route code cut short': packet(4, [7, 1]),
  'a route code that the dictionary lacks': packet(4, [7, 0, 9]),
};
for (const [name, frame] of Object.entries(malformed)) {
  add(`malformed: ${name} ends the connection`, [
    plain(),
    ask('a', 'r'),
    packets(request(1, 'r', {})),
    send(frame),
    closed('any'),
    events(failed('a', 'closed'), reconnecting('protocol')),
    advance(100),
    dial,
    accept,
    shakes({}),
  ]);
}
for (const name of ['an unknown packet type', 'an empty message', 'a route cut short', 'a second handshake']) {
  add(`malformed: ${name} ends the session that could be resumed`, [
    session(),
    send(malformed[name]),
    closed('leave'),
    events(reconnecting('protocol')),
    advance(100),
    dial,
    accept,
    shakes({}),
  ]);
}
add('malformed: what came before it counts', [
  on('a'),
  plain(),
  send(push('a', 1) + packet(9)),
  closed('any'),
  events(pushed('a', 1), reconnecting('protocol')),
]);
add('malformed: what comes behind it does not', [
  on('a'),
  plain(),
  send(packet(9) + push('a', 1)),
  closed('any'),
  events(reconnecting('protocol')),
]);

// Heartbeats ------------------------------------------------------------------------------------------------------

add('heartbeat: the client shows that it lives', [
  plain(),
  send(heartbeat()),
  advance(30000),
  alive,
  send(heartbeat()),
  advance(30000),
  alive,
]);
add('heartbeat: without resume a body is ignored', [plain(), send(packet(3, [1, 2, 3])), advance(1000), none]);
for (const [name, sys] of [
  ['without resume', {}],
  ['with resume', { resume: first }],
]) {
  add(`heartbeat: a server that is silent for three intervals is dead, ${name}`, [
    plain({ heartbeat: 10, ...sys }),
    advance(24000),
    none,
    advance(6500),
    closed('return'),
    events(reconnecting('timeout')),
    advance(100),
    dial,
  ]);
}
add('heartbeat: every packet is a sign of life', [
  plain({ heartbeat: 10 }),
  advance(20000),
  send(heartbeat()),
  advance(20000),
  send(push('x', 1)),
  advance(20000),
  send(response(9, 1)),
  advance(24000),
  none,
]);
add('heartbeat: without an interval nobody is dead', [plain({ heartbeat: 0 }), advance(10000000), none]);
add('heartbeat: after a sleep the dead connection is noticed within a second', [
  session({ heartbeat: 30 }),
  advance(5000),
  sleep(3600000),
  advance(1000),
  closed('return'),
  events(reconnecting('timeout')),
  advance(100),
  dial,
  accept,
  shakes({ token: token(1), received: 0 }),
]);
add('heartbeat: without resume too', [
  plain({ heartbeat: 30 }),
  advance(5000),
  sleep(3600000),
  advance(1000),
  closed('return'),
  events(reconnecting('timeout')),
  advance(100),
  dial,
]);
add('heartbeat: what waited in the socket during a sleep is a sign of life', [
  on('a'),
  session({ heartbeat: 30 }),
  advance(5000),
  sleep(3600000),
  send(push('a', 1)),
  events(pushed('a', 1)),
  advance(600),
  packets(heartbeat(1)),
  advance(1000),
  none,
]);
add('heartbeat: a short sleep changes nothing', [
  session({ heartbeat: 30 }),
  advance(5000),
  sleep(20000),
  advance(2000),
  none,
]);

// Acknowledgements ------------------------------------------------------------------------------------------------

const pushes = (n, from = 1) => Array.from({ length: n }, (_, i) => push('x', from + i));
add('ack: nothing came', [session(), advance(20000), none]);
add('ack: within a second of a packet', [
  session(),
  send(push('x', 1)),
  none,
  advance(1000),
  packets(heartbeat(1)),
  advance(5000),
  none,
]);
add('ack: within a second of the first of several packets', [
  session(),
  send(push('x', 1)),
  advance(100),
  send(push('x', 2)),
  advance(900),
  packets(heartbeat(2)),
  advance(2000),
  none,
]);
add('ack: 63 packets wait', [session(), send(...pushes(63)), none, advance(1000), packets(heartbeat(63))]);
add('ack: 64 packets do not', [session(), send(...pushes(64)), packets(heartbeat(64)), advance(5000), none]);
add('ack: 64 packets, twice', [
  session(),
  send(...pushes(64)),
  packets(heartbeat(64)),
  send(...pushes(64, 65)),
  packets(heartbeat(128)),
]);
add('ack: a frame of 200 packets is acknowledged once', [
  session(),
  send(pushes(200).join('')),
  packets(heartbeat(200)),
  advance(5000),
  none,
]);
// header 4, flag 1, route length 1, route 1
for (const [size, at] of [
  [16 * 1024 - 1, false],
  [16 * 1024, true],
  [16 * 1024 + 1, true],
]) {
  const wire = push('x', Buffer.concat([utf8('"'), Buffer.alloc(size - 9, 0x61), utf8('"')]));
  add(`ack: a packet of ${size} bytes ${at ? 'is acknowledged at once' : 'waits'}`, [
    session(),
    send(wire),
    at ? packets(heartbeat(1)) : none,
    advance(1000),
    at ? none : packets(heartbeat(1)),
  ]);
}
add('ack: bytes count together', [
  session(),
  send(push('x', utf8(`"${'a'.repeat(9000)}"`))),
  none,
  send(push('x', utf8(`"${'a'.repeat(9000)}"`))),
  packets(heartbeat(2)),
]);
add('ack: responses and error responses count', [
  session(),
  ask('a', 'r'),
  ask('b', 'r'),
  packets(request(1, 'r', {}), request(2, 'r', {})),
  send(response(1, 1), failure(2, { code: 'X', msg: '' })),
  events(reply('a', 1), failed('b', 'answer', { code: 'X', message: '', metadata: {} })),
  advance(1000),
  packets(heartbeat(2)),
]);
add('ack: a late answer counts', [session(), send(response(77, 1)), advance(1000), packets(heartbeat(1))]);
add('ack: an empty push counts', [
  on('x'),
  session(),
  send(push('x')),
  events(pushed('x')),
  advance(1000),
  packets(heartbeat(1)),
]);
add('ack: a push that does not decode counts', [
  on('x'),
  session(),
  send(push('x', utf8('{'))),
  events({ unreadable: 'x' }),
  advance(1000),
  packets(heartbeat(1)),
]);
add('ack: heartbeats do not count', [session(), send(heartbeat(), heartbeat(), heartbeat(0)), advance(5000), none]);
add('ack: an acknowledgement is not answered', [
  session(),
  tell('r'),
  packets(notify('r', {})),
  send(heartbeat(1)),
  none,
]);
add('ack: not without resume', [plain(), send(...pushes(100)), advance(5000), none]);
add('ack: counts of two bytes', [
  session(),
  send(pushes(127).join('')),
  packets(heartbeat(127)),
  send(push('x', 1)),
  advance(1000),
  packets(heartbeat(128)),
  send(pushes(172).join('')),
  packets(heartbeat(300)),
]);
const two = [tell('r', 1), tell('r', 2), packets(notify('r', 1), notify('r', 2))];
for (const [name, wire, fine] of [
  ['0', [0], true],
  ['1', [1], true],
  ['all', [2], true],
  ['more than was sent', [3], false],
  ['a huge number', [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f], false],
  ['a longer form of 1', [0x81, 0], false],
  ['a longer form of 0', [0x80, 0], false],
  ['a number cut short', [0x81], false],
  ['a number and a byte', [1, 0], false],
  ['two numbers', [1, 1], false],
  ['a number without an end', Array(10).fill(0x80).concat(1), false],
]) {
  add(`ack: the server acknowledges ${name}`, [
    session(),
    two,
    send(packet(3, wire)),
    ...(fine ? [none] : [closed('leave'), events(reconnecting('protocol'))]),
  ]);
}
add('ack: a smaller number is ignored', [
  session(),
  two,
  send(heartbeat(2), heartbeat(1)),
  none,
  lose(0),
  send(welcome({ resume: again(2) })),
  packets(ACK),
  events(resumed),
]);

// Resume ----------------------------------------------------------------------------------------------------------

add('resume: nothing was sent', [
  session(),
  lose(0),
  send(welcome({ resume: again(0) })),
  packets(ACK),
  events(resumed),
]);
for (const received of [0, 1, 2, 3]) {
  const sent = [1, 2, 3].map((n) => notify('r', n));
  add(`resume: of three messages the server has ${received}`, [
    session(),
    tell('r', 1),
    tell('r', 2),
    tell('r', 3),
    packets(...sent),
    lose(0),
    send(welcome({ resume: again(received) })),
    packets(ACK, ...sent.slice(received)),
    events(resumed),
  ]);
}
for (const received of [1, 2, 3]) {
  const sent = [1, 2, 3].map((n) => notify('r', n));
  add(`resume: one of three was acknowledged, the server has ${received}`, [
    session(),
    tell('r', 1),
    tell('r', 2),
    tell('r', 3),
    packets(...sent),
    send(heartbeat(1)),
    lose(0),
    send(welcome({ resume: again(received) })),
    packets(ACK, ...sent.slice(received)),
    events(resumed),
  ]);
}
add('resume: the server has less than it acknowledged', [
  session(),
  two,
  send(heartbeat(2)),
  lose(0),
  send(welcome({ resume: again(1) })),
  closed('leave'),
  events(reconnecting('overflow')),
  advance(200),
  dial,
  accept,
  shakes({}),
]);
add('resume: the server has more than was sent', [
  session(),
  two,
  lose(0),
  send(welcome({ resume: again(3) })),
  closed('leave'),
  events(reconnecting('protocol')),
  advance(200),
  dial,
  accept,
  shakes({}),
]);
for (const [name, received] of [
  ['a text', '1'],
  ['a fraction', 0.5],
  ['missing', undefined],
  ['null', null],
]) {
  add(`resume: the server's count is ${name}`, [
    session(),
    two,
    lose(0),
    send(welcome({ resume: { ...again(0), received } })),
    closed('leave'),
    events(reconnecting('protocol')),
  ]);
}
add('resume: an answer without a token', [
  session(),
  lose(0),
  send(welcome({ resume: { ...again(0), token: undefined } })),
  closed('any'),
  events(reconnecting('protocol')),
]);
add('resume: a first session cannot be resumed', [
  connect,
  dial,
  accept,
  shakes({}),
  send(welcome({ resume: again(0) })),
  closed('any'),
  events(connecting, over('protocol')),
]);
add('resume: the count of what came', [
  session(),
  send(...pushes(5)),
  lose(5),
  send(welcome({ resume: again(0) })),
  packets(ACK),
  events(resumed),
]);
add('resume: what came counts although it was not acknowledged, and is not acknowledged again', [
  session(),
  send(...pushes(5)),
  lose(5),
  send(welcome({ resume: again(0) })),
  packets(ACK),
  events(resumed),
  advance(5000),
  none,
]);
add('resume: counts go on', [
  session(),
  send(...pushes(5)),
  lose(5),
  send(welcome({ resume: again(0) })),
  packets(ACK),
  events(resumed),
  send(push('x', 6)),
  advance(1000),
  packets(heartbeat(6)),
]);
add('resume: the threshold counts from the handshake', [
  session(),
  send(...pushes(40)),
  lose(40),
  send(welcome({ resume: again(0) })),
  packets(ACK),
  events(resumed),
  send(...pushes(63, 41)),
  none,
  send(push('x', 104)),
  packets(heartbeat(104)),
]);
add('resume: a packet that was cut does not count', [
  on('x'),
  session(),
  send(push('x', 1) + push('x', 2).slice(0, 10)),
  events(pushed('x', 1)),
  lose(1),
  send(welcome({ resume: again(0) })),
  packets(ACK),
  events(resumed),
  send(push('x', 2)),
  events(pushed('x', 2)),
  advance(1000),
  packets(heartbeat(2)),
]);
add('resume: the answer of a request comes over the next connection', [
  session(),
  ask('a', 'r'),
  packets(request(1, 'r', {})),
  lose(0),
  send(welcome({ resume: again(1) })),
  packets(ACK),
  events(resumed),
  send(response(1, { ok: 1 })),
  events(reply('a', { ok: 1 })),
]);
add('resume: a request that was lost goes out again', [
  session(),
  ask('a', 'r'),
  packets(request(1, 'r', {})),
  lose(0),
  send(welcome({ resume: again(0) })),
  packets(ACK, request(1, 'r', {})),
  events(resumed),
  send(response(1, 1)),
  events(reply('a', 1)),
]);
add('resume: ids go on', [
  session(),
  ask('a', 'r'),
  packets(request(1, 'r', {})),
  lose(0),
  send(welcome({ resume: again(1) })),
  packets(ACK),
  events(resumed),
  ask('b', 'r'),
  packets(request(2, 'r', {})),
  send(response(2, 2), response(1, 1)),
  events(reply('b', 2), reply('a', 1)),
]);
add(
  'resume: a request gives up while there is no connection',
  [
    session(),
    ask('a', 'r'),
    packets(request(1, 'r', {})),
    cut,
    events(reconnecting('lost')),
    advance(100),
    dial,
    advance(400),
    events(failed('a', 'timeout')),
  ],
  { timeout: 500 },
);
add('resume: a request that waits is canceled, and does not go out', [
  session(),
  cut,
  events(reconnecting('lost')),
  ask('a', 'r'),
  ask('b', 's'),
  cancel('a'),
  events(failed('a', 'canceled')),
  advance(100),
  dial,
  accept,
  shakes({ token: token(1), received: 0 }),
  send(welcome({ resume: again(0) })),
  packets(ACK, request(2, 's', {})),
  events(resumed),
]);
add(
  'resume: a request that waits and times out does not go out',
  [
    session(),
    cut,
    events(reconnecting('lost')),
    ask('a', 'r'),
    advance(500),
    dial,
    events(failed('a', 'timeout')),
    accept,
    shakes({ token: token(1), received: 0 }),
    send(welcome({ resume: again(0) })),
    packets(ACK),
    events(resumed),
  ],
  { timeout: 500 },
);
add('resume: a request that went out and was canceled goes out again if the server lacks it', [
  session(),
  ask('a', 'r'),
  packets(request(1, 'r', {})),
  cancel('a'),
  events(failed('a', 'canceled')),
  lose(0),
  send(welcome({ resume: again(0) })),
  packets(ACK, request(1, 'r', {})),
  events(resumed),
]);
add('resume: messages wait for the connection, in order', [
  session(),
  tell('r', 1),
  packets(notify('r', 1)),
  cut,
  events(reconnecting('lost')),
  tell('r', 2),
  ask('a', 'q', 3),
  tell('r', 4),
  advance(100),
  dial,
  accept,
  shakes({ token: token(1), received: 0 }),
  send(welcome({ resume: again(0) })),
  packets(ACK, notify('r', 1), notify('r', 2), request(1, 'q', 3), notify('r', 4)),
  events(resumed),
]);
add('resume: messages that wait are sent once', [
  session(),
  cut,
  events(reconnecting('lost')),
  tell('r', 1),
  advance(100),
  dial,
  accept,
  shakes({ token: token(1), received: 0 }),
  send(welcome({ resume: again(0) })),
  packets(ACK, notify('r', 1)),
  events(resumed),
  lose(0, 2),
  send(welcome({ resume: again(1, 3) })),
  packets(ACK),
  events(resumed),
]);
add('resume: messages may be sent while the handshake is under way', [
  session(),
  lose(0),
  tell('r', 1),
  none,
  send(welcome({ resume: again(0) })),
  packets(ACK, notify('r', 1)),
  events(resumed),
]);
add(
  'resume: a message fails, as the program asked',
  [
    session(),
    cut,
    events(reconnecting('lost')),
    tell('r', 1, { fails: 'closed' }),
    ask('a', 'r'),
    events(failed('a', 'closed')),
  ],
  { offline: 'fail' },
);
add('resume: one message fails, as the program asked', [
  session(),
  cut,
  events(reconnecting('lost')),
  tell('r', 1, { offline: 'fail', fails: 'closed' }),
  tell('r', 2),
  advance(100),
  dial,
  accept,
  shakes({ token: token(1), received: 0 }),
  send(welcome({ resume: again(0) })),
  packets(ACK, notify('r', 2)),
  events(resumed),
]);
add(
  'resume: one message waits, as the program asked',
  [
    session(),
    cut,
    events(reconnecting('lost')),
    tell('r', 1, { fails: 'closed' }),
    tell('r', 2, { offline: 'wait' }),
    advance(100),
    dial,
    accept,
    shakes({ token: token(1), received: 0 }),
    send(welcome({ resume: again(0) })),
    packets(ACK, notify('r', 2)),
    events(resumed),
  ],
  { offline: 'fail' },
);
// notify('r', 1): header 4, flag 1, route 2, body 1: 8 bytes
add(
  'resume: what waits is bounded',
  [
    session(),
    cut,
    events(reconnecting('lost')),
    tell('r', 1),
    tell('r', 2),
    tell('r', 3, { fails: 'full' }),
    advance(100),
    dial,
    accept,
    shakes({ token: token(1), received: 0 }),
    send(welcome({ resume: again(0) })),
    packets(ACK, notify('r', 1), notify('r', 2)),
    events(resumed),
  ],
  { buffer: 16 },
);
add(
  'resume: what was not acknowledged counts against the bound',
  [
    session(),
    tell('r', 1),
    packets(notify('r', 1)),
    cut,
    events(reconnecting('lost')),
    tell('r', 2),
    tell('r', 3, { fails: 'full' }),
  ],
  { buffer: 16 },
);
add(
  'resume: with a connection the oldest is forgotten, and the connection goes on',
  [
    session(),
    [1, 2, 3, 4].map((n) => tell('r', n)),
    packets(...[1, 2, 3, 4].map((n) => notify('r', n))),
    send(heartbeat(3)),
    none,
  ],
  { buffer: 16 },
);
add(
  'resume: what was forgotten is not needed',
  [
    session(),
    [1, 2, 3].map((n) => tell('r', n)),
    packets(...[1, 2, 3].map((n) => notify('r', n))),
    lose(0),
    send(welcome({ resume: again(1) })),
    packets(ACK, notify('r', 2), notify('r', 3)),
    events(resumed),
  ],
  { buffer: 16 },
);
add(
  'resume: what was forgotten is needed',
  [
    session(),
    [1, 2, 3].map((n) => tell('r', n)),
    packets(...[1, 2, 3].map((n) => notify('r', n))),
    lose(0),
    send(welcome({ resume: again(0) })),
    closed('leave'),
    events(reconnecting('overflow')),
    advance(200),
    dial,
    accept,
    shakes({}),
  ],
  { buffer: 16 },
);
add('resume: tokens rotate', [
  session(),
  lose(0),
  send(welcome({ resume: again(0, 2) })),
  packets(ACK),
  events(resumed),
  lose(0, 2),
  send(welcome({ resume: again(0, 3) })),
  packets(ACK),
  events(resumed),
  lose(0, 3),
]);
add('resume: an attempt that breaks before the answer keeps the token', [
  session(),
  lose(0),
  cut,
  events(reconnecting('lost')),
  advance(200),
  dial,
  accept,
  shakes({ token: token(1), received: 0 }),
]);
add('resume: an attempt that fails keeps the token', [
  session(),
  cut,
  events(reconnecting('lost')),
  advance(100),
  dial,
  refuse,
  events(reconnecting('lost')),
  advance(200),
  dial,
  refuse,
  events(reconnecting('lost')),
  advance(400),
  dial,
  accept,
  shakes({ token: token(1), received: 0 }),
]);
add('resume: a connection that breaks right after the answer goes on with the new token', [
  session(),
  two,
  lose(0),
  send(welcome({ resume: again(1) })),
  packets(ACK, notify('r', 2)),
  events(resumed),
  cut,
  events(reconnecting('lost')),
  advance(200),
  dial,
  accept,
  shakes({ token: token(2), received: 0 }),
  send(welcome({ resume: again(1, 3) })),
  packets(ACK, notify('r', 2)),
  events(resumed),
]);
{
  const steps = [on('x'), session()];
  for (let n = 1; n <= 8; n++) {
    steps.push(
      tell('r', n),
      packets(notify('r', n)),
      send(push('x', n)),
      events(pushed('x', n)),
      cut,
      events(reconnecting('lost')),
      advance(5000),
      dial,
      accept,
      shakes({ token: token(n), received: n }),
      send(welcome({ resume: again(n % 2 ? n - 1 : n, n + 1) })),
      packets(ACK, ...(n % 2 ? [notify('r', n)] : [])),
      events(resumed),
    );
  }
  add('resume: eight times in a row', steps);
}
add('resume: the dictionary of the new connection', [
  session({ dict: { a: 1 } }),
  tell('a', 1),
  packets(data([3], coded(1), utf8('1'))),
  lose(0),
  send(welcome({ dict: { a: 1 }, resume: again(0) })),
  packets(ACK, data([3], coded(1), utf8('1'))),
  events(resumed),
]);
add('resume: an acknowledgement of the server after it', [
  session(),
  two,
  lose(0),
  send(welcome({ resume: again(0) })),
  packets(ACK, notify('r', 1), notify('r', 2)),
  events(resumed),
  send(heartbeat(2)),
  lose(0, 2),
  send(welcome({ resume: again(2, 3) })),
  packets(ACK),
  events(resumed),
]);
add(
  'resume: user data goes along',
  [
    connect,
    dial,
    accept,
    shakes({}, { user: 'ann' }),
    send(welcome({ resume: first })),
    packets(ACK),
    events(connecting, connected),
    cut,
    events(reconnecting('lost')),
    advance(100),
    dial,
    accept,
    shakes({ token: token(1), received: 0 }, { user: 'ann' }),
  ],
  { user: 'ann' },
);
for (const reason of ['unknown', 'expired', 'overflow', 'ended']) {
  add(`resume: it fails with ${reason}, and a new session begins`, [
    session(),
    ask('a', 'r'),
    tell('r', 1),
    packets(request(1, 'r', {}), notify('r', 1)),
    send(...pushes(3)),
    lose(3),
    send(welcome({ resume: refusedResume(reason) })),
    packets(ACK),
    events(failed('a', 'closed'), anew(reason)),
    ask('b', 'r'),
    packets(request(1, 'r', {})),
    send(push('x', 1)),
    advance(1000),
    packets(heartbeat(1)),
    lose(1, 2),
  ]);
}
add('resume: messages that waited do not go to the new session', [
  session(),
  cut,
  events(reconnecting('lost')),
  tell('r', 1),
  ask('a', 'r'),
  advance(100),
  dial,
  accept,
  shakes({ token: token(1), received: 0 }),
  send(welcome({ resume: refusedResume('expired') })),
  packets(ACK),
  events(failed('a', 'closed'), anew('expired')),
]);
add('resume: the server has lost the ability', [
  session(),
  ask('a', 'r'),
  packets(request(1, 'r', {})),
  lose(0),
  send(welcome()),
  packets(ACK),
  events(failed('a', 'closed'), anew('unknown')),
  cut,
  events(reconnecting('lost')),
  advance(200),
  dial,
  accept,
  shakes({}),
]);
add('resume: the server refuses the handshake', [
  session(),
  ask('a', 'r'),
  packets(request(1, 'r', {})),
  lose(0),
  send(packet(1, utf8({ code: 500, message: 'no' }))),
  closed('any'),
  events(failed('a', 'closed'), over('refused')),
  advance(10000),
  none,
]);
for (const [code, final] of [
  ['kicked', true],
  ['replaced', true],
  ['limit', true],
  ['shutdown', false],
  ['server', false],
  ['slow', false],
]) {
  const body = { reason: 'why', code };
  add(`resume: ended, with the kick ${code} that was missed`, [
    session(),
    ask('a', 'r'),
    packets(request(1, 'r', {})),
    lose(0),
    send(welcome({ resume: refusedResume('ended', 2, { kick: body }) })),
    ...(final
      ? [closed('any'), events(kicked(code, 'why'), failed('a', 'closed'), over(code)), advance(10000), none]
      : [packets(ACK), events(kicked(code, 'why'), failed('a', 'closed'), anew('ended'))]),
  ]);
}
add('resume: ended, with a kick without a code', [
  session(),
  lose(0),
  send(
    welcome({
      resume: refusedResume('ended', 2, {
        kick: { reason: 'logged in elsewhere' },
      }),
    }),
  ),
  closed('any'),
  events(kicked('replaced', 'logged in elsewhere'), over('replaced')),
]);
add('resume: after the program closed, a new session begins', [
  session(),
  close,
  closed('leave'),
  events(over('client')),
  session(),
]);
add('resume: the program closes while there is no connection', [
  session(),
  ask('a', 'r'),
  packets(request(1, 'r', {})),
  cut,
  events(reconnecting('lost')),
  close,
  events(failed('a', 'closed'), over('client')),
  advance(10000),
  none,
]);
add('resume: a server that is silent', [
  session({ heartbeat: 10 }),
  advance(30500),
  closed('return'),
  events(reconnecting('timeout')),
  advance(100),
  dial,
  accept,
  shakes({ token: token(1), received: 0 }),
]);
add(
  'resume: a handshake that takes too long',
  [
    session(),
    cut,
    events(reconnecting('lost')),
    advance(100),
    dial,
    accept,
    shakes({ token: token(1), received: 0 }),
    advance(3000),
    closed('return'),
    events(reconnecting('timeout')),
    advance(200),
    dial,
    accept,
    shakes({ token: token(1), received: 0 }),
  ],
  { connectTimeout: 3000 },
);
add(
  'resume: not if the client does not reconnect',
  [
    connect,
    dial,
    accept,
    shakes(),
    send(welcome({ resume: first })),
    packets(ACK),
    events(connecting, connected),
    ask('a', 'r'),
    packets(request(1, 'r', {})),
    send(...pushes(70)),
    none,
    cut,
    events(failed('a', 'closed'), over('lost')),
    advance(10000),
    none,
  ],
  { reconnect: false },
);

// Kicks and closes ------------------------------------------------------------------------------------------------

for (const [code, final] of [
  ['kicked', true],
  ['replaced', true],
  ['limit', true],
  ['shutdown', false],
  ['server', false],
  ['heartbeat', false],
  ['slow', false],
  ['protocol', false],
  ['handshake', false],
  ['client', false],
  ['something new', false],
]) {
  for (const [name, start] of [
    ['', plain()],
    [', with resume', session()],
  ]) {
    add(`kick: ${code}${name}`, [
      start,
      send(kick({ reason: 'why', code })),
      closed('any'),
      ...(final
        ? [events(kicked(code, 'why'), over(code)), advance(10000), none]
        : [events(kicked(code, 'why'), reconnecting(code)), advance(100), dial, accept, shakes({})]),
    ]);
  }
}
for (const [text, code, final] of [
  ['server shutdown', 'shutdown', false],
  ['logged in elsewhere', 'replaced', true],
  ['rate limit', 'limit', true],
  ['banned', 'kicked', true],
  ['constructor', 'kicked', true],
  ['', 'kicked', true],
]) {
  add(`kick: an older server's ${JSON.stringify(text)}`, [
    plain(),
    send(kick({ reason: text })),
    closed('any'),
    events(kicked(code, text), final ? over(code) : reconnecting(code)),
    ...(final ? [advance(10000), none] : [advance(100), dial, accept, shakes({})]),
  ]);
}
for (const [name, value, reason] of [
  ['a text', '"banned"', 'banned'],
  ['a number', '7', 7],
  ['null', 'null', null],
  ['an object without a reason', '{"x":1}', { x: 1 }],
  ['a code that is no text', '{"reason":"r","code":7}', 'r'],
]) {
  add(`kick: its body is ${name}`, [
    plain(),
    send(packet(5, utf8(value))),
    closed('any'),
    events(kicked('kicked', reason), over('kicked')),
  ]);
}
add('kick: requests that wait fail', [
  plain(),
  ask('a', 'r'),
  packets(request(1, 'r', {})),
  send(kick({ reason: 'x', code: 'kicked' })),
  closed('any'),
  events(kicked('kicked', 'x'), failed('a', 'closed'), over('kicked')),
]);
add('kick: what came before it counts', [
  on('a'),
  plain(),
  send(push('a', 1) + kick({ reason: 'x', code: 'kicked' }) + push('a', 2)),
  closed('any'),
  events(pushed('a', 1), kicked('kicked', 'x'), over('kicked')),
]);
add('kick: after it the client connects anew, as the program asks', [
  plain(),
  send(kick({ reason: 'x', code: 'kicked' })),
  closed('any'),
  events(kicked('kicked', 'x'), over('kicked')),
  session(),
]);
for (const code of [1000, 1001, 1002, 1003, 1005, 1006, 1008, 1009, 1011, 1012, 1013, 4000]) {
  add(`close: the server closes with ${code}`, [
    session(),
    ends(code),
    events(reconnecting('lost')),
    advance(100),
    dial,
    accept,
    shakes({ token: token(1), received: 0 }),
  ]);
}
add('close: without resume the client reconnects too', [
  plain(),
  ends(1001),
  events(reconnecting('lost')),
  advance(100),
  dial,
  accept,
  shakes({}),
  send(welcome()),
  packets(ACK),
  events(connected),
]);
add('close: the program closes', [session(), close, closed('leave'), events(over('client')), advance(10000), none]);
add('close: the program closes twice', [plain(), close, close, closed('leave'), events(over('client'))]);
add('close: before connect it does nothing', [close, none]);

// Reconnecting ----------------------------------------------------------------------------------------------------

add('reconnect: turned off', [plainOff(), cut, events(over('lost')), advance(100000), none], { reconnect: false });
add(
  'reconnect: turned off, a shutdown',
  [
    plainOff(),
    send(kick({ reason: 'server shutdown', code: 'shutdown' })),
    closed('any'),
    events(kicked('shutdown', 'server shutdown'), over('shutdown')),
    advance(100000),
    none,
  ],
  { reconnect: false },
);
{
  const steps = [plain(), cut];
  for (let n = 1; n <= 10; n++)
    steps.push(events(reconnecting('lost')), advance(Math.min(5000, 100 * 2 ** (n - 1))), dial, refuse);
  steps.push(
    events(reconnecting('lost')),
    advance(5000),
    dial,
    accept,
    shakes({}),
    send(welcome()),
    packets(ACK),
    events(connected),
  );
  add('reconnect: the bound of the wait doubles from 100 ms to 5 s', steps);
  add('reconnect: after a connection that was good, the bound begins anew', [
    ...steps,
    advance(10000),
    cut,
    events(reconnecting('lost')),
    advance(100),
    dial,
  ]);
}
add('reconnect: a refusal ends it', [
  plain(),
  cut,
  events(reconnecting('lost')),
  advance(100),
  dial,
  accept,
  shakes({}),
  send(packet(1, utf8({ code: 501, message: 'old' }))),
  closed('any'),
  events(over('refused')),
  advance(100000),
  none,
]);
add(
  'reconnect: a server that does not answer',
  [
    plain(),
    cut,
    events(reconnecting('lost')),
    advance(100),
    dial,
    advance(3000),
    closed('any'),
    events(reconnecting('timeout')),
    advance(200),
    dial,
  ],
  { connectTimeout: 3000 },
);
add('reconnect: listeners stay', [
  on('a'),
  plain(),
  cut,
  events(reconnecting('lost')),
  advance(100),
  dial,
  accept,
  shakes({}),
  send(welcome()),
  packets(ACK),
  events(connected),
  send(push('a', 1)),
  events(pushed('a', 1)),
]);
add('reconnect: without resume, messages do not wait', [
  plain(),
  cut,
  events(reconnecting('lost')),
  tell('r', 1, { fails: 'closed' }),
  ask('a', 'r'),
  events(failed('a', 'closed')),
]);
add('reconnect: without resume, ids begin anew', [
  plain(),
  ask('a', 'r'),
  packets(request(1, 'r', {})),
  send(response(1, 1)),
  events(reply('a', 1)),
  cut,
  events(reconnecting('lost')),
  advance(100),
  dial,
  accept,
  shakes({}),
  send(welcome()),
  packets(ACK),
  events(connected),
  ask('b', 'r'),
  packets(request(1, 'r', {})),
]);
add('reconnect: the server has resume now', [
  plain(),
  cut,
  events(reconnecting('lost')),
  advance(100),
  dial,
  accept,
  shakes({}),
  send(welcome({ resume: first })),
  packets(ACK),
  events(connected),
  lose(0),
  send(welcome({ resume: again(0) })),
  packets(ACK),
  events(resumed),
]);

function plainOff() {
  return [connect, dial, accept, shakes(), send(welcome()), packets(ACK), events(connecting, connected)];
}

const shorten = (key, value) => (key !== 'hex' ? value : Array.isArray(value) ? value.map(short) : short(value));
const lines = cases.map((one) => JSON.stringify(one, shorten));
export const table = `{"version":1,"cases":[\n${lines.join(',\n')}\n]}\n`;
export const count = cases.length;
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(new URL('client.json', import.meta.url), table);
  console.log(`${count} cases, ${table.length} bytes`);
}

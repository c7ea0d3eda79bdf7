// The encoder of the table and the steps of its cases. The encoder shares nothing with a client: a fault of one shows.

export const hex = (data) => Buffer.from(data).toString('hex');
export const utf8 = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));

export function packet(type, body = []) {
  const bytes = Buffer.from(body);
  return hex(
    Buffer.concat([Buffer.from([type, bytes.length >> 16, (bytes.length >> 8) & 255, bytes.length & 255]), bytes]),
  );
}

export function varint(n) {
  const bytes = [];
  for (let rest = BigInt(n); ; rest >>= 7n) {
    if (rest < 128n) return Buffer.from([...bytes, Number(rest)]);
    bytes.push(Number(rest & 127n) | 128);
  }
}

export const named = (route) => Buffer.concat([Buffer.from([Buffer.byteLength(route)]), utf8(route)]);
export const coded = (code) => Buffer.from([code >> 8, code & 255]);
export const body = (value) => (value === undefined ? Buffer.alloc(0) : Buffer.isBuffer(value) ? value : utf8(value));
export const data = (...parts) => packet(4, Buffer.concat(parts.map((part) => Buffer.from(part))));

export const request = (id, route, value) => data([0], varint(id), named(route), body(value));
export const notify = (route, value) => data([2], named(route), body(value));
export const response = (id, value) => data([4], varint(id), body(value));
export const failure = (id, value) => data([0x24], varint(id), body(value));
export const push = (route, value) => data([6], named(route), body(value));
export const kick = (value) => packet(5, body(value));
export const heartbeat = (count) => packet(3, count === undefined ? [] : varint(count));
export const ACK = packet(2);
export const welcome = (sys = {}, more = {}) => packet(1, utf8({ code: 200, sys: { heartbeat: 30, ...sys }, ...more }));

// Steps
export const connect = { call: 'connect' };
export const close = { call: 'close' };
export const on = (route) => ({ call: 'on', route });
export const ask = (id, route, json = {}) => ({ call: 'request', id, route, json });
export const tell = (route, json = {}, more = {}) => ({
  call: 'notify',
  route,
  json,
  ...more,
});
export const cancel = (id) => ({ call: 'cancel', id });
export const accept = { server: 'accept' };
export const refuse = { server: 'refuse' };
export const send = (...frames) => ({ server: 'send', hex: frames });
export const cut = { server: 'cut' };
export const ends = (code) => ({ server: 'close', code });
export const advance = (ms) => ({ advance: ms });
export const sleep = (ms) => ({ sleep: ms });
export const dial = { expect: 'dial' };
export const none = { expect: 'none' };
export const alive = { expect: 'alive' };
export const shakes = (resume, more = {}) => ({
  expect: 'handshake',
  ...(resume && { resume }),
  ...more,
});
export const packets = (...list) => ({ expect: 'packets', hex: list });
export const closed = (how) => ({ expect: 'closed', how });
export const events = (...list) => ({ expect: 'events', events: list });

// Events
export const connecting = { status: 'connecting' };
export const connected = { status: 'connected', resumed: false };
export const resumed = { status: 'connected', resumed: true };
export const anew = (reason) => ({ status: 'connected', resumed: false, reason });
export const reconnecting = (reason) => ({ status: 'reconnecting', reason });
export const over = (reason) => ({ status: 'closed', reason });
export const pushed = (route, json) => ({
  push: route,
  ...(json !== undefined && { json }),
});
export const reply = (id, json) => ({
  reply: id,
  ...(json !== undefined && { json }),
});
export const failed = (id, kind, more) => ({ failed: id, kind, ...more });
export const kicked = (code, reason) => ({ kick: code, reason });

export const token = (n) => `token-${n}`.padEnd(22, 'x');
export const first = { token: token(1), window: 30, resumed: false };
export const again = (received, n = 2) => ({
  token: token(n),
  window: 30,
  resumed: true,
  received,
});
export const refusedResume = (reason, n = 2, more = {}) => ({
  token: token(n),
  window: 30,
  resumed: false,
  reason,
  ...more,
});

/** A client that is connected to a server without resume. */
export const plain = (sys, more) => [
  connect,
  dial,
  accept,
  shakes({}),
  send(welcome(sys, more)),
  packets(ACK),
  events(connecting, connected),
];
/** A client that has a session that can be resumed. */
export const session = (sys) => plain({ ...sys, resume: first });
/** The connection breaks, and the client has sent its next handshake. */
export const lose = (received, n = 1) => [
  cut,
  events(reconnecting('lost')),
  advance(5000),
  dial,
  accept,
  shakes({ token: token(n), received }),
];

export const cases = [];
export const add = (name, steps, options) =>
  cases.push({
    name,
    ...(options && { options }),
    steps: steps.flat(Infinity),
  });

/** Pushes of n numbers. */
export const pushes = (n, from = 1) => Array.from({ length: n }, (_, i) => push('x', from + i));
/** Two notifies. */
export const two = [tell('r', 1), tell('r', 2), packets(notify('r', 1), notify('r', 2))];

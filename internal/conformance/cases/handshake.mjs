import {
  ACK,
  accept,
  add,
  advance,
  close,
  closed,
  connect,
  connected,
  connecting,
  cut,
  dial,
  events,
  heartbeat,
  hex,
  kick,
  none,
  on,
  over,
  packet,
  packets,
  plain,
  push,
  pushed,
  reconnecting,
  refuse,
  send,
  shakes,
  utf8,
  welcome,
} from './steps.mjs';

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

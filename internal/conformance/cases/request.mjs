import {
  ACK,
  accept,
  add,
  advance,
  ask,
  cancel,
  close,
  closed,
  connected,
  cut,
  data,
  dial,
  events,
  failed,
  failure,
  hex,
  named,
  none,
  notify,
  over,
  packets,
  plain,
  reconnecting,
  reply,
  request,
  response,
  send,
  session,
  shakes,
  tell,
  utf8,
  varint,
  welcome,
} from './steps.mjs';

// Requests

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
add(
  'request: the timer of one that was answered does not end another of the same id',
  [
    plain(),
    ask('a', 'r'),
    packets(request(1, 'r', {})),
    send(response(1, 1)),
    events(reply('a', 1)),
    cut,
    events(reconnecting('lost')),
    advance(400),
    dial,
    accept,
    shakes({}),
    send(welcome()),
    packets(ACK),
    events(connected),
    ask('b', 'r'),
    packets(request(1, 'r', {})),
    advance(200),
    none,
    send(response(1, 2)),
    events(reply('b', 2)),
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

// Notifies

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

// The largest packet

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

import {
  ACK,
  accept,
  add,
  advance,
  ask,
  coded,
  connected,
  cut,
  data,
  dial,
  events,
  hex,
  none,
  notify,
  on,
  packets,
  plain,
  push,
  pushed,
  reconnecting,
  reply,
  request,
  response,
  send,
  shakes,
  tell,
  utf8,
  welcome,
} from './steps.mjs';

// Pushes

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

// The dictionary

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

import {
  ACK,
  accept,
  add,
  advance,
  ask,
  close,
  closed,
  connected,
  dial,
  ends,
  events,
  failed,
  kick,
  kicked,
  none,
  on,
  over,
  packet,
  packets,
  plain,
  push,
  pushed,
  reconnecting,
  request,
  send,
  session,
  shakes,
  token,
  utf8,
  welcome,
} from './steps.mjs';

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
  ['a code that is not a text', '{"reason":"r","code":7}', 'r'],
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

import {
  ACK,
  accept,
  add,
  advance,
  again,
  alive,
  ask,
  closed,
  dial,
  events,
  failed,
  failure,
  first,
  heartbeat,
  lose,
  none,
  notify,
  on,
  packet,
  packets,
  plain,
  push,
  pushed,
  pushes,
  reconnecting,
  reply,
  request,
  response,
  resumed,
  send,
  session,
  shakes,
  sleep,
  tell,
  token,
  two,
  utf8,
  welcome,
} from './steps.mjs';

// Heartbeats

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

// Acknowledgments

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
add('ack: an acknowledgment is not answered', [
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
add('ack: a smaller number takes nothing back', [
  session(),
  two,
  send(heartbeat(2), heartbeat(1)),
  lose(0),
  send(welcome({ resume: again(1) })),
  closed('leave'),
  events(reconnecting('overflow')),
  advance(200),
  dial,
]);
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

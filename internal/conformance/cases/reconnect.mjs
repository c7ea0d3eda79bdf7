import {
  ACK,
  accept,
  add,
  advance,
  again,
  ask,
  closed,
  connect,
  connected,
  connecting,
  cut,
  dial,
  events,
  failed,
  first,
  kick,
  kicked,
  lose,
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
  reply,
  request,
  response,
  resumed,
  send,
  shakes,
  tell,
  utf8,
  welcome,
} from './steps.mjs';

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

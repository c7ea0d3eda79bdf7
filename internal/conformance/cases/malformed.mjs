import {
  accept,
  add,
  advance,
  ask,
  closed,
  dial,
  events,
  failed,
  notify,
  on,
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
  welcome,
} from './steps.mjs';

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

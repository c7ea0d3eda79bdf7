import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runInNewContext } from 'node:vm';

import { raw } from '../nano.js';
import { RoomClient } from '../room.js';
import { StateError } from '../state.js';
import { FakeSocket, welcome } from './fake.js';

const bytes = (hex) => Uint8Array.from(Buffer.from(hex.replaceAll(' ', ''), 'hex'));

const SCHEMA = [
  ['Pond', ['round', 'int'], ['frogs', 'map', 'uint', ['obj', 1]]],
  ['Frog', ['name', 'str'], ['x', 'q', 10]],
];
// Tick 1, round 1: Ann enters at x = 10.0; then she moves 0.5 to the right.
const SNAPSHOT = bytes('07 00 03 02 01 00 02 03 01 03 41 6e 6e c8 01 00');
const PATCH = bytes('04 02 02 02 0a');

/** A client whose server is the test. */
class Fake extends RoomClient {
  constructor(answers) {
    super('ws://pond.test/', { WebSocket: class {} });
    this.answers = answers;
    this.sent = [];
  }

  on(route, fn) {
    (this.pushes ??= {})[route] = fn;
    return this;
  }

  async request(route, body) {
    this.sent.push([route, body]);
    return this.answers(route, body);
  }

  notify(route, body) {
    this.sent.push([route, body]);
  }
}

/** Opens a client, and returns it and its socket, the other end of which announces a serializer. */
async function open(serializer, options) {
  const client = new RoomClient('ws://pond.test/', { WebSocket: FakeSocket, ...options });
  const connected = client.connect();
  const socket = FakeSocket.last;
  socket.open();
  socket.receive(welcome({ serializer }));
  await connected;
  return [client, socket];
}

const joined = {
  id: '0-a',
  kind: 'pond',
  player: 1,
  tickRate: 20,
  sendRate: 20,
  hash: 'h1',
  schema: SCHEMA,
  reply: { hi: 1 },
};

test('a room follows its state', async () => {
  const client = new Fake(function (route) {
    if (route === 'room.joinOrCreate') this.pushes['room.state'](SNAPSHOT); // before the answer
    return joined;
  });
  const pond = await client.joinOrCreate('pond', { name: 'ann' }, { filter: { mode: 'duel' } });
  assert.deepEqual(client.sent[0], [
    'room.joinOrCreate',
    { kind: 'pond', options: { name: 'ann' }, hash: undefined, filter: { equal: { mode: 'duel' } } },
  ]);
  assert.equal(client.room, pond);
  assert.deepEqual([pond.id, pond.kind, pond.player, pond.spectator, pond.reply], ['0-a', 'pond', 1, false, { hi: 1 }]);
  assert.deepEqual(JSON.parse(JSON.stringify(pond.state)), { round: 1, frogs: { 1: { name: 'Ann', x: 10 } } });

  const log = [];
  pond.on('frogs', { change: (frog, key) => log.push(`${key} ${frog.x}`) });
  pond.addEventListener('change', () => log.push('change'));
  pond.addEventListener('error', ({ error }) => log.push(error.code));
  client.pushes['room.state'](PATCH);
  client.pushes['room.state'](new Uint8Array()); // a message that was missed
  client.pushes['room.state'](bytes('04 02 7f'));
  assert.deepEqual(log, ['1 10.5', 'change', 'malformed']);
  assert.equal(pond.synced, false);
  client.pushes['room.state'](SNAPSHOT);
  assert.equal(pond.synced, true);
  assert.equal(pond.state.frogs[1].x, 10);
});

test('messages go to the routes of the kind', async () => {
  const client = new Fake(() => joined);
  const pond = await client.joinOrCreate('pond');
  client.sent = [];
  pond.send('jump', { dx: 1 });
  assert.equal(pond.input('Swim', { dx: 2 }), 1);
  assert.equal(pond.input('Swim'), 2);
  await pond.request('jump');
  await pond.leave();
  assert.deepEqual(client.sent, [
    ['pond.Jump', { dx: 1 }],
    ['pond.Swim', { dx: 2, seq: 1, tick: 0 }],
    ['pond.Swim', { seq: 2, tick: 0 }],
    ['pond.Jump', {}],
    ['room.leave', undefined],
  ]);
  assert.throws(() => pond.send('jump'), { code: 'closed' });
  await assert.rejects(pond.request('jump'), { code: 'closed' });
});

test('the server ends a room', async () => {
  for (const cause of ['left', 'closed']) {
    const client = new Fake(() => joined);
    const pond = await client.joinOrCreate('pond');
    const ends = [];
    pond.addEventListener('end', (e) => ends.push([e.cause, e.reason]));
    client.pushes[`room.${cause}`]({ reason: 'over' });
    client.pushes[`room.${cause}`]({ reason: 'again' });
    assert.deepEqual(ends, [[cause, 'over']]);
    assert.equal(client.room, undefined);
  }
});

test('a schema is sent once', async () => {
  const client = new Fake((route, { hash }) => (hash === 'h1' ? { ...joined, schema: undefined } : joined));
  await client.joinOrCreate('pond');
  const pond = await client.joinOrCreate('pond');
  assert.equal(client.sent[1][1].hash, 'h1');
  client.pushes['room.state'](SNAPSHOT);
  assert.equal(pond.state.frogs[1].name, 'Ann');
});

test('another schema than the one that the program was built for fails the join', async () => {
  const client = new Fake(() => joined);
  await assert.rejects(client.joinOrCreate('pond', {}, { expect: 'h0' }), (error) => {
    assert.ok(error instanceof StateError);
    assert.equal(error.code, 'schema');
    assert.match(error.message, /h1.*h0/);
    return true;
  });
  assert.equal(client.sent.at(-1)[0], 'room.leave');
  assert.equal(client.room, undefined);
});

test('a server with a serializer of its own', async () => {
  const codec = {
    serializer: 'lines',
    encode: (body) => Buffer.from(Object.entries(body).flat().join('\n')),
    decode: (bytes) => Object.fromEntries([Buffer.from(bytes).toString().split('\n')]),
  };
  const { encode, decode } = codec;
  for (const options of [{ codec }, { encode, decode }, { codec, decode }]) {
    const [client, socket] = await open('lines', options);
    const join = client.join('0-a', { name: 'ann' });
    await Promise.resolve();
    const [{ route, body }] = socket.messages();
    assert.deepEqual([route, JSON.parse(body)], ['room.join', { id: '0-a', options: btoa('name\nann') }]);
    socket.respond(1, Buffer.from(JSON.stringify({ ...joined, reply: btoa('hi\n1') })));
    assert.deepEqual((await join).reply, { hi: '1' });

    const list = client.rooms('pond');
    socket.respond(2, Buffer.from('code\nROOM-404'), true);
    await assert.rejects(list, { code: 'ROOM-404' });
  }
  await assert.rejects(open('json', { codec }), { code: 'usage', message: /json/ });
});

test('a JSON codec of the program serves the control routes too', async () => {
  const replacer = (key, value) => (typeof value === 'bigint' ? Number(value) : value);
  const reviver = (key, value) => (key === 'since' ? new Date(value) : value);
  const encode = (body) => Buffer.from(JSON.stringify(body, replacer));
  const decode = (bytes) => JSON.parse(Buffer.from(bytes).toString(), reviver);
  for (const options of [
    { encode, decode },
    { codec: { encode, decode } },
    { codec: { serializer: 'json', encode, decode } },
    { codec: raw, encode, decode },
  ]) {
    const [client, socket] = await open('json', options);
    const join = client.join('0-a', { skin: 7n });
    await Promise.resolve();
    assert.deepEqual(JSON.parse(socket.messages()[0].body), { id: '0-a', options: { skin: 7 } });
    socket.respond(1, Buffer.from(JSON.stringify({ ...joined, reply: { since: 0 } })));
    assert.deepEqual((await join).reply, { since: new Date(0) });
  }
});

test('options of a server with another serializer may be any buffer, and the reply null', async () => {
  const { buffer } = Uint8Array.of(1, 2, 3, 4);
  const foreign = runInNewContext('Uint8Array.of(1, 2, 3, 4).buffer');
  for (const options of [buffer, foreign, new DataView(buffer), new Uint16Array(buffer), new Uint8Array(buffer)]) {
    const [client, socket] = await open('lines', { codec: raw });
    const join = client.join('0-a', options);
    await Promise.resolve();
    assert.deepEqual(JSON.parse(socket.messages()[0].body), { id: '0-a', options: 'AQIDBA==' });
    socket.respond(1, Buffer.from(JSON.stringify({ ...joined, reply: null })));
    assert.equal((await join).reply, undefined);
  }
});

test('a null reply of a JSON server stays null', async () => {
  const client = new Fake(() => ({ ...joined, reply: null }));
  assert.equal((await client.joinOrCreate('pond')).reply, null);
});

test('the codec of bytes joins rooms of a JSON server', async () => {
  const [client, socket] = await open('json', { codec: raw });
  const join = client.join('0-a', { name: 'ann' });
  await Promise.resolve();
  assert.deepEqual(JSON.parse(socket.messages()[0].body), { id: '0-a', options: { name: 'ann' } });
  socket.respond(1, Buffer.from(JSON.stringify(joined)));
  assert.deepEqual((await join).reply, { hi: 1 });
});

test('a private room is joined by its code', async () => {
  const client = new Fake(() => ({ ...joined, code: 'ABC234' }));
  const pond = await client.joinCode('abc234', { name: 'ann' });
  assert.deepEqual(client.sent[0], ['room.join', { code: 'abc234', options: { name: 'ann' } }]);
  assert.equal(pond.code, 'ABC234');
});

test('a join that is refused leaves the client in its room', async () => {
  const client = new Fake(function (route) {
    if (route !== 'room.join') return joined;
    this.pushes['room.state'](PATCH); // of the room where the client still is
    throw new Error('ROOM-JOINED');
  });
  const pond = await client.joinOrCreate('pond');
  client.pushes['room.state'](SNAPSHOT);
  const ends = [];
  pond.addEventListener('end', ({ cause, reason }) => ends.push([cause, reason]));
  await assert.rejects(client.join('0-b'), /ROOM-JOINED/);
  assert.equal(client.room, pond);
  assert.equal(pond.state.frogs[1].x, 10.5);
  assert.deepEqual(ends, []);
  await pond.leave();
  assert.deepEqual(client.sent.at(-1), ['room.leave', undefined]);
  assert.deepEqual(ends, [['left', '']]);
});

test('a room that ends during a refused join has ended', async () => {
  const client = new Fake(function (route) {
    if (route !== 'room.join') return joined;
    this.pushes['room.closed']({ reason: 'node down' });
    throw new Error('ROOM-404');
  });
  const pond = await client.joinOrCreate('pond');
  const ends = [];
  pond.addEventListener('end', ({ cause, reason }) => ends.push([cause, reason]));
  await assert.rejects(client.join('0-b'), /ROOM-404/);
  assert.equal(client.room, undefined);
  assert.deepEqual(ends, [['closed', 'node down']]);
});

test('a listener that throws costs no other listener its events', async (t) => {
  const errors = [];
  globalThis.reportError = (error) => errors.push(error.message);
  t.after(() => delete globalThis.reportError);
  const [client, socket] = await open('json');
  const asked = client.joinOrCreate('pond');
  socket.respond(1, Buffer.from(JSON.stringify(joined)));
  const pond = await asked;
  const seen = [];
  const fail = () => {
    throw new Error('a fault of the program');
  };
  pond.on('frogs', { add: fail });
  pond.on('frogs', { add: (_, key) => seen.push(key) });
  pond.addEventListener('change', () => seen.push('change'));
  pond.addEventListener('error', () => seen.push('error'));
  socket.push('room.state', SNAPSHOT);
  assert.deepEqual(seen, ['1', 'change']);
  assert.deepEqual(errors, ['a fault of the program']);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import protobufjs from 'protobufjs';

import { Client } from '../nano.js';
import { protobuf } from '../protobuf.js';
import { FakeSocket, settled, welcome } from './fake.js';

const { root } = protobufjs.parse(`
  syntax = "proto3";
  message Join { string name = 1; }
  message Joined { uint32 present = 1; }
`);
const Join = root.lookupType('Join');
const Joined = root.lookupType('Joined');

async function open(serializer) {
  const codec = protobuf({
    'room.join': { request: Join, reply: Joined },
    onJoin: { push: Join },
    'room.say': { notify: Join },
  });
  const client = new Client('ws://test', { WebSocket: FakeSocket, codec, timeout: 0 });
  const connected = client.connect();
  FakeSocket.last.open();
  FakeSocket.last.receive(welcome({ serializer }));
  await connected;
  return { client, socket: FakeSocket.last };
}

test('messages go out and come in as protobuf', async () => {
  const { client, socket } = await open('protobuf');
  const answer = client.request('room.join', { name: 'ann' });
  client.notify('room.say', { name: 'bob' });
  assert.deepEqual(
    socket.messages().map(({ body }) => body),
    ['\n\x03ann', '\n\x03bob'],
  );
  socket.respond(1, Joined.encode({ present: 7 }).finish());
  assert.equal((await answer).present, 7);
  const pushed = new Promise((resolve) => client.on('onJoin', resolve));
  socket.push('onJoin', Join.encode({ name: 'cid' }).finish());
  assert.equal((await pushed).name, 'cid');
});

test('an error response of the server', async () => {
  const { client, socket } = await open('protobuf');
  const answer = client.request('room.join', { name: 'ann' });
  socket.respond(1, Buffer.from('0a084e414e4f2d34303412026e6f', 'hex'), true);
  await assert.rejects(answer, { code: 'NANO-404', message: 'no' });
});

test('a route without a type fails, and the connection stays', async () => {
  const { client, socket } = await open('protobuf');
  assert.throws(() => client.notify('a.b', {}), /a\.b: no protobuf type for request or notify/);
  await assert.rejects(client.request('onJoin', {}), TypeError);
  const failed = new Promise((resolve) => client.addEventListener('error', resolve));
  client.on('onLeave', () => assert.fail('no type'));
  socket.push('onLeave', new Uint8Array(2));
  assert.equal((await failed).error.code, 'payload');
  await settled();
  assert.equal(client.connected, true);
});

test('a bytes field of ts-proto, which returns bytes from encode', () => {
  const codec = protobuf({ a: { request: { encode: () => Uint8Array.of(1), decode: () => 0 } } });
  assert.deepEqual(codec.encode({}, 'a'), Uint8Array.of(1));
});

test('a server that speaks JSON is refused', async () => {
  await assert.rejects(open('json'), { code: 'usage', message: /json/ });
});

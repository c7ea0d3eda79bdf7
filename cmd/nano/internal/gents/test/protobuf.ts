import assert from 'node:assert/strict';
import { WebSocket } from 'ws';
import { createClient, type RoomOf, type SourceCodeInfoLocation, type Struct, type Type } from './server.js';

const client = createClient(process.argv[2]!, { WebSocket, timeout: 20_000 });
const pushed = new Promise<Struct>((resolve) => client.on('onStruct', resolve));
await client.connect();

// The server compares what comes with its own samples, and answers with them.
const struct: Struct = {
  fields: {
    nothing: { nullValue: 0 },
    number: { numberValue: -0.5 },
    zero: { numberValue: 0 },
    text: { stringValue: '世界' },
    no: { boolValue: false },
    list: { listValue: { values: [{ boolValue: true }, { structValue: { fields: {} } }] } },
    __proto: { stringValue: 'a key like any other' },
  },
};
assert.deepEqual(await client.request('box.struct', struct), struct);
assert.deepEqual(await pushed, struct);

const type: Type = {
  name: 'game.Player',
  fields: [
    {
      kind: 9,
      cardinality: 1,
      number: -2147483648,
      name: 'id',
      typeUrl: '',
      oneofIndex: 0,
      packed: true,
      options: [{ name: 'o', value: { typeUrl: 'type', value: new Uint8Array([0, 127, 128, 255]) } }],
      jsonName: '',
      defaultValue: '',
    },
  ],
  oneofs: ['a', ''],
  options: [],
  sourceContext: { fileName: 'f' },
  syntax: 1,
  edition: '',
};
assert.deepEqual(await client.request('box.type', type), type);

// Neither the elements of lists nor the values of maps are null.
const names: string[] = (await client.request('box.type', type)).fields.map((field) => field.name);
assert.deepEqual(names, ['id']);
assert.deepEqual(
  Object.values(struct.fields).flatMap((value) => value.numberValue ?? []),
  [-0.5, 0],
);

const location: SourceCodeInfoLocation = {
  path: [1, 300, -1],
  span: [],
  leadingComments: '', // present, and empty
  leadingDetachedComments: ['x'],
};
assert.deepEqual(await client.request('box.location', location), location);

for (const seconds of [0n, -1n, 2n ** 53n + 1n, 2n ** 63n - 1n, -(2n ** 63n)]) {
  const time = { seconds, nanos: -5 };
  assert.deepEqual(await client.request('box.time', time), time);
}
for (const value of [0n, 2n ** 64n - 1n]) {
  assert.deepEqual(await client.request('box.number', { value }), { value });
}
assert.deepEqual(await client.request('box.float', { value: -1.5 }), { value: -1.5 });
assert.deepEqual(await client.request('box.raw', new Uint8Array([1, 2])), new Uint8Array([1, 2]));
assert.equal((await client.request('box.type', { ...type, name: 'x' }).catch((e) => e)).code, 'DIFFERENT');

// Rooms
const info = await client.create('inn', { seconds: 7n, nanos: 0 });
assert.deepEqual(
  (await client.rooms('inn')).map(({ id, kind }) => [id, kind]),
  [[info.id, 'inn']],
);
await assert.rejects(client.joinOrCreate('inn', { value: '' }), { code: 'NAMELESS' });
const inn: RoomOf<'inn'> = await client.join(info.id, { value: 'ann' }, { kind: 'inn' });
assert.deepEqual(inn.reply, { stringValue: 'hello ann' });
const until = (ok: () => boolean) =>
  new Promise<void>((resolve) => {
    const check = () => inn.synced && ok() && resolve();
    inn.addEventListener('change', check);
    check();
  });
await until(() => inn.state.opened === 7 && inn.state.guest === 'ann');
inn.send('Rename', { value: 'bob' });
await until(() => inn.state.guest === 'bob');
const noise = new Promise((resolve) => client.on('onNoise', resolve));
assert.deepEqual(await inn.request('Ask', { value: 2n ** 60n }), { seconds: 2n ** 60n, nanos: 0 });
assert.deepEqual(await noise, { value: 'psst' });
assert.deepEqual(await inn.request('Sign', { value: 255n }), Uint8Array.of(0, 255));

const watcher = createClient(process.argv[2]!, { WebSocket, timeout: 20_000 });
await watcher.connect();
const watched = await watcher.spectate<'inn'>(info.id);
assert.equal(watched.reply, undefined);
const ends = [inn, watched].map(
  (room) => new Promise((resolve) => room.addEventListener('end', ({ cause, reason }) => resolve([cause, reason]))),
);
inn.send('Shut', { value: 'fire' });
assert.deepEqual(await Promise.all(ends), Array(2).fill(['closed', 'fire']));
const second = await client.joinOrCreate('inn', { value: 'cid' });
assert.deepEqual(second.reply, { stringValue: 'hello cid' });
watcher.close();

if (Math.random() > 2) {
  // @ts-expect-error options of another type
  await client.joinOrCreate('inn', { name: 'ann' });
  // @ts-expect-error a kind that does not exist
  await client.join(info.id, { value: 'ann' }, { kind: 'barn' });
  // @ts-expect-error a reply of another type
  inn.reply!.seconds;
  // @ts-expect-error a message without a reply
  await inn.request('Rename', { value: 'ann' });
}
client.close();

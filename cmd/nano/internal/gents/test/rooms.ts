import assert from 'node:assert/strict';
import { WebSocket } from 'ws';
import { createClient, type Frog, type FrogState, type RoomOf, type World } from './server.js';

const client = createClient(process.argv[2]!, { WebSocket, timeout: 20_000 });
await client.connect();

const payload: Frog = { Name: 'x', X: 1, Hand: 'Bw==', Mood: 1, Coin: 2, HPMax: 3, secret: 's' };
assert.deepEqual(await client.request('box.echo', payload), payload);

const info = await client.create('pond', { Lake: 'here', Shore: 'there' });
const pond: RoomOf<'pond'> = await client.join<'pond'>(info.id, { name: 'Ann' });
assert.equal(pond.reply?.name, 'hello Ann');
const until = (ok: () => boolean) =>
  new Promise<void>((resolve) => {
    const check = () => ok() && resolve();
    pond.addEventListener('change', check);
    check();
  });
await until(() => pond.synced);

const frog: FrogState = { name: 'Ann', x: 1.5, hand: [7], mood: 'glad', coin: 4611686018427387905n, life: 9 };
const world: World = {
  round: 3,
  frogs: { '1': frog },
  scores: { a: 1 },
  stones: [{ lake: 'l', shore: 's' }],
  board: [4, 5],
  here: { lake: 'here', shore: 'there' },
  target: null,
  moods: ['glad', 'sad'],
};
// The objects of a state have no prototype.
const plain = (v: object) =>
  JSON.parse(JSON.stringify(v, (_, x: unknown) => (typeof x === 'bigint' ? `${x}n` : x))) as unknown;
assert.deepEqual(plain(pond.state), plain(world));
assert.equal(typeof pond.state.frogs['1']!.coin, 'bigint');

let name = '';
pond.on('frogs', { change: (changed) => (name = changed.name) });
pond.send('Rename', { name: 'Bob' });
await until(() => name === 'Bob');
const input = pond.input('Swim', { dx: 2 });
await until(() => pond.ack >= input);
assert.equal((await pond.request('Where', { name: '' })).X, 3.5);
assert.deepEqual(await pond.request('Map', { name: '' }), { depth: 2 });

if (Math.random() > 2) {
  // @ts-expect-error a kind that does not exist
  await client.joinOrCreate('lake', { name: 'Ann' });
  // @ts-expect-error options of another type
  await client.joinOrCreate('pond', { nick: 'Ann' });
  // @ts-expect-error a message that does not exist
  pond.send('Fly', {});
  // @ts-expect-error a message without a reply
  await pond.request('Rename', { name: 'Ann' });
  // @ts-expect-error a field that is not sent
  pond.state.frogs['1']!.secret;
}
client.close();

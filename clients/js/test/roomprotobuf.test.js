// Rooms of a server in Go whose serializer is protobuf.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import protobufjs from 'protobufjs';
import { WebSocket } from 'ws';

import { raw } from '../nano.js';
import { protobuf } from '../protobuf.js';
import { RoomClient } from '../room.js';

const Text = protobufjs.parse('syntax = "proto3"; message Text { string value = 1; }').root.lookupType('Text');
const say = (value) => ({ value });
const bytes = (value) => Text.encode({ value }).finish();

const codec = protobuf({
  inn: { request: Text, reply: Text },
  'inn.create': { request: Text },
  'inn.Rename': { notify: Text },
  'inn.Ask': { request: Text, reply: Text },
  'inn.Shut': { notify: Text },
  duel: { request: Text, reply: Text },
  'duel.Next': { notify: Text },
  'Lobby.Find': { request: Text, reply: Text },
  onNoise: { push: Text },
});

/** Resolves when a room is as the check wants it. */
const until = (room, check) =>
  new Promise((resolve) => {
    const look = () => room.synced && check(room.state) && resolve();
    room.addEventListener('change', look);
    look();
  });

const ended = (room) =>
  new Promise((resolve) => {
    room.addEventListener('end', ({ cause, reason }) => resolve([cause, reason]));
  });

const dir = mkdtempSync(join(tmpdir(), 'nano-rooms-'));
const program = join(dir, 'server');

before(() =>
  execFileSync('go', ['build', '-o', program, '.'], { cwd: fileURLToPath(new URL('server', import.meta.url)) }),
);
after(() => rmSync(dir, { recursive: true }));

describe('rooms with protobuf', { timeout: 60_000 }, () => {
  const clients = [];
  let child;
  let url;

  /** Returns a client that is connected. */
  async function open(options = { codec }) {
    const client = new RoomClient(url, { WebSocket, ...options });
    clients.push(client);
    await client.connect();
    return client;
  }

  before(async () => {
    child = spawn(program, ['-protobuf'], { stdio: ['pipe', 'pipe', 'inherit'] });
    const [line] = await once(child.stdout, 'data');
    url = `ws://127.0.0.1:${Number(line)}/`;
  });
  after(async () => {
    for (const client of clients) client.close();
    const exited = once(child, 'exit');
    child.stdin.end();
    await exited;
  });

  test('a player joins, plays and leaves', async () => {
    const client = await open();
    const inn = await client.joinOrCreate('inn', say('ann'));
    assert.equal(inn.reply.value, 'hello ann');
    await until(inn, ({ sign, guest }) => sign === 'ann' && guest === 'ann');

    inn.send('rename', say('bob'));
    await until(inn, ({ guest }) => guest === 'bob');
    assert.equal(await inn.request('rename', say('cid')), undefined);

    const pushed = new Promise((resolve) => client.on('onNoise', resolve));
    assert.equal((await inn.request('ask', say('who'))).value, 'who?');
    assert.equal((await pushed).value, 'who');
    await assert.rejects(inn.request('sing', {}), /inn\.Sing: no protobuf type/);

    await inn.leave();
    await assert.rejects(client.request('inn.Ask', say('who')), { code: 'ROOM-NONE' });
  });

  test('a room is made, listed, joined by its id, watched and closed', async () => {
    const [host, guest, watcher] = [await open(), await open(), await open()];
    const info = await host.create('inn', say('The Boar'));
    assert.equal(info.kind, 'inn');
    assert.ok((await host.rooms('inn')).some(({ id }) => id === info.id));
    assert.deepEqual(await host.rooms('duel', { mode: 'x' }), []);

    const inn = await guest.join(info.id, say('ann'), { kind: 'inn' });
    assert.equal(inn.reply.value, 'hello ann');
    const watched = await watcher.spectate(info.id);
    assert.deepEqual([watched.spectator, watched.reply], [true, undefined]);
    await until(watched, ({ sign, guest }) => sign === 'The Boar' && guest === 'ann');

    const ends = Promise.all([ended(inn), ended(watched)]);
    inn.send('shut', say('fire'));
    assert.deepEqual(await ends, Array(2).fill(['closed', 'fire']));
  });

  test('options and replies without a type are bytes', async () => {
    for (const codec of [raw, protobuf({})]) {
      const client = await open({ codec });
      const inn = await client.joinOrCreate('inn', bytes('ann'));
      assert.equal(Text.decode(inn.reply).value, 'hello ann');
      assert.ok((await client.create('inn', bytes('x'.repeat(20_000)))).id);
      await inn.leave();
      await client.join(inn.id, new DataView(Uint8Array.from(bytes('bob')).buffer));
      assert.equal(Text.decode(client.room.reply).value, 'hello bob');
    }
  });

  test('options without a type that are not bytes are refused before the join', async () => {
    const client = await open();
    const inn = await client.joinOrCreate('inn', say('ann'));
    await assert.rejects(client.join(inn.id, say('ann')), /room\.join: no protobuf type/);
    await assert.rejects(client.create('duel', say('x')), /duel\.create: no protobuf type/);
    assert.equal(client.room, inn);
    assert.equal((await inn.request('ask', say('still here'))).value, 'still here?');
  });

  test('errors of the server', async () => {
    const client = await open();
    await assert.rejects(client.joinOrCreate('lake', bytes('')), { code: 'ROOM-404' });
    await assert.rejects(client.join('0-none', bytes('')), { code: 'ROOM-404' });
    await assert.rejects(client.joinOrCreate('inn', Uint8Array.of(0xff)), { code: 'NANO-400' });
  });

  test('a reply that does not decode gives the seat up', async () => {
    const broken = {
      ...Text,
      decode: () => {
        throw new Error('broken');
      },
    };
    const client = await open({
      codec: protobuf({ inn: { request: Text, reply: broken }, 'inn.Ask': { request: Text } }),
    });
    await assert.rejects(client.joinOrCreate('inn', bytes('ann')), { message: /broken/ });
    assert.equal(client.room, undefined);
    await assert.rejects(client.request('inn.Ask', bytes('')), { code: 'ROOM-NONE' });
  });

  test('a match', async () => {
    const players = await Promise.all(
      ['ann', 'bob'].map(async (name) => {
        const client = await open();
        return client.match(() => client.request('Lobby.Find', say(name)), { options: say(name) });
      }),
    );
    assert.deepEqual(
      players.map(({ reply }) => reply.value),
      ['ann', 'bob'],
    );
    assert.equal(players[0].id, players[1].id);
    assert.equal(await players[0].request('next', {}), undefined);
    await until(players[1], ({ round }) => round === 1);
  });

  test('a match that a player declines, and a wait that is given up', async () => {
    const [ann, bob] = [await open(), await open()];
    const find = (client, options) => client.match(() => client.request('Lobby.Find', say('x')), options);
    const controller = new AbortController();
    const waited = assert.rejects(find(bob, { signal: controller.signal }), { name: 'AbortError' });
    const waiting = new Promise((resolve) => bob.on('room.waiting', resolve));
    await assert.rejects(find(ann, { accept: () => false }), { code: 'ROOM-CANCELED' });
    await waiting;

    const unmatched = new Promise((resolve) => bob.on('room.unmatched', resolve));
    controller.abort();
    await waited;
    assert.equal((await unmatched).code, 'ROOM-CANCELED');
  });

  test('a client of JSON is refused', async () => {
    await assert.rejects(open({}), { code: 'usage', message: /protobuf/ });
  });
});

// Messages are numbered in both directions, and connections break at random bytes: nothing is lost, doubled or reordered.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { WebSocket as Ws, WebSocketServer } from 'ws';

import { Client } from '../nano.js';
import { FakeClock } from './fake.js';
import { MockServer } from './mock.js';

/** A generator of random numbers from 0 to 1 that a seed repeats (mulberry32). */
function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A class of WebSockets to a server, with a latency of up to 20 ms, that break after a random number of bytes. */
function network(server, rand, control) {
  return class {
    #there;
    #open = true;
    #at = { up: 0, down: 0 }; // when the last frame of a direction arrives
    #left = control.calm ? Infinity : 1 + Math.floor(rand() * 1500); // bytes until the cut

    constructor() {
      control.connections++;
      control.cut = () => this.#cut();
      this.#there = server.connection(
        (bytes) => this.#carry('down', bytes, (piece) => this.onmessage?.({ data: piece.buffer })),
        () => this.#cut(),
      );
      setTimeout(() => this.#open && this.onopen?.({}), 1 + rand() * 10);
    }

    send(bytes) {
      this.#carry('up', bytes, (piece) => this.#there.receive(piece));
    }

    #carry(way, bytes, deliver) {
      if (!this.#open || this.#left <= 0) return;
      const piece = bytes.slice(0, Math.min(bytes.length, this.#left));
      this.#left -= bytes.length;
      const last = this.#left <= 0;
      this.#at[way] = Math.max(Date.now() + rand() * 20, this.#at[way]);
      setTimeout(() => {
        if (!this.#open) return;
        deliver(piece);
        if (last) this.#cut();
      }, this.#at[way] - Date.now());
    }

    #cut() {
      if (!this.#open) return;
      this.#open = false;
      this.#there.closed();
      setTimeout(() => this.onclose?.({ code: 1006, reason: '' }), rand() * 20);
    }

    close() {
      this.#open = false;
      this.#there.closed();
    }
  };
}

/** Sends and receives numbered messages over connections that break. Returns how many of each. */
async function play(t, seed, steps) {
  const clock = new FakeClock(t);
  const rand = random(seed);
  const { random: real } = Math;
  Math.random = rand;
  t.after(() => (Math.random = real));
  const control = { calm: false, connections: 0 };
  const seen = { server: 0, client: 0, answered: 0 };
  let session;
  const server = new MockServer({
    heartbeat: 5,
    serve(from, { id, body }) {
      session = from;
      assert.equal(
        JSON.parse(new TextDecoder().decode(body)).n,
        ++seen.server,
        'the server gets each message once, in order',
      );
      if (id > 0) from.respond(id, { n: seen.server });
    },
  });
  const client = new Client('ws://mock', {
    WebSocket: network(server, rand, control),
    timeout: 0,
    reconnect: { max: 50 },
  });
  client.addEventListener('status', ({ state, reason }) => state === 'closed' && assert.equal(reason, 'client'));
  client.on('x', ({ n }) => assert.equal(n, ++seen.client, 'the client gets each push once, in order'));
  const first = () => client.connect().catch(first);
  control.calm = true; // the first connection has to last for a handshake
  first();
  await clock.advance(100);
  control.calm = false;
  client.notify('go', { n: 1 });
  await clock.advance(100);
  control.cut();
  let sent = 1;
  let asked = 0;
  let pushed = 0;
  for (let i = 0; i < steps; i++) {
    const dice = rand();
    if (dice < 0.3) client.notify('a', { n: ++sent });
    else if (dice < 0.45) {
      const n = ++sent;
      asked++;
      client.request('b', { n }).then((answer) => {
        assert.equal(answer.n, n);
        seen.answered++;
      });
    } else if (dice < 0.65) session.push('x', { n: ++pushed });
    else if (dice < 0.7) session.acknowledge();
    else await clock.advance(rand() * 60);
  }
  control.calm = true;
  await clock.advance(60_000);
  client.close();
  assert.deepEqual(seen, { server: sent, client: pushed, answered: asked });
  assert.deepEqual(server.count.sessions, 1, 'no session is lost');
  return { connections: control.connections, messages: sent + pushed + asked };
}

describe('a session over connections that break', () => {
  const seeds = process.env.NANO_SEED ? [Number(process.env.NANO_SEED)] : Array.from({ length: 12 }, (_, i) => i + 1);
  for (const seed of seeds) {
    test(`loses nothing, with the seed ${seed}`, async (t) => {
      const { connections, messages } = await play(t, seed, Number(process.env.NANO_STEPS ?? 1500));
      assert.ok(connections > 10, `${connections} connections`);
      t.diagnostic(`${messages} messages over ${connections} connections`);
    });
  }
});

describe('over real sockets', () => {
  const classes = { ws: Ws, ...(globalThis.WebSocket && { 'its own WebSocket': globalThis.WebSocket }) };
  for (const [name, WebSocket] of Object.entries(classes)) {
    test(`a session goes on through cuts, with ${name}`, async (t) => {
      const got = [];
      const mock = new MockServer({
        heartbeat: 1,
        serve(session, { id, body }) {
          got.push(JSON.parse(new TextDecoder().decode(body)).n);
          session.push('x', { n: got.at(-1) });
          session.respond(id, { n: got.at(-1) });
        },
      });
      const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
      await new Promise((resolve) => server.once('listening', resolve));
      let cuts = 0;
      server.on('connection', (socket) => {
        const { receive, closed } = mock.connection(
          (bytes) => socket.send(bytes),
          () => socket.terminate(),
        );
        let left = 4;
        socket.on('message', (bytes) => {
          receive(new Uint8Array(bytes));
          if (--left === 0 && cuts < 20) {
            cuts++;
            socket._socket.resetAndDestroy();
          }
        });
        socket.on('close', closed);
      });
      const pushes = [];
      const client = new Client(`ws://127.0.0.1:${server.address().port}`, { WebSocket, reconnect: { max: 20 } });
      t.after(() => {
        client.close();
        for (const one of server.clients) one.terminate();
        server.close();
      });
      const statuses = [];
      client.addEventListener('status', ({ state, resumed }) => statuses.push(resumed ? 'resumed' : state));
      client.on('x', ({ n }) => pushes.push(n));
      await client.connect();
      const want = Array.from({ length: 40 }, (_, i) => i + 1);
      const answers = [];
      for (const n of want) answers.push(await client.request('r', { n }));
      assert.deepEqual([got, answers.map(({ n }) => n), pushes], [want, want, want]);
      assert.equal(mock.count.sessions, 1);
      const resumed = statuses.filter((state) => state === 'resumed').length;
      assert.ok(resumed >= 5, `resumed ${resumed} times`);
    });
  }
});

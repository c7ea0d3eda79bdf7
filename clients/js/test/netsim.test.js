import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { Client } from '../nano.js';
import { Network } from '../netsim.js';
import { FakeClock } from './fake.js';
import { MockServer } from './mock.js';

/** The server's side of a socket without a network. The test is the server. */
class Wire {
  static last;
  binaryType = 'blob';
  readyState = 0;
  bufferedAmount = 0;
  sent = []; // [time, data]

  constructor(url, protocols) {
    Object.assign(this, { url, protocols });
    Wire.last = this;
  }

  open() {
    this.readyState = 1;
    this.onopen({ type: 'open' });
  }

  send(data) {
    this.sent.push([Date.now(), data]);
  }

  close(code, reason) {
    this.readyState = 3;
    this.closed = [Date.now(), code, reason];
    this.onclose?.({ type: 'close', code, reason });
  }
}

/** Opens a socket over a network, and records what comes. */
async function open(t, options) {
  const clock = new FakeClock(t);
  const network = new Network({ seed: 1, WebSocket: Wire, now: Date.now, ...options });
  const socket = new network.WebSocket('ws://game', ['a']);
  const wire = Wire.last;
  const got = []; // [time, type, data or code]
  for (const type of ['open', 'message', 'error', 'close']) {
    socket[`on${type}`] = ({ data, code }) => got.push([Date.now() - began, type, data ?? code]);
  }
  let began = Date.now();
  wire.open();
  await clock.advance(4 * network.conditions.latency + 3000);
  assert.equal(socket.readyState, 1);
  const opened = got.shift();
  began = Date.now();
  return { clock, network, socket, wire, got, opened, time: () => Date.now() - began, began };
}

/** Sends count messages to the client, one each step, and returns how long each took. */
async function trace(t, options, count, step) {
  const { clock, wire, got } = await open(t, options);
  for (let i = 0; i < count; i++) {
    wire.onmessage({ data: i });
    await clock.advance(step);
  }
  await clock.advance(10_000);
  assert.deepEqual(
    got.map(([, , data]) => data),
    Array.from({ length: count }, (_, i) => i),
  );
  return got.map(([at], i) => at - i * step);
}

describe('a network', { timeout: 60_000 }, () => {
  test('delays both directions and the opening', async (t) => {
    const { clock, socket, wire, got, opened, began } = await open(t, { latency: 80 });
    assert.deepEqual(opened, [320, 'open', undefined]);
    assert.deepEqual([wire.url, wire.protocols, socket.url], ['ws://game', ['a'], 'ws://game']);
    socket.binaryType = 'arraybuffer';
    assert.deepEqual([wire.binaryType, socket.binaryType], ['arraybuffer', 'arraybuffer']);
    const bytes = new Uint8Array([1, 2, 3, 4]);
    socket.send(bytes.subarray(1));
    bytes.fill(9); // a socket has taken a copy
    socket.send('text');
    wire.onmessage({ data: 'a' });
    assert.equal(socket.bufferedAmount, 7);
    await clock.advance(79);
    assert.deepEqual([wire.sent, got], [[], []]);
    await clock.advance(1);
    assert.deepEqual(wire.sent, [
      [began + 80, new Uint8Array([2, 3, 4])],
      [began + 80, 'text'],
    ]);
    assert.deepEqual(got, [[80, 'message', 'a']]);
    assert.equal(socket.bufferedAmount, 0);
  });

  test('delays without a change of order', async (t) => {
    const took = await trace(t, { latency: 10, jitter: 40 }, 300, 20);
    assert.ok(Math.min(...took) >= 10 && Math.max(...took) <= 50, `${Math.min(...took)} to ${Math.max(...took)} ms`);
    assert.ok(Math.max(...took) - Math.min(...took) > 25);
  });

  test('makes a lost message and all behind it wait for one retransmission', async (t) => {
    const count = 2000;
    const took = await trace(t, { latency: 10, loss: 0.1, retransmit: 95 }, count, 10);
    let lost = 0;
    let until = 0;
    took.forEach((ms, i) => {
      if (ms === 105) {
        lost++;
        until = i * 10 + ms;
      } else assert.equal(i * 10 + ms, Math.max(until, i * 10 + 10), `message ${i}`);
    });
    assert.ok(Math.abs(lost - count * 0.1) < 4 * Math.sqrt(count * 0.09), `${lost} of ${count} were lost`);
  });

  test('retransmits after 200 ms and a round trip', async (t) => {
    assert.deepEqual(await trace(t, { latency: 30, loss: 1 }, 1, 0), [290]);
  });

  test('repeats its conditions with the same seed', async (t) => {
    const options = { latency: 1, jitter: 9, loss: 0.1 };
    const runs = [];
    for (const seed of [7, 7, 8]) {
      await t.test(`seed ${seed}`, async (t) => runs.push(await trace(t, { ...options, seed }, 100, 3)));
    }
    assert.deepEqual(runs[0], runs[1]);
    assert.notDeepEqual(runs[0], runs[2]);
  });

  test('changes its conditions', async (t) => {
    const { clock, network, wire, got } = await open(t, { latency: 100 });
    wire.onmessage({ data: 1 });
    network.set({ latency: 0 });
    await clock.advance(50);
    wire.onmessage({ data: 2 }); // cannot overtake
    await clock.advance(1000);
    wire.onmessage({ data: 3 });
    await clock.advance(1);
    assert.deepEqual(
      got.map(([at]) => at),
      [100, 100, 1050],
    );
    assert.deepEqual(network.conditions, { latency: 0, jitter: 0, loss: 0, retransmit: 0, cut: 0 });
    assert.throws(() => network.set({ lag: 1 }), /there is no condition lag/);
    assert.throws(() => network.set({ loss: -1 }), /loss is -1, want 0 or more/);
    assert.throws(() => new Network({ jitter: NaN }), /jitter is NaN/);
  });

  test('closes after what was sent', async (t) => {
    const { clock, socket, wire, got, began } = await open(t, { latency: 80 });
    socket.send('bye');
    socket.close(4000, 'done');
    socket.close();
    socket.send('too late');
    assert.equal(socket.readyState, 2);
    await clock.advance(200);
    assert.deepEqual(wire.sent, [[began + 80, 'bye']]);
    assert.deepEqual(wire.closed, [began + 80, 4000, 'done']);
    assert.deepEqual(got, [[160, 'close', 4000]]);
    assert.equal(socket.readyState, 3);
  });

  test('passes errors and the end on, after messages', async (t) => {
    const { clock, wire, got } = await open(t, { latency: 80 });
    wire.onmessage({ data: 'last' });
    wire.onerror({ type: 'error' });
    wire.onclose({ code: 1006 });
    await clock.advance(80);
    assert.deepEqual(got, [
      [80, 'message', 'last'],
      [80, 'error', undefined],
      [80, 'close', 1006],
    ]);
  });

  test('goes on after a handler that throws', async (t) => {
    const { clock, socket, wire, got } = await open(t, { latency: 80 });
    const { onmessage } = socket;
    socket.onmessage = () => {
      socket.onmessage = onmessage;
      throw new Error('handler');
    };
    wire.onmessage({ data: 1 });
    wire.onmessage({ data: 2 });
    await assert.rejects(clock.advance(80), /handler/);
    await clock.advance(1);
    assert.deepEqual(
      got.map(([, , data]) => data),
      [2],
    );
  });

  test('refuses to send before it is open', (t) => {
    new FakeClock(t);
    const network = new Network({ WebSocket: Wire, now: Date.now });
    const socket = new network.WebSocket('ws://game');
    assert.throws(() => socket.send('early'), { name: 'InvalidStateError' });
    socket.close();
    Wire.last.open();
    assert.equal(socket.readyState, 2);
  });

  test('cuts connections at once', async (t) => {
    const { clock, network, socket, wire, got, began } = await open(t, { latency: 80 });
    wire.onmessage({ data: 'on its way' });
    socket.send('on its way');
    network.cut();
    await clock.advance(1000);
    assert.deepEqual(got, [[0, 'close', 1006]]);
    assert.deepEqual([wire.sent, wire.closed], [[], [began, 4000, 'cut']]);
    assert.equal(socket.readyState, 3);
    network.cut();
  });

  test('cuts connections at random times', async (t) => {
    const clock = new FakeClock(t);
    const network = new Network({ seed: 5, WebSocket: Wire, now: Date.now, cut: 60_000 });
    const began = Date.now();
    const lives = [];
    for (let i = 0; i < 300; i++) {
      const socket = new network.WebSocket('ws://game');
      socket.onclose = () => lives.push(Date.now() - began);
    }
    network.set({ latency: 10 });
    await clock.advance(1e6);
    const mean = lives.reduce((sum, ms) => sum + ms, 0) / lives.length;
    assert.equal(lives.length, 300);
    assert.ok(mean > 48_000 && mean < 72_000, `connections lived for ${mean} ms on average`);
    network.set({ cut: 0 });
    const socket = new network.WebSocket('ws://game');
    await clock.advance(1e7);
    assert.equal(socket.readyState, 0);
  });
});

test('a client resumes over a network that cuts, and loses nothing', async (t) => {
  const clock = new FakeClock(t);
  const server = new MockServer({
    serve: (session, { id, body }) => session.respond(id, JSON.parse(Buffer.from(body))),
  });
  class Direct extends Wire {
    constructor(url) {
      super(url);
      const { receive, closed } = server.connection(
        (bytes) => this.readyState === 1 && this.onmessage?.({ data: bytes.slice().buffer }),
        () => {},
      );
      this.send = receive;
      this.close = () => {
        this.readyState = 3;
        closed();
      };
      setTimeout(() => this.open());
    }
  }
  const network = new Network({
    seed: 3,
    WebSocket: Direct,
    now: Date.now,
    latency: 20,
    jitter: 10,
    loss: 0.02,
    cut: 3000,
  });
  const client = new Client('ws://game', { WebSocket: network.WebSocket, timeout: 0 });
  const connected = client.connect();
  await clock.advance(500);
  await connected;
  const answers = [];
  for (let i = 0; i < 200; i++) {
    client.request('echo', i).then((n) => answers.push(n));
    await clock.advance(100);
  }
  network.set({ cut: 0, loss: 0 });
  await clock.advance(20_000);
  assert.deepEqual(
    answers,
    Array.from({ length: 200 }, (_, i) => i),
  );
  assert.equal(server.count.sessions, 1);
  assert.ok(server.count.resumed > 2, `${server.count.resumed} resumes`);
  client.close();
});

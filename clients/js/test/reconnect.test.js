// What only a JavaScript client has: page events, throttled timers, programs of version 1, sockets with odd events.
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';

import { Client, encodePacket, json as jsonCodec, Packet, raw } from '../nano.js';
import { FakeClock, FakeSocket, json, settled, text, utf8, welcome } from './fake.js';

const resume = { token: 'a', window: 30, resumed: false };

/** A client that is connected, with a fake clock. */
async function open(t, { sys = { heartbeat: 30, resume }, ...options } = {}) {
  const clock = new FakeClock(t);
  FakeSocket.made.length = 0;
  const client = new Client('ws://test', { WebSocket: FakeSocket, ...options });
  const states = [];
  client.addEventListener('status', ({ state }) => states.push(state));
  const connected = client.connect();
  FakeSocket.last.open();
  FakeSocket.last.receive(welcome(sys));
  await connected;
  return { clock, client, states };
}

const cut = () => FakeSocket.last.onclose({ code: 1006, reason: '' });
const dials = () => FakeSocket.made.length;
/** The server lets the last socket in, and resumes its session. */
function letIn(more = { resumed: true, received: 0 }) {
  FakeSocket.last.open();
  FakeSocket.last.receive(welcome({ heartbeat: 30, resume: { ...resume, token: 'b', ...more } }));
}

describe('the status', () => {
  test('tells each change, with its reason', async (t) => {
    const clock = new FakeClock(t);
    const client = new Client('ws://test', { WebSocket: FakeSocket });
    const seen = [];
    client.addEventListener('status', (event) => {
      const { error, delay, ...status } = client.status;
      for (const [name, value] of Object.entries(client.status)) assert.equal(event[name], value);
      seen.push(status);
    });
    assert.deepEqual(client.status, { state: 'closed', reason: 'new' });
    client.connect();
    letIn({});
    client.notify('a.b');
    cut();
    assert.equal(client.status.error.code, 'closed');
    assert.ok(client.status.delay <= 100);
    await clock.advance(100);
    letIn();
    cut();
    await clock.advance(200);
    letIn({ reason: 'expired' });
    client.close();
    assert.deepEqual(seen, [
      { state: 'connecting' },
      { state: 'connected', resumed: false },
      { state: 'reconnecting', reason: 'lost', attempt: 1 },
      { state: 'connected', resumed: true },
      { state: 'reconnecting', reason: 'lost', attempt: 2 },
      { state: 'connected', resumed: false, reason: 'expired', unconfirmed: 1 },
      { state: 'closed', reason: 'client' },
    ]);
    assert.equal(client.status.error, undefined);
  });

  test('may be answered with close', async (t) => {
    const clock = new FakeClock(t);
    FakeSocket.made.length = 0;
    const client = new Client('ws://test', { WebSocket: FakeSocket });
    client.addEventListener('status', ({ state }) => state !== 'closed' && client.close());
    await assert.rejects(client.connect(), { code: 'closed' });
    await clock.advance(10_000);
    assert.equal(dials(), 0);
  });

  test('may be answered with connect', async (t) => {
    const { client, states } = await open(t);
    let answered = false;
    client.addEventListener('status', ({ state }) => {
      if (state !== 'closed' || answered) return;
      answered = true;
      client.connect();
    });
    client.close();
    letIn({});
    assert.deepEqual(states.slice(2), ['closed', 'connecting', 'connected']);
  });
});

describe('connect, while the client reconnects,', () => {
  test('tries at once, and resolves when it is connected', async (t) => {
    const { client } = await open(t);
    cut();
    let done = false;
    const connected = client.connect().then(() => (done = true));
    assert.equal(dials(), 2);
    cut();
    await settled();
    assert.equal(done, false);
    client.connect();
    assert.equal(dials(), 3);
    letIn();
    await connected;
  });

  test('does not begin a second attempt', async (t) => {
    const { client } = await open(t);
    cut();
    client.connect();
    client.connect();
    assert.equal(dials(), 2);
  });

  test('rejects when the client is closed', async (t) => {
    const { client } = await open(t);
    cut();
    const connected = client.connect();
    client.close();
    await assert.rejects(connected, { code: 'closed' });
  });
});

describe('events of the page', () => {
  /** Makes globalThis a page: a target of events with a document. */
  function page(t) {
    const target = new EventTarget();
    const document = Object.assign(new EventTarget(), { visibilityState: 'visible' });
    const counts = { listeners: 0 };
    globalThis.addEventListener = (...args) => (counts.listeners++, target.addEventListener(...args));
    globalThis.removeEventListener = (...args) => (counts.listeners--, target.removeEventListener(...args));
    globalThis.document = document;
    t.after(() => {
      delete globalThis.addEventListener;
      delete globalThis.removeEventListener;
      delete globalThis.document;
    });
    const fire = (type) => (type === 'visibilitychange' ? document : target).dispatchEvent(new Event(type));
    return { fire, document, counts };
  }

  for (const type of ['online', 'visibilitychange', 'pageshow']) {
    test(`${type} ends the wait`, async (t) => {
      const { fire } = page(t);
      await open(t, { reconnect: { min: 5000 } });
      cut();
      assert.equal(dials(), 1);
      fire(type);
      assert.equal(dials(), 2);
      letIn();
      fire(type);
      assert.equal(dials(), 2);
    });

    test(`${type} notices a connection that died unnoticed`, async (t) => {
      const { fire } = page(t);
      const { clock, states } = await open(t);
      clock.sleep(60_000);
      fire(type);
      await clock.advance(250);
      assert.equal(states.at(-1), 'reconnecting');
    });

    test(`${type} leaves a connection alone that was heard lately`, async (t) => {
      const { fire } = page(t);
      const { clock, states } = await open(t);
      clock.sleep(30_000);
      fire(type);
      await clock.advance(1000);
      assert.equal(states.at(-1), 'connected');
    });
  }

  test('online abandons an attempt that began without a network', async (t) => {
    const { fire } = page(t);
    const { client } = await open(t);
    cut();
    client.connect();
    fire('visibilitychange');
    assert.equal(dials(), 2);
    fire('online');
    assert.equal(dials(), 3);
    assert.ok(FakeSocket.made[1].closed);
    letIn();
    assert.equal(client.connected, true);
  });

  test('a page that is hidden does not hurry', async (t) => {
    const { fire, document } = page(t);
    await open(t);
    cut();
    document.visibilityState = 'hidden';
    fire('visibilitychange');
    assert.equal(dials(), 1);
  });

  test('a client that is closed listens no more', async (t) => {
    const { counts } = page(t);
    const { client } = await open(t);
    assert.equal(counts.listeners, 2);
    client.close();
    assert.equal(counts.listeners, 0);
    const connected = client.connect();
    client.close();
    await assert.rejects(connected, { code: 'closed' });
    assert.equal(counts.listeners, 0);
  });
});

describe('a connection', () => {
  test('that is heard while its death is examined lives on', async (t) => {
    const { clock, states } = await open(t);
    await clock.advance(5000);
    clock.sleep(3_600_000);
    await clock.advance(500);
    FakeSocket.last.receive(encodePacket(Packet.HEARTBEAT));
    await clock.advance(2000);
    assert.deepEqual(states, ['connecting', 'connected']);
  });

  test('that was given up brings nothing any more', async (t) => {
    const { clock, client } = await open(t);
    const seen = [];
    client.on('a', (n) => seen.push(n));
    const old = FakeSocket.last;
    await clock.advance(90_000);
    await clock.advance(100);
    letIn();
    old.push('a', json(1));
    old.onclose?.({ code: 1006 });
    FakeSocket.last.push('a', json(2));
    assert.deepEqual([seen, client.connected], [[2], true]);
  });
});

describe('a hidden tab, whose timers run once a minute,', () => {
  test('stays connected while the server is heard', async (t) => {
    const { clock, states } = await open(t);
    for (let minute = 0; minute < 10; minute++) {
      for (let n = 0; n < 2; n++) {
        clock.sleep(29_900);
        FakeSocket.last.receive(encodePacket(Packet.HEARTBEAT));
      }
      await clock.advance(500);
    }
    assert.deepEqual(states, ['connecting', 'connected']);
    assert.equal(FakeSocket.last.sent.filter(({ type }) => type === Packet.HEARTBEAT).length, 20);
  });

  test('acknowledges packets when the next one comes', async (t) => {
    const { clock } = await open(t);
    FakeSocket.last.push('x', json(1));
    clock.sleep(600);
    FakeSocket.last.push('x', json(2));
    const [ack] = FakeSocket.last.sent.slice(2);
    assert.deepEqual([ack.type, [...ack.body]], [Packet.HEARTBEAT, [2]]);
  });
});

describe('a program of version 1, which listens to close and not to status,', () => {
  async function old(t, options, sys = {}) {
    const clock = new FakeClock(t);
    FakeSocket.made.length = 0;
    const client = new Client('ws://test', { WebSocket: FakeSocket, ...options });
    const closes = [];
    client.addEventListener('close', ({ error }) => closes.push(error?.code));
    const connected = client.connect();
    FakeSocket.last.open();
    const { sys: hello } = JSON.parse(text(FakeSocket.last.sent[0].body));
    FakeSocket.last.receive(welcome(sys));
    await connected;
    return { clock, client, closes, hello };
  }

  test('reconnects by itself, so the client does not', async (t) => {
    const { clock, client, closes, hello } = await old(t);
    assert.equal(hello.resume, undefined);
    cut();
    assert.deepEqual([closes, client.connected, client.status.state], [['closed'], false, 'closed']);
    await clock.advance(100_000);
    assert.equal(dials(), 1);
    const connected = client.connect();
    letIn();
    await connected;
  });

  test('may ask for it', async (t) => {
    const { clock, closes, hello } = await old(t, { reconnect: true });
    assert.deepEqual(hello.resume, {});
    cut();
    await clock.advance(100);
    assert.deepEqual([closes, dials()], [['closed'], 2]);
  });

  test('hears of the end of a session, not of a connection', async (t) => {
    const { clock, closes } = await old(t, { reconnect: true }, { resume });
    cut();
    await clock.advance(100);
    letIn();
    assert.deepEqual(closes, []);
    cut();
    await clock.advance(200);
    letIn({ reason: 'expired' });
    assert.deepEqual(closes, ['closed']);
  });

  test('that listens to close after connect hears of it too', async (t) => {
    const { client, clock } = await open(t, { sys: {} });
    const closes = [];
    client.addEventListener('close', ({ error }) => closes.push(error.code));
    cut();
    await clock.advance(100);
    assert.deepEqual([closes, dials()], [['closed'], 2]);
  });
});

describe('a socket', () => {
  test('that fires error and no close fails at once', async (t) => {
    const clock = new FakeClock(t);
    const connected = new Client('ws://test', { WebSocket: FakeSocket }).connect();
    FakeSocket.last.onerror({ error: new Error('connection refused') });
    const failed = assert.rejects(connected, { code: 'closed', message: /1006: connection refused/ });
    await clock.advance(0);
    await failed;
  });

  test('that fires error and then close is told with the code of the close', async (t) => {
    const clock = new FakeClock(t);
    const connected = new Client('ws://test', { WebSocket: FakeSocket }).connect();
    FakeSocket.last.onerror({});
    FakeSocket.last.onclose({ code: 1011, reason: 'broken' });
    await assert.rejects(connected, { message: /1011: broken/ });
    await clock.advance(0);
  });
});

describe('the user data', () => {
  const users = {
    'a function': () => ({ n: 1 }),
    'a function that returns a promise': async () => ({ n: 1 }),
  };
  for (const [name, user] of Object.entries(users)) {
    test(`may be ${name}, which is asked before each handshake`, async (t) => {
      let calls = 0;
      const clock = new FakeClock(t);
      const client = new Client('ws://test', { WebSocket: FakeSocket, user: () => (calls++, user()) });
      client.connect();
      FakeSocket.last.open();
      await settled();
      assert.deepEqual(JSON.parse(text(FakeSocket.last.sent[0].body)).user, { n: 1 });
      FakeSocket.last.receive(welcome());
      cut();
      await clock.advance(100);
      FakeSocket.last.open();
      await settled();
      assert.equal(calls, 2);
    });
  }

  test('that does not fit JSON is an error of the constructor', () => {
    assert.throws(() => new Client('ws://test', { WebSocket: FakeSocket, user: { id: 1n } }), TypeError);
  });

  test('of a function that fails ends the attempt', async () => {
    const user = () => Promise.reject(new Error('no token'));
    const connected = new Client('ws://test', { WebSocket: FakeSocket, user }).connect();
    FakeSocket.last.open();
    await assert.rejects(connected, { code: 'usage', message: /no token/ });
  });

  test('of a function that fails while the client reconnects ends the attempt only', async (t) => {
    const clock = new FakeClock(t);
    let fails = false;
    const user = () => (fails ? Promise.reject(new Error('no token')) : { n: 1 });
    const client = new Client('ws://test', { WebSocket: FakeSocket, user });
    client.connect();
    FakeSocket.last.open();
    await settled();
    FakeSocket.last.receive(welcome({ resume: { token: 'a', window: 30, resumed: false } }));
    const answer = client.request('a.b');
    fails = true;
    cut();
    for (let attempt = 2; attempt < 5; attempt++) {
      await clock.advance(5000);
      FakeSocket.last.open();
      await settled();
      const { state, reason, error } = client.status;
      assert.deepEqual([state, reason, error?.code, client.status.attempt], ['reconnecting', 'lost', 'usage', attempt]);
    }
    fails = false;
    await clock.advance(5000);
    FakeSocket.last.open();
    await settled();
    FakeSocket.last.receive(welcome({ resume: { token: 'b', window: 30, resumed: true, received: 1 } }));
    FakeSocket.last.respond(1, json('done'));
    assert.equal(await answer, 'done');
  });

  test('that comes too late is not sent', async () => {
    let answer;
    const user = () => new Promise((resolve) => (answer = resolve));
    const client = new Client('ws://test', { WebSocket: FakeSocket, user });
    const connected = client.connect();
    FakeSocket.last.open();
    client.close();
    answer({});
    await assert.rejects(connected, { code: 'closed' });
    assert.deepEqual(FakeSocket.last.sent, []);
  });
});

describe('bodies', () => {
  test('that are buffers or views go out as bytes', async (t) => {
    const { client } = await open(t);
    const { buffer } = Uint8Array.of(0, 65, 66, 67);
    const shared = new Uint8Array(new SharedArrayBuffer(1)).fill(68).buffer;
    const bodies = [new Uint8Array(buffer, 1), new DataView(buffer, 2, 1), buffer, new Int16Array(buffer), shared];
    for (const body of bodies) client.notify('r', body);
    assert.deepEqual(
      FakeSocket.last.messages().map(({ body }) => body),
      ['ABC', 'B', '\0ABC', '\0ABC', 'D'],
    );
  });

  test('that JSON lacks are refused', async (t) => {
    const { client } = await open(t);
    assert.throws(() => client.notify('r', () => {}), { code: 'usage' });
    assert.throws(() => client.notify('r', Symbol('x')), { code: 'usage' });
    await assert.rejects(client.request('r', 1n), TypeError);
    assert.equal(client.connected, true);
  });

  test('are bytes with the codec raw, whatever the serializer of the server', async (t) => {
    const { client } = await open(t, { codec: raw, sys: { serializer: 'protobuf' } });
    client.on('a', (bytes) => assert.deepEqual([...bytes], [1, 2]));
    FakeSocket.last.push('a', Uint8Array.of(1, 2));
    assert.throws(() => client.notify('r', { a: 1 }), { code: 'usage' });
  });

  test('go through a codec object with methods', async (t) => {
    class Own {
      serializer = 'own';
      #sign = '!';
      encode(body) {
        return utf8(body + this.#sign);
      }
      decode(bytes) {
        return text(bytes) + this.#sign;
      }
    }
    const { client } = await open(t, { codec: new Own(), sys: { serializer: 'own' } });
    const answer = client.request('r', 'hi');
    FakeSocket.last.respond(1, utf8('ho'));
    assert.deepEqual([FakeSocket.last.messages()[0].body, await answer], ['hi!', 'ho!']);
    assert.equal(jsonCodec.serializer, 'json');
  });
});

describe('a push that does not decode', () => {
  test('is shown on the console if nothing listens to error', async (t) => {
    const shown = t.mock.method(console, 'error', () => {});
    const { client } = await open(t);
    client.on('a', () => assert.fail());
    FakeSocket.last.push('a', utf8('{'));
    assert.equal(shown.mock.calls[0].arguments[0].code, 'payload');
    client.addEventListener('error', () => {});
    FakeSocket.last.push('a', utf8('{'));
    assert.equal(shown.mock.callCount(), 1);
    assert.equal(client.connected, true);
  });
});

describe('a request', () => {
  test('with a signal that has ended is not sent', async (t) => {
    const { client } = await open(t);
    await assert.rejects(client.request('r', {}, { signal: AbortSignal.abort(new Error('mine')) }), {
      message: 'mine',
    });
    assert.deepEqual(FakeSocket.last.messages(), []);
  });

  test('rejects with the reason of its signal', async (t) => {
    const { client } = await open(t);
    const controller = new AbortController();
    const answer = client.request('r', {}, { signal: controller.signal });
    controller.abort('changed my mind');
    await assert.rejects(answer, (reason) => reason === 'changed my mind');
  });
});

import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';

import '../starx.js';
import { encodePacket, Packet } from '../nano.js';
import { FakeClock, FakeSocket, json, settled, text, utf8, welcome } from './fake.js';

const { starx } = globalThis;

const EVENTS = ['close', 'disconnect', 'reconnect', 'io-error', 'heartbeat timeout', 'error', 'onKick'];

/** Calls init, and records what happens. */
async function init(params = {}) {
  const seen = [];
  for (const event of EVENTS) starx.on(event, () => seen.push(event));
  starx.init(
    {
      host: 'game',
      port: 3250,
      path: '/nano',
      WebSocket: FakeSocket,
      handshakeCallback: (user) => seen.push(user),
      ...params,
    },
    () => seen.push('init'),
  );
  await settled();
  return { seen, socket: () => FakeSocket.last };
}

async function open(params, sys) {
  const { seen, socket } = await init(params);
  socket().open();
  socket().receive(welcome(sys, { user: { level: 3 } }));
  await settled();
  return { seen: seen.splice(0) && seen, socket };
}

describe('the API of the older clients', () => {
  beforeEach(() => {
    starx.disconnect();
    starx.off();
    FakeSocket.made.length = 0;
  });

  test('has its names', () => {
    assert.equal(globalThis.nano, starx);
    assert.equal(globalThis.pomelo, starx);
  });

  test('init connects, and calls back with the user data of the handshake', async () => {
    const { seen, socket } = await init({ user: { token: 'x' } });
    assert.equal(socket().url, 'ws://game:3250/nano');
    socket().open();
    assert.deepEqual(JSON.parse(text(socket().sent[0].body)).user, { token: 'x' });
    socket().receive(welcome({}, { user: { level: 3 } }));
    assert.deepEqual(seen, [{ level: 3 }, 'init']);
  });

  test('request, notify and on', async () => {
    const { socket } = await open();
    const seen = [];
    starx.on('onMessage', (body) => seen.push(['push', body]));
    starx.request('room.join', { name: 'ann' }, (answer) => seen.push(['join', answer]));
    starx.request('room.list', (answer) => seen.push(['list', answer]));
    starx.request('room.fail', {}, (answer) => seen.push(['fail', answer]));
    starx.notify('room.message');
    assert.deepEqual(
      socket()
        .messages()
        .map(({ route, body }) => `${route} ${body}`),
      ['room.join {"name":"ann"}', 'room.list {}', 'room.fail {}', 'room.message {}'],
    );
    socket().respond(1, json({ code: 0 }));
    socket().respond(2, json([1]));
    socket().respond(3, json({ code: 'NANO-404', msg: 'no route' }), true);
    socket().push('onMessage', json({ n: 1 }));
    socket().push('onOther', json({ n: 2 }));
    await settled();
    assert.deepEqual(seen, [
      ['push', { n: 1 }],
      ['join', { code: 0 }],
      ['list', [1]],
      ['fail', { code: 'NANO-404', msg: 'no route', metadata: {} }],
    ]);
  });

  test('a listener that was added before init, once, and off', async () => {
    const seen = [];
    const fn = (n) => seen.push(n);
    starx.on('a', fn).once('a', (n) => seen.push(-n));
    const { socket } = await open();
    socket().push('a', json(1));
    socket().push('a', json(2));
    starx.removeListener('a', fn);
    assert.equal(starx.hasListeners('a'), false);
    socket().push('a', json(3));
    assert.deepEqual(seen, [1, -1, 2]);
  });

  test('without reconnect a lost connection is the end', async (t) => {
    const clock = new FakeClock(t);
    const { seen, socket } = await open();
    socket().onclose({ code: 1006 });
    assert.deepEqual(seen, ['io-error', 'close', 'disconnect']);
    await clock.advance(100_000);
    assert.equal(FakeSocket.made.length, 1);
  });

  for (const reconnect of [false, true]) {
    test(`messages after a lost connection are dropped, with reconnect: ${reconnect}`, async (t) => {
      new FakeClock(t);
      const { socket } = await open({ reconnect });
      socket().onclose({ code: 1006 });
      starx.request('a.b', {}, assert.fail);
      starx.notify('a.b', {});
      await settled();
    });
  }

  test('a message before the first connection throws', async () => {
    await init();
    assert.throws(() => starx.request('a.b', {}), /a\.b: not connected/);
    assert.throws(() => starx.notify('a.b', {}), /a\.b: not connected/);
  });

  test('a message that cannot be sent throws', async () => {
    await open();
    assert.throws(() => starx.notify('', {}), { code: 'usage' });
  });

  test('with reconnect it comes back, and calls back again', async (t) => {
    const clock = new FakeClock(t);
    const { seen, socket } = await open({ reconnect: true });
    socket().onclose({ code: 1006 });
    assert.deepEqual(seen.splice(0), ['io-error', 'close', 'disconnect']);
    await clock.advance(5000);
    socket().open();
    socket().receive(welcome());
    assert.deepEqual(seen, ['reconnect', undefined, 'init']);
  });

  test('a session that is resumed shows nothing', async (t) => {
    const clock = new FakeClock(t);
    const { seen, socket } = await open({ reconnect: true }, { resume: { token: 'a', window: 30, resumed: false } });
    socket().onclose({ code: 1006 });
    starx.notify('a.b', {});
    await clock.advance(5000);
    socket().open();
    socket().receive(welcome({ resume: { token: 'b', window: 30, resumed: true, received: 0 } }));
    assert.deepEqual(seen, []);
    assert.equal(socket().messages().length, 1);
  });

  test('it gives up after the attempts that init allows', async (t) => {
    const clock = new FakeClock(t);
    const { socket } = await open({ reconnect: true, maxReconnectAttempts: 3 });
    for (let n = 0; n < 10; n++) {
      socket().onclose?.({ code: 1006 });
      await clock.advance(5000);
    }
    assert.equal(FakeSocket.made.length, 4);
  });

  test('a first connection that fails is tried again with reconnect', async (t) => {
    const clock = new FakeClock(t);
    const { seen, socket } = await init({ reconnect: true, maxReconnectAttempts: 2 });
    for (let n = 0; n < 5; n++) {
      socket().onclose?.({ code: 1006 });
      await clock.advance(20_000);
    }
    assert.equal(FakeSocket.made.length, 3);
    assert.deepEqual(seen.slice(0, 3), ['io-error', 'close', 'disconnect']);
  });

  test('a kick', async () => {
    const { seen, socket } = await open({ reconnect: true });
    const reasons = [];
    starx.on('onKick', ({ reason, code }) => reasons.push(reason, code));
    socket().receive(encodePacket(Packet.KICK, json({ reason: 'logged in elsewhere', code: 'replaced' })));
    assert.deepEqual(reasons, ['logged in elsewhere', 'replaced']);
    assert.deepEqual(seen, ['onKick', 'close', 'disconnect']);
  });

  test('a handshake that is refused', async () => {
    const { seen, socket } = await init();
    socket().open();
    socket().receive(encodePacket(Packet.HANDSHAKE, utf8('{"code":501,"message":"old"}')));
    await settled();
    assert.deepEqual(seen, ['error', 'close', 'disconnect']);
  });

  test('a server that is silent', async (t) => {
    const clock = new FakeClock(t);
    const { seen } = await open({}, { heartbeat: 10 });
    await clock.advance(30_000);
    assert.deepEqual(seen, ['heartbeat timeout', 'close', 'disconnect']);
  });

  test('disconnect', async () => {
    const { seen, socket } = await open({ reconnect: true });
    starx.disconnect();
    assert.deepEqual(seen, ['close', 'disconnect']);
    assert.equal(socket().closed.code, 1000);
    assert.throws(() => starx.notify('a.b'), /not connected/);
  });

  test('disconnect before the module is loaded', async () => {
    const { seen } = await init();
    FakeSocket.made.length = 0;
    starx.init({ host: 'other', WebSocket: FakeSocket });
    starx.disconnect();
    await settled();
    assert.deepEqual([seen, FakeSocket.made.length], [[], 0]);
  });
});

import assert from 'node:assert/strict';
import { setImmediate } from 'node:timers/promises';
import { test } from 'node:test';

import { RoomClient } from '../room.js';

/** A client whose server is the test. */
class Fake extends RoomClient {
  sent = [];
  routes = new Map();

  constructor() {
    super('ws://pond.test/', { WebSocket: class {} });
  }

  get connected() {
    return true;
  }

  on(route, fn) {
    (this.routes ??= new Map()).set(route, fn);
    return this;
  }

  off(route, fn) {
    if (this.routes.get(route) === fn) this.routes.delete(route);
    return this;
  }

  async request(route, body) {
    this.sent.push([route, body]);
    const schema = [['Pond', ['round', 'int']]];
    return route === 'room.join' ? { id: body.id, kind: 'pond', player: 1, hash: 'h', schema } : {};
  }

  notify(route) {
    this.sent.push([route]);
  }

  async push(route, body) {
    this.routes.get(route)?.(body);
    await setImmediate();
  }
}

test('a match is accepted and its room joined', async () => {
  const client = new Fake();
  const asked = [];
  const accept = (check) => asked.push(check);
  const found = client.match(() => client.request('lobby.find', { mode: 'duel' }), {
    accept,
    options: { name: 'ann' },
  });
  await setImmediate();
  await client.push('room.ready', { ticket: 't', match: 7, players: 2, within: 5000 });
  await client.push('room.waiting', { ticket: 't' });
  await client.push('room.ready', { ticket: 't', match: 9, players: 2, within: 5000 });
  await client.push('room.found', { ticket: 't', id: '0-a', kind: 'pond', team: 1 });
  const room = await found;
  assert.equal(room.id, '0-a');
  assert.deepEqual(asked, [
    { players: 2, within: 5000 },
    { players: 2, within: 5000 },
  ]);
  assert.deepEqual(client.sent, [
    ['lobby.find', { mode: 'duel' }],
    ['room.accept', { match: 7 }],
    ['room.accept', { match: 9 }],
    ['room.join', { id: '0-a', options: { name: 'ann' } }],
  ]);
  for (const route of ['room.ready', 'room.waiting', 'room.found', 'room.unmatched']) {
    assert.equal(client.routes.has(route), false, route);
  }
});

test('a refusal cancels the ticket', async () => {
  const client = new Fake();
  const found = client.match(undefined, { accept: async () => false });
  await client.push('room.ready', { match: 7 });
  assert.deepEqual(client.sent, [['room.cancel', { match: 7 }]]);
  const rejected = assert.rejects(found, { code: 'ROOM-CANCELED', message: 'the ticket was canceled' });
  await client.push('room.unmatched', { ticket: 't', code: 'ROOM-CANCELED', msg: 'the ticket was canceled' });
  await rejected;
});

test('a match that has failed meanwhile is not answered', async () => {
  const client = new Fake();
  let answer;
  client.match(undefined, { accept: () => new Promise((resolve) => (answer = resolve)) }).catch(() => {});
  await client.push('room.ready', { match: 7 });
  await client.push('room.waiting', {});
  answer(true);
  await setImmediate();
  assert.deepEqual(client.sent, []);
});

test('faults end the wait', async () => {
  const fault = new Error('no');
  await assert.rejects(
    new Fake().match(() => Promise.reject(fault)),
    fault,
  );

  const throwing = new Fake();
  const found = throwing.match(undefined, {
    accept: () => {
      throw fault;
    },
  });
  const rejected = assert.rejects(found, fault);
  await throwing.push('room.ready', { match: 7 });
  await rejected;
  assert.deepEqual(throwing.sent, [['room.cancel', { match: 7 }]]);

  const aborted = new Fake();
  const abort = new AbortController();
  const waiting = aborted.match(undefined, { signal: abort.signal });
  abort.abort(fault);
  await assert.rejects(waiting, fault);
  assert.deepEqual(aborted.sent, [['room.cancel']]);
  await assert.rejects(aborted.match(undefined, { signal: abort.signal }), fault);

  const closed = new Fake();
  const lost = closed.match();
  closed.dispatchEvent(new Event('close'));
  await assert.rejects(lost, { code: 'closed' });
});

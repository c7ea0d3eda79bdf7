import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Predictor } from '../predict.js';

/** A room whose state the test sets. */
class FakeRoom extends EventTarget {
  ack = 0;
  sent = [];
  state = { frogs: {} };
  schema = [
    ['Pond', ['frogs', 'map', 'uint', ['obj', 1]]],
    ['Frog', ['x', 'q', 10], ['y', 'num'], ['angle', 'turn', 256]],
  ];

  input(name, body) {
    this.sent.push([name, body]);
    return this.sent.length;
  }

  /** Takes a message of the state. */
  update(ack, frog) {
    this.ack = ack;
    if (frog) this.state.frogs[1] = frog;
    else delete this.state.frogs[1];
    this.dispatchEvent(new Event('change'));
  }
}

const step = (frog, { dx = 0, turn = 0 }, name) => {
  frog.x += name === 'dash' ? 2 * dx : dx;
  frog.angle += turn;
};
const near = (got, want) => assert.ok(Math.abs(got - want) < 1e-9, `${got}, want ${want}`);

test('inputs are applied at once and repeated on a new state', () => {
  const room = new FakeRoom();
  room.update(0, { x: 10, y: 1, angle: 0 });
  const me = new Predictor(room, 'frogs', 1, { step, fields: ['x', 'y'], now: () => 0 });
  assert.equal(me.input('swim', { dx: 1 }), 1);
  assert.equal(me.input('dash', { dx: 1 }), 2);
  assert.deepEqual(room.sent, [
    ['swim', { dx: 1 }],
    ['dash', { dx: 1 }],
  ]);
  assert.deepEqual([me.value.x, me.pending], [13, 2]);
  assert.equal(room.state.frogs[1].x, 10, "the state is the server's");
  room.update(1, { x: 11, y: 1, angle: 0 }); // the first is in it
  assert.deepEqual([me.value.x, me.pending], [13, 1]);
  assert.deepEqual(me.at(), { x: 13, y: 1 }, 'there is nothing to correct');
  room.update(2, { x: 13, y: 1, angle: 0 });
  assert.deepEqual([me.value.x, me.pending], [13, 0]);
  room.update(2, { x: 13, y: 7, angle: 0 });
  assert.equal(me.value.y, 7);
});

test('corrections are smoothed', () => {
  const room = new FakeRoom();
  let clock = 0;
  room.update(0, { x: 10, y: 0, angle: 0 });
  const me = new Predictor(room, 'frogs', 1, { step, fields: ['x'], smooth: 100, jump: 5, now: () => clock });
  me.input('swim', { dx: 2 });
  room.update(1, { x: 11, y: 0, angle: 0 }); // a wall: the server moved it by 1 only
  assert.equal(me.value.x, 11);
  near(me.at().x, 12);
  clock = 100;
  near(me.at().x, 11 + Math.exp(-1));
  near(me.at(50).x, 11 + Math.exp(-0.5));
  room.update(1, { x: 11.5, y: 0, angle: 0 }); // another correction meanwhile
  near(me.at().x, 11 + Math.exp(-1));
  clock = 5000;
  near(me.at().x, 11.5);
  room.update(1, { x: 100, y: 0, angle: 0 }); // teleported
  near(me.at().x, 100);
});

test('angles are corrected the short way round', () => {
  const room = new FakeRoom();
  room.update(0, { x: 0, y: 0, angle: 3 });
  const me = new Predictor(room, 'frogs', 1, { step, fields: ['angle'], now: () => 0 });
  me.input('turn', { turn: 0.2 }); // 3.2
  room.update(1, { x: 0, y: 0, angle: -3 }); // 3.283
  near(me.at().angle, -3 - (2 * Math.PI - 6.2));
});

test('without its entry nothing is shown', () => {
  const room = new FakeRoom();
  const me = new Predictor(room, 'frogs', 1, { step, fields: ['x'], now: () => 0 });
  assert.equal(me.at(), undefined);
  me.input('swim', { dx: 1 });
  room.update(0, { x: 5, y: 0, angle: 0 });
  assert.deepEqual(me.at(), { x: 6 });
  room.update(1, undefined);
  assert.deepEqual([me.value, me.at(), me.pending], [undefined, undefined, 0]);
  room.update(1, { x: 50, y: 0, angle: 0 });
  assert.deepEqual(me.at(), { x: 50 }, 'it is another frog');
  me.close();
  room.update(1, { x: 60, y: 0, angle: 0 });
  assert.deepEqual(me.at(), { x: 50 });
});

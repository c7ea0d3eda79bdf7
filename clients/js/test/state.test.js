import assert from 'node:assert/strict';
import { test } from 'node:test';

import { StateDecoder, StateError } from '../state.js';
import { Smoother } from '../smooth.js';

const POND = JSON.stringify([
  ['Pond', ['round', 'int'], ['frogs', 'map', 'uint', ['obj', 1]]],
  ['Frog', ['name', 'str'], ['x', 'q', 10], ['y', 'q', 10], ['hand', 'list', ['u8']]],
]);
const SNAPSHOT = '07 00 03 02 01 00 02 0f 01 03 41 6e 6e c8 01 90 03 01 00 00 02 05 06 00 02 03 02 03 42 6f 62 3c 00';

const bytes = (hex) => Uint8Array.from(hex.split(' '), (x) => parseInt(x, 16));
const pond = () => {
  const decoder = new StateDecoder(POND);
  decoder.decode(bytes(SNAPSHOT));
  return decoder;
};
// Maps have no prototype, so that a key cannot be one of its names.
const plain = (value) => JSON.parse(JSON.stringify(value));
const malformed = { name: 'StateError', code: 'malformed' };

test('a snapshot and patches', () => {
  const decoder = pond();
  const ann = { name: 'Ann', x: 10, y: 20, hand: [5, 6] };
  assert.deepEqual(plain(decoder.state), { round: 1, frogs: { 1: ann, 2: { name: 'Bob', x: 3, y: 0, hand: [] } } });
  assert.deepEqual([decoder.tick, decoder.ack, decoder.synced], [1, 0, true]);
  assert.equal(decoder.decode(bytes('04 02 02 02 0a 03 0a')), true);
  assert.equal(decoder.decode(bytes('06 03 02 02 08 01 02 00 01 07 00')), true);
  assert.equal(decoder.decode(bytes('04 02 01 01 02 00')), true);
  assert.deepEqual(plain(decoder.state), { round: 1, frogs: { 1: { ...ann, x: 10.5, hand: [5, 6, 7] } } });
  assert.deepEqual([decoder.tick, decoder.ack], [4, 3]);
});

test('objects keep their identity, over snapshots too', () => {
  const decoder = pond();
  const { state } = decoder;
  const { frogs } = state;
  const [ann, { hand }] = [frogs[1], frogs[1]];
  decoder.decode(bytes('04 02 02 02 0a'));
  decoder.decode(bytes(SNAPSHOT));
  assert.equal(decoder.state, state);
  assert.equal(state.frogs, frogs);
  assert.equal(frogs[1], ann);
  assert.equal(ann.hand, hand);
  assert.equal(ann.x, 10);
});

test('events come after the whole message', () => {
  const decoder = new StateDecoder(POND);
  const calls = [];
  const call = (kind) => (value, key) => calls.push([kind, key, value.name, Object.keys(decoder.state.frogs).join()]);
  const off = decoder.on('frogs', { add: call('add'), change: call('change'), remove: call('remove') });
  const take = () => calls.splice(0);
  decoder.decode(bytes(SNAPSHOT));
  assert.deepEqual(take(), [
    ['add', '1', 'Ann', '1,2'],
    ['add', '2', 'Bob', '1,2'],
  ]);
  decoder.decode(bytes('04 02 02 02 0a'));
  assert.deepEqual(take(), [['change', '1', 'Ann', '1,2']]);
  decoder.decode(bytes('04 02 01 01 02 00'));
  assert.deepEqual(take(), [['remove', '2', 'Bob', '1']]); // with what it was
  decoder.decode(bytes(SNAPSHOT));
  assert.deepEqual(take(), [
    ['change', '1', 'Ann', '1,2'],
    ['add', '2', 'Bob', '1,2'],
  ]);
  decoder.decode(bytes('0b 00')); // an empty state
  assert.deepEqual(take(), [
    ['remove', '1', 'Ann', ''],
    ['remove', '2', 'Bob', ''],
  ]);
  assert.equal(decoder.state.round, 0);
  off();
  decoder.decode(bytes(SNAPSHOT));
  assert.deepEqual(take(), []);
});

test('a key that leaves and enters in one message changes', () => {
  const decoder = pond();
  const kinds = [];
  const bob = decoder.state.frogs[2];
  decoder.on(decoder.state.frogs, {
    add: () => kinds.push('add'),
    change: () => kinds.push('change'),
    remove: () => kinds.push('remove'),
  });
  decoder.decode(bytes('04 02 01 01 02 04 02 02 02 00')); // Bob again, with nothing but x
  assert.deepEqual(kinds, ['change']);
  assert.equal(decoder.state.frogs[2], bob);
  assert.deepEqual(plain(bob), { name: '', x: 0.1, y: 0, hand: [] });
});

test('an empty message is ignored, and so is a patch before a snapshot', () => {
  const decoder = new StateDecoder(POND);
  assert.equal(decoder.decode(bytes('04 02 02 02 0a')), false);
  assert.equal(decoder.decode(new Uint8Array()), false);
  assert.equal(decoder.synced, false);
  decoder.decode(bytes(SNAPSHOT));
  assert.equal(decoder.decode(new Uint8Array()), false);
  assert.equal(decoder.synced, true);
});

test('a malformed message is an error, and a snapshot repairs it', () => {
  for (const message of [
    '04 02 02',
    '04 02 08 02 0a',
    '04 02 01 01 06 00',
    '04 80',
    '04 04',
    '04 02 02 10',
    '00 01 02',
    '04 02 01 01 02 00 01',
    '04 02 01 00 02 00 01 00 00',
    '04 02 02 08 01 03 00 01 07 00',
    '04 02 02 08 01 00 00 ff 07',
    '04 02 02 01 ff 41',
    '04 01 ff ff ff ff ff ff ff ff ff ff 01',
    '06',
    '04 02 02 08 09 01',
  ]) {
    const decoder = pond();
    assert.throws(() => decoder.decode(bytes(message)), malformed, message);
    assert.equal(decoder.synced, false);
    assert.equal(decoder.decode(bytes('04 02 02 02 0a')), false);
    decoder.decode(bytes(SNAPSHOT));
    assert.deepEqual(plain(decoder.state), plain(pond().state), message);
  }
});

test('random bytes never do more than throw a StateError', () => {
  const seed = bytes(SNAPSHOT);
  let n = 1;
  const next = (limit) => (n = (Math.imul(n, 1664525) + 1013904223) >>> 0) % limit;
  for (let i = 0; i < 2000; i++) {
    const decoder = pond();
    const message = seed.slice(0, 2 + next(seed.length - 1));
    for (let j = next(4); j >= 0; j--) message[next(message.length)] = next(256);
    try {
      decoder.decode(message);
    } catch (error) {
      assert.ok(error instanceof StateError, error.stack);
    }
  }
});

test('a schema that differs or is not known', () => {
  assert.throws(() => new StateDecoder(POND, { hash: 'a', expect: 'b' }), { code: 'schema', message: /a, .*for b/ });
  new StateDecoder(JSON.parse(POND), { hash: 'a', expect: 'a' });
  for (const schema of [
    '',
    '{',
    '[]',
    '[["A",["x","complex"]]]',
    '[["A",["x","map","float",["int"]]]]',
    '[["A",["x","obj",3]]]',
  ]) {
    assert.throws(() => new StateDecoder(schema), { name: 'StateError', code: 'schema' }, schema);
  }
  assert.throws(() => new StateDecoder(POND).on('toads', {}), { code: 'schema', message: /toads/ });
});

test('keys are not names of prototypes', () => {
  const decoder = new StateDecoder('[["S",["m","map","str",["u8"]]]]');
  const key = new TextEncoder().encode('__proto__');
  decoder.decode(Uint8Array.from([0x07, 0, 1, 1, 0, 2, key.length, ...key, 7, 0]));
  assert.deepEqual(Object.keys(decoder.state.m), ['__proto__']);
  assert.equal(decoder.state.m.__proto__, 7);
  assert.equal({}.m, undefined);
});

const MOVES = JSON.stringify([
  ['S', ['dots', 'map', 'uint', ['obj', 1]]],
  ['Dot', ['x', 'int'], ['a', 'turn', 8]],
]);

test('interpolation goes from message to message, a delay behind', () => {
  let clock = 1000;
  const decoder = new StateDecoder(MOVES);
  const smoother = new Smoother(decoder, 'dots', ['x', 'a'], { tickRate: 10, delay: 100, now: () => clock });
  const at = (now) => smoother.at(now).get('1');
  decoder.decode(bytes('07 00 01 01 00 02 03 01 14 06 00')); // tick 1: x 10, a 3/8 of a turn
  assert.deepEqual([at(1000).x, at(1100).x, at(1500).x], [10, 10, 10]);
  clock = 1100;
  decoder.decode(bytes('04 01 02 03 14 04')); // tick 2: x 20, a 5/8
  assert.equal(at(1150).x, 15);
  assert.ok(Math.abs(at(1150).a - Math.PI) < 1e-9, 'the short way round');
  assert.equal(at(1300).x, 20);
  assert.deepEqual([smoother.tick(1150), smoother.tick(1300)], [1.5, 2], 'the tick that is shown');
  clock = 1900;
  decoder.decode(bytes('20 01 02 01 14')); // tick 10: x 30, after it stood still
  assert.equal(at(1850).x, 20);
  assert.equal(at(1950).x, 25);
  assert.equal(at(9999).x, 30);
  decoder.decode(bytes('04 01 01 01 01 00'));
  assert.equal(smoother.at(9999).size, 0);
  smoother.close();
  decoder.decode(bytes('07 00 01 01 00 02 03 01 14 06 00'));
  assert.equal(smoother.at(9999).size, 0);
});

test('interpolation does not smooth jumps, and starts with what is there', () => {
  let clock = 100;
  const decoder = new StateDecoder(MOVES);
  decoder.decode(bytes('07 00 01 01 00 02 01 01 14 00'));
  const smoother = new Smoother(decoder, 'dots', ['x'], { tickRate: 10, delay: 100, jump: 5, now: () => clock });
  assert.equal(smoother.at(100).get('1').x, 10);
  clock = 200;
  decoder.decode(bytes('04 01 02 01 14'));
  assert.equal(smoother.at(299).get('1').x, 10);
  assert.equal(smoother.at(300).get('1').x, 20);
});

test('a late message moves the clock of the interpolation once, for all entries together', () => {
  let clock = 100;
  let change;
  const dots = Object.fromEntries(Array.from({ length: 50 }, (_, key) => [key, { x: 0, a: 0 }]));
  const on = (_, handlers) => ({ change } = handlers);
  const decoder = { schema: JSON.parse(MOVES), state: { dots }, tick: 1, on };
  const smoother = new Smoother(decoder, 'dots', ['x'], { tickRate: 10, delay: 100, now: () => clock });
  clock = 300; // 100 ms late
  decoder.tick = 2;
  for (const key in dots) {
    dots[key].x = 10;
    change(dots[key], key);
  }
  assert.equal(smoother.at(251).get('49').x, 5); // the clock is 1 ms behind
});

/** Shows a dot that moves by 1 a millisecond, with messages that are late, and returns how far each frame is behind. */
function behind(late, options) {
  let clock = 0;
  let change;
  const dot = { x: 0 };
  const on = (_, handlers) => ({ change } = handlers);
  const decoder = { schema: JSON.parse(MOVES), state: { dots: { 1: dot } }, tick: 0, on };
  const smoother = new Smoother(decoder, 'dots', ['x'], { now: () => clock, ...options });
  const frames = [];
  for (let arrives = 0; clock < 10_000; clock++) {
    while ((arrives = Math.max(arrives, 50 * (decoder.tick + 1) + late(decoder.tick + 1))) <= clock) {
      dot.x = 50 * ++decoder.tick;
      change(dot, '1');
    }
    if (clock % 16 === 0) frames.push(clock - smoother.at(clock).get('1').x);
  }
  return frames;
}

/** Returns the least and the largest step of frames from the nth one on. */
function steps(frames, n) {
  const moved = frames.slice(n).map((late, i) => 16 + frames[n + i - 1] - late);
  return [Math.min(...moved), Math.max(...moved)];
}

test('interpolation keeps little of what a page without frames does not show', () => {
  let clock = 0;
  let change;
  const dot = { x: 0 };
  const on = (_, handlers) => ({ change } = handlers);
  const decoder = { schema: JSON.parse(MOVES), state: { dots: { 1: dot } }, tick: 0, on };
  const smoother = new Smoother(decoder, 'dots', ['x'], { now: () => clock });
  while (clock < 60_000) {
    dot.x = clock += 50;
    decoder.tick++;
    change(dot, '1');
  }
  const { x } = smoother.at(0).get('1'); // the oldest
  assert.ok(x >= 59_000, `${(clock - x) / 1000} s are kept`);
  assert.equal(smoother.at(clock).get('1').x, clock - 100);
});

test('the tick that is shown is none before the first', () => {
  const decoder = new StateDecoder(MOVES);
  const smoother = new Smoother(decoder, 'dots', ['x'], { now: () => 1000 });
  assert.equal(smoother.tick(1000), 0); // there was no message
  decoder.decode(bytes('07 00 01 01 00 02 03 01 14 06 00'));
  assert.equal(smoother.tick(1000), 0); // it is 50 ms behind tick 0
});

test('interpolation is further behind while messages come unevenly', () => {
  assert.deepEqual(new Set(behind(() => 0).slice(10)), new Set([100]));
  const burst = (tick) => 200 - (tick % 5) * 50; // five messages at a time
  const even = behind(burst).slice(-100);
  assert.ok(
    Math.min(...even) > 230 && Math.max(...even) < 320,
    `${Math.min(...even)} to ${Math.max(...even)} ms behind`,
  );
  const [least, most] = steps(behind(burst), 200);
  assert.ok(least >= 12 && most <= 24, `frames move by ${least} to ${most}, want about 16`);
  const fixed = behind(burst, { delay: 100 });
  assert.equal(steps(fixed, 200)[0], 0, 'a delay that is set does not change');
});

test('the delay of interpolation grows and shrinks steadily, within a bound', () => {
  const bursts = (tick) => (tick < 100 ? 200 - (tick % 5) * 50 : 200); // at the end, all are late
  const [least, most] = steps(behind(bursts), 200);
  assert.ok(least >= 8 && most <= 24, `frames move by ${least} to ${most}, want about 16`);
  const storm = (tick) => (tick > 40 && tick < 100 ? ((tick * 7919) % 10) * 300 : 0);
  assert.equal(behind(storm).at(-1), 100);
});

test('a struct may have a name that all objects have', () => {
  const decoder = new StateDecoder([['Season', ['constructor.wins', 'int'], ['constructor.name', 'str']]]);
  decoder.decode(bytes('07 00 03 04 01 61'));
  assert.deepEqual(decoder.state, { constructor: { wins: 2, name: 'a' } });
  assert.equal(Object.wins, undefined);
});

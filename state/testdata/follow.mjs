// Follows views for js_test.go. Each line of input is a new decoder or a message with the state that has to follow; each
// line of output is "ok" or what is wrong.
import { createInterface } from 'node:readline';
import { StateDecoder } from '../../clients/js/state.js';

const decoders = new Map();
const tracked = new Map(); // by decoder: what the events say that the map "mirror" holds

const show = (v) => (typeof v === 'bigint' ? `${v}n` : Object.is(v, -0) ? '-0' : JSON.stringify(v));

/** Returns where have differs from want. Values that JSON does not have come as {"$": kind, v}. */
const difference = (have, want, path) => {
  if (want !== null && typeof want === 'object' && '$' in want) {
    const exact = want.$ === 'big' ? BigInt(want.v) : Number(want.v);
    return Object.is(have, exact) ? '' : `${path} = ${show(have)}, want ${show(exact)}`;
  }
  if (want === null || typeof want !== 'object') {
    return Object.is(have, want) ? '' : `${path} = ${show(have)}, want ${show(want)}`;
  }
  if (have === null || typeof have !== 'object') return `${path} = ${show(have)}, want ${show(want)}`;
  if (Array.isArray(have) !== Array.isArray(want)) return `${path} is not a list`;
  const keys = Object.keys(want);
  if (Object.keys(have).length !== keys.length) return `${path} has ${Object.keys(have)}, want ${keys}`;
  for (const key of keys) {
    if (!Object.hasOwn(have, key)) return `${path} has no ${key}`;
    const found = difference(have[key], want[key], `${path}.${key}`);
    if (found) return found;
  }
  return '';
};

/** Keeps for each map of the root a copy of its keys by events alone, and the identity of its objects. */
const track = (decoder) => {
  const all = [];
  for (const name of Object.keys(decoder.state)) {
    const map = decoder.state[name];
    if (map === null || typeof map !== 'object' || Object.getPrototypeOf(map) !== null) continue;
    const keys = new Map();
    const t = { name, map, keys, wrong: '' };
    decoder.on(name, {
      add: (v, key) => {
        if (keys.has(key)) t.wrong = `add of ${key}, which was there`;
        keys.set(key, v);
      },
      change: (v, key) => {
        if (!keys.has(key)) t.wrong = `change of ${key}, which was not there`;
        if (v !== null && typeof v === 'object' && keys.get(key) !== v) t.wrong = `${key} lost its identity`;
      },
      remove: (_, key) => {
        if (!keys.delete(key)) t.wrong = `remove of ${key}, which was not there`;
      },
    });
    all.push(t);
  }
  return all;
};

for await (const line of createInterface({ input: process.stdin })) {
  const { id, schema, message, want, tick, ack } = JSON.parse(line);
  if (schema) {
    const decoder = new StateDecoder(schema);
    decoders.set(id, decoder);
    tracked.set(id, track(decoder));
    continue;
  }
  const decoder = decoders.get(id);
  let found = '';
  try {
    decoder.decode(Buffer.from(message, 'base64'));
    found = difference(decoder.state, want, 'state');
    if (decoder.tick !== tick || decoder.ack !== ack) found ||= `tick ${decoder.tick}, ack ${decoder.ack}`;
    for (const t of tracked.get(id)) {
      const keys = Object.keys(t.map);
      if (keys.length !== t.keys.size || !keys.every((key) => t.keys.has(key))) found ||= `events of ${t.name} lost a key`;
      found ||= t.wrong;
    }
  } catch (error) {
    found = error.stack;
  }
  console.log(found ? JSON.stringify(found) : 'ok');
}

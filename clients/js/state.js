/**
 * state.js decodes the state that the Go package `state` sends: plain objects that keep their identity, and events
 * after each message. docs/state.md describes the bytes.
 *
 *     const decoder = new StateDecoder(schema);
 *     decoder.on('frogs', { add: show, change: move, remove: hide });
 *     decoder.decode(message);
 *     decoder.state.frogs[7].x;
 *
 * @module
 */

/** A message or a schema that cannot be read. `code` is "malformed" or "schema". */
export class StateError extends Error {
  constructor(code, message) {
    super(`state: ${message}`);
    this.name = 'StateError';
    this.code = code;
  }
}

// What is being read. Decoding is synchronous, so one set of variables serves all decoders.
let bytes, pos, end;
let events; // what the message did: [map, kind, value, key]
let dirty; // the maps with entries that left

const MAX_HANDLE = 2 ** 21;

const malformed = () => {
  throw new StateError('malformed', `malformed message at byte ${pos} of ${end}`);
};
const must = (ok) => ok || malformed();
const byte = () => (pos < end ? bytes[pos++] : malformed());

/** Reads the rest of a varint: x is the first byte's part, m the weight of the next byte's. */
const varint = (b, x, m) => {
  for (; b > 127; m *= 128) {
    b = byte();
    x += (b & 127) * m;
    must(m < 2 ** 57);
  }
  return x;
};
const uint = () => {
  const b = byte();
  return varint(b, b & 127, 128);
};
// The sign is the lowest bit. It is read by itself, because twice 2^53 is not a safe integer.
const int = () => {
  const b = byte();
  const x = varint(b, (b & 127) >> 1, 64);
  return b & 1 ? -1 - x : x;
};
const bigUint = () => {
  let x = 0n;
  for (let b = 128, shift = 0n; b > 127; shift += 7n) {
    b = byte();
    x |= BigInt(b & 127) << shift;
  }
  must(x < 1n << 64n);
  return x;
};
const bigInt = () => {
  const x = bigUint();
  return x & 1n ? ~(x >> 1n) : x >> 1n;
};

const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
const string = () => {
  const n = uint();
  must(n <= end - pos);
  pos += n;
  return utf8.decode(bytes.subarray(pos - n, pos));
};

const num = () => {
  const b = byte();
  if (b < 0x80) return b;
  if (b < 0xc0) return ((b & 63) << 8) | byte();
  if (b < 0xe0) return -1 - (b & 31);
  if (b < 0xf0) return -1 - (((b & 15) << 8) | byte());
  const n = b < 0xf1 ? 4 : 8;
  must(b < 0xf2 && n <= end - pos);
  const view = new DataView(bytes.buffer, bytes.byteOffset + pos, n);
  pos += n;
  return n < 8 ? view.getFloat32(0, true) : view.getFloat64(0, true);
};

// Keys of maps are text, as all names of an object's properties.
const KEYS = { str: string, uint: () => `${bigUint()}`, int: () => `${bigInt()}` };

// A value has a kind k and what the kind needs. r[i] holds what differences are made to, o[p] what the program sees.
// r[i] of a struct is {o, r, h}: h has the objects of its fields, which differ from o if structs nest by value.
// r[i] of a list is {o, r}; of a map {o, e, old}: its entries {p, r} by handle, and those that left by key.
const ZERO = {
  bool: false,
  u8: 0,
  i8: 0,
  int: 0,
  q: 0,
  turn: 0,
  num: 0,
  big: 0n,
  ubig: 0n,
  str: '',
};

/** Makes o[p] zero. What the objects of maps hold is zeroed once their key comes again. */
const zero = (v, r, i, o, p) => {
  const { k } = v;
  if (k === 'struct') {
    r[i] = zeroStruct(v.t, r[i]);
    o[p] = r[i].o;
  } else if (k === 'obj') {
    o[p] = null; // r[i] stays, for its identity
  } else if (k === 'list') {
    r[i] ??= { o: [], r: [] };
    r[i].o.length = r[i].r.length = 0;
    o[p] = r[i].o;
  } else if (k === 'map') {
    r[i] ??= { o: Object.create(null), e: [], old: new Map() };
    Object.values(r[i].e).forEach((e) => r[i].old.set(e.p, e));
    r[i].e = [];
    dirty.push(r[i]); // even if it is empty: a message that could not be read may have left something in old
    o[p] = r[i].o;
  } else {
    r[i] = k === 'big' || k === 'ubig' ? 0n : 0;
    o[p] = k === 'enum' ? v.a[0] : ZERO[k];
  }
};

/** Returns the object of a struct by value. A name may be one that all objects have, such as "constructor". */
const inner = (at, name) => (Object.hasOwn(at, name) ? at[name] : (at[name] = {}));

const zeroStruct = (t, s) => {
  if (!s) {
    const o = {};
    s = { o, r: [], h: t.map((f) => f.n.reduce(inner, o)) };
  }
  t.forEach((f, i) => zero(f, s.r, i, s.h[i], f.p));
  return s;
};

/** Reads the change of a value. In the root a section may end with the message. */
const value = (v, r, i, o, p, root) => {
  switch (v.k) {
    case 'bool':
      o[p] = !!(r[i] = byte());
      must(r[i] < 2);
      break;
    case 'u8':
      o[p] = byte();
      break;
    case 'i8':
      o[p] = (byte() << 24) >> 24;
      break;
    case 'enum':
      o[p] = v.a[byte()] ?? malformed();
      break;
    case 'int':
      o[p] = r[i] += int();
      break;
    case 'q':
      o[p] = (r[i] += int()) / v.a;
      break;
    case 'turn': {
      const half = v.a / 2;
      const n = r[i] + int();
      r[i] = n < -half ? n + v.a : n < half ? n : n - v.a;
      o[p] = (r[i] / v.a) * (2 * Math.PI);
      break;
    }
    case 'num':
      o[p] = num();
      break;
    case 'big':
      o[p] = r[i] = BigInt.asIntN(64, r[i] + bigInt());
      break;
    case 'ubig':
      o[p] = r[i] = BigInt.asUintN(64, r[i] + bigInt());
      break;
    case 'str':
      o[p] = string();
      break;
    case 'struct':
      fields(v.t, r[i], mask());
      break;
    case 'obj': {
      const b = byte();
      must(b < 2);
      if (!b) {
        r[i] = o[p] = null;
      } else {
        if (o[p] === null) r[i] = zeroStruct(v.t, r[i]);
        o[p] = r[i].o;
        fields(v.t, r[i], mask());
      }
      break;
    }
    case 'list':
      list(v, r[i], root);
      break;
    default:
      map(v, r[i], root);
  }
};

/** Skips a mask and returns where it is: it is read once for each struct that it is about. */
const mask = () => {
  const from = pos;
  while (byte() > 127);
  return from;
};

/** Reads the fields of struct s whose bits are set in the mask at m. */
const fields = (t, s, m, root) => {
  for (let i = 0, b = 128; b > 127; m++) {
    b = bytes[m];
    for (let bits = b & 127, j = i; bits; bits >>= 1, j++) {
      if (bits & 1) {
        const f = t[j] ?? malformed();
        if (f.k === 'bool') s.h[j][f.p] = !!(s.r[j] ^= 1);
        else value(f, s.r, j, s.h[j], f.p, root);
      }
    }
    i += 7;
  }
};

const tagOf = (root) => (root && pos === end ? 0 : uint());

/** Reads the records of a section; find(index, change) calls change(r, i, o, p) with the place of the entry. */
const records = (v, root, tag, find) => {
  let m;
  for (let i = -1; tag; tag = tagOf(root)) {
    i += Math.floor(tag / 2);
    must(tag > 1);
    if (v.t && !(tag & 1)) m = mask();
    find(i, (r, j, o, p) => {
      if (!v.t) value(v, r, j, o, p);
      else if (m !== undefined) fields(v.t, r[j] ?? malformed(), m);
    });
  }
};

const list = (v, l, root) => {
  let tag = tagOf(root);
  if (tag === 1) {
    const start = uint();
    const removed = uint();
    const n = uint();
    must(n <= end - pos && start + removed <= l.o.length);
    const o = l.o.splice(start);
    const r = l.r.splice(start);
    for (let i = start; i < start + n; i++) {
      zero(v.v, l.r, i, l.o, i);
      value(v.v, l.r, i, l.o, i);
    }
    for (let i = removed; i < o.length; i++) {
      l.o.push(o[i]);
      l.r.push(r[i]);
    }
    tag = tagOf(root);
  }
  records(v.v, root, tag, (i, change) => {
    must(i < l.o.length);
    change(l.r, i, l.o, i);
  });
};

const map = (v, m, root) => {
  let tag = tagOf(root);
  if (tag === 1) {
    dirty.push(m);
    for (let n = uint(), h = -1; n; n--) {
      h += uint() || malformed();
      const e = m.e[h] ?? malformed();
      m.old.set(e.p, e); // as it is, unless its key enters again
      delete m.e[h];
    }
    let last;
    for (let h = -1, t = uint(); t; t = uint()) {
      h += Math.floor(t / 2);
      must(t > 1 && h < MAX_HANDLE && !m.e[h]);
      if (v.v.t && !(t & 1)) last = mask();
      const p = KEYS[v.a]();
      let e = m.old.get(p);
      events.push([m.o, e ? 'change' : 'add', p]);
      if (e) m.old.delete(p);
      else e = { p, r: [] };
      m.e[h] = e;
      if (v.v.t) {
        const s = (e.r[0] = zeroStruct(v.v.t, e.r[0]));
        m.o[p] = s.o;
        if (last !== undefined) fields(v.v.t, s, last);
      } else {
        zero(v.v, e.r, 0, m.o, p);
        value(v.v, e.r, 0, m.o, p);
      }
    }
    tag = tagOf(root);
  }
  records(v.v, root, tag, (h, change) => {
    const e = m.e[h] ?? malformed();
    change(e.r, 0, m.o, e.p);
    events.push([m.o, 'change', e.p]);
  });
};

/** Ends the entries that left and did not enter again. */
const sweep = () => {
  for (const m of dirty) {
    for (const p of m.old.keys()) {
      events.push([m.o, 'remove', p, m.o[p]]);
      delete m.o[p];
    }
    m.old.clear();
  }
};

/** Compiles the kinds of a schema. */
const compile = (schema) => {
  const types = schema.map(() => []);
  const shape = ([k, a, b]) => {
    const v = { k, a };
    if (k === 'obj' || k === 'struct') v.t = types[a];
    if (k === 'list' || k === 'map') v.v = shape(b ?? a);
    if (!(k in ZERO || v.t || (v.v && (k === 'list' || KEYS[a])) || (k === 'enum' && a[0] !== undefined))) {
      throw new StateError('schema', `the schema has an unknown kind: ${k}. Update the client.`);
    }
    return v;
  };
  schema.forEach(([, ...list], i) => {
    for (const [name, ...kind] of list) {
      const n = name.split('.');
      types[i].push({ ...shape(kind), p: n.pop(), n });
    }
  });
  return types[0];
};

/** Follows the state of one view. */
export class StateDecoder {
  #root;
  #node;
  #listeners = new Map();

  /**
   * @param {string | Array} schema what the server described, as text or parsed
   * @param {{hash?: string, expect?: string}} [options] `hash` is the server's hash of the schema and `expect` the one
   *   that the program was built for; if both are given and differ, the constructor throws
   */
  constructor(schema, { hash, expect } = {}) {
    if (hash && expect && hash !== expect) {
      throw new StateError('schema', `the server's schema is ${hash}, this client was built for ${expect}`);
    }
    dirty = [];
    try {
      this.schema = typeof schema === 'string' ? JSON.parse(schema) : schema;
      this.#root = compile(this.schema);
      this.#node = zeroStruct(this.#root);
    } catch (error) {
      throw error instanceof StateError ? error : new StateError('schema', `malformed schema: ${error.message}`);
    }
    this.state = this.#node.o;
    this.tick = this.ack = 0;
    this.synced = false;
  }

  /**
   * Calls add(value, key), change(value, key) and remove(value, key) after the messages that did so.
   *
   * @param {string | object} target a map of the root by its name, such as "frogs" or "world.frogs", or a map itself
   * @returns {() => void} ends the calls
   */
  on(target, handlers) {
    const map = typeof target === 'string' ? target.split('.').reduce((o, name) => o?.[name], this.state) : target;
    if (!map) throw new StateError('schema', `the state has no ${target}`);
    const set = this.#listeners.get(map) ?? new Set();
    this.#listeners.set(map, set.add(handlers));
    return () => {
      set.delete(handlers);
      if (!set.size) this.#listeners.delete(map);
    };
  }

  /**
   * Brings the state up to a message and then calls the listeners. An empty message does nothing. It throws a
   * StateError if the message cannot be read, and then ignores patches until a snapshot comes. If a listener throws, it
   * calls the others and then throws that error.
   *
   * @param {Uint8Array} message
   * @returns {boolean} whether the message was taken
   */
  decode(message) {
    end = message.length;
    if (!end || !(message[0] & 1 || this.synced)) return false;
    bytes = message;
    pos = 0;
    const done = (events = []);
    dirty = [];
    this.synced = false;
    const head = uint();
    const ack = head & 2 ? uint() : 0;
    const ticks = Math.floor(head / 4);
    if (head & 1) {
      this.tick = this.ack = 0;
      zeroStruct(this.#root, this.#node);
    } else must(ticks);
    if (pos < end) fields(this.#root, this.#node, mask(), true);
    must(pos === end);
    sweep();
    this.tick += ticks;
    this.ack += ack;
    this.synced = true;
    let failed;
    for (const [map, kind, key, value = map[key]] of done) {
      for (const handlers of this.#listeners.get(map) ?? []) {
        try {
          handlers[kind]?.(value, key);
        } catch (error) {
          failed ??= { error };
        }
      }
    }
    if (failed) throw failed.error;
    return true;
  }
}

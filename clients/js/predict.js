/**
 * predict.js applies the inputs of a player at once, before the server has: it keeps those that the state does not
 * contain yet, and repeats them on each new state.
 *
 *     const me = pond.predict('frogs', pond.player, {
 *       fields: ['x', 'y'],
 *       step: (frog, { dx, dy }) => {
 *         frog.x += dx;
 *         frog.y += dy;
 *       },
 *     });
 *     me.input('swim', { dx: 1, dy: 0 });
 *     const { x, y } = me.at(); // at render time
 *
 * @module
 */

const TURN = 2 * Math.PI;

/** Predicts one entry of a map of the state. */
export class Predictor {
  #room;
  #map;
  #key;
  #fields;
  #turns;
  #step;
  #time;
  #jump;
  #now;
  #pending = []; // inputs that the state does not contain: [number, name, body]
  #off; // by field: how far what is shown is off from the value
  #since; // when off was so
  #change = () => this.update();

  /** The entry with the inputs that the state does not contain yet; undefined while the state has no such entry. */
  value;

  /**
   * @param {Room} room
   * @param {string} path a map of the root, such as "frogs"
   * @param {string | number} key of the entry
   * @param {object} options `step(entry, body, name)` does to the entry what the server does for an input. `fields`: the
   *   numeric fields that `at` returns. `smooth`: in how many milliseconds a correction shrinks to a third, 100 by
   *   default. `jump`: a larger correction of a field is shown at once; no limit by default. `now`: the clock, in
   *   milliseconds.
   */
  constructor(room, path, key, { step, fields = [], smooth = 100, jump = Infinity, now = () => performance.now() }) {
    const type = room.schema[room.schema[0].find((f) => f[0] === path)?.[3]?.[1]] ?? [];
    this.#room = room;
    this.#map = path.split('.').reduce((o, name) => o[name], room.state);
    this.#key = key;
    this.#step = step;
    this.#fields = fields;
    this.#turns = fields.map((name) => type.find((f) => f[0] === name)?.[1] === 'turn');
    this.#time = smooth;
    this.#jump = jump;
    this.#now = now;
    this.#off = fields.map(() => 0);
    this.#since = now();
    room.addEventListener('change', this.#change);
    this.update();
  }

  /** Sends an input and applies it at once. Returns its number. */
  input(name, body = {}) {
    const number = this.#room.input(name, body);
    this.#pending.push([number, name, body]);
    if (this.value) this.#step(this.value, body, name);
    return number;
  }

  /** How many inputs the state does not contain yet. */
  get pending() {
    return this.#pending.length;
  }

  /** Takes a new state. The room's event `change` calls it. */
  update() {
    const { ack } = this.#room;
    while (this.#pending[0]?.[0] <= ack) this.#pending.shift();
    const shown = this.value;
    const entry = this.#map[this.#key];
    this.value = entry && structuredClone(entry);
    if (!entry) return;
    for (const [, name, body] of this.#pending) this.#step(this.value, body, name);
    const now = this.#now();
    const left = this.#left(now);
    this.#fields.forEach((name, i) => {
      let d = shown ? shown[name] - this.value[name] : 0;
      if (this.#turns[i]) d -= TURN * Math.round(d / TURN);
      const off = this.#off[i] * left + d;
      this.#off[i] = Math.abs(off) > this.#jump ? 0 : off;
    });
    this.#since = now;
  }

  /** Returns the part of a correction that is left at a time. */
  #left(now) {
    return this.#time > 0 ? Math.exp(Math.min(0, this.#since - now) / this.#time) : 0;
  }

  /** Returns the fields to show at a time of the clock: the value, with corrections that shrink. Undefined without an entry. */
  at(now = this.#now()) {
    if (!this.value) return undefined;
    const left = this.#left(now);
    return Object.fromEntries(this.#fields.map((name, i) => [name, this.value[name] + this.#off[i] * left]));
  }

  /** Ends the prediction. */
  close() {
    this.#room.removeEventListener('change', this.#change);
  }
}

/**
 * smooth.js interpolates between the messages of state.js, at render time.
 *
 *     const smoother = new Smoother(decoder, 'frogs', ['x', 'y', 'angle'], { tickRate: 20 });
 *     requestAnimationFrame(function frame(now) {
 *       for (const [key, { x, y, angle }] of smoother.at(now)) draw(key, x, y, angle);
 *       requestAnimationFrame(frame);
 *     });
 *
 * @module
 */

const TURN = 2 * Math.PI;
const MAX_DELAY = 300; // milliseconds: of the 500 that rooms keep for lag compensation, the rest is for the network
const SLEW = 0.25; // how much faster or slower time passes while the delay changes

/** Interpolates numeric fields of the entries of a map. Fields tagged `turn` go the short way round. */
export class Smoother {
  #tracks = new Map(); // by key: samples [time, values], the oldest first
  #values = new Map();
  #turns;
  #fields;
  #jump;
  #decoder;
  #tickRate;
  #offset = Infinity; // of the local clock to the one of the ticks
  #delay;
  #wanted; // the delay that #delay approaches
  #last = -Infinity; // the time of the clock until which it has done so
  #end;

  /**
   * @param {StateDecoder} decoder
   * @param {string} path a map of the root, such as "frogs"
   * @param {string[]} fields numeric fields of its entries
   * @param {object} [options] `tickRate`: ticks a second, 20 by default. `sendRate`: messages a second, the tick rate by
   *   default. `delay`: how far rendering is behind the server, in milliseconds; by default two messages, and up to 300 ms
   *   while messages come unevenly. `jump`: a larger change of a field is not interpolated; no limit by default. `now`: the
   *   clock, in milliseconds.
   */
  constructor(decoder, path, fields, options = {}) {
    const { tickRate = 20, sendRate = tickRate, delay, jump = Infinity } = options;
    const now = options.now ?? (() => performance.now());
    const period = 1000 / sendRate;
    const { schema } = decoder;
    const type = schema[schema[0].find((f) => f[0] === path)?.[3]?.[1]] ?? [];
    this.#turns = fields.map((name) => type.find((f) => f[0] === name)?.[1] === 'turn');
    this.#fields = fields;
    this.#jump = jump;
    this.#decoder = decoder;
    this.#tickRate = tickRate;
    this.#delay = this.#wanted = delay ?? 2 * period;
    const kept = this.#delay + MAX_DELAY; // what at shows is less old
    let measured; // time of the message that was measured last
    let late = 0; // average of how late messages come, in milliseconds
    let spread = 0; // average of how far they are from that
    const measure = (time) => {
      const lag = now() - time;
      // The fastest message tells the offset best. It creeps up, for clocks that drift, by one step a message.
      if (lag < this.#offset) this.#offset = lag;
      else if (time !== measured) this.#offset += (lag - this.#offset) / 100;
      if (time === measured) return;
      measured = time;
      if (delay !== undefined) return;
      // As TCP estimates its retransmission timeout (RFC 6298): most messages come within the average and some deviations.
      const off = Math.min(MAX_DELAY, lag - this.#offset) - late;
      late += off / 16;
      spread += (Math.abs(off) - spread) / 16;
      this.#wanted = Math.max(2 * period, Math.min(MAX_DELAY, period + late + 2 * spread));
    };
    const sample = (value, key) => {
      const time = (decoder.tick * 1000) / tickRate;
      measure(time);
      const values = fields.map((name) => value[name]);
      const track = this.#tracks.get(key);
      if (!track) return this.#tracks.set(key, [[time, values]]);
      const last = track.at(-1);
      const before = time - period;
      if (last[0] < before) track.push([before, last[1]]); // it stood still
      if (last[0] >= time) track.length = 0; // the server began anew
      track.push([time, values]);
      // A page that is hidden draws no frames for hours, and at does not run.
      while (track.length > 1 && track[1][0] < time - kept) track.shift();
    };
    const remove = (_, key) => {
      this.#tracks.delete(key);
      this.#values.delete(key);
    };
    const map = path.split('.').reduce((o, name) => o[name], decoder.state);
    for (const key in map) sample(map[key], key);
    this.#end = decoder.on(path, { add: sample, change: sample, remove });
  }

  /** Returns the time of the ticks that is shown at a time of the clock. It passes steadily while the delay changes. */
  #time(now) {
    const most = SLEW * Math.max(0, now - this.#last);
    this.#last = Math.max(this.#last, now);
    this.#delay += Math.max(-most, Math.min(most, this.#wanted - this.#delay));
    return now - this.#offset - this.#delay;
  }

  /** Returns the fields of each entry at a time of the clock, by key. The objects are used again by the next call. */
  at(now = performance.now()) {
    const time = this.#time(now);
    for (const [key, track] of this.#tracks) {
      while (track.length > 1 && track[1][0] <= time) track.shift();
      const [from, a] = track[0];
      const [to, b] = track[1] ?? track[0];
      const part = to > from ? Math.max(0, (time - from) / (to - from)) : 1;
      const out = this.#values.get(key) ?? {};
      this.#values.set(key, out);
      this.#fields.forEach((name, i) => {
        let d = b[i] - a[i];
        if (this.#turns[i]) d -= TURN * Math.round(d / TURN);
        out[name] = Math.abs(d) > this.#jump ? a[i] : a[i] + d * part;
      });
    }
    return this.#values;
  }

  /** Returns the tick that `at` shows at a time of the clock, with a fraction: for the lag compensation of the server. */
  tick(now = performance.now()) {
    return Math.max(0, Math.min((this.#time(now) * this.#tickRate) / 1000, this.#decoder.tick));
  }

  /** Ends the interpolation. */
  close() {
    this.#end();
  }
}

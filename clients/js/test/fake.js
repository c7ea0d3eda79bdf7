import assert from 'node:assert/strict';

import { decodeMessage, encodeMessage, encodePacket, Packet, PacketReader } from '../nano.js';

export const hex = (bytes) => Buffer.from(bytes).toString('hex');
export const unhex = (text) => new Uint8Array(Buffer.from(text, 'hex'));
export const utf8 = (text) => new TextEncoder().encode(text);
export const text = (bytes) => new TextDecoder().decode(bytes);
export const json = (value) => utf8(JSON.stringify(value));

const realImmediate = setImmediate;
/** Resolves when all promise callbacks that can run have run. */
export const settled = () => new Promise((resolve) => realImmediate(resolve));

/** Replaces timers and Date.now until the test ends. */
export class FakeClock {
  now = 1_700_000_000_000;
  #timers = new Map();
  #last = 0;

  constructor(t) {
    const real = { setTimeout, clearTimeout, setInterval, clearInterval, now: Date.now };
    globalThis.setTimeout = (fn, ms = 0) => this.#add(fn, ms, false);
    globalThis.setInterval = (fn, ms) => this.#add(fn, ms, true);
    globalThis.clearTimeout = globalThis.clearInterval = (id) => this.#timers.delete(id);
    Date.now = () => this.now;
    t.after(() => {
      Date.now = real.now;
      delete real.now;
      Object.assign(globalThis, real);
    });
  }

  #add(fn, ms, again) {
    this.#timers.set(++this.#last, { fn, at: this.now + ms, every: again ? ms : 0 });
    return this.#last;
  }

  /** Lets time pass. Timers run at their time, and promise callbacks between them. */
  async advance(ms) {
    const end = this.now + ms;
    for (;;) {
      await settled();
      const next = [...this.#timers].filter(([, { at }]) => at <= end).sort(([, a], [, b]) => a.at - b.at)[0];
      if (next === undefined) break;
      const [id, timer] = next;
      this.now = Math.max(this.now, timer.at);
      if (timer.every > 0) timer.at += timer.every;
      else this.#timers.delete(id);
      timer.fn();
    }
    this.now = end;
    await settled();
  }

  /** Moves the clock of the machine while it sleeps. What is left of timers stays. */
  sleep(ms) {
    this.now += ms;
    for (const timer of this.#timers.values()) timer.at += ms;
  }
}

/** A WebSocket whose other end is the test. */
export class FakeSocket {
  static last;
  static made = [];

  sent = [];
  closed = undefined;
  #reader = new PacketReader();

  constructor(url) {
    if (url === 'bad') throw new SyntaxError('not a URL');
    this.url = url;
    FakeSocket.last = this;
    FakeSocket.made.push(this);
  }

  send(bytes) {
    assert.equal(this.closed, undefined, 'send after close');
    this.sent.push(...this.#reader.read(bytes));
  }

  close(code, reason) {
    this.closed ??= { code, reason };
  }

  open() {
    this.onopen({});
  }

  /** Delivers the packets in one frame. */
  receive(...frames) {
    const frame = Buffer.concat(frames);
    this.onmessage?.({ data: frame.buffer.slice(frame.byteOffset, frame.byteOffset + frame.length) });
  }

  push(route, body, dictionary) {
    this.receive(data({ type: 3, route, body }, dictionary));
  }

  respond(id, body, error = false) {
    this.receive(data({ type: 2, id, body, error }));
  }

  /** The messages among the packets sent, their payloads as text. */
  messages(dictionary) {
    return this.sent
      .filter(({ type }) => type === Packet.DATA)
      .map(({ body }) => decodeMessage(body, dictionary))
      .map(({ type, id, route, body }) => ({ type, id, route, body: text(body) }));
  }
}

export const data = (message, dictionary) => encodePacket(Packet.DATA, encodeMessage(message, dictionary));
export const welcome = (sys = {}, more = {}) => encodePacket(Packet.HANDSHAKE, json({ code: 200, sys, ...more }));

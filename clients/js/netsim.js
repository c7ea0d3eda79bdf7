/**
 * netsim.js simulates the conditions of a network on WebSockets: latency, jitter, loss and cuts. It is for tests and demos.
 *
 *     const network = new Network({ latency: 80, jitter: 20, loss: 0.02 });
 *     const client = new Client('wss://example.com/nano', { WebSocket: network.WebSocket });
 *     network.set({ latency: 200 });
 *     network.cut();
 *
 * @module
 */

const PERFECT = { latency: 0, jitter: 0, loss: 0, retransmit: 0, cut: 0 };
const MIN_TIMEOUT = 200; // milliseconds: the shortest retransmission timeout of Linux
const MAX_TIMER = 2 ** 31 - 1;
const OPENING = 3; // latencies that opening a WebSocket takes before the server's answer is on its way

/** Returns a function that returns random numbers from 0 to 1 (mulberry32). The same parts of a seed give the same numbers. */
function random(...parts) {
  let state = 0;
  const next = () => {
    state = (state + 0x6d2b79f5) | 0;
    let x = Math.imul(state ^ (state >>> 15), 1 | state);
    x = (x + Math.imul(x ^ (x >>> 7), 61 | x)) ^ x;
    return ((x ^ (x >>> 14)) >>> 0) / 2 ** 32;
  };
  for (const part of parts) state = (next() * 2 ** 32) ^ part;
  return next;
}

/** One direction of a connection: passes each message on at the time of its arrival. */
class Line {
  #network;
  #random;
  #deliver;
  #queue = []; // [arrival, message, bytes], in the order of arrival
  #last = -Infinity; // when the last of queue arrives
  #timer;
  size = 0; // bytes in queue

  constructor(network, random, deliver) {
    this.#network = network;
    this.#random = random;
    this.#deliver = deliver;
  }

  /** Sends a message on its way. `latencies` is how many it takes. */
  put(message, size = 0, latencies = 1) {
    const { latency, jitter, loss, retransmit } = this.#network.conditions;
    let delay = latencies * latency + this.#random() * jitter;
    // Both numbers are taken for each message, so that the conditions of one do not change those of the next.
    if (this.#random() < loss) delay += retransmit || MIN_TIMEOUT + 2 * latency;
    this.#last = Math.max(this.#last, this.#network.now() + delay);
    this.#queue.push([this.#last, message, size]);
    this.size += size;
    if (this.#queue.length === 1) this.#wait();
  }

  #wait() {
    clearTimeout(this.#timer);
    if (this.#queue.length === 0) return;
    const ms = Math.ceil(this.#queue[0][0] - this.#network.now());
    this.#timer = setTimeout(() => this.#arrive(), Math.max(0, ms));
  }

  #arrive() {
    try {
      while (this.#queue[0]?.[0] <= this.#network.now()) {
        const [, message, size] = this.#queue.shift();
        this.size -= size;
        this.#deliver(message);
      }
    } finally {
      this.#wait(); // also if a handler has thrown
    }
  }

  clear() {
    clearTimeout(this.#timer);
    this.#queue = [];
    this.size = 0;
  }
}

/** Applies conditions to the WebSockets that its class makes. */
export class Network {
  #conditions = { ...PERFECT };
  #sockets = new Set(); // those that are not closed
  #made = 0;

  /**
   * @param {object} [conditions] as of `set`, and: `seed`, a whole number that repeats the conditions, random by default;
   *   `WebSocket`, the class to wrap; `now`, the clock in milliseconds.
   */
  constructor({ seed = Math.random() * 2 ** 32, WebSocket = globalThis.WebSocket, now, ...conditions } = {}) {
    this.now = now ?? (() => performance.now());
    this.set(conditions);
    const network = this;
    this.WebSocket = class extends Socket {
      constructor(url, protocols) {
        super(network, network.#sockets, new WebSocket(url, protocols), (part) => random(seed, network.#made, part));
        network.#made++;
      }
    };
  }

  /** The current conditions. */
  get conditions() {
    return { ...this.#conditions };
  }

  /** Changes conditions, also of open connections. Messages that are on their way keep their time of arrival. */
  set(conditions) {
    for (const [name, value] of Object.entries(conditions)) {
      if (!(name in PERFECT)) throw new TypeError(`netsim: there is no condition ${name}`);
      if (!(value >= 0)) throw new RangeError(`netsim: ${name} is ${value}, want 0 or more`);
      this.#conditions[name] = value;
    }
    for (const socket of this.#sockets) socket.arm();
  }

  /** Cuts all open connections at once, with the messages that are on their way. */
  cut() {
    for (const socket of [...this.#sockets]) socket.cut();
  }
}

/** What the client uses of a WebSocket, over a network. */
class Socket {
  #network;
  #sockets;
  #real;
  #in;
  #out;
  #breaks;
  #breaker;
  onopen = null;
  onmessage = null;
  onerror = null;
  onclose = null;
  readyState = 0;

  constructor(network, sockets, real, random) {
    this.#network = network;
    this.#sockets = sockets;
    this.#real = real;
    this.#breaks = random(2);
    this.#in = new Line(network, random(0), ([type, event]) => this.#take(type, event));
    this.#out = new Line(network, random(1), (send) => send());
    real.onopen = (event) => this.#in.put(['open', event], 0, 1 + OPENING);
    real.onmessage = (event) => this.#in.put(['message', event]);
    real.onerror = (event) => this.#in.put(['error', event]);
    real.onclose = (event) => this.#in.put(['close', event]);
    sockets.add(this);
    this.arm();
  }

  get url() {
    return this.#real.url;
  }

  get binaryType() {
    return this.#real.binaryType;
  }

  set binaryType(type) {
    this.#real.binaryType = type;
  }

  /** Bytes that have not arrived. */
  get bufferedAmount() {
    return this.#out.size + this.#real.bufferedAmount;
  }

  #take(type, event) {
    if (type === 'open' && this.readyState !== 0) return;
    if (type === 'open') this.readyState = 1;
    if (type === 'close') this.#end();
    this[`on${type}`]?.(event);
  }

  #end() {
    this.readyState = 3;
    clearTimeout(this.#breaker);
    this.#sockets.delete(this);
    this.#in.clear();
    this.#out.clear();
  }

  send(data) {
    if (this.readyState === 0) throw new DOMException('the WebSocket is not open yet', 'InvalidStateError');
    if (this.readyState > 1) return;
    const copy = ArrayBuffer.isView(data)
      ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice()
      : data instanceof ArrayBuffer
        ? data.slice()
        : data;
    const size = copy.byteLength ?? copy.size ?? copy.length;
    this.#out.put(() => this.#real.readyState === 1 && this.#real.send(copy), size);
  }

  /** Closes the connection after what was sent. */
  close(code, reason) {
    if (this.readyState > 1) return;
    this.readyState = 2;
    this.#out.put(() => this.#real.close(code, reason));
  }

  /** Chooses when the connection is cut. As the time is distributed exponentially, this may be done again. */
  arm() {
    clearTimeout(this.#breaker);
    const { cut } = this.#network.conditions;
    const wait = -Math.log(1 - this.#breaks()) * cut;
    if (cut > 0 && wait <= MAX_TIMER) this.#breaker = setTimeout(() => this.cut(), wait);
  }

  /** Ends the connection at once. */
  cut() {
    this.#end();
    this.#real.onopen = this.#real.onmessage = this.#real.onclose = null;
    this.#real.onerror = () => {}; // a socket that is closed while it opens fires an error
    this.#real.close(4000, 'cut');
    queueMicrotask(() => this.onclose?.({ type: 'close', code: 1006, reason: 'cut', wasClean: false }));
  }
}

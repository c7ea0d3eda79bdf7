/**
 * nano.js connects a browser to a nano server over WebSocket. It runs as well in Node 22 and later, and in older ones
 * that hand it a WebSocket class. It owns the connection, the framing and the routes; what a payload means is left to
 * the options `encode` and `decode`, which speak JSON where nothing else was asked for.
 *
 *     const client = new Client('wss://example.com/nano');
 *     client.on('onMessage', (message) => show(message.name, message.content));
 *     client.addEventListener('close', ({ error }) => offerReconnect(error));
 *     await client.connect();
 *     const answer = await client.request('room.join', { name: 'ann' });
 *     client.notify('room.message', { content: 'hello' });
 *
 * @module
 */

/** The types of packets. @enum {number} */
export const Packet = Object.freeze({ HANDSHAKE: 1, ACK: 2, HEARTBEAT: 3, DATA: 4, KICK: 5 });

/** The types of messages; every data packet carries one message. @enum {number} */
export const Message = Object.freeze({ REQUEST: 0, NOTIFY: 1, RESPONSE: 2, PUSH: 3 });

const PACKET_HEAD = 4;
const MAX_PACKET = 2 ** 24 - 1;
const MAX_ROUTE = 255;
const MAX_VARINT = 10; // bytes of a 64-bit varint
const MAX_TIMER = 2 ** 31 - 1; // milliseconds; timers that are longer fire at once

const FLAG_COMPRESSED = 0x01;
const FLAG_TYPES = 0x0e;
const FLAG_ERROR = 0x20;

const BRACE = 0x7b; // no error in protobuf starts with it

const EMPTY = new Uint8Array(0);
const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Every error of this module. `code` is the one of the server's error response, such as "NANO-404" or a code of the
 * program, or one of the client's own:
 *
 * - `closed`: the connection is not open, or closed before the answer came; `cause` says why where it is known
 * - `timeout`: no answer, no handshake or no sign of life in time
 * - `protocol`: the server sent what cannot be read
 * - `refused`: the server refused the handshake
 * - `kicked`: the server ended the connection on purpose
 * - `usage`: the caller asked for what cannot be done
 */
export class NanoError extends Error {
  /**
   * @param {string} code
   * @param {string} message
   * @param {Object<string, string>} [metadata] what the server added to its error response
   * @param {{cause?: unknown}} [options]
   */
  constructor(code, message, metadata = {}, options = undefined) {
    super(message, options);
    this.name = 'NanoError';
    this.code = code;
    this.metadata = metadata;
  }
}

const malformed = (text, cause) => new NanoError('protocol', text, {}, cause && { cause });

/**
 * Returns a packet with its header.
 *
 *     0        1                          4
 *     +--------+--------+--------+--------+----------------+
 *     | type   | body length, big endian  | body           |
 *     +--------+--------+--------+--------+----------------+
 *
 * @param {number} type one of Packet
 * @param {Uint8Array} [body] at most 2^24-1 bytes; a longer one throws
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function encodePacket(type, body = EMPTY) {
  if (body.length > MAX_PACKET) {
    throw new NanoError('usage', `a packet of ${body.length} bytes, ${MAX_PACKET} fit`);
  }
  const packet = new Uint8Array(PACKET_HEAD + body.length);
  packet.set([type, body.length >>> 16, (body.length >>> 8) & 0xff, body.length & 0xff]);
  packet.set(body, PACKET_HEAD);
  return packet;
}

/** Splits a stream of bytes into packets, wherever the pieces were cut. It keeps what is not whole yet. */
export class PacketReader {
  #pieces = [];
  #size = 0; // bytes in pieces
  #need = PACKET_HEAD; // bytes that must be there before looking again

  /**
   * Yields the packets that `bytes` completes. A body aliases `bytes` where it lies in them whole. Throws at a type
   * that is not of the protocol.
   *
   * @param {Uint8Array} bytes
   * @returns {Generator<{type: number, body: Uint8Array}>}
   */
  *read(bytes) {
    this.#pieces.push(bytes);
    this.#size += bytes.length;
    if (this.#size < this.#need) return;
    let rest = join(this.#pieces, this.#size);
    this.#need = PACKET_HEAD;
    while (rest.length >= PACKET_HEAD) {
      const type = rest[0];
      if (type < Packet.HANDSHAKE || type > Packet.KICK) throw malformed(`packet type ${type}, want 1 to 5`);
      const end = PACKET_HEAD + ((rest[1] << 16) | (rest[2] << 8) | rest[3]);
      if (rest.length < end) {
        this.#need = end;
        break;
      }
      yield { type, body: rest.subarray(PACKET_HEAD, end) };
      rest = rest.subarray(end);
    }
    this.#pieces = rest.length > 0 ? [rest] : [];
    this.#size = rest.length;
  }
}

function join(pieces, size) {
  if (pieces.length === 1) return pieces[0];
  const whole = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    whole.set(piece, at);
    at += piece.length;
  }
  return whole;
}

/** Routes and their two-byte codes, as the server's handshake tells them. */
export class Dictionary {
  #codes = new Map();
  #routes = new Map();

  /** @param {Object<string, number>} [codes] by route; a code that is not a number of 16 bits, or is there twice, throws */
  constructor(codes = {}) {
    if (typeof codes !== 'object' || codes === null) throw malformed('the dictionary is not an object');
    for (const [route, code] of Object.entries(codes)) {
      if (!Number.isInteger(code) || code < 0 || code > 0xffff) {
        throw malformed(`the dictionary's code of ${route} is ${code}, want 0 to 65535`);
      }
      if (this.#routes.has(code)) {
        throw malformed(`the dictionary's code ${code} stands for ${this.#routes.get(code)} and for ${route}`);
      }
      this.#codes.set(route, code);
      this.#routes.set(code, route);
    }
  }

  /** @param {string} route @returns {number | undefined} */
  code(route) {
    return this.#codes.get(route);
  }

  /** @param {number} code @returns {string | undefined} */
  route(code) {
    return this.#routes.get(code);
  }
}

const NO_DICTIONARY = new Dictionary();

/**
 * Returns a message as it stands in a data packet.
 *
 *     +------+----------------+----------------------------+---------+
 *     | flag | id, base-128   | route: 2-byte code, or     | payload |
 *     |      | (request and   | 1-byte length and text     |         |
 *     |      |  response)     | (not in a response)        |         |
 *     +------+----------------+----------------------------+---------+
 *     flag: bits 1 to 3 type, bit 0 route compressed, bit 5 error response
 *
 * @param {{type: number, id?: number, route?: string, body?: Uint8Array, error?: boolean}} message the id is 1 to
 *   2^53-1 in a request or response; a route has at most 255 bytes of UTF-8 unless the dictionary holds it
 * @param {Dictionary} [dictionary]
 * @returns {Uint8Array}
 */
export function encodeMessage({ type, id = 0, route = '', body = EMPTY, error = false }, dictionary = NO_DICTIONARY) {
  const head = [(type << 1) | (error ? FLAG_ERROR : 0)];
  if (hasId(type)) {
    if (!Number.isSafeInteger(id) || id < 1) throw new NanoError('usage', `the id is ${id}, want 1 to 2^53-1`);
    for (; id >= 0x80; id = Math.floor(id / 0x80)) head.push((id % 0x80) + 0x80);
    head.push(id);
  }
  let text = EMPTY;
  if (hasRoute(type)) {
    const code = dictionary.code(route);
    if (code !== undefined) {
      head[0] |= FLAG_COMPRESSED;
      head.push(code >>> 8, code & 0xff);
    } else {
      text = encoder.encode(route);
      if (text.length > MAX_ROUTE) {
        throw new NanoError('usage', `the route ${route} has ${text.length} bytes, ${MAX_ROUTE} fit`);
      }
      head.push(text.length);
    }
  }
  return join([Uint8Array.from(head), text, body], head.length + text.length + body.length);
}

/**
 * Takes a message apart. `body` aliases `bytes`. Throws where the header does not fit, is not of the protocol, or bears
 * a code that the dictionary does not hold.
 *
 * @param {Uint8Array} bytes
 * @param {Dictionary} [dictionary]
 * @returns {{type: number, id: number, route: string, body: Uint8Array, error: boolean}} id 0 and route '' where the
 *   type has none; error for an error response
 */
export function decodeMessage(bytes, dictionary = NO_DICTIONARY) {
  if (bytes.length === 0) throw malformed('an empty message');
  const flag = bytes[0];
  const type = (flag & FLAG_TYPES) >> 1;
  if (type > Message.PUSH) throw malformed(`message type ${type}, want 0 to 3`);
  const error = type === Message.RESPONSE && (flag & FLAG_ERROR) !== 0;
  const compressed = (flag & FLAG_COMPRESSED) !== 0;
  if ((flag & ~(FLAG_TYPES | FLAG_COMPRESSED | (error ? FLAG_ERROR : 0))) !== 0 || (compressed && !hasRoute(type))) {
    throw malformed(`message flag 0x${flag.toString(16).padStart(2, '0')} has bits that are not of the protocol`);
  }
  let at = 1;
  let id = 0;
  let route = '';
  if (hasId(type)) {
    [id, at] = readVarint(bytes, at);
    if (id === 0) throw malformed('message id 0');
  }
  if (hasRoute(type) && compressed) {
    if (bytes.length < at + 2) throw malformed('the route code does not fit its message');
    const code = (bytes[at] << 8) | bytes[at + 1];
    at += 2;
    route = dictionary.route(code);
    if (route === undefined) throw malformed(`the dictionary holds no route code ${code}`);
  } else if (hasRoute(type)) {
    const end = at + 1 + bytes[at];
    if (!(end <= bytes.length)) throw malformed('the route does not fit its message');
    route = readText(bytes.subarray(at + 1, end), 'the route');
    at = end;
  }
  return { type, id, route, body: bytes.subarray(at), error };
}

const hasId = (type) => type === Message.REQUEST || type === Message.RESPONSE;
const hasRoute = (type) => type !== Message.RESPONSE;

/** Reads a number at `at`; returns it and where the next byte lies. Shifts would cut it to 32 bits. */
function readVarint(bytes, at) {
  let value = 0;
  let scale = 1;
  for (let n = 0; n < MAX_VARINT && at < bytes.length; n++) {
    const byte = bytes[at++];
    value += (byte % 0x80) * scale;
    if (value > Number.MAX_SAFE_INTEGER) throw malformed('a number over 2^53-1');
    if (byte < 0x80) return [value, at];
    scale *= 0x80;
  }
  throw malformed('a number that does not fit its message');
}

function readText(bytes, what) {
  try {
    return decoder.decode(bytes);
  } catch (cause) {
    throw malformed(`${what} is not UTF-8`, cause);
  }
}

function readJSON(bytes, what) {
  const text = readText(bytes, what);
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw malformed(`${what} is not JSON: ${cause.message}`, cause);
  }
}

/** Yields number and bytes of each length-delimited field of a protobuf message; the others are passed over. */
function* protobufFields(bytes) {
  for (let at = 0; at < bytes.length;) {
    let tag, length;
    [tag, at] = readVarint(bytes, at);
    switch (tag % 8) {
      case 0:
        [, at] = readVarint(bytes, at);
        continue;
      case 1:
        at += 8;
        continue;
      case 2:
        [length, at] = readVarint(bytes, at);
        break;
      case 5:
        at += 4;
        continue;
      default:
        throw malformed(`protobuf wire type ${tag % 8}`);
    }
    if (length > bytes.length - at) throw malformed('a protobuf field does not fit its message');
    yield [Math.floor(tag / 8), bytes.subarray(at, at + length)];
    at += length;
  }
}

/** Reads an error response in protobuf: the fields 1 code, 2 msg and 3 metadata, whose entries are 1 key, 2 value. */
function readProtobufError(body) {
  const error = { code: '', msg: '', metadata: {} };
  for (const [field, value] of protobufFields(body)) {
    if (field === 1) error.code = readText(value, 'the error code');
    else if (field === 2) error.msg = readText(value, 'the error text');
    else if (field === 3) {
      const entry = { 1: '', 2: '' };
      for (const [part, bytes] of protobufFields(value)) entry[part] = readText(bytes, 'the error metadata');
      error.metadata[entry[1]] = entry[2];
    }
  }
  return error;
}

/** Hands an error of the program's own code to whoever watches for uncaught ones; the connection goes on. */
const report = (error) =>
  globalThis.reportError
    ? globalThis.reportError(error)
    : queueMicrotask(() => {
        throw error;
      });

/** Calls `fn` after `ms` milliseconds; 0 and Infinity mean never. */
const after = (ms, fn) => (ms > 0 && ms <= MAX_TIMER ? setTimeout(fn, ms) : undefined);

/**
 * @typedef {object} Options
 * @property {unknown} [user] data for the server's handshake validator; must fit JSON
 * @property {(body: unknown, route: string) => Uint8Array} [encode] makes a payload; JSON by default. It does not see
 *   bodies that are a Uint8Array: those are sent as they are
 * @property {(bytes: Uint8Array, route: string) => unknown} [decode] reads a payload; JSON by default, an empty one
 *   being undefined. What it throws closes the connection
 * @property {number} [timeout] milliseconds that a request waits for its answer, 30,000 by default; 0 for no limit
 * @property {number} [connectTimeout] milliseconds for opening the socket and the handshake together, 10,000 by
 *   default; 0 for no limit
 * @property {typeof WebSocket} [WebSocket] the class to use, where there is no global one
 */

/**
 * A client of one server. Listeners stay through any number of connections: after a `close` event, `connect` may be
 * called again. The client never reconnects by itself, since what to tell the server then is the program's to know.
 *
 * Pushes go to the listeners that `on` added. The connection's own events are those of an EventTarget:
 *
 * - `kick`, once, before `close`: the server ends the connection. `event.reason` is its reason, as parsed from JSON
 * - `close`, once for every connection that `connect` reported open. `event.error` is a NanoError that says why; it is
 *   undefined after `close()`
 *
 * The server sends a heartbeat every interval, and each is answered at once. A server that has sent nothing for two
 * and a half to three intervals is dead: the connection closes with the code `timeout`. Time in which the page is
 * suspended does not count.
 */
export class Client extends EventTarget {
  #url;
  #user;
  #encode;
  #decode;
  #ownDecode;
  #timeout;
  #connectTimeout;
  #WebSocket;

  #listeners = new Map(); // route -> Set of functions
  #pending = new Map(); // id -> {route, resolve, reject, timer}
  #lastId = 0;

  #socket = null; // null while there is no connection
  #opening = null; // {resolve, reject, timer} until the handshake is done
  #reader = null;
  #dictionary = NO_DICTIONARY;
  #pulse = undefined; // the timer that watches for a dead server
  #silence = 0; // half heartbeat intervals without a frame
  #fault = ''; // what the socket's error event said

  #sys = {};
  #answer = undefined;

  /**
   * @param {string | URL} url such as "ws://localhost:3250/nano"
   * @param {Options} [options]
   */
  constructor(url, options = {}) {
    super();
    this.#url = String(url);
    this.#user = options.user;
    this.#encode = options.encode ?? ((body) => encoder.encode(JSON.stringify(body)));
    this.#decode = options.decode ?? ((bytes) => (bytes.length > 0 ? readJSON(bytes, 'the payload') : undefined));
    this.#ownDecode = options.decode !== undefined;
    this.#timeout = options.timeout ?? 30_000;
    this.#connectTimeout = options.connectTimeout ?? 10_000;
    this.#WebSocket = options.WebSocket ?? globalThis.WebSocket;
  }

  /** Whether messages can be sent: from the handshake until the connection closes. */
  get connected() {
    return this.#socket !== null && this.#opening === null;
  }

  /** What the server's handshake bore as user data; undefined where it bore none. */
  get user() {
    return this.#answer;
  }

  /** The server's side of the handshake: heartbeat (seconds), servertime (unix seconds), dict, serializer. */
  get sys() {
    return this.#sys;
  }

  /**
   * Opens the connection and shakes hands. Rejects with a NanoError where that fails, and then fires no event.
   *
   * @returns {Promise<void>}
   */
  connect() {
    return new Promise((resolve, reject) => {
      if (this.#socket !== null) throw new NanoError('usage', 'the client is connected or connecting already');
      if (typeof this.#WebSocket !== 'function') {
        throw new NanoError('usage', 'there is no WebSocket here: pass a class as the option WebSocket');
      }
      const hello = encoder.encode(JSON.stringify({ sys: { type: 'nano.js', version: '1.0.0' }, user: this.#user }));
      const socket = this.#dial();
      socket.binaryType = 'arraybuffer';
      socket.onopen = () => this.#send(Packet.HANDSHAKE, hello);
      socket.onmessage = (event) => this.#receive(event.data);
      socket.onerror = (event) => (this.#fault = event.message ?? '');
      socket.onclose = (event) => this.#end(new NanoError('closed', describeClose(event, this.#fault)));
      const timer = after(this.#connectTimeout, () =>
        this.#end(new NanoError('timeout', `no handshake from ${this.#url} in ${this.#connectTimeout} ms`)),
      );
      this.#socket = socket;
      this.#opening = { resolve, reject, timer };
      this.#reader = new PacketReader();
      this.#dictionary = NO_DICTIONARY;
      this.#fault = '';
    });
  }

  /** Closes the connection; does nothing where there is none. Requests that wait are rejected. */
  close() {
    this.#end(undefined);
  }

  /**
   * Sends a request. The promise rejects with the server's error response, with the codes `timeout`, `closed` and
   * `usage`, and with what `encode` threw.
   *
   * @param {string} route such as "room.join"
   * @param {unknown} [body] {} by default
   * @param {{timeout?: number}} [options] the client's timeout, for this request alone
   * @returns {Promise<any>} the decoded answer
   */
  request(route, body = {}, { timeout = this.#timeout } = {}) {
    return new Promise((resolve, reject) => {
      const id = this.#lastId < Number.MAX_SAFE_INTEGER ? this.#lastId + 1 : 1;
      this.#sendMessage(Message.REQUEST, id, route, body);
      this.#lastId = id;
      const timer = after(timeout, () => {
        this.#pending.delete(id);
        reject(new NanoError('timeout', `${route}: no answer in ${timeout} ms`));
      });
      this.#pending.set(id, { route, resolve, reject, timer });
    });
  }

  /**
   * Sends a message that has no answer. Throws a NanoError where it cannot be sent; whether it arrived stays unknown.
   *
   * @param {string} route
   * @param {unknown} [body] {} by default
   */
  notify(route, body = {}) {
    this.#sendMessage(Message.NOTIFY, 0, route, body);
  }

  /**
   * Calls `fn` with the decoded body of every push to `route`. What it throws is reported as uncaught, and the
   * connection goes on. Pushes that nobody listens to are dropped.
   *
   * @param {string} route
   * @param {(body: any) => void} fn a function that listens to the route already is not added twice
   * @returns {this}
   */
  on(route, fn) {
    if (!this.#listeners.has(route)) this.#listeners.set(route, new Set());
    this.#listeners.get(route).add(fn);
    return this;
  }

  /**
   * Takes off what `on` added.
   *
   * @param {string} route
   * @param {(body: any) => void} [fn] without it, all listeners of the route go
   * @returns {this}
   */
  off(route, fn) {
    if (fn === undefined) this.#listeners.delete(route);
    else this.#listeners.get(route)?.delete(fn);
    return this;
  }

  #dial() {
    try {
      return new this.#WebSocket(this.#url);
    } catch (cause) {
      throw new NanoError('usage', `${this.#url}: ${cause.message}`, {}, { cause });
    }
  }

  #sendMessage(type, id, route, body) {
    if (!this.connected) throw new NanoError('closed', `${route}: the client is not connected`);
    if (typeof route !== 'string' || route === '') throw new NanoError('usage', 'the route is empty');
    const payload = body instanceof Uint8Array ? body : this.#encode(body, route);
    if (!(payload instanceof Uint8Array)) throw new NanoError('usage', `${route}: encode returned no Uint8Array`);
    this.#send(Packet.DATA, encodeMessage({ type, id, route, body: payload }, this.#dictionary));
  }

  #send(type, body) {
    this.#socket.send(encodePacket(type, body));
  }

  #receive(data) {
    const socket = this.#socket;
    this.#silence = 0;
    try {
      if (typeof data === 'string') throw malformed('a text frame, want a binary one');
      for (const { type, body } of this.#reader.read(new Uint8Array(data))) {
        this.#handle(type, body);
        if (this.#socket !== socket) return; // a listener closed the connection
      }
    } catch (cause) {
      this.#end(cause instanceof NanoError ? cause : malformed(cause.message, cause));
    }
  }

  #handle(type, body) {
    if (type === Packet.KICK) this.#kicked(readJSON(body, 'the kick'));
    else if (type === Packet.HANDSHAKE) this.#handshake(readJSON(body, 'the handshake'));
    else if (this.#opening !== null) throw malformed(`packet type ${type} before the handshake`);
    else if (type === Packet.HEARTBEAT) this.#send(Packet.HEARTBEAT);
    else if (type === Packet.DATA) this.#message(decodeMessage(body, this.#dictionary));
    else throw malformed('an ack, which only clients send');
  }

  #handshake(answer) {
    if (this.#opening === null) throw malformed('a second handshake');
    if (answer?.code !== 200) {
      const text = answer?.msg ?? answer?.message ?? 'no reason given';
      throw new NanoError('refused', `the server refused the handshake with ${answer?.code}: ${text}`);
    }
    const sys = answer.sys ?? {};
    if (!this.#ownDecode && sys.serializer !== undefined && sys.serializer !== 'json') {
      throw new NanoError('usage', `the server speaks ${sys.serializer}: pass the options encode and decode`);
    }
    const heartbeat = sys.heartbeat ?? 0;
    if (typeof heartbeat !== 'number' || heartbeat < 0) {
      throw malformed(`the heartbeat is ${JSON.stringify(heartbeat)}, want a number of seconds`);
    }
    this.#dictionary = new Dictionary(sys.dict ?? {});
    this.#sys = sys;
    this.#answer = answer.user;
    this.#send(Packet.ACK);
    if (heartbeat > 0) this.#watch(heartbeat);
    const { resolve, timer } = this.#opening;
    this.#opening = null;
    clearTimeout(timer);
    resolve();
  }

  /** Counts half intervals of silence. A clock would take the time that a machine slept for the server's death. */
  #watch(seconds) {
    const tick = () => {
      if (++this.#silence < 6) return;
      this.#end(new NanoError('timeout', `the server sent nothing for ${seconds * 3} s`));
    };
    this.#pulse = setInterval(tick, Math.min(seconds * 500, MAX_TIMER));
  }

  #message({ type, id, route, body, error }) {
    if (type === Message.PUSH) {
      const value = this.#read(body, route);
      for (const fn of [...(this.#listeners.get(route) ?? [])]) {
        try {
          fn(value);
        } catch (thrown) {
          report(thrown);
        }
      }
      return;
    }
    if (type !== Message.RESPONSE) throw malformed(`message type ${type}, want a response (2) or a push (3)`);
    const request = this.#pending.get(id);
    if (request === undefined) return; // it timed out before
    const value = error ? this.#readError(body, request.route) : this.#read(body, request.route);
    this.#pending.delete(id);
    clearTimeout(request.timer);
    if (error) request.reject(value);
    else request.resolve(value);
  }

  #read(body, route) {
    try {
      return this.#decode(body, route);
    } catch (cause) {
      throw malformed(`${route}: ${cause.message}`, cause);
    }
  }

  /** An error response is in JSON, in protobuf, or in what the program's own serializer made of it. */
  #readError(body, route) {
    const error =
      body[0] === BRACE
        ? readJSON(body, 'the error response')
        : this.#sys.serializer === 'protobuf'
          ? readProtobufError(body)
          : this.#read(body, route);
    return new NanoError(String(error?.code ?? ''), String(error?.msg ?? ''), error?.metadata ?? {});
  }

  #kicked(data) {
    const reason = typeof data === 'object' && data !== null && 'reason' in data ? data.reason : data;
    const text = typeof reason === 'string' ? reason : JSON.stringify(reason);
    const socket = this.#socket;
    if (this.#opening === null) this.dispatchEvent(Object.assign(new Event('kick'), { reason }));
    if (this.#socket === socket) this.#end(new NanoError('kicked', text));
  }

  /** Ends the connection once; error is undefined where the program asked for it. */
  #end(error) {
    const socket = this.#socket;
    if (socket === null) return;
    const opening = this.#opening;
    const pending = this.#pending;
    this.#socket = null;
    this.#opening = null;
    this.#pending = new Map();
    clearInterval(this.#pulse);
    clearTimeout(opening?.timer);
    this.#silence = 0;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.onerror = () => {}; // a socket that closes while it opens tells of an error
    if (error === undefined) socket.close(1000);
    else socket.close(4000, error.code);
    for (const { route, reject, timer } of pending.values()) {
      clearTimeout(timer);
      reject(new NanoError('closed', `${route}: the connection closed before the answer`, {}, { cause: error }));
    }
    if (opening === null) this.dispatchEvent(Object.assign(new Event('close'), { error }));
    else opening.reject(error ?? new NanoError('closed', 'the client was closed while it connected'));
  }
}

/**
 * Makes a client and connects it. Listeners that must not miss a push are better added before: see Client.
 *
 * @param {string | URL} url
 * @param {Options} [options]
 * @returns {Promise<Client>}
 */
export async function connect(url, options) {
  const client = new Client(url, options);
  await client.connect();
  return client;
}

function describeClose({ code, reason }, fault) {
  const why = reason || fault;
  return `the connection closed with code ${code}${why ? `: ${why}` : ''}`;
}

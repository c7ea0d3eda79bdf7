// Long: pages load the whole client as one file.

/**
 * nano.js connects a browser, a worker or Node to a nano server over WebSocket. One file, no dependencies.
 *
 *     const client = new Client('wss://example.com/nano');
 *     client.on('onMessage', (message) => show(message.name, message.content));
 *     client.addEventListener('status', ({ state, resumed }) => {
 *       if (state === 'connected' && !resumed) client.request('room.join', { name: 'ann' });
 *     });
 *     await client.connect();
 *
 * Types and the documentation of each export are in nano.d.ts. The protocol is in docs/communication_protocol.md.
 *
 * @module
 */

const VERSION = '2.0.0';

/** The types of packets. */
export const Packet = Object.freeze({ HANDSHAKE: 1, ACK: 2, HEARTBEAT: 3, DATA: 4, KICK: 5 });

/** The types of messages. Every data packet carries one message. */
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

/** Every error of this module. */
export class NanoError extends Error {
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

/** Splits a stream of bytes into packets. It keeps a packet that is not complete yet. */
export class PacketReader {
  #pieces = [];
  #size = 0; // bytes in pieces
  #need = PACKET_HEAD; // bytes that must be there before looking again

  /** Yields the packets that `bytes` completes. */
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

/** Routes and their two-byte codes, as the server's handshake gives them. */
export class Dictionary {
  #codes = new Map();
  #routes = new Map();

  constructor(codes = {}) {
    if (typeof codes !== 'object' || codes === null) throw malformed('the dictionary is not an object');
    for (const [route, code] of Object.entries(codes)) {
      if (!Number.isInteger(code) || code < 0 || code > 0xffff) {
        throw malformed(`the dictionary's code of ${route} is ${code}`);
      }
      if (this.#routes.has(code)) {
        throw malformed(`the dictionary's code ${code} is double`);
      }
      this.#codes.set(route, code);
      this.#routes.set(code, route);
    }
  }

  code(route) {
    return this.#codes.get(route);
  }

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
 */
export function encodeMessage({ type, id = 0, route = '', body = EMPTY, error = false }, dictionary = NO_DICTIONARY) {
  const head = [(type << 1) | (error ? FLAG_ERROR : 0)];
  if (hasId(type)) {
    if (!Number.isSafeInteger(id) || id < 1) throw new NanoError('usage', `the id is ${id}, want 1 to 2^53-1`);
    head.push(...varint(id));
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

/** Returns the parts of a message. Its body aliases `bytes`. */
export function decodeMessage(bytes, dictionary = NO_DICTIONARY) {
  if (bytes.length === 0) throw malformed('an empty message');
  const flag = bytes[0];
  const type = (flag & FLAG_TYPES) >> 1;
  if (type > Message.PUSH) throw malformed(`message type ${type}, want 0 to 3`);
  const error = type === Message.RESPONSE && (flag & FLAG_ERROR) !== 0;
  const compressed = (flag & FLAG_COMPRESSED) !== 0;
  if ((flag & ~(FLAG_TYPES | FLAG_COMPRESSED | (error ? FLAG_ERROR : 0))) !== 0 || (compressed && !hasRoute(type))) {
    throw malformed(`message flag 0x${flag.toString(16).padStart(2, '0')} has unknown bits`);
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

/** Returns the bytes of a base-128 varint. Shifts would cut the number to 32 bits. */
function varint(value) {
  const bytes = [];
  for (; value >= 0x80; value = Math.floor(value / 0x80)) bytes.push((value % 0x80) + 0x80);
  return [...bytes, value];
}

/** Reads a varint at `at`. Returns it and the offset behind it. */
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
  throw malformed('a number does not fit its message');
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

/** Yields number and bytes of each length-delimited field of a protobuf message; the others are skipped. */
function* protobufFields(bytes) {
  for (let at = 0; at < bytes.length;) {
    let tag, length;
    [tag, at] = readVarint(bytes, at);
    const kind = tag % 8;
    if (kind === 1) at += 8;
    else if (kind === 5) at += 4;
    else if (kind === 0) [, at] = readVarint(bytes, at);
    else if (kind !== 2) throw malformed(`protobuf wire type ${kind}`);
    if (kind !== 2) continue;
    [length, at] = readVarint(bytes, at);
    if (length > bytes.length - at) throw malformed('a field does not fit its message');
    yield [Math.floor(tag / 8), bytes.subarray(at, at + length)];
    at += length;
  }
}

/** Reads an error response in protobuf: the fields 1 code, 2 msg and 3 metadata, whose entries are 1 key, 2 value. */
function readProtobufError(body) {
  const error = { code: '', msg: '', metadata: {} };
  for (const [field, value] of protobufFields(body)) {
    if (field === 1) error.code = readText(value, 'the error');
    else if (field === 2) error.msg = readText(value, 'the error');
    else if (field === 3) {
      const entry = { 1: '', 2: '' };
      for (const [part, bytes] of protobufFields(value)) entry[part] = readText(bytes, 'the error');
      error.metadata[entry[1]] = entry[2];
    }
  }
  return error;
}

/** JSON, the default codec. An empty payload is undefined. */
export const json = {
  serializer: 'json',
  encode(body) {
    const text = JSON.stringify(body);
    if (text === undefined) throw new NanoError('usage', `JSON has no ${typeof body}`);
    return encoder.encode(text);
  },
  decode: (bytes) => (bytes.length > 0 ? readJSON(bytes, 'the payload') : undefined),
};

/** Bytes in, bytes out, whatever the server's serializer is. */
export const raw = { encode: (body) => body, decode: (bytes) => bytes };

const ACK_PACKETS = 64;
const ACK_BYTES = 16 << 10;
const ACK_DELAY = 500; // milliseconds; the protocol allows a second
const TICK = 500; // milliseconds between two looks at the clock
const LATE = 4 * TICK; // a tick that comes later follows a sleep, or a throttled timer
const GRACE = 250; // milliseconds in which frames that waited in the socket are read after a sleep
const STABLE = 5000; // milliseconds after which a connection counts as good, and the backoff begins anew

/** The kicks after which the client stays away, and the faults that another attempt would meet again. */
const FINAL = new Set(['kicked', 'replaced', 'limit', 'refused', 'usage']);
/** The codes of kicks from older servers, which send only a text. */
const KICK_TEXTS = new Map([
  ['server shutdown', 'shutdown'],
  ['logged in elsewhere', 'replaced'],
  ['rate limit', 'limit'],
]);

/** Reports an error of the program's own code as uncaught; the connection goes on. */
const report = (error) => (globalThis.reportError ?? rethrow)(error);
const rethrow = (error) =>
  queueMicrotask(() => {
    throw error;
  });

/** Calls `fn` after `ms` milliseconds; 0 and Infinity mean never. */
const after = (ms, fn) => (ms > 0 && ms <= MAX_TIMER ? setTimeout(fn, ms) : undefined);

/** Returns the bytes of a buffer or of a view of one; undefined for everything else. */
function asBytes(body) {
  if (body instanceof Uint8Array) return body;
  if (ArrayBuffer.isView(body)) return new Uint8Array(body.buffer, body.byteOffset, body.byteLength);
  // A buffer of another frame is not an instance of this frame's ArrayBuffer.
  return Object.prototype.toString.call(body).endsWith('ArrayBuffer]') ? new Uint8Array(body) : undefined;
}

/** A connection to one server, and the session that outlives it. */
export class Client extends EventTarget {
  #url;
  #user;
  #encode;
  #decode;
  #serializer;
  #timeout;
  #connectTimeout;
  #WebSocket;
  #reconnect; // undefined: on, unless the program is of version 1
  #min; // bounds of the wait before an attempt, in milliseconds
  #max;
  #offline; // what happens to messages without a connection: 'wait' or 'fail'
  #buffer; // bytes kept for the server

  #listeners = new Map(); // route -> Set of functions
  #heeded = new Set(); // the types of events that were ever listened to
  #status = { state: 'closed', reason: 'new' };
  #waiters = []; // the promises of connect that are not settled

  // The session. It outlives connections if it has a token.
  #session = false; // from the handshake until the session ends
  #token = '';
  #received = 0; // data packets of the server
  #acked = 0; // those of them that were acknowledged
  #ackBytes = 0; // bytes of those that were not
  #ackSince = 0; // when the first of those came
  #kept = []; // data packets that the server has not acknowledged, oldest first
  #keptBytes = 0;
  #base = 0; // data packets before kept
  #sent = 0; // data packets that were given to a socket
  #pending = new Map(); // id -> {route, resolve, reject}
  #lastId = 0;
  #sys = {};
  #answer = undefined;

  // The connection.
  #socket = null;
  #asked = false; // whether the handshake asked for resume
  #reader = null;
  #dictionary = NO_DICTIONARY;
  #fault = ''; // text of the socket's error event
  #attempt = 0; // attempts since a connection was good
  #since = 0; // when the connection was made
  #silence = 0; // milliseconds without a frame, as ticks count them
  #interval = 0; // milliseconds between the server's heartbeats; 0: it sends none
  #heard = 0; // when the last frame came
  #ticked = 0; // when the last tick came
  #deadline; // timer: handshake, or the next attempt
  #pulse; // timer: ticks
  #grace; // timer: the end of GRACE
  #ack; // timer: acknowledgment

  constructor(url, options = {}) {
    super();
    const { codec = json, encode, decode, reconnect } = options;
    this.#url = String(url);
    this.#user = options.user;
    JSON.stringify(this.#user); // throws for data that does not fit JSON
    this.#encode = encode ?? ((body, route) => codec.encode(body, route));
    this.#decode = decode ?? ((bytes, route) => codec.decode(bytes, route));
    this.#serializer = decode ? undefined : codec.serializer;
    this.#timeout = options.timeout ?? 30_000;
    this.#connectTimeout = options.connectTimeout ?? 10_000;
    this.#WebSocket = options.WebSocket ?? globalThis.WebSocket;
    this.#reconnect = reconnect === undefined ? undefined : Boolean(reconnect);
    this.#min = reconnect?.min ?? 100;
    this.#max = reconnect?.max ?? 5000;
    this.#offline = options.offline ?? 'wait';
    this.#buffer = options.buffer ?? 256 << 10;
  }

  get connected() {
    return this.#status.state === 'connected';
  }

  get status() {
    return this.#status;
  }

  get user() {
    return this.#answer;
  }

  get sys() {
    return this.#sys;
  }

  addEventListener(type, ...rest) {
    this.#heeded.add(type);
    super.addEventListener(type, ...rest);
  }

  connect() {
    return new Promise((resolve, reject) => {
      const { state } = this.#status;
      if (state === 'connected' || state === 'connecting') {
        throw new NanoError('usage', 'the client is connected already');
      }
      if (typeof this.#WebSocket !== 'function') {
        throw new NanoError('usage', 'pass the option WebSocket');
      }
      this.#waiters.push({ resolve, reject });
      if (state === 'closed') {
        this.#attempt = 0;
        this.#watchPage(true);
        this.#become({ state: 'connecting' });
      }
      if (this.#socket === null && this.#status.state !== 'closed') this.#dial();
    });
  }

  close() {
    this.#end();
  }

  request(route, body = {}, { timeout = this.#timeout, signal, offline } = {}) {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      const id = this.#lastId + 1;
      const packet = this.#post(Message.REQUEST, id, route, body, offline);
      this.#lastId = id;
      const settle = (how, value) => {
        this.#pending.delete(id);
        clearTimeout(timer);
        signal?.removeEventListener('abort', abort);
        how(value);
      };
      const giveUp = (error) => {
        this.#withdraw(packet);
        settle(reject, error);
      };
      const abort = () => giveUp(signal.reason);
      const timer = after(timeout, () => giveUp(new NanoError('timeout', `${route}: no answer in ${timeout} ms`)));
      signal?.addEventListener('abort', abort);
      this.#pending.set(id, {
        route,
        resolve: (value) => settle(resolve, value),
        reject: (error) => settle(reject, error),
      });
    });
  }

  notify(route, body = {}, { offline } = {}) {
    this.#post(Message.NOTIFY, 0, route, body, offline);
  }

  on(route, fn) {
    if (!this.#listeners.has(route)) this.#listeners.set(route, new Set());
    this.#listeners.get(route).add(fn);
    return this;
  }

  off(route, fn) {
    if (fn === undefined) this.#listeners.delete(route);
    else this.#listeners.get(route)?.delete(fn);
    return this;
  }

  /** Programs of version 1 listen to `close`, and connect again by themselves. */
  get #auto() {
    return this.#reconnect ?? (this.#heeded.has('status') || !this.#heeded.has('close'));
  }

  #become(status) {
    this.#status = Object.freeze(status);
    this.#emit('status', status);
  }

  #emit(type, fields) {
    this.dispatchEvent(Object.assign(new Event(type), fields));
  }

  /** Page events after which a connection may have become possible, or may have died unnoticed. */
  #watchPage(on) {
    const change = on ? 'addEventListener' : 'removeEventListener';
    globalThis[change]?.('online', this.#wake);
    globalThis[change]?.('pageshow', this.#wake);
    globalThis.document?.[change]('visibilitychange', this.#wake);
  }

  #wake = ({ type }) => {
    if (globalThis.document?.visibilityState === 'hidden') return;
    const { state } = this.#status;
    if (state === 'connected') this.#tick(true);
    if (state === 'reconnecting' && (this.#socket === null || type === 'online')) this.#dial();
  };

  #dial() {
    this.#hangUp(4000, 'retry');
    let socket;
    try {
      socket = new this.#WebSocket(this.#url);
    } catch (cause) {
      return this.#end(new NanoError('usage', `${this.#url}: ${cause.message}`, {}, { cause }));
    }
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => this.#open(socket);
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code, reason }) => {
      const why = reason || this.#fault;
      this.#end(new NanoError('closed', `the connection closed with code ${code}${why && `: ${why}`}`));
    };
    socket.onerror = ({ message, error }) => {
      this.#fault = message || error?.message || '';
      // The WebSocket of Node 22 fires no close event if the server is down. Browsers fire it within this task.
      setTimeout(() => {
        if (this.#socket === socket) socket.onclose({ code: 1006 });
      });
    };
    this.#socket = socket;
    this.#reader = new PacketReader();
    this.#fault = '';
    this.#deadline = after(this.#connectTimeout, () =>
      this.#end(new NanoError('timeout', `no handshake from ${this.#url} in ${this.#connectTimeout} ms`)),
    );
  }

  #open(socket) {
    const hello = (user) => {
      if (this.#socket !== socket) return;
      const sys = { type: 'nano.js', version: VERSION };
      this.#asked = this.#auto || this.#token !== '';
      if (this.#asked) sys.resume = this.#token ? { token: this.#token, received: this.#received } : {};
      this.#acked = this.#received;
      this.#ackBytes = 0;
      this.#send(Packet.HANDSHAKE, encoder.encode(JSON.stringify({ sys, user })));
    };
    const failed = (cause) => {
      if (this.#socket === socket) this.#end(new NanoError('usage', `user: ${cause?.message}`, {}, { cause }), 'lost');
    };
    if (typeof this.#user === 'function') new Promise((resolve) => resolve(this.#user())).then(hello).catch(failed);
    else hello(this.#user);
  }

  /** Sends a message, or keeps it until the session goes on. Returns its packet. */
  #post(type, id, route, body, offline = this.#offline) {
    const { connected } = this;
    if (!connected && !(this.#token && offline === 'wait')) {
      throw new NanoError('closed', `${route}: the client is not connected`);
    }
    if (typeof route !== 'string' || route === '') throw new NanoError('usage', 'the route is empty');
    const payload = asBytes(body) ?? this.#encode(body, route);
    if (!(payload instanceof Uint8Array)) throw new NanoError('usage', `${route}: encode returned no Uint8Array`);
    const message = encodeMessage({ type, id, route, body: payload }, this.#dictionary);
    const most = this.#sys.maxPacket;
    if (message.length > most) {
      throw new NanoError('usage', `${route}: ${message.length} bytes, the server takes ${most}`);
    }
    const packet = encodePacket(Packet.DATA, message);
    if (this.#token) this.#keep(packet, route);
    if (connected) {
      this.#sent++;
      this.#socket.send(packet);
    }
    return packet;
  }

  /** Keeps a packet until the server acknowledges it. */
  #keep(packet, route) {
    if (!this.connected && this.#keptBytes + packet.length > this.#buffer) {
      throw new NanoError('full', `${route}: ${this.#buffer} bytes wait already`);
    }
    this.#kept.push(packet);
    this.#keptBytes += packet.length;
    // A resume that needs what was forgotten begins a new session.
    while (this.#keptBytes > this.#buffer) this.#release(this.#base + 1);
  }

  /** Forgets the packets before number `n`. */
  #release(n) {
    for (const packet of this.#kept.splice(0, n - this.#base)) this.#keptBytes -= packet.length;
    this.#base = n;
  }

  /** Takes back a packet that no socket was given yet. */
  #withdraw(packet) {
    const at = this.#kept.indexOf(packet);
    if (at < 0 || this.#base + at < this.#sent) return;
    this.#kept.splice(at, 1);
    this.#keptBytes -= packet.length;
  }

  #send(type, body) {
    this.#socket.send(encodePacket(type, body));
  }

  #receive(data) {
    const socket = this.#socket;
    this.#silence = 0;
    this.#heard = Date.now();
    try {
      if (typeof data === 'string') throw malformed('a text frame, want a binary one');
      for (const { type, body } of this.#reader.read(new Uint8Array(data))) {
        this.#handle(type, body);
        if (this.#socket !== socket) return; // a listener closed the connection
      }
    } catch (cause) {
      return this.#end(cause instanceof NanoError ? cause : malformed(cause.message, cause));
    }
    if (this.#received === this.#acked) return;
    const many = this.#received - this.#acked >= ACK_PACKETS || this.#ackBytes >= ACK_BYTES;
    if (many || this.#heard - this.#ackSince >= ACK_DELAY) this.#acknowledge();
    else this.#ack ??= setTimeout(() => this.#acknowledge(), ACK_DELAY);
  }

  #handle(type, body) {
    const { connected } = this;
    if (type === Packet.KICK) this.#kicked(body);
    else if (type === Packet.HANDSHAKE) this.#handshake(readJSON(body, 'the handshake'));
    else if (!connected) throw malformed(`packet type ${type} before the handshake`);
    else if (type === Packet.HEARTBEAT) this.#heartbeat(body);
    else if (type === Packet.DATA) this.#message(body);
    else throw malformed('an ack from the server');
  }

  #handshake(answer) {
    if (this.connected) throw malformed('a second handshake');
    const code = answer?.code;
    if (code !== 200) {
      throw new NanoError('refused', `refused with ${code}: ${answer?.message ?? answer?.msg}`);
    }
    const sys = answer.sys ?? {};
    if (this.#serializer && sys.serializer && sys.serializer !== this.#serializer) {
      throw new NanoError('usage', `the server speaks ${sys.serializer}, the codec ${this.#serializer}`);
    }
    const heartbeat = sys.heartbeat ?? 0;
    if (typeof heartbeat !== 'number' || heartbeat < 0) {
      throw malformed(`the heartbeat is ${JSON.stringify(heartbeat)}, want seconds`);
    }
    const dictionary = new Dictionary(sys.dict ?? {});
    const resume = (this.#asked && sys.resume) || {};
    const status = { state: 'connected', resumed: resume.resumed === true };
    if (status.resumed) this.#resumed(resume);
    else {
      const socket = this.#socket;
      if (this.#token) {
        status.reason = resume.reason ?? 'unknown';
        status.unconfirmed = this.#kept.length;
        let lost = new NanoError('closed', `the session is over: ${status.reason}`);
        if (resume.kick != null) {
          const { error, code } = this.#told(resume.kick);
          if (this.#socket !== socket) return;
          if (FINAL.has(code)) return this.#end(error, code);
          lost = error;
        }
        this.#token = '';
        this.#forget(lost);
        if (this.#socket !== socket) return;
      }
      this.#base = this.#received = this.#acked = this.#lastId = 0;
      this.#answer = answer.user;
    }
    this.#token = typeof resume.token === 'string' ? resume.token : '';
    this.#session = true;
    this.#dictionary = dictionary;
    this.#sys = sys;
    clearTimeout(this.#deadline);
    this.#send(Packet.ACK);
    for (const packet of this.#kept) this.#socket.send(packet);
    this.#sent = this.#base + this.#kept.length;
    this.#watch(heartbeat * 1000);
    const waiters = this.#waiters.splice(0);
    this.#become(status);
    for (const { resolve } of waiters) resolve();
  }

  /** Checks what the server has received against what is kept. */
  #resumed({ received, token }) {
    if (!this.#token || !token || !Number.isSafeInteger(received) || received > this.#sent) {
      throw malformed(`resumed at ${received} of ${this.#sent} messages`);
    }
    if (received < this.#base) {
      throw new NanoError('overflow', `${this.#base - received} lost messages are not kept any more`);
    }
    this.#release(received);
  }

  /** Answers a heartbeat. One with a body acknowledges packets, and is not answered. */
  #heartbeat(body) {
    if (!this.#token || body.length === 0) return this.#send(Packet.HEARTBEAT);
    const [count, end] = readVarint(body, 0);
    if (end !== body.length || (end > 1 && body[end - 1] === 0) || count > this.#sent) {
      throw malformed(`acknowledged ${count} of ${this.#sent} messages`);
    }
    if (count > this.#base) this.#release(count);
  }

  #acknowledge() {
    clearTimeout(this.#ack);
    this.#ack = undefined;
    this.#acked = this.#received;
    this.#ackBytes = 0;
    this.#send(Packet.HEARTBEAT, Uint8Array.from(varint(this.#received)));
  }

  #watch(interval) {
    this.#interval = interval;
    this.#silence = 0;
    this.#since = this.#heard = this.#ticked = Date.now();
    if (interval > 0) {
      this.#pulse = setInterval(() => {
        this.#silence += TICK;
        this.#tick(false);
      }, TICK);
    }
  }

  /**
   * Notices a dead server. Ticks measure its silence: the clock also runs while timers are throttled or the machine
   * sleeps. After a sleep the clock counts. A session that can be resumed needs less proof: reconnecting costs little.
   */
  #tick(woke) {
    const now = Date.now();
    const late = woke || now - this.#ticked > LATE;
    const heard = this.#heard;
    const interval = this.#interval;
    this.#ticked = now;
    if (interval === 0) return;
    const dead = () => this.#end(new NanoError('timeout', `the server sent nothing for ${Date.now() - heard} ms`));
    if (this.#silence >= 3 * interval) dead();
    else if (late && now - heard > interval * (this.#token ? 1.25 : 3)) {
      clearTimeout(this.#grace);
      this.#grace = setTimeout(() => this.#heard === heard && dead(), GRACE);
    }
  }

  #message(bytes) {
    if (this.#token) {
      if (this.#received++ === this.#acked) this.#ackSince = this.#heard;
      this.#ackBytes += PACKET_HEAD + bytes.length;
    }
    const { type, id, route, body, error } = decodeMessage(bytes, this.#dictionary);
    if (type === Message.PUSH) return this.#pushed(route, body);
    if (type !== Message.RESPONSE) throw malformed(`message type ${type}, want 2 or 3`);
    const request = this.#pending.get(id);
    if (request === undefined) return; // it timed out before
    try {
      const value = error ? this.#readError(body, request.route) : this.#decode(body, request.route);
      (error ? request.reject : request.resolve)(value);
    } catch (cause) {
      request.reject(unreadable(request.route, cause));
    }
  }

  #pushed(route, body) {
    const listeners = this.#listeners.get(route);
    if (!listeners?.size) return;
    let value;
    try {
      value = this.#decode(body, route);
    } catch (cause) {
      const error = unreadable(route, cause);
      if (!this.#heeded.has('error')) console.error(error);
      return this.#emit('error', { error, route });
    }
    for (const fn of [...listeners]) {
      try {
        fn(value);
      } catch (thrown) {
        report(thrown);
      }
    }
  }

  /** An error response is in JSON, in protobuf, or in what the program's own serializer made of it. */
  #readError(body, route) {
    const error =
      body[0] === BRACE
        ? readJSON(body, 'the error')
        : this.#sys.serializer === 'protobuf'
          ? readProtobufError(body)
          : this.#decode(body, route);
    return new NanoError(String(error?.code ?? ''), String(error?.msg ?? ''), error?.metadata ?? {});
  }

  #kicked(body) {
    let data;
    try {
      data = readJSON(body, 'the kick');
    } catch {
      data = 'no readable reason';
    }
    const socket = this.#socket;
    const { error, code } = this.#told(data);
    if (this.#socket === socket) this.#end(error, code);
  }

  /** Fires the kick event. Returns the error and the code of a kick. */
  #told(data) {
    const reason = typeof data === 'object' && data !== null && 'reason' in data ? data.reason : data;
    const text = typeof reason === 'string' ? reason : JSON.stringify(reason);
    const code = typeof data?.code === 'string' ? data.code : (KICK_TEXTS.get(text) ?? 'kicked');
    if (this.#session) this.#emit('kick', { reason, code });
    return { error: new NanoError('kicked', text), code };
  }

  /** Ends the connection, and reconnects unless the reason is final. Without an error, the program called close. */
  #end(error, reason = error?.code === 'closed' ? 'lost' : (error?.code ?? 'client')) {
    const { state } = this.#status;
    if (state === 'closed') return;
    const broken = error?.code === 'protocol' || error?.code === 'overflow';
    if (broken && this.#token) this.#send(Packet.KICK); // the session cannot go on
    if (!error || broken || error.code === 'kicked') this.#token = '';
    if (state === 'connected' && Date.now() - this.#since >= STABLE) this.#attempt = 0;
    const again = error && state !== 'connecting' && !FINAL.has(reason);
    const status = { state: 'closed', reason, error };
    if (again && (this.#auto || this.#token)) {
      status.state = 'reconnecting';
      status.delay = Math.random() * Math.min(this.#max, this.#min * 2 ** this.#attempt++);
      status.attempt = this.#attempt;
    } else {
      this.#token = '';
      this.#watchPage(false);
    }
    this.#hangUp(error ? 4000 : 1000, error?.code);
    this.#status = Object.freeze(status);
    let waiters = [];
    if (status.attempt) this.#deadline = setTimeout(() => this.#dial(), status.delay);
    else waiters = this.#waiters.splice(0);
    if (!this.#token) this.#forget(error);
    if (this.#status === status) this.#emit('status', status);
    for (const { reject } of waiters) reject(error ?? new NanoError('closed', 'the client was closed'));
  }

  /** Ends the session. */
  #forget(error) {
    for (const request of this.#pending.values()) {
      request.reject(
        new NanoError('closed', `${request.route}: the session closed before the answer`, {}, { cause: error }),
      );
    }
    this.#kept = [];
    this.#keptBytes = 0;
    if (!this.#session) return;
    this.#session = false;
    this.#emit('close', { error });
  }

  /** Closes the socket, ignores its later events, and stops the timers of the connection. */
  #hangUp(code, reason) {
    clearTimeout(this.#deadline);
    clearInterval(this.#pulse);
    clearTimeout(this.#grace);
    clearTimeout(this.#ack);
    this.#ack = undefined;
    const socket = this.#socket;
    if (socket === null) return;
    this.#socket = null;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.onerror = () => {}; // a socket that is closed while it opens fires an error
    socket.close(code, reason);
  }
}

/** Makes a client and connects it. */
export async function connect(url, options) {
  const client = new Client(url, options);
  await client.connect();
  return client;
}

const unreadable = (route, cause) => new NanoError('payload', `${route}: ${cause.message}`, {}, { cause });

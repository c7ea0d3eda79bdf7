/**
 * room.js joins the rooms of a server that uses the Go package `room`.
 *
 *     const client = new RoomClient('wss://example.com/nano');
 *     await client.connect();
 *     const pond = await client.joinOrCreate('pond', { name: 'ann' });
 *     pond.on('frogs', { add: show, change: move, remove: hide });
 *     pond.send('jump', { dx: 1 });
 *
 * @module
 */

import { match } from './match.js';
import { Client, json, NanoError, raw } from './nano.js';
import { Predictor } from './predict.js';
import { Smoother } from './smooth.js';
import { StateDecoder, StateError } from './state.js';

const STATE = 'room.state';

/** The other routes of package `room`. Their payloads are JSON with every serializer of the server. */
const CONTROL = new Set(
  [
    ...['create', 'join', 'joinOrCreate', 'spectate', 'leave', 'list', 'accept', 'cancel'],
    ...['left', 'closed', 'ready', 'waiting', 'found', 'unmatched'],
  ].map((name) => `room.${name}`),
);

const toBase64 = (bytes) => btoa(bytes.reduce((text, byte) => text + String.fromCharCode(byte), ''));
const fromBase64 = (text) => Uint8Array.from(atob(text), (char) => char.charCodeAt(0));

/** The events of a {@link Room}. */
const event = (type, fields) => Object.assign(new Event(type), fields);

/** A client with the rooms of its server. It is in one room at a time. */
export class RoomClient extends Client {
  #room;
  #before; // the room before a join that is not answered; a refusal leaves the client in it
  #early = []; // state that came before the answer to the join
  #schemas = new Map(); // by kind: what the server described, with its hash
  #codec; // of the other routes, and of the options and replies of joins

  constructor(url, options = {}) {
    const { codec: base = json, encode, decode } = options;
    const codec = {
      serializer: decode ? undefined : base.serializer,
      encode: encode ?? ((body, route) => base.encode(body, route)),
      decode: decode ?? ((bytes, route) => base.decode(bytes, route)),
      has: (route, part) => decode !== undefined || base.has?.(route, part) !== false,
    };
    const control = (bytes, route) => {
      try {
        return json.decode(bytes);
      } catch {
        return codec.decode(bytes, route); // an error in the encoding of the program's own serializer
      }
    };
    // If the server speaks JSON, the program's own functions serve the control routes too, such as a reviver of dates.
    const plain = (route, own) => CONTROL.has(route) && !(this.#isJSON && (own || base !== raw));
    super(url, {
      ...options,
      encode: undefined,
      decode: undefined,
      codec: {
        serializer: codec.serializer,
        encode: (body, route) => (plain(route, encode) ? json : codec).encode(body, route),
        decode(bytes, route) {
          if (route === STATE) return bytes;
          return plain(route, decode) ? control(bytes, route) : codec.decode(bytes, route);
        },
      },
    });
    this.#codec = codec;
    this.on(STATE, (bytes) => {
      if (bytes.length === 0) return; // it stands for a message that was missed: a snapshot follows
      if (this.#room) this.#room.update(bytes);
      else this.#early.push(bytes);
    });
    this.on('room.left', ({ reason }) => this.#end('left', reason));
    this.on('room.closed', ({ reason }) => this.#end('closed', reason));
  }

  /** The room that the client is in. */
  get room() {
    return this.#room;
  }

  /** Joins a room of a kind that fits the filter, or a new one. */
  joinOrCreate(kind, options, { filter, expect } = {}) {
    const hash = this.#schemas.get(kind)?.hash;
    const body = { kind, options, hash, filter: filter && { equal: filter } };
    return this.#join('room.joinOrCreate', body, { kind, expect });
  }

  /** Makes a room and describes it. */
  async create(kind, options) {
    return this.request('room.create', { kind, options: this.#pack(options, `${kind}.create`) });
  }

  /** Joins the room with an id. */
  join(id, options, join) {
    return this.#join('room.join', { id, options }, join);
  }

  /** Joins the private room with a code, in capital or small letters. */
  joinCode(code, options, join) {
    return this.#join('room.join', { code, options }, join);
  }

  /** Watches the room with an id. */
  spectate(id, join) {
    return this.#join('room.spectate', { id }, join);
  }

  /** Lists the rooms of a kind that fit the filter. */
  rooms(kind, filter) {
    return this.request('room.list', { kind, filter: filter && { equal: filter } });
  }

  /** Waits for a match of a queue and joins its room; see match.js. `enter` makes the server enter the player. */
  match(enter, options) {
    return match(this, enter, options);
  }

  /** Whether options and replies are JSON. With another serializer, they are payloads in base64. */
  get #isJSON() {
    return (this.sys.serializer ?? this.#codec.serializer) === 'json';
  }

  #pack(options, route) {
    if (options === undefined || this.#isJSON) return options;
    if (ArrayBuffer.isView(options)) {
      return toBase64(new Uint8Array(options.buffer, options.byteOffset, options.byteLength));
    }
    // A buffer of another frame is not an instance of this frame's ArrayBuffer.
    const isBuffer = Object.prototype.toString.call(options).endsWith('ArrayBuffer]');
    return toBase64(isBuffer ? new Uint8Array(options) : this.#codec.encode(options, route));
  }

  #unpack(reply, kind) {
    if (this.#isJSON) return reply;
    if (reply === undefined || reply === null) return undefined;
    const bytes = fromBase64(reply);
    return this.#codec.has(kind, 'reply') ? this.#codec.decode(bytes, kind) : bytes;
  }

  async #join(route, body, { kind, expect } = {}) {
    if ('options' in body) body.options = this.#pack(body.options, kind ?? route);
    this.#before ??= this.#room;
    this.#room = undefined;
    this.#early = [];
    let joined;
    try {
      joined = await this.request(route, body);
    } catch (error) {
      this.#stay();
      throw error;
    }
    for (const room of [this.#before, this.#room]) room?.ended('left', 'joined again');
    this.#before = this.#room = undefined;
    if (joined.schema) this.#schemas.set(joined.kind, { hash: joined.hash, schema: joined.schema });
    const { schema } = this.#schemas.get(joined.kind);
    let room;
    try {
      room = new Room(this, { ...joined, schema, reply: this.#unpack(joined.reply, joined.kind) }, expect);
    } catch (error) {
      this.request('room.leave').catch(() => {}); // the seat is of no use
      throw error;
    }
    this.#room = room;
    for (const bytes of this.#early.splice(0)) room.update(bytes);
    return room;
  }

  /** Goes on with the room before a join that was refused. */
  #stay() {
    const room = this.#before;
    this.#before = undefined;
    if (!room) return;
    this.#room = room;
    for (const bytes of this.#early.splice(0)) room.update(bytes);
  }

  #end(cause, reason) {
    const room = this.#room ?? this.#before;
    this.#room = this.#before = undefined;
    room?.ended(cause, reason);
  }
}

/**
 * A seat in a room. Events: `change` after each message of the state; `end` with `cause` and `reason` when the seat or
 * the room has ended; `error` with `error` for a message that cannot be decoded.
 */
export class Room extends EventTarget {
  #client;
  #decoder;
  #seq = 0;
  #over = false;

  constructor(client, joined, expect) {
    super();
    this.#client = client;
    this.#decoder = new StateDecoder(joined.schema, { hash: joined.hash, expect });
    this.id = joined.id;
    this.code = joined.code;
    this.kind = joined.kind;
    this.player = joined.player;
    this.spectator = joined.spectator ?? false;
    this.tickRate = joined.tickRate;
    this.sendRate = joined.sendRate;
    this.hash = joined.hash;
    this.reply = joined.reply;
  }

  get state() {
    return this.#decoder.state;
  }

  /** The parsed schema of the state. */
  get schema() {
    return this.#decoder.schema;
  }

  get tick() {
    return this.#decoder.tick;
  }

  get ack() {
    return this.#decoder.ack;
  }

  get synced() {
    return this.#decoder.synced;
  }

  /** Follows a map of the state; returns a function that ends it. */
  on(map, handlers) {
    return this.#decoder.on(map, handlers);
  }

  /** Interpolates fields of the entries of a map; see smooth.js. */
  smooth(map, fields, options) {
    return new Smoother(this.#decoder, map, fields, { tickRate: this.tickRate, sendRate: this.sendRate, ...options });
  }

  /** Applies the player's inputs to an entry of a map at once; see predict.js. */
  predict(map, key, options) {
    return new Predictor(this, map, key, options);
  }

  #route(name) {
    if (this.#over) throw new NanoError('closed', `the room ${this.id} has ended`);
    return `${this.kind}.${name[0].toUpperCase()}${name.slice(1)}`;
  }

  /** Sends a message. `name` is that of the room's method; its first letter may be small. */
  send(name, body = {}) {
    this.#client.notify(this.#route(name), body);
  }

  /** Sends a message whose type embeds room.Input, and returns its number. See `ack`. */
  input(name, body = {}) {
    // A player who has come back with a new client continues from the last number.
    const seq = Math.max(this.#seq, this.ack) + 1;
    this.send(name, { ...body, seq, tick: this.tick });
    return (this.#seq = seq);
  }

  /** Sends a message and resolves to the answer. */
  async request(name, body = {}) {
    return this.#client.request(this.#route(name), body);
  }

  /** Gives the seat up. */
  async leave() {
    if (this.#over) return;
    this.ended('left', '');
    await this.#client.request('room.leave');
  }

  /** Decodes a message of the state. The client calls it. */
  update(bytes) {
    if (this.#over) return;
    let taken = true;
    try {
      taken = this.#decoder.decode(bytes);
    } catch (error) {
      if (!(error instanceof StateError)) throw error; // of a listener: the client reports it
      taken = false;
      this.dispatchEvent(event('error', { error }));
    } finally {
      if (taken) this.dispatchEvent(event('change'));
    }
  }

  /** Ends the room for the program. The client calls it. */
  ended(cause, reason) {
    if (this.#over) return;
    this.#over = true;
    this.dispatchEvent(event('end', { cause, reason }));
  }
}

/**
 * Types of nano.js, the client of nano servers for browsers, workers and Node.
 *
 * ```ts
 * interface Routes {
 *   'room.join': { request: { name: string }; reply: { code: number } };
 *   'room.message': { notify: { content: string } };
 *   onMessage: { push: { name: string; content: string } };
 * }
 *
 * const client = new Client<Routes>('wss://example.com/nano');
 * client.on('onMessage', ({ name, content }) => show(name, content));
 * await client.connect();
 * const { code } = await client.request('room.join', { name: 'ann' });
 * ```
 *
 * @module
 */

// Routes ---------------------------------------------------------------------------------------------------------

/** The payloads of one route. A route that is only requested has no `push`, and so on. */
export interface RouteTypes {
  /** What {@link Client.request} sends. */
  request?: unknown;
  /** What the promise of {@link Client.request} resolves to. */
  reply?: unknown;
  /** What {@link Client.notify} sends. */
  notify?: unknown;
  /** What the functions of {@link Client.on} are called with. */
  push?: unknown;
}

/** The routes of a client without an interface of routes: all are allowed, and payloads are `any`. */
export interface AnyRoutes {
  [route: string]: { request: any; reply: any; notify: any; push: any };
}

/** The routes of `R` that have a payload of the kind `K`. */
export type RoutesWith<R, K extends keyof RouteTypes> = {
  [P in keyof R]: R[P] extends { [Q in K]: unknown } ? P : never;
}[keyof R] &
  string;

/** The type of the payload of the kind `K` of the route `P`; undefined if the route has none. */
export type Payload<R, P extends keyof R, K extends keyof RouteTypes> = R[P] extends { [Q in K]: infer T }
  ? T
  : undefined;

/** The arguments behind the route. The body may be left out if `{}` or undefined is one. */
export type BodyArgs<Body, Options> = undefined extends Body
  ? [body?: Body, options?: Options]
  : {} extends Body
    ? [body?: Body, options?: Options]
    : [body: Body, options?: Options];

// Errors ---------------------------------------------------------------------------------------------------------

/**
 * The codes of errors that the client itself makes. All other codes are those of the server's error responses, such as
 * `NANO-404`, or codes of the program.
 *
 * - `closed`: there is no connection, or the session ended before the answer came; `cause` says why
 * - `timeout`: no answer, no handshake or no sign of life in time
 * - `protocol`: the server sent bytes that are not of the protocol
 * - `payload`: one payload could not be decoded
 * - `refused`: the server refused the handshake
 * - `kicked`: the server ended the connection
 * - `full`: too many bytes wait for the connection
 * - `overflow`: the server lacks messages that the client does not keep any more
 * - `usage`: the call is wrong, such as an empty route or a message that is too large for the server
 */
export type ClientErrorCode =
  'closed' | 'timeout' | 'protocol' | 'payload' | 'refused' | 'kicked' | 'full' | 'overflow' | 'usage';

/** Every error of this module. */
export class NanoError extends Error {
  constructor(code: string, message: string, metadata?: Record<string, string>, options?: { cause?: unknown });
  readonly name: 'NanoError';
  /** A code of the server's error response, or a {@link ClientErrorCode}. */
  readonly code: ClientErrorCode | (string & {});
  /** What the server added to its error response. */
  readonly metadata: Record<string, string>;
  readonly cause?: unknown;
}

// Status ---------------------------------------------------------------------------------------------------------

/**
 * The code of a kick. After `kicked`, `replaced` and `limit` the client stays away. After all others it reconnects.
 *
 * - `kicked`: the program kicked the client
 * - `replaced`: the user logged in elsewhere
 * - `limit`: the client went over a limit of the server
 * - `shutdown`: the server shuts down
 * - `server`, `heartbeat`, `handshake`, `slow`, `protocol`: as in the server's statistics
 */
export type KickCode =
  | 'kicked'
  | 'replaced'
  | 'limit'
  | 'shutdown'
  | 'server'
  | 'heartbeat'
  | 'handshake'
  | 'slow'
  | 'protocol'
  | (string & {});

/**
 * Why a connection ended.
 *
 * - `client`: the program called {@link Client.close}
 * - `lost`: the socket closed or broke, the server cannot be reached, or the function {@link ClientOptions.user} failed
 * - `timeout`, `protocol`, `overflow`, `refused`, `usage`: the error's code
 * - a {@link KickCode}: the server kicked the client
 */
export type EndReason = 'client' | 'lost' | 'timeout' | 'protocol' | 'overflow' | 'refused' | 'usage' | KickCode;

/** Why a session could not be resumed. */
export type ResumeReason = 'unknown' | 'expired' | 'overflow' | 'ended' | (string & {});

// Each state declares the fields of the others as undefined, so that a listener can destructure the event before it tests
// `state`.

/** `connect` was called, and there is no handshake yet. */
export interface Connecting {
  readonly state: 'connecting';
  readonly resumed?: undefined;
  readonly reason?: undefined;
  readonly unconfirmed?: undefined;
  readonly error?: undefined;
  readonly attempt?: undefined;
  readonly delay?: undefined;
}

/** Messages can be sent. */
export interface Connected {
  readonly state: 'connected';
  /** Whether the session goes on as if the connection had not been lost. If false, log in and join again. */
  readonly resumed: boolean;
  /** Why the earlier session could not be resumed; undefined if there was none. */
  readonly reason?: ResumeReason;
  /** The number of messages of the earlier session that the server may not have received. */
  readonly unconfirmed?: number;
  readonly error?: undefined;
  readonly attempt?: undefined;
  readonly delay?: undefined;
}

/** The connection is lost, and the client tries to come back. */
export interface Reconnecting {
  readonly state: 'reconnecting';
  readonly reason: EndReason;
  readonly error: NanoError;
  /** The number of this attempt, from 1. */
  readonly attempt: number;
  /** The milliseconds until the attempt. Page events such as `online` make it earlier. */
  readonly delay: number;
  readonly resumed?: undefined;
  readonly unconfirmed?: undefined;
}

/** There is no connection, and none will be made until {@link Client.connect} is called. */
export interface Closed {
  readonly state: 'closed';
  /** `new` before the first call of {@link Client.connect}. */
  readonly reason: EndReason | 'new';
  /** Undefined before the first connection and after {@link Client.close}. */
  readonly error?: NanoError | undefined;
  readonly resumed?: undefined;
  readonly unconfirmed?: undefined;
  readonly attempt?: undefined;
  readonly delay?: undefined;
}

export type Status = Connecting | Connected | Reconnecting | Closed;

/** The event `status`: the fields of {@link Status}. Test `event.state` first. */
export type StatusEvent = Event & Status;

/** The event `error`: one push could not be decoded. It was dropped, and the connection goes on. */
export interface PayloadErrorEvent extends Event {
  readonly error: NanoError;
  readonly route: string;
}

/** The event `kick`: the server ends the session. A `status` event follows. */
export interface KickEvent extends Event {
  /** The reason that the server gave, as parsed from JSON. */
  readonly reason: any;
  readonly code: KickCode;
}

/** The event `close`: the session ended. */
export interface SessionCloseEvent extends Event {
  /** Undefined after {@link Client.close}. */
  readonly error?: NanoError | undefined;
}

export interface ClientEventMap {
  status: StatusEvent;
  error: PayloadErrorEvent;
  kick: KickEvent;
  close: SessionCloseEvent;
}

// Options --------------------------------------------------------------------------------------------------------

/** Makes payloads of bodies and bodies of payloads. See {@link json}, {@link raw} and `nano-client/protobuf`. */
export interface Codec {
  /** The serializer that the server must announce, such as `json`; any if undefined. */
  readonly serializer?: string | undefined;
  /** Returns the payload of a request or notify. It is not called for buffers and views of buffers. */
  encode(body: any, route: string): Uint8Array;
  /** Returns the body of a response or push. The bytes may be kept. An error that it throws costs that message only. */
  decode(bytes: Uint8Array, route: string): unknown;
  /** Reports whether the codec has a type for a part of a route. Without it, the codec has all types. */
  has?(route: string, part: 'request' | 'reply' | 'notify' | 'push'): boolean;
}

/** Bounds of the wait before an attempt to reconnect, in milliseconds. */
export interface Backoff {
  /** The bound before the first attempt: 100 by default. It doubles with each attempt. */
  min?: number;
  /** The largest bound: 5,000 by default. The wait is chosen at random between 0 and the bound. */
  max?: number;
}

/** What happens to messages that are sent without a connection, while the session may still be resumed. */
export type Offline = 'wait' | 'fail';

/** The part of a WebSocket class that the client uses. */
export interface WebSocketClass {
  new (url: string): {
    binaryType: any;
    onopen: any;
    onmessage: any;
    onerror: any;
    onclose: any;
    send(data: any): void;
    close(code?: number, reason?: string): void;
  };
}

export interface ClientOptions {
  /**
   * Data for the server's handshake validator, or a function that returns it or a promise of it. The data must fit JSON,
   * otherwise the constructor throws a TypeError.
   * The function is called before each handshake. If it fails, so does the attempt to connect.
   */
  user?: unknown;
  /** {@link json} by default. */
  codec?: Codec;
  /** Replaces the codec's. */
  encode?: Codec['encode'];
  /** Replaces the codec's. The server's serializer is then not checked. */
  decode?: Codec['decode'];
  /** Milliseconds that a request waits for its answer: 30,000 by default, 0 for no limit. */
  timeout?: number;
  /** Milliseconds for opening the socket and the handshake together: 10,000 by default, 0 for no limit. */
  connectTimeout?: number;
  /**
   * Whether the client reconnects, and asks the server to resume its session: true by default. Programs of version 1
   * listen to `close` and not to `status`; for those it is false by default.
   */
  reconnect?: boolean | Backoff;
  /** `wait` by default: messages wait until the session is resumed. With `fail` they fail with the code `closed`. */
  offline?: Offline;
  /**
   * Bytes of messages that are kept until the server acknowledges them: 262,144 by default. Without a connection, a
   * message over the bound fails with the code `full`. With one, the oldest is forgotten.
   */
  buffer?: number;
  /** The WebSocket class: the global one by default. Node 20 has none; pass that of the package `ws`. */
  WebSocket?: WebSocketClass;
}

/** Options of one notify. */
export interface SendOptions {
  /** The client's option `offline`, for this message alone. */
  offline?: Offline;
}

/** Options of one request. */
export interface RequestOptions extends SendOptions {
  /** The client's option `timeout`, for this request alone. */
  timeout?: number;
  /** Ends the wait: the promise rejects with the signal's reason. The server is not told. */
  signal?: AbortSignal;
}

// The client -----------------------------------------------------------------------------------------------------

type Listener<E> = ((event: E) => void) | { handleEvent(event: E): void };

/**
 * A client of one server. It keeps its listeners over connections and sessions.
 *
 * Events: `status` at each change of {@link Client.status}; `error` for a push that cannot be decoded; `kick` when the
 * server ends the session; `close` when the session ended.
 */
export class Client<R extends { [P in keyof R]: RouteTypes } = AnyRoutes> extends EventTarget {
  /** @param url such as `wss://example.com/nano` */
  constructor(url: string | URL, options?: ClientOptions);

  /** Whether the state is `connected`. */
  readonly connected: boolean;

  readonly status: Status;

  /** The user data of the server's handshake; undefined if there was none. */
  readonly user: any;

  /** The server's side of the last handshake: `heartbeat` in seconds, `servertime` in unix seconds, and so on. */
  readonly sys: Readonly<Record<string, any>>;

  /**
   * Opens the connection and shakes hands. The first attempt is the only one: the promise rejects with a
   * {@link NanoError} if it fails. While the client is reconnecting, `connect` tries at once, and the promise resolves
   * when the client is connected.
   */
  connect(): Promise<void>;

  /** Leaves: ends the session and the connection. Requests that wait are rejected. */
  close(): void;

  /**
   * Sends a request. A buffer or a view of one goes out as bytes.
   *
   * @returns the decoded answer. It rejects with a {@link NanoError}: the server's error response, or one with the code
   *   `closed`, `timeout`, `payload`, `full` or `usage`.
   */
  request<P extends RoutesWith<R, 'request'>>(
    route: P,
    ...args: BodyArgs<Payload<R, P, 'request'>, RequestOptions>
  ): Promise<Payload<R, P, 'reply'>>;

  /**
   * Sends a message that has no answer. Throws a {@link NanoError} with the code `closed`, `full` or `usage` if it cannot
   * be sent.
   */
  notify<P extends RoutesWith<R, 'notify'>>(route: P, ...args: BodyArgs<Payload<R, P, 'notify'>, SendOptions>): void;

  /**
   * Calls `fn` with the body of each push to `route`. An error that it throws is reported as uncaught. Pushes without a
   * listener are dropped. A function is not added twice.
   */
  on<P extends RoutesWith<R, 'push'>>(route: P, fn: (body: Payload<R, P, 'push'>) => void): this;

  /** Removes a listener of `on`; all listeners of the route without `fn`. */
  off<P extends RoutesWith<R, 'push'>>(route: P, fn?: (body: Payload<R, P, 'push'>) => void): this;

  addEventListener<E extends keyof ClientEventMap>(
    type: E,
    listener: Listener<ClientEventMap[E]> | null,
    options?: boolean | { capture?: boolean; once?: boolean; passive?: boolean; signal?: AbortSignal },
  ): void;
  addEventListener(...args: Parameters<EventTarget['addEventListener']>): void;

  removeEventListener<E extends keyof ClientEventMap>(
    type: E,
    listener: Listener<ClientEventMap[E]> | null,
    options?: boolean | { capture?: boolean },
  ): void;
  removeEventListener(...args: Parameters<EventTarget['removeEventListener']>): void;
}

/** Makes a client and connects it. A push that comes before `on` was called is dropped; see {@link Client}. */
export function connect<R extends { [P in keyof R]: RouteTypes } = AnyRoutes>(
  url: string | URL,
  options?: ClientOptions,
): Promise<Client<R>>;

/** The default codec. An empty payload is undefined. */
export const json: Codec;

/** Bodies are bytes. */
export const raw: Codec;

// The protocol ---------------------------------------------------------------------------------------------------

/** The types of packets. */
export const Packet: {
  readonly HANDSHAKE: 1;
  readonly ACK: 2;
  readonly HEARTBEAT: 3;
  readonly DATA: 4;
  readonly KICK: 5;
};

/** The types of messages. Every data packet carries one message. */
export const Message: { readonly REQUEST: 0; readonly NOTIFY: 1; readonly RESPONSE: 2; readonly PUSH: 3 };

/** Returns a packet with its header. Throws if the body has over 2^24-1 bytes. */
export function encodePacket(type: number, body?: Uint8Array): Uint8Array<ArrayBuffer>;

/** Splits a stream of bytes into packets. It keeps a packet that is not complete yet. */
export class PacketReader {
  /**
   * Yields the packets that `bytes` completes. A body aliases `bytes` if all of it is there. Throws at a type that is not
   * of the protocol.
   */
  read(bytes: Uint8Array): Generator<{ type: number; body: Uint8Array }, void, undefined>;
}

/** Routes and their two-byte codes, as the server's handshake gives them. */
export class Dictionary {
  /** @param codes by route. A code that is not a 16-bit number, or is there twice, throws. */
  constructor(codes?: Record<string, number>);
  code(route: string): number | undefined;
  route(code: number): string | undefined;
}

/** The parts of a message. */
export interface MessageParts {
  /** One of {@link Message}. */
  type: number;
  /** 1 to 2^53-1 in a request or response, else 0. */
  id: number;
  /** Empty in a response. At most 255 bytes of UTF-8, unless the dictionary has it. */
  route: string;
  body: Uint8Array;
  /** Whether it is an error response. */
  error: boolean;
}

/** Returns a message as it stands in a data packet. */
export function encodeMessage(
  message: Pick<MessageParts, 'type'> & Partial<MessageParts>,
  dictionary?: Dictionary,
): Uint8Array<ArrayBuffer>;

/**
 * Returns the parts of a message. Its body aliases `bytes`. Throws if the header does not fit, is not of the protocol, or
 * has a route code that the dictionary lacks.
 */
export function decodeMessage(bytes: Uint8Array, dictionary?: Dictionary): MessageParts;

/** What `init` takes. */
export interface StarxParams {
  host: string;
  port?: number | string;
  /** The path of the WebSocket, such as `/nano`. */
  path?: string;
  /** Data for the server's handshake validator. */
  user?: unknown;
  /** Called with the user data of the server's handshake. */
  handshakeCallback?: (user: any) => void;
  /** Whether to reconnect; false by default. A session is then resumed if the server can. */
  reconnect?: boolean;
  /** 10 by default. */
  maxReconnectAttempts?: number;
  /** The WebSocket class, where there is no global one. */
  WebSocket?: import('./nano.js').WebSocketClass;
}

/** The client with the API of nano-websocket-client, starx-wsclient and the pomelo clients. */
export interface Starx {
  /** Connects. `callback` is called after each handshake that begins a session. */
  init(params: StarxParams, callback?: (client: import('./nano.js').Client) => void): void;
  /** Sends a request. The callback gets the answer, or `{code, msg, metadata}` of an error response. */
  request(route: string, callback?: (answer: any) => void): void;
  request(route: string, msg: unknown, callback?: (answer: any) => void): void;
  /** Sends a message that has no answer. */
  notify(route: string, msg?: unknown): void;
  /** Leaves. */
  disconnect(): void;
  /**
   * Listens to a route, or to `close`, `disconnect`, `reconnect`, `io-error`, `heartbeat timeout`, `error` or `onKick`.
   */
  on(event: string, fn: (...args: any[]) => void): this;
  once(event: string, fn: (...args: any[]) => void): this;
  off(event?: string, fn?: (...args: any[]) => void): this;
  emit(event: string, ...args: unknown[]): this;
  listeners(event: string): Array<(...args: any[]) => void>;
  hasListeners(event: string): boolean;
  addEventListener: Starx['on'];
  removeListener: Starx['off'];
  removeAllListeners: Starx['off'];
  removeEventListener: Starx['off'];
}

declare global {
  var nano: Starx;
  var starx: Starx;
  var pomelo: Starx;
}

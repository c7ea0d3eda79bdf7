import type { WebSocketClass } from './nano.js';

/** The conditions of a network, each 0 by default. Times are in milliseconds. */
export interface Conditions {
  /** The time that a message takes in one direction. */
  latency: number;
  /** Bounds a random time that each message takes in addition. Messages keep their order. */
  jitter: number;
  /**
   * The probability from 0 to 1 that a message is lost. As TCP sends it again, a lost message and all messages behind it
   * arrive after one retransmission.
   */
  loss: number;
  /** The time that a retransmission takes in addition. For 0 it is 200 ms and one round trip. */
  retransmit: number;
  /** The mean time until a connection is cut. 0 means never. */
  cut: number;
}

export interface NetworkOptions extends Partial<Conditions> {
  /** A whole number. The same seed repeats the conditions of each message. It is random by default. */
  seed?: number;
  /** The WebSocket class to wrap: the global one by default. */
  WebSocket?: WebSocketClass;
  /** The clock in milliseconds. The default is `performance.now`. */
  now?: () => number;
}

/** Applies conditions to the WebSockets that its class makes. It is for tests and demos. */
export class Network {
  constructor(options?: NetworkOptions);
  /**
   * The class to pass to a client. It has what the client uses of a WebSocket, and the network's conditions. Opening takes
   * two round trips longer.
   */
  readonly WebSocket: WebSocketClass;
  /** A copy of the current conditions. */
  readonly conditions: Conditions;
  /** The clock. */
  readonly now: () => number;
  /** Changes conditions, also of open connections. Messages that are on their way keep their time of arrival. */
  set(conditions: Partial<Conditions>): void;
  /** Cuts all open connections at once, with the messages that are on their way. */
  cut(): void;
}

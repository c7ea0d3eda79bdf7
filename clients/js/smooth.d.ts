import type { StateDecoder } from './state.js';

export interface SmoothOptions {
  /** Ticks a second. The default is 20. */
  tickRate?: number;
  /** Messages a second. The default is the tick rate. */
  sendRate?: number;
  /**
   * How far rendering is behind the server, in milliseconds. The default is two messages, and up to 300 ms while messages
   * come unevenly.
   */
  delay?: number;
  /** A larger change of a field is not interpolated. The default is no limit. */
  jump?: number;
  /** The clock in milliseconds. The default is `performance.now`. */
  now?: () => number;
}

/** Interpolates numeric fields of the entries of a map at render time. */
export class Smoother<F extends string = string> {
  constructor(decoder: StateDecoder, path: string, fields: readonly F[], options?: SmoothOptions);
  /** Returns the fields of each entry at a time of the clock, by key. The objects are used again by the next call. */
  at(now?: number): Map<string, Record<F, number>>;
  /**
   * Returns the tick that `at` shows at a time of the clock, with the fraction between two ticks. A server that knows it
   * can compensate the lag: see `state.Map.At`.
   */
  tick(now?: number): number;
  close(): void;
}

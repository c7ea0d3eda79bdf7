import type { Room } from './room.js';

export interface PredictOptions<T extends object, F extends keyof T & string> {
  /** Does to the entry what the server does for one input. */
  step(entry: T, body: any, name: string): void;
  /** The numeric fields that `at` returns. */
  fields?: readonly F[];
  /** In how many milliseconds a correction shrinks to a third. The default is 100; 0 shows corrections at once. */
  smooth?: number;
  /** A larger correction of a field is shown at once. The default is no limit. */
  jump?: number;
  /** The clock in milliseconds. The default is `performance.now`. */
  now?: () => number;
}

/** Applies the inputs of the player to an entry of a map at once, and repeats them on each new state. */
export class Predictor<T extends object = any, F extends keyof T & string = keyof T & string> {
  constructor(room: Room, path: string, key: string | number, options: PredictOptions<T, F>);
  /** The entry with the inputs that the state does not contain yet; undefined while the state has no such entry. */
  readonly value: T | undefined;
  /** How many inputs the state does not contain yet. */
  readonly pending: number;
  /** Sends an input and applies it at once. Returns its number. */
  input(name: string, body?: object): number;
  /** Takes a new state. The room calls it. */
  update(): void;
  /** Returns the fields to show at a time of the clock, with corrections that shrink. */
  at(now?: number): Record<F, number> | undefined;
  /** Ends the prediction. */
  close(): void;
}

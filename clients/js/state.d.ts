/** A message or a schema that cannot be read. */
export class StateError extends Error {
  readonly code: 'malformed' | 'schema';
  constructor(code: 'malformed' | 'schema', message: string);
}

/** Calls after each message. `T` is the type of the values, keys are always text. */
export interface MapHandlers<T> {
  add?(value: T, key: string): void;
  change?(value: T, key: string): void;
  remove?(value: T, key: string): void;
}

/** The names of the maps of a state, if the type says them. */
type MapName<S> = { [K in keyof S]: S[K] extends Record<string, unknown> ? K : never }[keyof S] & string;

/** Follows the state of one view. `S` is the type of the state, written by hand. */
export class StateDecoder<S extends object = any> {
  /** The state: plain objects that keep their identity. Do not change them. */
  readonly state: S;
  /** The parsed schema. */
  readonly schema: unknown[][];
  /** The tick of the last message. */
  readonly tick: number;
  /** The number of the last input that the server has taken into the state. */
  readonly ack: number;
  /** Whether the state is up to date: from a snapshot on, until a message cannot be read. */
  readonly synced: boolean;

  constructor(schema: string | unknown[][], options?: { hash?: string; expect?: string });
  on<K extends MapName<S>>(map: K, handlers: MapHandlers<S[K] extends Record<string, infer T> ? T : never>): () => void;
  on<T = any>(map: string | Record<string, T>, handlers: MapHandlers<T>): () => void;
  decode(message: Uint8Array): boolean;
}

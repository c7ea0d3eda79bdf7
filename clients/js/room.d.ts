import type { MatchOptions } from './match.js';
import { Client, ClientOptions } from './nano.js';
import type { MapHandlers } from './state.js';
import type { PredictOptions, Predictor } from './predict.js';
import type { Smoother, SmoothOptions } from './smooth.js';

/** The values of labels that a room has to have. */
export type Filter = Record<string, string | number | boolean>;

export interface JoinOptions {
  /** The hash of the schema that the program was built for. Another one fails the join with a `StateError`. */
  expect?: string;
}

/** A room as the server describes it. */
export interface RoomInfo {
  id: string;
  /** Of a private room: clients can join by it. */
  code?: string;
  kind: string;
  /** Seats that are taken, held or reserved. */
  players: number;
  seats: number;
  locked?: boolean;
  label?: Record<string, string | number | boolean>;
}

/** A client with the rooms of its server. It is in one room at a time: a join replaces the room before. */
export class RoomClient extends Client {
  constructor(url: string | URL, options?: ClientOptions);
  /** The room that the client is in. */
  readonly room: Room | undefined;
  /** Joins a room of a kind that fits the filter, or a new one. A user who has a seat in a room of the kind gets it back. */
  joinOrCreate<S extends object = any>(
    kind: string,
    options?: unknown,
    join?: JoinOptions & { filter?: Filter },
  ): Promise<Room<S>>;
  join<S extends object = any>(id: string, options?: unknown, join?: JoinOptions): Promise<Room<S>>;
  /** Joins the private room with a code, in capital or small letters. */
  joinCode<S extends object = any>(code: string, options?: unknown, join?: JoinOptions): Promise<Room<S>>;
  spectate<S extends object = any>(id: string, join?: JoinOptions): Promise<Room<S>>;
  create(kind: string, options?: unknown): Promise<RoomInfo>;
  rooms(kind: string, filter?: Filter): Promise<RoomInfo[]>;
  /**
   * Waits for a match of a queue and joins its room. `enter` makes the server enter the player into the queue, such as a
   * request; leave it out if another player of the party does. It rejects with the code of the server if the ticket ends
   * without a match, such as `ROOM-CANCELED`, with the error of `enter`, and with the reason of the signal.
   */
  match<S extends object = any>(enter?: () => unknown, options?: MatchOptions): Promise<Room<S>>;
}

/** The seat or the room has ended. */
export interface RoomEndEvent extends Event {
  /** `closed` if the room has ended, `left` if only the seat has. */
  readonly cause: 'left' | 'closed';
  readonly reason: string;
}

/** The events of a room. `change` comes after each message of the state. */
export interface RoomEventMap {
  change: Event;
  end: RoomEndEvent;
  error: Event & { readonly error: Error };
}

/** A seat in a room, or a spectator's place. `S` is the type of the state, written by hand. */
export class Room<S extends object = any> extends EventTarget {
  private constructor();
  readonly id: string;
  /** Of a private room, to invite other players. */
  readonly code?: string;
  readonly kind: string;
  readonly player: number;
  readonly spectator: boolean;
  /** Ticks a second, 0 for a room without ticks. */
  readonly tickRate: number;
  /** Messages of the state a second. */
  readonly sendRate: number;
  /** The hash of the state's schema. */
  readonly hash: string;
  /** What OnJoin returned. */
  readonly reply: any;
  /** Plain objects that keep their identity. Do not change them. */
  readonly state: S;
  /** The parsed schema of the state. */
  readonly schema: unknown[][];
  readonly tick: number;
  /** The number of the last input that is part of the state. */
  readonly ack: number;
  readonly synced: boolean;

  /** Follows a map of the state, after each message. Returns a function that ends it. */
  on<T = any>(map: (keyof S & string) | Record<string, T>, handlers: MapHandlers<T>): () => void;
  smooth<F extends string>(map: string, fields: readonly F[], options?: SmoothOptions): Smoother<F>;
  /** Applies the player's inputs to an entry of a map at once, and repeats those that a new state does not contain. */
  predict<T extends object = any, F extends keyof T & string = keyof T & string>(
    map: string,
    key: string | number,
    options: PredictOptions<T, F>,
  ): Predictor<T, F>;
  /** Sends a message. `name` is that of the room's method; its first letter may be small. */
  send(name: string, body?: object): void;
  /** Sends a message whose type embeds room.Input, and returns its number. */
  input(name: string, body?: object): number;
  request<R = any>(name: string, body?: object): Promise<R>;
  /** Gives the seat up. */
  leave(): Promise<void>;

  addEventListener<E extends keyof RoomEventMap>(
    type: E,
    listener: (event: RoomEventMap[E]) => void,
    options?: boolean | AddEventListenerOptions,
  ): void;
}

import type { MatchOptions } from './match.js';
import { Client, ClientOptions, RouteTypes } from './nano.js';
import type { MapHandlers } from './state.js';
import type { PredictOptions, Predictor } from './predict.js';
import type { Smoother, SmoothOptions } from './smooth.js';

/** The values of labels that a room has to have. */
export type Filter = Record<string, string | number | boolean>;

export interface JoinOptions {
  /** The hash of the schema that the program was built for. Another one fails the join with a `StateError`. */
  expect?: string;
  /**
   * The kind of the room. A join by id or code needs it if the server's serializer is not JSON and the options are no
   * bytes: the codec encodes the options with the types of the kind.
   */
  kind?: string;
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

/**
 * A client with the rooms of its server. It is in one room at a time: a join replaces the room before.
 *
 * If the server's serializer is not JSON, the codec encodes the options of joins and decodes the replies of OnJoin, as
 * those of a route with the name of the kind. The options of `create` have the route `KIND.create`. Options may be
 * bytes, and a reply without a type is a `Uint8Array`.
 *
 * If it is JSON, the codec serves routes such as `room.join` too, except the codec `raw`.
 */
export class RoomClient extends Client {
  constructor(url: string | URL, options?: ClientOptions);
  /** The room that the client is in. */
  readonly room: Room | undefined;
  /** Joins a room of a kind that fits the filter, or a new one. A user who has a seat in a room of the kind gets it back. */
  joinOrCreate<S extends object = any>(
    kind: string,
    options?: unknown,
    join?: Omit<JoinOptions, 'kind'> & { filter?: Filter },
  ): Promise<Room<S>>;
  join<S extends object = any>(id: string, options?: unknown, join?: JoinOptions): Promise<Room<S>>;
  /** Joins the private room with a code, in capital or small letters. */
  joinCode<S extends object = any>(code: string, options?: unknown, join?: JoinOptions): Promise<Room<S>>;
  spectate<S extends object = any>(id: string, join?: Omit<JoinOptions, 'kind'>): Promise<Room<S>>;
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
  /** What OnJoin returned; a `Uint8Array` if the codec has no type for it. */
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

/** What the contract of a server says about a kind of rooms. `nano gen ts` writes it. */
export interface RoomTypes {
  state: object;
  /** The options of a join. */
  join?: unknown;
  /** What OnJoin returns. */
  reply?: unknown;
  /** The options of a creation. */
  create?: unknown;
  /** The messages of players, by the names of the room's methods. */
  messages: object;
}

type EntryOf<M> = M extends Record<string, infer T> ? T : never;
type RequestOf<M> = M extends { request: infer B } ? B : never;
type ReplyOf<M> = M extends { reply: infer R } ? R : never;
type OptionsOf<K, W extends 'join' | 'create'> = K extends { [P in W]: infer O } ? O : unknown;
type Replies<M> = { [N in keyof M]: M[N] extends { reply: unknown } ? N : never }[keyof M] & string;

/** A room whose state and messages have types. */
export type TypedRoom<K extends RoomTypes> = Omit<Room<K['state']>, 'reply' | 'on' | 'send' | 'input' | 'request'> & {
  /**
   * What OnJoin returned: nothing for a spectator, or a player who comes back. A nil pointer is null with JSON, and
   * nothing with another serializer.
   */
  readonly reply: K extends { reply: infer R } ? R | null | undefined : any;
  /** Follows a map of the state, after each message: by its name, or a map within the state. */
  on<N extends keyof K['state'] & string>(map: N, handlers: MapHandlers<EntryOf<K['state'][N]>>): () => void;
  on<T>(map: Record<string, T>, handlers: MapHandlers<T>): () => void;
  send<N extends keyof K['messages'] & string>(name: N, body: RequestOf<K['messages'][N]>): void;
  /** The client sets the members of room.Input. */
  input<N extends keyof K['messages'] & string>(
    name: N,
    body: Omit<RequestOf<K['messages'][N]>, 'seq' | 'tick'>,
  ): number;
  request<N extends Replies<K['messages']>>(
    name: N,
    body: RequestOf<K['messages'][N]>,
  ): Promise<ReplyOf<K['messages'][N]>>;
};

/** A {@link RoomClient} whose routes and rooms have types. `nano gen ts` writes a function that returns one. */
export type TypedRoomClient<
  R extends { [P in keyof R]: RouteTypes },
  K extends { [P in keyof K]: RoomTypes },
> = Client<R> &
  Pick<RoomClient, 'room' | 'rooms' | 'match'> & {
    joinOrCreate<P extends keyof K & string>(
      kind: P,
      options?: OptionsOf<K[P], 'join'>,
      join?: Omit<JoinOptions, 'kind'> & { filter?: Filter },
    ): Promise<TypedRoom<K[P]>>;
    /** `P` is the kind of the room. */
    join<P extends keyof K & string>(
      id: string,
      options?: OptionsOf<K[P], 'join'>,
      join?: JoinOptions & { kind?: P },
    ): Promise<TypedRoom<K[P]>>;
    joinCode<P extends keyof K & string>(
      code: string,
      options?: OptionsOf<K[P], 'join'>,
      join?: JoinOptions & { kind?: P },
    ): Promise<TypedRoom<K[P]>>;
    spectate<P extends keyof K & string>(id: string, join?: Omit<JoinOptions, 'kind'>): Promise<TypedRoom<K[P]>>;
    create<P extends keyof K & string>(kind: P, options?: OptionsOf<K[P], 'create'>): Promise<RoomInfo>;
  };

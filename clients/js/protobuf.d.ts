import type { Codec } from './nano.js';

/** The part of a message type that the codec uses. Types of protobufjs and of ts-proto have it. */
export interface ProtobufType {
  /** Returns the bytes of a message, or a writer whose `finish` returns them. */
  encode(message: any): Uint8Array | { finish(): Uint8Array };
  /** Returns the message of the bytes. */
  decode(bytes: Uint8Array): unknown;
}

/** The message types of one route. */
export interface ProtobufRoute {
  request?: ProtobufType;
  reply?: ProtobufType;
  notify?: ProtobufType;
  push?: ProtobufType;
}

/**
 * Makes a codec from the message types of each route.
 *
 * ```ts
 * const codec = protobuf({
 *   'chat.join': { request: JoinRequest, reply: JoinReply },
 *   onMessage: { push: ChatMessage },
 * });
 * const client = new Client('wss://example.com/nano', { codec });
 * ```
 *
 * For rooms, the entry with the name of a kind has the types of OnJoin, and `KIND.create` that of OnCreate. Messages of
 * rooms are routes like others:
 *
 * ```ts
 * const codec = protobuf({
 *   pond: { request: JoinOptions, reply: JoinReply },
 *   'pond.create': { request: PondOptions },
 *   'pond.Jump': { notify: Jump },
 * });
 * ```
 *
 * A message of a route that has no type fails. An empty reply is `undefined` if the route has no type for it. With protobuf-es, give
 * `{ encode: (m) => toBinary(Schema, m), decode: (b) => fromBinary(Schema, b) }` as the type.
 */
export function protobuf(routes: Record<string, ProtobufRoute>): Codec;

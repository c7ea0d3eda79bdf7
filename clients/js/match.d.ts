import type { JoinOptions, Room, RoomClient } from './room.js';

/** What a player is asked before a match begins. */
export interface ReadyCheck {
  /** The players of the match. */
  readonly players: number;
  /** Milliseconds for the answer. */
  readonly within: number;
}

export interface MatchOptions extends Omit<JoinOptions, 'kind'> {
  /** Reports whether the player accepts a match. The default accepts. */
  accept?(check: ReadyCheck): boolean | Promise<boolean>;
  /** The options of the join. */
  options?: unknown;
  /** Cancels the ticket of the party. */
  signal?: AbortSignal;
}

/** Waits for a match and joins its room. See `RoomClient.match`. */
export function match<S extends object = any>(
  client: RoomClient,
  enter?: () => unknown,
  options?: MatchOptions,
): Promise<Room<S>>;

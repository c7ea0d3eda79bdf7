/**
 * match.js waits for a match of a queue of the Go package `room`, and joins its room.
 *
 *     const duel = await client.match(() => client.request('lobby.find', { mode: 'duel' }), {
 *       accept: ({ within }) => askPlayer(within),
 *     });
 *
 * @module
 */

import { NanoError } from './nano.js';

/** Resolves to the room of the match. See `RoomClient.match`. */
export function match(client, enter, { accept = () => true, options, expect, signal } = {}) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    let check; // the match that the player was asked about last
    let over = false;
    const routes = {
      'room.ready': async (asked) => {
        check = asked.match;
        let route = 'room.cancel';
        try {
          if (await accept({ players: asked.players, within: asked.within })) route = 'room.accept';
        } catch (error) {
          settle(reject, error);
        }
        // Without a connection or in time, the server knows better.
        if (check === asked.match) client.request(route, { match: asked.match }).catch(() => {});
      },
      'room.waiting': () => (check = undefined),
      'room.found': ({ id, kind }) => settle(resolve, client.join(id, options, { kind, expect })),
      'room.unmatched': ({ code, msg }) => settle(reject, new NanoError(code, msg)),
    };
    const closed = () => settle(reject, new NanoError('closed', 'the session closed before there was a match'));
    const abort = () => {
      try {
        client.notify('room.cancel');
      } catch {
        // The session is over, and its ticket with it.
      }
      settle(reject, signal.reason);
    };
    const settle = (how, value) => {
      if (over) return;
      over = true;
      for (const [route, fn] of Object.entries(routes)) client.off(route, fn);
      client.removeEventListener('close', closed);
      signal?.removeEventListener('abort', abort);
      how(value);
    };
    for (const [route, fn] of Object.entries(routes)) client.on(route, fn);
    // The client takes a listener of its own for one of a program that reconnects by itself.
    EventTarget.prototype.addEventListener.call(client, 'close', closed);
    signal?.addEventListener('abort', abort);
    Promise.resolve()
      .then(enter)
      .catch((error) => settle(reject, error));
  });
}

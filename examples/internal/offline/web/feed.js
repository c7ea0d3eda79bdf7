// Watches the feed of the server, and checks that every number comes once and in order.
import { Client } from './nano.js';

/** Calls `report` with what has come, whenever that changes. Returns a function that ends the feed. */
export async function watch(url, report) {
  const seen = { state: '', next: 0, faults: 0, sessions: 0, resumes: 0 };
  const client = new Client(url, { reconnect: { min: 10, max: 200 } });
  client.on('onTick', (n) => {
    if (n !== seen.next) seen.faults++;
    seen.next = n + 1;
    report(seen);
  });
  client.addEventListener('status', ({ target: { status } }) => {
    seen.state = status.state;
    if (status.state === 'connected') seen[status.resumed ? 'resumes' : 'sessions']++;
    report(seen);
  });
  await client.connect();
  await client.request('Feed.Watch');
  return async () => {
    const pushed = await client.request('Feed.Stop');
    client.close();
    return pushed;
  };
}

import assert from 'node:assert/strict';
import { WebSocket } from 'ws';
import { Color, createClient, Mood, type Everything } from './server.js';

const sample: Everything = {
  ID: 7,
  Note: 'embedded',
  name: 'Ann "quoted" 世界 \u2028',
  Bytes: 'AAH/',
  Nothing: null,
  Big: 9007199254740991,
  quoted: '18446744073709551615',
  Time: '2026-11-30T04:05:06.789Z',
  Ratio: 0.25,
  Yes: true,
  Color: Color.Blue,
  Moods: { [Mood.Happy]: [1, 2] },
  ByID: { '-3': 'three', '4': null },
  Array: [1, 2, 3],
  Inner: { Deep: { ID: 1 }, List: [{ ID: 2 }] },
};

const client = createClient(process.argv[2]!, { WebSocket, timeout: 20_000 });
const pushed = new Promise<Everything>((resolve) => client.on('onEverything', resolve));
await client.connect();
// The server compares what comes with its own sample, and pushes that and answers with it.
assert.deepEqual(await client.request('box.echo', sample), sample);
assert.deepEqual(await pushed, sample);
assert.equal((await client.request('box.echo', { ...sample, Maybe: 'there' }).catch((e) => e)).code, 'DIFFERENT');
assert.deepEqual(await client.request('box.raw', { any: ['thing'] }), { any: ['thing'] });
client.notify('box.tell', { Next: { Next: null } });
// @ts-expect-error a field of another type
const wrong: Everything = { ...sample, Ratio: 'x' };
// @ts-expect-error a route that is only sent
client.request('box.tell', { Next: null }).catch(() => {});
assert.ok(wrong);
client.close();

// The client against a server in Go, with the WebSocket of this Node if it has one, and with that of the package ws.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { WebSocket as Ws } from 'ws';

import { Client } from '../nano.js';

const dir = mkdtempSync(join(tmpdir(), 'nano-client-'));
const program = join(dir, 'server');

/** Starts the server. Returns its address and a function that shuts it down. */
async function start() {
  const child = spawn(program, { stdio: ['pipe', 'pipe', 'inherit'] });
  const [line] = await once(child.stdout, 'data');
  return {
    url: `ws://127.0.0.1:${Number(line)}/`,
    stop: async () => {
      if (child.exitCode !== null) return;
      const exited = once(child, 'exit');
      child.stdin.end();
      await exited;
    },
  };
}

/** The next event of a type that passes the check. */
const next = (target, type, check = () => true) =>
  new Promise((resolve) => {
    const listener = (event) => {
      if (!check(event)) return;
      target.removeEventListener(type, listener);
      resolve(event);
    };
    target.addEventListener(type, listener);
  });

before(() =>
  execFileSync('go', ['build', '-o', program, '.'], { cwd: fileURLToPath(new URL('server', import.meta.url)) }),
);
after(() => rmSync(dir, { recursive: true }));

const classes = {
  'the package ws': Ws,
  ...(globalThis.WebSocket && { 'the WebSocket of Node': globalThis.WebSocket }),
};
if (Number(process.versions.node.split('.')[0]) >= 22) assert.ok(globalThis.WebSocket);

for (const [name, WebSocket] of Object.entries(classes)) {
  describe(`with ${name}`, { timeout: 60_000 }, () => {
    let server;
    let client;
    before(async () => {
      server = await start();
      client = new Client(server.url, { WebSocket, user: { name: 'ann' } });
      await client.connect();
    });
    after(async () => {
      client.close();
      await server.stop();
    });

    test('the handshake', () => {
      assert.equal(client.connected, true);
      assert.deepEqual(client.user, { level: 3 });
      assert.equal(client.sys.heartbeat, 1);
    });

    test('requests and their answers', async () => {
      const bodies = [{ a: 1 }, [1], 'é房', 7, null, true];
      assert.deepEqual(await Promise.all(bodies.map((body) => client.request('Test.Echo', body))), bodies);
    });

    test('a body of bytes', async () => {
      const { buffer } = new TextEncoder().encode('  {"a":1}  ').slice();
      for (const body of [buffer, new Uint8Array(buffer, 2, 7), new DataView(buffer)]) {
        assert.deepEqual(await client.request('Test.Echo', body), { a: 1 });
      }
    });

    test('an error response', async () => {
      await assert.rejects(client.request('Test.Fail'), { code: 'NANO-500' });
      await assert.rejects(client.request('Test.Nothing'), { code: 'NANO-404' });
    });

    test('a payload that is not JSON costs its message only', async () => {
      await assert.rejects(client.request('Test.Text'), { code: 'payload' });
      client.on('onPush', () => {});
      const failed = next(client, 'error');
      client.notify('Test.Push', new TextEncoder().encode('{'));
      const { error, route } = await failed;
      assert.deepEqual([error.code, route, client.connected], ['payload', 'onPush', true]);
    });

    test('pushes', async () => {
      const pushed = new Promise((resolve) => client.on('onPush', resolve));
      client.notify('Test.Push', { n: 1 });
      assert.deepEqual(await pushed, { n: 1 });
    });

    test('a connection that is idle stays', async () => {
      await new Promise((resolve) => setTimeout(resolve, 3500));
      assert.equal(client.connected, true);
    });

    test('a session that the server closed is followed by a new one', async () => {
      const connected = next(client, 'status', ({ state }) => state === 'connected');
      client.notify('Test.Close', {});
      assert.equal((await connected).resumed, false);
      assert.equal(await client.request('Test.Echo', 1), 1);
    });

    test('a kick ends it', async () => {
      const kicked = next(client, 'kick');
      const closed = next(client, 'status', ({ state }) => state === 'closed');
      client.notify('Test.Kick', {});
      assert.equal((await kicked).reason, 'because');
      assert.equal((await closed).reason, 'kicked');
    });

    test('a shutdown does not', async () => {
      await client.connect();
      assert.equal(await client.request('Test.Echo', 1), 1); // the server has the ack
      const lost = next(client, 'status', ({ state }) => state === 'reconnecting');
      await server.stop();
      assert.equal((await lost).reason, 'shutdown');
      client.close();
    });

    test('a server that is down is noticed at once', async (t) => {
      // A listener at another loopback address holds the port, which no other program can then take.
      const holder = createServer().listen(0, '127.0.0.1');
      t.after(() => holder.close());
      await once(holder, 'listening');
      const url = `ws://127.0.0.2:${holder.address().port}`;
      const start = performance.now();
      await assert.rejects(new Client(url, { WebSocket }).connect(), { code: 'closed' });
      assert.ok(performance.now() - start < 3000, `after ${performance.now() - start} ms`);
    });
  });
}

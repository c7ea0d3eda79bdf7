// The client against a server in Go, behind a network that loses its connections.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { WebSocket as Ws } from 'ws';

import { Client } from '../nano.js';
import { Network } from './network.js';

const dir = mkdtempSync(join(tmpdir(), 'nano-cuts-'));
const program = join(dir, 'server');
const CUTS_FOR = Number(process.env.NANO_CUTS_SECONDS ?? 5);

before(() =>
  execFileSync('go', ['build', '-o', program, '.'], { cwd: fileURLToPath(new URL('server', import.meta.url)) }),
);
after(() => rmSync(dir, { recursive: true }));

/**
 * Starts the server, with a window of `window` seconds. Returns its port, a function that resolves at the next end of a
 * session, and one that kills it.
 */
async function start(t, window) {
  const args = [`-window=${window}s`];
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  };
  t.after(stop);
  const [line] = await once(child.stdout, 'data');
  return { port: Number(line), ended: () => once(child.stdout, 'data'), stop };
}

/** A client behind a network. Its statuses are in `history`. */
async function behind(t, port, options) {
  const network = new Network(port);
  const url = `ws://127.0.0.1:${await network.open()}/`;
  const client = new Client(url, { reconnect: { min: 10, max: 100 }, ...options });
  const history = [];
  client.addEventListener('status', () => history.push(client.status));
  t.after(async () => {
    client.close();
    await network.close();
  });
  await client.connect();
  return { client, network, history };
}

/** The next event of a type. */
const next = (target, type) => new Promise((resolve) => target.addEventListener(type, resolve, { once: true }));

/** The next status that passes the check. */
const status = (client, check) =>
  new Promise((resolve) => {
    const listener = () => {
      if (!check(client.status)) return;
      client.removeEventListener('status', listener);
      resolve(client.status);
    };
    client.addEventListener('status', listener);
  });

const classes = {
  'the package ws': Ws,
  ...(globalThis.WebSocket && { 'the WebSocket of Node': globalThis.WebSocket }),
};

for (const [name, WebSocket] of Object.entries(classes)) {
  describe(`with ${name}`, { timeout: 120_000 }, () => {
    test('every message comes once and in order while connections are cut', async (t) => {
      const { port } = await start(t, 30);
      const { client, network, history } = await behind(t, port, { WebSocket });
      let pushes = 0;
      let answers = 0;
      client.on('onCount', (n) => assert.equal(n, pushes++));
      await client.request('Count.Start', 5);
      const stop = network.storm(50, 500);
      const until = Date.now() + CUTS_FOR * 1000;
      const requests = [];
      while (Date.now() < until) {
        const n = requests.length;
        client.notify('Count.Note', n);
        const answered = client.request('Count.Request', n, { timeout: 60_000 }).then((value) => {
          assert.equal(value, n);
          assert.equal(answers++, n); // answers come in order too
        });
        answered.catch(() => {}); // awaited below
        requests.push(answered);
        await sleep(Math.random() * 10);
      }
      stop();
      await Promise.all(requests);
      const count = requests.length;
      assert.deepEqual(await client.request('Count.Stop'), { requests: count, notes: count, pushes, faults: 0 });
      const resumes = history.filter(({ state, resumed }) => state === 'connected' && resumed).length;
      const begun = history.filter(({ state, resumed }) => state === 'connected' && !resumed).length;
      t.diagnostic(`${network.cuts} cuts, ${resumes} resumes, ${count} requests and notifies, ${pushes} pushes`);
      assert.equal(begun, 1);
      assert.ok(network.cuts > 3 && resumes > 3, `${network.cuts} cuts, ${resumes} resumes`);
    });

    test('after the window the session is a new one, and pending requests fail', async (t) => {
      const { port, ended } = await start(t, 2);
      const { client, network } = await behind(t, port, { WebSocket });
      await client.request('Count.Request', 0);
      network.refusing = true;
      const lost = status(client, ({ state }) => state === 'reconnecting');
      const expired = ended();
      network.cut();
      await lost;
      const pending = assert.rejects(client.request('Count.Request', 1), { code: 'closed' });
      await expired; // from now on the server knows the reason for one window
      const back = status(client, ({ state }) => state === 'connected');
      network.refusing = false;
      const { resumed, reason, unconfirmed } = await back;
      assert.deepEqual({ resumed, reason }, { resumed: false, reason: 'expired' });
      assert.ok(unconfirmed >= 1, `${unconfirmed} messages are unconfirmed`);
      await pending;
      assert.equal(await client.request('Count.Request', 0), 0);
    });

    test('a kick while the client is away', async (t) => {
      const { port } = await start(t, 30);
      const { client, network } = await behind(t, port, { WebSocket });
      const other = new Client(`ws://127.0.0.1:${port}/`, { WebSocket });
      t.after(() => other.close());
      await other.connect();
      await client.request('Count.Login', 7);
      network.refusing = true;
      const lost = status(client, ({ state }) => state === 'reconnecting');
      network.cut('end');
      await lost;
      await other.request('Count.Kick', 7);
      const kicked = next(client, 'kick');
      const closed = status(client, ({ state }) => state === 'closed');
      network.refusing = false;
      assert.equal((await kicked).reason, 'out');
      assert.equal((await closed).reason, 'kicked');
    });

    test('a server that was restarted', async (t) => {
      const { port, stop } = await start(t, 30);
      const { client, network } = await behind(t, port, { WebSocket });
      await client.request('Count.Request', 0);
      const lost = status(client, ({ state }) => state === 'reconnecting');
      await stop();
      await lost;
      const pending = assert.rejects(client.request('Count.Request', 1), { code: 'closed' });
      const back = status(client, ({ state }) => state === 'connected');
      // Another program may have taken the port.
      network.port = (await start(t, 30)).port;
      const { resumed, reason } = await back;
      assert.deepEqual({ resumed, reason }, { resumed: false, reason: 'unknown' });
      await pending;
      assert.equal(await client.request('Count.Request', 0), 0);
    });
  });
}

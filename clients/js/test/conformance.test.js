// Runs the table of internal/conformance, whose README specifies it, with a fake clock and a fake WebSocket.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';

import { Client, NanoError, Packet } from '../nano.js';
import { table } from '../../../internal/conformance/cases.mjs';
import { FakeClock, FakeSocket, hex, settled, text } from './fake.js';

const file = readFileSync(new URL('../../../internal/conformance/client.json', import.meta.url), 'utf8');
const { version, cases } = JSON.parse(file);

const OWN_CODES = new Set([
  'closed',
  'timeout',
  'protocol',
  'payload',
  'refused',
  'kicked',
  'full',
  'overflow',
  'usage',
]);

const bytes = (written) =>
  Buffer.concat(
    written.split(' ').map((part) => {
      const [digits, times] = part.split('*');
      const piece = Buffer.from(digits, 'hex');
      return times === undefined ? piece : Buffer.alloc(Number(times), piece);
    }),
  );

const name = ({ reply, failed }) => reply ?? failed;
const isOutcome = (event) => name(event) !== undefined;
const isOther = (event) => !isOutcome(event);
const byName = (a, b) => (name(a) < name(b) ? -1 : 1);

class Runner {
  events = [];
  packets = []; // of all sockets, without kicks and empty heartbeats
  beats = 0;
  dials = 0;
  closes = []; // of sockets that the server had not closed
  handshake;
  requests = new Map(); // name -> AbortController

  constructor(clock, { reconnect = true, timeout = 0, connectTimeout = 0, ...options } = {}) {
    const runner = this;
    this.clock = clock;
    class Socket extends FakeSocket {
      constructor(url) {
        super(url);
        runner.socket = this;
        runner.dials++;
      }

      close(code, reason) {
        if (!this.closed && !this.gone) runner.closes.push({ code, left: this.left });
        super.close(code, reason);
      }

      send(frame) {
        super.send(frame);
        for (const { type, body } of this.sent.splice(0)) runner.packet(type, body);
      }
    }
    this.client = new Client('ws://test/nano', { WebSocket: Socket, reconnect, timeout, connectTimeout, ...options });
    this.client.addEventListener('status', ({ state, resumed, reason }) => {
      if (state === 'connecting') this.events.push({ status: state });
      else if (state !== 'connected') this.events.push({ status: state, reason });
      else this.events.push({ status: state, resumed, ...(reason !== undefined && { reason }) });
    });
    this.client.addEventListener('error', ({ route, error }) => {
      assert.equal(error.code, 'payload');
      this.events.push({ unreadable: route });
    });
    this.client.addEventListener('kick', ({ reason, code }) => this.events.push({ kick: code, reason }));
  }

  packet(type, body) {
    this.beats++;
    if (type === Packet.HANDSHAKE) {
      assert.equal(this.handshake, undefined, 'one handshake');
      this.handshake = JSON.parse(text(body));
    } else if (type === Packet.KICK) this.socket.left = true;
    else if (type !== Packet.HEARTBEAT || body.length > 0) {
      this.packets.push(hex([type, body.length >> 16, (body.length >> 8) & 255, body.length & 255]) + hex(body));
    }
  }

  async call({ call, id, route, json, hex: wire, offline, fails }) {
    const body = wire === undefined ? json : bytes(wire);
    switch (call) {
      case 'connect':
        this.client.connect().catch((error) => assert.ok(error instanceof NanoError));
        break;
      case 'close':
        this.client.close();
        break;
      case 'on':
        this.client.on(route, (value) =>
          this.events.push({ push: route, ...(value !== undefined && { json: value }) }),
        );
        break;
      case 'notify':
        if (fails === undefined) this.client.notify(route, body, { offline });
        else assert.throws(() => this.client.notify(route, body, { offline }), { code: fails });
        break;
      case 'cancel':
        this.requests.get(id).abort();
        break;
      case 'request': {
        const controller = new AbortController();
        this.requests.set(id, controller);
        this.client.request(route, body, { signal: controller.signal }).then(
          (value) => this.events.push({ reply: id, ...(value !== undefined && { json: value }) }),
          (error) => this.events.push({ failed: id, ...this.kind(error) }),
        );
        break;
      }
      default:
        assert.fail(`unknown call ${call}`);
    }
  }

  kind(error) {
    if (error.name === 'AbortError') return { kind: 'canceled' };
    assert.ok(error instanceof NanoError, error);
    const { code, message, metadata } = error;
    return OWN_CODES.has(code) ? { kind: code } : { kind: 'answer', code, message, metadata };
  }

  server({ server, hex: frames, text: line, code }) {
    const { socket } = this;
    socket.gone = server === 'refuse' || server === 'close' || server === 'cut';
    switch (server) {
      case 'accept':
        return socket.open();
      case 'send':
        return frames.forEach((frame) => socket.receive(bytes(frame)));
      case 'text':
        return socket.onmessage({ data: line });
      case 'refuse':
        return (socket.onerror({ message: 'refused' }), socket.onclose?.({ code: 1006, reason: '' }));
      case 'close':
        return socket.onclose({ code, reason: '' });
      case 'cut':
        return socket.onclose({ code: 1006, reason: '' });
      default:
        assert.fail(`unknown step of the server ${server}`);
    }
  }

  expect({ expect, hex: want, how, events, resume, user }) {
    switch (expect) {
      case 'dial':
        assert.equal(this.dials, 1, 'connection attempts');
        this.dials = 0;
        break;
      case 'none':
        this.nothing();
        break;
      case 'alive':
        assert.ok(this.beats > 0, 'no packet was sent');
        this.beats = 0;
        break;
      case 'handshake':
        assert.deepEqual({ resume: this.handshake?.sys.resume, user: this.handshake?.user }, { resume, user });
        this.handshake = undefined;
        break;
      case 'packets':
        assert.deepEqual(
          this.packets,
          want.map((packet) => hex(bytes(packet))),
        );
        this.packets = [];
        break;
      case 'closed': {
        assert.ok(this.closes.length > 0, 'the client did not close');
        const { code, left } = this.closes.shift();
        const leaves = left || code === 1000 || code === 1001;
        if (how !== 'any') assert.equal(leaves ? 'leave' : 'return', how);
        if (!leaves) assert.ok(code === undefined || code >= 3000, `close code ${code}`);
        break;
      }
      case 'events':
        assert.deepEqual(this.events.filter(isOutcome).sort(byName), events.filter(isOutcome).sort(byName));
        assert.deepEqual(this.events.filter(isOther), events.filter(isOther));
        this.events = [];
        break;
      default:
        assert.fail(`unknown expectation ${expect}`);
    }
  }

  nothing() {
    assert.deepEqual([this.events, this.packets, this.handshake, this.dials], [[], [], undefined, 0]);
  }

  async step(step) {
    if (step.call) this.call(step);
    else if (step.server) this.server(step);
    else if (step.expect) this.expect(step);
    else if (step.advance) await this.clock.advance(step.advance);
    else if (step.sleep) this.clock.sleep(step.sleep);
    else assert.fail(`unknown step ${JSON.stringify(step)}`);
    await settled();
  }
}

test('the table is what cases.mjs writes', () => {
  assert.equal(version, 1);
  assert.ok(file === table, 'run: node internal/conformance/cases.mjs');
  assert.ok(cases.length >= 200);
});

describe('conformance', () => {
  for (const { name, options, steps } of cases) {
    test(name, async (t) => {
      const runner = new Runner(new FakeClock(t), options);
      for (const [i, step] of steps.entries()) {
        try {
          await runner.step(step);
        } catch (error) {
          const shown = JSON.stringify(step).slice(0, 300);
          error.message = `step ${i}, ${shown}: ${error.message}`;
          throw error;
        }
      }
      runner.nothing();
    });
  }
});

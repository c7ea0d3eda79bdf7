// A server with resume, as small as the tests need it. It keeps everything, and forgets a session when told to.
import assert from 'node:assert/strict';

import { decodeMessage, encodeMessage, encodePacket, Message, Packet, PacketReader } from '../nano.js';
import { json, text, utf8 } from './fake.js';

const number = (bytes) => bytes.reduceRight((value, byte) => value * 128 + (byte & 127), 0);

export class MockServer {
  sessions = new Map(); // token -> Session
  count = { sessions: 0, resumed: 0, handshakes: 0 };
  #tokens = 0;

  /** @param heartbeat seconds; @param serve called with each message of a session */
  constructor({ heartbeat = 30, serve = () => {} } = {}) {
    this.heartbeat = heartbeat;
    this.serve = serve;
  }

  /** A connection whose packets go to send, and that end closes. Returns what takes the client's bytes. */
  connection(send, end) {
    const reader = new PacketReader();
    const conn = { send: (type, body) => send(encodePacket(type, body)), end, alive: true };
    let session;
    let ready = false;
    let kept; // what the client lacks, until its ack
    const receive = (bytes) => {
      for (const { type, body } of reader.read(bytes)) {
        if (!conn.alive) return;
        if (type === Packet.HANDSHAKE) {
          this.count.handshakes++;
          const { sys } = JSON.parse(text(body));
          const asked = sys.resume.token && this.sessions.get(sys.resume.token);
          session = asked ?? new Session(this);
          const resume = { token: `t${++this.#tokens}`, window: 30, resumed: asked !== undefined && asked !== '' };
          if (asked) {
            session.drop();
            kept = session.missing(sys.resume.received);
            resume.received = session.received;
            this.count.resumed++;
          } else {
            if (sys.resume.token) resume.reason = 'unknown';
            this.count.sessions++;
            kept = [];
          }
          this.sessions.set(resume.token, session);
          session.conn = conn;
          conn.send(Packet.HANDSHAKE, json({ code: 200, sys: { heartbeat: this.heartbeat, resume } }));
        } else if (type === Packet.ACK) {
          ready = true;
          session.ready(kept);
        } else if (type === Packet.HEARTBEAT) {
          if (body.length > 0) session.acknowledged(number(body));
        } else if (type === Packet.DATA) {
          assert.ok(ready, 'data before the ack');
          session.take(decodeMessage(body));
        } else if (type === Packet.KICK) this.forget(session);
      }
    };
    const closed = () => {
      conn.alive = false;
      if (session?.conn === conn) session.drop();
    };
    return { receive, closed };
  }

  forget(session) {
    for (const [token, one] of this.sessions) if (one === session) this.sessions.delete(token);
  }
}

export class Session {
  received = 0;
  conn = null; // the connection that the client has acknowledged or is about to
  #sent = []; // every data packet's body
  #acked = 0;
  #ready = false;

  constructor(server) {
    this.server = server;
  }

  ready(kept) {
    this.#ready = true;
    for (const body of kept) this.conn.send(Packet.DATA, body);
    // What came between the handshake and the ack is in kept's place too.
    for (const body of this.#sent.slice(this.#sent.length - this.#late)) this.conn.send(Packet.DATA, body);
    this.#late = 0;
  }

  #late = 0;

  drop() {
    if (this.conn !== null) this.conn.alive = false;
    this.conn?.end();
    this.conn = null;
    this.#ready = false;
  }

  missing(received) {
    assert.ok(received >= this.#acked && received <= this.#sent.length, `received ${received} of ${this.#sent.length}`);
    this.#late = 0;
    return this.#sent.slice(received);
  }

  acknowledged(count) {
    assert.ok(count <= this.#sent.length, `acknowledged ${count} of ${this.#sent.length}`);
    this.#acked = Math.max(this.#acked, count);
  }

  take(message) {
    this.received++;
    this.server.serve(this, message);
  }

  #post(message) {
    const body = encodeMessage(message);
    this.#sent.push(body);
    if (this.#ready) this.conn.send(Packet.DATA, body);
    else if (this.conn !== null) this.#late++;
  }

  push(route, value) {
    this.#post({ type: Message.PUSH, route, body: json(value) });
  }

  respond(id, value) {
    this.#post({ type: Message.RESPONSE, id, body: json(value) });
  }

  acknowledge() {
    if (!this.#ready) return;
    const bytes = [];
    let rest = this.received;
    for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128);
    this.conn.send(Packet.HEARTBEAT, Uint8Array.from([...bytes, rest]));
  }

  kick(value) {
    this.conn.send(Packet.KICK, utf8(JSON.stringify(value)));
    this.server.forget(this);
  }
}

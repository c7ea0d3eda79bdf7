import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';

import {
  Client,
  connect,
  decodeMessage,
  Dictionary,
  encodeMessage,
  encodePacket,
  Message,
  NanoError,
  Packet,
  PacketReader,
} from '../nano.js';

const vectors = JSON.parse(
  readFileSync(new URL('../../../internal/codec/testdata/vectors.json', import.meta.url), 'utf8'),
);

const unhex = (text) => new Uint8Array(Buffer.from(text, 'hex'));
const hex = (bytes) => Buffer.from(bytes).toString('hex');
const utf8 = (text) => new TextEncoder().encode(text);
const json = (value) => utf8(JSON.stringify(value));
const text = (bytes) => new TextDecoder().decode(bytes);
const packets = (...pieces) => {
  const reader = new PacketReader();
  return pieces.flatMap((piece) => [...reader.read(piece)]).map(({ type, body }) => ({ type, body: hex(body) }));
};

describe('packets', () => {
  test('encode and decode every vector', () => {
    assert.ok(vectors.packages.length > 0);
    for (const { type, body, wire } of vectors.packages) {
      assert.equal(hex(encodePacket(type, unhex(body))), wire);
      assert.deepEqual(packets(unhex(wire)), [{ type, body }]);
    }
  });

  test('arrive joined, split in two anywhere, and byte by byte', () => {
    const want = [
      { type: Packet.HEARTBEAT, body: '' },
      { type: Packet.DATA, body: '0601414243' },
      { type: Packet.KICK, body: '7b7d' },
    ];
    const stream = unhex(want.map(({ type, body }) => hex(encodePacket(type, unhex(body)))).join(''));
    for (let cut = 0; cut <= stream.length; cut++) {
      assert.deepEqual(packets(stream.subarray(0, cut), stream.subarray(cut)), want, `cut at ${cut}`);
    }
    assert.deepEqual(packets(...Array.from(stream, (byte) => Uint8Array.of(byte))), want);
  });

  test('yield what came before a malformed one', () => {
    for (const type of ['00', '06', 'ff']) {
      const seen = [];
      assert.throws(
        () => {
          for (const packet of new PacketReader().read(unhex(`03000000${type}000000`))) seen.push(packet.type);
        },
        { code: 'protocol', message: /packet type \d+, want 1 to 5/ },
      );
      assert.deepEqual(seen, [Packet.HEARTBEAT]);
    }
  });

  test('refuse a body that no header can announce', () => {
    assert.equal(hex(encodePacket(Packet.DATA, new Uint8Array(2 ** 24 - 1)).subarray(0, 4)), '04ffffff');
    assert.throws(() => encodePacket(Packet.DATA, new Uint8Array(2 ** 24)), { code: 'usage' });
  });
});

describe('messages', () => {
  test('encode and decode every vector', () => {
    const dictionary = new Dictionary(vectors.dictionary);
    assert.ok(vectors.messages.length > 0);
    for (const { type, id, route, compressed, body, wire } of vectors.messages) {
      const codes = compressed ? dictionary : undefined;
      assert.equal(hex(encodeMessage({ type, id, route, body: unhex(body) }, codes)), wire);
      const message = decodeMessage(unhex(wire), codes);
      assert.deepEqual({ ...message, body: hex(message.body) }, { type, id, route, body, error: false });
    }
  });

  const ids = [
    [1, '01'],
    [127, '7f'],
    [128, '8001'],
    [2 ** 31, '8080808008'],
    [2 ** 32 + 1, '8180808010'],
    [2 ** 53 - 1, 'ffffffffffffff0f'],
  ];
  for (const [id, varint] of ids) {
    test(`carry the id ${id}`, () => {
      const wire = `04${varint}`;
      assert.equal(hex(encodeMessage({ type: Message.RESPONSE, id })), wire);
      assert.equal(decodeMessage(unhex(wire)).id, id);
    });
  }

  test('tell an error response by its flag', () => {
    const message = { type: Message.RESPONSE, id: 5, body: utf8('{}'), error: true };
    assert.equal(hex(encodeMessage(message)), '24057b7d');
    assert.equal(decodeMessage(unhex('24057b7d')).error, true);
  });

  const malformed = {
    'an empty message': '',
    'a type over 3': '0801',
    'a gzip flag': '160141',
    'an error flag on a push': '260141',
    'an unknown flag bit': '8401',
    'a response with a route code': '0501',
    'an id cut short': '0480',
    'an id without an end': '04' + '80'.repeat(10) + '01',
    'an id over 2^53-1': '048080808080808010',
    'id 0': '0400',
    'a route length missing': '06',
    'a route cut short': '060341',
    'a route that is not UTF-8': '0602c328',
    'a route code cut short': '0701',
    'a route code that is not in the dictionary': '070001',
  };
  for (const [name, wire] of Object.entries(malformed)) {
    test(`refuse ${name}`, () => assert.throws(() => decodeMessage(unhex(wire)), { code: 'protocol' }));
  }

  test('refuse a route over 255 bytes, unless the dictionary holds it', () => {
    const route = 'é'.repeat(128);
    assert.throws(() => encodeMessage({ type: Message.NOTIFY, route }), { code: 'usage', message: /256 bytes/ });
    assert.equal(hex(encodeMessage({ type: Message.NOTIFY, route }, new Dictionary({ [route]: 258 }))), '030102');
  });

  for (const id of [0, -1, 1.5, 2 ** 53, '1']) {
    test(`refuse to encode the id ${JSON.stringify(id)}`, () => {
      assert.throws(() => encodeMessage({ type: Message.REQUEST, id, route: 'a.b' }), { code: 'usage' });
    });
  }
});

test('a dictionary refuses codes that are out of range or there twice', () => {
  for (const codes of [{ a: -1 }, { a: 65536 }, { a: 1.5 }, { a: '1' }, { a: 1, b: 1 }, null, 7]) {
    assert.throws(() => new Dictionary(codes), { code: 'protocol' }, JSON.stringify(codes));
  }
});

/** A WebSocket whose other end is the test. */
class FakeSocket {
  static last;

  sent = [];
  closed = undefined;

  constructor(url) {
    if (url === 'bad') throw new SyntaxError('not a URL');
    this.url = url;
    FakeSocket.last = this;
  }

  send(bytes) {
    assert.equal(this.closed, undefined, 'send after close');
    this.sent.push(...new PacketReader().read(bytes));
  }

  close(code, reason) {
    this.closed ??= { code, reason };
  }

  open() {
    this.onopen({});
  }

  /** Delivers the packets in one frame. */
  receive(...frames) {
    const frame = Buffer.concat(frames);
    this.onmessage({ data: frame.buffer.slice(frame.byteOffset, frame.byteOffset + frame.length) });
  }

  push(route, body, dictionary) {
    this.receive(data({ type: Message.PUSH, route, body }, dictionary));
  }

  respond(id, body, error = false) {
    this.receive(data({ type: Message.RESPONSE, id, body, error }));
  }

  /** The messages among the packets sent, their payloads as text. */
  messages(dictionary) {
    return this.sent
      .filter(({ type }) => type === Packet.DATA)
      .map(({ body }) => decodeMessage(body, dictionary))
      .map(({ type, id, route, body }) => ({ type, id, route, body: text(body) }));
  }
}

const data = (message, dictionary) => encodePacket(Packet.DATA, encodeMessage(message, dictionary));
const welcome = (sys = {}, more = {}) => encodePacket(Packet.HANDSHAKE, json({ code: 200, sys, ...more }));

/** A client that has shaken hands, and its socket. */
async function pair({ sys, more, ...options } = {}) {
  const client = new Client('ws://test/nano', { WebSocket: FakeSocket, timeout: 0, connectTimeout: 0, ...options });
  const connected = client.connect();
  const socket = FakeSocket.last;
  socket.open();
  socket.receive(welcome(sys, more));
  await connected;
  return { client, socket };
}

/** The close event of a client, once it comes. */
const closing = (client) => new Promise((resolve) => client.addEventListener('close', resolve, { once: true }));

describe('the handshake', () => {
  test('carries user data both ways and is acknowledged', async () => {
    const client = new Client('ws://test/nano', { WebSocket: FakeSocket, user: { token: 'x' } });
    const connected = client.connect();
    const socket = FakeSocket.last;
    assert.equal(socket.url, 'ws://test/nano');
    assert.equal(socket.binaryType, 'arraybuffer');
    socket.open();
    const [hello] = socket.sent;
    assert.equal(hello.type, Packet.HANDSHAKE);
    assert.deepEqual(JSON.parse(text(hello.body)).user, { token: 'x' });
    assert.equal(client.connected, false);

    socket.receive(welcome({ heartbeat: 0, servertime: 1700000000 }, { user: { level: 3 } }));
    await connected;
    assert.equal(client.connected, true);
    assert.deepEqual(client.user, { level: 3 });
    assert.equal(client.sys.servertime, 1700000000);
    assert.deepEqual(
      socket.sent.map(({ type }) => type),
      [Packet.HANDSHAKE, Packet.ACK],
    );
    client.close();
  });

  test('connect makes a client that is connected', async () => {
    const connected = connect('ws://test/nano', { WebSocket: FakeSocket });
    FakeSocket.last.open();
    FakeSocket.last.receive(welcome());
    assert.equal((await connected).connected, true);
  });

  const failures = {
    'a refusal': [
      (s) => s.receive(encodePacket(Packet.HANDSHAKE, json({ code: 501, msg: 'old' }))),
      'refused',
      /501: old/,
    ],
    'an answer that is not JSON': [(s) => s.receive(encodePacket(Packet.HANDSHAKE, utf8('{'))), 'protocol', /not JSON/],
    'an answer that is null': [(s) => s.receive(encodePacket(Packet.HANDSHAKE, utf8('null'))), 'refused', /undefined/],
    'a heartbeat that is text': [(s) => s.receive(welcome({ heartbeat: '30' })), 'protocol', /heartbeat/],
    'a broken dictionary': [(s) => s.receive(welcome({ dict: { a: 70000 } })), 'protocol', /70000/],
    'a serializer that the client does not speak': [
      (s) => s.receive(welcome({ serializer: 'protobuf' })),
      'usage',
      /protobuf/,
    ],
    'data before it': [(s) => s.push('a', utf8('1')), 'protocol', /before the handshake/],
    'a kick': [(s) => s.receive(encodePacket(Packet.KICK, json({ reason: 'full' }))), 'kicked', /full/],
    'a text frame': [(s) => s.onmessage({ data: 'hello' }), 'protocol', /text frame/],
    'a socket that closes': [
      (s) => (s.onerror({ message: 'no route' }), s.onclose({ code: 1006, reason: '' })),
      'closed',
      /1006: no route/,
    ],
  };
  for (const [name, [fail, code, message]] of Object.entries(failures)) {
    test(`fails at ${name}`, async () => {
      const client = new Client('ws://test/nano', { WebSocket: FakeSocket });
      client.addEventListener('close', () => assert.fail('close without an open connection'));
      const connected = client.connect();
      FakeSocket.last.open();
      fail(FakeSocket.last);
      await assert.rejects(
        connected,
        (error) => error instanceof NanoError && error.code === code && message.test(error.message),
      );
      assert.equal(client.connected, false);
      assert.ok(FakeSocket.last.closed);
    });
  }

  test('fails in time where the server is silent', async (t) => {
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const connected = new Client('ws://test/nano', { WebSocket: FakeSocket }).connect();
    t.mock.timers.tick(10_000);
    await assert.rejects(connected, { code: 'timeout', message: /10000 ms/ });
    assert.deepEqual(FakeSocket.last.closed, { code: 4000, reason: 'timeout' });
  });

  test('fails where the client is closed meanwhile', async () => {
    const client = new Client('ws://test/nano', { WebSocket: FakeSocket });
    const connected = client.connect();
    client.close();
    await assert.rejects(connected, { code: 'closed' });
  });

  test('cannot start twice, at a bad address, or without a WebSocket', async () => {
    const { client } = await pair();
    await assert.rejects(client.connect(), { code: 'usage', message: /already/ });
    await assert.rejects(connect('bad', { WebSocket: FakeSocket }), { code: 'usage', message: /not a URL/ });
    await assert.rejects(connect('ws://test', { WebSocket: 7 }), { code: 'usage', message: /option WebSocket/ });
  });
});

describe('messages of a client', () => {
  test('a request gets its own answer, in whatever order they come', async () => {
    const { client, socket } = await pair();
    const first = client.request('room.join', { name: 'ann' });
    const second = client.request('room.join');
    assert.deepEqual(socket.messages(), [
      { type: Message.REQUEST, id: 1, route: 'room.join', body: '{"name":"ann"}' },
      { type: Message.REQUEST, id: 2, route: 'room.join', body: '{}' },
    ]);
    socket.respond(2, json({ code: 2 }));
    socket.respond(1, json({ code: 1 }));
    socket.respond(99, json('to nobody'));
    assert.deepEqual(await first, { code: 1 });
    assert.deepEqual(await second, { code: 2 });
    assert.equal(client.connected, true);
  });

  test('an empty answer is undefined', async () => {
    const { client, socket } = await pair();
    const answer = client.request('a.b');
    socket.respond(1);
    assert.equal(await answer, undefined);
  });

  test('an error response in JSON rejects', async () => {
    const { client, socket } = await pair();
    const answer = client.request('a.b');
    socket.respond(1, json({ code: 'NANO-404', msg: 'no route', metadata: { route: 'a.b' } }), true);
    await assert.rejects(answer, (error) => {
      assert.ok(error instanceof NanoError);
      const { code, message, metadata } = error;
      assert.deepEqual(
        { code, message, metadata },
        { code: 'NANO-404', message: 'no route', metadata: { route: 'a.b' } },
      );
      return true;
    });
    assert.equal(client.connected, true);
  });

  test('an error response in protobuf rejects', async () => {
    const { client, socket } = await pair({ sys: { serializer: 'protobuf' }, decode: (bytes) => bytes });
    const answer = client.request('a.b', Uint8Array.of(1));
    // code "C", an unknown varint 9: 300, an unknown fixed64 10 and fixed32 11, msg "no", metadata {k: v}
    socket.respond(
      1,
      unhex('0a0143' + '48ac02' + '51' + '00'.repeat(8) + '5d' + '00'.repeat(4) + '12026e6f' + '1a060a016b120176'),
      true,
    );
    await assert.rejects(answer, { code: 'C', message: 'no', metadata: { k: 'v' } });
  });

  test("an error response of a program's own serializer rejects", async () => {
    const decode = (bytes) => ({ code: 'OWN', msg: text(bytes) });
    const { client, socket } = await pair({ decode });
    const answer = client.request('a.b');
    socket.respond(1, utf8('no'), true);
    await assert.rejects(answer, { code: 'OWN', message: 'no' });
  });

  test('a protobuf error that is cut short costs its request only', async () => {
    const { client, socket } = await pair({ sys: { serializer: 'protobuf' }, decode: (bytes) => bytes });
    const answer = client.request('a.b');
    socket.respond(1, unhex('0a0541'), true);
    await assert.rejects(answer, { code: 'payload', message: /^a\.b: / });
    assert.equal(client.connected, true);
  });

  test('a request gives up in time; its late answer is ignored', async (t) => {
    const { client, socket } = await pair({ timeout: 500 });
    t.mock.timers.enable({ apis: ['setTimeout'] });
    const ours = client.request('a.b');
    const patient = client.request('a.c', {}, { timeout: 0 });
    t.mock.timers.tick(499);
    t.mock.timers.tick(1);
    await assert.rejects(ours, { code: 'timeout', message: 'a.b: no answer in 500 ms' });
    socket.respond(1, json(1));
    socket.respond(2, json(2));
    assert.equal(await patient, 2);
  });

  test('pushes reach every listener until it is taken off', async () => {
    const { client, socket } = await pair();
    const seen = [];
    const one = (body) => seen.push(['one', body]);
    const two = (body) => seen.push(['two', body]);
    client.on('onMessage', one).on('onMessage', one).on('onMessage', two);
    socket.push('onMessage', json({ n: 1 }));
    client.off('onMessage', one);
    socket.push('onMessage', json({ n: 2 }));
    client.off('onMessage');
    socket.push('onMessage', json({ n: 3 }));
    client.off('onMessage', two);
    assert.deepEqual(seen, [
      ['one', { n: 1 }],
      ['two', { n: 1 }],
      ['two', { n: 2 }],
    ]);
  });

  test('what a listener throws is reported, and the others still run', async (t) => {
    const thrown = [];
    globalThis.reportError = (error) => thrown.push(error.message);
    t.after(() => delete globalThis.reportError);
    const { client, socket } = await pair();
    const seen = [];
    client.on('a', () => {
      throw new Error('mine');
    });
    client.on('a', (body) => seen.push(body));
    socket.push('a', json(1));
    assert.deepEqual([thrown, seen, client.connected], [['mine'], [1], true]);
  });

  test('the dictionary compresses what is sent and expands what comes', async () => {
    const codes = { 'room.join': 1, onMessage: 65535 };
    const dictionary = new Dictionary(codes);
    const { client, socket } = await pair({ sys: { dict: codes } });
    const seen = [];
    client.on('onMessage', (body) => seen.push(body));
    client.request('room.join').catch(() => {});
    client.notify('room.leave');
    socket.push('onMessage', json('short'), dictionary);
    socket.push('onMessage', json('long'));
    assert.deepEqual(seen, ['short', 'long']);
    assert.equal(hex(socket.sent.at(-2).body), '0101' + '0001' + '7b7d');
    assert.deepEqual(
      socket.messages(dictionary).map(({ route }) => route),
      ['room.join', 'room.leave'],
    );
  });

  test('bytes pass untouched, and encode and decode see the rest', async () => {
    const { client, socket } = await pair({
      encode: (body, route) => utf8(`${route}:${body}`),
      decode: (bytes, route) => `${route}:${text(bytes)}`,
    });
    client.notify('a.b', Uint8Array.of(0x78, 0x79));
    client.notify('a.b', 7);
    const answer = client.request('a.c', 8);
    const pushed = new Promise((resolve) => client.on('onX', resolve));
    socket.respond(1, utf8('raw'));
    socket.push('onX', utf8('raw'));
    assert.deepEqual(
      socket.messages().map(({ body }) => body),
      ['xy', 'a.b:7', 'a.c:8'],
    );
    assert.deepEqual([await answer, await pushed], ['a.c:raw', 'onX:raw']);
  });

  test('what cannot be sent is an error of the caller alone', async () => {
    const { client, socket } = await pair({ encode: (body) => body });
    assert.throws(() => client.notify('', Uint8Array.of()), { code: 'usage' });
    assert.throws(() => client.notify('r'.repeat(256), Uint8Array.of()), { code: 'usage' });
    assert.throws(() => client.notify('a.b', 'text'), { code: 'usage', message: /no Uint8Array/ });
    await assert.rejects(client.request('', Uint8Array.of()), { code: 'usage' });
    assert.deepEqual(socket.messages(), []);
    assert.equal(client.connected, true);
  });
});

describe('frames', () => {
  test('may hold several packets, and a packet may span several', async () => {
    const { client, socket } = await pair();
    const seen = [];
    client.on('a', (body) => seen.push(body));
    const push = (n) => data({ type: Message.PUSH, route: 'a', body: json(n) });
    socket.receive(push(1), push(2));
    const third = push(3);
    for (const byte of third) socket.receive(Uint8Array.of(byte));
    assert.deepEqual(seen, [1, 2, 3]);
  });

  test('after a listener closed the client, the rest of the frame is not looked at', async () => {
    const { client, socket } = await pair();
    const seen = [];
    client.on('a', (body) => {
      seen.push(body);
      client.close();
    });
    const push = (n) => data({ type: Message.PUSH, route: 'a', body: json(n) });
    socket.receive(push(1), push(2));
    assert.deepEqual(seen, [1]);
  });

  const malformed = {
    'an unknown packet type': unhex('06000000'),
    'an ack': unhex('02000000'),
    'a second handshake': welcome(),
    'a request from the server': data({ type: Message.REQUEST, id: 1, route: 'a.b' }),
    'a notify from the server': data({ type: Message.NOTIFY, route: 'a.b' }),
    'a message header that does not fit': encodePacket(Packet.DATA, unhex('060941')),
    'an empty message': encodePacket(Packet.DATA),
  };
  for (const [name, frame] of Object.entries(malformed)) {
    test(`${name} closes the connection with a clear error`, async () => {
      const { client, socket } = await pair();
      const closed = closing(client);
      const waiting = client.request('a.b');
      socket.receive(frame);
      const { error } = await closed;
      assert.equal(error.code, 'protocol');
      assert.notEqual(error.message, '');
      assert.deepEqual(socket.closed, { code: 4000, reason: 'protocol' });
      await assert.rejects(waiting, (rejected) => rejected.code === 'closed' && rejected.cause === error);
    });
  }
});

describe('the end of a connection', () => {
  test('close rejects what waits, and says so once', async () => {
    const { client, socket } = await pair();
    const events = [];
    client.addEventListener('close', ({ error }) => events.push(error));
    const waiting = client.request('a.b');
    client.close();
    client.close();
    await assert.rejects(waiting, { code: 'closed', message: /^a\.b: / });
    assert.deepEqual(events, [undefined]);
    assert.deepEqual(socket.closed, { code: 1000, reason: undefined });
    assert.equal(client.connected, false);
    assert.throws(() => client.notify('a.b'), { code: 'closed' });
    await assert.rejects(client.request('a.b'), { code: 'closed' });
  });

  test('a socket that closes is told with its code', async () => {
    const { client, socket } = await pair();
    const closed = closing(client);
    socket.onclose({ code: 1001, reason: 'going away' });
    const { error } = await closed;
    assert.deepEqual([error.code, error.message], ['closed', 'the connection closed with code 1001: going away']);
  });

  const kicks = [
    [{ reason: 'logged in elsewhere' }, 'logged in elsewhere'],
    ['banned', 'banned'],
    [{ code: 7 }, { code: 7 }],
  ];
  for (const [body, reason] of kicks) {
    test(`a kick ${JSON.stringify(body)} is told before the close`, async () => {
      const { client, socket } = await pair();
      const events = [];
      client.addEventListener('kick', (event) => events.push(['kick', event.reason]));
      client.addEventListener('close', ({ error }) => events.push(['close', error.code]));
      socket.receive(encodePacket(Packet.KICK, json(body)));
      assert.deepEqual(events, [
        ['kick', reason],
        ['close', 'kicked'],
      ]);
      assert.ok(socket.closed);
    });
  }

  test('the client connects again, with its listeners and without the old dictionary', async () => {
    const { client, socket: old } = await pair({ sys: { dict: { 'a.b': 1 } } });
    const seen = [];
    client.on('a', (body) => seen.push(body));
    client.close();
    const connected = client.connect();
    const socket = FakeSocket.last;
    assert.notEqual(socket, old);
    socket.open();
    socket.receive(welcome());
    await connected;
    socket.push('a', json('again'));
    client.notify('a.b');
    assert.deepEqual(seen, ['again']);
    assert.equal(socket.messages()[0].route, 'a.b');
  });
});

describe('heartbeats', () => {
  test('are answered, one for one', async () => {
    const { socket } = await pair();
    const beat = encodePacket(Packet.HEARTBEAT);
    socket.sent.length = 0;
    socket.receive(beat);
    socket.receive(encodePacket(Packet.HEARTBEAT, utf8('a body is ignored')));
    assert.deepEqual(
      socket.sent.map(({ type, body }) => [type, body.length]),
      [
        [Packet.HEARTBEAT, 0],
        [Packet.HEARTBEAT, 0],
      ],
    );
  });

  test('a server that falls silent is dead after two and a half to three intervals', async (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] });
    const { client, socket } = await pair({ sys: { heartbeat: 10 } });
    const events = [];
    client.addEventListener('close', ({ error }) => events.push(error.code));
    t.mock.timers.tick(20_000);
    socket.push('anything', json(1));
    t.mock.timers.tick(25_000);
    assert.deepEqual([events, client.connected], [[], true]);
    t.mock.timers.tick(5_000);
    assert.deepEqual([events, client.connected], [['timeout'], false]);
    assert.deepEqual(socket.closed, { code: 4000, reason: 'timeout' });
    t.mock.timers.tick(100_000);
    assert.deepEqual(events, ['timeout']);
  });
});

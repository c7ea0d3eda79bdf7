// Compiled, not run: the types have to allow what is right and refuse what is wrong.
import {
  Client,
  connect,
  NanoError,
  raw,
  type Closed,
  type Codec,
  type Connected,
  type Reconnecting,
  type Status,
  type StatusEvent,
} from 'nano-client';
import { Network } from 'nano-client/netsim';
import { protobuf } from 'nano-client/protobuf';

type Equal<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const assertType = <T extends true>(): T | undefined => undefined;

interface JoinRequest {
  name: string;
  seat?: number;
}
interface Line {
  name: string;
  content: string;
}
interface Routes {
  'room.join': { request: JoinRequest; reply: { code: number } };
  'room.list': { request: { filter?: string }; reply: string[] };
  'room.leave': { request: undefined; reply: undefined };
  'room.message': { notify: Line };
  'room.both': { request: Line; reply: boolean; notify: Line };
  onMessage: { push: Line };
}

const client = new Client<Routes>('wss://example.com/nano', { user: () => Promise.resolve({ token: 'x' }) });

// Requests
const joined = client.request('room.join', { name: 'ann' });
assertType<Equal<typeof joined, Promise<{ code: number }>>>();
const listed = client.request('room.list');
assertType<Equal<typeof listed, Promise<string[]>>>();
const left = client.request('room.leave');
assertType<Equal<typeof left, Promise<undefined>>>();
client.request('room.list', { filter: 'x' }, { timeout: 1000, signal: new AbortController().signal, offline: 'fail' });
client.request('room.leave', undefined, { timeout: 0 });
// @ts-expect-error a route that is not there
client.request('room.nothing');
// @ts-expect-error the body is missing
client.request('room.join');
// @ts-expect-error a field is missing
client.request('room.join', { seat: 1 });
// @ts-expect-error a field has another type
client.request('room.join', { name: 7 });
// @ts-expect-error a field that is not there
client.request('room.join', { name: 'ann', age: 7 });
// @ts-expect-error a route of a push
client.request('onMessage', { name: 'ann', content: '' });
// @ts-expect-error a route of a notify
client.request('room.message', { name: 'ann', content: '' });
// @ts-expect-error an option that is not there
client.request('room.list', {}, { retries: 3 });
// @ts-expect-error not a choice
client.request('room.list', {}, { offline: 'later' });

// Notifies
client.notify('room.message', { name: 'ann', content: 'hello' });
client.notify('room.both', { name: 'ann', content: 'hello' }, { offline: 'wait' });
// @ts-expect-error the body is missing
client.notify('room.message');
// @ts-expect-error a route of a request
client.notify('room.join', { name: 'ann' });

// Pushes
client.on('onMessage', (line) => {
  assertType<Equal<typeof line, Line>>();
});
client.on('onMessage', ({ name }) => name.toUpperCase()).off('onMessage');
// @ts-expect-error a route of a request
client.on('room.join', () => {});
// @ts-expect-error another type
client.on('onMessage', (line: { name: number }) => line);

// Status
client.addEventListener('status', (event) => {
  assertType<Equal<typeof event, StatusEvent>>();
  if (event.state === 'connected') {
    assertType<Equal<typeof event.resumed, boolean>>();
    if (event.reason === 'expired') console.log(event.unconfirmed);
  } else if (event.state === 'reconnecting') {
    assertType<Equal<typeof event.error, NanoError>>();
    event.delay.toFixed();
  } else if (event.state === 'closed') {
    event.error?.code;
    if (event.reason === 'kicked' || event.reason === 'client' || event.reason === 'new') return;
  } else {
    assertType<Equal<typeof event.state, 'connecting'>>();
    assertType<Equal<typeof event.reason, undefined>>();
  }
});
client.addEventListener('error', ({ error, route }) => error.message + route);
client.addEventListener('kick', ({ reason, code }) => [reason, code], { once: true });
client.addEventListener('close', { handleEvent: ({ error }) => error?.metadata });
client.addEventListener('status', ({ state, resumed, reason, error, delay }) => {
  if (state === 'connected') assertType<Equal<typeof resumed, boolean>>();
  if (state === 'reconnecting') assertType<Equal<typeof delay, number>>();
  if (state === 'closed') console.log(reason.length, error?.code);
});
client.addEventListener('something else', (event) => event.type);
// @ts-expect-error an event has no such field
client.addEventListener('status', ({ nothing }) => nothing);

const status: Status = client.status;
// @ts-expect-error read only
client.status = status;
declare const unions: Connected | Reconnecting | Closed;
switch (unions.state) {
  case 'connected':
  case 'reconnecting':
  case 'closed':
    break;
  default:
    assertType<Equal<typeof unions, never>>();
}

// Without an interface of routes
const free = new Client(new URL('wss://example.com/nano'));
const answer = free.request('any.route', { a: 1 });
assertType<Equal<typeof answer, Promise<any>>>();
free.request('any.route');
free.notify('any.route', new Uint8Array(3));
free.on('anything', (body) => body.whatever);
const made: Promise<Client<Routes>> = connect<Routes>('ws://localhost:3250/nano');
made.then((one) => one.request('room.list'));

// @ts-expect-error a payload of a kind that is not there
new Client<{ 'a.b': { asked: string } }>('ws://localhost');

// Options
new Client('ws://localhost', { reconnect: false, codec: raw, buffer: 1 << 20, offline: 'fail', timeout: 0 });
new Client('ws://localhost', { reconnect: { min: 50, max: 1000 }, WebSocket: globalThis.WebSocket });
new Client('ws://localhost', { encode: (body: Line, route) => new TextEncoder().encode(body.name + route) });
// @ts-expect-error no codec
new Client('ws://localhost', { codec: { encode: () => 'text', decode: () => 0 } });
// @ts-expect-error an option that is not there
new Client('ws://localhost', { retry: true });

// A simulated network
const network = new Network({ latency: 80, jitter: 20, loss: 0.02, seed: 7 });
new Client('ws://localhost', { WebSocket: network.WebSocket });
network.set({ latency: 200, retransmit: 400, cut: 60_000 });
assertType<Equal<typeof network.conditions.loss, number>>();
// @ts-expect-error a condition that is not there
network.set({ lag: 80 });
// @ts-expect-error read only
network.conditions = { latency: 80 };

// Protobuf, with types as ts-proto and protobufjs make them
declare const JoinType: {
  encode(message: JoinRequest, writer?: object): { finish(): Uint8Array };
  decode(input: Uint8Array | object, length?: number): JoinRequest;
};
const codec: Codec = protobuf({ 'room.join': { request: JoinType, reply: JoinType }, onMessage: { push: JoinType } });
new Client<Routes>('ws://localhost', { codec });

// Errors
joined.catch((error: unknown) => {
  if (error instanceof NanoError && error.code === 'timeout') return error.metadata['key'];
  return undefined;
});

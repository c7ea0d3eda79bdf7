import assert from 'node:assert/strict';
import { WebSocket } from 'ws';
import { createClient, type SourceCodeInfoLocation, type Struct, type Type } from './server.js';

const client = createClient(process.argv[2]!, { WebSocket, timeout: 20_000 });
const pushed = new Promise<Struct>((resolve) => client.on('onStruct', resolve));
await client.connect();

// The server compares what comes with its own samples, and answers with them.
const struct: Struct = {
  fields: {
    nothing: { nullValue: 0 },
    number: { numberValue: -0.5 },
    zero: { numberValue: 0 },
    text: { stringValue: '世界' },
    no: { boolValue: false },
    list: { listValue: { values: [{ boolValue: true }, { structValue: { fields: {} } }] } },
    __proto: { stringValue: 'a key like any other' },
  },
};
assert.deepEqual(await client.request('box.struct', struct), struct);
assert.deepEqual(await pushed, struct);

const type: Type = {
  name: 'game.Player',
  fields: [
    {
      kind: 9,
      cardinality: 1,
      number: -2147483648,
      name: 'id',
      typeUrl: '',
      oneofIndex: 0,
      packed: true,
      options: [{ name: 'o', value: { typeUrl: 'type', value: new Uint8Array([0, 127, 128, 255]) } }],
      jsonName: '',
      defaultValue: '',
    },
  ],
  oneofs: ['a', ''],
  options: [],
  sourceContext: { fileName: 'f' },
  syntax: 1,
  edition: '',
};
assert.deepEqual(await client.request('box.type', type), type);

const location: SourceCodeInfoLocation = {
  path: [1, 300, -1],
  span: [],
  leadingComments: '', // present, and empty
  leadingDetachedComments: ['x'],
};
assert.deepEqual(await client.request('box.location', location), location);

for (const seconds of [0n, -1n, 2n ** 53n + 1n, 2n ** 63n - 1n, -(2n ** 63n)]) {
  const time = { seconds, nanos: -5 };
  assert.deepEqual(await client.request('box.time', time), time);
}
for (const value of [0n, 2n ** 64n - 1n]) {
  assert.deepEqual(await client.request('box.number', { value }), { value });
}
assert.deepEqual(await client.request('box.float', { value: -1.5 }), { value: -1.5 });
assert.deepEqual(await client.request('box.raw', new Uint8Array([1, 2])), new Uint8Array([1, 2]));
assert.equal((await client.request('box.type', { ...type, name: 'x' }).catch((e) => e)).code, 'DIFFERENT');
client.close();

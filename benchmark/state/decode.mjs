// Decodes messages of package state, as schema.mjs does those of @colyseus/schema.
import { StateDecoder } from '../../clients/js/state.js';
import { measure, readMessages } from './measure.mjs';

const spec = JSON.parse(process.argv[2]);
const [schema, ...encoded] = readMessages(spec.file);
const messages = encoded.map((m) => new Uint8Array(Buffer.from(m, 'base64')));
const decoder = new StateDecoder(schema);
decoder.decode(messages[0]);
let i = 0;
const result = measure(() => {
  i = i + 1 < messages.length ? i + 1 : 1;
  decoder.decode(messages[i]);
}, spec);
if (!decoder.synced) throw new Error('the decoder lost its state');
console.log(JSON.stringify(result));

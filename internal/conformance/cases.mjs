// Writes client.json, the conformance table of clients. README.md specifies the format.
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import './cases/handshake.mjs';
import './cases/request.mjs';
import './cases/push.mjs';
import './cases/malformed.mjs';
import './cases/heartbeat.mjs';
import './cases/resume.mjs';
import './cases/resume_failed.mjs';
import './cases/kick.mjs';
import './cases/reconnect.mjs';
import { cases } from './cases/steps.mjs';

/** Writes each run of 32 equal bytes or more as "61*40", with blanks around it. */
const short = (text) =>
  text
    .match(/(..)\1*/g)
    ?.reduce((all, run) => all + (run.length < 64 ? run : ` ${run.slice(0, 2)}*${run.length / 2} `), '')
    .trim() ?? '';

const shorten = (key, value) => (key !== 'hex' ? value : Array.isArray(value) ? value.map(short) : short(value));
const lines = cases.map((one) => JSON.stringify(one, shorten));
export const table = `{"version":1,"cases":[\n${lines.join(',\n')}\n]}\n`;
export const count = cases.length;
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  writeFileSync(new URL('client.json', import.meta.url), table);
  console.log(`${count} cases, ${table.length} bytes`);
}

// Measures the core, minified and gzipped, and fails if it is over its bound.
import { buildSync } from 'esbuild';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';

const BOUND = 6000; // bytes

const { outputFiles } = buildSync({
  entryPoints: [fileURLToPath(new URL('../../nano.js', import.meta.url))],
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  write: false,
});
const { contents } = outputFiles[0];
const size = gzipSync(contents, { level: 9 }).length;
console.log(`nano.js: ${contents.length} bytes minified, ${size} gzipped, ${BOUND} allowed`);
if (size > BOUND) process.exitCode = 1;

// Prints the sizes of the client's modules in bytes, minified and gzipped.
import { gzipSync } from 'node:zlib';
import { build } from 'esbuild';

const size = async (...modules) => {
  const contents = modules.map((m) => `export * from '../../clients/js/${m}';`).join('\n');
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: import.meta.dirname },
    bundle: true, minify: true, format: 'esm', target: 'esnext', write: false,
  });
  return gzipSync(outputFiles[0].contents, { level: 9 }).length;
};

console.log(JSON.stringify({ decoder: await size('state.js'), smooth: await size('state.js', 'smooth.js') }));

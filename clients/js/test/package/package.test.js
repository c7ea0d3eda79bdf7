// What `npm pack` makes: its contents, its types, and a project that is built against it.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const bin = (name) => join(root, 'node_modules', '.bin', name);
const dir = mkdtempSync(join(tmpdir(), 'nano-package-'));
let tarball;

const run = (program, args, cwd = root) => {
  try {
    return execFileSync(program, args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  } catch (error) {
    throw new Error(`${program} ${args.join(' ')}: ${error.stdout}${error.stderr}`, { cause: error });
  }
};
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

before(() => {
  const [{ filename }] = JSON.parse(run('npm', ['pack', '--json', '--pack-destination', dir]));
  tarball = join(dir, filename);
});
after(() => rmSync(dir, { recursive: true }));

test('it holds the modules, their types and the documents, and nothing else', () => {
  const modules = Object.values(manifest.exports)
    .map((path) => path.slice(2))
    .filter((path) => path.endsWith('.js'));
  const want = [...modules, ...modules.map((path) => path.replace(/\.js$/, '.d.ts'))];
  want.push('package.json', 'LICENSE', 'README.md', 'README_zh_CN.md');
  const have = run('tar', ['-tzf', tarball]).trim().split('\n');
  assert.deepEqual(have.sort(), want.map((path) => `package/${path}`).sort());
});

test('it depends on nothing', () => {
  for (const field of ['dependencies', 'peerDependencies', 'optionalDependencies', 'bundleDependencies']) {
    assert.equal(manifest[field], undefined);
  }
  for (const script of ['preinstall', 'install', 'postinstall', 'prepare']) {
    assert.equal(manifest.scripts[script], undefined);
  }
});

test('each module exports what its types say', async () => {
  for (const [name, path] of Object.entries(manifest.exports)) {
    if (!path.endsWith('.js') || name === './starx') continue;
    const types = readFileSync(join(root, path.replace(/\.js$/, '.d.ts')), 'utf8');
    const declared = [...types.matchAll(/^export (?:declare )?(?:class|function|const) (\w+)/gm)].map(
      ([, word]) => word,
    );
    const exported = Object.keys(await import(join(root, path)));
    assert.deepEqual([...new Set(declared)].sort(), exported.sort(), name);
  }
});

test('the version of the handshake is that of the package', () => {
  const [, version] = readFileSync(join(root, 'nano.js'), 'utf8').match(/VERSION = '(.+)'/);
  assert.equal(version, manifest.version);
});

test('publint finds nothing', () => {
  assert.match(run(bin('publint'), [tarball, '--strict']), /All good!/);
});

test('are-the-types-wrong finds nothing', () => {
  // The package is an ES module only, as its profile says.
  assert.match(run(bin('attw'), [tarball, '--profile', 'esm-only', '--no-emoji']), /OK \(ESM\)/);
});

test('a Vite project in strict TypeScript builds against it', () => {
  const project = join(dir, 'project');
  mkdirSync(join(project, 'src'), { recursive: true });
  const write = (path, text) => writeFileSync(join(project, path), text);
  write('package.json', JSON.stringify({ name: 'game', private: true, type: 'module' }));
  run('npm', ['install', '--offline', '--no-audit', '--no-fund', tarball], project);
  write(
    'tsconfig.json',
    JSON.stringify({
      compilerOptions: {
        target: 'es2022',
        module: 'esnext',
        moduleResolution: 'bundler',
        lib: ['es2022', 'dom', 'dom.iterable'],
        types: [],
        strict: true,
        noEmit: true,
        verbatimModuleSyntax: true,
      },
      include: ['src'],
    }),
  );
  write('index.html', '<!doctype html><title>game</title><script type="module" src="/src/main.ts"></script>');
  write(
    'src/main.ts',
    `import { Client, type Status } from 'nano-client';
import 'nano-client/starx';

interface Routes {
  'room.join': { request: { name: string }; reply: { present: number } };
  onSay: { push: { text: string } };
}

const client = new Client<Routes>('wss://example.com/nano');
const show = (status: Status) => (document.title = status.state);
client.addEventListener('status', show);
client.on('onSay', ({ text }) => document.body.append(text));
await client.connect();
const { present } = await client.request('room.join', { name: 'ann' });
document.body.append(String(present));
`,
  );
  run(bin('tsc'), ['-p', project]);
  run(bin('vite'), ['build', '--logLevel', 'warn', '--outDir', 'dist'], project);
  const scripts = readdirSync(join(project, 'dist', 'assets')).filter((name) => name.endsWith('.js'));
  const built = scripts.map((name) => readFileSync(join(project, 'dist', 'assets', name), 'utf8')).join('');
  assert.match(built, /visibilitychange/);
  assert.match(built, /room\.join/);
});

// Runs the tests with other versions of Node, which npm's package `node` brings.
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const VERSIONS = ['20.20.2', '22.23.3', '24.21.0', '26.10.0'];

const cwd = fileURLToPath(new URL('../..', import.meta.url));
const tests = readdirSync(new URL('..', import.meta.url)).filter((name) => name.endsWith('.test.js'));
const versions = process.argv.length > 2 ? process.argv.slice(2) : VERSIONS;
for (const version of versions) {
  console.log(`\nNode ${version}`);
  // The package's only program is node, which npm exec runs with the arguments behind it.
  const args = ['exec', '--yes', `--package=node@${version}`, '-c'];
  args.push(`node --version && node --test ${tests.map((name) => `test/${name}`).join(' ')}`);
  execFileSync('npm', args, { cwd, stdio: 'inherit' });
}

// Builds the package: the kernels where they are stale, then dist/ from src/: JavaScript without comments, which would be a third of
// it, and declarations with them, of what the package's entries lead to.
//
//   npm run build
import { spawnSync } from 'node:child_process';
import { readFile, readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildKernels, kernelsAreFresh } from './build-kernels.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
if (!(await kernelsAreFresh())) await buildKernels();
// A module that is gone from src must not stay in the package.
await rm(join(root, 'dist'), { recursive: true, force: true });
const tsc = join(root, 'node_modules/typescript/bin/tsc');
const emits = [['--removeComments'], ['--declaration', '--emitDeclarationOnly']];
for (const emit of emits) {
  const { status } = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.build.json', ...emit], { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exitCode = status ?? 1;
}

/** The declarations that `files` lead to, themselves included. */
async function reached(files) {
  const found = new Set(files);
  for (const file of found) {
    const code = await readFile(file, 'utf8');
    // As in `from './x.ts'`, `import './x.ts'` and `import('./x.ts')`.
    for (const [, path] of code.matchAll(/(?:from|import)\s*\(?\s*['"](\.[^'"]+)\.[jt]s['"]/g))
      found.add(join(dirname(file), `${path}.d.ts`));
  }
  return found;
}

const { exports } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
const entries = Object.values(exports).flatMap(({ types }) => (types === undefined ? [] : [join(root, types)]));
const wanted = await reached(entries);
for (const name of await readdir(join(root, 'dist'), { recursive: true })) {
  const file = join(root, 'dist', name);
  if (file.endsWith('.d.ts') && !wanted.has(file)) await rm(file);
}

// Builds the package: the kernels if they are stale, then dist/ from src/. Declarations only of what the entries lead to. JavaScript
// without comments, which would be a third of it, in few files, since each costs time on import:
//
//   index.js, nn/index.js, …   one for each entry
//   core.js                    errors, dtypes, shapes, random numbers
//   engine.js                  kernels, autograd, inspect
//   binary.js                  the WebAssembly binary
//
// Maps lead from the declarations and from the JavaScript to src/, which the package contains.
//
//   npm run build
import { spawnSync } from 'node:child_process';
import { readFile, readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { buildKernels, kernelsAreFresh } from './build-kernels.mjs';
import { bundle, entries, root } from './bundle.mjs';

if (!(await kernelsAreFresh())) await buildKernels();
// A module that is gone from src must not stay in the package.
await rm(join(root, 'dist'), { recursive: true, force: true });

const tsc = join(root, 'node_modules/typescript/bin/tsc');
const { status } = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.build.json'], { cwd: root, stdio: 'inherit' });
if (status !== 0) process.exitCode = status ?? 1;
await dropUnreached();
await bundle(join(root, 'dist'));

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

/** Removes the declarations that no entry leads to, and their maps. */
async function dropUnreached() {
  const wanted = await reached(entries.map((e) => join(root, e.types)));
  for (const name of await readdir(join(root, 'dist'), { recursive: true })) {
    const file = join(root, 'dist', name);
    if (/\.d\.ts(\.map)?$/.test(file) && !wanted.has(file.replace(/\.map$/, ''))) await rm(file);
  }
}

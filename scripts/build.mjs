// Builds the package: the kernels where they are stale, then dist/ from src/: JavaScript without comments, which would be a third of
// it, and declarations with them.
//
//   npm run build
import { spawnSync } from 'node:child_process';
import { rm } from 'node:fs/promises';
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

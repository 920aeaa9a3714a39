// Builds the package: the kernels where they are stale, then dist/ from src/ (JavaScript, declarations, source maps).
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
const { status } = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.build.json'], { cwd: root, stdio: 'inherit' });
process.exitCode = status ?? 1;

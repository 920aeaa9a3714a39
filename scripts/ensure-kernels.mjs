// Runs before `npm start` and `npm test`: builds the kernels where they are missing or stale, or says what is missing.
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildKernels, kernelsAreFresh } from './build-kernels.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

if (!existsSync(join(root, 'node_modules/tsx'))) {
  process.stderr.write('The development dependencies are not installed. Run this first: npm ci\n');
  process.exitCode = 1;
} else if (!(await kernelsAreFresh())) {
  process.stdout.write('Building the kernels …\n');
  try {
    await buildKernels();
  } catch (error) {
    process.stderr.write(`The kernels could not be built: ${error?.message ?? error}\nTry: npm run build\n`);
    process.exitCode = 1;
  }
}

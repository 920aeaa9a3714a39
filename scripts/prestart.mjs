// Runs before `npm start`: builds the kernels where they are missing or stale, or says what is missing.
import { buildKernels, kernelsAreFresh } from './build-kernels.mjs';

if (!(await kernelsAreFresh())) {
  try {
    await buildKernels();
  } catch (error) {
    const missing = error?.code === 'ERR_MODULE_NOT_FOUND';
    process.stderr.write(`The kernels could not be built: ${error?.message ?? error}\n`);
    process.stderr.write(missing ? 'Install the development dependencies first: npm ci\n' : 'Try: npm run build\n');
    process.exitCode = 1;
  }
}

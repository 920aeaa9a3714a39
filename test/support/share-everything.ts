import { afterAll, beforeAll, expect } from 'vitest';
import { kernelModule } from '../../src/kernels/wasm/module.ts';
import { getNumThreads, poolFor, setNumThreads, tuning } from '../../src/kernels/threads/pool.ts';
import { started, workItemsDone } from './workers.ts';

// Setup of the vitest project `threads`: every kernel call of two or more chunks is shared among three threads, however small it is.

const { leastWork } = tuning;
const threads = getNumThreads();

beforeAll(async () => {
  setNumThreads(3);
  tuning.leastWork = 0;
  await started(poolFor(kernelModule)!, 2);
});

afterAll(() => {
  expect(workItemsDone(poolFor(kernelModule)!)).toBeGreaterThan(0);
  tuning.leastWork = leastWork;
  setNumThreads(threads);
});

import { setImmediate } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { afterAll, beforeAll, expect } from 'vitest';
import { ownProcess } from './own-process.ts';

// Setup of all vitest projects: a file in a shared process finds it like a new one, in whatever order the files run, and leaves it so.

if (ownProcess(expect.getState().testPath!) === undefined) {
  const { getNumThreads, getTurbo, isGradEnabled, manualSeed, scope, setConvAlgorithm, tensor } = await import('../../src/index.ts');
  const inspected = await import('../../src/autograd/instrumentation.ts');
  const { resetPeak } = await import('../../src/kernels/memory/allocator.ts');
  setFlagsFromString('--expose-gc');
  const collectGarbage = runInNewContext('gc') as () => void;

  /** What the next file in this process would see of this one. The default generator has no part in it: each file restarts it. */
  const settings = (): object => ({
    threads: getNumThreads(),
    turbo: getTurbo().choice,
    grad: isGradEnabled(),
    instruments: inspected.instrumentation,
    environment: { ...process.env },
    folder: process.cwd(),
  });
  let before: object;

  beforeAll(async () => {
    before = settings();
    manualSeed(0);
    setConvAlgorithm('auto');
    // Frees what consumed graphs have left readable until the next recorded operation.
    scope(() => tensor([1], { requiresGrad: true }).mul(1).dispose());
    // Otherwise tensors of earlier files would be freed while a test counts its own. Twice, as an object that was reached through a weak
    // reference stays until the current task ends, and what is freed then may have held others.
    for (let round = 0; round < 2; round++) {
      await setImmediate();
      collectGarbage();
    }
    await setImmediate();
    resetPeak();
  });

  afterAll(() => {
    expect(settings(), 'settings that this file has left changed').toEqual(before);
  });
}

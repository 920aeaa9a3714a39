import { beforeAll, beforeEach } from 'vitest';
import { scope, tensor } from '../../src/index.ts';

// npm run mutation: all test files share one copy of the library.

/** Frees what the consumed graphs of the file before have left readable, as tests compare the memory before and after. */
beforeAll(() => {
  scope(() => tensor([1], { requiresGrad: true }).mul(1).dispose());
});

/** Skips the tests of long chains and long lists in files that are quick without them. */
beforeEach(({ task, skip }) => {
  if (/a chain of|more tensors than a call can have arguments|cat of many tensors/.test(task.name)) skip();
});

import { afterAll, beforeEach } from 'vitest';
import { scope, tensor } from '../../src/index.ts';

// npm run mutation: all test files share one copy of the library.

/**
 * Frees what the consumed graphs of a file have left readable, as the tests of the next file compare the memory before and after. Not
 * before a file, where a mutant would fail outside of the tests and count as a survivor.
 */
afterAll(() => {
  scope(() => tensor([1], { requiresGrad: true }).mul(1).dispose());
});

/** Names of tests of long chains and long lists, and of those of other processes, in files that are quick without them. */
const LONG = [
  'a chain of',
  'a deep graph',
  'more tensors than a call can have arguments',
  'cat of many tensors',
  'CHAINRULE_ANOMALY',
  'is found at every operation',
];

beforeEach(({ task, skip }) => {
  if (LONG.some((name) => task.name.includes(name))) skip();
});

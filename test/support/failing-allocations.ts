import { OutOfMemoryError } from '../../src/core/errors.ts';

type Allocator = typeof import('../../src/kernels/memory/allocator.ts');

/** What remains before allocations fail. Tests set it, and set Infinity back. */
export const left = {
  /** Number of allocations that succeed before others fail. */
  count: Infinity,
  /** Number of allocations that then fail, before all succeed again. */
  failures: Infinity,
  /** The most bytes that may be live. An allocation that would exceed them fails. */
  bytes: Infinity,
};

/** Returns the allocator with allocations that fail once nothing is left. For `vi.mock`. */
export function failingAllocations(real: Allocator): Allocator {
  const allocate: Allocator['allocate'] = (n) => {
    if (left.count-- <= 0 && left.failures-- > 0) throw new OutOfMemoryError('test: no room');
    if (real.memoryUse().bytes + n > left.bytes) throw new OutOfMemoryError('test: no room');
    return real.allocate(n);
  };
  return { ...real, allocate };
}

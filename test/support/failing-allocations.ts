import { OutOfMemoryError } from '../../src/core/errors.ts';

type Allocator = typeof import('../../src/kernels/memory/allocator.ts');

/** Number of allocations that succeed before all others fail. Tests set it. */
export const left = { count: Infinity };

/** Returns the allocator with allocations that fail once none is left. For `vi.mock`. */
export function failingAllocations(real: Allocator): Allocator {
  const allocate: Allocator['allocate'] = (n) => {
    if (left.count-- <= 0) throw new OutOfMemoryError('test: no room');
    return real.allocate(n);
  };
  return { ...real, allocate };
}

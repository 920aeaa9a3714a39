import { afterEach, expect } from 'vitest';
import { isMemoryChecked } from '../../src/kernels/memory/checked-memory.ts';
import { checkMemory } from '../../src/kernels/memory/allocator.ts';

// Setup of the vitest project `checked`: after each test, all blocks are checked, live or freed.

afterEach(() => {
  expect(isMemoryChecked).toBe(true);
  checkMemory();
});

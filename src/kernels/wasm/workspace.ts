/**
 * Workspaces and scratch areas, and helpers of the matrix product and convolution kernels.
 */
import { ITEM_SIZE } from '../../core/dtype.ts';
import { allocate } from '../memory/allocator.ts';
import { type Storage } from '../memory/storage.ts';
import { memoryViews } from '../memory/wasm-memory.ts';
import { getNumThreads } from '../threads/pool.ts';
import type { View } from '../view.ts';
import type { ScratchAreas } from './arguments.generated.ts';

/** Bytes of a vector. */
export const VECTOR = 16;
/** Chunks that a large enough product is split into: enough to keep every core busy to the end. */
export const CHUNKS = 16;
/** The most multiplications of one chunk: some 50 milliseconds. */
export const LARGE = 2 ** 30;

/** Allocates a workspace of so many bytes. */
export type Workspaces = (bytes: number) => Storage;

/** Runs `fn` with workspaces that are freed when it ends. */
export function withWorkspaces(fn: (workspace: Workspaces) => void): void {
  const made: Storage[] = [];
  try {
    fn((bytes) => {
      const s = allocate(bytes);
      made.push(s);
      return s;
    });
  } finally {
    for (const s of made) s.free();
  }
}

/** For a kernel that needs no scratch. */
export const NO_SCRATCH: ScratchAreas = { flags: 0, count: 0, address: 0, bytes: 0 };

/** Allocates a scratch area of `bytes` bytes for every thread that may run one of `chunks` chunks. */
export function scratchAreas(chunks: number, bytes: number, workspace: Workspaces): ScratchAreas {
  const count = Math.min(getNumThreads(), chunks);
  const flags = workspace(4 * count).ptr;
  memoryViews().u8.fill(0, flags, flags + 4 * count);
  return { flags, count, address: workspace(count * bytes).ptr, bytes };
}

/** Bytes of `n` elements of v's dtype, rounded up to whole vectors. */
export function vectorBytes(n: number, v: View): number {
  return divideUp(n * ITEM_SIZE[v.dtype], VECTOR) * VECTOR;
}

/** The ending of the names of kernels for v's dtype. */
export function suffix(v: View): '_f32' | '_f64' {
  return v.dtype === 'float64' ? '_f64' : '_f32';
}

export function divideUp(n: number, by: number): number {
  return Math.ceil(n / by);
}

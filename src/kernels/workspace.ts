/**
 * What the families of product kernels share: workspaces, and how a convolution's output reads its input.
 */
import { ITEM_SIZE } from '../core/dtype.ts';
import { allocate, memoryViews, type Storage } from './memory.ts';
import { getNumThreads } from './threads.ts';
import type { View } from './view.ts';

/** How output positions along one axis read the input: p reads start + p·step + t·tapStep for t < taps; see assembly/conv.ts. */
export interface Axis {
  readonly count: number;
  readonly start: number;
  readonly step: number;
  readonly tapStep: number;
  readonly taps: number;
  /** The input's size. */
  readonly size: number;
  /** Position p is the output's outStart + p·outStep. */
  readonly outStart: number;
  readonly outStep: number;
  /** Tap t is the kernel's element kStart + t·kStep. */
  readonly kStart: number;
  readonly kStep: number;
}

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

/** An area of scratch for every thread that takes chunks, see assembly/scratch.ts, as arguments: flags, count, address, bytes of each. */
export function scratchAreas(chunks: number, bytes: number, workspace: Workspaces): number[] {
  const count = Math.min(getNumThreads(), chunks);
  const flags = workspace(4 * count).ptr;
  memoryViews().u8.fill(0, flags, flags + 4 * count);
  return [flags, count, workspace(count * bytes).ptr, bytes];
}

/** What the names of a dtype's kernels end with. */
export function suffix(v: View): string {
  return v.dtype === 'float64' ? '_f64' : '_f32';
}

export function divideUp(n: number, by: number): number {
  return Math.ceil(n / by);
}

/** Image, row and pixel stride of [N, C, H, W] in bytes. */
export function imageStrides(v: View): number[] {
  return [0, 2, 3].map((d) => v.strides[d]! * ITEM_SIZE[v.dtype]);
}

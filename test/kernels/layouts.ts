/**
 * Makes views in many layouts for kernel tests, and compares them bitwise or within a tolerance.
 */
import { inject } from 'vitest';
import { ITEM_SIZE, type DType } from '../../src/core/dtype.ts';
import { Random } from '../../src/core/random.ts';
import { channelsLastStrides, rowMajorStrides, sizeOf, stridesInOrder, type Shape } from '../../src/core/shape.ts';
import { allocate, withTemporaries } from '../../src/kernels/memory/allocator.ts';
import { elementView, readElements, viewOf } from '../../src/kernels/memory/wasm-memory.ts';
import { at, forEachIndex } from '../../src/kernels/reference/strided.ts';
import { materialize, type View } from '../../src/kernels/view.ts';

export const LAYOUTS = ['row-major', 'channels-last', 'permuted', 'sliced'] as const;
export type Layout = (typeof LAYOUTS)[number];

declare module 'vitest' {
  interface ProvidedContext {
    /** Whether the project runs again what the project wasm runs, with shared calls or on checked memory. */
    readonly repeats?: boolean;
  }
}

/** Returns how often a property is run: half of `count`, a sixth where it is run again. `CHAINRULE_LONG=1` runs it `count` times everywhere. */
export function runs(count: number): number {
  if (process.env.CHAINRULE_LONG === '1') return count;
  return Math.ceil(count / (inject('repeats') === true ? 6 : 2));
}

/** The value of elements before a kernel writes them, and of those between the elements of a sliced view. */
const UNTOUCHED = 77;

function stridesOf(shape: Shape, layout: Layout): number[] {
  switch (layout) {
    case 'row-major':
      return rowMajorStrides(shape);
    case 'channels-last':
      return shape.length > 2 ? channelsLastStrides(shape) : rowMajorStrides(shape);
    case 'permuted':
      return stridesInOrder(
        shape,
        shape.map((_, d) => shape.length - 1 - d),
      );
    case 'sliced':
      return rowMajorStrides(shape).map((s) => 2 * s);
  }
}

/** Makes a view of `shape` on a new storage; `values` are row-major. */
export function view(shape: Shape, dtype: DType, layout: Layout = 'row-major', values?: readonly number[]): View {
  const room = 2 * sizeOf(shape) + 3;
  const v: View = {
    storage: allocate(room * ITEM_SIZE[dtype]),
    offset: layout === 'sliced' ? 3 : 0,
    shape,
    strides: stridesOf(shape, layout),
    dtype,
  };
  elementView(v.storage.ptr, dtype, room).fill(UNTOUCHED);
  if (values !== undefined && layout === 'row-major') elementView(v.storage.ptr, dtype, values.length).set(values);
  else if (values !== undefined) {
    const all = viewOf(dtype);
    let i = 0;
    forEachIndex(shape, [at(v)], (p) => (all[p] = values[i++]!));
  }
  return v;
}

/** Returns the view's elements, row-major. */
export function read(v: View): number[] {
  const out: number[] = [];
  const all = viewOf(v.dtype);
  forEachIndex(v.shape, [at(v)], (p) => out.push(all[p]!));
  return out;
}

/** Returns the whole storage: the elements, and those that no kernel may write. */
export function raw(v: View): number[] {
  materialize(v, 'read');
  return Array.from(readElements(v.storage.ptr, v.dtype, v.storage.bytes / ITEM_SIZE[v.dtype]));
}

/** Returns n standard normal numbers. If `special` is true, one in eight is NaN, ±∞ or ±0. */
export function numbers(n: number, seed: number, special = false): number[] {
  const random = new Random(seed);
  const SPECIAL = [NaN, Infinity, -Infinity, 0, -0];
  return Array.from({ length: n }, () => (special && random.integer(8) === 0 ? SPECIAL[random.integer(5)]! : random.normal()));
}

/**
 * Returns the first place where the lists differ by more than atol + rtol·|want|, or null. Without a tolerance the sign of zero
 * counts as well. NaN equals NaN, and an infinity equals only itself.
 */
export function difference(got: readonly number[], want: readonly number[], atol: number, rtol = atol): string | null {
  if (got.length !== want.length) return `${got.length} numbers instead of ${want.length}`;
  const exact = atol === 0 && rtol === 0;
  for (let i = 0; i < got.length; i++) {
    const [a, b] = [got[i]!, want[i]!];
    if (Object.is(a, b)) continue;
    if (!exact && (a === b || (Number.isFinite(b) && Math.abs(a - b) <= atol + rtol * Math.abs(b)))) continue;
    return `[${i}] is ${Object.is(a, -0) ? '-0' : a}, expected ${Object.is(b, -0) ? '-0' : b}`;
  }
  return null;
}

/** Runs `fn` and frees every storage made inside. */
export function freed<T>(fn: () => T): T {
  return withTemporaries('test', fn);
}

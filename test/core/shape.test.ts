/** Strides: finds every view that needs no copy, and views read the right elements. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  broadcastShapes,
  channelsLastStrides,
  isDense,
  isRowMajor,
  memoryOrder,
  rowMajorStrides,
  sizeOf,
  stridesInOrder,
  viewStrides,
} from '../../src/core/shape.ts';

/** The position of each element in memory, in row-major order. */
function places(shape: readonly number[], strides: readonly number[]): number[] {
  let out = [0];
  shape.forEach((n, d) => {
    out = out.flatMap((at) => Array.from({ length: n }, (_, i) => at + i * strides[d]!));
  });
  return out;
}

/** A random layout: dense in some order of its dims, then some dims with a step. */
const layout = fc
  .record({
    shape: fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 4 }),
    order: fc.array(fc.nat(), { minLength: 4, maxLength: 4 }),
    step: fc.array(fc.integer({ min: 1, max: 2 }), { minLength: 4, maxLength: 4 }),
  })
  .map(({ shape, order, step }) => {
    const dims = shape.map((_, d) => d).toSorted((a, b) => order[a]! - order[b]!);
    return { shape, strides: stridesInOrder(shape, dims).map((s, d) => s * step[d]!), dims };
  });

/** Another shape with as many elements: sizes split and merged at random. */
const reshaped = layout.chain((l) => {
  const n = sizeOf(l.shape);
  const divisors = Array.from({ length: Math.max(n, 1) }, (_, i) => i + 1).filter((d) => n % d === 0);
  return fc.array(fc.constantFrom(...divisors), { maxLength: 3 }).map((wanted) => {
    const to: number[] = [];
    let rest = n;
    for (const d of wanted) {
      if (rest === 0 || rest % d !== 0) continue;
      to.push(d);
      rest /= d;
    }
    return { ...l, to: [...to, rest] };
  });
});

describe('viewStrides', () => {
  it('reads the same elements in the same order wherever it finds strides, over 3,000 layouts', () => {
    let found = 0;
    fc.assert(
      fc.property(reshaped, ({ shape, strides, to }) => {
        const view = viewStrides(shape, strides, to);
        if (view === null) return;
        found++;
        expect(places(to, view)).toEqual(places(shape, strides));
      }),
      { numRuns: 3000, seed: 20261124 },
    );
    expect(found).toBeGreaterThan(1000);
  });

  it('gives up only where no strides exist', () => {
    expect(viewStrides([2, 3], [1, 2], [6])).toBe(null);
    expect(viewStrides([2, 3], [6, 2], [6])).toEqual([2]);
    expect(viewStrides([2, 3, 4], [12, 4, 1], [6, 2, 2])).toEqual([4, 2, 1]);
    // Channels-last images: H and W merge, C and H do not.
    const s = channelsLastStrides([2, 3, 4, 5]);
    expect(viewStrides([2, 3, 4, 5], s, [2, 3, 20])).toEqual([60, 1, 3]);
    expect(viewStrides([2, 3, 4, 5], s, [2, 12, 5])).toBe(null);
    // If it merges at most one dim, it can be split again.
    expect(viewStrides([4, 3], [1, 4], [2, 2, 3])).toEqual([2, 1, 4]);
  });
});

describe('layouts', () => {
  it('isDense holds for every order of the dims and for no gap', () => {
    fc.assert(
      fc.property(layout, ({ shape, strides }) => {
        const at = places(shape, strides);
        const dense = new Set(at).size === at.length && Math.max(-1, ...at) === at.length - 1;
        expect(isDense(shape, strides)).toBe(dense);
        expect(isRowMajor(shape, strides)).toBe(at.every((p, i) => p === i));
      }),
      { numRuns: 2000, seed: 20261124 },
    );
  });

  it('memoryOrder restores the strides of every dense layout', () => {
    fc.assert(
      fc.property(layout, ({ shape, dims }) => {
        const strides = stridesInOrder(shape, dims);
        const again = stridesInOrder(shape, memoryOrder(shape, strides));
        shape.forEach((n, d) => {
          if (n > 1 && !shape.includes(0)) expect(again[d]).toBe(strides[d]);
        });
      }),
      { numRuns: 2000, seed: 20261124 },
    );
  });

  it('keeps size-1 dims in place, so that [N,C,1,1] is the same in every order', () => {
    expect(memoryOrder([2, 3, 1, 1], channelsLastStrides([2, 3, 1, 1]))).toEqual([0, 1, 2, 3]);
    expect(isRowMajor([2, 3, 1, 1], channelsLastStrides([2, 3, 1, 1]))).toBe(true);
    expect(rowMajorStrides([2, 3, 1, 1])).toEqual([3, 1, 1, 1]);
  });
});

describe('broadcastShapes', () => {
  it('follows NumPy, zero sizes included', () => {
    expect(broadcastShapes('op', [3, 1], [2])).toEqual([3, 2]);
    expect(broadcastShapes('op', [], [0, 1], [4])).toEqual([0, 4]);
    expect(() => broadcastShapes('op', [0], [2])).toThrow('op: shapes [0] and [2] do not broadcast (0 against 2)');
  });
});

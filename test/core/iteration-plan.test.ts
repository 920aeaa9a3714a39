import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { planIteration, type Plan } from '../../src/core/iteration-plan.ts';
import { broadcastStrides, channelsLastStrides, rowMajorStrides, stridesInOrder } from '../../src/core/shape.ts';

/** The positions that a plan visits: for each element, one position per operand. */
function visits({ sizes, strides }: Plan): number[][] {
  let out: number[][] = [strides.map(() => 0)];
  sizes.forEach((n, d) => {
    out = out.flatMap((at) => Array.from({ length: n }, (_, i) => at.map((p, k) => p + i * strides[k]![d]!)));
  });
  return out;
}

const nhwc = [2, 16, 4, 5];

describe('planIteration', () => {
  test('row-major operands become one loop', () => {
    const s = rowMajorStrides([2, 3, 4]);
    expect(planIteration([2, 3, 4], [s, s, s])).toEqual({ sizes: [24], strides: [[1], [1], [1]] });
  });

  test('a single element broadcast over everything has stride 0', () => {
    expect(
      planIteration(
        [2, 3],
        [
          [3, 1],
          [0, 0],
        ],
      ),
    ).toEqual({ sizes: [6], strides: [[1], [0]] });
  });

  test('0-d and size-1 shapes are one step for all strides', () => {
    expect(planIteration([], [[], []])).toEqual({ sizes: [1], strides: [[1], [1]] });
    expect(
      planIteration(
        [1, 1],
        [
          [7, 3],
          [0, 0],
        ],
      ),
    ).toEqual({ sizes: [1], strides: [[1], [1]] });
  });

  test('an empty shape has no elements', () => {
    expect(visits(planIteration([3, 0], [rowMajorStrides([3, 0])]))).toEqual([]);
    expect(
      visits(
        planIteration(
          [0, 3],
          [
            [1, 7],
            [0, 2],
          ],
        ),
      ),
    ).toEqual([]);
  });

  test('channels-last operands of one layout become one loop', () => {
    const s = channelsLastStrides(nhwc);
    expect(planIteration(nhwc, [s, s])).toEqual({ sizes: [640], strides: [[1], [1]] });
  });

  test('a vector per channel over channels-last images is a run of C inside one loop of N·H·W', () => {
    const s = channelsLastStrides(nhwc);
    const vector = broadcastStrides([1, 16, 1, 1], [16, 1, 1, 1], nhwc);
    expect(planIteration(nhwc, [s, s, vector])).toEqual({
      sizes: [40, 16],
      strides: [
        [16, 1],
        [16, 1],
        [0, 1],
      ],
    });
  });

  test('row-major to channels-last merges H and W', () => {
    expect(planIteration(nhwc, [channelsLastStrides(nhwc), rowMajorStrides(nhwc)])).toEqual({
      sizes: [2, 20, 16],
      strides: [
        [320, 16, 1],
        [320, 1, 20],
      ],
    });
  });

  test('the first operand decides the order; later ones break ties', () => {
    expect(
      planIteration(
        [2, 3, 4],
        [
          [0, 1, 0],
          [1, 2, 8],
        ],
      ),
    ).toEqual({
      sizes: [3, 4, 2],
      strides: [
        [1, 0, 0],
        [2, 8, 1],
      ],
    });
  });

  test('every element is visited once and operands stay together', () => {
    const operands = fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 5 }).chain((shape) => {
      const dims = shape.map((_, d) => d);
      const strides = fc
        .tuple(
          fc.shuffledSubarray(dims, { minLength: dims.length }),
          fc.array(fc.boolean(), { minLength: 5, maxLength: 5 }),
          fc.integer({ min: 1, max: 2 }),
        )
        .map(([order, broadcast, step]) => stridesInOrder(shape, order).map((s, d) => (broadcast[d] ? 0 : s * step)));
      return fc.tuple(fc.constant(shape), fc.array(strides, { minLength: 1, maxLength: 4 }));
    });
    fc.assert(
      fc.property(operands, ([shape, strides]) => {
        const key = (at: number[]) => at.join();
        const want = visits({ sizes: shape, strides }).map(key).sort();
        expect(visits(planIteration(shape, strides)).map(key).sort()).toEqual(want);
      }),
      { seed: 1, numRuns: 300 },
    );
  });
});

import { tensor } from 'chainrule';
import { type Exercise, Wrong, exercise, expect, expectNumbers, expectTensor, format } from '../../support/exercise.ts';
import type * as Mul from '../exercises/mul.ts';
import type * as Shape from '../exercises/shape.ts';
import type * as SumTo from '../exercises/sum-to.ts';

/** The shape a + b would have if shapes were aligned at their first dims. */
function alignedLeft(a: readonly number[], b: readonly number[]): number[] {
  return Array.from({ length: Math.max(a.length, b.length) }, (_, i) => Math.max(a[i] ?? 1, b[i] ?? 1));
}

function checkShape({ broadcastShape }: typeof Shape): void {
  const cases: readonly (readonly [number[], number[], number[]])[] = [
    [
      [2, 3],
      [2, 3],
      [2, 3],
    ],
    [[2, 3], [3], [2, 3]],
    [[3], [2, 3], [2, 3]],
    [[2, 1], [3], [2, 3]],
    [
      [4, 1, 3],
      [2, 1],
      [4, 2, 3],
    ],
    [[], [2, 3], [2, 3]],
    [[1], [0], [0]],
  ];
  for (const [a, b, want] of cases) {
    const what = `broadcastShape(${format(a)}, ${format(b)})`;
    let got: unknown;
    try {
      got = broadcastShape(a, b);
    } catch (error) {
      if (!(error instanceof Error) || error.constructor !== Error) throw error;
      throw new Wrong(`${what} throws "${error.message}", expected ${format(want)}. Align the shapes at their last dims`);
    }
    expectNumbers(what, got, want, {
      'A size of 1 stands for any size, also for 0': [1],
      'The shapes are aligned at their first dims. Align them at their last': alignedLeft(a, b),
    });
  }
  for (const [a, b] of [
    [[2], [3]],
    [
      [2, 3],
      [2, 1, 2],
    ],
    [[0], [2]],
  ] as const) {
    let got: number[];
    try {
      got = broadcastShape(a, b);
    } catch {
      continue;
    }
    throw new Wrong(`broadcastShape(${format(a)}, ${format(b)}) returns ${format(got)}, and must throw: only a size of 1 is repeated`);
  }
}

function checkSumTo({ sumTo }: typeof SumTo): void {
  const g = tensor([
    [1, 2, 3],
    [4, 5, 6],
  ]);
  const cases: readonly (readonly [number[], unknown[]])[] = [
    [[3], [5, 7, 9]],
    [
      [2, 1],
      [[6], [15]],
    ],
    [[1, 3], [[5, 7, 9]]],
    [[1], [21]],
    [[1, 1], [[21]]],
    [
      [2, 3],
      [
        [1, 2, 3],
        [4, 5, 6],
      ],
    ],
  ];
  for (const [shape, want] of cases) {
    const wanted = tensor(want as number[], {});
    expectTensor(`g [[1,2,3],[4,5,6]]: sumTo(g, ${format(shape)})`, sumTo(g, shape), wanted, {
      'The shape is that of g: nothing was summed': g,
      'This is the mean. Each copy contributes in full, so the gradients are added': wanted.div(6 / wanted.numel),
      'The numbers are right. Dims of size 1 must stay: reshape the result to the given shape': wanted.flatten().squeeze(),
    });
  }
  expectTensor('g [[1,2,3],[4,5,6]]: sumTo(g, [])', sumTo(g, []), tensor(21), { 'Nothing was summed': g });
  const square = tensor([
    [1, 2],
    [3, 4],
  ]);
  expectTensor('g [[1,2],[3,4]]: sumTo(g, [2])', sumTo(square, [2]), tensor([4, 6]), {
    'The sum runs over the last dim. Broadcasting [2] to [2,2] adds a first dim': tensor([3, 7]),
  });
  const middle = tensor([[[1, 2]], [[3, 4]]]);
  expectTensor('g [[[1,2]],[[3,4]]] of shape [2,1,2]: sumTo(g, [1,1])', sumTo(middle, [1, 1]), tensor([[10]]));
}

function checkMul({ mulBackward }: typeof Mul): void {
  const g = tensor([
    [1, 0, 2],
    [3, 1, 1],
  ]);
  const a = tensor([
    [1, 2, 3],
    [4, 5, 6],
  ]);
  const b = tensor([10, 20, 30]);
  const both = (title: string, got: unknown): [unknown, unknown] => {
    expect(Array.isArray(got) && got.length === 2, `${title}: mulBackward must return the gradients of a and of b as an array`);
    return got as [unknown, unknown];
  };
  const [da, db] = both('a [2,3], b [3]', mulBackward(g, a, b));
  expectTensor('a [2,3], b [3]: the gradient of a', da, g.mul(b), { 'The derivative of a·b by a is b': g.mul(a) });
  expectTensor('a [2,3], b [3]: the gradient of b', db, tensor([13, 5, 12]), {
    'The broadcast sum is missing: b was read once for each row': g.mul(a),
    'The sum comes too late: multiply g and a element by element, and sum the products': tensor([4 * 5, 7, 3 * 9]),
    'This is the mean over the rows, and must be the sum': tensor([6.5, 2.5, 6]),
  });
  const column = tensor([[2], [3]]);
  const [dc, dr] = both('a [2,1], b [3]', mulBackward(g, column, b));
  expectTensor('a [2,1], b [3]: the gradient of a', dc, tensor([[70], [80]]), {
    'The broadcast sum is missing: a was read once for each column': g.mul(b),
  });
  expectTensor('a [2,1], b [3]: the gradient of b', dr, tensor([11, 3, 7]));
}

export const exercises: readonly Exercise[] = [
  exercise<typeof Shape>({
    title: 'The shape of a broadcast result',
    file: 'shape',
    functions: ['broadcastShape'],
    hint: 'Write the shapes below each other, flush right, and fill the gaps on the left with 1.',
    check: checkShape,
  }),
  exercise<typeof SumTo>({
    title: 'The broadcast sum',
    file: 'sum-to',
    functions: ['sumTo'],
    hint: 'Collect the dims to sum, call g.sum(dims), and reshape the result.',
    check: checkSumTo,
  }),
  exercise<typeof Mul>({
    title: 'The gradients of a product that broadcasts',
    file: 'mul',
    functions: ['mulBackward'],
    hint: 'g.mul(b) broadcasts b again. Apply sumTo to the product.',
    check: checkMul,
  }),
];

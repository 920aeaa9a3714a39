/**
 * Mutation test of the gradient table: ten typical mistakes in gradients, each caught by the same properties that the table asserts.
 * The right operation passes them.
 */
import type fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  amax,
  batchNormOp,
  conv2d,
  defineOp,
  manualSeed,
  pad,
  randn,
  tensor,
  vjp,
  where,
  type Operand,
  type Tensor,
} from '../../src/autograd/index.ts';
import { GradcheckError } from '../../src/core/errors.ts';
import type { Shape } from '../../src/core/shape.ts';
import { gradcheck, type CheckedFunction } from '../../src/inspect/index.ts';
import type { ConvParams } from '../../src/kernels/index.ts';
import { FIRST_ORDER_CASES, firstOrder, holds, sharesTies, type Line } from '../support/properties.ts';
import { batchNormLine, binary, convLine, matmulLine, reduction, unary, whereLine } from '../support/lines.ts';

/** Expects the property to fail because of a gradient, not because of an error in the test itself. */
function fails<T>(property: fc.IProperty<T>): void {
  let error: unknown = null;
  try {
    // No shrinking: only the failure matters, and the smallest case would take long to find.
    holds(property, Math.max(FIRST_ORDER_CASES, 200), { shrink: false });
  } catch (e) {
    error = e;
  }
  expect(error).toBeInstanceOf(Error);
  const { cause } = error as Error;
  expect(cause instanceof GradcheckError || /got the gradients/.test(String(cause)), String(cause)).toBe(true);
}

/** A wrong gradient, and gradcheck's diagnosis. */
interface Mutant<F> {
  /** The operation, right or wrong. */
  readonly op: (wrong: boolean) => F;
  readonly line: (op: F) => Line;
  /** A small case. */
  readonly at: (op: F) => [CheckedFunction, number[][]];
  readonly looks: string;
}

/** Tests that the table's line passes for the right operation and fails for the wrong one, and the diagnosis of a small case. */
function caught<F>(name: string, { op, line, at, looks }: Mutant<F>): void {
  test(name, () => {
    holds(firstOrder(line(op(false))), FIRST_ORDER_CASES);
    fails(firstOrder(line(op(true))));
    for (const wrong of [false, true]) {
      const [fn, shapes] = at(op(wrong));
      manualSeed(3);
      const inputs = shapes.map((s) => randn(s, { dtype: 'float64', requiresGrad: true }));
      const { ok, diagnosis } = gradcheck(fn, inputs, { raise: false });
      expect({ ok, diagnosis }).toEqual({ ok: !wrong, diagnosis: wrong ? [looks] : [] });
    }
  });
}

const asTensor = (x: Operand): Tensor => (typeof x === 'number' ? tensor(x, { dtype: 'float64' }) : x);

/** An operation on two tensors, either of which may be a number. */
const withNumbers =
  (op: (a: Tensor, b: Tensor) => Tensor) =>
  (a: Operand, b: Operand): Tensor =>
    op(asTensor(a), asTensor(b));

/** Takes the first element instead of the sum over the dims along which `shape` was broadcast. */
function cut(g: Tensor, shape: Shape): Tensor {
  let y = g;
  while (y.ndim > shape.length) y = firstOf(y, 0).squeeze(0);
  shape.forEach((n, d) => {
    if (n === 1 && y.shape[d] !== 1) y = firstOf(y, d);
  });
  return y;
}

/** Without elements, the first equals the sum. */
const firstOf = (g: Tensor, d: number): Tensor => (g.shape[d] === 0 ? g.sum(d, { keepdim: true }) : g.slice(d, 0, 1));

describe('each is caught', () => {
  caught('missing broadcast sum', {
    op: (wrong) =>
      withNumbers(
        defineOp({
          name: 'mul',
          broadcasts: !wrong,
          forward: (_, a: Tensor, b: Tensor) => a.mul(b),
          save: (_, [a, b]) => ({ a, b }),
          backward: (g, { a, b }) => (wrong ? [cut(g.mul(b), a.shape), cut(g.mul(a), b.shape)] : [g.mul(b), g.mul(a)]),
        }),
      ),
    line: (op) => binary('mul', op),
    at: (op) => [op, [[2, 3], [3]]],
    looks: 'input 1: broadcast to [2,3], and only the first of what belongs together arrives: the sum over dims [0] is missing',
  });

  // Only square matrices hide the mistake from the shape checks.
  const square = (t: Tensor): boolean => t.ndim === 2 && t.shape[0] === t.shape[1];
  caught('transposed matmul', {
    op: (wrong) =>
      defineOp({
        name: 'matmul',
        forward: (_, a: Tensor, b: Tensor) => a.matmul(b),
        save: (_, [a, b]) => ({ a, b }),
        backward: (g, { a, b }) => [g.matmul(wrong ? b : b.transpose(0, 1)), a.transpose(0, 1).matmul(g)],
      }),
    line: (op) => matmulLine('matmul', (a, b) => (square(a) && square(b) ? op(a, b) : a.matmul(b))),
    at: (op) => [
      op,
      [
        [2, 3],
        [3, 3],
      ],
    ],
    looks: 'input 0: the gradient that would be right if input 1 were transposed: a transpose is missing, or one too much',
  });

  caught('factor 2', {
    op: (wrong) =>
      defineOp({
        name: 'square',
        forward: (_, x: Tensor) => x.square(),
        save: (_, [x]) => ({ x }),
        backward: (g, { x }) => [g.mul(x).mul(wrong ? 1 : 2)],
      }),
    line: (op) => unary('square', op),
    at: (op) => [op, [[2, 3]]],
    looks: 'input 0: the gradient is 0.5 times the right one: a factor 2 is missing',
  });

  caught('sign', {
    op: (wrong) =>
      withNumbers(
        defineOp({
          name: 'sub',
          broadcasts: true,
          forward: (_, a: Tensor, b: Tensor) => a.sub(b),
          backward: (g) => [g, wrong ? g : g.neg()],
        }),
      ),
    line: (op) => binary('sub', op),
    at: (op) => [op, [[2, 3], [3]]],
    looks: 'input 1: the sign is wrong',
  });

  caught('missing 1/N', {
    op: (wrong) =>
      defineOp({
        name: 'mean',
        forward: (_, x: Tensor) => x.mean(),
        save: (_, [x]) => ({ shape: x.shape, n: x.numel }),
        backward: (g, { shape, n }) => [g.div(wrong ? 1 : n).expand(shape)],
      }),
    line: (op) => reduction('mean', (x, dim, options) => (dim === undefined ? op(x) : x.mean(dim, options)), { nonEmpty: true }),
    at: (op) => [op, [[2, 3]]],
    looks: 'input 0: the gradient is 6 times the right one: a division by 6, its number of elements [2,3], is missing',
  });

  caught('batch norm without its mean term', {
    op: (wrong) =>
      defineOp({
        name: 'batchNorm',
        forward: (_, x: Tensor, w: Tensor | null, b: Tensor | null, eps: number) => batchNormOp(x, w, b, eps)[0]!,
        save: (_, [x, w, , eps]) => ({ x, w, eps }),
        backward: (g, { x, w, eps }, needs) => {
          const dims = x.shape.map((_, d) => d).filter((d) => d !== 1);
          const frame = x.shape.map((n, d) => (d === 1 ? n : 1));
          const mean = (t: Tensor): Tensor => t.mean(dims, { keepdim: true });
          const centred = x.sub(mean(x));
          const invstd = mean(centred.square()).add(eps).pow(-0.5);
          const normal = centred.mul(invstd);
          const inner = (wrong ? g : g.sub(mean(g))).sub(normal.mul(mean(g.mul(normal))));
          const dx = inner.mul(invstd).mul(w === null ? 1 : w.reshape(frame));
          return [dx, needs[1] ? g.mul(normal).sum(dims) : null, needs[2] ? g.sum(dims) : null];
        },
      }),
    line: (op) => batchNormLine('batchNorm', op),
    at: (op) => [(x, w, b) => op(x, w, b, 0.1), [[3, 2, 2], [2], [2]]],
    looks: 'input 0: off by an amount that is constant along dims [0,2]: a path through a sum or mean over them is missing or wrong',
  });

  caught('stride 2 input gradient shifted by one', {
    op: (wrong) =>
      defineOp({
        name: 'conv2d',
        forward: (_, x: Tensor, w: Tensor, p: ConvParams) => conv2d(x, w, null, p),
        save: (_, [x, w, p]) => ({ x, w, p }),
        backward: (g, { x, w, p }) => {
          const [, [dx, dw]] = vjp((a, b) => conv2d(a, b, null, p), [x, w], g);
          return [wrong && p.stride[1] === 2 ? pad(dx.slice(3, 0, -1), [1, 0]) : dx, dw];
        },
      }),
    line: (op) => convLine('conv2d', op),
    at: (op) => [
      (x, w) => op(x, w, { stride: [2, 2], padding: [1, 1], dilation: [1, 1], groups: 1 }),
      [
        [1, 2, 5, 5],
        [1, 2, 3, 3],
      ],
    ],
    looks: 'input 0: the right values shifted by 1 along dim 3',
  });

  const scales = (x: Tensor, w1: Tensor, w2: Tensor): Tensor =>
    x.mean([2, 3]).matmul(w1.transpose(0, 1)).relu().matmul(w2.transpose(0, 1)).sigmoid().unsqueeze(2).unsqueeze(3);
  const se = (x: Tensor, w1: Tensor, w2: Tensor): Tensor => x.mul(scales(x, w1, w2));
  caught('SE without the path through the squeeze', {
    op: (wrong) =>
      defineOp({
        name: 'squeezeExcite',
        forward: (_, x: Tensor, w1: Tensor, w2: Tensor) => se(x, w1, w2),
        save: (_, [x, w1, w2]) => ({ x, w1, w2 }),
        backward: (g, { x, w1, w2 }) => {
          const [, [dx, dw1, dw2]] = vjp(se, [x, w1, w2], g);
          return [wrong ? g.mul(scales(x, w1, w2)) : dx, dw1, dw2];
        },
      }),
    line: (op) => ({
      name: 'squeezeExcite',
      draw: (d) => {
        const [n, c, hidden] = [d.int(1, 2), d.int(1, 3), d.int(1, 2)];
        const shapes = [
          [n, c, d.int(1, 2), d.int(1, 2)],
          [hidden, c],
          [c, hidden],
        ];
        return { fn: (x, w1, w2) => op(x, w1, w2), inputs: shapes.map((s) => d.input(s)) };
      },
    }),
    at: (op) => [
      op,
      [
        [2, 3, 2, 2],
        [2, 3],
        [3, 2],
      ],
    ],
    looks: 'input 0: off by an amount that is constant along dims [2,3]: a path through a sum or mean over them is missing or wrong',
  });

  const mask = (): Tensor => tensor([[true], [false]]);
  caught('where with its branches exchanged', {
    op: (wrong) =>
      defineOp({
        name: 'where',
        broadcasts: true,
        forward: (_, c: Tensor, a: Tensor, b: Tensor) => where(c, a, b),
        save: (_, [c]) => ({ c }),
        backward: (g, { c }) => (wrong ? [null, where(c, 0, g), where(c, g, 0)] : [null, where(c, g, 0), where(c, 0, g)]),
      }),
    line: (op) => whereLine('where', (c, a, b) => withNumbers((x, y) => op(c, x, y))(a, b)),
    at: (op) => [
      (a, b) => op(mask(), a, b),
      [
        [2, 3],
        [2, 3],
      ],
    ],
    looks: 'input 0 and input 1: their gradients are exchanged',
  });

  // At a tie, central differences meet a kink and the point moves away. Only the direction in which all elements move alike has none.
  test('max tie', () => {
    const everyTieWins = defineOp({
      name: 'amax',
      forward: (_, x: Tensor) => x.amax(),
      save: (_, [x], [y]) => ({ x, y }),
      backward: (g, { x, y }) => [x.eq(y).to(x.dtype).mul(g)],
      branch: ([x], [y]) => x.eq(y),
    });
    holds(
      sharesTies((x) => amax(x)),
      FIRST_ORDER_CASES,
    );
    fails(sharesTies(everyTieWins));
    const tied = tensor([2, 1, 2, 2], { dtype: 'float64', requiresGrad: true });
    expect(gradcheck((x) => x.amax(), tied)).toMatchObject({ ok: true, diagnosis: [] });
    expect(gradcheck((x) => everyTieWins(x), tied, { raise: false })).toMatchObject({
      ok: false,
      failures: [],
      diagnosis: ['input 0: at a tie each of 3 equal elements gets the whole gradient; they must share it, or one take it'],
    });
  });
});

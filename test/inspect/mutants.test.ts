/**
 * Ten wrong gradients, the mistakes that people make, each caught by the very properties that the gradient table asserts,
 * which its right twin passes: the test that those tests work.
 */
import type fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { amax, batchNormOp, convolve, defineOp, pad, tensor, vjp, where, type Operand, type Tensor } from '../../src/autograd/index.ts';
import { GradcheckError } from '../../src/core/errors.ts';
import type { Shape } from '../../src/core/shape.ts';
import type { ConvParams } from '../../src/kernels/index.ts';
import { FIRST_ORDER_CASES, firstOrder, holds, sharesTies, type Line } from '../support/properties.ts';
import { batchNormLine, binary, convLine, matmulLine, reduction, unary, whereLine } from '../support/lines.ts';

/** Expects the property to fail because of a gradient, not because the test itself is broken. */
function fails<T>(property: fc.IProperty<T>): void {
  let error: unknown = null;
  try {
    // That it fails is all there is to know: the smallest case would take long to find.
    holds(property, Math.max(FIRST_ORDER_CASES, 200), { shrink: false });
  } catch (e) {
    error = e;
  }
  expect(error).toBeInstanceOf(Error);
  const { cause } = error as Error;
  expect(cause instanceof GradcheckError || /got the gradients/.test(String(cause)), String(cause)).toBe(true);
}

/** A line made with the right operation passes, and with the wrong one fails. */
function caught(name: string, line: (wrong: boolean) => Line): void {
  test(name, () => {
    holds(firstOrder(line(false)), FIRST_ORDER_CASES);
    fails(firstOrder(line(true)));
  });
}

const asTensor = (x: Operand): Tensor => (typeof x === 'number' ? tensor(x, { dtype: 'float64' }) : x);

/** An operation on two tensors, either of which may be a number. */
const withNumbers =
  (op: (a: Tensor, b: Tensor) => Tensor) =>
  (a: Operand, b: Operand): Tensor =>
    op(asTensor(a), asTensor(b));

/** The first of what should be summed over the dims along which `shape` was broadcast. */
function cut(g: Tensor, shape: Shape): Tensor {
  let y = g;
  while (y.ndim > shape.length) y = firstOf(y, 0).squeeze(0);
  shape.forEach((n, d) => {
    if (n === 1 && y.shape[d] !== 1) y = firstOf(y, d);
  });
  return y;
}

/** Of nothing the first is the sum. */
const firstOf = (g: Tensor, d: number): Tensor => (g.shape[d] === 0 ? g.sum(d, { keepdim: true }) : g.slice(d, 0, 1));

describe('each is caught', () => {
  caught('missing broadcast sum', (wrong) => {
    const op = defineOp({
      name: 'mul',
      broadcasts: !wrong,
      forward: (_, a: Tensor, b: Tensor) => a.mul(b),
      save: (_, a, b) => ({ a, b }),
      backward: (g, { a, b }) => (wrong ? [cut(g.mul(b), a.shape), cut(g.mul(a), b.shape)] : [g.mul(b), g.mul(a)]),
    });
    return binary('mul', withNumbers(op));
  });

  caught('transposed matmul', (wrong) => {
    const op = defineOp({
      name: 'matmul',
      forward: (_, a: Tensor, b: Tensor) => a.matmul(b),
      save: (_, a, b) => ({ a, b }),
      backward: (g, { a, b }) => [g.matmul(wrong ? b : b.transpose(0, 1)), a.transpose(0, 1).matmul(g)],
    });
    // Only square matrices hide the mistake from the shape checks.
    const square = (t: Tensor): boolean => t.ndim === 2 && t.shape[0] === t.shape[1];
    return matmulLine('matmul', (a, b) => (square(a) && square(b) ? op(a, b) : a.matmul(b)));
  });

  caught('factor 2', (wrong) => {
    const op = defineOp({
      name: 'square',
      forward: (_, x: Tensor) => x.square(),
      save: (_, x) => ({ x }),
      backward: (g, { x }) => [g.mul(x).mul(wrong ? 1 : 2)],
    });
    return unary('square', op);
  });

  caught('sign', (wrong) => {
    const op = defineOp({
      name: 'sub',
      broadcasts: true,
      forward: (_, a: Tensor, b: Tensor) => a.sub(b),
      backward: (g) => [g, wrong ? g : g.neg()],
    });
    return binary('sub', withNumbers(op));
  });

  caught('missing 1/N', (wrong) => {
    const op = defineOp({
      name: 'mean',
      forward: (_, x: Tensor) => x.mean(),
      save: (_, x) => ({ shape: x.shape, n: x.numel }),
      backward: (g, { shape, n }) => [g.div(wrong ? 1 : n).expand(shape)],
    });
    return reduction('mean', (x, dim, options) => (dim === undefined ? op(x) : x.mean(dim, options)), { nonEmpty: true });
  });

  caught('batch norm without its mean term', (wrong) => {
    const op = defineOp({
      name: 'batchNorm',
      forward: (_, x: Tensor, w: Tensor | null, b: Tensor | null, eps: number) => batchNormOp(x, w, b, eps)[0]!,
      save: (_, x, w, __, eps) => ({ x, w, eps }),
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
    });
    return batchNormLine('batchNorm', op);
  });

  caught('stride 2 input gradient shifted by one', (wrong) => {
    const op = defineOp({
      name: 'conv2d',
      forward: (_, x: Tensor, w: Tensor, p: ConvParams) => convolve(x, w, p),
      save: (_, x, w, p) => ({ x, w, p }),
      backward: (g, { x, w, p }) => {
        const [, [dx, dw]] = vjp((a, b) => convolve(a, b, p), [x, w], g);
        return [wrong && p.stride[1] === 2 ? pad(dx.slice(3, 0, -1), [1, 0]) : dx, dw];
      },
    });
    return convLine('conv2d', op);
  });

  caught('SE without the path through the squeeze', (wrong) => {
    const scales = (x: Tensor, w1: Tensor, w2: Tensor): Tensor =>
      x.mean([2, 3]).matmul(w1.transpose(0, 1)).relu().matmul(w2.transpose(0, 1)).sigmoid().unsqueeze(2).unsqueeze(3);
    const se = (x: Tensor, w1: Tensor, w2: Tensor): Tensor => x.mul(scales(x, w1, w2));
    const op = defineOp({
      name: 'squeezeExcite',
      forward: (_, x: Tensor, w1: Tensor, w2: Tensor) => se(x, w1, w2),
      save: (_, x, w1, w2) => ({ x, w1, w2 }),
      backward: (g, { x, w1, w2 }) => {
        const [, [dx, dw1, dw2]] = vjp(se, [x, w1, w2], g);
        return [wrong ? g.mul(scales(x, w1, w2)) : dx, dw1, dw2];
      },
    });
    return {
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
    };
  });

  caught('where with its branches exchanged', (wrong) => {
    const op = defineOp({
      name: 'where',
      broadcasts: true,
      forward: (_, c: Tensor, a: Tensor, b: Tensor) => where(c, a, b),
      save: (_, c) => ({ c }),
      backward: (g, { c }) => (wrong ? [null, where(c, 0, g), where(c, g, 0)] : [null, where(c, g, 0), where(c, 0, g)]),
    });
    return whereLine('where', (c, a, b) => withNumbers((x, y) => op(c, x, y))(a, b));
  });

  // Finite differences see a kink at a tie and move away: it takes a property of its own.
  test('max tie', () => {
    const everyTieWins = defineOp({
      name: 'amax',
      forward: (_, x: Tensor) => x.amax(),
      save: (_, x, y) => ({ x, y }),
      backward: (g, { x, y }) => [x.eq(y).to(x.dtype).mul(g)],
      branch: (x, y) => x.eq(y),
    });
    holds(
      sharesTies((x) => amax(x)),
      FIRST_ORDER_CASES,
    );
    fails(sharesTies(everyTieWins));
  });
});

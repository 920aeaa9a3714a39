/**
 * Makers of the gradient table's lines. There is one for each kind of operation; it draws shapes, values, layouts and options.
 */
import type * as ag from '../../src/autograd/index.ts';
import { tensor, type Tensor } from '../../src/autograd/index.ts';
import { normalizeDims, type Shape } from '../../src/core/shape.ts';
import type { ConvParams } from '../../src/kernels/index.ts';
import * as F from '../../src/nn/functional.ts';
import { convolutions } from '../../src/testing/index.ts';
import { NO_TIES, type Case, type Domain, type Draw, type InputOptions } from './arbitraries.ts';
import type { Line } from './properties.ts';

type Unary = (x: Tensor) => Tensor;
type Binary = (a: Tensor, b: Tensor) => Tensor;

/** y = f(x), any shape. */
export function unary(name: string, f: Unary, domain: Domain = 'real', extra: Partial<Line> = {}): Line {
  return { name, draw: (d) => ({ fn: f, inputs: [d.input(d.shape(), { domain })] }), ...extra };
}

/** y = f(x, option), any shape. */
export function activation<O>(name: string, f: (x: Tensor, option: O) => Tensor, options: readonly O[]): Line {
  return {
    name,
    draw: (d) => {
      const option = d.pick(options);
      return { fn: (x) => f(x, option), inputs: [d.input(d.shape())] };
    },
  };
}

/** y = f(a, b), broadcasting; sometimes a number takes the place of an operand. */
export function binary(
  name: string,
  f: (a: ag.Operand, b: ag.Operand) => Tensor,
  domainA: Domain = 'real',
  domainB: Domain = domainA,
): Line {
  return {
    name,
    draw: (d) => {
      const [sa, sb] = d.broadcastShapes(2) as [number[], number[]];
      const [a, b] = [d.input(sa, { domain: domainA }), d.input(sb, { domain: domainB })];
      switch (d.int(0, 7)) {
        case 0:
          return { fn: (x) => f(x, 1.5), inputs: [a] };
        case 1:
          return { fn: (x) => f(2.5, x), inputs: [b] };
        case 2:
          return { fn: (x) => f(x, x), inputs: [d.input(sa, { domain: domainA === 'positive' ? domainA : domainB })] };
        default:
          return { fn: f as Binary, inputs: [a, b] };
      }
    },
  };
}

/** x under another shape or order of elements; the arguments depend on x's shape. */
export function movement(
  name: string,
  pickArgs: (d: Draw, shape: number[]) => Unary,
  extra: Partial<Line> & { minRank?: number; minSize?: number } = {},
): Line {
  const { minRank = 0, minSize = 0, ...line } = extra;
  return {
    name,
    draw: (d) => {
      const shape = d.shape({ minRank, minSize });
      return { fn: pickArgs(d, shape), inputs: [d.input(shape)] };
    },
    ...line,
  };
}

/** where: a condition of its own shape, one that depends on x, or a number in place of an operand. */
export function whereLine(name: string, f: (c: Tensor, a: ag.Operand, b: ag.Operand) => Tensor): Line {
  return {
    name,
    draw: (d) => {
      const [sc, sa, sb] = d.broadcastShapes(3) as [number[], number[], number[]];
      const condition = constants(d, d.ints(product(sc), 0, 1), sc, 'bool');
      return d.pick<Case>([
        { fn: (a, b) => f(condition(), a, b), inputs: [d.input(sa), d.input(sb)] },
        { fn: (a) => f(condition(), a, 2), inputs: [d.input(sa)] },
        { fn: (a) => f(a.gt(0.5), a.square(), a), inputs: [d.input(sa)] },
      ]);
    },
  };
}

interface ReductionOptions extends InputOptions {
  /** Whether each result must come from at least one element. Default false. */
  readonly nonEmpty?: boolean;
}

export function reduction(
  name: string,
  f: (x: Tensor, dim: ag.Dims | undefined, options: ag.ReduceOptions) => Tensor,
  { nonEmpty = false, ...input }: ReductionOptions = {},
): Line {
  return {
    name,
    draw: (d) => {
      const drawn = d.shape();
      const dims = d.dims(drawn.length);
      const reduced = normalizeDims(name, dims, drawn.length);
      const shape = drawn.map((n, i) => (nonEmpty && reduced.includes(i) ? Math.max(n, 1) : n));
      const keepdim = d.bool();
      return { fn: (x) => f(x, dims, { keepdim }), inputs: [d.input(shape, input)] };
    },
  };
}

/** var and std: each result comes from several elements, so that it is not 0/0. */
export function spread(name: string, f: (x: Tensor, dim: ag.Dims | undefined, options: ag.VarOptions) => Tensor): Line {
  return {
    name,
    draw: (d) => {
      const shape = [d.int(2, 4), ...d.shape({ maxRank: 2, minSize: 1 })];
      const dims = d.pick([undefined, 0, shape.map((_, i) => i)]);
      const options = { keepdim: d.bool(), correction: d.pick([0, 1, 1]) };
      return { fn: (x) => f(x, dims, options), inputs: [d.input(shape, { domain: 'distinct', layouts: NO_TIES })] };
    },
  };
}

export function alongDim(name: string, f: (x: Tensor, dim: number) => Tensor): Line {
  return {
    name,
    draw: (d) => {
      const shape = d.shape();
      const dim = shape.length === 0 ? d.pick([0, -1]) : d.int(-shape.length, shape.length - 1);
      return { fn: (x) => f(x, dim), inputs: [d.input(shape)] };
    },
  };
}

/** max or min along a dim, of distinct values: at a tie only one of them would get the gradient. */
export function extremeAlong(name: string, f: (x: Tensor, dim: number, options: ag.ReduceOptions) => [Tensor, Tensor]): Line {
  return {
    name,
    draw: (d) => {
      const shape = d.shape({ minSize: 1 });
      const dim = shape.length === 0 ? d.pick([0, -1]) : d.int(-shape.length, shape.length - 1);
      const keepdim = d.bool();
      return { fn: (x) => f(x, dim, { keepdim })[0], inputs: [d.input(shape, { domain: 'distinct', layouts: NO_TIES })] };
    },
  };
}

/** Functions that split a tensor along a dim of n ≥ `least` elements into several. */
export function parts(name: string, pick: (d: Draw, n: number) => (x: Tensor, dim: number) => Tensor[], least = 0): Line {
  return {
    name,
    draw: (d) => {
      const shape = d.shape({ minRank: 1, minSize: least });
      const dim = d.int(-shape.length, shape.length - 1);
      const f = pick(d, shape.at(dim)!);
      return { fn: (x) => f(x, dim), inputs: [d.input(shape)] };
    },
  };
}

/** Returns a function that makes an int32 or bool tensor, either contiguous or with gaps between the elements. */
export function constants(d: Draw, values: readonly number[], shape: Shape, dtype: 'int32' | 'bool' = 'int32'): () => Tensor {
  if (d.bool()) return () => tensor(values, { shape, dtype });
  const spread = values.flatMap((v) => [v, 1]);
  return () => tensor(spread, { shape: [...shape, 2], dtype }).select(-1, 0);
}

/** Operations that index `dim` of x; `index` is the shape of the index tensor that `make` returns. */
export function indexing(
  name: string,
  covers: string[],
  f: (d: Draw, shape: number[], dim: number, index: number[], make: () => Tensor) => Case,
): Line {
  return {
    name,
    covers,
    draw: (d) => {
      const shape = d.shape({ minRank: 1, minSize: 1 });
      const dim = d.int(0, shape.length - 1);
      const index = shape.map((n, i) => (i === dim ? d.int(0, 4) : d.int(1, n)));
      const count = index.reduce((a, b) => a * b, 1);
      return f(d, shape, dim, index, constants(d, d.ints(count, 0, shape[dim]! - 1), index));
    },
  };
}

/** Matrix products of all combinations of ranks. */
export function matmulLine(name: string, f: Binary): Line {
  return { name, draw: (d) => drawMatmul(d, f) };
}

function drawMatmul(d: Draw, f: Binary): Case {
  const [m, k, n] = [d.size(), d.size(), d.size()];
  const [batchA, batchB] = d.broadcastShapes(2).map((s) => s.slice(0, d.int(0, 2))) as [number[], number[]];
  // The shortened shapes may no longer broadcast. A dim of size 1 always does.
  for (let i = 1; i <= Math.min(batchA.length, batchB.length); i++) {
    const sizeA = batchA.at(-i);
    const sizeB = batchB.at(-i);
    if (sizeA !== sizeB && sizeA !== 1 && sizeB !== 1) batchB[batchB.length - i] = 1;
  }
  const a = d.int(0, 3) === 0 ? [k] : [...batchA, m, k];
  const b = d.int(0, 3) === 0 ? [k] : [...batchB, k, n];
  return { fn: f as Case['fn'], inputs: [d.input(a), d.input(b)] };
}

/** Convolutions with any stride, padding, dilation and groups. */
export function convLine(name: string, f: (x: Tensor, w: Tensor, p: ConvParams) => Tensor, extra: Partial<Line> = {}): Line {
  const draw = (d: Draw): Case => {
    const [x, w, , p] = d.from(convolutions, { dtype: 'float64' as const });
    return { fn: (a, b) => f(a!, b!, p), inputs: [d.maybeConstant(x), d.maybeConstant(w)] };
  };
  return { name, draw, ...extra };
}

/** Transposed convolutions, with and without bias and batch. Output padding is less than stride or dilation, outputs are not empty. */
export function drawConvTranspose(d: Draw): Case {
  const groups = d.int(1, 2);
  const [c, o] = [groups * d.int(1, 2), groups * d.int(1, 2)];
  const two = (min: number, max: number): [number, number] => [d.int(min, max), d.int(min, max)];
  const kernel = two(1, 3);
  const stride = two(1, 3);
  const padding = two(0, 2);
  const dilation = d.pick([[1, 1] as [number, number], two(1, 3)]);
  const outputPadding = stride.map((s, i) => d.int(0, Math.max(s, dilation[i]!) - 1)) as [number, number];
  const side = (i: 0 | 1): number => Math.max(1, Math.ceil((2 * padding[i] - dilation[i] * (kernel[i] - 1)) / stride[i]) + 1) + d.int(0, 1);
  const image = [...d.pick([[1], [2], [0], []]), c, side(0), side(1)];
  const inputs = [image, [c, o / groups, ...kernel], ...(d.bool() ? [[o]] : [])].map((s) => d.input(s));
  const options = { stride, padding, outputPadding, groups, dilation };
  return { fn: (x, w, b?: Tensor) => F.convTranspose2d(x!, w!, b ?? null, options), inputs };
}

type BatchNorm = (x: Tensor, w: Tensor | null, b: Tensor | null, eps: number) => Tensor;

/** Batch norm with and without weight and bias, and with any number of dims after the channels. */
export function batchNormLine(name: string, f: BatchNorm, extra: Partial<Line> = {}): Line {
  return { name, draw: (d) => drawBatchNorm(d, f), ...extra };
}

function drawBatchNorm(d: Draw, f: BatchNorm): Case {
  const shape = [d.int(2, 3), d.int(1, 3), ...d.pick([[], [], [d.int(1, 3)], [d.int(1, 2), d.int(1, 3)], [2, 2]])];
  const eps = d.pick([0.01, 0.1]);
  const c = [shape[1]!];
  const x = d.input(shape, { domain: 'distinct', layouts: NO_TIES });
  const affine = d.int(0, 3);
  if (affine === 0) return { fn: (t) => f(t, null, null, eps), inputs: [x] };
  return { fn: (t, w, b) => f(t, w, b, eps), inputs: [x, d.input(c), d.input(c)] };
}

type AnyNorm = (x: Tensor, options: { weight: Tensor | null; bias: Tensor | null; eps: number }) => Tensor;

/** Normalisations of x [N,C,…]. `pick` returns the shape of weight and bias, and the operation. */
export function normLine(name: string, pick: (d: Draw, shape: number[]) => [number[], AnyNorm]): Line {
  return {
    name,
    draw: (d) => {
      const shape = [d.pick([1, 2, 3, 0]), d.int(1, 4), ...d.pick([[2], [1, 2], [3, 2], [2, 0]])];
      const [affine, f] = pick(d, shape);
      const eps = d.pick([0.01, 0.1]);
      const x = d.input(shape, { domain: 'distinct', layouts: NO_TIES });
      const w = d.input(affine);
      if (d.int(0, 3) === 0) return { fn: (t) => f(t, { weight: null, bias: null, eps }), inputs: [x] };
      return { fn: (t, weight, bias) => f(t, { weight, bias, eps }), inputs: [x, w, d.input(affine)] };
    },
  };
}

/** Draws a reduction; not 'mean' for an empty loss, as that is 0/0. */
const drawReduction = (d: Draw, count: number): ag.Reduction =>
  d.pick(count === 0 ? (['sum', 'none'] as const) : (['mean', 'sum', 'none'] as const));

/** Losses of classes, for samples of any number of dims, with weights, ignored samples and `extra` options. */
export function classLoss<O extends ag.NllLossOptions>(
  name: string,
  covers: string[],
  f: (x: Tensor, target: Tensor, options: O) => Tensor,
  extra: (d: Draw) => Partial<O> = () => ({}),
): Line {
  return {
    name,
    covers,
    draw: (d) => {
      const [n, k] = [d.pick([1, 2, 3, 2, 3, 0]), d.int(1, 4)];
      const [shape, samples] = d.pick([
        [[n, k], [n]],
        [[k], []],
        [
          [n, k, 2],
          [n, 2],
        ],
        [
          [n, k, 1, 3],
          [n, 1, 3],
        ],
      ]) as [number[], number[]];
      const count = product(samples);
      const ignoreIndex = d.pick([undefined, -1, 0]);
      const target = constants(d, count === 0 ? [] : [k - 1, ...d.ints(count - 1, ignoreIndex === -1 ? -1 : 0, k - 1)], samples);
      const options = { reduction: drawReduction(d, count), ...(ignoreIndex === undefined ? {} : { ignoreIndex }), ...extra(d) };
      // If all samples are ignored, the mean is 0/0.
      if (k === 1 && ignoreIndex === 0) options.reduction = 'sum';
      const inputs = [d.input(shape)];
      if (d.bool()) return { fn: (x) => f(x, target(), options as unknown as O), inputs };
      const fn = (x: Tensor, weight: Tensor): Tensor => f(x, target(), { ...options, weight } as unknown as O);
      return { fn: fn as Case['fn'], inputs: [...inputs, d.input([k], { domain: 'positive' })] };
    },
  };
}

/** Losses with a target of x's shape and `extra` options. */
export function pairLoss<O extends ag.LossOptions>(
  name: string,
  f: (x: Tensor, target: Tensor, options: O) => Tensor,
  extra: (d: Draw) => Partial<O> = () => ({}),
): Line {
  return {
    name,
    draw: (d) => {
      const shape = d.shape();
      const options = { reduction: drawReduction(d, product(shape)), ...extra(d) } as unknown as O;
      return { fn: (x, t) => f(x, t, options), inputs: [d.input(shape), d.input(shape)] };
    },
  };
}

/** Losses with a target of x's shape, and options named in `factors` that are tensors and broadcast to it. */
export function weightedLoss<O extends ag.LossOptions>(
  name: string,
  f: (x: Tensor, target: Tensor, options: O) => Tensor,
  factors: readonly (keyof O & string)[],
): Line {
  return {
    name,
    draw: (d) => {
      const shape = d.shape();
      const reduction = drawReduction(d, product(shape));
      const given = factors.filter(() => d.bool());
      const factorShapes = given.map(() => shape.slice(d.int(0, shape.length)).map((n) => (d.bool() ? 1 : n)));
      const fn: Case['fn'] = (x, t, ...ws) => {
        const options = { reduction, ...Object.fromEntries(given.map((key, i) => [key, ws[i]])) };
        return f(x!, t!, options as unknown as O);
      };
      return { fn, inputs: [shape, shape, ...factorShapes].map((s) => d.input(s)) };
    },
  };
}

export const permutation = (d: Draw, n: number): number[] => {
  const keys = d.ints(n, 0, 99);
  return Array.from({ length: n }, (_, i) => i).sort((a, b) => keys[a]! - keys[b]! || a - b);
};
export const product = (shape: Shape): number => shape.reduce((a, b) => a * b, 1);

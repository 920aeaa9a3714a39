/**
 * One line per differentiable operation: the values, shapes and layouts at which its gradients of first and second order
 * are checked. A line draws its options too.
 */
import * as ag from '../../src/autograd/index.ts';
import { cat, grad, maximum, minimum, pad, stack, tensor, where, type Tensor } from '../../src/autograd/index.ts';
import { normalizeDims, type Shape } from '../../src/core/shape.ts';
import { NO_TIES, type Case, type Domain, type Draw, type InputOptions } from './arbitraries.ts';
import type { ConvParams } from '../../src/kernels/index.ts';
import * as F from '../../src/nn/functional.ts';
import type { FusedLine, Line } from './properties.ts';

type Unary = (x: Tensor) => Tensor;
type Binary = (a: Tensor, b: Tensor) => Tensor;

/** y = f(x), any shape. */
export function unary(name: string, f: Unary, domain: Domain = 'real', extra: Partial<Line> = {}): Line {
  return { name, draw: (d) => ({ fn: f, inputs: [d.input(d.shape(), { domain })] }), ...extra };
}

/** y = f(a, b), broadcasting; a number in place of one operand now and then. */
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

/** A view of x under another shape or order, whose arguments depend on x's shape. */
function movement(
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

/** Conditions of their own shape, one that depends on x, and a number in place of an operand. */
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
  /** Each result comes from one element at least. Default false. */
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

/** var and std: several elements to each result, so that it is not 0/0. */
function spread(name: string, f: (x: Tensor, dim: ag.Dims | undefined, options: ag.VarOptions) => Tensor): Line {
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

function alongDim(name: string, f: (x: Tensor, dim: number) => Tensor): Line {
  return {
    name,
    draw: (d) => {
      const shape = d.shape();
      const dim = shape.length === 0 ? d.pick([0, -1]) : d.int(-shape.length, shape.length - 1);
      return { fn: (x) => f(x, dim), inputs: [d.input(shape)] };
    },
  };
}

/** A maker of int32 or bool tensors, contiguous or with gaps. */
function constants(d: Draw, values: readonly number[], shape: Shape, dtype: 'int32' | 'bool' = 'int32'): () => Tensor {
  if (d.bool()) return () => tensor(values, { shape, dtype });
  const spread = values.flatMap((v) => [v, 1]);
  return () => tensor(spread, { shape: [...shape, 2], dtype }).select(-1, 0);
}

/** Index ranges of `index`, along `dim` of x. */
function indexing(
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

/** All combinations of ranks. */
export function matmulLine(name: string, f: Binary): Line {
  return { name, draw: (d) => drawMatmul(d, f) };
}

function drawMatmul(d: Draw, f: Binary): Case {
  const [m, k, n] = [d.size(), d.size(), d.size()];
  const batch = d.broadcastShapes(2).map((s) => s.slice(0, d.int(0, 2))) as [number[], number[]];
  // Cut at the front they may no longer broadcast: 1 always does.
  const [ba, bb] = [batch[0], batch[1]];
  for (let i = 1; i <= Math.min(ba.length, bb.length); i++) {
    if (ba.at(-i) !== bb.at(-i) && ba.at(-i) !== 1 && bb.at(-i) !== 1) bb[bb.length - i] = 1;
  }
  const a = d.int(0, 3) === 0 ? [k] : [...ba, m, k];
  const b = d.int(0, 3) === 0 ? [k] : [...bb, k, n];
  return { fn: f as Case['fn'], inputs: [d.input(a), d.input(b)] };
}

/** Strides, paddings, dilations, groups. */
export function convLine(name: string, f: (x: Tensor, w: Tensor, p: ConvParams) => Tensor, extra: Partial<Line> = {}): Line {
  return { name, draw: (d) => drawConv(d, f), ...extra };
}

function drawConv(d: Draw, f: (x: Tensor, w: Tensor, p: ConvParams) => Tensor): Case {
  const groups = d.int(1, 2);
  const [n, c, o] = [d.pick([1, 2, 1, 2, 0]), groups * d.int(1, 2), groups * d.int(1, 2)];
  const two = (min: number, max: number): [number, number] => [d.int(min, max), d.int(min, max)];
  const kernel = d.pick([two(1, 3), [3, 3] as [number, number]]);
  const p = { stride: two(1, 2), padding: two(0, 2), dilation: d.pick([[1, 1] as [number, number], two(1, 2)]), groups };
  // At least one position of the dilated kernel in the padded image.
  const side = (i: 0 | 1): number => Math.max(1, p.dilation[i] * (kernel[i] - 1) + 1 - 2 * p.padding[i]) + d.int(0, 2);
  const image = [n, c, side(0), side(1)];
  return { fn: (x, w) => f(x, w, p), inputs: [d.input(image), d.input([o, c / groups, ...kernel])] };
}

function drawPool(d: Draw): {
  shape: number[];
  p: { kernel: [number, number]; stride: [number, number]; padding: [number, number]; dilation: [number, number] };
  ceilMode: boolean;
} {
  const two = (min: number, max: number): [number, number] => [d.int(min, max), d.int(min, max)];
  const kernel = two(1, 3);
  const padding: [number, number] = [d.int(0, kernel[0] >> 1), d.int(0, kernel[1] >> 1)];
  const shape = [d.pick([1, 2, 1, 2, 0]), d.int(1, 2), kernel[0] + d.int(0, 2), kernel[1] + d.int(0, 2)];
  return { shape, p: { kernel, stride: two(1, 3), padding, dilation: [1, 1] }, ceilMode: d.bool() };
}

type BatchNorm = (x: Tensor, w: Tensor | null, b: Tensor | null, eps: number) => Tensor;

/** With and without weight and bias, any number of dims after the channels. */
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

/** The mean of nothing is 0/0. */
const drawReduction = (d: Draw, count: number): ag.Reduction =>
  d.pick(count === 0 ? (['sum', 'none'] as const) : (['mean', 'sum', 'none'] as const));

function classLoss(name: string, covers: string[], f: (x: Tensor, target: Tensor, options: ag.LossOptions) => Tensor): Line {
  return {
    name,
    covers,
    draw: (d) => {
      const [n, k] = [d.pick([1, 2, 3, 2, 3, 0]), d.int(1, 4)];
      const target = constants(d, d.ints(n, 0, k - 1), [n]);
      const reduction = drawReduction(d, n);
      return { fn: (x) => f(x, target(), { reduction }), inputs: [d.input([n, k])] };
    },
  };
}

function pairLoss(name: string, f: (x: Tensor, target: Tensor, options: ag.LossOptions) => Tensor): Line {
  return {
    name,
    draw: (d) => {
      const shape = d.shape();
      const reduction = drawReduction(d, product(shape));
      return { fn: (x, t) => f(x, t, { reduction }), inputs: [d.input(shape), d.input(shape)] };
    },
  };
}

const permutation = (d: Draw, n: number): number[] => {
  const keys = d.ints(n, 0, 99);
  return Array.from({ length: n }, (_, i) => i).sort((a, b) => keys[a]! - keys[b]! || a - b);
};
const product = (shape: Shape): number => shape.reduce((a, b) => a * b, 1);

export const TABLE: readonly Line[] = [
  // — elementwise —
  binary('add', ag.add),
  binary('sub', ag.sub),
  binary('mul', ag.mul),
  binary('div', ag.div, 'real', 'nonzero'),
  binary('pow', ag.pow, 'positive', 'real'),
  {
    name: 'pow, whole exponent',
    covers: [],
    draw: (d) => {
      const e = d.int(0, 3);
      return { fn: (x) => x.pow(e), inputs: [d.input(d.shape())] };
    },
  },
  binary('maximum', maximum),
  binary('minimum', minimum),
  whereLine('where', where),
  unary('neg', (x) => x.neg()),
  unary('abs', (x) => x.abs()),
  unary('square', (x) => x.square()),
  unary('relu', (x) => x.relu()),
  unary('exp', (x) => x.exp()),
  unary('log', (x) => x.log(), 'positive'),
  unary('log1p', (x) => x.log1p(), 'aboveMinusOne'),
  unary('sqrt', (x) => x.sqrt(), 'positive'),
  unary('sigmoid', (x) => x.sigmoid()),
  unary('logSigmoid', (x) => x.logSigmoid()),
  unary('tanh', (x) => x.tanh()),
  {
    name: 'clamp',
    draw: (d) => {
      const shape = d.shape();
      const x = d.input(shape);
      const bounds: [number | null, number | null] = d.pick([
        [-0.5, 0.75],
        [-1, null],
        [null, 0.3],
        [0.5, -0.5],
      ]);
      if (d.bool()) return { fn: (t) => t.clamp(...bounds), inputs: [x] };
      return { fn: (t, low, high) => t.clamp(low, high), inputs: [x, d.input(shape), d.input([])] };
    },
  },
  // float32 in the middle rounds, so the step is large: a cast is linear.
  unary('cast', (x) => x.to('float32').to('float64'), 'real', {
    draw: (d) => ({ fn: (x) => x.to('float32').to('float64'), inputs: [d.input(d.shape())], options: { eps: 0.25 } }),
  }),
  unary('clone', (x) => x.clone()),

  // — reductions —
  reduction('sum', (x, dim, o) => x.sum(dim, o)),
  reduction('mean', (x, dim, o) => x.mean(dim, o), { nonEmpty: true }),
  spread('variance', (x, dim, o) => x.var(dim, o)),
  spread('std', (x, dim, o) => x.std(dim, o)),
  reduction('amax', (x, dim, o) => x.amax(dim, o), { layouts: NO_TIES, nonEmpty: true }),
  reduction('amin', (x, dim, o) => x.amin(dim, o), { layouts: NO_TIES, nonEmpty: true }),
  alongDim('softmax', (x, dim) => x.softmax(dim)),
  alongDim('logSoftmax', (x, dim) => x.logSoftmax(dim)),
  {
    name: 'sumTo',
    draw: (d) => {
      const [wide, narrow] = d.broadcastShapes(2) as [number[], number[]];
      const full = ag.add(
        tensor(new Float64Array(product(wide)), { shape: wide }),
        tensor(new Float64Array(product(narrow)), { shape: narrow }),
      ).shape;
      return { fn: (x) => ag.sumTo(x, narrow), inputs: [d.input(full)] };
    },
  },

  // — movement —
  movement('reshape', (d, shape) => {
    const n = product(shape);
    const to = d.pick([
      [n],
      [1, n],
      [...shape].reverse(),
      [...shape, 1],
      n > 0 ? [-1] : [n],
      n > 0 ? [-1, 1] : [n, 1],
      n % 2 === 0 ? [n / 2, 2] : [n],
    ]);
    return (x) => x.reshape(to);
  }),
  movement('view', (_, shape) => (x) => x.view([1, ...shape, 1])),
  movement('flatten', (d, shape) => {
    if (shape.length === 0) return (x) => x.flatten();
    const a = d.int(0, shape.length - 1);
    const b = d.int(a, shape.length - 1);
    return (x) => x.flatten(a, d.pick([b, b - shape.length]));
  }),
  movement('permute', (d, shape) => {
    const dims = permutation(d, shape.length);
    return (x) => x.permute(dims);
  }),
  movement('transpose', (d, shape) => {
    const n = Math.max(shape.length, 1);
    const [a, b] = [d.int(-n, n - 1), d.int(-n, n - 1)];
    return (x) => x.transpose(a, b);
  }),
  {
    name: 'expand',
    draw: (d) => {
      const full = d.shape();
      const from = full.slice(d.int(0, full.length)).map((n) => (d.bool() ? 1 : n));
      const lead = full.length - from.length;
      const to = full.map((n, i) => (i >= lead && from[i - lead] === n && d.bool() ? -1 : n));
      return { fn: (x) => x.expand(to), inputs: [d.input(from)] };
    },
  },
  movement('squeeze', (d, shape) => {
    const dims = d.pick([
      undefined,
      shape.map((_, i) => i).filter(() => d.bool()),
      shape.length > 0 ? d.int(-shape.length, shape.length - 1) : undefined,
    ]);
    return (x) => x.squeeze(dims);
  }),
  movement('unsqueeze', (d, shape) => {
    const dim = d.int(-shape.length - 1, shape.length);
    return (x) => x.unsqueeze(dim);
  }),
  movement(
    'slice',
    (d, shape) => {
      const dim = d.int(-shape.length, shape.length - 1);
      const [start, end, step] = [d.int(-3, 3), d.pick([null, d.int(-3, 4)]), d.int(1, 3)];
      return (x) => x.slice(dim, start, end, step);
    },
    { minRank: 1 },
  ),
  movement(
    'select',
    (d, shape) => {
      const dim = d.int(0, shape.length - 1);
      const index = d.int(-shape[dim]!, shape[dim]! - 1);
      return (x) => x.select(dim, index);
    },
    { minRank: 1, minSize: 1 },
  ),
  movement('pad', (d, shape) => {
    const padding = d.ints(2 * d.int(0, shape.length), 0, 2);
    const value = d.int(-1, 1);
    return (x) => pad(x, padding, { value });
  }),
  {
    name: 'cat',
    draw: (d) => {
      const shape = d.shape({ minRank: 1 });
      const dim = d.int(-shape.length, shape.length - 1);
      const at = dim < 0 ? dim + shape.length : dim;
      const inputs = Array.from({ length: d.int(1, 3) }, () => d.input(shape.map((n, i) => (i === at ? d.size() : n))));
      return { fn: (...xs) => cat(xs, dim), inputs };
    },
  },
  {
    name: 'stack',
    draw: (d) => {
      const shape = d.shape({ maxRank: 2 });
      const dim = d.int(-shape.length - 1, shape.length);
      return { fn: (...xs) => stack(xs, dim), inputs: Array.from({ length: d.int(1, 3) }, () => d.input(shape)) };
    },
  },
  movement('contiguous', () => (x) => x.contiguous()),
  movement('identity', () => (x) => ag.identity(x)),
  indexing('gather', ['gather', 'gatherUnchecked'], (d, shape, dim, _, index) => ({
    fn: (x) => x.gather(dim, index()),
    inputs: [d.input(shape)],
  })),
  indexing('scatterAdd', ['scatterUnchecked'], (d, shape, dim, sizes, index) => ({
    fn: (x) => ag.scatterUnchecked(x, dim, index(), shape),
    inputs: [d.input(sizes)],
  })),

  // — products —
  matmulLine('matmul', (a, b) => a.matmul(b)),
  convLine('conv2d', ag.convolve, { covers: ['convolve'] }),

  // — pooling —
  {
    name: 'maxPool2d',
    covers: ['maxPoolOp'],
    draw: (d) => {
      const { shape, p, ceilMode } = drawPool(d);
      const dilation: [number, number] = d.pick([
        [1, 1],
        [1, 2],
        [2, 2],
      ]);
      const [n, c, h, w] = shape as [number, number, number, number];
      const dilated = [n, c, h + (dilation[0] - 1) * (p.kernel[0] - 1), w + (dilation[1] - 1) * (p.kernel[1] - 1)];
      const fn = (x: Tensor): Tensor => ag.maxPoolOp(x, { ...p, dilation }, ceilMode)[0]!;
      return { fn, inputs: [d.input(dilated, { domain: d.pick(['real', 'distinct']), layouts: NO_TIES })] };
    },
  },
  {
    name: 'avgPool2d',
    covers: ['avgPool'],
    draw: (d) => {
      const { shape, p, ceilMode } = drawPool(d);
      const params = { ...p, countIncludePad: d.bool(), divisor: d.pick([null, null, 3]) };
      return { fn: (x) => ag.avgPool(x, params, ceilMode), inputs: [d.input(shape)] };
    },
  },
  {
    name: 'adaptiveAvgPool2d',
    covers: ['adaptiveAvgPool'],
    draw: (d) => {
      const shape = [d.pick([1, 2, 0]), d.int(1, 2), d.int(1, 4), d.int(1, 4)];
      const size: [number, number] = [d.int(1, 4), d.int(1, 4)];
      return { fn: (x) => ag.adaptiveAvgPool(x, size), inputs: [d.input(shape)] };
    },
  },

  // — normalisation and losses —
  batchNormLine('batchNorm', (...args) => ag.batchNormOp(...args)[0]!, { covers: ['batchNormOp'] }),
  classLoss('crossEntropy', ['crossEntropy', 'crossEntropyOp'], ag.crossEntropy),
  classLoss('nllLoss', ['nllLoss'], ag.nllLoss),
  pairLoss('mseLoss', ag.mseLoss),
  pairLoss('bceWithLogits', ag.bceWithLogits),

  // — layers as functions: with bias, without a batch, with running statistics —
  {
    name: 'F.linear',
    covers: [],
    draw: (d) => {
      const [i, o] = [d.size(), d.size()];
      return { fn: (x, w, b) => F.linear(x, w, b), inputs: [[...d.shape({ maxRank: 2 }), i], [o, i], [o]].map((s) => d.input(s)) };
    },
  },
  {
    name: 'F.conv2d',
    covers: [],
    draw: (d) => {
      const [c, o] = [d.int(1, 2), d.int(1, 2)];
      const image = [...d.pick([[], [2]]), c, d.int(3, 5), d.int(3, 5)];
      const kernel = [d.int(1, 3), d.int(1, 3)];
      const padding = d.pick(['same', 'valid', 1] as const);
      return { fn: (x, w, b) => F.conv2d(x, w, b, { padding }), inputs: [image, [o, c, ...kernel], [o]].map((s) => d.input(s)) };
    },
  },
  {
    name: 'F.batchNorm with running statistics',
    covers: [],
    draw: (d) => {
      const shape = [d.int(1, 2), d.int(1, 3), ...d.shape({ maxRank: 2 })];
      const c = [shape[1]!];
      const [x, mean, weight, bias] = [shape, c, c, c].map((s) => d.input(s));
      const variance = d.input(c, { domain: 'positive' });
      const fn = (t: Tensor, runningMean: Tensor, runningVar: Tensor, w: Tensor, b: Tensor): Tensor =>
        F.batchNorm(t, { runningMean, runningVar, weight: w, bias: b });
      return { fn: fn as Case['fn'], inputs: [x!, mean!, variance, weight!, bias!] };
    },
  },
  { name: 'F.dropout', covers: [], draw: (d) => ({ fn: (x) => F.dropout(x, 0.4), inputs: [d.input(d.shape())] }) },

  // — detours: gradients that take another way through the engine —
  { name: 'one input on two paths', covers: [], draw: (d) => ({ fn: (x) => x.sigmoid().mul(x).add(x), inputs: [d.input(d.shape())] }) },
  { name: 'several outputs', covers: [], draw: (d) => ({ fn: (x) => [x.exp(), x.sum(), x.square()], inputs: [d.input(d.shape())] }) },
  {
    name: 'a gradient inside the function',
    covers: [],
    draw: (d) => ({ fn: (x) => grad(x.tanh().mul(x).sum(), x, { createGraph: true }), inputs: [d.input(d.shape())] }),
  },
];

const nonEmptyRows = (d: Draw): number[] => [...d.shape({ maxRank: 2, minSize: 1 }), d.int(1, 4)];

export const FUSED: readonly FusedLine[] = [
  {
    name: 'batchNorm',
    op: ag.batchNormOp,
    draw: (d) => {
      const shape = [d.int(2, 3), d.int(1, 5), ...d.pick([[], [3], [2, 3]])];
      const eps = d.pick([0.01, 0.1]);
      const c = [shape[1]!];
      return { inputs: [d.input(shape, { domain: 'distinct' }), d.input(c), d.input(c)], args: (xs) => [...xs, eps] };
    },
  },
  { name: 'softmax', op: (x: Tensor) => x.softmax(-1), draw: (d) => ({ inputs: [d.input(nonEmptyRows(d))], args: (xs) => xs }) },
  { name: 'logSoftmax', op: (x: Tensor) => x.logSoftmax(-1), draw: (d) => ({ inputs: [d.input(nonEmptyRows(d))], args: (xs) => xs }) },
  {
    name: 'crossEntropy',
    op: ag.crossEntropyOp,
    draw: (d) => {
      const [n, k] = [d.int(1, 4), d.int(1, 5)];
      const target = constants(d, d.ints(n, 0, k - 1), [n]);
      return { inputs: [d.input([n, k])], args: (xs) => [...xs, target()] };
    },
  },
];

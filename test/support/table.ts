/**
 * The gradient table. A line per differentiable operation draws the values, shapes, layouts and options with which its gradients
 * of first and second order are checked.
 */
import * as ag from '../../src/autograd/index.ts';
import { cat, einsum, grad, maximum, minimum, pad, stack, tensor, where, type Tensor } from '../../src/autograd/index.ts';
import * as F from '../../src/nn/functional.ts';
import { poolings } from '../../src/testing/index.ts';
import { NO_TIES, type Case, type Draw } from './arbitraries.ts';
import {
  activation,
  alongDim,
  batchNormLine,
  binary,
  classLoss,
  constants,
  convLine,
  drawConvTranspose,
  extremeAlong,
  indexing,
  matmulLine,
  movement,
  normLine,
  pairLoss,
  parts,
  permutation,
  product,
  reduction,
  spread,
  unary,
  weightedLoss,
  whereLine,
} from './lines.ts';
import type { FusedLine, Line } from './properties.ts';

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
      const shape = d.shape();
      const e = d.int(0, 3);
      const exponents = constants(d, d.ints(product(shape), 0, 3), shape);
      return { fn: d.bool() ? (x) => x.pow(e) : (x) => x.pow(exponents()), inputs: [d.input(shape)] };
    },
  },
  binary('maximum', maximum),
  binary('minimum', minimum),
  whereLine('where', where),
  unary('neg', (x) => x.neg()),
  {
    name: 'maskedFill',
    draw: (d) => {
      const [shape, sm] = d.broadcastShapes(2) as [number[], number[]];
      const mask = constants(d, d.ints(product(sm), 0, 1), sm, 'bool');
      if (d.bool()) return { fn: (x) => x.maskedFill(mask(), -1.5), inputs: [d.input(shape)] };
      return { fn: (x, v) => x.maskedFill(mask(), v), inputs: [d.input(shape), d.input([])] };
    },
  },
  unary('abs', (x) => x.abs()),
  unary('square', (x) => x.square()),
  unary('relu', (x) => x.relu()),
  unary('exp', (x) => x.exp()),
  unary('expm1', (x) => x.expm1()),
  unary('log', (x) => x.log(), 'positive'),
  unary('log1p', (x) => x.log1p(), 'aboveMinusOne'),
  unary('sqrt', (x) => x.sqrt(), 'positive'),
  unary('rsqrt', (x) => x.rsqrt(), 'positive'),
  unary('reciprocal', (x) => x.reciprocal(), 'nonzero'),
  unary('sin', (x) => x.sin()),
  unary('cos', (x) => x.cos()),
  unary('erf', (x) => x.erf()),
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
  activation('leakyRelu', F.leakyRelu, [0.01, 0.3, -0.5]),
  {
    name: 'prelu',
    draw: (d) => {
      const shape = d.shape();
      const w = d.pick([[], [1], [shape.length < 2 ? 1 : shape[1]!]]);
      return { fn: (x, slopes) => F.prelu(x, slopes), inputs: [d.input(shape), d.input(w, { layouts: ['plain'] })] };
    },
  },
  activation('elu', F.elu, [1, 0.5, 2]),
  activation('gelu', F.gelu, [{}, { approximate: 'tanh' }]),
  activation('softplus', F.softplus, [{}, { beta: 2, threshold: 30 }, { beta: 0.5, threshold: 0.5 }, { beta: -1.5 }]),
  unary('silu', F.silu),
  unary('mish', F.mish),
  // The factor makes inputs fall on both sides of the kinks at ±3.
  unary('hardsigmoid', (x) => F.hardsigmoid(x.mul(2.5))),
  unary('hardswish', (x) => F.hardswish(x.mul(2.5))),
  // The conversion to float32 rounds, so the step of the differences is large. A cast is linear, so that costs no accuracy.
  { name: 'cast', draw: (d) => ({ fn: (x) => x.to('float32').to('float64'), inputs: [d.input(d.shape())], options: { eps: 0.25 } }) },
  unary('clone', (x) => x.clone()),

  // — reductions —
  reduction('sum', (x, dim, o) => x.sum(dim, o)),
  reduction('mean', (x, dim, o) => x.mean(dim, o), { nonEmpty: true }),
  spread('variance', (x, dim, o) => x.var(dim, o)),
  spread('std', (x, dim, o) => x.std(dim, o)),
  reduction('amax', (x, dim, o) => x.amax(dim, o), { layouts: NO_TIES, nonEmpty: true }),
  reduction('amin', (x, dim, o) => x.amin(dim, o), { layouts: NO_TIES, nonEmpty: true }),
  reduction('prod', (x, dim, o) => x.prod(dim, o)),
  {
    name: 'prod, zeros among the factors',
    covers: [],
    draw: (d) => {
      const shape = d.shape();
      const input = d.input(shape);
      const dim = d.pick([undefined, -1]);
      return { fn: (x) => x.prod(dim), inputs: [input.map(Math.trunc)] };
    },
  },
  reduction('logsumexp', (x, dim, o) => x.logsumexp(dim, o), { nonEmpty: true }),
  {
    name: 'norm',
    draw: (d) => {
      const shape = d.shape({ minSize: 1 });
      const [p, dims, keepdim] = [d.pick([1, 2, Infinity]), d.dims(shape.length), d.bool()];
      const fn = (x: Tensor): Tensor => x.norm(p, dims, { keepdim });
      return { fn, inputs: [d.input(shape, { domain: 'nonzero', layouts: NO_TIES })] };
    },
  },
  {
    name: 'norm of any p',
    covers: ['norm'],
    draw: (d) => {
      const shape = d.shape({ minSize: 1 });
      const [p, dims, keepdim] = [d.pick([-Infinity, -2, 0.5, 1.5, 3, 4.5]), d.dims(shape.length), d.bool()];
      const fn = (x: Tensor): Tensor => x.norm(p, dims, { keepdim });
      return { fn, inputs: [d.input(shape, { domain: 'nonzero', layouts: NO_TIES })] };
    },
  },
  alongDim('cumsum', (x, dim) => x.cumsum(dim)),
  extremeAlong('max', (x, dim, o) => x.max(dim, o)),
  extremeAlong('min', (x, dim, o) => x.min(dim, o)),
  extremeAlong('sort', (x, dim) => x.sort(dim)),
  {
    name: 'topk',
    draw: (d) => {
      const shape = d.shape({ minRank: 1, minSize: 1 });
      const dim = d.int(-shape.length, shape.length - 1);
      const [k, largest] = [d.int(0, shape.at(dim)!), d.bool()];
      return { fn: (x) => x.topk(k, dim, { largest })[0], inputs: [d.input(shape, { domain: 'distinct', layouts: NO_TIES })] };
    },
  },
  {
    name: 'maskedSelect',
    draw: (d) => {
      const [shape, sm] = d.broadcastShapes(2) as [number[], number[]];
      const mask = constants(d, d.ints(product(sm), 0, 1), sm, 'bool');
      return { fn: (x) => x.maskedSelect(mask()), inputs: [d.input(shape)] };
    },
  },
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
  {
    name: 'broadcastTo',
    draw: (d) => {
      const full = d.shape();
      return { fn: (x) => x.broadcastTo(full), inputs: [d.input(full.slice(d.int(0, full.length)).map((n) => (d.bool() ? 1 : n)))] };
    },
  },
  movement(
    'unflatten',
    (d, shape) => {
      const dim = d.int(-shape.length, shape.length - 1);
      const sizes = d.pick([
        [-1, 1],
        [1, shape.at(dim)!, 1],
        [1, -1],
      ]);
      return (x) => x.unflatten(dim, sizes);
    },
    { minRank: 1 },
  ),
  movement('movedim', (d, shape) => {
    const [from, to] = [permutation(d, shape.length), permutation(d, shape.length)];
    const count = d.int(0, shape.length);
    return (x) => x.movedim(from.slice(0, count), to.slice(0, count));
  }),
  movement('repeat', (d, shape) => {
    const counts = d.ints(shape.length + d.int(0, 1), 0, 3);
    return (x) => x.repeat(counts);
  }),
  parts('split', (d, n) => {
    const first = d.int(0, n);
    const size = d.pick([d.int(1, 3), [first, n - first]]);
    return (x, dim) => x.split(size, dim);
  }),
  parts('chunk', (d) => {
    const chunks = d.int(1, 3);
    return (x, dim) => x.chunk(chunks, dim);
  }),
  parts('unbind', () => (x, dim) => x.unbind(dim), 1),
  movement('flip', (d, shape) => {
    const dims = d.dims(shape.length) ?? [];
    return (x) => x.flip(dims);
  }),
  movement('roll', (d, shape) => {
    const shift = d.int(-4, 4);
    if (shape.length === 0 || d.bool()) return (x) => x.roll(shift);
    const dim = d.int(-shape.length, shape.length - 1);
    return d.bool() ? (x) => x.roll(shift, dim) : (x) => x.roll([shift, 1], [dim, 0]);
  }),
  ...(['tril', 'triu'] as const).map((name) =>
    movement(
      name,
      (d) => {
        const diagonal = d.int(-3, 3);
        return (x) => x[name](diagonal);
      },
      { minRank: 2 },
    ),
  ),
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
      const start = d.int(-3, 3);
      const end = d.pick([null, d.int(-3, 4)]);
      const step = d.int(1, 3);
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
    // Negative padding cuts the last dim by at most its size.
    if (padding.length > 0) padding[d.int(0, 1)] = -d.int(0, shape.at(-1)!);
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
  indexing('scatterUnchecked', ['scatterUnchecked'], (d, shape, dim, sizes, index) => ({
    fn: (x) => ag.scatterUnchecked(x, dim, index(), shape),
    inputs: [d.input(sizes)],
  })),

  indexing('scatterAdd', ['scatterAdd'], (d, shape, dim, sizes, index) => ({
    fn: (x, src) => x.scatterAdd(dim, index(), src),
    inputs: [d.input(shape), d.input(sizes.map((n) => n + d.int(0, 1)))],
  })),
  {
    name: 'indexSelect',
    draw: (d) => {
      const shape = d.shape({ minRank: 1, minSize: 1 });
      const dim = d.int(-shape.length, shape.length - 1);
      const count = d.int(0, 4);
      const index = constants(d, d.ints(count, 0, shape.at(dim)! - 1), [count]);
      return { fn: (x) => x.indexSelect(dim, index()), inputs: [d.input(shape)] };
    },
  },

  // — products —
  matmulLine('matmul', (a, b) => a.matmul(b)),
  ...(['mv', 'dot', 'outer'] as const).map((name) => ({
    name,
    draw: (d: Draw): Case => {
      const [m, k] = [d.size(), d.size()];
      const [a, b] = { mv: [[m, k], [k]], dot: [[k], [k]], outer: [[m], [k]] }[name] as [number[], number[]];
      return { fn: (x, y) => x[name](y), inputs: [d.input(a), d.input(b)] };
    },
  })),
  {
    name: 'einsum',
    draw: (d) => {
      const sizes: Record<string, number> = { i: d.size(), j: d.size(), k: d.size(), b: d.size() };
      const equation = d.pick([
        'ij,jk->ik',
        'bij,bjk->bik',
        'ij,ij',
        'i,j->ji',
        'ii->i',
        'iji',
        'bij,kj,bk->bi',
        'ji->',
        'ij,jj,k->ik',
        '...i,ij->...j',
        'i...,...i->...',
        '...ii->...i',
      ]);
      const shapes = equation
        .split('->')[0]!
        .split(',')
        .map((term) => Array.from(term.replace('...', 'b')).map((l) => sizes[l]!));
      return { fn: (...xs) => einsum(equation, ...xs), inputs: shapes.map((s) => d.input(s)) };
    },
  },
  convLine('conv2d', (x, w, p) => F.conv2d(x, w, null, p)),
  {
    name: 'conv2d, with bias, without a batch',
    covers: [],
    draw: (d) => {
      const [c, o] = [d.int(1, 2), d.int(1, 2)];
      const image = [...d.pick([[], [2]]), c, d.int(3, 5), d.int(3, 5)];
      const kernel = [d.int(1, 3), d.int(1, 3)];
      const padding = d.pick(['same', 'valid', 1] as const);
      const dilation = d.pick([1, padding === 'same' ? 2 : 1]);
      return { fn: (x, w, b) => F.conv2d(x, w, b, { padding, dilation }), inputs: [image, [o, c, ...kernel], [o]].map((s) => d.input(s)) };
    },
  },
  { name: 'convTranspose2d', draw: drawConvTranspose },
  {
    name: 'conv1d',
    draw: (d) => {
      const groups = d.int(1, 2);
      const [c, o, k] = [groups * d.int(1, 2), groups * d.int(1, 2), d.int(1, 3)];
      const padding = d.pick(['same', 'valid', 0, 1, 2] as const);
      const options = { padding, groups, stride: padding === 'same' ? 1 : d.int(1, 2), dilation: d.int(1, 2) };
      const inputs = [[...d.pick([[], [1], [2], [0]]), c, d.int(5, 7)], [o, c / groups, k], ...(d.bool() ? [[o]] : [])];
      const fn: Case['fn'] = (x, w, b?: Tensor) => F.conv1d(x!, w!, b ?? null, options);
      return { fn, inputs: inputs.map((s) => d.input(s)) };
    },
  },

  // — pooling —
  {
    name: 'maxPool2d',
    draw: (d) => {
      const domain = d.pick(['real', 'distinct'] as const);
      const [x, kernel, options] = d.from(poolings, { dtype: 'float64' as const, domain, layouts: NO_TIES, unbatched: true });
      return { fn: (t) => F.maxPool2d(t, kernel, options), inputs: [d.maybeConstant(x)] };
    },
  },
  {
    name: 'avgPool2d',
    draw: (d) => {
      const [x, kernel, { stride, padding, ceilMode }] = d.from(poolings, { dtype: 'float64' as const, dilated: false, unbatched: true });
      const options = { stride, padding, ceilMode, countIncludePad: d.bool(), divisorOverride: d.pick([null, null, 3]) };
      return { fn: (t) => F.avgPool2d(t, kernel, options), inputs: [d.maybeConstant(x)] };
    },
  },
  {
    name: 'adaptiveAvgPool2d',
    draw: (d) => {
      const shape = [...d.pick([[1], [2], [0], []]), d.int(0, 2), d.int(1, 4), d.int(1, 4)];
      const side = (): number | null => d.pick([null, 0, 1, 2, 3, 4]);
      const size = d.pick([side(), [side(), side()] as const]);
      return { fn: (x) => F.adaptiveAvgPool2d(x, size), inputs: [d.input(shape)] };
    },
  },
  {
    name: 'adaptiveMaxPool2d',
    draw: (d) => {
      const shape = [...d.pick([[1], [2], [0], []]), d.int(1, 2), d.int(1, 5), d.int(1, 5)];
      const side = (): number | null => d.pick([null, 1, 2, 3, 4]);
      const size = d.pick([side(), [side(), side()] as const]);
      return { fn: (x) => F.adaptiveMaxPool2d(x, size), inputs: [d.input(shape, { domain: 'distinct', layouts: NO_TIES })] };
    },
  },
  {
    name: 'global pools',
    covers: ['globalAvgPool2d', 'globalMaxPool2d'],
    draw: (d) => {
      const shape = [...d.pick([[1], [2], [0], []]), d.int(1, 2), d.int(1, 4), d.int(1, 4)];
      const pools = (x: Tensor): Tensor[] => [F.globalAvgPool2d(x), F.globalMaxPool2d(x)];
      return { fn: pools, inputs: [d.input(shape, { domain: 'distinct', layouts: NO_TIES })] };
    },
  },
  {
    name: 'interpolate',
    draw: (d) => {
      const spatial = d.shape({ minRank: 1, minSize: 1 });
      const size = spatial.map(() => d.int(1, 5));
      const scaleFactor = spatial.map(() => d.pick([1, 1.5, 2, 2.7]));
      const options = d.pick([{ size }, { size: size[0]! }, { scaleFactor }, { scaleFactor: scaleFactor[0]! }]);
      return { fn: (x) => F.interpolate(x, options), inputs: [d.input([d.pick([1, 2, 0]), d.int(1, 2), ...spatial])] };
    },
  },

  {
    name: 'interpolate, bilinear',
    covers: ['interpolate'],
    draw: (d) => {
      const alignCorners = d.bool();
      const size = [d.int(1, 5), d.int(1, 5)];
      const options = d.pick([{ size }, { scaleFactor: d.pick([1, 1.5, 2, 2.7]) }]);
      const inputs = [d.input([d.pick([1, 2, 0]), d.int(1, 2), d.int(1, 3), d.int(1, 3)])];
      return { fn: (x) => F.interpolate(x, { ...options, mode: 'bilinear', alignCorners }), inputs };
    },
  },
  {
    name: 'scaleChannels',
    draw: (d) => {
      const shape = [d.pick([1, 2, 0]), d.int(1, 5), d.int(0, 3), d.int(1, 3)];
      return { fn: (x, s) => ag.scaleChannels(x, s), inputs: [d.input(shape), d.input(shape.slice(0, 2))] };
    },
  },

  // — normalisation and losses —
  batchNormLine('batchNorm', (...args) => ag.batchNormOp(...args)[0]!, { covers: ['batchNormOp'] }),
  // Batch norm followed by ReLU is fused.
  batchNormLine('relu of batchNorm', (...args) => ag.batchNormOp(...args)[0]!.relu(), { covers: ['batchNormOp'] }),
  {
    name: 'batchNorm, with running statistics',
    covers: ['batchNorm'],
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
  normLine('layerNorm', (d, shape) => {
    const last = shape.slice(d.int(0, shape.length - 1));
    const normalized = last.length === 1 && d.bool() ? last[0]! : last;
    return [last, (x, { weight, bias, eps }) => F.layerNorm(x, normalized, { weight, bias, eps })];
  }),
  normLine('rmsNorm', (d, shape) => {
    const last = shape.slice(d.int(0, shape.length - 1));
    return [last, (x, { weight, bias, eps }) => F.rmsNorm(x, last, { weight, eps }).add(bias ?? 0)];
  }),
  normLine('groupNorm', (d, shape) => {
    const groups = d.pick([1, 2].filter((n) => shape[1]! % n === 0));
    return [[shape[1]!], (x, options) => F.groupNorm(x, groups, options)];
  }),
  {
    name: 'instanceNorm',
    draw: (d) => {
      const shape = [d.pick([1, 2, 0]), d.int(1, 3), ...d.pick([[2], [3], [2, 2], [1, 3]])];
      const eps = d.pick([0.01, 0.1]);
      const c = [shape[1]!];
      const x = d.input(shape, { domain: 'distinct', layouts: NO_TIES });
      if (d.bool()) return { fn: (t) => F.instanceNorm(t, { eps }), inputs: [x] };
      return { fn: (t, weight, bias) => F.instanceNorm(t, { weight: weight!, bias: bias!, eps }), inputs: [x, d.input(c), d.input(c)] };
    },
  },
  {
    name: 'instanceNorm, with running statistics',
    covers: ['instanceNorm'],
    draw: (d) => {
      const c = [d.int(1, 3)];
      const inputs = [d.input([d.int(1, 2), c[0]!, 2, 2]), d.input(c), d.input(c, { domain: 'positive' })];
      return {
        fn: (t, runningMean, runningVar) => F.instanceNorm(t, { runningMean: runningMean!, runningVar: runningVar!, useInputStats: false }),
        inputs,
      };
    },
  },
  classLoss<ag.CrossEntropyOptions>('crossEntropy', ['crossEntropy', 'crossEntropyOp'], ag.crossEntropy, (d) => ({
    labelSmoothing: d.pick([0, 0.3, 1]),
  })),
  {
    name: 'crossEntropy, probabilities',
    covers: [],
    draw: (d) => {
      const k = d.int(1, 3);
      const shape = d.pick([[k], [d.int(1, 3), k], [2, k, 2]]);
      const options = { reduction: d.pick(['mean', 'sum', 'none'] as const), labelSmoothing: d.pick([0, 0.3]) };
      const inputs = [d.input(shape), d.input(shape, { domain: 'positive' })];
      if (d.bool()) return { fn: (x, p) => F.crossEntropy(x, p, options), inputs };
      return { fn: (x, p, weight) => F.crossEntropy(x, p, { ...options, weight: weight! }), inputs: [...inputs, d.input([k])] };
    },
  },
  classLoss('nllLoss', ['nllLoss'], ag.nllLoss),
  pairLoss('mseLoss', ag.mseLoss),
  pairLoss('l1Loss', ag.l1Loss),
  pairLoss<ag.HuberLossOptions>('huberLoss', ag.huberLoss, (d) => ({ delta: d.pick([0.5, 1, 3]) })),
  pairLoss<ag.SmoothL1LossOptions>('smoothL1Loss', ag.smoothL1Loss, (d) => ({ beta: d.pick([0, 0.5, 1, 3]) })),
  weightedLoss<ag.BinaryCrossEntropyOptions>('binaryCrossEntropy', (x, t, o) => ag.binaryCrossEntropy(x.sigmoid(), t, o), ['weight']),
  weightedLoss<ag.BinaryCrossEntropyWithLogitsOptions>('binaryCrossEntropyWithLogits', ag.binaryCrossEntropyWithLogits, [
    'weight',
    'posWeight',
  ]),

  // — layers as functions —
  {
    name: 'F.linear',
    covers: [],
    draw: (d) => {
      const [i, o] = [d.size(), d.size()];
      return { fn: (x, w, b) => F.linear(x, w, b), inputs: [[...d.shape({ maxRank: 2 }), i], [o, i], [o]].map((s) => d.input(s)) };
    },
  },
  {
    name: 'scaledDotProductAttention',
    draw: (d) => {
      const [batch, l, s, e] = [d.pick([[], [2], [1, 2], [0]]), d.int(1, 3), d.int(1, 3), d.int(1, 2)];
      const masks = [
        null,
        constants(d, d.ints(l * s, 0, 1), [l, s], 'bool'),
        (): Tensor => tensor(d.ints(l * s, -2, 2), { shape: [l, s], dtype: 'float64' }),
      ];
      const mask = d.pick(masks);
      const values = mask?.();
      const options = { isCausal: mask === null && d.bool(), scale: d.pick([null, 0.5]) };
      const fn: Case['fn'] = (q, k, v) => F.scaledDotProductAttention(q!, k!, v!, { ...options, attnMask: values ?? null });
      return {
        fn,
        inputs: [
          [...batch, l, 2],
          [...batch, s, 2],
          [...batch, s, e],
        ].map((shape) => d.input(shape)),
      };
    },
  },
  { name: 'dropout', draw: (d) => ({ fn: (x) => F.dropout(x, 0.4), inputs: [d.input(d.shape())] }) },
  {
    name: 'dropout2d',
    draw: (d) => ({ fn: (x) => F.dropout2d(x, 0.4), inputs: [d.input([...d.pick([[], [2]]), d.size(), 2, d.size()])] }),
  },
  {
    name: 'stochasticDepth',
    draw: (d) => {
      const mode = d.pick(['batch', 'row'] as const);
      return { fn: (x) => F.stochasticDepth(x, 0.4, mode), inputs: [d.input(d.shape())] };
    },
  },
  {
    name: 'embedding',
    draw: (d) => {
      const [v, shape] = [d.int(1, 4), d.shape({ maxRank: 2 })];
      const paddingIdx = d.pick([null, 0, -1]);
      const indices = constants(d, d.ints(product(shape), 0, v - 1), shape);
      // By design the padding row has no gradient although the result depends on it, so finite differences would differ. Terms
      // of value zero that have the missing gradient are added.
      const fn = (w: Tensor): Tensor => {
        const y = F.embedding(indices(), w, { paddingIdx });
        return paddingIdx === null ? y : y.add(paddingRows(indices(), w, paddingIdx));
      };
      return { fn, inputs: [d.input([v, d.size()])] };
    },
  },

  // — other paths through the engine —
  { name: 'one input on two paths', covers: [], draw: (d) => ({ fn: (x) => x.sigmoid().mul(x).add(x), inputs: [d.input(d.shape())] }) },
  { name: 'several outputs', covers: [], draw: (d) => ({ fn: (x) => [x.exp(), x.sum(), x.square()], inputs: [d.input(d.shape())] }) },
  {
    name: 'a gradient inside the function',
    covers: [],
    draw: (d) => ({ fn: (x) => grad(x.tanh().mul(x).sum(), x, { createGraph: true }), inputs: [d.input(d.shape())] }),
  },
];

/** Returns zeros that have the gradient of the padding rows, which F.embedding leaves out. */
function paddingRows(indices: Tensor, w: Tensor, paddingIdx: number): Tensor {
  const rows = F.embedding(indices, w);
  const isPadding = indices.eq(paddingIdx < 0 ? paddingIdx + w.size(0) : paddingIdx).unsqueeze(-1);
  return where(isPadding, rows.sub(rows.detach()), 0);
}

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
  {
    name: 'scaleChannels',
    op: ag.scaleChannels,
    draw: (d) => {
      const shape = [d.int(1, 3), d.int(1, 5), d.int(1, 7), d.int(1, 7)];
      return { inputs: [d.input(shape), d.input(shape.slice(0, 2))], args: (xs) => xs };
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

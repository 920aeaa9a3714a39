/**
 * Batch normalisation, softmax, cross entropy: fused kernels in first order, their definitions in every other.
 */
import { isFloat } from '../../core/dtype.ts';
import { ShapeError } from '../../core/errors.ts';
import { channelsLastStrides, formatShape, isRowMajor, normalizeDim, sameShape, sizeOf } from '../../core/shape.ts';
import { fused, kernels, type Kernels } from '../../kernels/index.ts';
import { withTemporaries } from '../../kernels/memory/allocator.ts';
import { empty, emptyChannelsLast, emptyLike, restride, type View } from '../../kernels/view.ts';
import { defineOp, withoutBranches } from '../op.ts';
import { untracked, type Tensor } from '../tensor.ts';
import { add, cast, clone, div, exp, log as logarithm, mul, neg, sqrt, square, sub, withOperands } from './elementwise.ts';
import { detach, gatherUnchecked, reshape, transpose } from './movement.ts';
import { amax, mean, sum } from './reduce.ts';

/** Dims other than the channels, and the shape in which a per-channel vector broadcasts against x [N,C,…]. */
function channelFrame(x: Tensor): { dims: number[]; shape: number[] } {
  return {
    dims: x.shape.map((_, d) => d).filter((d) => d !== 1),
    shape: x.shape.map((n, d) => (d === 1 ? n : 1)),
  };
}

/** x with channels innermost and dense, copied where it is not: as the fused kernels want it. */
function channelsLast(k: Kernels, x: View): View {
  const want = channelsLastStrides(x.shape);
  const fits = x.shape.every((n, d) => n === 1 || x.strides[d] === want[d]);
  if (fits) return x;
  const y = emptyChannelsLast(x.shape, x.dtype);
  k.copy(x, y);
  return y;
}

/** A vector one after another in memory, copied where it is not: as the fused kernels want it. */
function vector(k: Kernels, v: View | null): View | null {
  if (v === null || isRowMajor(v.shape, v.strides)) return v;
  const y = empty(v.shape, v.dtype);
  k.copy(v, y);
  return y;
}

/**
 * [y, mean, variance, invstd, scale, offset] of x [N,C,…] with statistics over all dims but C; variance is the biased one. What lies
 * behind it is there for backward.
 *   y = (x − μ) / √(σ² + ε) · w + b = x · scale − offset
 * Source: Ioffe & Szegedy 2015, arXiv:1502.03167, algorithm 1
 */
export const batchNormOp = defineOp({
  name: 'batchNorm',
  forward: (k, x: Tensor, w: Tensor | null, b: Tensor | null, eps: number) => {
    const xs = channelsLast(k, x);
    const each = (): View => empty([x.shape[1]!], x.dtype);
    const [variance, norm] = [each(), { mean: each(), invstd: each(), scale: each(), offset: each() }];
    fused!.batchNormStats(xs, eps, vector(k, w), vector(k, b), variance, norm);
    const y = emptyChannelsLast(x.shape, x.dtype);
    fused!.batchNormApply(xs, norm.scale, norm.offset, y);
    return [y, norm.mean, variance, norm.invstd, norm.scale, norm.offset];
  },
  save: (_, x, __, ___, ____, _____, mu, ______, invstd, scale, offset) => ({ x, mean: mu, invstd, scale, offset }),
  backward: (g, { x, ...norm }, needs) =>
    withTemporaries('batchNorm', () => {
      const k = kernels;
      const dx = needs[0] ? emptyChannelsLast(x.shape, x.dtype) : null;
      const [dw, db] = [empty(norm.mean.shape, x.dtype), empty(norm.mean.shape, x.dtype)];
      fused!.batchNormGrad(channelsLast(k, g), channelsLast(k, x), norm, dx, dw, db);
      return [dx && untracked(dx), needs[1] ? untracked(dw) : null, needs[2] ? untracked(db) : null];
    }),
  definition: (x, w, b, eps) => {
    const { dims, shape } = channelFrame(x);
    const mu = mean(x, dims, { keepdim: true });
    const centred = sub(x, mu);
    const variance = mean(square(centred), dims, { keepdim: true });
    const normal = div(centred, sqrt(add(variance, eps)));
    const scaled = w === null ? normal : mul(normal, reshape(w, shape));
    const y = b === null ? scaled : add(scaled, reshape(b, shape));
    return [y, reshape(mu, [-1]), reshape(variance, [-1])];
  },
});

const scaleChannelsOp = defineOp({
  name: 'scaleChannels',
  forward: (k, x: Tensor, s: Tensor) => {
    const y = emptyLike(x);
    k.binary('mul', x, restride(s, x.shape, [...s.strides, 0, 0]), y);
    return y;
  },
  save: (_, x, s) => ({ x, s }),
  backward: (g, { x, s }, needs) =>
    withTemporaries('scaleChannels', () => {
      const k = kernels;
      const dx = needs[0] ? emptyChannelsLast(x.shape, x.dtype) : null;
      const ds = empty(s.shape, x.dtype);
      fused!.scaleChannelsGrad(channelsLast(k, g), channelsLast(k, x), vector(k, s)!, dx, ds);
      return [dx && untracked(dx), untracked(ds)];
    }),
  definition: (x, s) => mul(x, reshape(s, [...s.shape, 1, 1])),
});

/**
 * y = x ⊙ s, each channel of each image by its number.   ∂x = g ⊙ s,   ∂s = Σ over H, W of g ⊙ x
 * Shape:  x [N,C,H,W], s [N,C] → y [N,C,H,W]
 * Throws: ShapeError for other shapes
 */
export function scaleChannels(x: Tensor, s: Tensor): Tensor {
  if (x.ndim !== 4 || !sameShape(s.shape, x.shape.slice(0, 2)))
    throw new ShapeError(`scaleChannels: x must be [N,C,H,W] and s [N,C] (x ${formatShape(x.shape)}, s ${formatShape(s.shape)})`);
  return withOperands('scaleChannels', [x, s], (d) => d, scaleChannelsOp);
}

/** Rows of the last dim, one after another: what the softmax kernels read. */
function rows(k: Kernels, x: View): View {
  const dense = isRowMajor(x.shape, x.strides) ? x : empty(x.shape, x.dtype);
  if (dense !== x) k.copy(x, dense);
  const n = x.shape.at(-1)!;
  return restride(dense, [n === 0 ? 0 : sizeOf(x.shape) / n, n], [n, 1]);
}

const softmaxOp = (name: 'softmax' | 'logSoftmax') => {
  const log = name === 'logSoftmax';
  return defineOp({
    name,
    forward: (k, x: Tensor) => {
      const y = empty(x.shape, x.dtype);
      fused!.softmax(log, rows(k, x), rows(k, y));
      return y;
    },
    save: (_, __, y) => ({ y }),
    backward: (g, { y }) =>
      withTemporaries(name, () => {
        const dx = empty(y.shape, y.dtype);
        fused!.softmaxGrad(log, rows(kernels, g), rows(kernels, y), rows(kernels, dx));
        return [untracked(dx)];
      }),
    definition: (x) => {
      // Any shift gives the same result: which element is the largest makes no kink.
      const shifted = sub(x, detach(withoutBranches(() => amax(x, -1, { keepdim: true }))));
      const e = exp(shifted);
      const total = sum(e, -1, { keepdim: true });
      return log ? sub(shifted, logarithm(total)) : div(e, total);
    },
  });
};

const softmaxRows = softmaxOp('softmax');
const logSoftmaxRows = softmaxOp('logSoftmax');

function alongLast(name: string, op: (x: Tensor) => Tensor, x: Tensor, dim: number): Tensor {
  const d = normalizeDim(name, dim, x.ndim);
  const t = isFloat(x.dtype) ? x : cast(x, 'float32');
  if (x.numel === 0) return clone(t);
  if (x.ndim === 0) return reshape(op(reshape(t, [1])), []);
  return d === x.ndim - 1 ? op(t) : transpose(op(transpose(t, d, -1)), d, -1);
}

/** yᵢ = exp xᵢ / Σⱼ exp xⱼ along `dim`.   ∂x = y ⊙ (g − Σ g ⊙ y) */
export function softmax(x: Tensor, dim: number): Tensor {
  return alongLast('softmax', softmaxRows, x, dim);
}

/** yᵢ = xᵢ − ln Σⱼ exp xⱼ along `dim`.   ∂x = g − exp y ⊙ Σ g */
export function logSoftmax(x: Tensor, dim: number): Tensor {
  return alongLast('logSoftmax', logSoftmaxRows, x, dim);
}

/**
 * [loss, log p] for x [N,K] and class indices target [N]: lossᵢ = −log softmax(xᵢ)[targetᵢ].
 *   ∂xᵢ = gᵢ (softmax(xᵢ) − onehot(targetᵢ))
 */
export const crossEntropyOp = defineOp({
  name: 'crossEntropy',
  forward: (k, x: Tensor, target: Tensor) => {
    const loss = empty([x.shape[0]!], x.dtype);
    const logp = empty(x.shape, x.dtype);
    fused!.crossEntropy(rows(k, x), target, loss, logp);
    return [loss, logp];
  },
  save: (_, __, target, ___, logp) => ({ target, logp: logp }),
  backward: (g, { target, logp }) =>
    withTemporaries('crossEntropy', () => {
      const dx = empty(logp.shape, logp.dtype);
      fused!.crossEntropyGrad(g, logp, target, dx);
      return [untracked(dx)];
    }),
  definition: (x, target) => {
    const logp = logSoftmax(x, 1);
    return [neg(reshape(gatherUnchecked(logp, 1, reshape(target, [-1, 1])), [-1])), logp];
  },
});

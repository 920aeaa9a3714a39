/**
 * Losses. Letters: N samples, K classes; M = all samples, over N and the dims after the classes. Which losses count in a mean,
 * and the values at the edges, are as in PyTorch.
 */
import { isFloat, promote } from '../../core/dtype.ts';
import { ArgumentError, DTypeError, ShapeError, shown } from '../../core/errors.ts';
import { checkNumber, withDefaults } from '../../core/options.ts';
import { formatShape, sameShape, shapesOf, sizeOf, type Shape } from '../../core/shape.ts';
import { empty } from '../../kernels/view.ts';
import { scope } from '../scopes.ts';
import { defineOp } from '../op.ts';
import { composed } from '../scope-stack.ts';
import { checkTensor, checkTensors, type Tensor } from '../tensor.ts';
import { logSigmoid, relu, sigmoid } from './activations.ts';
import { expand, expandOperand } from './broadcasting.ts';
import { eq, logicalNot, lt, where } from './comparison.ts';
import { toRows } from './dense-layouts.ts';
import type { Unary } from './elementwise-builders.ts';
import { abs, add, clamp, div, exp, log, log1p, mul, neg, square, sub } from './elementwise.ts';
import { checkIndex, gatherUnchecked } from './indexing.ts';
import { cast, floating } from './operands.ts';
import { CROSS_ENTROPY_DEFAULTS, HUBER_DEFAULTS, LOGITS_DEFAULTS, LOSS_DEFAULTS, NLL_DEFAULTS } from './options.ts';
import { SMOOTH_L1_DEFAULTS, WEIGHTED_DEFAULTS } from './options.ts';
import type { CrossEntropyOptions, HuberLossOptions, LossOptions, NllLossOptions, Reduction, SmoothL1LossOptions } from './options.ts';
import { mean, requireFloat, sum } from './reduce.ts';
import { logSoftmax } from './softmax.ts';
import { movedim, reshape, squeeze, unsqueeze } from './views.ts';

/** A loss of x against a target. */
export type Loss<O extends LossOptions> = (x: Tensor, target: Tensor, options?: O) => Tensor;

/** Reduces the losses. The mean divides by `total`, by default the number of losses. */
function applyReduction(op: string, loss: Tensor, reduction?: Reduction, total?: Tensor): Tensor {
  if (reduction === 'none') return loss;
  if (reduction === 'sum') return sum(loss);
  if (reduction === 'mean') return total === undefined ? mean(loss) : div(sum(loss), total);
  throw new ArgumentError(`${op}: reduction must be 'none', 'mean' or 'sum', got ${shown(reduction)}`);
}

/** loss ⊙ weight; weight broadcasts to the loss's shape. */
const weighted = (op: string, loss: Tensor, weight: Tensor | null): Tensor =>
  weight === null ? loss : mul(loss, expandOperand(op, 'weight', weight, loss.shape));

/** Throws unless a weight has x's dtype, as the parameters of layers must: promotion would change that of the loss. */
function checkWeight(op: string, name: string, weight: unknown, x: Tensor): void {
  checkTensor(op, name, weight);
  if (weight.dtype !== floating(x.dtype))
    throw new DTypeError(`${op}: x is ${x.dtype}, ${name} ${weight.dtype}; ${name} must be ${floating(x.dtype)}, convert it with .to()`);
}

// — against classes —

/** Returns x's shape without the dim of the classes: dim 1, or the only one. */
const samplesOf = (x: Tensor): Shape => x.shape.toSpliced(x.ndim === 1 ? 0 : 1, 1);

/** Checks x and weight; returns x as rows of classes [M,K]. */
function classRows(op: string, x: Tensor, weight: Tensor | null): Tensor {
  checkTensor(op, 'x', x);
  if (!isFloat(x.dtype)) throw new DTypeError(`${op}: x must be float32 or float64, got ${x.dtype}`);
  if (x.ndim === 0) throw new ShapeError(`${op}: x must be [K], [N,K] or [N,K,…]: N samples, K classes, got []`);
  const k = x.size(x.ndim === 1 ? 0 : 1);
  if (weight !== null) checkWeight(op, 'weight', weight, x);
  if (weight !== null && !sameShape(weight.shape, [k]))
    throw new ShapeError(`${op}: x has ${k} classes, weight must be [${k}] ${shapesOf({ x, weight })}`);
  return x.ndim === 2 ? x : reshape(movedim(x, x.ndim === 1 ? 0 : 1, -1), [sizeOf(samplesOf(x)), k]);
}

/** Throws for an `ignoreIndex` that no class can equal. */
function checkIgnoreIndex(op: string, ignoreIndex: unknown): void {
  if (!Number.isInteger(ignoreIndex)) throw new ArgumentError(`${op}: ignoreIndex must be a whole number, got ${shown(ignoreIndex)}`);
}

/** Throws unless target holds one int32 class below K for each sample of x; returns whether any is `ignoreIndex`. */
function checkClasses(op: string, x: Tensor, target: Tensor, ignoreIndex: number): boolean {
  if (target.dtype !== 'int32')
    throw new DTypeError(`${op}: target must hold class indices as int32, got ${target.dtype}; make it with { dtype: 'int32' }`);
  const samples = samplesOf(x);
  if (!sameShape(target.shape, samples))
    throw new ShapeError(`${op}: target must be ${formatShape(samples)}, x's shape without its classes ${shapesOf({ x, target })}`);
  return checkIndex(op, target, x.size(x.ndim === 1 ? 0 : 1), ignoreIndex);
}

/** −w[t] x[t], reduced; smoothing spreads a share over all classes.   x [M,K] log-probabilities */
function weightedNll(op: string, x: Tensor, target: Tensor, options: Required<CrossEntropyOptions>): Tensor {
  const { weight, ignoreIndex, labelSmoothing } = options;
  const classes = reshape(target, [-1]);
  const ignored = eq(classes, ignoreIndex);
  const at = unsqueeze(where(ignored, 0, classes), 1);
  const atTarget = (t: Tensor): Tensor => squeeze(gatherUnchecked(t, 1, at), 1);
  const weights = weight === null ? cast(logicalNot(ignored), x.dtype) : where(ignored, 0, atTarget(expand(weight, x.shape)));
  let logLikelihood = mul(atTarget(x), weights);
  if (labelSmoothing > 0) {
    logLikelihood = add(mul(logLikelihood, 1 - labelSmoothing), mul(sum(weighted(op, x, weight), 1), labelSmoothing / x.size(1)));
  }
  return applyReduction(op, reshape(where(ignored, 0, neg(logLikelihood)), target.shape), options.reduction, sum(weights));
}

/** −Σ_c p[c] w[c] x[c] for targets p that are probabilities, reduced.   x, p [M,K] */
function nllOfProbabilities(
  x: Tensor,
  p: Tensor,
  shape: Shape,
  { weight, labelSmoothing, reduction }: Required<CrossEntropyOptions>,
): Tensor {
  const smooth = labelSmoothing === 0 ? p : add(mul(p, 1 - labelSmoothing), labelSmoothing / p.size(1));
  return applyReduction('crossEntropy', reshape(neg(sum(weighted('crossEntropy', mul(x, smooth), weight), 1)), shape), reduction);
}

/**
 * Computes [loss, log p] for x [N,K] and class indices target [N]: lossᵢ = −log softmax(xᵢ)[targetᵢ].
 *   ∂xᵢ = gᵢ (softmax(xᵢ) − onehot(targetᵢ))
 */
export const crossEntropyOp = defineOp({
  name: 'crossEntropy',
  forward: (k, x: Tensor, target: Tensor) => {
    const loss = empty([x.shape[0]!], x.dtype);
    const logp = empty(x.shape, x.dtype);
    k.crossEntropy(toRows(k, x), target, loss, logp);
    return [loss, logp];
  },
  save: (_, [, target], [, logp]) => ({ target, logp }),
  gradKernel: (k, g, { target, logp }) => {
    const dx = empty(logp.shape, logp.dtype);
    k.crossEntropyGrad(g, logp, target, dx);
    return [dx];
  },
  definition: (x, target) => {
    const logp = logSoftmax(x, 1);
    return [neg(reshape(gatherUnchecked(logp, 1, reshape(target, [-1, 1])), [-1])), logp];
  },
});

/**
 * −w[t] log softmax(x)[t] for classes t, reduced; or −Σ_c p[c] w[c] log softmax(x)[c] for targets p that are probabilities.
 *   ∂xᵢ = (softmax(xᵢ) − onehot(tᵢ)) / N
 * Shape:  x [N,K], [K] or [N,K,…] logits; target [N], [] or [N,…] (int32), or probabilities as x → [], or a loss per sample
 * Throws: DTypeError for float targets in the shape of classes, or a weight of another dtype than x; ShapeError for shapes that do not fit or a class outside
 *         0 … K−1 other than ignoreIndex; ArgumentError for labelSmoothing outside 0 … 1, or an ignoreIndex ≥ 0 with probabilities
 */
export const crossEntropy = composed(function crossEntropy(x: Tensor, target: Tensor, options: CrossEntropyOptions = {}): Tensor {
  const read = withDefaults('crossEntropy', options, CROSS_ENTROPY_DEFAULTS);
  const { weight, ignoreIndex, labelSmoothing } = read;
  checkIgnoreIndex('crossEntropy', ignoreIndex);
  checkNumber('crossEntropy', 'labelSmoothing', labelSmoothing);
  if (!(labelSmoothing >= 0 && labelSmoothing <= 1))
    throw new ArgumentError(`crossEntropy: labelSmoothing must be from 0 to 1, got ${labelSmoothing}`);
  const rows = classRows('crossEntropy', x, weight);
  checkTensors('crossEntropy', { target });
  if (isFloat(target.dtype) && sameShape(target.shape, x.shape)) {
    if (ignoreIndex >= 0)
      throw new ArgumentError(`crossEntropy: ignoreIndex ${ignoreIndex} needs class indices, target holds probabilities`);
    return nllOfProbabilities(logSoftmax(rows, 1), classRows('crossEntropy', target, null), samplesOf(x), read);
  }
  const ignores = checkClasses('crossEntropy', x, target, ignoreIndex);
  if (ignores || weight !== null || labelSmoothing > 0) return weightedNll('crossEntropy', logSoftmax(rows, 1), target, read);
  const [loss, logp] = crossEntropyOp(rows, x.ndim === 2 ? target : reshape(target, [-1])) as [Tensor, Tensor];
  if (!logp.requiresGrad) logp.dispose();
  return applyReduction('crossEntropy', x.ndim === 2 ? loss : reshape(loss, target.shape), read.reduction);
});

/**
 * −w[t] x[t] for log-probabilities x and classes t, reduced.   ∂xᵢ = −w[tᵢ] onehot(tᵢ) / Σ w[t]
 * Shape:  x [N,K], [K] or [N,K,…]; target [N], [] or [N,…] (int32) → [], or a loss per sample
 * Throws: as crossEntropy
 */
export const nllLoss = composed((x: Tensor, target: Tensor, options: NllLossOptions = {}): Tensor => {
  const read = withDefaults('nllLoss', options, NLL_DEFAULTS);
  checkIgnoreIndex('nllLoss', read.ignoreIndex);
  const rows = classRows('nllLoss', x, read.weight);
  checkTensors('nllLoss', { target });
  checkClasses('nllLoss', x, target, read.ignoreIndex);
  return weightedNll('nllLoss', rows, target, { ...read, labelSmoothing: 0 });
});

// — against targets of x's shape —

type ElementLoss<O> = (x: Tensor, target: Tensor, options: Required<O>) => Tensor;

/** Makes a reduced loss from an elementwise one. Of two int32 or bool tensors it is computed in float64 and rounded to float32. */
function perElement<O extends LossOptions>(op: string, defaults: Required<O>, loss: ElementLoss<O>, needsFloat = false): Loss<O> {
  return composed((x: Tensor, target: Tensor, options: O = {} as O) => {
    const read = withDefaults(op, options, defaults);
    checkTensors(op, { x, target });
    if (needsFloat) requireFloat(op, x);
    for (const [name, weight] of Object.entries(read)) {
      if (name.toLowerCase().endsWith('weight') && weight !== null) checkWeight(op, name, weight, x);
    }
    if (!sameShape(x.shape, target.shape))
      throw new ShapeError(`${op}: x ${formatShape(x.shape)} and target ${formatShape(target.shape)} must have the same shape`);
    if (isFloat(x.dtype) || isFloat(target.dtype)) return applyReduction(op, loss(x, target, read), read.reduction);
    // Differences of int32 and their squares would wrap in int32. They have no gradient.
    return scope(() => cast(applyReduction(op, loss(cast(x, 'float64'), cast(target, 'float64'), read), read.reduction), 'float32'));
  });
}

/** (x − target)², reduced.   ∂x = 2 (x − target) / n */
export const mseLoss = perElement('mseLoss', LOSS_DEFAULTS, (x, t) => square(sub(x, t)));

/** |x − target|, reduced.   ∂x = sign(x − target) / n */
export const l1Loss = perElement('l1Loss', LOSS_DEFAULTS, (x, t) => abs(sub(x, t)));

/**
 * d² / 2β where |d| < β, else |d| − β/2, for d = x − target; reduced.
 * Source: Girshick 2015, arXiv:1504.08083, eq. 3 (β = 1)
 * Throws: ArgumentError for beta < 0
 */
export const smoothL1Loss = perElement<SmoothL1LossOptions>('smoothL1Loss', SMOOTH_L1_DEFAULTS, (x, t, { beta }) => {
  checkNumber('smoothL1Loss', 'beta', beta);
  if (!(beta >= 0)) throw new ArgumentError(`smoothL1Loss: beta must be at least 0, got ${beta}`);
  const size = abs(sub(x, t));
  const rounded = size.dtype === 'float32' ? Math.fround(beta) : beta;
  // At β = 0 there is no parabola, and 1/β would make the gradient at 0 NaN.
  if (rounded === 0) return size;
  const isSmall = lt(size, rounded);
  // The parabola of a large or infinite size would overflow, and its gradient 0 · ∞ be NaN.
  const small = where(isSmall, size, 0);
  return where(isSmall, mul(mul(small, 0.5), div(small, rounded)), sub(size, rounded / 2));
});

/**
 * d² / 2 where |d| < δ, else δ (|d| − δ/2), for d = x − target; reduced.
 * Source: Huber 1964, Annals of Mathematical Statistics 35(1), the function before eq. 2
 * Throws: ArgumentError unless delta > 0
 */
export const huberLoss = perElement<HuberLossOptions>('huberLoss', HUBER_DEFAULTS, (x, t, { delta }) => {
  checkNumber('huberLoss', 'delta', delta);
  if (!(delta > 0)) throw new ArgumentError(`huberLoss: delta must be above 0, got ${delta}`);
  const size = abs(sub(x, t));
  const isSmall = lt(size, delta);
  // The parabola of an infinite size would have the gradient 0 · ∞.
  const small = where(isSmall, size, 0);
  return where(isSmall, mul(mul(small, 0.5), small), mul(sub(size, delta / 2), delta));
});

/** ln x, but at least −100: the loss stays finite where x is 0. */
const clampedLog: Unary = (x) => clamp(log(x), -100);
/** ln(1 − x), likewise. */
const clampedLogOfRest: Unary = (x) => clamp(log1p(neg(x)), -100);

/** y = −t ln x − (1 − t) ln(1 − x), logarithms at least −100.   ∂x = g (x − t) / max(x (1 − x), 10⁻¹²),   ∂t = g ln((1 − x) / x) */
const binaryCrossEntropyOp = defineOp({
  name: 'binaryCrossEntropy',
  forward: (_, x: Tensor, t: Tensor) => scope(() => sub(mul(sub(t, 1), clampedLogOfRest(x)), mul(t, clampedLog(x)))),
  save: (_, [x, t]) => ({ x, t }),
  backward: (g, { x, t }, needs) => [
    // PyTorch's bound: a float32 number, in float64 too.
    needs[0] ? mul(g, div(sub(x, t), clamp(mul(x, sub(1, x)), Math.fround(1e-12)))) : null,
    needs[1] ? mul(g, sub(clampedLogOfRest(x), clampedLog(x))) : null,
  ],
});

/**
 * −w (t ln x + (1 − t) ln(1 − x)), logarithms at least −100, reduced; for probabilities x and targets t in [0, 1].
 *   ∂x = w (x − t) / max(x (1 − x), 10⁻¹²) / n
 * Throws: ShapeError for shapes that do not fit; DTypeError for a weight of another dtype than x; ArgumentError for x outside 0 … 1
 */
export const binaryCrossEntropy = perElement(
  'binaryCrossEntropy',
  WEIGHTED_DEFAULTS,
  (x, t, { weight }) => {
    const op = 'binaryCrossEntropy';
    const outside = x.data().find((v) => !(v >= 0 && v <= 1));
    if (outside === undefined) return weighted(op, binaryCrossEntropyOp(x, cast(t, x.dtype)), weight);
    throw new ArgumentError(`${op}: x must be probabilities from 0 to 1, got ${outside}; for logits there is binaryCrossEntropyWithLogits`);
  },
  true,
);

/**
 * y = −p t ln σ(x) − (1 − t) ln σ(−x), p of x's shape, or null for 1.
 *   ∂x = g ((1 − t) σ(x) − p t σ(−x)),   ∂t = g (ln σ(−x) − p ln σ(x)),   ∂p = −g t ln σ(x)
 * Both logarithms are exact in either tail. Their difference is x, so any formula with one of them and x cancels in a tail.
 */
const withLogitsOp = defineOp({
  name: 'binaryCrossEntropyWithLogits',
  forward: (_, x: Tensor, t: Tensor, p: Tensor | null) =>
    scope(() => {
      // −ln σ(±x) = max(∓x, 0) + ln(1 + e^−|x|)
      const tail = log1p(exp(neg(abs(x))));
      const positive = mul(t, add(relu(neg(x)), tail));
      return add(p === null ? positive : mul(p, positive), mul(sub(1, t), add(relu(x), tail)));
    }),
  save: (needs, [x, t, p]) => ({ x, t, p: needs[0] || needs[1] ? p : null }),
  backward: (g, { x, t, p }, needs) => {
    const times = (y: Tensor): Tensor => (p === null ? y : mul(p, y));
    return [
      needs[0] ? mul(g, sub(mul(sub(1, t), sigmoid(x)), times(mul(t, sigmoid(neg(x)))))) : null,
      needs[1] ? mul(g, sub(logSigmoid(neg(x)), times(logSigmoid(x)))) : null,
      needs[2] ? neg(mul(g, mul(t, logSigmoid(x)))) : null,
    ];
  },
});

/**
 * −w (p t ln σ(x) + (1 − t) ln(1 − σ(x))), reduced; for logits x, targets t in [0, 1] and p = posWeight.
 *   ∂x = w ((1 − t) σ(x) − p t σ(−x)) / n
 * Throws: ShapeError for shapes that do not fit; DTypeError for a weight or posWeight of another dtype than x
 */
export const binaryCrossEntropyWithLogits = perElement('binaryCrossEntropyWithLogits', LOGITS_DEFAULTS, (x, t, { weight, posWeight }) => {
  const op = 'binaryCrossEntropyWithLogits';
  const dtype = promote(floating(x.dtype), t.dtype);
  const p = posWeight === null ? null : cast(expandOperand(op, 'posWeight', posWeight, x.shape), dtype);
  return weighted(op, withLogitsOp(cast(x, dtype), cast(t, dtype), p), weight);
});

/**
 * Activation functions. relu, sigmoid, tanh and logSigmoid are operations; the others are composed of operations. At a kink
 * the gradient is that of the side that PyTorch takes.
 */
import { isFloat } from '../../core/dtype.ts';
import { ArgumentError, DTypeError, ShapeError, shown } from '../../core/errors.ts';
import { checkNumber, refuseOptions, withDefaults } from '../../core/options.ts';
import { shapesOf } from '../../core/shape.ts';
import type { OutputGradOp } from '../../kernels/index.ts';
import { empty, emptyLike } from '../../kernels/view.ts';
import { defineOp, withoutBranches } from '../op.ts';
import { composed } from '../scope-stack.ts';
import { checkTensors, type Tensor } from '../tensor.ts';
import { gt, logicalAnd, lt, where } from './comparison.ts';
import { binary, checkUnary, fromOutput, unary, type Binary, type Derivative, type Unary } from './elementwise-builders.ts';
import { GELU_DEFAULTS, SOFTPLUS_DEFAULTS, type GeluOptions, type SoftplusOptions } from './options.ts';
import { add, clamp, div, erf, expm1, mul, neg, square, sub } from './elementwise.ts';
import { arithmetic, expandTo, floating, toFloat, withOperands } from './operands.ts';

/**
 * Makes the operation dx = name(g, y): the gradient of a unary op in one pass over memory. It is linear in g. `dy`
 * computes the gradient for y, dy(h ⊙ g, y), and is null where dx does not depend on y.
 */
function outputGrad(name: OutputGradOp, dy: Derivative | null): Derivative {
  const op: Binary = binary(name, floating, {
    save: (_, [g, y]) => ({ g: dy === null ? null : g, y }),
    backward: (h, { g, y }, needs) => {
      const dg = op(h, y);
      if (dy === null || g === null || !needs[1]) return [dg, null];
      return [dg, dy(mul(h, g), y)];
    },
  });
  return op;
}

/** Makes a function that checks its only argument before it runs `fn`. */
function composedUnary(name: string, fn: Unary): Unary {
  const run = composed(fn);
  return function (x) {
    checkUnary(name, x, arguments[1]);
    return run(x);
  };
}

const reluGrad = outputGrad('reluGrad', null);
/** y = max(x, 0).   ∂x = g where y > 0, and at NaN, as in PyTorch */
export const relu: Unary = unary('relu', arithmetic, {
  save: (_needs, _args, [y]) => ({ y }),
  backward: (g, { y }) => [reluGrad(g, y)],
  branch: (_, [y]) => gt(y, 0),
});

/** y = σ(x) = 1 / (1 + e⁻ˣ).   ∂x = g ⊙ y ⊙ (1 − y) */
export const sigmoid: Unary = fromOutput(
  'sigmoid',
  floating,
  outputGrad('sigmoidGrad', (hg, y) => mul(hg, sub(1, mul(y, 2)))),
);

/** y = tanh x.   ∂x = g ⊙ (1 − y²) */
export const tanh: Unary = fromOutput(
  'tanh',
  floating,
  outputGrad('tanhGrad', (hg, y) => mul(hg, mul(y, -2))),
);

const logSigmoidOp = defineOp({
  name: 'logSigmoid',
  forward: (k, x: Tensor) => {
    const y = emptyLike(x);
    const t = emptyLike(x);
    // min(x, 0) − ln(1 + e^−|x|): neither term overflows.
    k.unary('abs', x, t);
    k.unary('neg', t, t);
    k.unary('exp', t, t);
    k.unary('log1p', t, t);
    const zero = empty([], x.dtype);
    k.fill(0, zero);
    k.binary('minimum', x, expandTo(zero, x.shape), y);
    k.binary('sub', y, t, y);
    return y;
  },
  save: (_, [x]) => ({ x }),
  backward: (g, { x }) => [mul(g, sigmoid(neg(x)))],
});
/** y = ln σ(x).   ∂x = g ⊙ σ(−x) */
export const logSigmoid: Unary = composedUnary('logSigmoid', (x) => withOperands('logSigmoid', [x], floating, logSigmoidOp));

/** y = x where x > 0, else negativeSlope · x */
export const leakyRelu = composed(function leakyRelu(x: Tensor, negativeSlope: number = 0.01): Tensor {
  const t = toFloat('leakyRelu', x);
  refuseOptions('leakyRelu', arguments[2]);
  checkNumber('leakyRelu', 'negativeSlope', negativeSlope);
  return where(gt(t, 0), t, mul(t, negativeSlope));
});

/**
 * y = x where x > 0, else w ⊙ x, with one learned slope or one per channel
 * Shape:  x [N,C,…], w [C] or [1] (the only one for x [N] or []) → y as x
 * Source: He et al. 2015, arXiv:1502.01852, eq. 1
 * Throws: ShapeError for other sizes
 */
export const prelu = composed(function prelu(x: Tensor, w: Tensor): Tensor {
  checkTensors('prelu', { x, w });
  refuseOptions('prelu', arguments[2]);
  if (isFloat(x.dtype) && x.dtype !== w.dtype) throw new DTypeError(`prelu: x is ${x.dtype}, w ${w.dtype}; they must be equal`);
  const channels = x.ndim < 2 ? 1 : x.size(1);
  if (w.ndim > 1 || (w.numel !== 1 && w.numel !== channels)) {
    throw new ShapeError(`prelu: x has ${channels} channels, w must be [1] or [${channels}] ${shapesOf({ x, w })}`);
  }
  const slopes = w.reshape(w.numel === 1 ? [] : x.shape.map((c, d) => (d === 1 ? c : 1)));
  const positive = gt(x, 0);
  // Where x is positive, the slope multiplies 0 and not x: 0 · ∞ would give NaN in the gradient of w.
  return where(positive, x, mul(where(positive, 0, x), slopes));
});

/**
 * y = x where x > 0, else alpha · (eˣ − 1)
 * Source: Clevert et al. 2015, arXiv:1511.07289, eq. 15
 */
export const elu = composed(function elu(x: Tensor, alpha: number = 1): Tensor {
  const t = toFloat('elu', x);
  refuseOptions('elu', arguments[2]);
  checkNumber('elu', 'alpha', alpha);
  const positive = gt(t, 0);
  return where(positive, t, mul(expm1(where(positive, 0, t)), alpha));
});

/**
 * y = x Φ(x), Φ the standard normal distribution: ½ (1 + erf(x / √2)), or ½ (1 + tanh(√(2/π) (x + 0.044715 x³)))
 * Source: Hendrycks & Gimpel 2016, arXiv:1606.08415, section 2
 * Throws: ArgumentError for another `approximate`
 */
export const gelu = composed(function gelu(x: Tensor, options: GeluOptions = {}): Tensor {
  const { approximate } = withDefaults('gelu', options, GELU_DEFAULTS);
  if (approximate !== 'none' && approximate !== 'tanh')
    throw new ArgumentError(`gelu: approximate must be 'none' or 'tanh', got ${shown(approximate)}`);
  const t = toFloat('gelu', x);
  const bend = approximate === 'none' ? erf(mul(t, Math.SQRT1_2)) : tanhBend(t);
  return mul(mul(t, 0.5), add(bend, 1));
});

/** tanh(√(2/π) (x + 0.044715 x³)), near erf(x / √2) */
function tanhBend(x: Tensor): Tensor {
  const cubic = add(x, mul(mul(square(x), x), 0.044715));
  return tanh(mul(cubic, Math.sqrt(2 / Math.PI)));
}

/**
 * y = ln(1 + e^βx) / β where βx ≤ threshold, else x
 * Throws: ArgumentError for beta 0
 */
export const softplus = composed(function softplus(x: Tensor, options: SoftplusOptions = {}): Tensor {
  const { beta, threshold } = withDefaults('softplus', options, SOFTPLUS_DEFAULTS);
  checkNumber('softplus', 'beta', beta);
  checkNumber('softplus', 'threshold', threshold);
  if (!(Math.abs(beta) > 0)) throw new ArgumentError(`softplus: beta must not be 0, got ${shown(beta)}`);
  const t = toFloat('softplus', x);
  const scaled = mul(t, beta);
  return where(gt(scaled, threshold), t, div(logSigmoid(neg(scaled)), -beta));
});

/** y = x σ(x) */
export const silu: Unary = composedUnary('silu', (x) => mul(x, sigmoid(x)));

/** y = x tanh(ln(1 + eˣ)) */
export const mish: Unary = composedUnary('mish', (x) => mul(x, neg(tanh(logSigmoid(neg(x))))));

/** y = min(max(x + 3, 0), 6) / 6.   ∂x = g / 6 where −3 < x < 3 */
export const hardsigmoid: Unary = composedUnary('hardsigmoid', (x) => {
  const t = toFloat('hardsigmoid', x);
  // Outside −3 … 3, clamp gives the value 0 or 1 and no gradient. Its own kinks lie inside, where its result is not used.
  const outside = withoutBranches(() => clamp(t, 0, 1));
  return where(logicalAnd(gt(t, -3), lt(t, 3)), div(add(t, 3), 6), outside);
});

/** y = x min(max(x + 3, 0), 6) / 6.   ∂x = g ⊙ (x / 3 + ½) where −3 ≤ x ≤ 3, g above */
export const hardswish: Unary = composedUnary('hardswish', (x) => mul(x, div(clamp(add(toFloat('hardswish', x), 3), 0, 6), 6)));

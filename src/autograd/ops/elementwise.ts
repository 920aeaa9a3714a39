/**
 * Elementwise arithmetic and functions. Two operands follow NumPy broadcasting.
 */
import { checkFits, isFloat } from '../../core/dtype.ts';
import { DTypeError } from '../../core/errors.ts';
import { refuseOptions } from '../../core/options.ts';
import { broadcastShapes } from '../../core/shape.ts';
import { defineOp } from '../op.ts';
import { composed } from '../scope-stack.ts';
import { isTensor, type Tensor } from '../tensor.ts';
import { eq, ge, gt, isfinite, le, logicalAnd, logicalNot, lt, where } from './comparison.ts';
import { binary, fromInput, fromOutput, unary, type Binary, type Unary } from './elementwise-builders.ts';
import { arithmetic, cast, expandTo, floating, emptyResult, withOperands, type Operand } from './operands.ts';
import { toInt32 } from './through-float64.ts';

// — two operands —

/** y = a + b.   ∂a = g,   ∂b = g */
export const add: Binary = binary('add', arithmetic, { backward: (g) => [g, g] });

/** y = a − b.   ∂a = g,   ∂b = −g */
export const sub: Binary = binary('sub', arithmetic, { backward: (g, _, needs) => [g, needs[1] ? neg(g) : null] });

/** y = a ⊙ b.   ∂a = g ⊙ b,   ∂b = g ⊙ a */
export const mul: Binary = binary('mul', arithmetic, {
  save: (needs, [a, b]) => ({ a: needs[1] ? a : null, b: needs[0] ? b : null }),
  backward: (g, { a, b }) => [b && mul(g, b), a && mul(g, a)],
});

/** y = a / b; two int32 operands give float32.   ∂a = g / b,   ∂b = −g ⊙ a / b² */
export const div: Binary = binary('div', floating, {
  save: (needs, [a, b]) => ({ a: needs[1] ? a : null, b }),
  // a / b² in two steps, then times g: no product on the way is larger than it must be.
  backward: (g, { a, b }, needs) => [needs[0] ? div(g, b) : null, a && neg(mul(g, div(div(a, b), b)))],
});

const floatPow: Binary = binary('pow', floating, {
  save: (needs, [a, b], [y]) => ({ a, b, y: needs[1] ? y : null }),
  backward: (g, { a, b, y }, needs) => {
    const da = needs[0] ? mul(g, mul(b, pow(baseOfGradient(a, b), sub(b, 1)))) : null;
    if (y === null) return [da, null];
    // Where a = 0 and b ≥ 0, y does not depend on b, and y · ln a would be NaN.
    const flat = logicalAnd(ge(b, 0), eq(a, 0));
    const slope = mul(y, log(where(flat, 1, a)));
    return [da, mul(g, where(flat, 0, slope))];
  },
});

/** Whether an operand of pow has whole numbers only: a tensor of int32 or bool, or such a number. */
const isWhole = (t: Operand): boolean => (isTensor(t) ? !isFloat(t.dtype) : Number.isInteger(t));

const intPow = composed((a: Operand, b: Operand): Tensor => {
  for (const n of [a, b]) if (typeof n === 'number') checkFits('pow', n, 'int32');
  const negative = (typeof b === 'number' ? [b] : b.data()).find((v) => v < 0);
  if (negative !== undefined)
    throw new DTypeError(`pow: the exponent ${negative} of whole numbers is negative; convert one operand with .to('float32') first`);
  const wide = (t: Operand): Operand => (typeof t === 'number' ? t : cast(t, 'float64'));
  // A power that fits int32 is within half of a whole number.
  return toInt32('pow', round(floatPow(wide(a), wide(b))));
});

/**
 * y = a ^ b. Whole numbers, of int32 or bool tensors and numbers, give int32; otherwise floats.   ∂a = g ⊙ b ⊙ a^(b−1),   ∂b = g ⊙ y ⊙ ln a
 * Throws: DTypeError for a negative exponent of whole numbers, and where their power overflows int32
 */
export const pow: Binary = function pow(a, b) {
  if (arguments.length > 2) refuseOptions('pow', arguments[2]);
  const hasTensor = isTensor(a) || isTensor(b);
  return hasTensor && isWhole(a) && isWhole(b) ? intPow(a, b) : floatPow(a, b);
};

/** Returns a, but 1 where b = 0 and 1 / a is not finite: there b · a^(b−1) and its derivatives are 0, and 0 · a⁻¹ would be NaN. */
function baseOfGradient(a: Tensor, b: Tensor): Tensor {
  if (b.numel === 1 && b.item() !== 0) return a;
  const isFlat = logicalAnd(eq(b, 0), logicalNot(isfinite(reciprocal(a))));
  return where(isFlat, 1, a);
}

/** Makes maximum or minimum; `wins` is the strict comparison. */
const extremumOp = (name: 'maximum' | 'minimum', wins: Binary): Binary =>
  binary(name, arithmetic, {
    save: (_, [a, b]) => ({ a, b }),
    backward: (g, { a, b }, needs) => {
      // As in PyTorch: ties share the gradient. At NaN neither operand wins, and both get all of it.
      const shared = where(eq(a, b), mul(g, 0.5), g);
      return [needs[0] ? where(wins(b, a), 0, shared) : null, needs[1] ? where(wins(a, b), 0, shared) : null];
    },
    branch: ([a, b]) => wins(a, b),
  });

/** y = max(a, b) per element; NaN wins.   ∂ goes to the larger, half to each at a tie */
export const maximum: Binary = extremumOp('maximum', (a, b) => gt(a, b));
/** y = min(a, b) per element; NaN wins.   ∂ goes to the smaller, half to each at a tie */
export const minimum: Binary = extremumOp('minimum', (a, b) => lt(a, b));

// — one operand —

/** y = −x.   ∂x = −g */
export const neg: Unary = unary('neg', arithmetic, { backward: (g) => [neg(g)] });

/** y = |x|.   ∂x = g ⊙ sign x */
export const abs: Unary = unary('abs', arithmetic, {
  save: (_, [x]) => ({ x }),
  backward: (g, { x }) => [mul(g, sign(x))],
  branch: ([x]) => sign(x),
});

/** y = −1, 0 or 1. No gradient: the derivative is 0 wherever it exists. */
export const sign: Unary = unary('sign', arithmetic, {});

/** y = x².   ∂x = 2 g ⊙ x */
export const square: Unary = fromInput('square', arithmetic, (g, x) => mul(g, mul(x, 2)));

/** y = eˣ.   ∂x = g ⊙ y */
export const exp: Unary = fromOutput('exp', floating, (g, y) => mul(g, y));

/** y = eˣ − 1, exact for small x.   ∂x = g ⊙ eˣ, not y + 1, which cancels for x < 0 */
export const expm1: Unary = fromInput('expm1', floating, (g, x) => mul(g, exp(x)));

/** y = ln x.   ∂x = g / x */
export const log: Unary = fromInput('log', floating, (g, x) => div(g, x));

/** y = ln(1 + x), exact for small x.   ∂x = g / (1 + x) */
export const log1p: Unary = fromInput('log1p', floating, (g, x) => div(g, add(x, 1)));

/** y = √x.   ∂x = g / 2y */
export const sqrt: Unary = fromOutput('sqrt', floating, (g, y) => div(g, mul(y, 2)));

/** y = 1 / x.   ∂x = −g ⊙ y² */
export const reciprocal: Unary = fromOutput('reciprocal', floating, (g, y) => neg(mul(g, square(y))));

/** y = 1 / √x */
export const rsqrt: Unary = composed((x: Tensor) => reciprocal(sqrt(x)));

/** y = sin x.   ∂x = g ⊙ cos x */
export const sin: Unary = fromInput('sin', floating, (g, x) => mul(g, cos(x)));

/** y = cos x.   ∂x = −g ⊙ sin x */
export const cos: Unary = fromInput('cos', floating, (g, x) => neg(mul(g, sin(x))));

/** y = 2/√π ∫₀ˣ e^−t² dt.   ∂x = g ⊙ 2/√π e^−x² */
export const erf: Unary = fromInput('erf', floating, (g, x) => mul(g, mul(exp(neg(square(x))), 2 / Math.sqrt(Math.PI))));

const rounding = (name: 'floor' | 'ceil' | 'round'): Unary => {
  const op = unary(name, floating, {});
  return (x) => (isFloat(x.dtype) ? op(x) : add(x, 0));
};

/** y = ⌊x⌋; int32 stays. No gradient: the derivative is 0 wherever it exists. */
export const floor: Unary = rounding('floor');
/** y = ⌈x⌉; int32 stays. No gradient. */
export const ceil: Unary = rounding('ceil');
/** y = the integer nearest x, ties to even; int32 stays. No gradient. */
export const round: Unary = rounding('round');

const clampOp = defineOp({
  name: 'clamp',
  broadcasts: true,
  forward: (k, x: Tensor, min: Tensor | null, max: Tensor | null) => {
    const shape = broadcastShapes('clamp', ...[x, min, max].map((t) => t?.shape ?? []));
    const y = emptyResult(shape, x.dtype, [x]);
    if (min === null) k.copy(expandTo(x, shape), y);
    else k.binary('maximum', expandTo(x, shape), expandTo(min, shape), y);
    if (max !== null) k.binary('minimum', y, expandTo(max, shape), y);
    return y;
  },
  save: (_, [x, min, max]) => ({ x, min, max }),
  backward: (g, { x, min, max }, needs) => [
    needs[0] ? clampGradX(g, x, min, max) : null,
    needs[1] && min !== null ? clampGradMin(g, x, min, max) : null,
    needs[2] && max !== null ? clampGradMax(g, x, min, max) : null,
  ],
  branch: ([x, min, max]) => {
    const sides = [min && lt(x, min), max && gt(x, max), min && max && gt(min, max)].filter((s) => s !== null);
    return sides.reduce((a, b) => add(mul(a, 2), b));
  },
});

/** g where min ≤ x ≤ max, else 0 */
function clampGradX(g: Tensor, x: Tensor, min: Tensor | null, max: Tensor | null): Tensor {
  const aboveMin = min === null ? g : where(ge(x, min), g, 0);
  return max === null ? aboveMin : where(le(x, max), aboveMin, 0);
}

/** g where x < min < max, else 0 */
function clampGradMin(g: Tensor, x: Tensor, min: Tensor, max: Tensor | null): Tensor {
  const belowMax = max === null ? g : where(lt(min, max), g, 0);
  return where(lt(x, min), belowMax, 0);
}

/** g where x > max or min > max, else 0 */
function clampGradMax(g: Tensor, x: Tensor, min: Tensor | null, max: Tensor): Tensor {
  const minAboveMax = min === null ? 0 : where(gt(min, max), g, 0);
  return where(gt(x, max), g, minAboveMax);
}

/**
 * y = min(max(x, min), max); either bound may be null, a number or a tensor.
 * ∂x = g where min ≤ x ≤ max,   ∂min = g where x < min < max,   ∂max = g where x > max or min > max
 */
export function clamp(x: Tensor, min: Operand | null, max: Operand | null = null): Tensor {
  if (min === null && max === null) throw new DTypeError('clamp: give at least one bound');
  const operands = [x, min, max].filter((t) => t !== null);
  return withOperands('clamp', operands, arithmetic, (t, ...bounds) => {
    const lower = min === null ? null : bounds[0]!;
    const upper = max === null ? null : bounds.at(-1)!;
    return clampOp(t, lower, upper);
  });
}

/**
 * Elementwise operations: one number in, one number out, with NumPy broadcasting where there are two.
 */
import { ITEM_SIZE, checkDType, checkFits, fits, isFloat, promote, type DType } from '../../core/dtype.ts';
import { ArgumentError, DTypeError, ShapeError, kindOf } from '../../core/errors.ts';
import { broadcastShapes, broadcastStrides, formatShape, sameShape, sizeOf, type Shape } from '../../core/shape.ts';
import type { BinaryOp, CompareOp, Kernels, OutputGradOp, UnaryOp } from '../../kernels/index.ts';
import { viewOf } from '../../kernels/memory/wasm-memory.ts';
import { addressOf, empty, emptyLike, restride, type View } from '../../kernels/view.ts';
import { defineOp, type OpSpec } from '../op.ts';
import { Tensor } from '../tensor.ts';

/** What may stand where a tensor operand does: a number never changes the other operand's dtype. */
export type Operand = Tensor | number;

// — forward helpers —

/** The view read as `shape`, with stride 0 along broadcast dims. */
export function expandTo(v: View, shape: Shape): View {
  return sameShape(v.shape, shape) ? v : restride(v, shape, broadcastStrides(v.shape, v.strides, shape));
}

/** An uninitialised result of `shape` in the memory order of the operand with the most elements. */
function resultOf(shape: Shape, dtype: DType, operands: readonly View[]): View {
  let big = operands[0]!;
  // Most often the shape is an operand's own, and the others are like it or 0-d.
  for (const v of operands) if (v.shape === shape) return emptyLike(v, shape, dtype);
  for (const v of operands) if (sizeOf(v.shape) > sizeOf(big.shape)) big = v;
  return emptyLike(expandTo(big, shape), shape, dtype);
}

// — operands: numbers and dtypes —

/** Throws ArgumentError for what is neither a tensor nor a number: plain JavaScript may pass anything. */
export function checkOperand(name: string, t: Operand): void {
  if (typeof t === 'number' || t instanceof Tensor) return;
  throw new ArgumentError(`${name}: expected a tensor or a number, got ${kindOf(t)}`);
}

/** The widest dtype among the operands that are tensors. */
function commonDType(name: string, operands: readonly Operand[]): DType {
  let dtype: DType | null = null;
  for (const t of operands) {
    checkOperand(name, t);
    if (typeof t !== 'number') dtype = dtype === null ? t.dtype : promote(dtype, t.dtype);
  }
  if (dtype === null) throw new DTypeError(`${name}: at least one operand must be a tensor`);
  return dtype;
}

/** A 0-d tensor that nobody owns: free it after use. */
function constant(value: number, dtype: DType): Tensor {
  const v = empty([], dtype);
  viewOf(dtype)[addressOf(v) / ITEM_SIZE[dtype]] = value;
  return Tensor.fromView(v);
}

/**
 * Calls `op` on the operands as tensors of one dtype: `to(common)`, by default the common dtype itself. Constants and casts
 * made for it are freed, unless the graph holds them.
 */
export function withOperands<R>(name: string, operands: readonly Operand[], to: (common: DType) => DType, op: (...t: Tensor[]) => R): R {
  const dtype = to(commonDType(name, operands));
  for (const n of operands) if (typeof n === 'number') checkFits(name, n, dtype);
  const tensors: Tensor[] = [];
  try {
    for (const t of operands) tensors.push(typeof t === 'number' ? constant(t, dtype) : t.dtype === dtype ? t : cast(t, dtype));
    return op(...tensors);
  } finally {
    for (const t of tensors) if (t.node === null && !operands.includes(t)) t.free('dispose');
  }
}

const common = (d: DType): DType => d;
const arithmetic = (d: DType): DType => (d === 'bool' ? 'int32' : d);
const floating = (d: DType): DType => (isFloat(d) ? d : 'float32');

// — an operation is its formula; kernel, shapes and dtypes are the same for all —

/** An operation on one tensor. */
export type Unary = (x: Tensor) => Tensor;
/** An operation on two operands that broadcast against each other. */
export type Binary = (a: Operand, b: Operand) => Tensor;

type Formulas<A extends readonly unknown[], S extends object> = Pick<OpSpec<A, View, S>, 'save' | 'backward' | 'branch'>;

/** The operation y = name(x), computed in the dtype that `to` makes of x's. */
function unary<S extends object>(name: UnaryOp, to: (d: DType) => DType, formulas: Formulas<[x: Tensor], S>): Unary {
  const forward = (k: Kernels, x: Tensor): View => {
    const y = emptyLike(x);
    k.unary(name, x, y);
    return y;
  };
  const op = defineOp({ name, forward, ...formulas });
  return (x) => withOperands(name, [x], to, op);
}

type Derivative = (g: Tensor, saved: Tensor) => Tensor;

/** unary where ∂x = dx(g, x). */
function fromInput(name: UnaryOp, to: (d: DType) => DType, dx: Derivative): Unary {
  return unary(name, to, { save: (_, x) => ({ x }), backward: (g, { x }) => [dx(g, x)] });
}

/** unary where ∂x = dx(g, y): the output says as much as the input. */
function fromOutput(name: UnaryOp, to: (d: DType) => DType, dx: Derivative): Unary {
  return unary(name, to, { save: (_, __, y) => ({ y }), backward: (g, { y }) => [dx(g, y)] });
}

/** The operation y = name(a, b), computed in the dtype that `to` makes of the common one. */
function binary<S extends object>(name: BinaryOp, to: (d: DType) => DType, formulas: Formulas<[a: Tensor, b: Tensor], S>): Binary {
  const forward = (k: Kernels, a: Tensor, b: Tensor): View => {
    const shape = broadcastShapes(name, a.shape, b.shape);
    const y = resultOf(shape, a.dtype, [a, b]);
    k.binary(name, expandTo(a, shape), expandTo(b, shape), y);
    return y;
  };
  const op = defineOp({ name, broadcasts: true, forward, ...formulas });
  return (a, b) => {
    // Most calls: nothing to convert, nothing to free.
    if (a instanceof Tensor && b instanceof Tensor && a.dtype === b.dtype && to(a.dtype) === a.dtype) return op(a, b);
    return withOperands(name, [a, b], to, op);
  };
}

/**
 * dx = name(g, y), the gradient of a unary op in one pass over memory: linear in g, ∂y = dy(h ⊙ g, y) where it depends on y.
 */
function outputGrad(name: OutputGradOp, dy: Derivative | null): Derivative {
  const op: Binary = binary(name, floating, {
    save: (_, g, y) => ({ g: dy && g, y }),
    backward: (h, { g, y }, needs) => [op(h, y), g && needs[1] ? dy!(mul(h, g), y) : null],
  });
  return op;
}

// — dtype —

const castOp = defineOp({
  name: 'to',
  forward: (k, x: Tensor, dtype: DType) => {
    const y = emptyLike(x, x.shape, dtype);
    k.copy(x, y);
    return y;
  },
  save: (_, x) => ({ dtype: x.dtype }),
  backward: (g, { dtype }) => [cast(g, dtype)],
});

/** x converted to `dtype`: floats truncate to int32, anything ≠ 0 is true. The gradient is cast back. Same dtype: x itself. */
export function cast(x: Tensor, dtype: DType): Tensor {
  return x.dtype === dtype ? x : castOp(x, checkDType('to', dtype));
}

/** A copy in x's memory order.   ∂x = g */
export const clone = defineOp({
  name: 'clone',
  forward: (k, x: Tensor) => {
    const y = emptyLike(x);
    k.copy(x, y);
    return y;
  },
  backward: (g) => [g],
});

/** x itself where it is float, else as float32. */
export const floats = (x: Tensor): Tensor => cast(x, floating(x.dtype));

// — two operands —

/** y = a + b.   ∂a = g,   ∂b = g */
export const add: Binary = binary('add', arithmetic, { backward: (g) => [g, g] });

/** y = a − b.   ∂a = g,   ∂b = −g */
export const sub: Binary = binary('sub', arithmetic, { backward: (g, _, needs) => [g, needs[1] ? neg(g) : null] });

/** y = a ⊙ b.   ∂a = g ⊙ b,   ∂b = g ⊙ a */
export const mul: Binary = binary('mul', arithmetic, {
  save: (needs, a, b) => ({ a: needs[1] ? a : null, b: needs[0] ? b : null }),
  backward: (g, { a, b }) => [b && mul(g, b), a && mul(g, a)],
});

/** y = a / b; two int32 operands give float32.   ∂a = g / b,   ∂b = −g ⊙ a / b² */
export const div: Binary = binary('div', floating, {
  save: (needs, a, b) => ({ a: needs[1] ? a : null, b }),
  backward: (g, { a, b }, needs) => [needs[0] ? div(g, b) : null, a && neg(div(div(mul(g, a), b), b))],
});

/** y = a ^ b, in floats.   ∂a = g ⊙ b ⊙ a^(b−1),   ∂b = g ⊙ y ⊙ ln a */
export const pow: Binary = binary('pow', floating, {
  save: (needs, a, b, y) => ({ a, b, y: needs[1] ? y : null }),
  backward: (g, { a, b, y }, needs) => {
    // a = 0 with b ≥ 0: y does not depend on b near there, and y · ln a would be NaN.
    const flat = logicalAnd(ge(b, 0), eq(a, 0));
    return [needs[0] ? mul(g, mul(b, pow(a, lowered(a, b)))) : null, y && mul(g, where(flat, 0, mul(y, log(where(flat, 1, a)))))];
  },
});

/** b − 1, but 0 where a = b = 0: there b · a^(b−1) is to be 0, and so is its derivative, where 0 · a⁻¹ is NaN. */
function lowered(a: Tensor, b: Tensor): Tensor {
  const less = sub(b, 1);
  return b.numel === 1 && b.item() !== 0 ? less : where(where(eq(b, 0), eq(a, 0), 0), 0, less);
}

/** maximum or minimum; `wins` is a strict comparison. */
const extremum = (name: 'maximum' | 'minimum', wins: Binary): Binary =>
  binary(name, arithmetic, {
    save: (_, a, b) => ({ a, b }),
    backward: (g, { a, b }, needs) => {
      // As PyTorch's: ties share the gradient, and at NaN, where neither wins, both get it.
      const shared = where(eq(a, b), mul(g, 0.5), g);
      return [needs[0] ? where(wins(b, a), 0, shared) : null, needs[1] ? where(wins(a, b), 0, shared) : null];
    },
    branch: (a, b) => wins(a, b),
  });

/** y = max(a, b) per element; NaN wins.   ∂ goes to the larger, half to each at a tie */
export const maximum: Binary = extremum('maximum', (a, b) => gt(a, b));
/** y = min(a, b) per element; NaN wins.   ∂ goes to the smaller, half to each at a tie */
export const minimum: Binary = extremum('minimum', (a, b) => lt(a, b));

const compare = (op: CompareOp): Binary => {
  const run = defineOp({
    name: op,
    forward: (k, a: Tensor, b: Tensor) => {
      const shape = broadcastShapes(op, a.shape, b.shape);
      const y = resultOf(shape, 'bool', [a, b]);
      k.compare(op, expandTo(a, shape), expandTo(b, shape), y);
      return y;
    },
  });
  return (a, b) => {
    // A number that the tensor cannot hold has its place all the same: float64 holds both sides.
    const holds = (d: DType): boolean => [a, b].every((n) => typeof n !== 'number' || fits(n, d));
    return withOperands(op, [a, b], (d) => (holds(d) ? d : 'float64'), run);
  };
};

/** y = (a = b), bool. No gradient. */
export const eq: Binary = compare('eq');
/** y = (a ≠ b), bool. No gradient. */
export const ne: Binary = compare('ne');
/** y = (a < b), bool. No gradient. */
export const lt: Binary = compare('lt');
/** y = (a ≤ b), bool. No gradient. */
export const le: Binary = compare('le');
/** y = (a > b), bool. No gradient. */
export const gt: Binary = compare('gt');
/** y = (a ≥ b), bool. No gradient. */
export const ge: Binary = compare('ge');

const whereOp = defineOp({
  name: 'where',
  broadcasts: true,
  forward: (k, c: Tensor, a: Tensor, b: Tensor) => {
    if (c.dtype !== 'bool') throw new DTypeError(`where: the condition must be bool, got ${c.dtype}; compare it first, e.g. c.ne(0)`);
    const shape = broadcastShapes('where', c.shape, a.shape, b.shape);
    const y = resultOf(shape, a.dtype, [a, b, c]);
    k.where(expandTo(c, shape), expandTo(a, shape), expandTo(b, shape), y);
    return y;
  },
  save: (_, c) => ({ c }),
  backward: (g, { c }, needs) => [null, needs[1] ? where(c, g, 0) : null, needs[2] ? where(c, 0, g) : null],
  branch: (c) => c,
});

/** y = a where c, else b; c bool.   ∂a = g where c,   ∂b = g where not c */
export function where(c: Tensor, a: Operand, b: Operand): Tensor {
  if (typeof a === 'number' && typeof b === 'number') {
    throw new DTypeError('where: a or b must be a tensor, so that the result has its dtype; use full([], a, { dtype })');
  }
  return withOperands('where', [a, b], common, (x, y) => whereOp(c, x, y));
}

/** x with `value`, a number or a 0-d tensor, where the mask is true; mask bool, broadcasts against x.   ∂x = g where not mask */
export function maskedFill(x: Tensor, mask: Tensor, value: Operand): Tensor {
  if (mask.dtype !== 'bool')
    throw new DTypeError(`maskedFill: the mask must be bool, got ${mask.dtype}; compare it first, e.g. mask.ne(0)`);
  checkOperand('maskedFill', value);
  if (typeof value !== 'number' && value.ndim !== 0)
    throw new ShapeError(`maskedFill: value must be a number or a 0-d tensor, got ${formatShape(value.shape)}; use where(mask, value, x)`);
  broadcastShapes('maskedFill', x.shape, mask.shape);
  if (typeof value === 'number') checkFits('maskedFill', value, x.dtype);
  return where(mask, value, x);
}

// — truth: 0 is false, all else true, NaN too —

const logical = (name: string, op: (a: Tensor, b: Tensor) => Tensor): Binary => {
  const run = (a: Tensor, b: Tensor): Tensor => {
    broadcastShapes(name, a.shape, b.shape);
    return op(a, b);
  };
  return (a, b) => withOperands(name, [a, b], () => 'bool', run);
};

/** y = (a and b), bool. No gradient. */
export const logicalAnd: Binary = logical('logicalAnd', (a, b) => where(a, b, 0));
/** y = (a or b), bool. No gradient. */
export const logicalOr: Binary = logical('logicalOr', (a, b) => where(a, 1, b));
/** y = (not x), bool. No gradient. */
export const logicalNot: Unary = (x) => eq(x, 0);
/** y = whether x is NaN, bool. No gradient. */
export const isnan: Unary = (x) => ne(x, x);
/** y = whether x is neither NaN nor infinite, bool. No gradient. */
export const isfinite: Unary = (x) => logicalAnd(gt(x, -Infinity), lt(x, Infinity));

// — one operand —

/** y = −x.   ∂x = −g */
export const neg: Unary = unary('neg', arithmetic, { backward: (g) => [neg(g)] });

/** y = |x|.   ∂x = g ⊙ sign x */
export const abs: Unary = unary('abs', arithmetic, {
  save: (_, x) => ({ x }),
  backward: (g, { x }) => [mul(g, sign(x))],
  branch: (x) => sign(x),
});

/** y = −1, 0 or 1. No gradient: it is zero wherever there is one. */
export const sign: Unary = unary('sign', arithmetic, {});

/** y = x².   ∂x = 2 g ⊙ x */
export const square: Unary = fromInput('square', arithmetic, (g, x) => mul(g, mul(x, 2)));

const reluGrad = outputGrad('reluGrad', null);
/** y = max(x, 0).   ∂x = g where y > 0 (and, as PyTorch has it, at NaN) */
export const relu: Unary = unary('relu', arithmetic, {
  save: (_, __, y) => ({ y }),
  backward: (g, { y }) => [reluGrad(g, y)],
  branch: (_, y) => gt(y, 0),
});

/** y = eˣ.   ∂x = g ⊙ y */
export const exp: Unary = fromOutput('exp', floating, (g, y) => mul(g, y));

/** y = eˣ − 1, exact for small x.   ∂x = g ⊙ (y + 1) */
export const expm1: Unary = fromOutput('expm1', floating, (g, y) => mul(g, add(y, 1)));

/** y = ln x.   ∂x = g / x */
export const log: Unary = fromInput('log', floating, (g, x) => div(g, x));

/** y = ln(1 + x), exact for small x.   ∂x = g / (1 + x) */
export const log1p: Unary = fromInput('log1p', floating, (g, x) => div(g, add(x, 1)));

/** y = √x.   ∂x = g / 2y */
export const sqrt: Unary = fromOutput('sqrt', floating, (g, y) => div(g, mul(y, 2)));

/** y = 1 / x.   ∂x = −g ⊙ y² */
export const reciprocal: Unary = fromOutput('reciprocal', floating, (g, y) => neg(mul(g, square(y))));

/** y = 1 / √x */
export const rsqrt: Unary = (x) => reciprocal(sqrt(x));

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

/** y = ⌊x⌋; int32 stays. No gradient: it is zero wherever there is one. */
export const floor: Unary = rounding('floor');
/** y = ⌈x⌉; int32 stays. No gradient. */
export const ceil: Unary = rounding('ceil');
/** y = the whole number nearest x, the even one of two; int32 stays. No gradient. */
export const round: Unary = rounding('round');

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
    for (const op of ['abs', 'neg', 'exp', 'log1p'] as const) k.unary(op, op === 'abs' ? x : t, t);
    const zero = empty([], x.dtype);
    k.fill(0, zero);
    k.binary('minimum', x, expandTo(zero, x.shape), y);
    k.binary('sub', y, t, y);
    return y;
  },
  save: (_, x) => ({ x }),
  backward: (g, { x }) => [mul(g, sigmoid(neg(x)))],
});
/** y = ln σ(x).   ∂x = g ⊙ σ(−x) */
export const logSigmoid: Unary = (x) => withOperands('logSigmoid', [x], floating, logSigmoidOp);

const clampOp = defineOp({
  name: 'clamp',
  broadcasts: true,
  forward: (k, x: Tensor, min: Tensor | null, max: Tensor | null) => {
    const shape = broadcastShapes('clamp', ...[x, min, max].map((t) => t?.shape ?? []));
    const y = resultOf(shape, x.dtype, [x]);
    if (min === null) k.copy(expandTo(x, shape), y);
    else k.binary('maximum', expandTo(x, shape), expandTo(min, shape), y);
    if (max !== null) k.binary('minimum', y, expandTo(max, shape), y);
    return y;
  },
  save: (_, x, min, max) => ({ x, min, max }),
  backward: (g, { x, min, max }, needs) => {
    const above = min === null ? g : where(ge(x, min), g, 0);
    return [
      needs[0] ? (max === null ? above : where(le(x, max), above, 0)) : null,
      needs[1] && min ? where(lt(x, min), max === null ? g : where(lt(min, max), g, 0), 0) : null,
      needs[2] && max ? where(gt(x, max), g, min === null ? 0 : where(gt(min, max), g, 0)) : null,
    ];
  },
  branch: (x, min, max) => {
    const sides = [min && lt(x, min), max && gt(x, max), min && max && gt(min, max)].filter((s) => s !== null);
    return sides.reduce((a, b) => add(mul(a, 2), b));
  },
});

/**
 * y = min(max(x, min), max); either bound may be null, a number or a tensor.
 * ∂x = g where min ≤ x ≤ max,   ∂min = g where x < min < max,   ∂max = g where x > max or min > max
 */
export function clamp(x: Tensor, min: Operand | null, max: Operand | null = null): Tensor {
  if (min === null && max === null) throw new DTypeError('clamp: give at least one bound');
  const operands = [x, min, max].filter((t) => t !== null);
  return withOperands('clamp', operands, arithmetic, (t, ...b) => clampOp(t, min === null ? null : b[0]!, max === null ? null : b.at(-1)!));
}

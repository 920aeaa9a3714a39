/**
 * The operations that are methods of Tensor. ops/ defines and documents each of them; this file installs them.
 */
import type { DType } from '../core/dtype.ts';
import { backward, type BackwardOptions } from './backward.ts';
import * as f from './ops/activations.ts';
import * as e from './ops/elementwise.ts';
import type { Operand } from './ops/elementwise.ts';
import * as i from './ops/inplace.ts';
import * as l from './ops/linalg.ts';
import * as m from './ops/movement.ts';
import * as n from './ops/norm.ts';
import * as a from './ops/rearrange.ts';
import * as r from './ops/reduce.ts';
import type { Dims, VarOptions } from './ops/reduce.ts';
import { Tensor } from './tensor.ts';

const CHANGES = ['clone', 'maskedFill', 'neg', 'abs', 'sign', 'square', 'floor', 'ceil', 'round', 'reciprocal', 'sqrt', 'rsqrt'] as const;
const CURVES = ['exp', 'expm1', 'log', 'log1p', 'sin', 'cos', 'erf', 'relu', 'sigmoid', 'logSigmoid', 'tanh', 'clamp'] as const;
const PAIRS = ['add', 'sub', 'mul', 'div', 'pow', 'maximum', 'minimum', 'eq', 'ne', 'lt', 'le', 'gt', 'ge'] as const;
const TRUTH = ['logicalAnd', 'logicalOr', 'logicalNot', 'isnan', 'isfinite'] as const;
const SUMS = ['sum', 'mean', 'std', 'prod', 'logsumexp', 'norm', 'any', 'all', 'cumsum', 'expand'] as const;
const EXTREMES = ['amax', 'amin', 'argmax', 'argmin', 'max', 'min'] as const;
const SHAPES = ['reshape', 'view', 'flatten', 'unflatten', 'permute', 'transpose', 'squeeze', 'unsqueeze'] as const;
const PARTS = ['detach', 'contiguous', 'slice', 'select', 'gather'] as const;
const NORMS = ['softmax', 'logSoftmax'] as const;
const WRITES = ['add_', 'mul_', 'zero_', 'copy_', 'fill_'] as const;

/** Operations as methods: without their first argument, which is the tensor itself. */
type Methods<F, K extends keyof F = keyof F> = {
  [N in K]: F[N] extends (x: Tensor, ...rest: infer A) => infer R ? (...rest: A) => R : never;
};
/** The methods with the names in the lists `L`. */
type Listed<F, L extends readonly (keyof F)[]> = Methods<F, L[number]>;

declare module './tensor.ts' {
  interface Tensor
    extends Listed<typeof e, typeof CHANGES | typeof CURVES | typeof PAIRS | typeof TRUTH>,
      Listed<typeof r, typeof SUMS | typeof EXTREMES>,
      Listed<typeof m, typeof SHAPES | typeof PARTS>,
      Listed<typeof n, typeof NORMS>,
      Methods<typeof l>,
      Methods<typeof a>,
      Methods<typeof f> {
    /** Accumulates gradients into the `grad` of every leaf behind this tensor, and consumes the graph. A scalar needs no gradient. */
    backward(gradient?: Tensor | null, options?: BackwardOptions): void;
    /** x in another dtype; the same dtype gives x itself. The gradient is cast back. */
    to(dtype: DType): Tensor;
    /** y = variance of x over `dim`, all dims by default; divides by n − correction (1) */
    var(dim?: Dims, options?: VarOptions): Tensor;
    /** x ← x + b. Not recorded; throws in grad mode where a gradient is required */
    add_(b: Operand): this;
    /** x ← x ⊙ b. Not recorded; throws in grad mode where a gradient is required */
    mul_(b: Operand): this;
    /** x ← 0. Not recorded; throws in grad mode where a gradient is required */
    zero_(): this;
    /** x ← b, converted and broadcast. Not recorded; throws in grad mode where a gradient is required */
    copy_(b: Tensor): this;
    /** x ← value. Not recorded; throws in grad mode where a gradient is required */
    fill_(value: number): this;
  }
}

const installed: readonly (readonly [family: object, names: readonly string[]])[] = [
  [{ backward, to: e.cast, var: r.variance }, ['backward', 'to', 'var']],
  [e, [...CHANGES, ...CURVES, ...PAIRS, ...TRUTH]],
  [r, [...SUMS, ...EXTREMES]],
  [m, [...SHAPES, ...PARTS]],
  [n, NORMS],
  [i, WRITES],
  ...[l, a, f].map((family) => [family, Object.keys(family)] as const),
];

for (const [family, names] of installed) {
  for (const name of names) {
    const op = Reflect.get(family, name) as (x: Tensor, ...args: unknown[]) => unknown;
    Object.defineProperty(Tensor.prototype, name, {
      value(this: Tensor, ...args: unknown[]) {
        return op(this, ...args);
      },
      configurable: true,
      writable: true,
    });
  }
}

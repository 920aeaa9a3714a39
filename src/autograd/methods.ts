/**
 * The operations that are methods of Tensor. ops/ defines and documents each of them; this file installs them.
 */
import type { DType } from '../core/dtype.ts';
import { backward, type BackwardOptions } from './backward.ts';
import * as activations from './ops/activations.ts';
import * as broadcasting from './ops/broadcasting.ts';
import * as comparison from './ops/comparison.ts';
import type { Dims } from './ops/dims.ts';
import * as elementwise from './ops/elementwise.ts';
import * as indexing from './ops/indexing.ts';
import * as inplace from './ops/inplace.ts';
import * as joining from './ops/joining.ts';
import * as linalg from './ops/linalg.ts';
import { cast, type Operand } from './ops/operands.ts';
import * as reduce from './ops/reduce.ts';
import type { VarOptions } from './ops/reduce.ts';
import * as softmax from './ops/softmax.ts';
import * as views from './ops/views.ts';
import { Tensor } from './tensor.ts';

const ELEMENTWISE = [
  ...(['add', 'sub', 'mul', 'div', 'pow', 'maximum', 'minimum', 'clamp'] as const),
  ...(['neg', 'abs', 'sign', 'square', 'floor', 'ceil', 'round', 'reciprocal', 'sqrt', 'rsqrt'] as const),
  ...(['exp', 'expm1', 'log', 'log1p', 'sin', 'cos', 'erf'] as const),
] as const;
const COMPARISON = [
  ...(['eq', 'ne', 'lt', 'le', 'gt', 'ge', 'isnan', 'isfinite'] as const),
  ...(['logicalAnd', 'logicalOr', 'logicalNot', 'maskedFill'] as const),
] as const;
const REDUCE = [
  ...(['sum', 'mean', 'std', 'prod', 'logsumexp', 'norm', 'any', 'all', 'cumsum'] as const),
  ...(['amax', 'amin', 'argmax', 'argmin', 'max', 'min'] as const),
] as const;
const VIEWS = [
  ...(['reshape', 'view', 'flatten', 'unflatten', 'squeeze', 'unsqueeze'] as const),
  ...(['permute', 'transpose', 'movedim', 'detach', 'contiguous', 'clone'] as const),
] as const;
const BROADCASTING = ['expand', 'broadcastTo'] as const;
const INDEXING = ['slice', 'select', 'gather', 'scatterAdd', 'indexSelect', 'flip', 'tril', 'triu'] as const;
const JOINING = ['split', 'chunk', 'unbind', 'repeat', 'roll'] as const;
const SOFTMAX = ['softmax', 'logSoftmax'] as const;
const INPLACE = ['add_', 'mul_', 'zero_', 'copy_', 'fill_'] as const;

/** Operations as methods: without their first argument, which is the tensor itself. */
type Methods<F, K extends keyof F = keyof F> = {
  [N in K]: F[N] extends (x: Tensor, ...rest: infer A) => infer R ? (...rest: A) => R : never;
};
/** The methods with the names in the lists `L`. */
type Listed<F, L extends readonly (keyof F)[]> = Methods<F, L[number]>;

declare module './tensor.ts' {
  interface Tensor
    extends Listed<typeof elementwise, typeof ELEMENTWISE>,
      Listed<typeof comparison, typeof COMPARISON>,
      Listed<typeof reduce, typeof REDUCE>,
      Listed<typeof views, typeof VIEWS>,
      Listed<typeof broadcasting, typeof BROADCASTING>,
      Listed<typeof indexing, typeof INDEXING>,
      Listed<typeof joining, typeof JOINING>,
      Listed<typeof softmax, typeof SOFTMAX>,
      Methods<typeof linalg>,
      Methods<typeof activations> {
    /** Accumulates gradients into the `grad` of every leaf behind this tensor, and consumes the graph. A scalar needs no gradient. */
    backward(gradient?: Tensor | null, options?: BackwardOptions): void;
    /** The same for a scalar, with options only: `loss.backward({ retainGraph: true })`. */
    backward(options: BackwardOptions): void;
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
  [{ backward, to: cast, var: reduce.variance }, ['backward', 'to', 'var']],
  [elementwise, ELEMENTWISE],
  [comparison, COMPARISON],
  [reduce, REDUCE],
  [views, VIEWS],
  [broadcasting, BROADCASTING],
  [indexing, INDEXING],
  [joining, JOINING],
  [softmax, SOFTMAX],
  [inplace, INPLACE],
  [linalg, Object.keys(linalg)],
  [activations, Object.keys(activations)],
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

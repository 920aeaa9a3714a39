/**
 * Installs the operations that are methods of Tensor. ops/ defines them; tensor-methods.ts declares the methods.
 */
import { backward } from './backward.ts';
import * as activations from './ops/activations.ts';
import * as broadcasting from './ops/broadcasting.ts';
import * as comparison from './ops/comparison.ts';
import * as elementwise from './ops/elementwise.ts';
import * as indexing from './ops/indexing.ts';
import * as inplace from './ops/inplace.ts';
import * as joining from './ops/joining.ts';
import * as linalg from './ops/linalg.ts';
import { cast } from './ops/operands.ts';
import * as ordering from './ops/ordering.ts';
import * as reduce from './ops/reduce.ts';
import * as softmax from './ops/softmax.ts';
import * as views from './ops/views.ts';
import { Tensor } from './tensor.ts';
import type { TensorMethods } from './tensor-methods.ts';

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
const ORDERING = ['sort', 'argsort', 'topk', 'nonzero', 'maskedSelect', 'multinomial'] as const;
const SOFTMAX = ['softmax', 'logSoftmax'] as const;
const INPLACE = ['add_', 'mul_', 'zero_', 'copy_', 'fill_'] as const;

declare module './tensor.ts' {
  interface Tensor extends TensorMethods {}
}

/** The operation behind a method: it takes the tensor first. Of overloads, the last. */
type Operation<M> = M extends (...args: infer A) => infer R ? (x: Tensor, ...args: A) => R : never;

/** Methods that return the tensor itself; `this` in an interface is of no use here. */
type InPlace = (typeof INPLACE)[number];

/** The operations behind all methods. */
type Operations = { readonly [N in Exclude<keyof TensorMethods, InPlace>]: Operation<TensorMethods[N]> };

function pick<F extends object, N extends keyof F>(family: F, names: readonly N[]): Pick<F, N> {
  return Object.fromEntries(names.map((name) => [name, family[name]])) as Pick<F, N>;
}

const operations: Operations & Pick<typeof inplace, InPlace> = {
  backward,
  to: cast,
  var: reduce.variance,
  ...pick(elementwise, ELEMENTWISE),
  ...pick(comparison, COMPARISON),
  ...pick(reduce, REDUCE),
  ...pick(views, VIEWS),
  ...pick(broadcasting, BROADCASTING),
  ...pick(indexing, INDEXING),
  ...pick(joining, JOINING),
  ...pick(ordering, ORDERING),
  ...pick(softmax, SOFTMAX),
  ...pick(inplace, INPLACE),
  ...linalg,
  ...activations,
};

for (const [name, operation] of Object.entries(operations)) {
  const op = operation as (x: Tensor, ...args: unknown[]) => unknown;
  Object.defineProperty(Tensor.prototype, name, {
    value(this: Tensor, ...args: unknown[]) {
      return op(this, ...args);
    },
    configurable: true,
    writable: true,
  });
}

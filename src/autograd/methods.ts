/**
 * Installs the operations that are methods of Tensor. ops/ defines them; tensor-methods.ts declares the methods.
 */
import { refuseSurplus } from '../core/options.ts';
import { backward } from './backward.ts';
import * as activations from './ops/activations.ts';
import { broadcastTo, expand } from './ops/broadcasting.ts';
import { eq, ge, gt, isfinite, isnan, le, logicalAnd, logicalNot, logicalOr, lt, maskedFill, ne } from './ops/comparison.ts';
import { abs, add, ceil, clamp, cos, div, erf, exp, expm1, floor, log, log1p, maximum, minimum, mul } from './ops/elementwise.ts';
import { neg, pow, reciprocal, round, rsqrt, sign, sin, sqrt, square, sub } from './ops/elementwise.ts';
import { flip, gather, indexSelect, scatterAdd, select, slice, tril, triu } from './ops/indexing.ts';
import { add_, copy_, fill_, mul_, zero_ } from './ops/inplace.ts';
import { chunk, repeat, roll, split, unbind } from './ops/joining.ts';
import * as linalg from './ops/linalg.ts';
import { cast } from './ops/operands.ts';
import { argsort, maskedSelect, nonzero, sort, topk } from './ops/ordering.ts';
import { all, amax, amin, any, argmax, argmin, cumsum, logsumexp, max, mean, min, norm, prod, std, sum, variance } from './ops/reduce.ts';
import { logSoftmax, softmax } from './ops/softmax.ts';
import {
  clone,
  contiguous,
  detach,
  flatten,
  movedim,
  permute,
  reshape,
  squeeze,
  transpose,
  unflatten,
  unsqueeze,
  view,
} from './ops/views.ts';
import { Tensor } from './tensor.ts';
import type { TensorMethods } from './tensor-methods.ts';

declare module './tensor.ts' {
  interface Tensor extends TensorMethods {}
}

/** The operation behind a method: it takes the tensor first. Of overloads, the last. */
type Operation<M> = M extends (...args: infer A) => infer R ? (x: Tensor, ...args: A) => R : never;

/** Methods that return the tensor itself; `this` in an interface is of no use here. */
const INPLACE = { add_, mul_, zero_, copy_, fill_ };

/** The operations behind all methods. */
type Operations = { readonly [N in Exclude<keyof TensorMethods, keyof typeof INPLACE>]: Operation<TensorMethods[N]> };

// Name by name: a namespace of a module would keep all its exports in every bundle.
const operations: Operations & typeof INPLACE = {
  backward,
  to: cast,
  // arithmetic
  add,
  sub,
  mul,
  div,
  pow,
  maximum,
  minimum,
  clamp,
  // elementwise
  neg,
  abs,
  sign,
  square,
  floor,
  ceil,
  round,
  reciprocal,
  sqrt,
  rsqrt,
  exp,
  expm1,
  log,
  log1p,
  sin,
  cos,
  erf,
  // comparison
  eq,
  ne,
  lt,
  le,
  gt,
  ge,
  isnan,
  isfinite,
  logicalAnd,
  logicalOr,
  logicalNot,
  maskedFill,
  // reduce
  sum,
  mean,
  std,
  var: variance,
  prod,
  logsumexp,
  norm,
  any,
  all,
  cumsum,
  amax,
  amin,
  argmax,
  argmin,
  max,
  min,
  // views
  reshape,
  view,
  flatten,
  unflatten,
  squeeze,
  unsqueeze,
  permute,
  transpose,
  movedim,
  expand,
  broadcastTo,
  detach,
  contiguous,
  clone,
  // indexing
  slice,
  select,
  gather,
  scatterAdd,
  indexSelect,
  flip,
  tril,
  triu,
  // joining
  split,
  chunk,
  unbind,
  repeat,
  roll,
  // ordering
  sort,
  argsort,
  topk,
  nonzero,
  maskedSelect,
  // softmax
  softmax,
  logSoftmax,
  ...INPLACE,
  ...linalg,
  ...activations,
};

/** How many arguments each method takes at most. Of the overloads of backward, the last has one. */
type Counts = { readonly [N in Exclude<keyof TensorMethods, 'backward'>]: Required<Parameters<TensorMethods[N]>>['length'] };

/** Returns methods with the number of arguments that each takes at most. */
const taking = <C extends number, N extends string>(count: C, ...names: readonly N[]): { readonly [K in N]: C } =>
  Object.fromEntries(names.map((name) => [name, count])) as { readonly [K in N]: C };

const COUNTS: Counts & { readonly backward: 2 } = {
  ...taking(0, 'neg', 'abs', 'sign', 'square', 'floor', 'ceil', 'round', 'reciprocal', 'sqrt', 'rsqrt', 'exp', 'expm1', 'log', 'log1p'),
  ...taking(0, 'sin', 'cos', 'erf', 'isnan', 'isfinite', 'logicalNot', 'detach', 'contiguous', 'clone', 'nonzero', 'zero_'),
  ...taking(0, 'relu', 'sigmoid', 'tanh', 'logSigmoid', 'silu', 'mish', 'hardsigmoid', 'hardswish'),
  ...taking(
    1,
    'to',
    'add',
    'sub',
    'mul',
    'div',
    'pow',
    'maximum',
    'minimum',
    'eq',
    'ne',
    'lt',
    'le',
    'gt',
    'ge',
    'logicalAnd',
    'logicalOr',
  ),
  ...taking(1, 'cumsum', 'reshape', 'view', 'squeeze', 'unsqueeze', 'permute', 'expand', 'broadcastTo', 'flip', 'tril', 'triu', 'unbind'),
  ...taking(1, 'repeat', 'maskedSelect', 'softmax', 'logSoftmax', 'add_', 'mul_', 'copy_', 'fill_', 'matmul', 'mv', 'dot', 'outer'),
  ...taking(1, 'leakyRelu', 'prelu', 'elu', 'gelu', 'softplus'),
  ...taking(2, 'backward', 'clamp', 'maskedFill', 'sum', 'mean', 'std', 'var', 'prod', 'logsumexp', 'any', 'all', 'amax', 'amin', 'argmax'),
  ...taking(2, 'argmin', 'max', 'min', 'flatten', 'unflatten', 'transpose', 'movedim', 'select', 'gather', 'indexSelect', 'split', 'chunk'),
  ...taking(2, 'roll', 'sort', 'argsort'),
  ...taking(3, 'norm', 'scatterAdd', 'topk'),
  ...taking(4, 'slice'),
};

for (const [name, operation] of Object.entries(operations)) {
  const op = operation as (x: Tensor, ...args: unknown[]) => unknown;
  const count = COUNTS[name as keyof TensorMethods];
  Object.defineProperty(Tensor.prototype, name, {
    value(this: Tensor, ...args: unknown[]) {
      refuseSurplus(name, args, count);
      return op(this, ...args);
    },
    configurable: true,
    writable: true,
  });
}

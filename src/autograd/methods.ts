/**
 * The operations that are methods of Tensor. Each is defined in ops/, with its formula; this file only gives them their place.
 */
import type { DType } from '../core/dtype.ts';
import type { Shape } from '../core/shape.ts';
import { backward, type BackwardOptions } from './backward.ts';
import * as e from './ops/elementwise.ts';
import type { Operand } from './ops/elementwise.ts';
import * as i from './ops/inplace.ts';
import * as l from './ops/linalg.ts';
import * as m from './ops/movement.ts';
import * as n from './ops/norm.ts';
import * as r from './ops/reduce.ts';
import type { Dims, ReduceOptions, VarOptions } from './ops/reduce.ts';
import { Tensor } from './tensor.ts';

declare module './tensor.ts' {
  interface Tensor {
    /** Accumulates gradients into the `grad` of every leaf behind this tensor, and consumes the graph. A scalar needs no gradient. */
    backward(gradient?: Tensor | null, options?: BackwardOptions): void;
    /** y = x on the same memory, without history. */
    detach(): Tensor;
    /** A copy, recorded. */
    clone(): Tensor;
    /** x in another dtype; the same dtype gives x itself. The gradient is cast back. */
    to(dtype: DType): Tensor;
    /** x itself where it is row-major, else a row-major copy. */
    contiguous(): Tensor;

    /** y = x + b */
    add(b: Operand): Tensor;
    /** y = x − b */
    sub(b: Operand): Tensor;
    /** y = x ⊙ b */
    mul(b: Operand): Tensor;
    /** y = x / b; int32 gives float32 */
    div(b: Operand): Tensor;
    /** y = x ^ b */
    pow(b: Operand): Tensor;
    /** y = max(x, b); ties share the gradient */
    maximum(b: Operand): Tensor;
    /** y = min(x, b); ties share the gradient */
    minimum(b: Operand): Tensor;
    /** y = (x = b), bool */
    eq(b: Operand): Tensor;
    /** y = (x ≠ b), bool */
    ne(b: Operand): Tensor;
    /** y = (x < b), bool */
    lt(b: Operand): Tensor;
    /** y = (x ≤ b), bool */
    le(b: Operand): Tensor;
    /** y = (x > b), bool */
    gt(b: Operand): Tensor;
    /** y = (x ≥ b), bool */
    ge(b: Operand): Tensor;

    /** y = −x */
    neg(): Tensor;
    /** y = |x| */
    abs(): Tensor;
    /** y = −1, 0 or 1; no gradient */
    sign(): Tensor;
    /** y = x² */
    square(): Tensor;
    /** y = √x */
    sqrt(): Tensor;
    /** y = eˣ */
    exp(): Tensor;
    /** y = ln x */
    log(): Tensor;
    /** y = ln(1 + x) */
    log1p(): Tensor;
    /** y = max(x, 0) */
    relu(): Tensor;
    /** y = 1 / (1 + e⁻ˣ) */
    sigmoid(): Tensor;
    /** y = ln σ(x) */
    logSigmoid(): Tensor;
    /** y = tanh x */
    tanh(): Tensor;
    /** y = min(max(x, min), max); either bound may be null */
    clamp(min: Operand | null, max?: Operand | null): Tensor;

    /** y = Σ x over `dim`, all dims by default */
    sum(dim?: Dims, options?: ReduceOptions): Tensor;
    /** y = mean of x over `dim`, all dims by default */
    mean(dim?: Dims, options?: ReduceOptions): Tensor;
    /** y = variance of x over `dim`, all dims by default; divides by n − correction (1) */
    var(dim?: Dims, options?: VarOptions): Tensor;
    /** y = standard deviation of x over `dim`, all dims by default; divides by n − correction (1) */
    std(dim?: Dims, options?: VarOptions): Tensor;
    /** y = max of x over `dim`, all dims by default; ties share the gradient */
    amax(dim?: Dims, options?: ReduceOptions): Tensor;
    /** y = min of x over `dim`, all dims by default; ties share the gradient */
    amin(dim?: Dims, options?: ReduceOptions): Tensor;
    /** Index (int32) of the first largest element along `dim`, or in the flattened tensor */
    argmax(dim?: number, options?: ReduceOptions): Tensor;
    /** Index (int32) of the first smallest element along `dim`, or in the flattened tensor */
    argmin(dim?: number, options?: ReduceOptions): Tensor;
    /** yᵢ = exp xᵢ / Σ exp x along `dim` */
    softmax(dim: number): Tensor;
    /** y = ln softmax(x) along `dim` */
    logSoftmax(dim: number): Tensor;

    /** The same elements in another shape; one size may be −1. A view where possible */
    reshape(shape: Shape): Tensor;
    /** As reshape, but throws where that would copy */
    view(shape: Shape): Tensor;
    /** Dims start … end as one */
    flatten(start?: number, end?: number): Tensor;
    /** The dims in another order, as a view */
    permute(dims: readonly number[]): Tensor;
    /** Dims a and b exchanged, as a view */
    transpose(a: number, b: number): Tensor;
    /** x broadcast to `shape`, as a view; −1 keeps a size */
    expand(shape: Shape): Tensor;
    /** Without size-1 dims: all, or those named */
    squeeze(dim?: number | readonly number[]): Tensor;
    /** With a dim of size 1 before `dim` */
    unsqueeze(dim: number): Tensor;
    /** Elements start, start + step, … before end along `dim`, as a view */
    slice(dim: number, start?: number, end?: number | null, step?: number): Tensor;
    /** The index-th slice along `dim`, without that dim, as a view */
    select(dim: number, index: number): Tensor;
    /** y[.., i, ..] = x[.., index[.., i, ..], ..] along `dim`; index int32 */
    gather(dim: number, index: Tensor): Tensor;

    /** The matrix product; leading dims broadcast as batches */
    matmul(b: Tensor): Tensor;

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

const operations = {
  backward,
  detach: m.detach,
  clone: e.clone,
  to: e.cast,
  contiguous: m.contiguous,
  add: e.add,
  sub: e.sub,
  mul: e.mul,
  div: e.div,
  pow: e.pow,
  maximum: e.maximum,
  minimum: e.minimum,
  eq: e.eq,
  ne: e.ne,
  lt: e.lt,
  le: e.le,
  gt: e.gt,
  ge: e.ge,
  neg: e.neg,
  abs: e.abs,
  sign: e.sign,
  square: e.square,
  sqrt: e.sqrt,
  exp: e.exp,
  log: e.log,
  log1p: e.log1p,
  relu: e.relu,
  sigmoid: e.sigmoid,
  logSigmoid: e.logSigmoid,
  tanh: e.tanh,
  clamp: e.clamp,
  sum: r.sum,
  mean: r.mean,
  var: r.variance,
  std: r.std,
  amax: r.amax,
  amin: r.amin,
  argmax: r.argmax,
  argmin: r.argmin,
  softmax: n.softmax,
  logSoftmax: n.logSoftmax,
  reshape: m.reshape,
  view: m.view,
  flatten: m.flatten,
  permute: m.permute,
  transpose: m.transpose,
  expand: r.expand,
  squeeze: m.squeeze,
  unsqueeze: m.unsqueeze,
  slice: m.slice,
  select: m.select,
  gather: m.gather,
  matmul: l.matmul,
  add_: i.add_,
  mul_: i.mul_,
  zero_: i.zero_,
  copy_: i.copy_,
  fill_: i.fill_,
} as const;

for (const [name, op] of Object.entries(operations) as [string, (x: Tensor, ...args: unknown[]) => unknown][]) {
  Object.defineProperty(Tensor.prototype, name, {
    value(this: Tensor, ...args: unknown[]) {
      return op(this, ...args);
    },
    configurable: true,
    writable: true,
  });
}

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
import * as a from './ops/rearrange.ts';
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

    /** y = (x and b), bool; 0 is false */
    logicalAnd(b: Tensor): Tensor;
    /** y = (x or b), bool; 0 is false */
    logicalOr(b: Tensor): Tensor;
    /** y = (not x), bool; 0 is false */
    logicalNot(): Tensor;
    /** y = whether x is NaN, bool */
    isnan(): Tensor;
    /** y = whether x is neither NaN nor infinite, bool */
    isfinite(): Tensor;
    /** x with `value`, a number or a 0-d tensor, where the mask is true */
    maskedFill(mask: Tensor, value: Operand): Tensor;

    /** y = −x */
    neg(): Tensor;
    /** y = |x| */
    abs(): Tensor;
    /** y = −1, 0 or 1; no gradient */
    sign(): Tensor;
    /** y = x² */
    square(): Tensor;
    /** y = ⌊x⌋; no gradient */
    floor(): Tensor;
    /** y = ⌈x⌉; no gradient */
    ceil(): Tensor;
    /** y = the whole number nearest x, the even one of two; no gradient */
    round(): Tensor;
    /** y = 1 / x */
    reciprocal(): Tensor;
    /** y = √x */
    sqrt(): Tensor;
    /** y = 1 / √x */
    rsqrt(): Tensor;
    /** y = eˣ */
    exp(): Tensor;
    /** y = eˣ − 1, exact for small x */
    expm1(): Tensor;
    /** y = ln x */
    log(): Tensor;
    /** y = ln(1 + x) */
    log1p(): Tensor;
    /** y = sin x */
    sin(): Tensor;
    /** y = cos x */
    cos(): Tensor;
    /** y = 2/√π ∫₀ˣ e^−t² dt */
    erf(): Tensor;
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
    /** [values, indices (int32)] of the largest elements along `dim`; the first of equal ones has the gradient */
    max(dim: number, options?: ReduceOptions): [values: Tensor, indices: Tensor];
    /** [values, indices (int32)] of the smallest elements along `dim`; the first of equal ones has the gradient */
    min(dim: number, options?: ReduceOptions): [values: Tensor, indices: Tensor];
    /** y = Π x over `dim`, all dims by default */
    prod(dim?: Dims, options?: ReduceOptions): Tensor;
    /** y = ln Σ eˣ over `dim`, all dims by default */
    logsumexp(dim?: Dims, options?: ReduceOptions): Tensor;
    /** y = (Σ |x|ᵖ)^(1/p) over `dim`, all dims by default; p is 1, 2 (default) or Infinity */
    norm(p?: number, dim?: Dims, options?: ReduceOptions): Tensor;
    /** y = whether any x ≠ 0 over `dim`, all dims by default; bool */
    any(dim?: Dims, options?: ReduceOptions): Tensor;
    /** y = whether all x ≠ 0 over `dim`, all dims by default; bool */
    all(dim?: Dims, options?: ReduceOptions): Tensor;
    /** yᵢ = x₀ + … + xᵢ along `dim` */
    cumsum(dim: number): Tensor;
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
    /** x broadcast to `shape`, as a view */
    broadcastTo(shape: Shape): Tensor;
    /** Dim `dim` as dims of `sizes`, one of which may be −1 */
    unflatten(dim: number, sizes: Shape): Tensor;
    /** The dims `source` at the places `destination`, as a view */
    movedim(source: Dims, destination: Dims): Tensor;
    /** x laid out counts[d] times along each dim; more counts than dims add dims in front */
    repeat(counts: Shape): Tensor;
    /** Parts along `dim` (0) of `size`, or of each of several sizes, as views */
    split(size: Dims, dim?: number): Tensor[];
    /** At most `chunks` equal parts along `dim` (0), as views */
    chunk(chunks: number, dim?: number): Tensor[];
    /** The slices along `dim` (0), without that dim, as views */
    unbind(dim?: number): Tensor[];
    /** x backwards along `dims` */
    flip(dims: Dims): Tensor;
    /** x moved on by `shift` along `dim`, or in the flattened tensor; what leaves comes in at the other end */
    roll(shift: Dims, dim?: Dims): Tensor;
    /** The lower triangle of the last two dims, up to `diagonal` (0), zeros above */
    tril(diagonal?: number): Tensor;
    /** The upper triangle of the last two dims, from `diagonal` (0) on, zeros below */
    triu(diagonal?: number): Tensor;
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

    /** y = x, then y[.., index[.., i, ..], ..] += src[.., i, ..] along `dim`; index int32 */
    scatterAdd(dim: number, index: Tensor, src: Tensor): Tensor;
    /** y[.., i, ..] = x[.., index[i], ..] along `dim`; index [I] int32 */
    indexSelect(dim: number, index: Tensor): Tensor;

    /** y = x · b.   Shape:  x [M,K], b [K] → [M] */
    mv(b: Tensor): Tensor;
    /** y = Σ x ⊙ b.   Shape:  x [K], b [K] → [] */
    dot(b: Tensor): Tensor;
    /** y[i, j] = x[i] · b[j].   Shape:  x [M], b [N] → [M,N] */
    outer(b: Tensor): Tensor;
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

function pick<M, K extends keyof M>(family: M, ...names: K[]): Pick<M, K> {
  return Object.fromEntries(names.map((name) => [name, family[name]])) as Pick<M, K>;
}

const operations = {
  backward,
  to: e.cast,
  var: r.variance,
  ...pick(e, 'clone', 'add', 'sub', 'mul', 'div', 'pow', 'maximum', 'minimum', 'eq', 'ne', 'lt', 'le', 'gt', 'ge', 'clamp', 'maskedFill'),
  ...pick(e, 'logicalAnd', 'logicalOr', 'logicalNot', 'isnan', 'isfinite', 'neg', 'abs', 'sign', 'square', 'floor', 'ceil', 'round'),
  ...pick(e, 'reciprocal', 'sqrt', 'rsqrt', 'exp', 'expm1', 'log', 'log1p', 'sin', 'cos', 'erf', 'relu', 'sigmoid', 'logSigmoid', 'tanh'),
  ...pick(r, 'sum', 'mean', 'std', 'amax', 'amin', 'argmax', 'argmin', 'max', 'min', 'prod', 'logsumexp', 'norm', 'any', 'all', 'cumsum'),
  ...pick(n, 'softmax', 'logSoftmax'),
  ...pick(r, 'expand'),
  ...pick(m, 'detach', 'contiguous', 'reshape', 'view', 'flatten', 'unflatten', 'permute', 'transpose', 'squeeze', 'unsqueeze'),
  ...pick(m, 'slice', 'select', 'gather'),
  ...a,
  ...pick(l, 'matmul', 'mv', 'dot', 'outer'),
  ...pick(i, 'add_', 'mul_', 'zero_', 'copy_', 'fill_'),
};

for (const [name, op] of Object.entries(operations) as [string, (x: Tensor, ...args: unknown[]) => unknown][]) {
  Object.defineProperty(Tensor.prototype, name, {
    value(this: Tensor, ...args: unknown[]) {
      return op(this, ...args);
    },
    configurable: true,
    writable: true,
  });
}

/**
 * Reductions: over all dims, or those named; `keepdim` leaves them with size 1.
 */
import { fits, isFloat, ITEM_SIZE, type DType } from '../../core/dtype.ts';
import { DTypeError, ShapeError } from '../../core/errors.ts';
import { broadcastStrides, formatShape, normalizeDim, normalizeDims, sizeOf, type Shape } from '../../core/shape.ts';
import type { Kernels, ReduceOp } from '../../kernels/index.ts';
import { viewOf } from '../../kernels/memory.ts';
import { addressOf, emptyLike, restride, type View } from '../../kernels/view.ts';
import { defineOp } from '../op.ts';
import type { Tensor } from '../tensor.ts';
import { cast, div, eq, mul, square, sqrt, sub } from './elementwise.ts';
import { reshape } from './movement.ts';

/** Which dims to reduce: one, several, or all by default. Negative dims count from the end. */
export type Dims = number | readonly number[];

/** Options of every reduction. */
export interface ReduceOptions {
  /** Leaves the reduced dims with size 1. Default false. */
  readonly keepdim?: boolean;
}

/** `shape` with size 1 along `dims`. */
function keptShape(shape: Shape, dims: readonly number[]): number[] {
  return shape.map((n, d) => (dims.includes(d) ? 1 : n));
}

/** A kept-dims view without `dims`, unless they are to stay. */
function dropDims(v: View, dims: readonly number[], keepdim: boolean): View {
  if (keepdim) return v;
  const keep = v.shape.map((_, d) => d).filter((d) => !dims.includes(d));
  return restride(
    v,
    keep.map((d) => v.shape[d]!),
    keep.map((d) => v.strides[d]!),
  );
}

function reduced(k: Kernels, op: ReduceOp, x: View, dims: readonly number[], keepdim: boolean): View {
  const y = emptyLike(x, keptShape(x.shape, dims));
  k.reduce(op, x, y);
  return dropDims(y, dims, keepdim);
}

function converted(k: Kernels, x: View, dtype: DType): View {
  const y = emptyLike(x, x.shape, dtype);
  k.copy(x, y);
  return y;
}

const sumOp = defineOp({
  name: 'sum',
  forward: (k, x: Tensor, dims: readonly number[], keepdim: boolean) =>
    isFloat(x.dtype) ? reduced(k, 'sum', x, dims, keepdim) : integerSum(k, x, dims, keepdim),
  save: (_, x, dims) => ({ shape: x.shape, dims }),
  backward: (g, { shape, dims }) => [expand(reshape(g, keptShape(shape, dims)), shape)],
});

/** An int32 sum by way of float64, which is exact far beyond int32: overflow throws instead of wrapping. */
function integerSum(k: Kernels, x: View, dims: readonly number[], keepdim: boolean): View {
  const total = reduced(k, 'sum', converted(k, x, 'float64'), dims, true);
  const start = addressOf(total) / ITEM_SIZE.float64;
  for (const v of viewOf('float64').subarray(start, start + sizeOf(total.shape))) {
    if (!fits(v, 'int32')) throw new DTypeError(`sum: ${v} does not fit int32; convert the tensor with .to('float32') first`);
  }
  return dropDims(converted(k, total, 'int32'), dims, keepdim);
}

/** y = Σ x. int32 and bool give int32, and throw where that overflows.   ∂x = g expanded */
export function sum(x: Tensor, dim?: Dims, { keepdim = false }: ReduceOptions = {}): Tensor {
  return sumOp(x, normalizeDims('sum', dim, x.ndim), keepdim);
}

/** g summed over the dims along which `shape` was broadcast: the adjoint of broadcasting. */
export function sumTo(g: Tensor, shape: Shape): Tensor {
  const lead = g.ndim - shape.length;
  if (lead === 0 && g.shape.every((n, d) => n === shape[d])) return g;
  const dims = g.shape.map((_, d) => d).filter((d) => d < lead || (shape[d - lead] === 1 && g.shape[d] !== 1));
  return reshape(sumOp(g, dims, true), shape);
}

/** y = Σ x / n. Floats only.   ∂x = g / n expanded */
export function mean(x: Tensor, dim?: Dims, options: ReduceOptions = {}): Tensor {
  requireFloat('mean', x);
  const dims = normalizeDims('mean', dim, x.ndim);
  return div(sum(x, dims, options), countOf(x.shape, dims));
}

// — the adjoint of summing —

const expandOp = defineOp({
  name: 'expand',
  forward: (_, x: Tensor, shape: Shape) => restride(x, shape, broadcastStrides(x.shape, x.strides, shape)),
  save: (_, x) => ({ shape: x.shape }),
  backward: (g, { shape }) => [sumTo(g, shape)],
});

/** x broadcast to `shape` as a view; −1 keeps a size.   ∂x = g summed over the broadcast dims */
export function expand(x: Tensor, shape: Shape): Tensor {
  const lead = shape.length - x.ndim;
  const full = shape.map((n, d) => (n === -1 && d >= lead ? x.shape[d - lead]! : n));
  const fits = lead >= 0 && full.every((n, d) => n >= 0 && (d < lead || x.shape[d - lead] === n || x.shape[d - lead] === 1));
  if (!fits) throw new ShapeError(`expand: x ${formatShape(x.shape)} does not broadcast to ${formatShape(shape)}`);
  sizeOf(full, 'expand');
  return expandOp(x, full);
}

function countOf(shape: Shape, dims: readonly number[]): number {
  return dims.reduce((n, d) => n * shape[d]!, 1);
}

/** Throws DTypeError for int32 and bool. */
export function requireFloat(op: string, x: Tensor): void {
  if (!isFloat(x.dtype)) throw new DTypeError(`${op}: expected float32 or float64, got ${x.dtype}; convert with .to('float32')`);
}

/** Options of `var` and `std`. */
export interface VarOptions extends ReduceOptions {
  /** Divides by n − correction. Default 1 (Bessel's); 0 gives the biased variance. */
  readonly correction?: number;
}

/** y = Σ (x − x̄)² / (n − correction). Floats only.   ∂x = 2 g ⊙ (x − x̄) / (n − correction) */
export function variance(x: Tensor, dim?: Dims, { correction = 1, keepdim = false }: VarOptions = {}): Tensor {
  requireFloat('var', x);
  const dims = normalizeDims('var', dim, x.ndim);
  const centred = sub(x, mean(x, dims, { keepdim: true }));
  return div(sum(square(centred), dims, { keepdim }), Math.max(0, countOf(x.shape, dims) - correction));
}

/** y = √var. */
export function std(x: Tensor, dim?: Dims, options: VarOptions = {}): Tensor {
  return sqrt(variance(x, dim, options));
}

const extremeOp = (name: 'amax' | 'amin') =>
  defineOp({
    name,
    forward: (k, x: Tensor, dims: readonly number[], keepdim: boolean) => {
      if (x.numel === 0 && countOf(x.shape, dims) === 0) {
        throw new ShapeError(`${name}: nothing to choose from along dims ${formatShape(dims)} of x ${formatShape(x.shape)}`);
      }
      // bool has no kernel of its own.
      if (x.dtype === 'bool') return converted(k, reduced(k, name, converted(k, x, 'int32'), dims, keepdim), 'bool');
      return reduced(k, name, x, dims, keepdim);
    },
    save: (_, x, dims, __, y) => ({ x, dims, y }),
    backward: (g, { x, dims, y }) => {
      const kept = keptShape(x.shape, dims);
      const won = cast(eq(x, reshape(y, kept)), x.dtype);
      // Ties share the gradient, as PyTorch's do.
      return [mul(div(won, sum(won, dims, { keepdim: true })), reshape(g, kept))];
    },
    branch: (x, dims, _, y) => eq(x, reshape(y, keptShape(x.shape, dims))),
  });

const amaxOp = extremeOp('amax');
const aminOp = extremeOp('amin');

/** y = max x; NaN wins.   ∂x = g, shared equally among ties */
export function amax(x: Tensor, dim?: Dims, { keepdim = false }: ReduceOptions = {}): Tensor {
  return amaxOp(x, normalizeDims('amax', dim, x.ndim), keepdim);
}

/** y = min x; NaN wins.   ∂x = g, shared equally among ties */
export function amin(x: Tensor, dim?: Dims, { keepdim = false }: ReduceOptions = {}): Tensor {
  return aminOp(x, normalizeDims('amin', dim, x.ndim), keepdim);
}

const argOp = (name: 'argmax' | 'argmin') =>
  defineOp({
    name,
    forward: (k, x: Tensor, dim: number, keepdim: boolean) => {
      if (x.shape[dim] === 0) throw new ShapeError(`${name}: nothing to choose from along dim ${dim} of x ${formatShape(x.shape)}`);
      const y = emptyLike(x, keptShape(x.shape, [dim]), 'int32');
      k.argReduce(name, x, dim, y);
      return dropDims(y, [dim], keepdim);
    },
  });

const argmaxOp = argOp('argmax');
const argminOp = argOp('argmin');

function argReduce(op: typeof argmaxOp, name: string, x: Tensor, dim: number | undefined, keepdim: boolean): Tensor {
  const flat = dim === undefined || x.ndim === 0;
  const y = op(flat ? reshape(x, [-1]) : x, flat ? 0 : normalizeDim(name, dim, x.ndim), keepdim && !flat);
  return flat && keepdim
    ? reshape(
        y,
        x.shape.map(() => 1),
      )
    : y;
}

/** Index (int32) of the first largest element along `dim`, or in the flattened tensor; NaN wins. No gradient. */
export function argmax(x: Tensor, dim?: number, { keepdim = false }: ReduceOptions = {}): Tensor {
  return argReduce(argmaxOp, 'argmax', x, dim, keepdim);
}

/** Index (int32) of the first smallest element along `dim`, or in the flattened tensor; NaN wins. No gradient. */
export function argmin(x: Tensor, dim?: number, { keepdim = false }: ReduceOptions = {}): Tensor {
  return argReduce(argminOp, 'argmin', x, dim, keepdim);
}

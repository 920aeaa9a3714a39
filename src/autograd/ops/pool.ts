/**
 * Pooling over 2-d windows. Letters: N batch, C channels, H W image.
 */
import { ArgumentError, ShapeError, isArray, shown } from '../../core/errors.ts';
import { checkNumber, refuseOptions, withDefaults } from '../../core/options.ts';
import { formatShape, pair, type Shape } from '../../core/shape.ts';
import type { AvgPoolParams, Kernels, PoolParams } from '../../kernels/index.ts';
import { emptyLike, type View } from '../../kernels/view.ts';
import { defineOp, type Grads } from '../op.ts';
import type { Tensor } from '../tensor.ts';
import { checkUnary } from './elementwise-builders.ts';
import { withBatchDim, type Size2d } from './image-batch.ts';
import { tensor } from '../create.ts';
import { gatherUnchecked, indexSelect } from './indexing.ts';
import { AVG_POOL_DEFAULTS, MAX_POOL_DEFAULTS, type AvgPool2dOptions, type MaxPool2dOptions } from './options.ts';
import { requireFloat } from './reduce.ts';
import { flatten, reshape } from './views.ts';

/**
 * Returns the size of one side of the output. With ceilMode a last window may reach over the edge if it starts inside the input
 * or its left padding.
 */
export function poolSize(size: number, kernel: number, stride: number, padding: number, dilation: number, ceilMode: boolean): number {
  const span = size + 2 * padding - dilation * (kernel - 1) - 1;
  const n = (ceilMode ? Math.ceil(span / stride) : Math.floor(span / stride)) + 1;
  return ceilMode && (n - 1) * stride >= size + padding ? n - 1 : n;
}

/** Returns the sizes of the images, which must not be 0 from dim `from` on. */
function imageSizes(op: string, x: Tensor, from: number): readonly [number, number, number, number] {
  requireFloat(op, x);
  if (x.shape.slice(from).includes(0)) throw new ShapeError(`${op}: nothing to pool in x ${formatShape(x.shape)}`);
  return x.sizes(4);
}

/** Checks the windows of a pool; returns them and the shape of its output. */
function poolGeometry(op: string, x: Tensor, kernel: Size2d, o: Required<MaxPool2dOptions>): { p: PoolParams; shape: Shape } {
  const size = pair(op, 'kernel', kernel, 1);
  const stride = pair(op, 'stride', o.stride ?? size, 1);
  const padding = pair(op, 'padding', o.padding, 0);
  const dilation = pair(op, 'dilation', o.dilation, 1);
  if (padding.some((n, d) => n * 2 > size[d]!)) {
    const got = `got padding ${formatShape(padding)} and kernel ${formatShape(size)}`;
    throw new ArgumentError(`${op}: padding must be at most half the kernel, ${got}`);
  }
  const [n, c, ...sides] = imageSizes(op, x, 1);
  const out = sides.map((side, d) => poolSize(side, size[d]!, stride[d]!, padding[d]!, dilation[d]!, o.ceilMode));
  if (Math.min(...out) < 1) {
    const what = `the window ${formatShape(size)} is larger than the padded input (x ${formatShape(x.shape)})`;
    throw new ShapeError(`${op}: ${what}: output ${formatShape(out)}`);
  }
  return { p: { kernel: size, stride, padding, dilation }, shape: [n, c, ...out] };
}

/** Computes [y, index] with y = max over each window, index = h·W + w of the first maximum.   ∂x = g at index, added up */
const maxPoolOp = defineOp({
  name: 'maxPool2d',
  forward: (k, x: Tensor, p: PoolParams, shape: Shape) => {
    const y = emptyLike(x, shape);
    const index = emptyLike(x, shape, 'int32');
    k.maxPool2d(x, y, index, p);
    return [y, index];
  },
  save: (_, [x, p], [, index]) => ({ shape: x.shape, index, p }),
  backward: (g, { shape, index, p }): Grads => [maxPoolGradOp(g, index, shape, p)],
  branch: (_, [, index]) => index,
});

/** dx = Σ g over the windows of which x is the maximum.   ∂g = h at index */
const maxPoolGradOp = defineOp({
  name: 'maxPool2dGrad',
  forward: (k, g: Tensor, index: Tensor, shape: Shape, p: PoolParams) => {
    const dx = emptyLike(index, shape, g.dtype);
    k.maxPool2dGrad(g, index, dx, p);
    return dx;
  },
  save: (_, [, index]) => ({ index }),
  backward: (h, { index }): Grads => [reshape(gatherUnchecked(flatten(h, 2), 2, flatten(index, 2)), index.shape)],
});

type LinearPool<P> = (x: Tensor, p: P, shape: Shape) => Tensor;
type PoolKernel<P> = (k: Kernels, x: View, y: View, p: P) => void;

/** Makes a pool to `shape` that is linear in x. Its gradient is its adjoint, and the adjoint's gradient is the pool. */
function linearPool<P>(name: string, forward: PoolKernel<P>, backward: PoolKernel<P>): LinearPool<P> {
  const linearOp = (part: string, run: PoolKernel<P>, adjoint: () => LinearPool<P>): LinearPool<P> =>
    defineOp({
      name: part,
      forward: (k, x: Tensor, p: P, shape: Shape) => {
        const y = emptyLike(x, shape);
        run(k, x, y, p);
        return y;
      },
      save: (_, [x, p]) => ({ shape: x.shape, p }),
      backward: (g, { shape, p }): Grads => [adjoint()(g, p, shape)],
    });
  const pool: LinearPool<P> = linearOp(name, forward, () => grad);
  const grad: LinearPool<P> = linearOp(`${name}Grad`, backward, () => pool);
  return pool;
}

/** y = sum over each window / divisor */
const avgPoolOp = linearPool<AvgPoolParams>(
  'avgPool2d',
  (k, x, y, p) => k.avgPool2d(x, y, p),
  (k, g, dx, p) => k.avgPool2dGrad(g, dx, p),
);

/** y[i] = mean of x over ⌊i·H/OH⌋ … ⌈(i+1)·H/OH⌉ − 1, likewise along W */
const adaptiveAvgPoolOp = linearPool<null>(
  'adaptiveAvgPool2d',
  (k, x, y) => k.adaptiveAvgPool2d(x, y),
  (k, g, dx) => k.adaptiveAvgPool2dGrad(g, dx),
);

/** Makes a max pool return [y, index]: index (int32) is the place h·W + w of each maximum in its image. */
export interface WithIndices {
  /** Default false. */
  readonly returnIndices: true;
}

/** The output's size for both image dims, or one for each; null keeps x's. */
export type AdaptiveSize = number | null | readonly [number | null, number | null];

/**
 * Takes the largest element of every window; padding never wins.
 * Shape:  x [N,C,H,W] → y [N,C,OH,OW], OH = ⌊(H + 2p − d(K − 1) − 1) / s⌋ + 1
 * Throws: ShapeError for an empty image or a window larger than the padded one; ArgumentError for options outside their values
 * @example const [y, index] = maxPool2d(x, 2, { returnIndices: true })
 */
export function maxPool2d(x: Tensor, kernel: Size2d, options: MaxPool2dOptions & WithIndices): [Tensor, Tensor];
export function maxPool2d(x: Tensor, kernel: Size2d, options?: MaxPool2dOptions): Tensor;
export function maxPool2d(x: Tensor, kernel: Size2d, options: MaxPool2dOptions & Partial<WithIndices> = {}): Tensor | [Tensor, Tensor] {
  const o = withDefaults<MaxPool2dOptions & { returnIndices?: boolean }>('maxPool2d', options, MAX_POOL_DEFAULTS);
  const results = withBatchDim('maxPool2d', x, (images) => {
    const { p, shape } = poolGeometry('maxPool2d', images, kernel, o);
    const [y, index] = maxPoolOp(images, p, shape) as [Tensor, Tensor];
    if (o.returnIndices) return [y, index];
    index.dispose();
    return [y];
  });
  return o.returnIndices ? (results as [Tensor, Tensor]) : results[0];
}

/**
 * Computes the mean of every window.
 * Shape:  x [N,C,H,W] → y [N,C,OH,OW], OH = ⌊(H + 2p − K) / s⌋ + 1
 * Throws: ShapeError for an empty image or a window larger than the padded one; ArgumentError for options outside their values
 */
export function avgPool2d(x: Tensor, kernel: Size2d, options: AvgPool2dOptions = {}): Tensor {
  const o = withDefaults('avgPool2d', options, AVG_POOL_DEFAULTS);
  const divisor = o.divisorOverride;
  if (divisor !== null) checkNumber('avgPool2d', 'divisorOverride', divisor);
  if (divisor !== null && !(Math.abs(divisor) > 0))
    throw new ArgumentError(`avgPool2d: divisorOverride must not be 0, got ${shown(divisor)}`);
  return withBatchDim('avgPool2d', x, (images) => {
    const { p, shape } = poolGeometry('avgPool2d', images, kernel, { ...o, dilation: 1 });
    return [avgPoolOp(images, { ...p, countIncludePad: o.countIncludePad, divisor }, shape)];
  })[0];
}

/**
 * Computes the mean of OH·OW windows that cover the image evenly: y[i] averages rows ⌊i·H/OH⌋ … ⌈(i + 1)·H/OH⌉ − 1, likewise columns.
 * Shape:  x [N,C,H,W] → y [N,C,OH,OW] for size [OH,OW]; null keeps a size
 */
export function adaptiveAvgPool2d(x: Tensor, size: AdaptiveSize): Tensor {
  refuseOptions('adaptiveAvgPool2d', arguments[2]);
  return withBatchDim('adaptiveAvgPool2d', x, (images) => {
    const [n, c, h, w] = imageSizes('adaptiveAvgPool2d', images, 2);
    const out = pair('adaptiveAvgPool2d', 'size', sizeOrImage(size, [h, w]), 0);
    return [adaptiveAvgPoolOp(images, null, [n, c, ...out])];
  })[0];
}

/**
 * Takes the largest element of OH·OW windows that cover the image evenly: y[i] is of rows ⌊i·H/OH⌋ … ⌈(i + 1)·H/OH⌉ − 1, likewise columns.
 * Shape:  x [N,C,H,W] → y [N,C,OH,OW] for size [OH,OW]; null keeps a size; N may be absent
 * Throws: ShapeError for an empty image; ArgumentError for a size below 1
 * @example const [y, index] = adaptiveMaxPool2d(x, 2, { returnIndices: true })
 */
export function adaptiveMaxPool2d(x: Tensor, size: AdaptiveSize, options: WithIndices): [Tensor, Tensor];
export function adaptiveMaxPool2d(x: Tensor, size: AdaptiveSize, options?: Partial<WithIndices>): Tensor;
export function adaptiveMaxPool2d(x: Tensor, size: AdaptiveSize, options: { returnIndices?: boolean } = {}): Tensor | [Tensor, Tensor] {
  const op = 'adaptiveMaxPool2d';
  const { returnIndices } = withDefaults(op, options, { returnIndices: false });
  const results = withBatchDim(op, x, (images) => {
    const [n, c, h, w] = imageSizes(op, images, 1);
    const out = pair(op, 'size', sizeOrImage(size, [h, w]), 1);
    const [rows, columns] = [evenWindows(h, out[0]), evenWindows(w, out[1])];
    // Overlapping windows become windows side by side in an image that repeats rows and columns.
    const tall = rows.places === null ? images : indexSelect(images, 2, tensor(rows.places, { dtype: 'int32' }));
    const spread = columns.places === null ? tall : indexSelect(tall, 3, tensor(columns.places, { dtype: 'int32' }));
    const kernel = [rows.size, columns.size] as const;
    const p: PoolParams = { kernel, stride: kernel, padding: [0, 0], dilation: [1, 1] };
    const [y, index] = maxPoolOp(spread, p, [n, c, ...out]) as [Tensor, Tensor];
    if (!returnIndices) return [y];
    if (spread === images) return [y, index];
    const placeOf = (windows: EvenWindows, i: number): number => windows.places?.[i] ?? i;
    const [, , height, width] = spread.sizes(4);
    const places = Int32Array.from(
      { length: height * width },
      (_, i) => placeOf(rows, Math.floor(i / width)) * w + placeOf(columns, i % width),
    );
    return [y, reshape(indexSelect(tensor(places), 0, flatten(index)), index.shape)];
  });
  return returnIndices ? (results as [Tensor, Tensor]) : results[0];
}

/** Windows of one size along a side. */
interface EvenWindows {
  readonly size: number;
  /** The element at each place of the windows side by side; null if they cover the side in order. */
  readonly places: readonly number[] | null;
}

/** Returns the `count` windows ⌊i·n/count⌋ … ⌈(i + 1)·n/count⌉ − 1 as windows of one size, the shorter ones with their last element repeated. */
function evenWindows(n: number, count: number): EvenWindows {
  if (n % count === 0) return { size: n / count, places: null };
  const bounds = Array.from({ length: count }, (_, i) => [Math.floor((i * n) / count), Math.ceil(((i + 1) * n) / count)] as const);
  const size = Math.max(...bounds.map(([start, end]) => end - start));
  const places = bounds.flatMap(([start, end]) => Array.from({ length: size }, (_, i) => Math.min(start + i, end - 1)));
  return { size, places };
}

/** Replaces nulls in `size` by the image's sizes. */
function sizeOrImage(size: AdaptiveSize, image: readonly [number, number]): number | number[] {
  if (size === null) return [...image];
  if (!isArray(size)) return size;
  return size.map((s, d) => s ?? image[d]!);
}

/** Computes the mean of every image.   x [N,C,H,W] → y [N,C,1,1] */
export function globalAvgPool2d(x: Tensor): Tensor {
  checkUnary('globalAvgPool2d', x, arguments[1]);
  return adaptiveAvgPool2d(x, 1);
}

/** Takes the largest element of every image.   x [N,C,H,W] → y [N,C,1,1] */
export function globalMaxPool2d(x: Tensor): Tensor {
  checkUnary('globalMaxPool2d', x, arguments[1]);
  if (x.ndim !== 3 && x.ndim !== 4) throw new ShapeError(`globalMaxPool2d: x must be [N,C,H,W] or [C,H,W], got ${formatShape(x.shape)}`);
  return maxPool2d(x, [x.size(-2), x.size(-1)]);
}

/**
 * Resizing of images. Letters: N batch, C channels, H W image, OH OW output.
 */
import { ArgumentError, ShapeError, checkArray, shown } from '../../core/errors.ts';
import { withDefaults } from '../../core/options.ts';
import { formatShape, sizeOf } from '../../core/shape.ts';
import { tensor } from '../create.ts';
import { checkTensor, type Tensor } from '../tensor.ts';
import { composed } from '../scope-stack.ts';
import { add, mul } from './elementwise.ts';
import { indexSelect } from './indexing.ts';
import { INTERPOLATE_DEFAULTS, type InterpolateOptions } from './options.ts';
import { requireFloat } from './reduce.ts';

/**
 * Resizes x. With a scaleFactor, 1 / scaleFactor replaces H/OH below.
 *   nearest:   y[…,i,…] = x[…,⌊i · H/OH⌋,…] along every dim after the channels; indices are computed in float32, as in PyTorch
 *   bilinear:  y[i] = (1 − λ) x[⌊u⌋] + λ x[⌊u⌋ + 1] along H and W, λ = u − ⌊u⌋, u = max((i + ½) H/OH − ½, 0), or
 *              u = i (H − 1)/(OH − 1) with alignCorners; the last element stands for those beyond it
 * Shape:  x [N,C,H,W] → y [N,C,OH,OW], likewise for one dim or three if nearest
 * Throws: ArgumentError unless size or scaleFactor is given, for all dims; ShapeError for an empty output; DTypeError for a
 *         bilinear int32 or bool
 */
export const interpolate = composed(function interpolate(x: Tensor, options: InterpolateOptions = {}): Tensor {
  const { size, scaleFactor, mode, alignCorners } = withDefaults('interpolate', options, INTERPOLATE_DEFAULTS);
  checkTensor('interpolate', 'x', x);
  checkMode(x, mode, alignCorners);
  const given = size ?? scaleFactor;
  if (given !== null && typeof given !== 'number') checkArray('interpolate', given);
  const from = x.shape.slice(2);
  const each = typeof given === 'number' ? from.map(() => given) : given;
  if (each === null || (size !== null && scaleFactor !== null)) throw new ArgumentError('interpolate: give either size or scaleFactor');
  if (from.length === 0 || each.length !== from.length) {
    throw new ShapeError(`interpolate: x must be [N,C,…] and ${formatShape(each)} name its dims after C (x ${formatShape(x.shape)})`);
  }
  const to = scaleFactor === null ? each : from.map((n, d) => (typeof each[d] === 'number' ? Math.floor(n * each[d]) : Number.NaN));
  if (x.shape.slice(1).includes(0) || !to.every((n) => Number.isInteger(n) && n >= 1)) {
    throw new ShapeError(`interpolate: every size must be a whole number ≥ 1, got ${formatShape(to)} for x ${formatShape(x.shape)}`);
  }
  sizeOf([...x.shape.slice(0, 2), ...to], 'interpolate');
  const resize = mode === 'nearest' ? repeatAlong : blendAlong(alignCorners);
  return from.reduce((y, n, d) => resize(y, d + 2, to[d]!, scaleFactor === null ? n / to[d]! : 1 / each[d]!), x);
});

function checkMode(x: Tensor, mode: unknown, alignCorners: boolean): void {
  if (mode !== 'nearest' && mode !== 'bilinear')
    throw new ArgumentError(`interpolate: mode must be 'nearest' or 'bilinear', got ${shown(mode)}`);
  if (mode === 'nearest' && alignCorners) throw new ArgumentError("interpolate: alignCorners needs mode 'bilinear'");
  if (mode === 'nearest') return;
  requireFloat('interpolate', x);
  if (x.ndim !== 4) throw new ShapeError(`interpolate: x must be [N,C,H,W] for mode 'bilinear', got ${formatShape(x.shape)}`);
}

/** Resizes one dim to `count` elements, `step` elements of x apart. */
type Resize = (x: Tensor, dim: number, count: number, step: number) => Tensor;

const repeatAlong: Resize = (x, dim, count, step) => {
  const single = Math.fround(step);
  const index = Array.from({ length: count }, (_, i) => Math.min(Math.floor(Math.fround(i * single)), x.size(dim) - 1));
  return indexSelect(x, dim, tensor(index, { dtype: 'int32' }));
};

const blendAlong =
  (alignCorners: boolean): Resize =>
  (x, dim, count, step) => {
    const last = x.size(dim) - 1;
    const apart = count === 1 ? 0 : last / (count - 1);
    const places = Array.from({ length: count }, (_, i) => (alignCorners ? i * apart : Math.max((i + 0.5) * step - 0.5, 0)));
    const lower = places.map((u) => Math.min(Math.floor(u), last));
    const shares = places.map((u, i) => u - lower[i]!);
    const shape = [count, ...x.shape.slice(dim + 1).map(() => 1)];
    const weight = (values: number[]): Tensor => tensor(values, { shape, dtype: x.dtype });
    const at = (values: number[]): Tensor => indexSelect(x, dim, tensor(values, { dtype: 'int32' }));
    const below = mul(at(lower), weight(shares.map((s) => 1 - s)));
    const above = mul(at(lower.map((i) => Math.min(i + 1, last))), weight(shares));
    return add(below, above);
  };

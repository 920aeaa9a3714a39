/**
 * Resizing of images. Letters: N batch, C channels, H W image, OH OW output.
 */
import { ArgumentError, ShapeError, checkArray, shown } from '../../core/errors.ts';
import { withDefaults } from '../../core/options.ts';
import { formatShape, sizeOf } from '../../core/shape.ts';
import { tensor } from '../create.ts';
import { checkTensor, type Tensor } from '../tensor.ts';
import { composed } from '../scope-stack.ts';
import { indexSelect } from './indexing.ts';
import { INTERPOLATE_DEFAULTS, type InterpolateOptions } from './options.ts';

/**
 * Resizes x by repeating or skipping elements: y[…,i,…] = x[…,⌊i · H/OH⌋,…] along every dim after the channels. With a
 * scaleFactor, 1 / scaleFactor replaces H/OH. Indices are computed in float32, as in PyTorch.
 * Shape:  x [N,C,H,W] → y [N,C,OH,OW], likewise for one dim or three
 * Throws: ArgumentError unless size or scaleFactor is given, for all dims; ShapeError for an empty output
 */
export const interpolate = composed(function interpolate(x: Tensor, options: InterpolateOptions = {}): Tensor {
  const { size, scaleFactor, mode } = withDefaults('interpolate', options, INTERPOLATE_DEFAULTS);
  checkTensor('interpolate', 'x', x);
  if (mode !== 'nearest') throw new ArgumentError(`interpolate: mode must be 'nearest', got ${shown(mode)}`);
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
  return from.reduce((y, n, d) => {
    const step = Math.fround(scaleFactor === null ? n / to[d]! : 1 / each[d]!);
    const index = Array.from({ length: to[d]! }, (_, i) => Math.min(Math.floor(Math.fround(i * step)), n - 1));
    return indexSelect(y, d + 2, tensor(index, { dtype: 'int32' }));
  }, x);
});

/**
 * The choice of a convolution's algorithm. It depends on shapes alone, so that results never depend on timing.
 */
import { ArgumentError, shown } from '../core/errors.ts';
import { refuseOptions } from '../core/options.ts';

/** The choices of setConvAlgorithm. */
export type ConvAlgorithm = 'auto' | 'direct';

/** Outputs along each side of a tile in Winograd's algorithm. */
export const TILE = 4;
/** The fewest input channels, and output channels, for which Winograd is faster. */
const LEAST_CHANNELS = 4;

let algorithm: ConvAlgorithm = 'auto';

/**
 * Chooses the algorithm of all later 2-d convolutions and their gradients.
 *   'auto'    Winograd's F(4×4, 3×3) where it pays, for 3×3 kernels at stride 1 and dilation 1 without groups: two to three times faster, with
 *             two to three times the rounding error (figures and rule in docs/numerics.md). All others are direct.
 *   'direct'  plain sums of products
 * The reference kernels are always direct.
 *
 * Default: `'auto'`
 * Throws: ArgumentError on anything else
 */
export function setConvAlgorithm(choice: ConvAlgorithm): void {
  refuseOptions('setConvAlgorithm', arguments[1]);
  if (choice !== 'auto' && choice !== 'direct') {
    throw new ArgumentError(`setConvAlgorithm: expected 'auto' or 'direct', got ${shown(choice)}`);
  }
  algorithm = choice;
}

/**
 * Returns whether Winograd's algorithm is used for N images of height × width outputs. It needs at least 4 input and 4 output channels, and
 * enough tiles, and full enough ones, to outweigh the transform of the weights and the outputs beyond the edges. For square images:
 *
 *   side         1, 2, 3, 5   4, 6   9   7, 8, 10 and more
 *   from N =     never        3      2   1
 */
export function winogradPays(N: number, C: number, O: number, height: number, width: number): boolean {
  const tiles = N * Math.ceil(height / TILE) * Math.ceil(width / TILE);
  const enough = Math.min(height, width) >= TILE && N * height * width >= 7 * tiles + 20;
  return algorithm === 'auto' && Math.min(C, O) >= LEAST_CHANNELS && enough;
}

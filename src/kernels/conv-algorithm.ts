/**
 * Which algorithm a convolution is computed by. Shapes alone decide, so that results never depend on timing.
 */
import { ArgumentError } from '../core/errors.ts';

/** How convolutions may be computed, see setConvAlgorithm. */
export type ConvAlgorithm = 'auto' | 'direct';

/** Outputs along each side of a tile of Winograd's algorithm. */
export const TILE = 4;
/** Fewest channels on either side. */
const LEAST_CHANNELS = 4;

let algorithm: ConvAlgorithm = 'auto';

/**
 * Chooses how 2-d convolutions are computed from now on, gradients included. `'auto'`: 3×3 at stride 1, dilation 1 and without groups by
 * Winograd's F(4×4, 3×3) where it pays, two to three times faster with two to three times the rounding error (docs/numerics.md has
 * the figures and the rule), all others directly. `'direct'`: all as plain sums of products. The reference kernels are always direct.
 *
 * Default: `'auto'`
 * Throws: ArgumentError on anything else
 */
export function setConvAlgorithm(choice: ConvAlgorithm): void {
  if (choice !== 'auto' && choice !== 'direct') {
    throw new ArgumentError(`setConvAlgorithm: expected 'auto' or 'direct', got ${JSON.stringify(choice)}`);
  }
  algorithm = choice;
}

/**
 * Whether Winograd's algorithm pays for N images of height × width outputs: at least 4 channels on either side, and tiles enough, and
 * full enough, to outweigh the transform of the weights and what hangs over the edges. Of square images that is
 *
 *   side         1, 2, 3, 5   4, 6   9   7, 8, 10 and more
 *   from N =     never        3      2   1
 */
export function paysInTiles(N: number, C: number, O: number, height: number, width: number): boolean {
  const tiles = N * Math.ceil(height / TILE) * Math.ceil(width / TILE);
  const enough = Math.min(height, width) >= TILE && N * height * width >= 7 * tiles + 20;
  return algorithm === 'auto' && Math.min(C, O) >= LEAST_CHANNELS && enough;
}

/**
 * Direct 2-d convolution in channels-last memory order, without im2col.
 *
 * Forward and input gradient are one correlation: along each axis, output p reads inputs start + p·step + t·tapStep for taps
 * t = 0 … taps − 1 that fall into 0 … size − 1. The input gradient is the correlation of g with the flipped weights, one for
 * each residue of the output position modulo the stride. Padding is never stored: taps outside are left out.
 *
 * Letters: C input channels and O output channels of one group, G groups, N images.
 */
import { intArg, ptrArg } from '../runtime/abi';
import { packBand } from './pack-rows';
import { lanes, panelVectors } from '../simd/vector';
import { returnScratch, takeScratch } from '../runtime/scratch';
import { endTap, firstAtLeast, firstTap } from './taps';
import { microKernel1, microKernel2 } from '../matmul/micro-kernel';

/**
 * y = x ⋆ w, see above. A chunk is a pair of images × a band of output rows: the two rows of a tile are one pixel of two images,
 * so that both always have the same taps. Where there is scratch, it is gone through in passes of a few rows, and what of a group they
 * read is copied side by side first: groups lie in few sets of the caches, as their pixels and rows are far apart.
 * args: x, its image, row and pixel stride; w in panels, bytes per group; y, its image, row and pixel stride; N, G, C, O;
 * vertical count, start, step, tapStep, taps, size; the same horizontally; rows per band; rows per pass; scratch flags, count (0: none),
 * address, bytes of each. Strides in bytes.
 */
// @ts-ignore: decorator
@inline
function conv<T>(args: usize, first: i32, last: i32): void {
  const x = ptrArg(args, 0), xImage = ptrArg(args, 1), xRow = ptrArg(args, 2), xPixel = ptrArg(args, 3);
  const w = ptrArg(args, 4), wGroup = ptrArg(args, 5);
  const y = ptrArg(args, 6), yImage = ptrArg(args, 7), yRow = ptrArg(args, 8), yPixel = ptrArg(args, 9);
  const N = intArg(args, 10), G = intArg(args, 11), C = intArg(args, 12), O = intArg(args, 13);
  const countY = intArg(args, 14), startY = intArg(args, 15), stepY = intArg(args, 16);
  const tapStepY = intArg(args, 17), tapsY = intArg(args, 18), sizeY = intArg(args, 19);
  const countX = intArg(args, 20), startX = intArg(args, 21), stepX = intArg(args, 22);
  const tapStepX = intArg(args, 23), tapsX = intArg(args, 24), sizeX = intArg(args, 25);
  const band = intArg(args, 26), pass = intArg(args, 27);
  const flags = ptrArg(args, 28), scratches = intArg(args, 29), scratch = ptrArg(args, 30), scratchBytes = ptrArg(args, 31);
  const bands = (countY + band - 1) / band;
  const size = sizeof<T>();
  // Output columns from `inner` to `innerEnd` have all their taps inside.
  const inner = min(countX, firstAtLeast(0, startX, stepX));
  const innerEnd = max(inner, min(countX, firstAtLeast(sizeX - tapStepX * (tapsX - 1), startX, stepX)));
  // Strides of what is read: x or the scratch.
  const packed = scratches > 0;
  const pixel = packed ? <usize>C * size : xPixel;
  const row = packed ? <usize>sizeX * pixel : xRow;
  // Where taps are neighbours and the pixels of a group touch, the taps of a kernel row are one run.
  const joined = tapStepX == 1 && pixel == <usize>C * size;
  const aNext = <usize>stepX * pixel;
  for (let chunk = first; chunk < last; chunk++) {
    const n = (chunk / bands) * 2;
    const both = n + 1 < N;
    const p0 = (chunk % bands) * band;
    const pEnd = min(countY, p0 + band);
    const area = packed ? takeScratch(flags, scratches) : 0;
    const from = packed ? scratch + <usize>area * scratchBytes : 0;
    for (let g = 0; g < G; g++) {
      for (let p1 = p0; p1 < pEnd; p1 += pass) {
        const passEnd = min(pEnd, p1 + pass);
        let xAt = x + <usize>n * xImage + <usize>(g * C) * size;
        let image = xImage;
        if (packed) {
          const top = max(0, startY + p1 * stepY);
          const height = max(0, min(sizeY, startY + (passEnd - 1) * stepY + (tapsY - 1) * tapStepY + 1) - top);
          image = <usize>height * row;
          for (let k = 0; k <= <i32>both; k++) {
            packBand(xAt + <usize>k * xImage + <usize>top * xRow, xRow, xPixel, height, sizeX, pixel, from + <usize>k * image, pixel);
          }
          xAt = from - <usize>top * row;
        }
        for (let o = 0; o < O; ) {
          const vectors = panelVectors<T>(O - o);
          const bStep = <usize>vectors << 4;
          const panel = w + <usize>g * wGroup + <usize>(tapsY * tapsX * C) * <usize>o * size;
          for (let p = p1; p < passEnd; p++) {
            const atY = startY + p * stepY;
            const ty = firstTap(atY, tapStepY);
            const rows = max(0, endTap(atY, tapStepY, tapsY, sizeY) - ty);
            const aRow = xAt + <usize>(atY + ty * tapStepY) * row;
            const yAt = y + <usize>n * yImage + <usize>p * yRow + <usize>(g * O + o) * size;
            for (let q = 0; q < countX; ) {
              const count = q == inner ? max(1, innerEnd - inner) : 1;
              const atX = startX + q * stepX;
              const tx = firstTap(atX, tapStepX);
              const taps = max(0, endTap(atX, tapStepX, tapsX, sizeX) - tx);
              const run = joined ? taps * C : C;
              const runs = joined ? 1 : taps;
              const sweeps = taps > 0 ? rows : 0;
              const a = aRow + <usize>(atX + tx * tapStepX) * pixel;
              const c = yAt + <usize>q * yPixel;
              const b = panel + <usize>((ty * tapsX + tx) * C) * bStep;
              const aRun = <usize>tapStepX * pixel;
              const aSweep = <usize>tapStepY * row;
              const bSweep = <usize>(tapsX * C) * bStep;
              if (both) {
                microKernel2<T>(vectors, a, a + image, aRun, aSweep, aNext, b, bSweep, run, runs, sweeps,
                  c, c + yImage, yPixel, O - o, false, count);
              } else {
                // The last of an odd number of images: two neighbouring pixels at a time where they have the same taps.
                const half = count >> 1;
                if (half > 0) {
                  microKernel2<T>(vectors, a, a + aNext, aRun, aSweep, 2 * aNext, b, bSweep, run, runs, sweeps,
                    c, c + yPixel, 2 * yPixel, O - o, false, half);
                }
                if (count & 1) {
                  const even = <usize>(count - 1);
                  microKernel1<T>(vectors, a + even * aNext, aRun, aSweep, 0, b, bSweep, run, runs, sweeps, c + even * yPixel, 0, O - o, false, 1);
                }
              }
              q += count;
            }
          }
          o += vectors * lanes<T>();
        }
      }
    }
    if (packed) returnScratch(flags, area);
  }
}

export function conv_f32(args: usize, first: i32, last: i32): void {
  conv<f32>(args, first, last);
}

export function conv_f64(args: usize, first: i32, last: i32): void {
  conv<f64>(args, first, last);
}

/**
 * Direct 2-d convolution in channels-last memory order, without im2col.
 *
 * Forward and input gradient are one correlation with the geometry of geometry.ts. The input gradient correlates g with the flipped
 * weights, once for each residue of the output position modulo the stride. Padding is never stored: taps outside are left out.
 *
 * Letters: C input channels and O output channels of one group, G groups, N images.
 */
import { microKernel1, microKernel2 } from '../matmul/micro-kernel';
import { Pointer } from '../runtime/abi';
import { returnScratch, ScratchAreas, takeScratch } from '../runtime/scratch';
import { lanes, panelVectors } from '../simd/vector';
import { CorrelationArgs } from './geometry';
import { packRows } from './pack-rows';
import { endTap, firstAtLeast, firstTap } from './taps';

@unmanaged
class ConvArgs extends CorrelationArgs {
  N: i32;
  G: i32;
  C: i32;
  O: i32;
  /** Bytes of a group's packed weights. */
  wGroup: usize;
  /** Output rows of one pass. */
  rowsPerPass: i32;
  /** Scratch for the packed rows of a pass; its count is 0 if passes do not pack. */
  scratch: Pointer<ScratchAreas>;
}

/**
 * Computes y = x ⋆ w. A chunk is a pair of images × some output rows. The two rows of a register block are the same pixel of two images, so
 * that both have the same taps.
 *
 * With scratch, a chunk runs in passes of a few output rows. A pass first packs the pixels that a group reads: unpacked, they are far apart and
 * map to few cache sets.
 */
// @ts-ignore: decorator
@inline
function conv<T>(args: ConvArgs, first: i32, last: i32): void {
  const x = args.x, xImage = args.xImage, xRow = args.xRow, xPixel = args.xPixel;
  const w = args.w, wGroup = args.wGroup;
  const y = args.y, yImage = args.yImage, yRow = args.yRow, yPixel = args.yPixel;
  const N = args.N, G = args.G, C = args.C, O = args.O;
  const countY = args.countY, startY = args.startY, stepY = args.stepY;
  const tapStepY = args.tapStepY, tapsY = args.tapsY, sizeY = args.sizeY;
  const countX = args.countX, startX = args.startX, stepX = args.stepX;
  const tapStepX = args.tapStepX, tapsX = args.tapsX, sizeX = args.sizeX;
  const rowsPerChunk = args.rowsPerChunk, rowsPerPass = args.rowsPerPass;
  const areas = changetype<ScratchAreas>(args.scratch);
  const flags = areas.flags, scratches = areas.count, scratch = areas.address, scratchBytes = areas.bytes;
  const rowChunks = (countY + rowsPerChunk - 1) / rowsPerChunk;
  const size = sizeof<T>();
  // Output columns from `inner` to `innerEnd` have all their taps inside.
  const inner = min(countX, firstAtLeast(0, startX, stepX));
  const innerEnd = max(inner, min(countX, firstAtLeast(sizeX - tapStepX * (tapsX - 1), startX, stepX)));
  // Strides of the rows that are read: those of x or of the scratch.
  const packed = scratches > 0;
  const pixel = packed ? <usize>C * size : xPixel;
  const row = packed ? <usize>sizeX * pixel : xRow;
  // If dilation is 1 and a group's pixels are contiguous, the taps of a kernel row are read as one run.
  const joined = tapStepX == 1 && pixel == <usize>C * size;
  const aNext = <usize>stepX * pixel;
  for (let chunk = first; chunk < last; chunk++) {
    const n = (chunk / rowChunks) * 2;
    const both = n + 1 < N;
    const p0 = (chunk % rowChunks) * rowsPerChunk;
    const pEnd = min(countY, p0 + rowsPerChunk);
    const area = packed ? takeScratch(flags, scratches) : 0;
    const from = packed ? scratch + <usize>area * scratchBytes : 0;
    for (let g = 0; g < G; g++) {
      for (let p1 = p0; p1 < pEnd; p1 += rowsPerPass) {
        const passEnd = min(pEnd, p1 + rowsPerPass);
        let xAt = x + <usize>n * xImage + <usize>(g * C) * size;
        let image = xImage;
        if (packed) {
          const top = max(0, startY + p1 * stepY);
          const height = max(0, min(sizeY, startY + (passEnd - 1) * stepY + (tapsY - 1) * tapStepY + 1) - top);
          image = <usize>height * row;
          for (let k = 0; k <= <i32>both; k++) {
            packRows(xAt + <usize>k * xImage + <usize>top * xRow, xRow, xPixel, height, sizeX, pixel, from + <usize>k * image, pixel);
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
                // The last of an odd number of images: two neighbouring pixels at a time, where both have the same taps.
                const half = count >> 1;
                if (half > 0) {
                  microKernel2<T>(vectors, a, a + aNext, aRun, aSweep, 2 * aNext, b, bSweep, run, runs, sweeps,
                    c, c + yPixel, 2 * yPixel, O - o, false, half);
                }
                if (count & 1) {
                  const even = <usize>(count - 1);
                  microKernel1<T>(vectors, a + even * aNext, aRun, aSweep, 0, b, bSweep, run, runs, sweeps,
                    c + even * yPixel, 0, O - o, false, 1);
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

export function conv_f32(args: ConvArgs, first: i32, last: i32): void {
  conv<f32>(args, first, last);
}

export function conv_f64(args: ConvArgs, first: i32, last: i32): void {
  conv<f64>(args, first, last);
}

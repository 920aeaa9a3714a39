/**
 * Weight gradients of direct convolutions. Letters as in direct.ts: C input channels and O output channels of one group, G groups, N images.
 */
import { Flag, Output, Pointer } from '../runtime/abi';
import { returnScratch, ScratchAreas, takeScratch } from '../runtime/scratch';
import { lanes, panelVectors } from '../simd/vector';
import { WeightGradArgs } from './geometry';
import { packRows } from './pack-rows';
import { firstAtLeast } from './taps';
import { transposedMicroKernel1, transposedMicroKernel2 } from './transposed-micro-kernel';

/** Returns whether some tap reads inputs that are `residue` modulo `step`. */
function isRead(residue: i32, start: i32, step: i32, tapStep: i32, taps: i32): bool {
  for (let t = 0; t < taps; t++) {
    if ((start + t * tapStep - residue) % step == 0) return true;
  }
  return false;
}

/** Counts the numbers of 0 … size − 1 that are `residue` modulo `step`. */
// @ts-ignore: decorator
@inline
function countOf(residue: i32, step: i32, size: i32): i32 {
  return (size - residue + step - 1) / step;
}

/**
 * Copies `pixel` bytes of each pixel of rows top … bottom − 1 of `images` images. Each image becomes stepY × stepX planes, by row and column
 * modulo the steps, so that the pixels that one tap reads are contiguous. Planes that no tap reads are left out.
 * plane, image: bytes from one plane or image of the copy to the next.
 */
function packPlanes(
  x: usize, xImage: usize, xRow: usize, xPixel: usize, images: i32, top: i32, bottom: i32,
  startY: i32, stepY: i32, tapStepY: i32, tapsY: i32, startX: i32, stepX: i32, tapStepX: i32, tapsX: i32, sizeX: i32,
  to: usize, pixel: usize, plane: usize, image: usize,
): void {
  for (let fy = 0; fy < stepY; fy++) {
    if (!isRead(fy, startY, stepY, tapStepY, tapsY)) continue;
    const h = top + (fy - top % stepY + stepY) % stepY;
    const rows = countOf(h, stepY, bottom);
    for (let fx = 0; fx < stepX; fx++) {
      if (!isRead(fx, startX, stepX, tapStepX, tapsX)) continue;
      const columns = countOf(fx, stepX, sizeX);
      let from = x + <usize>h * xRow + <usize>fx * xPixel;
      let at = to + <usize>(fy * stepX + fx) * plane + <usize>((h / stepY - top / stepY) * columns) * pixel;
      for (let k = images; k > 0; k--) {
        packRows(from, <usize>stepY * xRow, <usize>stepX * xPixel, rows, columns, pixel, at, pixel);
        from += xImage;
        at += image;
      }
    }
  }
}

@unmanaged
class ConvGradWArgs extends WeightGradArgs {
  G: i32;
  C: i32;
  O: i32;
  /** Input channels of a block, an even number. */
  blockC: i32;
  /** Blocks of 4 vectors of output channels that one chunk computes at most. */
  outputBlocks: i32;
  /** Rows of g of one pass. */
  rowsPerPass: i32;
  /** Images of one pass. */
  imagesPerPass: i32;
  /** Whether a pass packs x. */
  packsX: Flag;
  /** Whether a pass packs g; it must unless O is whole vectors. */
  packsG: Flag;
  scratch: Pointer<ScratchAreas>;
}

/**
 * Computes dw = Σ over images and pixels of x ⊗ g as partial sums
 * [part, G, block of C, block of O, tap, C of the block, O of the block]. What one chunk writes is contiguous in this order. A chunk is one
 * part of the images × a group × a block of input channels × up to `outputBlocks` blocks of 4 vectors of output channels. It sums in image
 * order.
 *
 * A chunk runs in passes over some rows of one image, or over some whole images. They stay in the L1 cache while all taps read them. A pass
 * first packs what would map to few cache sets. x is packed into planes (see packPlanes), g into one plane per block.
 */
// @ts-ignore: decorator
@inline
function convGradW<T>(args: ConvGradWArgs, first: i32, last: i32): void {
  const x = args.x, xImage = args.xImage, xRow = args.xRow, xPixel = args.xPixel;
  const g = args.g, gImage = args.gImage, gRow = args.gRow, gPixel = args.gPixel;
  const sums = args.sums;
  const N = args.N, G = args.G, C = args.C, O = args.O;
  const countY = args.countY, startY = args.startY, stepY = args.stepY;
  const tapStepY = args.tapStepY, tapsY = args.tapsY, sizeY = args.sizeY;
  const countX = args.countX, startX = args.startX, stepX = args.stepX;
  const tapStepX = args.tapStepX, tapsX = args.tapsX, sizeX = args.sizeX;
  const imagesPerPart = args.imagesPerPart, blockC = args.blockC, outputBlocks = args.outputBlocks;
  const rowsPerPass = args.rowsPerPass, imagesPerPass = args.imagesPerPass;
  const packsX = args.packsX != 0, packsG = args.packsG != 0;
  const areas = changetype<ScratchAreas>(args.scratch);
  const flags = areas.flags, scratches = areas.count, scratch = areas.address, scratchBytes = areas.bytes;
  const size = sizeof<T>();
  const blockO = 4 * lanes<T>();
  const padded = (O + lanes<T>() - 1) / lanes<T>() * lanes<T>();
  const blocksC = (C + blockC - 1) / blockC;
  const blocksO = (O + blockO - 1) / blockO;
  const outputChunks = (blocksO + outputBlocks - 1) / outputBlocks;
  const cRow = <usize>blockO * size;
  const block = <usize>(tapsY * tapsX * blockC) * cRow;
  // Strides of the gradients that are read: those of g or of the scratch.
  const bStep = packsG ? min(cRow, <usize>padded * size) : gPixel;
  const bRun = packsG ? <usize>countX * bStep : gRow;
  for (let chunk = first; chunk < last; chunk++) {
    const o0 = (chunk % outputChunks) * outputBlocks;
    const oEnd = min(blocksO, o0 + outputBlocks);
    const i0 = (chunk / outputChunks) % blocksC * blockC;
    const channels = min(blockC, C - i0);
    const group = chunk / (outputChunks * blocksC) % G;
    const part = chunk / (outputChunks * blocksC * G);
    const out = sums + <usize>((chunk / outputChunks) * blocksO + o0) * block;
    memory.fill(out, 0, <usize>(oEnd - o0) * block);
    const area = takeScratch(flags, scratches);
    const from = scratch + <usize>area * scratchBytes;
    const pixel = <usize>channels * size;
    const aStep = packsX ? pixel : <usize>stepX * xPixel;
    const nEnd = min(N, (part + 1) * imagesPerPart);
    for (let n = part * imagesPerPart; n < nEnd; n += imagesPerPass) {
      const images = min(imagesPerPass, nEnd - n);
      for (let p0 = 0; p0 < countY; p0 += rowsPerPass) {
        const pEnd = min(countY, p0 + rowsPerPass);
        const xAt = x + <usize>n * xImage + <usize>(group * C + i0) * size;
        const top = max(0, startY + p0 * stepY);
        const bottom = min(sizeY, startY + (pEnd - 1) * stepY + (tapsY - 1) * tapStepY + 1);
        if (bottom <= top) continue;
        const planeRows = (bottom - 1) / stepY - top / stepY + 1;
        const plane = packsX ? <usize>(planeRows * countOf(0, stepX, sizeX)) * pixel : 0;
        const aSweep = packsX ? <usize>(stepY * stepX) * plane : xImage;
        if (packsX) {
          packPlanes(xAt, xImage, xRow, xPixel, images, top, bottom, startY, stepY, tapStepY, tapsY, startX, stepX, tapStepX, tapsX, sizeX,
            from, pixel, plane, aSweep);
        }
        let gAt = g + <usize>n * gImage + <usize>p0 * gRow + <usize>(group * O + o0 * blockO) * size;
        let bSweep = gImage, bNext = cRow;
        if (packsG) {
          const to = packsX ? from + <usize>images * aSweep : from;
          bSweep = <usize>(pEnd - p0) * bRun;
          bNext = <usize>images * bSweep;
          for (let o = o0; o < oEnd; o++) {
            const bytes = min(cRow, <usize>(O - o * blockO) * size);
            for (let k = 0; k < images; k++) {
              packRows(gAt + <usize>k * gImage, gRow, gPixel, pEnd - p0, countX, bytes, to + <usize>(o - o0) * bNext + <usize>k * bSweep, bStep);
            }
            gAt += cRow;
          }
          gAt = to;
        }
        for (let ty = 0; ty < tapsY; ty++) {
          const shiftY = startY + ty * tapStepY;
          const p = max(p0, firstAtLeast(0, shiftY, stepY));
          const runs = min(pEnd, firstAtLeast(sizeY, shiftY, stepY)) - p;
          if (runs <= 0) continue;
          const h = shiftY + p * stepY;
          for (let tx = 0; tx < tapsX; tx++) {
            const shiftX = startX + tx * tapStepX;
            const q = firstAtLeast(0, shiftX, stepX);
            const run = min(countX, firstAtLeast(sizeX, shiftX, stepX)) - q;
            if (run <= 0) continue;
            const v = shiftX + q * stepX;
            const fx = v % stepX;
            const aRun = packsX ? <usize>countOf(fx, stepX, sizeX) * pixel : <usize>stepY * xRow;
            const a = packsX
              ? from + <usize>(h % stepY * stepX + fx) * plane + <usize>(h / stepY - top / stepY) * aRun + <usize>(v / stepX) * pixel
              : xAt + <usize>h * xRow + <usize>v * xPixel;
            // Contiguous rows are read as one run.
            const joined = aRun == <usize>run * aStep && bRun == <usize>run * bStep;
            const steps = joined ? run * runs : run;
            const times = joined ? 1 : runs;
            let b = gAt + <usize>(p - p0) * bRun + <usize>q * bStep;
            let c = out + <usize>((ty * tapsX + tx) * blockC) * cRow;
            for (let o = o0; o < oEnd; o++) {
              const columns = min(blockO, padded - o * blockO);
              for (let j = 0; j < columns; ) {
                const vectors = panelVectors<T>(columns - j);
                const at = <usize>j * size;
                transposedMicroKernel2<T>(vectors, a, aStep, aRun, aSweep, b + at, bStep, bRun, bSweep, steps, times, images,
                  c + at, cRow, channels >> 1);
                if (channels & 1) {
                  const even = <usize>(channels - 1);
                  transposedMicroKernel1<T>(vectors, a + even * size, aStep, aRun, aSweep, b + at, bStep, bRun, bSweep, steps, times, images,
                    c + at + even * cRow);
                }
                j += vectors * lanes<T>();
              }
              b += bNext;
              c += block;
            }
          }
        }
      }
    }
    returnScratch(flags, area);
  }
}

export function convGradW_f32(args: ConvGradWArgs, first: i32, last: i32): void {
  convGradW<f32>(args, first, last);
}

export function convGradW_f64(args: ConvGradWArgs, first: i32, last: i32): void {
  convGradW<f64>(args, first, last);
}

/** Stores the first `n` lanes of a vector `step` bytes apart; all of them where n is larger. */
// @ts-ignore: decorator
@inline
function scatter<T>(to: usize, step: usize, v: v128, n: i32): void {
  store<T>(to, v128.extract_lane<T>(v, 0));
  if (n > 1) store<T>(to + step, v128.extract_lane<T>(v, 1));
  if (sizeof<T>() == 4) {
    if (n > 2) store<T>(to + 2 * step, v128.extract_lane<f32>(v, 2));
    if (n > 3) store<T>(to + 3 * step, v128.extract_lane<f32>(v, 3));
  }
}

@unmanaged
class ConvGradWSumArgs {
  sums: usize;
  dw: Output;
  parts: i32;
  G: i32;
  C: i32;
  O: i32;
  taps: i32;
  /** Input and output channels of a block. */
  blockC: i32;
  blockO: i32;
}

/**
 * Adds the partial sums of convGradW to dw [G·O, C, taps], in the order of the parts. A chunk is one block of O of one
 * group, in whole vectors.
 */
// @ts-ignore: decorator
@inline
function convGradWSum<T>(args: ConvGradWSumArgs, first: i32, last: i32): void {
  const sums = args.sums, dw = args.dw;
  const parts = args.parts, G = args.G, C = args.C, O = args.O, taps = args.taps;
  const blockC = args.blockC, blockO = args.blockO;
  const size = sizeof<T>();
  const blocksC = (C + blockC - 1) / blockC;
  const blocksO = (O + blockO - 1) / blockO;
  const block = taps * blockC * blockO;
  const part = <usize>(G * blocksC * blocksO * block) * size;
  const filter = <usize>(C * taps) * size;
  for (let chunk = first; chunk < last; chunk++) {
    const group = chunk / blocksO;
    const o = (chunk % blocksO) * blockO;
    for (let i = 0; i < C; i++) {
      const at = sums + <usize>(((group * blocksC + i / blockC) * blocksO + chunk % blocksO) * block + i % blockC * blockO) * size;
      for (let t = 0; t < taps; t++) {
        let from = at + <usize>(t * blockC * blockO) * size;
        let to = dw + <usize>(group * O + o) * filter + <usize>(i * taps + t) * size;
        for (let left = min(blockO, O - o); left > 0; left -= lanes<T>()) {
          let sum = v128.load(from);
          let next = from;
          for (let k = parts; k > 1; k--) {
            next += part;
            sum = v128.add<T>(sum, v128.load(next));
          }
          scatter<T>(to, filter, sum, left);
          from += 16;
          to += lanes<T>() * filter;
        }
      }
    }
  }
}

export function convGradWSum_f32(args: ConvGradWSumArgs, first: i32, last: i32): void {
  convGradWSum<f32>(args, first, last);
}

export function convGradWSum_f64(args: ConvGradWSumArgs, first: i32, last: i32): void {
  convGradWSum<f64>(args, first, last);
}

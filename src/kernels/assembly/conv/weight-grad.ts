/**
 * Weight gradients of direct convolutions, for the geometry and letters of conv.ts.
 */
import { intArg, ptrArg } from '../runtime/abi';
import { packBand } from './pack-rows';
import { lanes, panelVectors } from '../simd/vector';
import { outer1, outer2 } from './transposed-micro-kernel';
import { returnScratch, takeScratch } from '../runtime/scratch';
import { firstAtLeast } from './taps';

/** Whether some tap reads inputs that are `residue` modulo `step`. */
function meets(residue: i32, start: i32, step: i32, tapStep: i32, taps: i32): bool {
  for (let t = 0; t < taps; t++) {
    if ((start + t * tapStep - residue) % step == 0) return true;
  }
  return false;
}

/** How many of 0 … size − 1 are `residue` modulo `step`. */
// @ts-ignore: decorator
@inline
function countOf(residue: i32, step: i32, size: i32): i32 {
  return (size - residue + step - 1) / step;
}

/**
 * Copies rows top … bottom − 1 of `images` images into stepY × stepX planes each, by row and column modulo the steps, so that what a tap
 * reads lies side by side; `pixel` bytes of each pixel. Planes that no tap reads stay as they are.
 * plane, image: bytes from one plane, or image, to the next.
 */
function packPlanes(
  x: usize, xImage: usize, xRow: usize, xPixel: usize, images: i32, top: i32, bottom: i32,
  startY: i32, stepY: i32, tapStepY: i32, tapsY: i32, startX: i32, stepX: i32, tapStepX: i32, tapsX: i32, sizeX: i32,
  to: usize, pixel: usize, plane: usize, image: usize,
): void {
  for (let fy = 0; fy < stepY; fy++) {
    if (!meets(fy, startY, stepY, tapStepY, tapsY)) continue;
    const h = top + (fy - top % stepY + stepY) % stepY;
    const rows = countOf(h, stepY, bottom);
    for (let fx = 0; fx < stepX; fx++) {
      if (!meets(fx, startX, stepX, tapStepX, tapsX)) continue;
      const columns = countOf(fx, stepX, sizeX);
      let from = x + <usize>h * xRow + <usize>fx * xPixel;
      let at = to + <usize>(fy * stepX + fx) * plane + <usize>((h / stepY - top / stepY) * columns) * pixel;
      for (let k = images; k > 0; k--) {
        packBand(from, <usize>stepY * xRow, <usize>stepX * xPixel, rows, columns, pixel, at, pixel);
        from += xImage;
        at += image;
      }
    }
  }
}

/**
 * dw = Σ over images and pixels of x ⊗ g, into partial sums [image group, G, block of C, block of O, tap, C of the block, O of the block]:
 * what a chunk writes lies side by side. A chunk is an image group × a group × a block of input channels × up to `wide` blocks of 4
 * vectors of output channels; the sum runs in image order, over bands of rows, or of whole images, that stay in the L1 cache while tap after tap
 * goes over them. They are copied first where they would fall into few of its sets: x into planes, see packPlanes, g into one a block.
 *
 * args: x, its image, row and pixel stride; g, its image, row and pixel stride; the sums; N, G, C, O;
 * vertical count, start, step, tapStep, taps, size; the same horizontally; images per group; input channels per block (even); wide;
 * rows and images per band; whether x is copied, and g (which it must be unless O is whole vectors);
 * scratch flags, count, address, bytes of each. Strides in bytes.
 */
// @ts-ignore: decorator
@inline
function convGradW<T>(args: usize, first: i32, last: i32): void {
  const x = ptrArg(args, 0), xImage = ptrArg(args, 1), xRow = ptrArg(args, 2), xPixel = ptrArg(args, 3);
  const g = ptrArg(args, 4), gImage = ptrArg(args, 5), gRow = ptrArg(args, 6), gPixel = ptrArg(args, 7);
  const sums = ptrArg(args, 8);
  const N = intArg(args, 9), G = intArg(args, 10), C = intArg(args, 11), O = intArg(args, 12);
  const countY = intArg(args, 13), startY = intArg(args, 14), stepY = intArg(args, 15);
  const tapStepY = intArg(args, 16), tapsY = intArg(args, 17), sizeY = intArg(args, 18);
  const countX = intArg(args, 19), startX = intArg(args, 20), stepX = intArg(args, 21);
  const tapStepX = intArg(args, 22), tapsX = intArg(args, 23), sizeX = intArg(args, 24);
  const groupImages = intArg(args, 25), blockC = intArg(args, 26), wide = intArg(args, 27);
  const bandRows = intArg(args, 28), bandImages = intArg(args, 29);
  const packX = intArg(args, 30) != 0, packG = intArg(args, 31) != 0;
  const flags = ptrArg(args, 32), scratches = intArg(args, 33), scratch = ptrArg(args, 34), scratchBytes = ptrArg(args, 35);
  const size = sizeof<T>();
  const blockO = 4 * lanes<T>();
  const padded = (O + lanes<T>() - 1) / lanes<T>() * lanes<T>();
  const blocksC = (C + blockC - 1) / blockC;
  const blocksO = (O + blockO - 1) / blockO;
  const wides = (blocksO + wide - 1) / wide;
  const cRow = <usize>blockO * size;
  const block = <usize>(tapsY * tapsX * blockC) * cRow;
  // Strides of the g that is read.
  const bStep = packG ? min(cRow, <usize>padded * size) : gPixel;
  const bRun = packG ? <usize>countX * bStep : gRow;
  for (let chunk = first; chunk < last; chunk++) {
    const o0 = (chunk % wides) * wide;
    const oEnd = min(blocksO, o0 + wide);
    const i0 = (chunk / wides) % blocksC * blockC;
    const channels = min(blockC, C - i0);
    const group = chunk / (wides * blocksC) % G;
    const part = chunk / (wides * blocksC * G);
    const out = sums + <usize>((chunk / wides) * blocksO + o0) * block;
    memory.fill(out, 0, <usize>(oEnd - o0) * block);
    const area = takeScratch(flags, scratches);
    const from = scratch + <usize>area * scratchBytes;
    const pixel = <usize>channels * size;
    const aStep = packX ? pixel : <usize>stepX * xPixel;
    const nEnd = min(N, (part + 1) * groupImages);
    for (let n = part * groupImages; n < nEnd; n += bandImages) {
      const images = min(bandImages, nEnd - n);
      for (let band = 0; band < countY; band += bandRows) {
        const bandEnd = min(countY, band + bandRows);
        const xAt = x + <usize>n * xImage + <usize>(group * C + i0) * size;
        const top = max(0, startY + band * stepY);
        const bottom = min(sizeY, startY + (bandEnd - 1) * stepY + (tapsY - 1) * tapStepY + 1);
        if (bottom <= top) continue;
        const planeRows = (bottom - 1) / stepY - top / stepY + 1;
        const plane = packX ? <usize>(planeRows * countOf(0, stepX, sizeX)) * pixel : 0;
        const aSweep = packX ? <usize>(stepY * stepX) * plane : xImage;
        if (packX) {
          packPlanes(xAt, xImage, xRow, xPixel, images, top, bottom, startY, stepY, tapStepY, tapsY, startX, stepX, tapStepX, tapsX, sizeX,
            from, pixel, plane, aSweep);
        }
        let gAt = g + <usize>n * gImage + <usize>band * gRow + <usize>(group * O + o0 * blockO) * size;
        let bSweep = gImage, bNext = cRow;
        if (packG) {
          const to = packX ? from + <usize>images * aSweep : from;
          bSweep = <usize>(bandEnd - band) * bRun;
          bNext = <usize>images * bSweep;
          for (let o = o0; o < oEnd; o++) {
            const bytes = min(cRow, <usize>(O - o * blockO) * size);
            for (let k = 0; k < images; k++) {
              packBand(gAt + <usize>k * gImage, gRow, gPixel, bandEnd - band, countX, bytes, to + <usize>(o - o0) * bNext + <usize>k * bSweep, bStep);
            }
            gAt += cRow;
          }
          gAt = to;
        }
        for (let ty = 0; ty < tapsY; ty++) {
          const shiftY = startY + ty * tapStepY;
          const p = max(band, firstAtLeast(0, shiftY, stepY));
          const runs = min(bandEnd, firstAtLeast(sizeY, shiftY, stepY)) - p;
          if (runs <= 0) continue;
          const h = shiftY + p * stepY;
          for (let tx = 0; tx < tapsX; tx++) {
            const shiftX = startX + tx * tapStepX;
            const q = firstAtLeast(0, shiftX, stepX);
            const run = min(countX, firstAtLeast(sizeX, shiftX, stepX)) - q;
            if (run <= 0) continue;
            const v = shiftX + q * stepX;
            const fx = v % stepX;
            const aRun = packX ? <usize>countOf(fx, stepX, sizeX) * pixel : <usize>stepY * xRow;
            const a = packX
              ? from + <usize>(h % stepY * stepX + fx) * plane + <usize>(h / stepY - top / stepY) * aRun + <usize>(v / stepX) * pixel
              : xAt + <usize>h * xRow + <usize>v * xPixel;
            // Rows that touch are one run.
            const joined = aRun == <usize>run * aStep && bRun == <usize>run * bStep;
            const steps = joined ? run * runs : run;
            const times = joined ? 1 : runs;
            let b = gAt + <usize>(p - band) * bRun + <usize>q * bStep;
            let c = out + <usize>((ty * tapsX + tx) * blockC) * cRow;
            for (let o = o0; o < oEnd; o++) {
              const columns = min(blockO, padded - o * blockO);
              for (let j = 0; j < columns; ) {
                const vectors = panelVectors<T>(columns - j);
                const at = <usize>j * size;
                outer2<T>(vectors, a, aStep, aRun, aSweep, b + at, bStep, bRun, bSweep, steps, times, images, c + at, cRow, channels >> 1);
                if (channels & 1) {
                  const even = <usize>(channels - 1);
                  outer1<T>(vectors, a + even * size, aStep, aRun, aSweep, b + at, bStep, bRun, bSweep, steps, times, images, c + at + even * cRow);
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

export function convGradW_f32(args: usize, first: i32, last: i32): void {
  convGradW<f32>(args, first, last);
}

export function convGradW_f64(args: usize, first: i32, last: i32): void {
  convGradW<f64>(args, first, last);
}

/** Writes the first `n` lanes of a vector, `step` bytes apart; all of them where n is larger. */
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

/**
 * dw [G·O, C, taps] = partial sums [image group, G, block of C, block of O, tap, C of the block, O of the block], added in the order
 * of the image groups. A chunk is one block of O of one group, in whole vectors.
 * args: sums, dw, image groups, G, C, O, taps, C and O of a block.
 */
// @ts-ignore: decorator
@inline
function convGradWSum<T>(args: usize, first: i32, last: i32): void {
  const sums = ptrArg(args, 0), dw = ptrArg(args, 1);
  const parts = intArg(args, 2), G = intArg(args, 3), C = intArg(args, 4), O = intArg(args, 5), taps = intArg(args, 6);
  const blockC = intArg(args, 7), blockO = intArg(args, 8);
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

export function convGradWSum_f32(args: usize, first: i32, last: i32): void {
  convGradWSum<f32>(args, first, last);
}

export function convGradWSum_f64(args: usize, first: i32, last: i32): void {
  convGradWSum<f64>(args, first, last);
}

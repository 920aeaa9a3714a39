/**
 * Direct convolutions to at most 3 channels, where a vector of outputs would not be full: vectors run over the input channels instead,
 * of which there are whole vectors, and their lanes are added at the end. Geometry and letters are conv.ts's, without groups.
 */
import { intArg, ptrArg } from '../runtime/abi';
import { lanes, sumLanes } from '../simd/vector';
import { endTap, firstAtLeast, firstTap } from './taps';

/**
 * w → [tap, C / lanes, O, lanes], in the order in which it is read. A chunk is one output channel.
 * args: w, dst, O, vertical taps, their stride, horizontal taps, their stride, C, its stride, O's stride; strides in bytes.
 */
// @ts-ignore: decorator
@inline
function packNarrow<T>(args: usize, first: i32, last: i32): void {
  const w = ptrArg(args, 0), dst = ptrArg(args, 1);
  const O = intArg(args, 2), tapsY = intArg(args, 3), tapsX = intArg(args, 5), C = intArg(args, 7);
  const sy = ptrArg(args, 4), sx = ptrArg(args, 6), sc = ptrArg(args, 8), so = ptrArg(args, 9);
  for (let o = first; o < last; o++) {
    let to = dst + (<usize>o << 4);
    for (let t = 0; t < tapsY * tapsX; t++) {
      let p = w + <usize>o * so + <usize>(t / tapsX) * sy + <usize>(t % tapsX) * sx;
      for (let i = 0; i < C; i += lanes<T>()) {
        for (let lane = 0; lane < lanes<T>(); lane++) {
          store<T>(to + <usize>lane * sizeof<T>(), load<T>(p));
          p += sc;
        }
        to += <usize>O << 4;
      }
    }
  }
}

export function packNarrow_f32(args: usize, first: i32, last: i32): void {
  packNarrow<f32>(args, first, last);
}

export function packNarrow_f64(args: usize, first: i32, last: i32): void {
  packNarrow<f64>(args, first, last);
}

/** Writes the sums of one pixel's columns. */
// @ts-ignore: decorator
@inline
function putSums<T>(columns: i32, y: usize, c0: v128, c1: v128, c2: v128): void {
  store<T>(y, sumLanes<T>(c0));
  if (columns > 1) store<T>(y, sumLanes<T>(c1), sizeof<T>());
  if (columns > 2) store<T>(y, sumLanes<T>(c2), 2 * sizeof<T>());
}

/**
 * `count` tiles of 2 pixels × `columns` output channels: 6 accumulators, each step's 3 vectors of w and 2 of x fit the registers, and
 * 6 additions are as many as are under way at a time. The sum runs over sweeps × runs × vectors, see tile.ts; run in bytes.
 */
// @ts-ignore: decorator
@inline
function narrowOf<T>(
  columns: i32, a: usize, aPixel: usize, aRun: usize, aSweep: usize, w: usize, wSweep: usize, run: usize, runs: i32, sweeps: i32,
  y: usize, yPixel: usize, count: i32,
): void {
  const step: usize = <usize>columns * 16;
  a -= 16;
  w -= step;
  for (; count > 0; count--) {
    let c00 = v128.splat<T>(0), c01 = v128.splat<T>(0), c02 = v128.splat<T>(0);
    let c10 = v128.splat<T>(0), c11 = v128.splat<T>(0), c12 = v128.splat<T>(0);
    let aAt = a;
    let wAt = w;
    for (let i = sweeps; i > 0; i--) {
      let from = aAt;
      let q = wAt;
      for (let r = runs; r > 0; r--) {
        let p0 = from;
        let p1 = from + aPixel;
        const last = p0 + run;
        do {
          p0 += 16;
          p1 += 16;
          q += step;
          const w0 = v128.load(q);
          const w1 = columns > 1 ? v128.load(q, 16) : w0;
          const w2 = columns > 2 ? v128.load(q, 32) : w0;
          const x0 = v128.load(p0);
          c00 = v128.add<T>(c00, v128.mul<T>(x0, w0));
          if (columns > 1) c01 = v128.add<T>(c01, v128.mul<T>(x0, w1));
          if (columns > 2) c02 = v128.add<T>(c02, v128.mul<T>(x0, w2));
          const x1 = v128.load(p1);
          c10 = v128.add<T>(c10, v128.mul<T>(x1, w0));
          if (columns > 1) c11 = v128.add<T>(c11, v128.mul<T>(x1, w1));
          if (columns > 2) c12 = v128.add<T>(c12, v128.mul<T>(x1, w2));
        } while (p0 != last);
        from += aRun;
      }
      aAt += aSweep;
      wAt += wSweep;
    }
    putSums<T>(columns, y, c00, c01, c02);
    putSums<T>(columns, y + yPixel, c10, c11, c12);
    a += 2 * aPixel;
    y += 2 * yPixel;
  }
}

function narrow3<T>(
  a: usize, aPixel: usize, aRun: usize, aSweep: usize, w: usize, wSweep: usize, run: usize, runs: i32, sweeps: i32,
  y: usize, yPixel: usize, count: i32,
): void {
  narrowOf<T>(3, a, aPixel, aRun, aSweep, w, wSweep, run, runs, sweeps, y, yPixel, count);
}

function narrow2<T>(
  a: usize, aPixel: usize, aRun: usize, aSweep: usize, w: usize, wSweep: usize, run: usize, runs: i32, sweeps: i32,
  y: usize, yPixel: usize, count: i32,
): void {
  narrowOf<T>(2, a, aPixel, aRun, aSweep, w, wSweep, run, runs, sweeps, y, yPixel, count);
}

function narrow1<T>(
  a: usize, aPixel: usize, aRun: usize, aSweep: usize, w: usize, wSweep: usize, run: usize, runs: i32, sweeps: i32,
  y: usize, yPixel: usize, count: i32,
): void {
  narrowOf<T>(1, a, aPixel, aRun, aSweep, w, wSweep, run, runs, sweeps, y, yPixel, count);
}

// @ts-ignore: decorator
@inline
function narrow<T>(
  columns: i32, a: usize, aPixel: usize, aRun: usize, aSweep: usize, w: usize, wSweep: usize, run: usize, runs: i32, sweeps: i32,
  y: usize, yPixel: usize, count: i32,
): void {
  if (columns == 3) narrow3<T>(a, aPixel, aRun, aSweep, w, wSweep, run, runs, sweeps, y, yPixel, count);
  else if (columns == 2) narrow2<T>(a, aPixel, aRun, aSweep, w, wSweep, run, runs, sweeps, y, yPixel, count);
  else narrow1<T>(a, aPixel, aRun, aSweep, w, wSweep, run, runs, sweeps, y, yPixel, count);
}

/**
 * y = x ⋆ w. A chunk is an image × a band of output rows.
 * args: x, its image, row and pixel stride; w of packNarrow; y, its image, row and pixel stride; N, C, O;
 * vertical count, start, step, tapStep, taps, size; the same horizontally; rows per band. Strides in bytes.
 */
// @ts-ignore: decorator
@inline
function convNarrow<T>(args: usize, first: i32, last: i32): void {
  const x = ptrArg(args, 0), xImage = ptrArg(args, 1), xRow = ptrArg(args, 2), xPixel = ptrArg(args, 3);
  const w = ptrArg(args, 4);
  const y = ptrArg(args, 5), yImage = ptrArg(args, 6), yRow = ptrArg(args, 7), yPixel = ptrArg(args, 8);
  const C = intArg(args, 10), O = intArg(args, 11);
  const countY = intArg(args, 12), startY = intArg(args, 13), stepY = intArg(args, 14);
  const tapStepY = intArg(args, 15), tapsY = intArg(args, 16), sizeY = intArg(args, 17);
  const countX = intArg(args, 18), startX = intArg(args, 19), stepX = intArg(args, 20);
  const tapStepX = intArg(args, 21), tapsX = intArg(args, 22), sizeX = intArg(args, 23);
  const band = intArg(args, 24);
  const bands = (countY + band - 1) / band;
  const pixel = <usize>C * sizeof<T>();
  // Output columns from `inner` to `innerEnd` have all their taps inside; where taps are neighbours, those of a kernel row are one run.
  const inner = min(countX, firstAtLeast(0, startX, stepX));
  const innerEnd = max(inner, min(countX, firstAtLeast(sizeX - tapStepX * (tapsX - 1), startX, stepX)));
  const joined = tapStepX == 1 && xPixel == pixel;
  const aPixel = <usize>stepX * xPixel;
  const aRun = <usize>tapStepX * xPixel;
  const aSweep = <usize>tapStepY * xRow;
  const wSweep = <usize>(tapsX * O) * pixel;
  for (let chunk = first; chunk < last; chunk++) {
    const n = chunk / bands;
    const p0 = (chunk % bands) * band;
    const pEnd = min(countY, p0 + band);
    for (let p = p0; p < pEnd; p++) {
      const atY = startY + p * stepY;
      const ty = firstTap(atY, tapStepY);
      const rows = max(0, endTap(atY, tapStepY, tapsY, sizeY) - ty);
      for (let q = 0; q < countX; ) {
        const count = q == inner ? max(1, innerEnd - inner) : 1;
        const atX = startX + q * stepX;
        const tx = firstTap(atX, tapStepX);
        const taps = max(0, endTap(atX, tapStepX, tapsX, sizeX) - tx);
        const run = joined ? <usize>taps * pixel : pixel;
        const runs = joined ? 1 : taps;
        const sweeps = taps > 0 ? rows : 0;
        const a = x + <usize>n * xImage + <usize>(atY + ty * tapStepY) * xRow + <usize>(atX + tx * tapStepX) * xPixel;
        const b = w + <usize>((ty * tapsX + tx) * O) * pixel;
        const c = y + <usize>n * yImage + <usize>p * yRow + <usize>q * yPixel;
        narrow<T>(O, a, aPixel, aRun, aSweep, b, wSweep, run, runs, sweeps, c, yPixel, count >> 1);
        if (count & 1) {
          // Both pixels of the tile are the last one.
          const even = <usize>(count - 1);
          narrow<T>(O, a + even * aPixel, 0, aRun, aSweep, b, wSweep, run, runs, sweeps, c + even * yPixel, 0, 1);
        }
        q += count;
      }
    }
  }
}

export function convNarrow_f32(args: usize, first: i32, last: i32): void {
  convNarrow<f32>(args, first, last);
}

export function convNarrow_f64(args: usize, first: i32, last: i32): void {
  convNarrow<f64>(args, first, last);
}

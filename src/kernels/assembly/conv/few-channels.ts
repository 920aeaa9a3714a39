/**
 * Direct convolutions to at most 3 channels, which would not fill a vector of outputs. Vectors run over whole vectors of input channels
 * instead, and their lanes are added at the end. There are no groups.
 */
import { ColumnLayout } from '../matmul/pack';
import { Input } from '../runtime/abi';
import { lanes, mulAdd, sumLanes } from '../simd/vector';
import { CorrelationArgs } from './geometry';
import { endTap, firstAtLeast, firstTap } from './taps';

/** Arguments of packFewChannels. The steps of the layout are vertical taps × horizontal taps × C. */
@unmanaged
class PackFewChannelsArgs extends ColumnLayout {
  w: Input;
  packed: usize;
}

/** Packs w into [tap, C / lanes, O, lanes], the order in which convFewChannels reads it. A chunk is one output channel. */
// @ts-ignore: decorator
@inline
function packFewChannels<T>(args: PackFewChannelsArgs, first: i32, last: i32): void {
  const w = args.w, packed = args.packed;
  const O = args.columns, tapsY = args.n1, tapsX = args.n2, C = args.n3;
  const sy = args.stride1, sx = args.stride2, sc = args.stride3, so = args.columnStride;
  for (let o = first; o < last; o++) {
    let to = packed + (<usize>o << 4);
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

export function packFewChannels_f32(args: PackFewChannelsArgs, first: i32, last: i32): void {
  packFewChannels<f32>(args, first, last);
}

export function packFewChannels_f64(args: PackFewChannelsArgs, first: i32, last: i32): void {
  packFewChannels<f64>(args, first, last);
}

/** Stores the sums of one pixel's `columns` output channels. */
// @ts-ignore: decorator
@inline
function putSums<T>(columns: i32, y: usize, c0: v128, c1: v128, c2: v128): void {
  store<T>(y, sumLanes<T>(c0));
  if (columns > 1) store<T>(y, sumLanes<T>(c1), sizeof<T>());
  if (columns > 2) store<T>(y, sumLanes<T>(c2), 2 * sizeof<T>());
}

/**
 * Computes `count` register blocks of 2 pixels × `columns` output channels. Their 6 accumulators and each step's 3 vectors of w and 2 of x fit
 * the registers, and 6 additions hide the latency of one. The sum runs over sweeps × runs × vectors, see matmul/micro-kernel.ts; `run` is
 * in bytes.
 */
// @ts-ignore: decorator
@inline
function fewChannelsMicroKernel<T>(
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
          c00 = mulAdd<T>(x0, w0, c00);
          if (columns > 1) c01 = mulAdd<T>(x0, w1, c01);
          if (columns > 2) c02 = mulAdd<T>(x0, w2, c02);
          const x1 = v128.load(p1);
          c10 = mulAdd<T>(x1, w0, c10);
          if (columns > 1) c11 = mulAdd<T>(x1, w1, c11);
          if (columns > 2) c12 = mulAdd<T>(x1, w2, c12);
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

function fewChannels3<T>(
  a: usize, aPixel: usize, aRun: usize, aSweep: usize, w: usize, wSweep: usize, run: usize, runs: i32, sweeps: i32,
  y: usize, yPixel: usize, count: i32,
): void {
  fewChannelsMicroKernel<T>(3, a, aPixel, aRun, aSweep, w, wSweep, run, runs, sweeps, y, yPixel, count);
}

function fewChannels2<T>(
  a: usize, aPixel: usize, aRun: usize, aSweep: usize, w: usize, wSweep: usize, run: usize, runs: i32, sweeps: i32,
  y: usize, yPixel: usize, count: i32,
): void {
  fewChannelsMicroKernel<T>(2, a, aPixel, aRun, aSweep, w, wSweep, run, runs, sweeps, y, yPixel, count);
}

function fewChannels1<T>(
  a: usize, aPixel: usize, aRun: usize, aSweep: usize, w: usize, wSweep: usize, run: usize, runs: i32, sweeps: i32,
  y: usize, yPixel: usize, count: i32,
): void {
  fewChannelsMicroKernel<T>(1, a, aPixel, aRun, aSweep, w, wSweep, run, runs, sweeps, y, yPixel, count);
}

// @ts-ignore: decorator
@inline
function fewChannels<T>(
  columns: i32, a: usize, aPixel: usize, aRun: usize, aSweep: usize, w: usize, wSweep: usize, run: usize, runs: i32, sweeps: i32,
  y: usize, yPixel: usize, count: i32,
): void {
  if (columns == 3) fewChannels3<T>(a, aPixel, aRun, aSweep, w, wSweep, run, runs, sweeps, y, yPixel, count);
  else if (columns == 2) fewChannels2<T>(a, aPixel, aRun, aSweep, w, wSweep, run, runs, sweeps, y, yPixel, count);
  else fewChannels1<T>(a, aPixel, aRun, aSweep, w, wSweep, run, runs, sweeps, y, yPixel, count);
}

@unmanaged
class FewChannelsArgs extends CorrelationArgs {
  C: i32;
  O: i32;
}

/** Computes y = x ⋆ w, with w of packFewChannels. A chunk is some output rows of one image. */
// @ts-ignore: decorator
@inline
function convFewChannels<T>(args: FewChannelsArgs, first: i32, last: i32): void {
  const x = args.x, xImage = args.xImage, xRow = args.xRow, xPixel = args.xPixel;
  const w = args.w;
  const y = args.y, yImage = args.yImage, yRow = args.yRow, yPixel = args.yPixel;
  const C = args.C, O = args.O;
  const countY = args.countY, startY = args.startY, stepY = args.stepY;
  const tapStepY = args.tapStepY, tapsY = args.tapsY, sizeY = args.sizeY;
  const countX = args.countX, startX = args.startX, stepX = args.stepX;
  const tapStepX = args.tapStepX, tapsX = args.tapsX, sizeX = args.sizeX;
  const rowsPerChunk = args.rowsPerChunk;
  const rowChunks = (countY + rowsPerChunk - 1) / rowsPerChunk;
  const pixel = <usize>C * sizeof<T>();
  // Output columns from `inner` to `innerEnd` have all their taps inside. Where taps are neighbours, those of a kernel row are one run.
  const inner = min(countX, firstAtLeast(0, startX, stepX));
  const innerEnd = max(inner, min(countX, firstAtLeast(sizeX - tapStepX * (tapsX - 1), startX, stepX)));
  const joined = tapStepX == 1 && xPixel == pixel;
  const aPixel = <usize>stepX * xPixel;
  const aRun = <usize>tapStepX * xPixel;
  const aSweep = <usize>tapStepY * xRow;
  const wSweep = <usize>(tapsX * O) * pixel;
  for (let chunk = first; chunk < last; chunk++) {
    const n = chunk / rowChunks;
    const p0 = (chunk % rowChunks) * rowsPerChunk;
    const pEnd = min(countY, p0 + rowsPerChunk);
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
        fewChannels<T>(O, a, aPixel, aRun, aSweep, b, wSweep, run, runs, sweeps, c, yPixel, count >> 1);
        if (count & 1) {
          // Both pixels of the block are the last one.
          const even = <usize>(count - 1);
          fewChannels<T>(O, a + even * aPixel, 0, aRun, aSweep, b, wSweep, run, runs, sweeps, c + even * yPixel, 0, 1);
        }
        q += count;
      }
    }
  }
}

export function convFewChannels_f32(args: FewChannelsArgs, first: i32, last: i32): void {
  convFewChannels<f32>(args, first, last);
}

export function convFewChannels_f64(args: FewChannelsArgs, first: i32, last: i32): void {
  convFewChannels<f64>(args, first, last);
}

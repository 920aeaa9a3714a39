/**
 * Batch norm's statistics of an M×C matrix, row-major: M samples or pixels of C channels.
 */
import { Input, OptionalInput, Output } from '../runtime/abi';
import { MatrixArgs } from './batch-norm';
import { blockRows } from './row-statistics';
import { addWide, lanes } from '../simd/vector';

/** Returns x where it is finite, else 0. */
// @ts-ignore: decorator
@inline
function finite<T>(x: v128): v128 {
  const d = v128.sub<T>(x, x);
  return v128.and(x, v128.eq<T>(d, d));
}

/** Returns the mean of `rows` rows at p for a vector of channels; 0 where it is not finite. */
// @ts-ignore: decorator
@inline
function blockMean<T>(p: usize, rows: i32, rowBytes: usize): v128 {
  let s = v128.splat<T>(0);
  for (let i = 0; i < rows; i++, p += rowBytes) s = v128.add<T>(s, v128.load(p));
  return finite<T>(v128.div<T>(s, v128.splat<T>(<T>rows)));
}

/** Returns whether the mean over `rows` rows at p is less than two standard deviations from 0, in each of a vector of channels. */
// @ts-ignore: decorator
@inline
function isCentred<T>(p: usize, rows: i32, rowBytes: usize): bool {
  let s = v128.splat<T>(0), q = s;
  for (let i = 0; i < rows; i++, p += rowBytes) {
    const x = v128.load(p);
    s = v128.add<T>(s, x);
    q = v128.add<T>(q, v128.mul<T>(x, x));
  }
  // (s/n)² < 4 (q/n − (s/n)²), which is false if there is a NaN or an overflow.
  const left = v128.mul<T>(v128.splat<T>(5), v128.mul<T>(s, s));
  return v128.all_true<i32>(v128.lt<T>(left, v128.mul<T>(v128.splat<T>(<T>4 * <T>rows), q)));
}

/** Returns whether the 64 bytes at p are 0. */
// @ts-ignore: decorator
@inline
function areZero(p: usize): bool {
  return !v128.any_true(v128.or(v128.or(v128.load(p), v128.load(p, 16)), v128.or(v128.load(p, 32), v128.load(p, 48))));
}

@unmanaged
class BatchNormMomentsArgs extends MatrixArgs {
  x: Input;
  /** [chunks, 3, C], float64: μ, Σ (x − μ)², and space for k. */
  partials: usize;
}

/**
 * Each chunk's mean μ and Σ (x − μ)², in one pass over memory. With d = x − k, μ = k + Σd/n and Σ (x − μ)² = Σd² − (Σd)²/n for
 * any k. Here k is the mean of the chunk's first block of rows. As the block is part of the chunk, (μ − k)² is at most n/rows times the
 * chunk's variance (8 for 512 rows of 16 channels, 32 of 64). So the difference is accurate for means of any size.
 * If four vectors of channels have means near 0 in that block, k is 0. Their sums then take two additions per element instead of three, and
 * all eight fit the registers. In this case (μ − k)² is at most 9 n/rows times the variance.
 */
// @ts-ignore: decorator
@inline
function moments<T>(args: BatchNormMomentsArgs, first: i32, last: i32): void {
  const x = args.x;
  const M = args.M;
  const C = args.C;
  const chunkRows = args.rowsPerChunk;
  const rowBytes = <usize>C * sizeof<T>();
  // Twice the rows, as there is only one operand; the error of up to 64 additions is small enough.
  const step = 2 * blockRows<T>(C);
  const half = <usize>C * 8;
  for (let chunk = first; chunk < last; chunk++) {
    const out = args.partials + <usize>chunk * half * 3;
    const shift = out + half * 2;
    memory.fill(out, 0, half * 2);
    const start = chunk * chunkRows;
    const end = min(M, start + chunkRows);
    for (let r = start; r < end; r += step) {
      const rows = min(step, end - r);
      const block = x + <usize>r * rowBytes;
      let c = 0;
      for (; c + 4 * lanes<T>() <= C; c += 4 * lanes<T>()) {
        let p = block + <usize>c * sizeof<T>();
        const k = shift + <usize>c * sizeof<T>();
        if (r == start) {
          if (!isCentred<T>(p, rows, rowBytes) || !isCentred<T>(p + 16, rows, rowBytes)) break;
          if (!isCentred<T>(p + 32, rows, rowBytes) || !isCentred<T>(p + 48, rows, rowBytes)) break;
          memory.fill(k, 0, 64);
        }
        if (!areZero(k)) break;
        let a0 = v128.splat<T>(0), a1 = a0, a2 = a0, a3 = a0, b0 = a0, b1 = a0, b2 = a0, b3 = a0;
        for (let i = 0; i < rows; i++, p += rowBytes) {
          const x0 = v128.load(p), x1 = v128.load(p, 16), x2 = v128.load(p, 32), x3 = v128.load(p, 48);
          a0 = v128.add<T>(a0, x0);
          a1 = v128.add<T>(a1, x1);
          a2 = v128.add<T>(a2, x2);
          a3 = v128.add<T>(a3, x3);
          b0 = v128.add<T>(b0, v128.mul<T>(x0, x0));
          b1 = v128.add<T>(b1, v128.mul<T>(x1, x1));
          b2 = v128.add<T>(b2, v128.mul<T>(x2, x2));
          b3 = v128.add<T>(b3, v128.mul<T>(x3, x3));
        }
        const o = out + <usize>c * 8;
        addWide<T>(o, a0);
        addWide<T>(o + 8 * lanes<T>(), a1);
        addWide<T>(o + 16 * lanes<T>(), a2);
        addWide<T>(o + 24 * lanes<T>(), a3);
        addWide<T>(o + half, b0);
        addWide<T>(o + half + 8 * lanes<T>(), b1);
        addWide<T>(o + half + 16 * lanes<T>(), b2);
        addWide<T>(o + half + 24 * lanes<T>(), b3);
      }
      for (; c + 2 * lanes<T>() <= C; c += 2 * lanes<T>()) {
        let p = block + <usize>c * sizeof<T>();
        const k = shift + <usize>c * sizeof<T>();
        if (r == start) {
          v128.store(k, blockMean<T>(p, rows, rowBytes));
          v128.store(k, blockMean<T>(p + 16, rows, rowBytes), 16);
        }
        const k0 = v128.load(k), k1 = v128.load(k, 16);
        let a0 = v128.splat<T>(0), a1 = a0, b0 = a0, b1 = a0;
        for (let i = 0; i < rows; i++, p += rowBytes) {
          const d0 = v128.sub<T>(v128.load(p), k0), d1 = v128.sub<T>(v128.load(p, 16), k1);
          a0 = v128.add<T>(a0, d0);
          a1 = v128.add<T>(a1, d1);
          b0 = v128.add<T>(b0, v128.mul<T>(d0, d0));
          b1 = v128.add<T>(b1, v128.mul<T>(d1, d1));
        }
        const o = out + <usize>c * 8;
        addWide<T>(o, a0);
        addWide<T>(o + 8 * lanes<T>(), a1);
        addWide<T>(o + half, b0);
        addWide<T>(o + half + 8 * lanes<T>(), b1);
      }
      for (; c < C; c++) {
        let p = block + <usize>c * sizeof<T>();
        if (r == start) {
          let s = <T>0;
          for (let i = 0; i < rows; i++) s += load<T>(p + <usize>i * rowBytes);
          s /= <T>rows;
          store<T>(shift + <usize>c * sizeof<T>(), s - s == 0 ? s : <T>0);
        }
        const k = load<T>(shift + <usize>c * sizeof<T>());
        let a = <T>0, b = <T>0;
        for (let i = 0; i < rows; i++, p += rowBytes) {
          const d = load<T>(p) - k;
          a += d;
          b += d * d;
        }
        const o = out + <usize>c * 8;
        store<f64>(o, load<f64>(o) + <f64>a);
        store<f64>(o + half, load<f64>(o + half) + <f64>b);
      }
    }
    const n = <f64>(end - start);
    for (let c = 0; c < C; c++) {
      const o = out + <usize>c * 8;
      const sum = load<f64>(o);
      store<f64>(o, <f64>load<T>(shift + <usize>c * sizeof<T>()) + sum / n);
      store<f64>(o + half, max(0, load<f64>(o + half) - sum * sum / n));
    }
  }
}

@unmanaged
class CombineMomentsArgs extends MatrixArgs {
  /** The output of `moments`: [chunks, 3, C]. */
  partials: usize;
  channelsPerChunk: i32;
  eps: f64;
  w: OptionalInput;
  b: OptionalInput;
  mean: Output;
  variance: Output;
  invstd: Output;
  scale: Output;
  offset: Output;
}

/**
 * From the chunks' moments, k ascending: μ = Σ nₖ μₖ / M, σ² = Σ (Mₖ + nₖ (μₖ − μ)²) / M, invstd = 1 / √(σ² + eps), 0 where that is 1 / 0; and for
 * y = x·scale − offset, scale = invstd·w, offset = μ·scale − b. A missing w is 1, a missing b is 0. A chunk is a range of channels.
 */
// @ts-ignore: decorator
@inline
function combineMoments<T>(args: CombineMomentsArgs, first: i32, last: i32): void {
  const M = args.M;
  const C = args.C;
  const rows = args.rowsPerChunk;
  const half = <usize>C * 8;
  const w = args.w;
  const b = args.b;
  const end = min(C, last * args.channelsPerChunk);
  for (let c = first * args.channelsPerChunk; c < end; c++) {
    const partial = args.partials + <usize>c * 8;
    let mean: f64 = 0, squares: f64 = 0;
    for (let r = 0, p = partial; r < M; r += rows, p += half * 3) mean += <f64>min(rows, M - r) * load<f64>(p);
    mean /= <f64>M;
    for (let r = 0, p = partial; r < M; r += rows, p += half * 3) {
      const d = load<f64>(p) - mean;
      squares += load<f64>(p + half) + <f64>min(rows, M - r) * d * d;
    }
    const variance = squares / <f64>M;
    const to = <usize>c * sizeof<T>();
    const divisor = sqrt(variance + args.eps);
    const invstd = <T>(divisor == 0 ? 0 : 1 / divisor);
    const scale = w == 0 ? invstd : invstd * load<T>(w + to);
    store<T>(args.mean + to, <T>mean);
    store<T>(args.variance + to, <T>variance);
    store<T>(args.invstd + to, invstd);
    store<T>(args.scale + to, scale);
    store<T>(args.offset + to, <T>mean * scale - (b == 0 ? <T>0 : load<T>(b + to)));
  }
}

export function batchNormMoments_f32(args: BatchNormMomentsArgs, first: i32, last: i32): void {
  moments<f32>(args, first, last);
}

export function batchNormMoments_f64(args: BatchNormMomentsArgs, first: i32, last: i32): void {
  moments<f64>(args, first, last);
}

export function combineMoments_f32(args: CombineMomentsArgs, first: i32, last: i32): void {
  combineMoments<f32>(args, first, last);
}

export function combineMoments_f64(args: CombineMomentsArgs, first: i32, last: i32): void {
  combineMoments<f64>(args, first, last);
}

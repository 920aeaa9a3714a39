/**
 * Batch norm on an M×C matrix, row-major: M samples or pixels of C channels.
 *
 * A chunk is a range of rows. Sums are taken over up to 32 rows in the element type and added up in float64, so that a mean's
 * error does not grow with M; chunks' partial sums are combined in chunk order by `combineSums`.
 */
import { floatArg, intArg, ptrArg } from './abi';
import { lanes } from './lanes';

/**
 * Rows summed in the element type, and worked on at a time, some channels of all of them before the next: 2 KiB, so that they stay
 * in L1 and in one page or two; at most 32.
 */
// @ts-ignore: decorator
@inline
function blockRows<T>(C: i32): i32 {
  return max(4, min(32, 2048 / (max(C, 1) * <i32>sizeof<T>())));
}

/** Adds the lanes of v to float64 numbers at p. */
// @ts-ignore: decorator
@inline
function addWide<T>(p: usize, v: v128): void {
  if (sizeof<T>() == 8) {
    v128.store(p, v128.add<f64>(v128.load(p), v));
  } else {
    v128.store(p, v128.add<f64>(v128.load(p), f64x2.promote_low_f32x4(v)));
    v128.store(p, v128.add<f64>(v128.load(p, 16), f64x2.promote_low_f32x4(v128.shuffle<f32>(v, v, 2, 3, 2, 3))), 16);
  }
}

/** x where it is finite, else 0. */
// @ts-ignore: decorator
@inline
function finite<T>(x: v128): v128 {
  const d = v128.sub<T>(x, x);
  return v128.and(x, v128.eq<T>(d, d));
}

/** The mean of `rows` rows at p, a vector of channels. */
// @ts-ignore: decorator
@inline
function blockMean<T>(p: usize, rows: i32, rowBytes: usize): v128 {
  let s = v128.splat<T>(0);
  for (let i = 0; i < rows; i++, p += rowBytes) s = v128.add<T>(s, v128.load(p));
  return finite<T>(v128.div<T>(s, v128.splat<T>(<T>rows)));
}

/**
 * Each chunk's mean μ and Σ (x − μ)², in one pass over memory. With d = x − k, μ = k + Σd/n and Σ (x − μ)² = Σd² − (Σd)²/n for
 * any k; here k is the mean of the chunk's first block of rows. As they are part of the chunk, (μ − k)² is at most n/rows times the chunk's
 * variance (16 for 512 rows of 16 channels, 64 of 64), so that the difference keeps its digits however large the mean is.
 * args: x, partial [chunks, 3, C] f64 (μ, Σ (x − μ)², room for k), M, C, rows a chunk
 */
// @ts-ignore: decorator
@inline
function moments<T>(args: usize, first: i32, last: i32): void {
  const x = ptrArg(args, 0);
  const M = intArg(args, 2);
  const C = intArg(args, 3);
  const chunkRows = intArg(args, 4);
  const rowBytes = <usize>C * sizeof<T>();
  const step = blockRows<T>(C);
  const half = <usize>C * 8;
  for (let chunk = first; chunk < last; chunk++) {
    const out = ptrArg(args, 1) + <usize>chunk * half * 3;
    const shift = out + half * 2;
    memory.fill(out, 0, half * 2);
    const start = chunk * chunkRows;
    const end = min(M, start + chunkRows);
    for (let r = start; r < end; r += step) {
      const rows = min(step, end - r);
      const block = x + <usize>r * rowBytes;
      let c = 0;
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

/**
 * mean, variance and 1 / √(variance + eps) from the chunks' moments: μ = Σ nₖ μₖ / M, σ² = Σ (Mₖ + nₖ (μₖ − μ)²) / M, k ascending.
 * A chunk is a range of channels.
 * args: partial, M, C, rows a chunk, eps, mean, variance, invstd, channels a chunk
 */
// @ts-ignore: decorator
@inline
function combineMoments<T>(args: usize, first: i32, last: i32): void {
  const M = intArg(args, 1);
  const C = intArg(args, 2);
  const rows = intArg(args, 3);
  const half = <usize>C * 8;
  const end = min(C, last * intArg(args, 8));
  for (let c = first * intArg(args, 8); c < end; c++) {
    const partial = ptrArg(args, 0) + <usize>c * 8;
    let mean: f64 = 0, squares: f64 = 0;
    for (let r = 0, p = partial; r < M; r += rows, p += half * 3) mean += <f64>min(rows, M - r) * load<f64>(p);
    mean /= <f64>M;
    for (let r = 0, p = partial; r < M; r += rows, p += half * 3) {
      const d = load<f64>(p) - mean;
      squares += load<f64>(p + half) + <f64>min(rows, M - r) * d * d;
    }
    const variance = squares / <f64>M;
    const to = <usize>c * sizeof<T>();
    store<T>(ptrArg(args, 5) + to, <T>mean);
    store<T>(ptrArg(args, 6) + to, <T>variance);
    store<T>(ptrArg(args, 7) + to, <T>(1 / sqrt(variance + floatArg(args, 4))));
  }
}

/** Σ g and Σ g·(x − mean) over each chunk's rows. args: g, x, mean, partial [chunks, 2, C] f64, M, C, rows a chunk */
// @ts-ignore: decorator
@inline
function gradSums<T>(args: usize, first: i32, last: i32): void {
  const g = ptrArg(args, 0);
  const fromG = ptrArg(args, 1) - g;
  const mean = ptrArg(args, 2);
  const M = intArg(args, 4);
  const C = intArg(args, 5);
  const chunkRows = intArg(args, 6);
  const rowBytes = <usize>C * sizeof<T>();
  const step = blockRows<T>(C);
  const half = <usize>C * 8;
  for (let chunk = first; chunk < last; chunk++) {
    const out = ptrArg(args, 3) + <usize>chunk * half * 2;
    memory.fill(out, 0, half * 2);
    const end = min(M, (chunk + 1) * chunkRows);
    for (let r = chunk * chunkRows; r < end; r += step) {
      const rows = min(step, end - r);
      const block = g + <usize>r * rowBytes;
      let c = 0;
      for (; c + 2 * lanes<T>() <= C; c += 2 * lanes<T>()) {
        let a0 = v128.splat<T>(0), a1 = a0, b0 = a0, b1 = a0;
        let p = block + <usize>c * sizeof<T>();
        const m = mean + <usize>c * sizeof<T>();
        const m0 = v128.load(m), m1 = v128.load(m, 16);
        for (let i = 0; i < rows; i++, p += rowBytes) {
          const g0 = v128.load(p), g1 = v128.load(p, 16);
          a0 = v128.add<T>(a0, g0);
          a1 = v128.add<T>(a1, g1);
          b0 = v128.add<T>(b0, v128.mul<T>(g0, v128.sub<T>(v128.load(p + fromG), m0)));
          b1 = v128.add<T>(b1, v128.mul<T>(g1, v128.sub<T>(v128.load(p + fromG, 16), m1)));
        }
        const o = out + <usize>c * 8;
        addWide<T>(o, a0);
        addWide<T>(o + 8 * lanes<T>(), a1);
        addWide<T>(o + half, b0);
        addWide<T>(o + half + 8 * lanes<T>(), b1);
      }
      for (; c + lanes<T>() <= C; c += lanes<T>()) {
        let a = v128.splat<T>(0), b = a;
        let p = block + <usize>c * sizeof<T>();
        const m = v128.load(mean + <usize>c * sizeof<T>());
        for (let i = 0; i < rows; i++, p += rowBytes) {
          const v = v128.load(p);
          a = v128.add<T>(a, v);
          b = v128.add<T>(b, v128.mul<T>(v, v128.sub<T>(v128.load(p + fromG), m)));
        }
        addWide<T>(out + <usize>c * 8, a);
        addWide<T>(out + half + <usize>c * 8, b);
      }
      for (; c < C; c++) {
        let a = <T>0, b = a;
        let p = block + <usize>c * sizeof<T>();
        const m = load<T>(mean + <usize>c * sizeof<T>());
        for (let i = 0; i < rows; i++, p += rowBytes) {
          const v = load<T>(p);
          a += v;
          b += v * (load<T>(p + fromG) - m);
        }
        const o = out + <usize>c * 8;
        store<f64>(o, load<f64>(o) + <f64>a);
        store<f64>(o + half, load<f64>(o + half) + <f64>b);
      }
    }
  }
}

/**
 * out[c] = factor · scale[c] · Σ partial[k, c], k ascending. A chunk is a range of channels.
 * args: partial f64, its row length, its rows, C, factor, scale or 0, out, channels a chunk
 */
// @ts-ignore: decorator
@inline
function combineSums<T>(args: usize, first: i32, last: i32): void {
  const partial = ptrArg(args, 0);
  const rowBytes = <usize>intArg(args, 1) * 8;
  const rows = intArg(args, 2);
  const factor = floatArg(args, 4);
  const scale = ptrArg(args, 5);
  const out = ptrArg(args, 6);
  const end = min(intArg(args, 3), last * intArg(args, 7));
  for (let c = first * intArg(args, 7); c < end; c++) {
    let sum: f64 = 0;
    let p = partial + <usize>c * 8;
    for (let k = 0; k < rows; k++, p += rowBytes) sum += load<f64>(p);
    if (scale != 0) sum *= <f64>load<T>(scale + <usize>c * sizeof<T>());
    store<T>(out + <usize>c * sizeof<T>(), <T>(sum * factor));
  }
}

/** The numbers at p of channels c … */
// @ts-ignore: decorator
@inline
function vectorAt<T>(p: usize, c: i32): v128 {
  return v128.load(p + <usize>c * sizeof<T>());
}

/** The number at p of channel c. */
// @ts-ignore: decorator
@inline
function numberAt<T>(p: usize, c: i32): T {
  return load<T>(p + <usize>c * sizeof<T>());
}

/** invstd·w of channels c …; a missing w is 1. */
// @ts-ignore: decorator
@inline
function scaleVectorAt<T>(invstd: usize, w: usize, c: i32): v128 {
  return w == 0 ? vectorAt<T>(invstd, c) : v128.mul<T>(vectorAt<T>(invstd, c), vectorAt<T>(w, c));
}

// @ts-ignore: decorator
@inline
function scaleNumberAt<T>(invstd: usize, w: usize, c: i32): T {
  return w == 0 ? numberAt<T>(invstd, c) : numberAt<T>(invstd, c) * numberAt<T>(w, c);
}

/** y = (x − mean)·(invstd·w) + b. args: x, y, mean, invstd, w or 0, b or 0, M, C, rows a chunk */
// @ts-ignore: decorator
@inline
function apply<T>(args: usize, first: i32, last: i32): void {
  const x = ptrArg(args, 0);
  const toY = ptrArg(args, 1) - x;
  const mean = ptrArg(args, 2);
  const invstd = ptrArg(args, 3);
  const w = ptrArg(args, 4);
  const b = ptrArg(args, 5);
  const C = intArg(args, 7);
  const zero = v128.splat<T>(0);
  const rowBytes = <usize>C * sizeof<T>();
  const step = blockRows<T>(C);
  const end = min(intArg(args, 6), last * intArg(args, 8));
  for (let r = first * intArg(args, 8); r < end; r += step) {
    const rows = min(step, end - r);
    const block = x + <usize>r * rowBytes;
    let c = 0;
    for (; c + 2 * lanes<T>() <= C; c += 2 * lanes<T>()) {
      const c1 = c + lanes<T>();
      const m0 = vectorAt<T>(mean, c), m1 = vectorAt<T>(mean, c1);
      const s0 = scaleVectorAt<T>(invstd, w, c);
      const s1 = scaleVectorAt<T>(invstd, w, c1);
      const b0 = b == 0 ? zero : vectorAt<T>(b, c), b1 = b == 0 ? zero : vectorAt<T>(b, c1);
      let p = block + <usize>c * sizeof<T>();
      for (let i = 0; i < rows; i++, p += rowBytes) {
        v128.store(p + toY, v128.add<T>(v128.mul<T>(v128.sub<T>(v128.load(p), m0), s0), b0));
        v128.store(p + toY, v128.add<T>(v128.mul<T>(v128.sub<T>(v128.load(p, 16), m1), s1), b1), 16);
      }
    }
    for (; c + lanes<T>() <= C; c += lanes<T>()) {
      const m = vectorAt<T>(mean, c);
      const s = scaleVectorAt<T>(invstd, w, c);
      const shift = b == 0 ? zero : vectorAt<T>(b, c);
      let p = block + <usize>c * sizeof<T>();
      for (let i = 0; i < rows; i++, p += rowBytes) {
        v128.store(p + toY, v128.add<T>(v128.mul<T>(v128.sub<T>(v128.load(p), m), s), shift));
      }
    }
    for (; c < C; c++) {
      const m = numberAt<T>(mean, c);
      const s = scaleNumberAt<T>(invstd, w, c);
      const shift = b == 0 ? <T>0 : numberAt<T>(b, c);
      let p = block + <usize>c * sizeof<T>();
      for (let i = 0; i < rows; i++, p += rowBytes) store<T>(p + toY, (load<T>(p) - m) * s + shift);
    }
  }
}

/**
 * dx = w·invstd·(g − db/M − (x − mean)·(invstd·dw/M))
 * args: g, x, dx, mean, invstd, w or 0, dw, db, M, C, rows a chunk
 */
// @ts-ignore: decorator
@inline
function gradX<T>(args: usize, first: i32, last: i32): void {
  const g = ptrArg(args, 0);
  const toX = ptrArg(args, 1) - g;
  const toDx = ptrArg(args, 2) - g;
  const mean = ptrArg(args, 3);
  const invstd = ptrArg(args, 4);
  const w = ptrArg(args, 5);
  const dw = ptrArg(args, 6);
  const db = ptrArg(args, 7);
  const M = intArg(args, 8);
  const C = intArg(args, 9);
  const inverse = <T>(1 / <f64>M);
  const inverses = v128.splat<T>(inverse);
  const rowBytes = <usize>C * sizeof<T>();
  const step = blockRows<T>(C);
  const end = min(M, last * intArg(args, 10));
  for (let r = first * intArg(args, 10); r < end; r += step) {
    const rows = min(step, end - r);
    const block = g + <usize>r * rowBytes;
    let c = 0;
    for (; c + 2 * lanes<T>() <= C; c += 2 * lanes<T>()) {
      const c1 = c + lanes<T>();
      const m0 = vectorAt<T>(mean, c), m1 = vectorAt<T>(mean, c1);
      const s0 = scaleVectorAt<T>(invstd, w, c), s1 = scaleVectorAt<T>(invstd, w, c1);
      const a0 = v128.mul<T>(vectorAt<T>(db, c), inverses), a1 = v128.mul<T>(vectorAt<T>(db, c1), inverses);
      const q0 = v128.mul<T>(v128.mul<T>(vectorAt<T>(dw, c), inverses), vectorAt<T>(invstd, c));
      const q1 = v128.mul<T>(v128.mul<T>(vectorAt<T>(dw, c1), inverses), vectorAt<T>(invstd, c1));
      let p = block + <usize>c * sizeof<T>();
      for (let i = 0; i < rows; i++, p += rowBytes) {
        const d0 = v128.mul<T>(v128.sub<T>(v128.load(p + toX), m0), q0);
        const d1 = v128.mul<T>(v128.sub<T>(v128.load(p + toX, 16), m1), q1);
        const r0 = v128.mul<T>(s0, v128.sub<T>(v128.sub<T>(v128.load(p), a0), d0));
        const r1 = v128.mul<T>(s1, v128.sub<T>(v128.sub<T>(v128.load(p, 16), a1), d1));
        v128.store(p + toDx, r0);
        v128.store(p + toDx, r1, 16);
      }
    }
    for (; c + lanes<T>() <= C; c += lanes<T>()) {
      const m = vectorAt<T>(mean, c);
      const inv = vectorAt<T>(invstd, c);
      const s = scaleVectorAt<T>(invstd, w, c);
      const a = v128.mul<T>(vectorAt<T>(db, c), inverses);
      const q = v128.mul<T>(v128.mul<T>(vectorAt<T>(dw, c), inverses), inv);
      let p = block + <usize>c * sizeof<T>();
      for (let i = 0; i < rows; i++, p += rowBytes) {
        const centred = v128.sub<T>(v128.load(p + toX), m);
        v128.store(p + toDx, v128.mul<T>(s, v128.sub<T>(v128.sub<T>(v128.load(p), a), v128.mul<T>(centred, q))));
      }
    }
    for (; c < C; c++) {
      const m = numberAt<T>(mean, c);
      const inv = numberAt<T>(invstd, c);
      const s = scaleNumberAt<T>(invstd, w, c);
      const a = numberAt<T>(db, c) * inverse;
      const q = numberAt<T>(dw, c) * inverse * inv;
      let p = block + <usize>c * sizeof<T>();
      for (let i = 0; i < rows; i++, p += rowBytes) store<T>(p + toDx, s * (load<T>(p) - a - (load<T>(p + toX) - m) * q));
    }
  }
}

/**
 * ds[n,c] = Σ over image n's pixels of g·x, and dx = g·s in the same pass. A chunk is an image; sums as above.
 * args: g, x, dx or 0, s, ds, partial [chunks, C] f64, pixels, C
 */
// @ts-ignore: decorator
@inline
function scaleGrad<T>(args: usize, first: i32, last: i32): void {
  const toX = ptrArg(args, 1) - ptrArg(args, 0);
  const dx = ptrArg(args, 2);
  const toDx = dx - ptrArg(args, 0);
  const pixels = intArg(args, 6);
  const C = intArg(args, 7);
  const rowBytes = <usize>C * sizeof<T>();
  const step = blockRows<T>(C);
  for (let image = first; image < last; image++) {
    const g = ptrArg(args, 0) + <usize>image * <usize>pixels * rowBytes;
    const s = ptrArg(args, 3) + <usize>image * rowBytes;
    const out = ptrArg(args, 5) + <usize>image * <usize>C * 8;
    memory.fill(out, 0, <usize>C * 8);
    for (let r = 0; r < pixels; r += step) {
      const rows = min(step, pixels - r);
      const block = g + <usize>r * rowBytes;
      let c = 0;
      for (; c + 2 * lanes<T>() <= C; c += 2 * lanes<T>()) {
        let a0 = v128.splat<T>(0), a1 = a0;
        const s0 = vectorAt<T>(s, c), s1 = vectorAt<T>(s, c + lanes<T>());
        let p = block + <usize>c * sizeof<T>();
        for (let i = 0; i < rows; i++, p += rowBytes) {
          const g0 = v128.load(p), g1 = v128.load(p, 16);
          a0 = v128.add<T>(a0, v128.mul<T>(g0, v128.load(p + toX)));
          a1 = v128.add<T>(a1, v128.mul<T>(g1, v128.load(p + toX, 16)));
          if (dx == 0) continue;
          const d0 = v128.mul<T>(g0, s0), d1 = v128.mul<T>(g1, s1);
          v128.store(p + toDx, d0);
          v128.store(p + toDx, d1, 16);
        }
        addWide<T>(out + <usize>c * 8, a0);
        addWide<T>(out + <usize>c * 8 + 8 * lanes<T>(), a1);
      }
      for (; c < C; c++) {
        let a = <T>0;
        const scale = numberAt<T>(s, c);
        let p = block + <usize>c * sizeof<T>();
        for (let i = 0; i < rows; i++, p += rowBytes) {
          const v = load<T>(p);
          a += v * load<T>(p + toX);
          if (dx != 0) store<T>(p + toDx, v * scale);
        }
        const o = out + <usize>c * 8;
        store<f64>(o, load<f64>(o) + <f64>a);
      }
    }
    const ds = ptrArg(args, 4) + <usize>image * rowBytes;
    for (let c = 0; c < C; c++) store<T>(ds + <usize>c * sizeof<T>(), <T>load<f64>(out + <usize>c * 8));
  }
}

export function scaleChannelsGrad_f32(args: usize, first: i32, last: i32): void {
  scaleGrad<f32>(args, first, last);
}

export function scaleChannelsGrad_f64(args: usize, first: i32, last: i32): void {
  scaleGrad<f64>(args, first, last);
}

export function batchNormMoments_f32(args: usize, first: i32, last: i32): void {
  moments<f32>(args, first, last);
}

export function batchNormMoments_f64(args: usize, first: i32, last: i32): void {
  moments<f64>(args, first, last);
}

export function combineMoments_f32(args: usize, first: i32, last: i32): void {
  combineMoments<f32>(args, first, last);
}

export function combineMoments_f64(args: usize, first: i32, last: i32): void {
  combineMoments<f64>(args, first, last);
}

export function batchNormGradSums_f32(args: usize, first: i32, last: i32): void {
  gradSums<f32>(args, first, last);
}

export function batchNormGradSums_f64(args: usize, first: i32, last: i32): void {
  gradSums<f64>(args, first, last);
}

export function combineSums_f32(args: usize, first: i32, last: i32): void {
  combineSums<f32>(args, first, last);
}

export function combineSums_f64(args: usize, first: i32, last: i32): void {
  combineSums<f64>(args, first, last);
}

export function batchNormApply_f32(args: usize, first: i32, last: i32): void {
  apply<f32>(args, first, last);
}

export function batchNormApply_f64(args: usize, first: i32, last: i32): void {
  apply<f64>(args, first, last);
}

export function batchNormGradX_f32(args: usize, first: i32, last: i32): void {
  gradX<f32>(args, first, last);
}

export function batchNormGradX_f64(args: usize, first: i32, last: i32): void {
  gradX<f64>(args, first, last);
}

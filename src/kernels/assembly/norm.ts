/**
 * Batch norm of an M×C matrix, row-major, and its gradient. A chunk is a range of rows; chunks' partial sums are combined in chunk
 * order by `combineSums`.
 */
import { floatArg, intArg, ptrArg } from './abi';
import { addWide, blockRows, numberAt, vectorAt } from './channels';
import { lanes } from './lanes';

/** Rows worked on at a time where nothing is summed: as above, but as many as there are where four vectors hold all channels. */
// @ts-ignore: decorator
@inline
function passRows<T>(C: i32): i32 {
  return C == 4 * lanes<T>() ? i32.MAX_VALUE : blockRows<T>(C);
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

/** b − mean·s of channels c …; a missing b is 0. */
// @ts-ignore: decorator
@inline
function shiftVectorAt<T>(mean: usize, s: v128, b: usize, c: i32): v128 {
  return v128.sub<T>(b == 0 ? v128.splat<T>(0) : vectorAt<T>(b, c), v128.mul<T>(vectorAt<T>(mean, c), s));
}

/** y = x·s + (b − mean·s), s = invstd·w. args: x, y, mean, invstd, w or 0, b or 0, M, C, rows a chunk */
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
  const rowBytes = <usize>C * sizeof<T>();
  const step = passRows<T>(C);
  const end = min(intArg(args, 6), last * intArg(args, 8));
  for (let r = first * intArg(args, 8), rows = 0; r < end; r += rows) {
    rows = min(step, end - r);
    const block = x + <usize>r * rowBytes;
    let c = 0;
    for (; c + 4 * lanes<T>() <= C; c += 4 * lanes<T>()) {
      const s0 = scaleVectorAt<T>(invstd, w, c), s1 = scaleVectorAt<T>(invstd, w, c + lanes<T>());
      const s2 = scaleVectorAt<T>(invstd, w, c + 2 * lanes<T>()), s3 = scaleVectorAt<T>(invstd, w, c + 3 * lanes<T>());
      const t0 = shiftVectorAt<T>(mean, s0, b, c), t1 = shiftVectorAt<T>(mean, s1, b, c + lanes<T>());
      const t2 = shiftVectorAt<T>(mean, s2, b, c + 2 * lanes<T>()), t3 = shiftVectorAt<T>(mean, s3, b, c + 3 * lanes<T>());
      let p = block + <usize>c * sizeof<T>();
      for (let i = 0; i < rows; i++, p += rowBytes) {
        const y0 = v128.add<T>(v128.mul<T>(v128.load(p), s0), t0), y1 = v128.add<T>(v128.mul<T>(v128.load(p, 16), s1), t1);
        const y2 = v128.add<T>(v128.mul<T>(v128.load(p, 32), s2), t2), y3 = v128.add<T>(v128.mul<T>(v128.load(p, 48), s3), t3);
        const y = p + toY;
        v128.store(y, y0);
        v128.store(y, y1, 16);
        v128.store(y, y2, 32);
        v128.store(y, y3, 48);
      }
    }
    for (; c + lanes<T>() <= C; c += lanes<T>()) {
      const s = scaleVectorAt<T>(invstd, w, c);
      const shift = shiftVectorAt<T>(mean, s, b, c);
      let p = block + <usize>c * sizeof<T>();
      for (let i = 0; i < rows; i++, p += rowBytes) v128.store(p + toY, v128.add<T>(v128.mul<T>(v128.load(p), s), shift));
    }
    for (; c < C; c++) {
      const s = scaleNumberAt<T>(invstd, w, c);
      const shift = (b == 0 ? <T>0 : numberAt<T>(b, c)) - numberAt<T>(mean, c) * s;
      let p = block + <usize>c * sizeof<T>();
      for (let i = 0; i < rows; i++, p += rowBytes) store<T>(p + toY, load<T>(p) * s + shift);
    }
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

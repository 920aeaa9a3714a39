/**
 * Batch norm of an M×C matrix, row-major, and its gradient. A chunk is a range of rows. `combineGradSums` adds the chunks' partial
 * sums in chunk order.
 *
 * Each channel's constants are computed beforehand and loaded from memory. If they were computed here, V8 would move that arithmetic into
 * the loop, where it costs registers.
 */
import { Input, Output } from '../runtime/abi';
import { inputGrad, inputGradNumber, outputGrad, outputGradNumber, raised, raisedNumber } from './channel-line';
import { blockRows, numberAt, passRows, vectorAt } from './row-statistics';
import { addWide, lanes } from '../simd/vector';

/** An M×C matrix, which is divided into chunks of rows. */
@unmanaged
export class MatrixArgs {
  M: i32;
  C: i32;
  rowsPerChunk: i32;
}

@unmanaged
class BatchNormApplyArgs extends MatrixArgs {
  x: Input;
  scale: Input;
  offset: Input;
  y: Output;
  /** −∞, or 0 to apply a ReLU too. */
  floor: f64;
}

/** y = max(x·scale − offset, floor); propagates NaN. */
// @ts-ignore: decorator
@inline
function apply<T>(args: BatchNormApplyArgs, first: i32, last: i32): void {
  const x = args.x;
  const scale = args.scale;
  const offset = args.offset;
  const toY = args.y - x;
  const C = args.C;
  const floor = <T>args.floor;
  const floors = v128.splat<T>(floor);
  const rowBytes = <usize>C * sizeof<T>();
  // Rows of four vectors are accessed in order in blocks of any size.
  const step = C == 4 * lanes<T>() ? i32.MAX_VALUE : passRows(rowBytes);
  const end = min(args.M, last * args.rowsPerChunk);
  for (let r = first * args.rowsPerChunk, rows = 0; r < end; r += rows) {
    rows = min(step, end - r);
    const block = x + <usize>r * rowBytes;
    let c = 0;
    for (; c + 4 * lanes<T>() <= C; c += 4 * lanes<T>()) {
      const s0 = vectorAt<T>(scale, c), s1 = vectorAt<T>(scale, c + lanes<T>());
      const s2 = vectorAt<T>(scale, c + 2 * lanes<T>()), s3 = vectorAt<T>(scale, c + 3 * lanes<T>());
      const t0 = vectorAt<T>(offset, c), t1 = vectorAt<T>(offset, c + lanes<T>());
      const t2 = vectorAt<T>(offset, c + 2 * lanes<T>()), t3 = vectorAt<T>(offset, c + 3 * lanes<T>());
      let p = block + <usize>c * sizeof<T>();
      for (let i = 0; i < rows; i++, p += rowBytes) {
        const y0 = raised<T>(v128.load(p), s0, t0, floors), y1 = raised<T>(v128.load(p, 16), s1, t1, floors);
        const y2 = raised<T>(v128.load(p, 32), s2, t2, floors), y3 = raised<T>(v128.load(p, 48), s3, t3, floors);
        const y = p + toY;
        v128.store(y, y0);
        v128.store(y, y1, 16);
        v128.store(y, y2, 32);
        v128.store(y, y3, 48);
      }
    }
    for (; c + lanes<T>() <= C; c += lanes<T>()) {
      const s = vectorAt<T>(scale, c), t = vectorAt<T>(offset, c);
      let p = block + <usize>c * sizeof<T>();
      for (let i = 0; i < rows; i++, p += rowBytes) v128.store(p + toY, raised<T>(v128.load(p), s, t, floors));
    }
    for (; c < C; c++) {
      const s = numberAt<T>(scale, c), t = numberAt<T>(offset, c);
      let p = block + <usize>c * sizeof<T>();
      for (let i = 0; i < rows; i++, p += rowBytes) {
        store<T>(p + toY, raisedNumber<T>(load<T>(p), s, t, floor));
      }
    }
  }
}

@unmanaged
class BatchNormGradSumsArgs extends MatrixArgs {
  g: Input;
  x: Input;
  scale: Input;
  offset: Input;
  mean: Input;
  /** Partial sums [chunks, 2, C], float64. */
  partials: usize;
}

/** Σ g and Σ g·(x − mean) over each chunk's rows. If `relu`, g counts as 0 wherever batch norm's y ≤ 0. */
// @ts-ignore: decorator
@inline
function gradSums<T>(relu: bool, args: BatchNormGradSumsArgs, first: i32, last: i32): void {
  const g = args.g;
  const toX = args.x - g;
  const scale = args.scale;
  const offset = args.offset;
  const mean = args.mean;
  const M = args.M;
  const C = args.C;
  const chunkRows = args.rowsPerChunk;
  const rowBytes = <usize>C * sizeof<T>();
  const step = blockRows<T>(C);
  const half = <usize>C * 8;
  for (let chunk = first; chunk < last; chunk++) {
    const out = args.partials + <usize>chunk * half * 2;
    memory.fill(out, 0, half * 2);
    const end = min(M, (chunk + 1) * chunkRows);
    for (let r = chunk * chunkRows; r < end; r += step) {
      const rows = min(step, end - r);
      const block = g + <usize>r * rowBytes;
      let c = 0;
      for (; c + 2 * lanes<T>() <= C; c += 2 * lanes<T>()) {
        let a0 = v128.splat<T>(0), a1 = a0, b0 = a0, b1 = a0;
        let p = block + <usize>c * sizeof<T>();
        const m0 = vectorAt<T>(mean, c), m1 = vectorAt<T>(mean, c + lanes<T>());
        const s0 = vectorAt<T>(scale, c), s1 = vectorAt<T>(scale, c + lanes<T>());
        const t0 = vectorAt<T>(offset, c), t1 = vectorAt<T>(offset, c + lanes<T>());
        for (let i = 0; i < rows; i++, p += rowBytes) {
          const x0 = v128.load(p + toX), x1 = v128.load(p + toX, 16);
          const g0 = outputGrad<T>(relu, v128.load(p), x0, s0, t0), g1 = outputGrad<T>(relu, v128.load(p, 16), x1, s1, t1);
          a0 = v128.add<T>(a0, g0);
          a1 = v128.add<T>(a1, g1);
          b0 = v128.add<T>(b0, v128.mul<T>(g0, v128.sub<T>(x0, m0)));
          b1 = v128.add<T>(b1, v128.mul<T>(g1, v128.sub<T>(x1, m1)));
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
        const m = vectorAt<T>(mean, c), s = vectorAt<T>(scale, c), t = vectorAt<T>(offset, c);
        for (let i = 0; i < rows; i++, p += rowBytes) {
          const x = v128.load(p + toX);
          const v = outputGrad<T>(relu, v128.load(p), x, s, t);
          a = v128.add<T>(a, v);
          b = v128.add<T>(b, v128.mul<T>(v, v128.sub<T>(x, m)));
        }
        addWide<T>(out + <usize>c * 8, a);
        addWide<T>(out + half + <usize>c * 8, b);
      }
      for (; c < C; c++) {
        let a = <T>0, b = a;
        let p = block + <usize>c * sizeof<T>();
        const m = numberAt<T>(mean, c), s = numberAt<T>(scale, c), t = numberAt<T>(offset, c);
        for (let i = 0; i < rows; i++, p += rowBytes) {
          const x = load<T>(p + toX);
          const v = outputGradNumber<T>(relu, load<T>(p), x, s, t);
          a += v;
          b += v * (x - m);
        }
        const o = out + <usize>c * 8;
        store<f64>(o, load<f64>(o) + <f64>a);
        store<f64>(o + half, load<f64>(o + half) + <f64>b);
      }
    }
  }
}

@unmanaged
class CombineGradSumsArgs {
  /** Partial sums [rows, 2, C], float64. */
  partials: usize;
  rows: i32;
  M: i32;
  C: i32;
  channelsPerChunk: i32;
  mean: Input;
  invstd: Input;
  scale: Input;
  dw: Output;
  db: Output;
  /** Slopes and bases [2, C], for gradX. */
  line: usize;
}

/**
 * From the sums of all chunks, k ascending: db = Σ g, dw = invstd·Σ g·(x − mean), and for gradX, dx = scale·g + x·slope + base,
 * slope = −scale·invstd·dw/M, base = −scale·db/M − mean·slope. A chunk is a range of channels.
 */
// @ts-ignore: decorator
@inline
function combineGradSums<T>(args: CombineGradSumsArgs, first: i32, last: i32): void {
  const C = args.C;
  const rowBytes = <usize>C * 16;
  const rows = args.rows;
  const factor = 1 / <f64>args.M;
  const end = min(C, last * args.channelsPerChunk);
  for (let c = first * args.channelsPerChunk; c < end; c++) {
    let sum: f64 = 0, product: f64 = 0;
    let p = args.partials + <usize>c * 8;
    for (let k = 0; k < rows; k++, p += rowBytes) {
      sum += load<f64>(p);
      product += load<f64>(p + (rowBytes >> 1));
    }
    const at = <usize>c * sizeof<T>();
    const invstd = <f64>load<T>(args.invstd + at);
    const scale = <f64>load<T>(args.scale + at);
    const slope = -scale * invstd * invstd * product * factor;
    store<T>(args.dw + at, <T>(product * invstd));
    store<T>(args.db + at, <T>sum);
    const line = args.line + at;
    store<T>(line, <T>slope);
    store<T>(line + <usize>C * sizeof<T>(), <T>(-scale * sum * factor - <f64>load<T>(args.mean + at) * slope));
  }
}

@unmanaged
class BatchNormGradXArgs extends MatrixArgs {
  g: Input;
  x: Input;
  scale: Input;
  offset: Input;
  /** Slopes and bases [2, C], from combineGradSums. */
  line: usize;
  dx: Output;
}

/** dx = scale·g + x·slope + base = scale·(g − db/M − (x − mean)·(invstd·dw/M)), g as in gradSums */
// @ts-ignore: decorator
@inline
function gradX<T>(relu: bool, args: BatchNormGradXArgs, first: i32, last: i32): void {
  const g = args.g;
  const toX = args.x - g;
  const scale = args.scale;
  const offset = args.offset;
  const slopes = args.line;
  const toDx = args.dx - g;
  const C = args.C;
  const rowBytes = <usize>C * sizeof<T>();
  const bases = slopes + rowBytes;
  const step = passRows(rowBytes);
  const end = min(args.M, last * args.rowsPerChunk);
  for (let r = first * args.rowsPerChunk, rows = 0; r < end; r += rows) {
    rows = min(step, end - r);
    const block = g + <usize>r * rowBytes;
    let c = 0;
    for (; c + 2 * lanes<T>() <= C; c += 2 * lanes<T>()) {
      const c1 = c + lanes<T>();
      const s0 = vectorAt<T>(scale, c), s1 = vectorAt<T>(scale, c1);
      const t0 = vectorAt<T>(offset, c), t1 = vectorAt<T>(offset, c1);
      const k0 = vectorAt<T>(slopes, c), k1 = vectorAt<T>(slopes, c1);
      const b0 = vectorAt<T>(bases, c), b1 = vectorAt<T>(bases, c1);
      let p = block + <usize>c * sizeof<T>();
      for (let i = 0; i < rows; i++, p += rowBytes) {
        const x0 = v128.load(p + toX), x1 = v128.load(p + toX, 16);
        const d0 = inputGrad<T>(relu, v128.load(p), x0, s0, t0, k0, b0), d1 = inputGrad<T>(relu, v128.load(p, 16), x1, s1, t1, k1, b1);
        v128.store(p + toDx, d0);
        v128.store(p + toDx, d1, 16);
      }
    }
    for (; c + lanes<T>() <= C; c += lanes<T>()) {
      const s = vectorAt<T>(scale, c), t = vectorAt<T>(offset, c), k = vectorAt<T>(slopes, c), b = vectorAt<T>(bases, c);
      let p = block + <usize>c * sizeof<T>();
      for (let i = 0; i < rows; i++, p += rowBytes) {
        v128.store(p + toDx, inputGrad<T>(relu, v128.load(p), v128.load(p + toX), s, t, k, b));
      }
    }
    for (; c < C; c++) {
      const s = numberAt<T>(scale, c), t = numberAt<T>(offset, c), k = numberAt<T>(slopes, c), b = numberAt<T>(bases, c);
      let p = block + <usize>c * sizeof<T>();
      for (let i = 0; i < rows; i++, p += rowBytes) {
        store<T>(p + toDx, inputGradNumber<T>(relu, load<T>(p), load<T>(p + toX), s, t, k, b));
      }
    }
  }
}

export function batchNormGradSums_f32(args: BatchNormGradSumsArgs, first: i32, last: i32): void {
  gradSums<f32>(false, args, first, last);
}

export function batchNormGradSums_f64(args: BatchNormGradSumsArgs, first: i32, last: i32): void {
  gradSums<f64>(false, args, first, last);
}

export function combineGradSums_f32(args: CombineGradSumsArgs, first: i32, last: i32): void {
  combineGradSums<f32>(args, first, last);
}

export function combineGradSums_f64(args: CombineGradSumsArgs, first: i32, last: i32): void {
  combineGradSums<f64>(args, first, last);
}

export function batchNormApply_f32(args: BatchNormApplyArgs, first: i32, last: i32): void {
  apply<f32>(args, first, last);
}

export function batchNormApply_f64(args: BatchNormApplyArgs, first: i32, last: i32): void {
  apply<f64>(args, first, last);
}

export function batchNormGradX_f32(args: BatchNormGradXArgs, first: i32, last: i32): void {
  gradX<f32>(false, args, first, last);
}

export function batchNormGradX_f64(args: BatchNormGradXArgs, first: i32, last: i32): void {
  gradX<f64>(false, args, first, last);
}

export function batchNormGradSumsRelu_f32(args: BatchNormGradSumsArgs, first: i32, last: i32): void {
  gradSums<f32>(true, args, first, last);
}

export function batchNormGradSumsRelu_f64(args: BatchNormGradSumsArgs, first: i32, last: i32): void {
  gradSums<f64>(true, args, first, last);
}

export function batchNormGradXRelu_f32(args: BatchNormGradXArgs, first: i32, last: i32): void {
  gradX<f32>(true, args, first, last);
}

export function batchNormGradXRelu_f64(args: BatchNormGradXArgs, first: i32, last: i32): void {
  gradX<f64>(true, args, first, last);
}

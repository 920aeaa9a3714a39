/**
 * Softmax and cross entropy along the rows of an M×K matrix. A chunk is a range of rows. Sums are float64.
 */
import { Input, Output } from './runtime/abi';
import { exp4 } from './simd/math';
import { lanes, loadSome, putSome } from './simd/vector';

/** eˣ in each lane. */
// @ts-ignore: decorator
@inline
function exps<T>(x: v128): v128 {
  if (sizeof<T>() == 4) return exp4(x);
  return f64x2(NativeMath.exp(f64x2.extract_lane(x, 0)), NativeMath.exp(f64x2.extract_lane(x, 1)));
}

/** eˣ, bitwise identical to a lane of `exps`. */
// @ts-ignore: decorator
@inline
function exp<T>(x: T): T {
  if (sizeof<T>() == 4) return <T>f32x4.extract_lane(exp4(f32x4.splat(<f32>x)), 0);
  return <T>NativeMath.exp(<f64>x);
}

/** sums + v, in two float64 lanes. */
// @ts-ignore: decorator
@inline
function addWide<T>(sums: v128, v: v128): v128 {
  if (sizeof<T>() == 8) return v128.add<f64>(sums, v);
  const low = f64x2.promote_low_f32x4(v);
  return v128.add<f64>(sums, v128.add<f64>(low, f64x2.promote_low_f32x4(v128.shuffle<f32>(v, v, 2, 3, 2, 3))));
}

// @ts-ignore: decorator
@inline
function bothLanes(sums: v128): f64 {
  return f64x2.extract_lane(sums, 0) + f64x2.extract_lane(sums, 1);
}

/** Returns sum + the first n lanes of v, in order; 0 < n < lanes. */
// @ts-ignore: decorator
@inline
function plusSome<T>(sum: f64, v: v128, n: i32): f64 {
  sum += <f64>v128.extract_lane<T>(v, 0);
  if (sizeof<T>() == 4) {
    if (n > 1) sum += <f64>v128.extract_lane<T>(v, 1);
    if (n > 2) sum += <f64>v128.extract_lane<f32>(v, 2);
  }
  return sum;
}

/** Returns the largest of K numbers. It may skip a NaN, which makes the sum of the exponentials NaN anyway. */
// @ts-ignore: decorator
@inline
function rowMax<T>(x: usize, K: i32): T {
  if (K < lanes<T>()) {
    let top = -<T>Infinity;
    for (let k = 0; k < K; k++) top = max<T>(top, load<T>(x + <usize>k * sizeof<T>()));
    return top;
  }
  // The last vector may contain elements of the one before it.
  const last = x + <usize>(K - lanes<T>()) * sizeof<T>();
  let tops = v128.load(last);
  for (; x < last; x += 16) tops = v128.pmax<T>(tops, v128.load(x));
  tops = v128.pmax<T>(tops, v128.shuffle<i64>(tops, tops, 1, 0));
  if (sizeof<T>() == 4) tops = v128.pmax<T>(tops, v128.shuffle<i32>(tops, tops, 1, 0, 3, 2));
  return v128.extract_lane<T>(tops, 0);
}

/** Writes e^(x − top) to y and returns the sum. */
// @ts-ignore: decorator
@inline
function writeExps<T>(x: usize, y: usize, K: i32, top: T): f64 {
  const tops = v128.splat<T>(top);
  let sums = f64x2.splat(0);
  let k = 0;
  for (; k + lanes<T>() <= K; k += lanes<T>()) {
    const at = <usize>k * sizeof<T>();
    const e = exps<T>(v128.sub<T>(v128.load(x + at), tops));
    v128.store(y + at, e);
    sums = addWide<T>(sums, e);
  }
  const sum = bothLanes(sums);
  if (k == K) return sum;
  const at = <usize>k * sizeof<T>();
  const e = exps<T>(v128.sub<T>(loadSome<T>(x + at, K - k), tops));
  putSome<T>(y + at, e, K - k, false);
  return plusSome<T>(sum, e, K - k);
}

/** Σ e^(x − top) */
// @ts-ignore: decorator
@inline
function sumExps<T>(x: usize, K: i32, top: T): f64 {
  const tops = v128.splat<T>(top);
  let sums = f64x2.splat(0);
  let k = 0;
  for (; k + lanes<T>() <= K; k += lanes<T>()) sums = addWide<T>(sums, exps<T>(v128.sub<T>(v128.load(x + <usize>k * sizeof<T>()), tops)));
  const sum = bothLanes(sums);
  if (k == K) return sum;
  return plusSome<T>(sum, exps<T>(v128.sub<T>(loadSome<T>(x + <usize>k * sizeof<T>(), K - k), tops)), K - k);
}

/** y = (x − top) − log Σ e^(x − top): one row of log softmax. */
// @ts-ignore: decorator
@inline
function logSoftmaxRow<T>(x: usize, y: usize, K: i32): void {
  const top = rowMax<T>(x, K);
  const norm = <T>NativeMath.log(sumExps<T>(x, K, top));
  const tops = v128.splat<T>(top);
  const norms = v128.splat<T>(norm);
  let k = 0;
  for (; k + lanes<T>() <= K; k += lanes<T>()) {
    const at = <usize>k * sizeof<T>();
    v128.store(y + at, v128.sub<T>(v128.sub<T>(v128.load(x + at), tops), norms));
  }
  for (; k < K; k++) store<T>(y + <usize>k * sizeof<T>(), load<T>(x + <usize>k * sizeof<T>()) - top - norm);
}

/** An M×K matrix, which is divided into chunks of rows. Strides count elements. */
@unmanaged
class RowsArgs {
  M: i32;
  K: i32;
  rowsPerChunk: i32;
}

@unmanaged
class SoftmaxArgs extends RowsArgs {
  x: Input;
  y: Output;
  /** Strides from row to row. */
  xStride: i32;
  yStride: i32;
}

/** y = e^(x − top) / Σ e^(x − top) */
// @ts-ignore: decorator
@inline
function softmax<T>(args: SoftmaxArgs, first: i32, last: i32): void {
  const K = args.K;
  const end = min(args.M, last * args.rowsPerChunk);
  for (let r = first * args.rowsPerChunk; r < end; r++) {
    const x = args.x + <usize>(r * args.xStride) * sizeof<T>();
    const y = args.y + <usize>(r * args.yStride) * sizeof<T>();
    const sum = writeExps<T>(x, y, K, rowMax<T>(x, K));
    const divisor = <T>sum;
    const divisors = v128.splat<T>(divisor);
    let k = 0;
    for (; k + lanes<T>() <= K; k += lanes<T>()) {
      const at = y + <usize>k * sizeof<T>();
      v128.store(at, v128.div<T>(v128.load(at), divisors));
    }
    for (; k < K; k++) store<T>(y + <usize>k * sizeof<T>(), load<T>(y + <usize>k * sizeof<T>()) / divisor);
  }
}

/** y = x − log Σ eˣ */
// @ts-ignore: decorator
@inline
function logSoftmax<T>(args: SoftmaxArgs, first: i32, last: i32): void {
  const end = min(args.M, last * args.rowsPerChunk);
  for (let r = first * args.rowsPerChunk; r < end; r++) {
    const x = args.x + <usize>(r * args.xStride) * sizeof<T>();
    logSoftmaxRow<T>(x, args.y + <usize>(r * args.yStride) * sizeof<T>(), args.K);
  }
}

@unmanaged
class SoftmaxGradArgs extends RowsArgs {
  g: Input;
  y: Input;
  dx: Output;
}

/** dx = y·(g − Σ g·y) */
// @ts-ignore: decorator
@inline
function softmaxGrad<T>(args: SoftmaxGradArgs, first: i32, last: i32): void {
  const K = args.K;
  const end = min(args.M, last * args.rowsPerChunk);
  for (let r = first * args.rowsPerChunk; r < end; r++) {
    const skip = <usize>(r * K) * sizeof<T>();
    const g = args.g + skip;
    const y = args.y + skip;
    const dx = args.dx + skip;
    let sums = f64x2.splat(0);
    let k = 0;
    for (; k + lanes<T>() <= K; k += lanes<T>()) {
      const at = <usize>k * sizeof<T>();
      sums = addWide<T>(sums, v128.mul<T>(v128.load(g + at), v128.load(y + at)));
    }
    let sum = bothLanes(sums);
    for (; k < K; k++) sum += <f64>load<T>(g + <usize>k * sizeof<T>()) * <f64>load<T>(y + <usize>k * sizeof<T>());
    const dot = <T>sum;
    const dots = v128.splat<T>(dot);
    for (k = 0; k + lanes<T>() <= K; k += lanes<T>()) {
      const at = <usize>k * sizeof<T>();
      v128.store(dx + at, v128.mul<T>(v128.load(y + at), v128.sub<T>(v128.load(g + at), dots)));
    }
    for (; k < K; k++) {
      const at = <usize>k * sizeof<T>();
      store<T>(dx + at, load<T>(y + at) * (load<T>(g + at) - dot));
    }
  }
}

/** dx = g − eʸ·Σ g */
// @ts-ignore: decorator
@inline
function logSoftmaxGrad<T>(args: SoftmaxGradArgs, first: i32, last: i32): void {
  const K = args.K;
  const end = min(args.M, last * args.rowsPerChunk);
  for (let r = first * args.rowsPerChunk; r < end; r++) {
    const skip = <usize>(r * K) * sizeof<T>();
    const g = args.g + skip;
    const y = args.y + skip;
    const dx = args.dx + skip;
    let sums = f64x2.splat(0);
    let k = 0;
    for (; k + lanes<T>() <= K; k += lanes<T>()) sums = addWide<T>(sums, v128.load(g + <usize>k * sizeof<T>()));
    let sum = bothLanes(sums);
    for (; k < K; k++) sum += <f64>load<T>(g + <usize>k * sizeof<T>());
    const total = <T>sum;
    const totals = v128.splat<T>(total);
    for (k = 0; k + lanes<T>() <= K; k += lanes<T>()) {
      const at = <usize>k * sizeof<T>();
      v128.store(dx + at, v128.sub<T>(v128.load(g + at), v128.mul<T>(exps<T>(v128.load(y + at)), totals)));
    }
    const at = <usize>k * sizeof<T>();
    const n = K - k;
    if (n > 0) putSome<T>(dx + at, v128.sub<T>(loadSome<T>(g + at, n), v128.mul<T>(exps<T>(loadSome<T>(y + at, n)), totals)), n, false);
  }
}

@unmanaged
class CrossEntropyArgs extends RowsArgs {
  x: Input;
  target: Input;
  loss: Output;
  logp: Output;
  targetStride: i32;
  lossStride: i32;
}

/** logp = log softmax of x, loss = −logp[target] */
// @ts-ignore: decorator
@inline
function crossEntropy<T>(args: CrossEntropyArgs, first: i32, last: i32): void {
  const K = args.K;
  const end = min(args.M, last * args.rowsPerChunk);
  for (let r = first * args.rowsPerChunk; r < end; r++) {
    const skip = <usize>(r * K) * sizeof<T>();
    const logp = args.logp + skip;
    logSoftmaxRow<T>(args.x + skip, logp, K);
    const target = load<i32>(args.target + <usize>(r * args.targetStride) * 4);
    store<T>(args.loss + <usize>(r * args.lossStride) * sizeof<T>(), -load<T>(logp + <usize>target * sizeof<T>()));
  }
}

@unmanaged
class CrossEntropyGradArgs extends RowsArgs {
  scale: Input;
  logp: Input;
  target: Input;
  dx: Output;
  scaleStride: i32;
  targetStride: i32;
}

/** dx = scale·(e^logp − [k = target]) */
// @ts-ignore: decorator
@inline
function crossEntropyGrad<T>(args: CrossEntropyGradArgs, first: i32, last: i32): void {
  const K = args.K;
  const end = min(args.M, last * args.rowsPerChunk);
  for (let r = first * args.rowsPerChunk; r < end; r++) {
    const skip = <usize>(r * K) * sizeof<T>();
    const scale = load<T>(args.scale + <usize>(r * args.scaleStride) * sizeof<T>());
    const target = load<i32>(args.target + <usize>(r * args.targetStride) * 4);
    const logp = args.logp + skip;
    const dx = args.dx + skip;
    const scales = v128.splat<T>(scale);
    // This precedes the loop, as dx may be the same memory as logp.
    const hit = <usize>target * sizeof<T>();
    const atTarget = scale * (exp<T>(load<T>(logp + hit)) - 1);
    let k = 0;
    for (; k + lanes<T>() <= K; k += lanes<T>()) {
      const at = <usize>k * sizeof<T>();
      v128.store(dx + at, v128.mul<T>(scales, exps<T>(v128.load(logp + at))));
    }
    const at = <usize>k * sizeof<T>();
    if (k < K) putSome<T>(dx + at, v128.mul<T>(scales, exps<T>(loadSome<T>(logp + at, K - k))), K - k, false);
    store<T>(dx + hit, atTarget);
  }
}

export function softmax_f32(args: SoftmaxArgs, first: i32, last: i32): void {
  softmax<f32>(args, first, last);
}

export function softmax_f64(args: SoftmaxArgs, first: i32, last: i32): void {
  softmax<f64>(args, first, last);
}

export function logSoftmax_f32(args: SoftmaxArgs, first: i32, last: i32): void {
  logSoftmax<f32>(args, first, last);
}

export function logSoftmax_f64(args: SoftmaxArgs, first: i32, last: i32): void {
  logSoftmax<f64>(args, first, last);
}

export function softmaxGrad_f32(args: SoftmaxGradArgs, first: i32, last: i32): void {
  softmaxGrad<f32>(args, first, last);
}

export function softmaxGrad_f64(args: SoftmaxGradArgs, first: i32, last: i32): void {
  softmaxGrad<f64>(args, first, last);
}

export function logSoftmaxGrad_f32(args: SoftmaxGradArgs, first: i32, last: i32): void {
  logSoftmaxGrad<f32>(args, first, last);
}

export function logSoftmaxGrad_f64(args: SoftmaxGradArgs, first: i32, last: i32): void {
  logSoftmaxGrad<f64>(args, first, last);
}

export function crossEntropy_f32(args: CrossEntropyArgs, first: i32, last: i32): void {
  crossEntropy<f32>(args, first, last);
}

export function crossEntropy_f64(args: CrossEntropyArgs, first: i32, last: i32): void {
  crossEntropy<f64>(args, first, last);
}

export function crossEntropyGrad_f32(args: CrossEntropyGradArgs, first: i32, last: i32): void {
  crossEntropyGrad<f32>(args, first, last);
}

export function crossEntropyGrad_f64(args: CrossEntropyGradArgs, first: i32, last: i32): void {
  crossEntropyGrad<f64>(args, first, last);
}

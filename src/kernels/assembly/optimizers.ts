/**
 * Optimizer updates: one launch over a table of parameters. A chunk is a range of elements of one of them. See
 * reference-optim.ts for the formulas.
 *
 * Every kernel's args are table, rows, elements a chunk; every row begins with elements, index of its first chunk.
 */
import { floatArg, intArg, ptrArg } from './runtime/abi';
import { lanes } from './simd/vector';

/** Float64 numbers a row of each table has. */
const SGD_ROW: i32 = 12;
const ADAM_ROW: i32 = 15;
const SUM_ROW: i32 = 4;
const BLEND_ROW: i32 = 6;

/** The row that has the chunk, `width` numbers each, found from row e on. */
// @ts-ignore: decorator
@inline
function rowOf(args: usize, width: i32, e: i32, chunk: i32): i32 {
  const table = ptrArg(args, 0);
  const rows = intArg(args, 1);
  while (e + 1 < rows && intArg(table, (e + 1) * width + 1) <= chunk) e++;
  return e;
}

/** row: …, param, grad, velocity or 0, first step (0 or 1), lr, momentum, dampening, nesterov, weight decay, maximize */
// @ts-ignore: decorator
@inline
function sgd<T>(args: usize, first: i32, last: i32): void {
  const chunkSize = intArg(args, 2);
  let e = 0;
  for (let chunk = first; chunk < last; chunk++) {
    e = rowOf(args, SGD_ROW, e, chunk);
    const row = ptrArg(args, 0) + <usize>(e * SGD_ROW) * 8;
    const offset = (chunk - intArg(row, 1)) * chunkSize;
    const n = min(chunkSize, intArg(row, 0) - offset);
    const skip = <usize>offset * sizeof<T>();
    const param = ptrArg(row, 2) + skip;
    const grad = ptrArg(row, 3) + skip;
    const velocity: usize = ptrArg(row, 4) == 0 ? 0 : ptrArg(row, 4) + skip;
    const starts = intArg(row, 5) != 0;
    const lr = <T>floatArg(row, 6);
    const momentum = <T>floatArg(row, 7);
    const fresh = <T>(1 - floatArg(row, 8));
    const nesterov = intArg(row, 9) != 0;
    const decay = <T>floatArg(row, 10);
    const maximize = intArg(row, 11) != 0;
    const signs = v128.splat<T>(<T>(maximize ? -0.0 : 0.0));
    const lrs = v128.splat<T>(lr);
    const momenta = v128.splat<T>(momentum);
    const freshes = v128.splat<T>(fresh);
    const decays = v128.splat<T>(decay);
    let i = 0;
    for (; i + lanes<T>() <= n; i += lanes<T>()) {
      const at = <usize>i * sizeof<T>();
      const p = v128.load(param + at);
      let g = v128.xor(v128.load(grad + at), signs);
      if (decay != 0) g = v128.add<T>(g, v128.mul<T>(decays, p));
      if (velocity != 0) {
        let v = g;
        if (!starts) v = v128.add<T>(v128.mul<T>(momenta, v128.load(velocity + at)), v128.mul<T>(freshes, g));
        v128.store(velocity + at, v);
        g = nesterov ? v128.add<T>(g, v128.mul<T>(momenta, v)) : v;
      }
      v128.store(param + at, v128.sub<T>(p, v128.mul<T>(lrs, g)));
    }
    for (; i < n; i++) {
      const at = <usize>i * sizeof<T>();
      const p = load<T>(param + at);
      let g = load<T>(grad + at);
      if (maximize) g = -g;
      if (decay != 0) g += decay * p;
      if (velocity != 0) {
        const v = starts ? g : momentum * load<T>(velocity + at) + fresh * g;
        store<T>(velocity + at, v);
        g = nesterov ? g + momentum * v : v;
      }
      store<T>(param + at, p - lr * g);
    }
  }
}

/**
 * row: …, param, grad, m, v, v̂ or 0, step size lr / (1 − β₁ᵗ), root's factor 1 / √(1 − β₂ᵗ),
 * β₁, β₂, eps, what of p is added to g, what of p stays, maximize
 */
// @ts-ignore: decorator
@inline
function adam<T>(args: usize, first: i32, last: i32): void {
  const chunkSize = intArg(args, 2);
  let e = 0;
  for (let chunk = first; chunk < last; chunk++) {
    e = rowOf(args, ADAM_ROW, e, chunk);
    const row = ptrArg(args, 0) + <usize>(e * ADAM_ROW) * 8;
    const offset = (chunk - intArg(row, 1)) * chunkSize;
    const n = min(chunkSize, intArg(row, 0) - offset);
    const skip = <usize>offset * sizeof<T>();
    const param = ptrArg(row, 2) + skip;
    const grad = ptrArg(row, 3) + skip;
    const average = ptrArg(row, 4) + skip;
    const squares = ptrArg(row, 5) + skip;
    const largest: usize = ptrArg(row, 6) == 0 ? 0 : ptrArg(row, 6) + skip;
    const size = <T>floatArg(row, 7);
    const factor = <T>floatArg(row, 8);
    const beta1 = <T>floatArg(row, 9);
    const beta2 = <T>floatArg(row, 10);
    const fresh1 = <T>(1 - floatArg(row, 9));
    const fresh2 = <T>(1 - floatArg(row, 10));
    const eps = <T>floatArg(row, 11);
    const decay = <T>floatArg(row, 12);
    const stays = <T>floatArg(row, 13);
    const maximize = intArg(row, 14) != 0;
    const signs = v128.splat<T>(<T>(maximize ? -0.0 : 0.0));
    let i = 0;
    for (; i + lanes<T>() <= n; i += lanes<T>()) {
      const at = <usize>i * sizeof<T>();
      const p = v128.load(param + at);
      let g = v128.xor(v128.load(grad + at), signs);
      if (decay != 0) g = v128.add<T>(g, v128.mul<T>(v128.splat<T>(decay), p));
      const m = v128.add<T>(v128.mul<T>(v128.splat<T>(beta1), v128.load(average + at)), v128.mul<T>(v128.splat<T>(fresh1), g));
      let v = v128.mul<T>(v128.splat<T>(fresh2), v128.mul<T>(g, g));
      v = v128.add<T>(v128.mul<T>(v128.splat<T>(beta2), v128.load(squares + at)), v);
      v128.store(average + at, m);
      v128.store(squares + at, v);
      if (largest != 0) {
        v = v128.max<T>(v128.load(largest + at), v);
        v128.store(largest + at, v);
      }
      const root = v128.add<T>(v128.mul<T>(v128.sqrt<T>(v), v128.splat<T>(factor)), v128.splat<T>(eps));
      const move = v128.mul<T>(v128.splat<T>(size), v128.div<T>(m, root));
      v128.store(param + at, v128.sub<T>(v128.mul<T>(v128.splat<T>(stays), p), move));
    }
    for (; i < n; i++) {
      const at = <usize>i * sizeof<T>();
      const p = load<T>(param + at);
      let g = load<T>(grad + at);
      if (maximize) g = -g;
      if (decay != 0) g += decay * p;
      const m = beta1 * load<T>(average + at) + fresh1 * g;
      let v = beta2 * load<T>(squares + at) + fresh2 * (g * g);
      store<T>(average + at, m);
      store<T>(squares + at, v);
      if (largest != 0) {
        v = max<T>(load<T>(largest + at), v);
        store<T>(largest + at, v);
      }
      store<T>(param + at, stays * p - size * (m / (sqrt<T>(v) * factor + eps)));
    }
  }
}

/** The squares of elements 2k and 2k + 1 at x, in float64. */
// @ts-ignore: decorator
@inline
function squares<T>(x: usize, k: usize): v128 {
  const v = sizeof<T>() == 4 ? f64x2.promote_low_f32x4(v128.load64_zero(x + k * 8)) : v128.load(x + k * 16);
  return f64x2.mul(v, v);
}

/** partial[chunk of the row] = Σ x², in float64, where a square of float32 cannot overflow. row: …, x, partial */
// @ts-ignore: decorator
@inline
function sumSquares<T>(args: usize, first: i32, last: i32): void {
  const chunkSize = intArg(args, 2);
  let e = 0;
  for (let chunk = first; chunk < last; chunk++) {
    e = rowOf(args, SUM_ROW, e, chunk);
    const row = ptrArg(args, 0) + <usize>(e * SUM_ROW) * 8;
    const own = chunk - intArg(row, 1);
    const n = min(chunkSize, intArg(row, 0) - own * chunkSize);
    const x = ptrArg(row, 2) + <usize>(own * chunkSize) * sizeof<T>();
    let s0 = f64x2.splat(0);
    let s1 = f64x2.splat(0);
    let s2 = f64x2.splat(0);
    let s3 = f64x2.splat(0);
    let i = 0;
    for (; i + 8 <= n; i += 8) {
      const at = x + <usize>i * sizeof<T>();
      s0 = f64x2.add(s0, squares<T>(at, 0));
      s1 = f64x2.add(s1, squares<T>(at, 1));
      s2 = f64x2.add(s2, squares<T>(at, 2));
      s3 = f64x2.add(s3, squares<T>(at, 3));
    }
    s0 = f64x2.add(f64x2.add(s0, s1), f64x2.add(s2, s3));
    let sum = f64x2.extract_lane(s0, 0) + f64x2.extract_lane(s0, 1);
    for (; i < n; i++) {
      const v = <f64>load<T>(x + <usize>i * sizeof<T>());
      sum += v * v;
    }
    store<f64>(ptrArg(row, 3) + (<usize>own << 3), sum);
  }
}

/** x ← keep·x + take·y, or keep·x. row: …, x, y or 0, keep, take */
// @ts-ignore: decorator
@inline
function blend<T>(args: usize, first: i32, last: i32): void {
  const chunkSize = intArg(args, 2);
  let e = 0;
  for (let chunk = first; chunk < last; chunk++) {
    e = rowOf(args, BLEND_ROW, e, chunk);
    const row = ptrArg(args, 0) + <usize>(e * BLEND_ROW) * 8;
    const offset = (chunk - intArg(row, 1)) * chunkSize;
    const n = min(chunkSize, intArg(row, 0) - offset);
    const x = ptrArg(row, 2) + <usize>offset * sizeof<T>();
    const y: usize = ptrArg(row, 3) == 0 ? 0 : ptrArg(row, 3) + <usize>offset * sizeof<T>();
    const keep = <T>floatArg(row, 4), take = <T>floatArg(row, 5);
    let i = 0;
    for (; i + lanes<T>() <= n; i += lanes<T>()) {
      const at = <usize>i * sizeof<T>();
      let v = v128.mul<T>(v128.splat<T>(keep), v128.load(x + at));
      if (y != 0) v = v128.add<T>(v, v128.mul<T>(v128.splat<T>(take), v128.load(y + at)));
      v128.store(x + at, v);
    }
    for (; i < n; i++) {
      const at = <usize>i * sizeof<T>();
      const v = keep * load<T>(x + at);
      store<T>(x + at, y == 0 ? v : v + take * load<T>(y + at));
    }
  }
}

export function sgd_f32(args: usize, first: i32, last: i32): void {
  sgd<f32>(args, first, last);
}

export function sgd_f64(args: usize, first: i32, last: i32): void {
  sgd<f64>(args, first, last);
}

export function adam_f32(args: usize, first: i32, last: i32): void {
  adam<f32>(args, first, last);
}

export function adam_f64(args: usize, first: i32, last: i32): void {
  adam<f64>(args, first, last);
}

export function sumSquares_f32(args: usize, first: i32, last: i32): void {
  sumSquares<f32>(args, first, last);
}

export function sumSquares_f64(args: usize, first: i32, last: i32): void {
  sumSquares<f64>(args, first, last);
}

export function blend_f32(args: usize, first: i32, last: i32): void {
  blend<f32>(args, first, last);
}

export function blend_f64(args: usize, first: i32, last: i32): void {
  blend<f64>(args, first, last);
}

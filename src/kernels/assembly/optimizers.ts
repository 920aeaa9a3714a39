/**
 * Optimizer updates: one launch over a table of parameters. A chunk is a range of elements of one parameter. The formulas are in
 * src/kernels/reference/optimizers.ts.
 */
import { Flag, Input, OptionalInput, OptionalOutput, Output, recordBytes } from './runtime/abi';
import { lanes } from './simd/vector';

/** The first fields of every row of a table. */
@unmanaged
class TableRow {
  /** The number of elements of the parameter. */
  elements: i32;
  /** The index of its first chunk. */
  firstChunk: i32;
}

@unmanaged
class TableArgs {
  /** Rows of a class that extends TableRow. */
  table: usize;
  rows: i32;
  elementsPerChunk: i32;
}

/** Returns the address of the row, of class R, with the chunk. Searches from `row` on. */
// @ts-ignore: decorator
@inline
function rowOf<R>(args: TableArgs, row: usize, chunk: i32): usize {
  const last = args.table + <usize>(args.rows - 1) * recordBytes<R>();
  while (row < last && changetype<TableRow>(row + recordBytes<R>()).firstChunk <= chunk) row += recordBytes<R>();
  return row;
}

@unmanaged
class SgdRow extends TableRow {
  param: Output;
  grad: Input;
  velocity: OptionalOutput;
  /** Whether this is the first step, which sets the velocity to the gradient. */
  isFirst: Flag;
  nesterov: Flag;
  maximize: Flag;
  lr: f64;
  momentum: f64;
  dampening: f64;
  weightDecay: f64;
}

// @ts-ignore: decorator
@inline
function sgd<T>(args: TableArgs, first: i32, last: i32): void {
  const chunkSize = args.elementsPerChunk;
  let rowAddress = args.table;
  for (let chunk = first; chunk < last; chunk++) {
    rowAddress = rowOf<SgdRow>(args, rowAddress, chunk);
    const row = changetype<SgdRow>(rowAddress);
    const offset = (chunk - row.firstChunk) * chunkSize;
    const n = min(chunkSize, row.elements - offset);
    const skip = <usize>offset * sizeof<T>();
    const param = row.param + skip;
    const grad = row.grad + skip;
    const velocity: usize = row.velocity == 0 ? 0 : row.velocity + skip;
    const isFirst = row.isFirst != 0;
    const lr = <T>row.lr;
    const momentum = <T>row.momentum;
    const fresh = <T>(1 - row.dampening);
    const nesterov = row.nesterov != 0;
    const decay = <T>row.weightDecay;
    const maximize = row.maximize != 0;
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
        if (!isFirst) v = v128.add<T>(v128.mul<T>(momenta, v128.load(velocity + at)), v128.mul<T>(freshes, g));
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
        const v = isFirst ? g : momentum * load<T>(velocity + at) + fresh * g;
        store<T>(velocity + at, v);
        g = nesterov ? g + momentum * v : v;
      }
      store<T>(param + at, p - lr * g);
    }
  }
}

@unmanaged
class AdamRow extends TableRow {
  param: Output;
  grad: Input;
  /** m, v, and AMSGrad's largest v. */
  expAvg: Output;
  expAvgSq: Output;
  maxExpAvgSq: OptionalOutput;
  maximize: Flag;
  /** lr / (1 − β₁ᵗ) */
  stepSize: f64;
  /** 1 / √(1 − β₂ᵗ) */
  rootFactor: f64;
  beta1: f64;
  beta2: f64;
  eps: f64;
  /** Adam's weight decay: g ← g + gradDecay·p. */
  gradDecay: f64;
  /** AdamW's weight decay: p ← keep·p. */
  keep: f64;
}

// @ts-ignore: decorator
@inline
function adam<T>(args: TableArgs, first: i32, last: i32): void {
  const chunkSize = args.elementsPerChunk;
  let rowAddress = args.table;
  for (let chunk = first; chunk < last; chunk++) {
    rowAddress = rowOf<AdamRow>(args, rowAddress, chunk);
    const row = changetype<AdamRow>(rowAddress);
    const offset = (chunk - row.firstChunk) * chunkSize;
    const n = min(chunkSize, row.elements - offset);
    const skip = <usize>offset * sizeof<T>();
    const param = row.param + skip;
    const grad = row.grad + skip;
    const average = row.expAvg + skip;
    const squares = row.expAvgSq + skip;
    const largest: usize = row.maxExpAvgSq == 0 ? 0 : row.maxExpAvgSq + skip;
    const size = <T>row.stepSize;
    const factor = <T>row.rootFactor;
    const beta1 = <T>row.beta1;
    const beta2 = <T>row.beta2;
    const fresh1 = <T>(1 - row.beta1);
    const fresh2 = <T>(1 - row.beta2);
    const eps = <T>row.eps;
    const decay = <T>row.gradDecay;
    const keep = <T>row.keep;
    const maximize = row.maximize != 0;
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
      v128.store(param + at, v128.sub<T>(v128.mul<T>(v128.splat<T>(keep), p), move));
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
      store<T>(param + at, keep * p - size * (m / (sqrt<T>(v) * factor + eps)));
    }
  }
}

/** Returns the squares of elements 2k and 2k + 1 at x, in float64. */
// @ts-ignore: decorator
@inline
function squares<T>(x: usize, k: usize): v128 {
  const v = sizeof<T>() == 4 ? f64x2.promote_low_f32x4(v128.load64_zero(x + k * 8)) : v128.load(x + k * 16);
  return f64x2.mul(v, v);
}

@unmanaged
class SumSquaresRow extends TableRow {
  x: Input;
  /** One float64 sum per chunk. */
  partials: usize;
}

/** partials[chunk of the row] = Σ x², in float64, so that the square of a float32 cannot overflow. */
// @ts-ignore: decorator
@inline
function sumSquares<T>(args: TableArgs, first: i32, last: i32): void {
  const chunkSize = args.elementsPerChunk;
  let rowAddress = args.table;
  for (let chunk = first; chunk < last; chunk++) {
    rowAddress = rowOf<SumSquaresRow>(args, rowAddress, chunk);
    const row = changetype<SumSquaresRow>(rowAddress);
    const own = chunk - row.firstChunk;
    const n = min(chunkSize, row.elements - own * chunkSize);
    const x = row.x + <usize>(own * chunkSize) * sizeof<T>();
    let s0 = f64x2.splat(0);
    let s1 = f64x2.splat(0);
    let s2 = f64x2.splat(0);
    let s3 = f64x2.splat(0);
    let i = 0;
    for (; i + 8 <= n; i += 8) {
      const p = x + <usize>i * sizeof<T>();
      s0 = f64x2.add(s0, squares<T>(p, 0));
      s1 = f64x2.add(s1, squares<T>(p, 1));
      s2 = f64x2.add(s2, squares<T>(p, 2));
      s3 = f64x2.add(s3, squares<T>(p, 3));
    }
    s0 = f64x2.add(f64x2.add(s0, s1), f64x2.add(s2, s3));
    let sum = f64x2.extract_lane(s0, 0) + f64x2.extract_lane(s0, 1);
    for (; i < n; i++) {
      const v = <f64>load<T>(x + <usize>i * sizeof<T>());
      sum += v * v;
    }
    store<f64>(row.partials + (<usize>own << 3), sum);
  }
}

@unmanaged
class BlendRow extends TableRow {
  x: Output;
  y: OptionalInput;
  keep: f64;
  take: f64;
}

/** x ← keep·x + take·y, or keep·x */
// @ts-ignore: decorator
@inline
function blend<T>(args: TableArgs, first: i32, last: i32): void {
  const chunkSize = args.elementsPerChunk;
  let rowAddress = args.table;
  for (let chunk = first; chunk < last; chunk++) {
    rowAddress = rowOf<BlendRow>(args, rowAddress, chunk);
    const row = changetype<BlendRow>(rowAddress);
    const offset = (chunk - row.firstChunk) * chunkSize;
    const n = min(chunkSize, row.elements - offset);
    const x = row.x + <usize>offset * sizeof<T>();
    const y: usize = row.y == 0 ? 0 : row.y + <usize>offset * sizeof<T>();
    const keep = <T>row.keep;
    const take = <T>row.take;
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

export function sgd_f32(args: TableArgs, first: i32, last: i32): void {
  sgd<f32>(args, first, last);
}

export function sgd_f64(args: TableArgs, first: i32, last: i32): void {
  sgd<f64>(args, first, last);
}

export function adam_f32(args: TableArgs, first: i32, last: i32): void {
  adam<f32>(args, first, last);
}

export function adam_f64(args: TableArgs, first: i32, last: i32): void {
  adam<f64>(args, first, last);
}

export function sumSquares_f32(args: TableArgs, first: i32, last: i32): void {
  sumSquares<f32>(args, first, last);
}

export function sumSquares_f64(args: TableArgs, first: i32, last: i32): void {
  sumSquares<f64>(args, first, last);
}

export function blend_f32(args: TableArgs, first: i32, last: i32): void {
  blend<f32>(args, first, last);
}

export function blend_f64(args: TableArgs, first: i32, last: i32): void {
  blend<f64>(args, first, last);
}

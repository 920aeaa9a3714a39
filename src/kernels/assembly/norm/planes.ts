/**
 * Batch norm, and the gradient of scaling channels, on row-major images. A plane holds the pixels of one channel of one image, one after
 * another in memory. A chunk is a range of planes.
 *
 * Sums of at most 64 vectors have the element type and are accumulated in float64, so that a mean's error does not grow with the plane.
 */
import { Input, OptionalOutput, Output } from '../runtime/abi';
import { inputGrad, inputGradNumber, outputGrad, outputGradNumber, raised, raisedNumber } from './channel-line';
import { lanes } from '../simd/vector';

/** The vectors that a loop processes at a time. */
const UNROLLED = 4;
/** The passes of a loop over UNROLLED vectors before their sums are added to a float64 number. */
const PASSES = 64;

/** Returns the sum of a vector's lanes in float64. */
// @ts-ignore: decorator
@inline
function wideSum<T>(v: v128): f64 {
  let sum = <f64>v128.extract_lane<T>(v, 0) + <f64>v128.extract_lane<T>(v, 1);
  if (sizeof<T>() == 4) sum += <f64>v128.extract_lane<f32>(v, 2) + <f64>v128.extract_lane<f32>(v, 3);
  return sum;
}

/** Returns the sum of four vectors' lanes in float64. */
// @ts-ignore: decorator
@inline
function wideSum4<T>(a: v128, b: v128, c: v128, d: v128): f64 {
  return wideSum<T>(a) + wideSum<T>(b) + (wideSum<T>(c) + wideSum<T>(d));
}

/** Planes [N, C] of `pixels` elements, which are divided into chunks. */
@unmanaged
class PlanesArgs {
  planes: i32;
  C: i32;
  pixels: i32;
  planesPerChunk: i32;
}

/** Returns the bytes of a plane that whole passes over UNROLLED vectors cover. */
// @ts-ignore: decorator
@inline
function unrolledBytes<T>(pixels: i32): usize {
  const step = UNROLLED * lanes<T>();
  return <usize>(pixels - (pixels % step)) * sizeof<T>();
}

@unmanaged
class PlaneMomentsArgs extends PlanesArgs {
  x: Input;
  /** [N, 3, C], float64, as the partials of batchNormMoments: μ, Σ (x − μ)², and unused space. */
  partials: usize;
}

/** Each plane's mean μ and Σ (x − μ)² in two passes. A plane usually stays in a cache between them. */
// @ts-ignore: decorator
@inline
function moments<T>(args: PlaneMomentsArgs, first: i32, last: i32): void {
  const C = args.C;
  const n = <f64>args.pixels;
  const bytes = <usize>args.pixels * sizeof<T>();
  const whole = unrolledBytes<T>(args.pixels);
  const half = <usize>C * 8;
  const stop = min(args.planes, last * args.planesPerChunk);
  for (let plane = first * args.planesPerChunk; plane < stop; plane++) {
    const start = args.x + <usize>plane * bytes;
    const unrolled = start + whole;
    const end = start + bytes;
    let sum: f64 = 0;
    let p = start;
    while (p < unrolled) {
      const pause = min(unrolled, p + PASSES * UNROLLED * 16);
      let a = v128.splat<T>(0), b = a, c = a, d = a;
      for (; p < pause; p += UNROLLED * 16) {
        a = v128.add<T>(a, v128.load(p));
        b = v128.add<T>(b, v128.load(p, 16));
        c = v128.add<T>(c, v128.load(p, 32));
        d = v128.add<T>(d, v128.load(p, 48));
      }
      sum += wideSum4<T>(a, b, c, d);
    }
    for (; p < end; p += sizeof<T>()) sum += <f64>load<T>(p);

    const mean = sum / n;
    const rounded = <T>mean;
    const m = v128.splat<T>(rounded);
    let squares: f64 = 0;
    p = start;
    while (p < unrolled) {
      const pause = min(unrolled, p + PASSES * UNROLLED * 16);
      let a = v128.splat<T>(0), b = a, c = a, d = a;
      for (; p < pause; p += UNROLLED * 16) {
        const x0 = v128.sub<T>(v128.load(p), m), x1 = v128.sub<T>(v128.load(p, 16), m);
        const x2 = v128.sub<T>(v128.load(p, 32), m), x3 = v128.sub<T>(v128.load(p, 48), m);
        a = v128.add<T>(a, v128.mul<T>(x0, x0));
        b = v128.add<T>(b, v128.mul<T>(x1, x1));
        c = v128.add<T>(c, v128.mul<T>(x2, x2));
        d = v128.add<T>(d, v128.mul<T>(x3, x3));
      }
      squares += wideSum4<T>(a, b, c, d);
    }
    for (; p < end; p += sizeof<T>()) {
      const d = load<T>(p) - rounded;
      squares += <f64>(d * d);
    }
    // Σ (x − m)² exceeds Σ (x − μ)² by n (μ − m)².
    const rest = mean - <f64>rounded;
    const image = plane / C;
    const out = args.partials + <usize>image * half * 3 + <usize>(plane - image * C) * 8;
    store<f64>(out, mean);
    store<f64>(out + half, max(0, squares - n * rest * rest));
  }
}

@unmanaged
class PlaneNormArgs extends PlanesArgs {
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
function apply<T>(args: PlaneNormArgs, first: i32, last: i32): void {
  const C = args.C;
  const toY = args.y - args.x;
  const floor = <T>args.floor;
  const floors = v128.splat<T>(floor);
  const bytes = <usize>args.pixels * sizeof<T>();
  const whole = unrolledBytes<T>(args.pixels);
  const stop = min(args.planes, last * args.planesPerChunk);
  for (let plane = first * args.planesPerChunk; plane < stop; plane++) {
    const at = <usize>(plane % C) * sizeof<T>();
    const scale = load<T>(args.scale + at), offset = load<T>(args.offset + at);
    const s = v128.splat<T>(scale), t = v128.splat<T>(offset);
    let p = args.x + <usize>plane * bytes;
    const unrolled = p + whole;
    const end = p + bytes;
    for (; p < unrolled; p += UNROLLED * 16) {
      const y0 = raised<T>(v128.load(p), s, t, floors), y1 = raised<T>(v128.load(p, 16), s, t, floors);
      const y2 = raised<T>(v128.load(p, 32), s, t, floors), y3 = raised<T>(v128.load(p, 48), s, t, floors);
      const y = p + toY;
      v128.store(y, y0);
      v128.store(y, y1, 16);
      v128.store(y, y2, 32);
      v128.store(y, y3, 48);
    }
    for (; p < end; p += sizeof<T>()) {
      store<T>(p + toY, raisedNumber<T>(load<T>(p), scale, offset, floor));
    }
  }
}

@unmanaged
class PlaneGradSumsArgs extends PlanesArgs {
  g: Input;
  x: Input;
  scale: Input;
  offset: Input;
  mean: Input;
  /** Sums [N, 2, C], float64, as the partials of batchNormGradSums. */
  partials: usize;
}

/** Σ g and Σ g·(x − mean) of each plane. If `relu`, g counts as 0 wherever batch norm's y ≤ 0. */
// @ts-ignore: decorator
@inline
function gradSums<T>(relu: bool, args: PlaneGradSumsArgs, first: i32, last: i32): void {
  const C = args.C;
  const toX = args.x - args.g;
  const bytes = <usize>args.pixels * sizeof<T>();
  const whole = unrolledBytes<T>(args.pixels);
  const half = <usize>C * 8;
  const stop = min(args.planes, last * args.planesPerChunk);
  for (let plane = first * args.planesPerChunk; plane < stop; plane++) {
    const image = plane / C;
    const channel = plane - image * C;
    const at = <usize>channel * sizeof<T>();
    const mean = load<T>(args.mean + at), scale = load<T>(args.scale + at), offset = load<T>(args.offset + at);
    const m = v128.splat<T>(mean), s = v128.splat<T>(scale), t = v128.splat<T>(offset);
    let p = args.g + <usize>plane * bytes;
    const unrolled = p + whole;
    const end = p + bytes;
    let sum: f64 = 0, product: f64 = 0;
    while (p < unrolled) {
      const pause = min(unrolled, p + (PASSES / 2) * UNROLLED * 16);
      let a0 = v128.splat<T>(0), a1 = a0, b0 = a0, b1 = a0;
      for (; p < pause; p += 32) {
        const x0 = v128.load(p + toX), x1 = v128.load(p + toX, 16);
        const g0 = outputGrad<T>(relu, v128.load(p), x0, s, t), g1 = outputGrad<T>(relu, v128.load(p, 16), x1, s, t);
        a0 = v128.add<T>(a0, g0);
        a1 = v128.add<T>(a1, g1);
        b0 = v128.add<T>(b0, v128.mul<T>(g0, v128.sub<T>(x0, m)));
        b1 = v128.add<T>(b1, v128.mul<T>(g1, v128.sub<T>(x1, m)));
      }
      sum += wideSum<T>(a0) + wideSum<T>(a1);
      product += wideSum<T>(b0) + wideSum<T>(b1);
    }
    for (; p < end; p += sizeof<T>()) {
      const x = load<T>(p + toX);
      const g = outputGradNumber<T>(relu, load<T>(p), x, scale, offset);
      sum += <f64>g;
      product += <f64>(g * (x - mean));
    }
    const out = args.partials + <usize>image * half * 2 + <usize>channel * 8;
    store<f64>(out, sum);
    store<f64>(out + half, product);
  }
}

@unmanaged
class PlaneGradXArgs extends PlanesArgs {
  g: Input;
  x: Input;
  scale: Input;
  offset: Input;
  /** Slopes and bases [2, C], from combineGradSums. */
  line: usize;
  dx: Output;
}

/** dx = scale·g + x·slope + base, g as in gradSums */
// @ts-ignore: decorator
@inline
function gradX<T>(relu: bool, args: PlaneGradXArgs, first: i32, last: i32): void {
  const C = args.C;
  const toX = args.x - args.g;
  const toDx = args.dx - args.g;
  const bytes = <usize>args.pixels * sizeof<T>();
  const whole = unrolledBytes<T>(args.pixels);
  const stop = min(args.planes, last * args.planesPerChunk);
  for (let plane = first * args.planesPerChunk; plane < stop; plane++) {
    const at = <usize>(plane % C) * sizeof<T>();
    const scale = load<T>(args.scale + at), offset = load<T>(args.offset + at);
    const slope = load<T>(args.line + at), base = load<T>(args.line + <usize>C * sizeof<T>() + at);
    const s = v128.splat<T>(scale), t = v128.splat<T>(offset), k = v128.splat<T>(slope), b = v128.splat<T>(base);
    let p = args.g + <usize>plane * bytes;
    const unrolled = p + whole;
    const end = p + bytes;
    for (; p < unrolled; p += 32) {
      const x0 = v128.load(p + toX), x1 = v128.load(p + toX, 16);
      const d0 = inputGrad<T>(relu, v128.load(p), x0, s, t, k, b), d1 = inputGrad<T>(relu, v128.load(p, 16), x1, s, t, k, b);
      v128.store(p + toDx, d0);
      v128.store(p + toDx, d1, 16);
    }
    for (; p < end; p += sizeof<T>()) {
      store<T>(p + toDx, inputGradNumber<T>(relu, load<T>(p), load<T>(p + toX), scale, offset, slope, base));
    }
  }
}

@unmanaged
class PlaneScaleGradArgs extends PlanesArgs {
  g: Input;
  x: Input;
  dx: OptionalOutput;
  s: Input;
  ds: Output;
}

/** ds[n,c] = Σ g·x over a plane, and dx = g·s in the same pass. */
// @ts-ignore: decorator
@inline
function scaleGrad<T>(args: PlaneScaleGradArgs, first: i32, last: i32): void {
  const toX = args.x - args.g;
  const dx = args.dx;
  const toDx = dx - args.g;
  const bytes = <usize>args.pixels * sizeof<T>();
  const whole = unrolledBytes<T>(args.pixels);
  const stop = min(args.planes, last * args.planesPerChunk);
  for (let plane = first * args.planesPerChunk; plane < stop; plane++) {
    const at = <usize>plane * sizeof<T>();
    const scale = load<T>(args.s + at);
    const s = v128.splat<T>(scale);
    let p = args.g + <usize>plane * bytes;
    const unrolled = p + whole;
    const end = p + bytes;
    let sum: f64 = 0;
    while (p < unrolled) {
      const pause = min(unrolled, p + PASSES * UNROLLED * 16);
      let a = v128.splat<T>(0), b = a, c = a, d = a;
      for (; p < pause; p += UNROLLED * 16) {
        const g0 = v128.load(p), g1 = v128.load(p, 16), g2 = v128.load(p, 32), g3 = v128.load(p, 48);
        const x = p + toX;
        a = v128.add<T>(a, v128.mul<T>(g0, v128.load(x)));
        b = v128.add<T>(b, v128.mul<T>(g1, v128.load(x, 16)));
        c = v128.add<T>(c, v128.mul<T>(g2, v128.load(x, 32)));
        d = v128.add<T>(d, v128.mul<T>(g3, v128.load(x, 48)));
        if (dx == 0) continue;
        const to = p + toDx;
        v128.store(to, v128.mul<T>(g0, s));
        v128.store(to, v128.mul<T>(g1, s), 16);
        v128.store(to, v128.mul<T>(g2, s), 32);
        v128.store(to, v128.mul<T>(g3, s), 48);
      }
      sum += wideSum4<T>(a, b, c, d);
    }
    for (; p < end; p += sizeof<T>()) {
      const g = load<T>(p);
      sum += <f64>(g * load<T>(p + toX));
      if (dx != 0) store<T>(p + toDx, g * scale);
    }
    store<T>(args.ds + at, <T>sum);
  }
}

export function planeMoments_f32(args: PlaneMomentsArgs, first: i32, last: i32): void { moments<f32>(args, first, last); }
export function planeMoments_f64(args: PlaneMomentsArgs, first: i32, last: i32): void { moments<f64>(args, first, last); }
export function planeNorm_f32(args: PlaneNormArgs, first: i32, last: i32): void { apply<f32>(args, first, last); }
export function planeNorm_f64(args: PlaneNormArgs, first: i32, last: i32): void { apply<f64>(args, first, last); }
export function planeGradSums_f32(args: PlaneGradSumsArgs, first: i32, last: i32): void { gradSums<f32>(false, args, first, last); }
export function planeGradSums_f64(args: PlaneGradSumsArgs, first: i32, last: i32): void { gradSums<f64>(false, args, first, last); }
export function planeGradSumsRelu_f32(args: PlaneGradSumsArgs, first: i32, last: i32): void { gradSums<f32>(true, args, first, last); }
export function planeGradSumsRelu_f64(args: PlaneGradSumsArgs, first: i32, last: i32): void { gradSums<f64>(true, args, first, last); }
export function planeGradX_f32(args: PlaneGradXArgs, first: i32, last: i32): void { gradX<f32>(false, args, first, last); }
export function planeGradX_f64(args: PlaneGradXArgs, first: i32, last: i32): void { gradX<f64>(false, args, first, last); }
export function planeGradXRelu_f32(args: PlaneGradXArgs, first: i32, last: i32): void { gradX<f32>(true, args, first, last); }
export function planeGradXRelu_f64(args: PlaneGradXArgs, first: i32, last: i32): void { gradX<f64>(true, args, first, last); }
export function planeScaleGrad_f32(args: PlaneScaleGradArgs, first: i32, last: i32): void { scaleGrad<f32>(args, first, last); }
export function planeScaleGrad_f64(args: PlaneScaleGradArgs, first: i32, last: i32): void { scaleGrad<f64>(args, first, last); }

/**
 * Uniform random numbers in bulk: Threefry-2x32-20 at counters (i, stream), eight at a time. See src/core/random.ts.
 */
import { RANDOM_CHUNK } from './constants';
import { Output } from './runtime/abi';

// @ts-ignore: decorator
@inline
function mix(x: v128, y: v128, r: i32): v128 {
  return v128.xor(v128.or(i32x4.shl(y, r), i32x4.shr_u(y, 32 - r)), x);
}

@unmanaged
class UniformArgs {
  y: Output;
  n: u32;
  key0: i32;
  key1: i32;
  stream: i32;
}

/**
 * y[i] = uniform in [0, 1) for n numbers.
 * f32 uses 24 bits of the first word, f64 27 of the first and 26 of the second.
 * Two vectors of counters are computed together, since the rounds of one depend on each other.
 */
// @ts-ignore: decorator
@inline
function uniform<T>(args: UniformArgs, first: i32, last: i32): void {
  const y = args.y;
  const n = args.n;
  const k0 = i32x4.splat(args.key0);
  const k1 = i32x4.splat(args.key1);
  const k2 = v128.xor(v128.xor(k0, k1), i32x4.splat(0x1bd11bda));
  const start = i32x4.add(i32x4.splat(args.stream), k1);
  const end = min(n, <u32>last * RANDOM_CHUNK);
  for (let i = <u32>first * RANDOM_CHUNK; i < end; i += 8) {
    const counter = i32x4.add(i32x4.splat(i), k0);
    let a = i32x4.add(counter, i32x4(0, 1, 2, 3));
    let c = i32x4.add(counter, i32x4(4, 5, 6, 7));
    let b = start;
    let d = start;
    // Five blocks of four rounds. After each, two of the three key words and the block's number are added.
    a = i32x4.add(a, b);
    c = i32x4.add(c, d);
    b = mix(a, b, 13);
    d = mix(c, d, 13);
    a = i32x4.add(a, b);
    c = i32x4.add(c, d);
    b = mix(a, b, 15);
    d = mix(c, d, 15);
    a = i32x4.add(a, b);
    c = i32x4.add(c, d);
    b = mix(a, b, 26);
    d = mix(c, d, 26);
    a = i32x4.add(a, b);
    c = i32x4.add(c, d);
    b = mix(a, b, 6);
    d = mix(c, d, 6);
    const word1 = i32x4.add(k2, i32x4.splat(1));
    a = i32x4.add(a, k1);
    c = i32x4.add(c, k1);
    b = i32x4.add(b, word1);
    d = i32x4.add(d, word1);
    a = i32x4.add(a, b);
    c = i32x4.add(c, d);
    b = mix(a, b, 17);
    d = mix(c, d, 17);
    a = i32x4.add(a, b);
    c = i32x4.add(c, d);
    b = mix(a, b, 29);
    d = mix(c, d, 29);
    a = i32x4.add(a, b);
    c = i32x4.add(c, d);
    b = mix(a, b, 16);
    d = mix(c, d, 16);
    a = i32x4.add(a, b);
    c = i32x4.add(c, d);
    b = mix(a, b, 24);
    d = mix(c, d, 24);
    const word2 = i32x4.add(k0, i32x4.splat(2));
    a = i32x4.add(a, k2);
    c = i32x4.add(c, k2);
    b = i32x4.add(b, word2);
    d = i32x4.add(d, word2);
    a = i32x4.add(a, b);
    c = i32x4.add(c, d);
    b = mix(a, b, 13);
    d = mix(c, d, 13);
    a = i32x4.add(a, b);
    c = i32x4.add(c, d);
    b = mix(a, b, 15);
    d = mix(c, d, 15);
    a = i32x4.add(a, b);
    c = i32x4.add(c, d);
    b = mix(a, b, 26);
    d = mix(c, d, 26);
    a = i32x4.add(a, b);
    c = i32x4.add(c, d);
    b = mix(a, b, 6);
    d = mix(c, d, 6);
    const word3 = i32x4.add(k1, i32x4.splat(3));
    a = i32x4.add(a, k0);
    c = i32x4.add(c, k0);
    b = i32x4.add(b, word3);
    d = i32x4.add(d, word3);
    a = i32x4.add(a, b);
    c = i32x4.add(c, d);
    b = mix(a, b, 17);
    d = mix(c, d, 17);
    a = i32x4.add(a, b);
    c = i32x4.add(c, d);
    b = mix(a, b, 29);
    d = mix(c, d, 29);
    a = i32x4.add(a, b);
    c = i32x4.add(c, d);
    b = mix(a, b, 16);
    d = mix(c, d, 16);
    a = i32x4.add(a, b);
    c = i32x4.add(c, d);
    b = mix(a, b, 24);
    d = mix(c, d, 24);
    const word4 = i32x4.add(k2, i32x4.splat(4));
    a = i32x4.add(a, k1);
    c = i32x4.add(c, k1);
    b = i32x4.add(b, word4);
    d = i32x4.add(d, word4);
    a = i32x4.add(a, b);
    c = i32x4.add(c, d);
    b = mix(a, b, 13);
    d = mix(c, d, 13);
    a = i32x4.add(a, b);
    c = i32x4.add(c, d);
    b = mix(a, b, 15);
    d = mix(c, d, 15);
    a = i32x4.add(a, b);
    c = i32x4.add(c, d);
    b = mix(a, b, 26);
    d = mix(c, d, 26);
    a = i32x4.add(a, b);
    c = i32x4.add(c, d);
    b = mix(a, b, 6);
    d = mix(c, d, 6);
    const word5 = i32x4.add(k0, i32x4.splat(5));
    a = i32x4.add(a, k2);
    c = i32x4.add(c, k2);
    b = i32x4.add(b, word5);
    d = i32x4.add(d, word5);
    const p = y + <usize>i * sizeof<T>();
    const count = <i32>(end - i);
    if (sizeof<T>() == 4) {
      put<T>(p, unit24(a), count);
      put<T>(p + 16, unit24(c), count - 4);
    } else {
      put<T>(p, unit53(a, b), count);
      put<T>(p + 16, unit53(i64x2.shuffle(a, a, 1, 1), i64x2.shuffle(b, b, 1, 1)), count - 2);
      put<T>(p + 32, unit53(c, d), count - 4);
      put<T>(p + 48, unit53(i64x2.shuffle(c, c, 1, 1), i64x2.shuffle(d, d, 1, 1)), count - 6);
    }
  }
}

/** Stores the first `count` lanes of v; all lanes if count is larger. */
// @ts-ignore: decorator
@inline
function put<T>(p: usize, v: v128, count: i32): void {
  if (count >= <i32>(16 / sizeof<T>())) {
    v128.store(p, v);
  } else {
    if (count > 0) store<T>(p, v128.extract_lane<T>(v, 0));
    if (sizeof<T>() == 4) {
      if (count > 1) store<T>(p, v128.extract_lane<T>(v, 1), 4);
      if (count > 2) store<T>(p, v128.extract_lane<T>(v, sizeof<T>() == 4 ? 2 : 0), 8);
    }
  }
}

/** (a >>> 8) · 2⁻²⁴. */
// @ts-ignore: decorator
@inline
function unit24(a: v128): v128 {
  return f32x4.mul(f32x4.convert_i32x4_s(i32x4.shr_u(a, 8)), f32x4.splat(1.0 / 16777216.0));
}

/** ((a >>> 5) · 2²⁶ + (b >>> 6)) · 2⁻⁵³ of the two lower lanes. */
// @ts-ignore: decorator
@inline
function unit53(a: v128, b: v128): v128 {
  const high = f64x2.mul(f64x2.convert_low_i32x4_u(i32x4.shr_u(a, 5)), f64x2.splat(67108864.0));
  return f64x2.mul(f64x2.add(high, f64x2.convert_low_i32x4_u(i32x4.shr_u(b, 6))), f64x2.splat(1.0 / 9007199254740992.0));
}

export function uniform_f32(args: UniformArgs, first: i32, last: i32): void { uniform<f32>(args, first, last); }
export function uniform_f64(args: UniformArgs, first: i32, last: i32): void { uniform<f64>(args, first, last); }

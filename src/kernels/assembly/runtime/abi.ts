/**
 * The kernel ABI: every exported kernel is (args, first, last) → void.
 *
 * `args` points to float64 numbers, one an argument: pointers, counts and strides are whole numbers in them. A kernel
 * computes chunks first … last−1 of its problem; where chunks begin and end depends on the problem alone.
 */

/**
 * 1.5·2⁵²: added to a whole number below 2⁵¹ it leaves that number in the low bits. A saturating conversion would say the same,
 * but V8 repeats it inside the loops that use its result.
 */
const WHOLE: f64 = 6755399441055744.0;

/** Not 0 where the code is compiled into 256-bit operations (src/kernels/wasm/turbo.ts): tiles that suit those are too large for 128 bits. */
// @ts-ignore: decorator
@external('env', 'wide')
export declare const wide: i32;

/** Argument i as a pointer. */
// @ts-ignore: decorator
@inline
export function ptrArg(args: usize, i: i32): usize {
  return <usize>reinterpret<u64>(load<f64>(args + (<usize>i << 3)) + WHOLE);
}

/** Argument i as a whole number. */
// @ts-ignore: decorator
@inline
export function intArg(args: usize, i: i32): i32 {
  return <i32>reinterpret<i64>(load<f64>(args + (<usize>i << 3)) + WHOLE);
}

/** Argument i as a float. */
// @ts-ignore: decorator
@inline
export function floatArg(args: usize, i: i32): f64 {
  return load<f64>(args + (<usize>i << 3));
}

/** The first byte after the kernels' static data. */
export function heapBase(): usize {
  return __heap_base;
}

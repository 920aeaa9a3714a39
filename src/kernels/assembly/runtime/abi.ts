/**
 * The calling convention of kernels: an exported function (args, first, last) → void.
 *
 * `args` points to the fields of an `@unmanaged` class; src/kernels/wasm/launch.ts stores them, through functions that
 * scripts/kernel-arguments.mjs generates from these classes. A kernel computes chunks first … last−1 of its problem; where chunks begin and
 * end depends on the problem alone.
 *
 * The types below are addresses or numbers to a kernel. They say what the TypeScript side passes:
 */

/** The first element of a tensor that the kernel reads: a View. */
export type Input = usize;
/** The first element of a tensor that the kernel writes, and may read: a View. */
export type Output = usize;
/** As Input; null is passed as 0. */
export type OptionalInput = usize;
/** As Output; null is passed as 0. */
export type OptionalOutput = usize;
/** Records of an `@unmanaged` class side by side: an array of objects. */
export type Records<T> = usize;
/** One record of an `@unmanaged` class, stored behind the arguments: an object. */
export type Pointer<T> = usize;
/** Not 0 for true: a boolean. */
export type Flag = i32;

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

/** Bytes from record to record of a class with float64 fields in a table. */
// @ts-ignore: decorator
@inline
export function recordBytes<T>(): usize {
  return (offsetof<T>() + 7) & ~7;
}

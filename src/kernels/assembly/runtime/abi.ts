/**
 * The calling convention of kernels: an exported function (args, first, last) → void.
 *
 * `args` points to the fields of an `@unmanaged` class. src/kernels/wasm/launch.ts stores them, with functions that
 * scripts/kernel-arguments.mjs generates from these classes. A kernel computes chunks first … last−1 of its problem. The problem alone
 * fixes the bounds of chunks.
 *
 * In a kernel, a field of one of the types below is an address or a number. The type determines what the TypeScript side passes:
 */

/** A View that the kernel reads; here the address of its first element. */
export type Input = usize;
/** A View that the kernel writes, and may read; here the address of its first element. */
export type Output = usize;
/** A View or null, as Input; here 0 for null. */
export type OptionalInput = usize;
/** A View or null, as Output; here 0 for null. */
export type OptionalOutput = usize;
/** An array of objects; here the address of records of the `@unmanaged` class T, one after another. */
export type Records<T> = usize;
/** An object; here the address of a record of the `@unmanaged` class T, stored behind the arguments. */
export type Pointer<T> = usize;
/** A boolean; here 0 for false. */
export type Flag = i32;

/**
 * 1.5·2⁵²: adding it to a whole number below 2⁵¹ leaves that number in the low bits. A saturating conversion would give the same result,
 * but V8 repeats it inside the loops that use the result.
 */
const WHOLE: f64 = 6755399441055744.0;

/** Not 0 if the code is compiled into 256-bit operations (src/kernels/wasm/turbo.ts), for which larger micro-kernels fit the registers. */
// @ts-ignore: decorator
@external('env', 'wide')
export declare const wide: i32;

/** Returns slot i of float64 arguments as a pointer. */
// @ts-ignore: decorator
@inline
export function ptrArg(args: usize, i: i32): usize {
  return <usize>reinterpret<u64>(load<f64>(args + (<usize>i << 3)) + WHOLE);
}

/** Returns slot i of float64 arguments as a whole number. */
// @ts-ignore: decorator
@inline
export function intArg(args: usize, i: i32): i32 {
  return <i32>reinterpret<i64>(load<f64>(args + (<usize>i << 3)) + WHOLE);
}

/** Returns slot i of float64 arguments. */
// @ts-ignore: decorator
@inline
export function floatArg(args: usize, i: i32): f64 {
  return load<f64>(args + (<usize>i << 3));
}

/** Returns the address of the first byte after the kernels' static data. */
export function heapBase(): usize {
  return __heap_base;
}

/** Returns the bytes from record to record in a table of a class with float64 fields. */
// @ts-ignore: decorator
@inline
export function recordBytes<T>(): usize {
  return (offsetof<T>() + 7) & ~7;
}

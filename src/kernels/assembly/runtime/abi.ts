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

/** Not 0 if the code is compiled into 256-bit operations (src/kernels/wasm/compilations.ts), for which larger micro-kernels fit the registers. */
// @ts-ignore: decorator
@external('env', 'wide')
export declare const wide: i32;
/** Not 0 if multiply-adds are fused (src/kernels/wasm/fma.ts), which leaves more registers to the sums. */
// @ts-ignore: decorator
@external('env', 'fused')
export declare const fused: i32;

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

/**
 * The kernel ABI: every exported kernel is (args, first, last) → void.
 *
 * `args` points to float64 numbers, one an argument: pointers, counts and strides are whole numbers in them. A kernel
 * computes chunks first … last−1 of its problem; where chunks begin and end depends on the problem alone.
 */

/** Argument i as a pointer. */
// @ts-ignore: decorator
@inline
export function ptrArg(args: usize, i: i32): usize {
  return <usize>load<f64>(args + (<usize>i << 3));
}

/** Argument i as a whole number. */
// @ts-ignore: decorator
@inline
export function intArg(args: usize, i: i32): i32 {
  return <i32>load<f64>(args + (<usize>i << 3));
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

/**
 * Vectors of columns: the number of them in a panel, and loads and stores of partial ones.
 */

/** Returns the number of columns in one vector. */
// @ts-ignore: decorator
@inline
export function lanes<T>(): i32 {
  return 16 / <i32>sizeof<T>();
}

/** Returns the number of vectors of the next panel if `columns` are left: 4, 2 or 1, so that only its last vector can be partial. */
// @ts-ignore: decorator
@inline
export function panelVectors<T>(columns: i32): i32 {
  return columns > 3 * lanes<T>() ? 4 : columns > lanes<T>() ? 2 : 1;
}

/**
 * Returns a · b + c, rounded twice; once where the kernels are compiled with fused multiply-adds. That compilation replaces the multiplication
 * and the addition in the binary (src/kernels/wasm/fma.ts), for which the product is the first operand of the addition and c a variable.
 */
// @ts-ignore: decorator
@inline
export function mulAdd<T>(a: v128, b: v128, c: v128): v128 {
  return v128.add<T>(v128.mul<T>(a, b), c);
}

/** Stores a whole vector, or adds it to the one in memory. */
// @ts-ignore: decorator
@inline
export function put<T>(c: usize, v: v128, add: bool): void {
  v128.store(c, add ? v128.add<T>(v128.load(c), v) : v);
}

/** Stores the first `n` lanes of a vector, or adds them to those in memory; all lanes if n is larger. */
export function putSome<T>(c: usize, v: v128, n: i32, add: bool): void {
  if (n >= lanes<T>()) {
    put<T>(c, v, add);
    return;
  }
  if (n > 0) store<T>(c, add ? load<T>(c) + v128.extract_lane<T>(v, 0) : v128.extract_lane<T>(v, 0));
  if (sizeof<T>() == 4) {
    if (n > 1) store<T>(c, add ? load<T>(c, 4) + v128.extract_lane<T>(v, 1) : v128.extract_lane<T>(v, 1), 4);
    if (n > 2) store<T>(c, add ? load<T>(c, 8) + v128.extract_lane<f32>(v, 2) : v128.extract_lane<f32>(v, 2), 8);
  }
}

/** Loads the first `n` lanes of a vector and sets the others to 0; all lanes if n is larger. Reads no byte after them. */
// @ts-ignore: decorator
@inline
export function loadSome<T>(p: usize, n: i32): v128 {
  if (n >= lanes<T>()) return v128.load(p);
  let v = v128.replace_lane<T>(v128.splat<T>(0), 0, load<T>(p));
  if (sizeof<T>() == 4) {
    if (n > 1) v = v128.replace_lane<T>(v, 1, load<T>(p, 4));
    if (n > 2) v = v128.replace_lane<f32>(v, 2, load<f32>(p, 8));
  }
  return v;
}

/**
 * Stores the first `columns` columns of one row of a register block, or adds them to memory. For a full row of 4 vectors, all additions
 * come before all stores: V8 forms 256-bit stores from consecutive ones. The last vector is stored first: where the lower half of a pair comes
 * first, V8 stores it alone and then again with the upper one, so that memory is right if the latter is out of bounds.
 */
// @ts-ignore: decorator
@inline
export function putRow<T>(vectors: i32, c: usize, v0: v128, v1: v128, v2: v128, v3: v128, columns: i32, add: bool): void {
  if (vectors == 4 && columns >= 4 * lanes<T>()) {
    if (add) {
      v0 = v128.add<T>(v128.load(c), v0);
      v1 = v128.add<T>(v128.load(c, 16), v1);
      v2 = v128.add<T>(v128.load(c, 32), v2);
      v3 = v128.add<T>(v128.load(c, 48), v3);
    }
    v128.store(c, v3, 48);
    v128.store(c, v2, 32);
    v128.store(c, v1, 16);
    v128.store(c, v0);
    return;
  }
  if (vectors > 1) put<T>(c, v0, add);
  else putSome<T>(c, v0, columns, add);
  if (vectors == 2) putSome<T>(c + 16, v1, columns - lanes<T>(), add);
  if (vectors == 4) {
    put<T>(c + 16, v1, add);
    put<T>(c + 32, v2, add);
    putSome<T>(c + 48, v3, columns - 3 * lanes<T>(), add);
  }
}

/** Returns a vector of integers i, each as wide as an element of T. */
// @ts-ignore: decorator
@inline
export function splatIndex<T>(i: i32): v128 {
  if (sizeof<T>() == 4) return i32x4.splat(i);
  return i64x2.splat(i);
}

/** Returns the sum of a vector's lanes. */
// @ts-ignore: decorator
@inline
export function sumLanes<T>(v: v128): T {
  let sum: T = v128.extract_lane<T>(v, 0) + v128.extract_lane<T>(v, 1);
  if (sizeof<T>() == 4) sum += <T>(v128.extract_lane<f32>(v, 2) + v128.extract_lane<f32>(v, 3));
  return sum;
}

/** Adds the lanes of v to the float64 numbers at p. */
// @ts-ignore: decorator
@inline
export function addWide<T>(p: usize, v: v128): void {
  if (sizeof<T>() == 8) {
    v128.store(p, v128.add<f64>(v128.load(p), v));
  } else {
    v128.store(p, v128.add<f64>(v128.load(p), f64x2.promote_low_f32x4(v)));
    v128.store(p, v128.add<f64>(v128.load(p, 16), f64x2.promote_low_f32x4(v128.shuffle<f32>(v, v, 2, 3, 2, 3))), 16);
  }
}

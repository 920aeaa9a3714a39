/**
 * Vectors of columns: how many a panel has, and reading and writing those that are not whole.
 */

/** Columns in one vector. */
// @ts-ignore: decorator
@inline
export function lanes<T>(): i32 {
  return 16 / <i32>sizeof<T>();
}

/** How many vectors the next panel has where `columns` are left: 4, 2 or 1, so that only a last vector is ever partial. */
// @ts-ignore: decorator
@inline
export function panelVectors<T>(columns: i32): i32 {
  return columns > 3 * lanes<T>() ? 4 : columns > lanes<T>() ? 2 : 1;
}

/** Writes a whole vector, or adds it. */
// @ts-ignore: decorator
@inline
export function put<T>(c: usize, v: v128, add: bool): void {
  v128.store(c, add ? v128.add<T>(v128.load(c), v) : v);
}

/** Writes the first `n` lanes of a vector, or adds them; all of them where n is larger. */
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

/** The first `n` lanes of a vector in memory, the others 0; all of them where n is larger. Reads nothing behind them. */
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
 * Stores or adds one row of a register block, `columns` columns of it. Whole rows are added first and then stored side by side: V8's 256-bit
 * code needs neighbouring stores with nothing between them.
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
    v128.store(c, v0);
    v128.store(c, v1, 16);
    v128.store(c, v2, 32);
    v128.store(c, v3, 48);
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

/** A lane-wide integer in every lane. */
// @ts-ignore: decorator
@inline
export function splatIndex<T>(i: i32): v128 {
  if (sizeof<T>() == 4) return i32x4.splat(i);
  return i64x2.splat(i);
}

/** The sum of a vector's lanes. */
// @ts-ignore: decorator
@inline
export function sumLanes<T>(v: v128): T {
  let sum: T = v128.extract_lane<T>(v, 0) + v128.extract_lane<T>(v, 1);
  if (sizeof<T>() == 4) sum += <T>(v128.extract_lane<f32>(v, 2) + v128.extract_lane<f32>(v, 3));
  return sum;
}

/**
 * Max pooling of row-major images: a vector holds neighbouring windows of one channel.
 */
import { hasNaN, maxExact, moved, place, plus, storeIndex, sum4 } from './max-window';
import { lanes, splatIndex } from '../simd/vector';

/** Loads the elements at p, p + stride, … into the lanes, for stride 1 or 2; reads nothing after the last of them. */
// @ts-ignore: decorator
@inline
function loadEach<T>(stride: i32, p: usize): v128 {
  const v = v128.load(p);
  if (stride == 1) return v;
  if (sizeof<T>() == 4) return v128.shuffle<f32>(v, v128.load(p, 12), 0, 2, 5, 7);
  return v128.shuffle<f64>(v, v128.load(p, 8), 0, 3);
}

/** Returns the integers 0, stride, 2·stride, …, each as wide as an element of T. */
// @ts-ignore: decorator
@inline
function multiples<T>(stride: i32): v128 {
  if (sizeof<T>() == 4) return i32x4.mul(i32x4(0, 1, 2, 3), i32x4.splat(stride));
  return i64x2.replace_lane(i64x2.splat(0), 1, stride);
}

/** Computes the windows of a vector again, one after another. */
function maxExactEach<T>(
  stride: i32, x: usize, rows: i32, down: usize, taps: i32, right: usize, position: i32, indexDown: i32, dilation: i32, y: usize, index: usize,
): void {
  for (let k = 0; k < lanes<T>(); k++) {
    maxExact<T>(x, rows, down, taps, right, position, indexDown, dilation, y, index);
    x += <usize>stride * sizeof<T>();
    position += stride;
    y += sizeof<T>();
    index += 4;
  }
}

// @ts-ignore: decorator
@inline
function maxVectors<T>(
  stride: i32, vectors: i32, x: usize, rows: i32, down: usize, taps: i32, dilation: i32, position: i32, indexDown: i32, y: usize, index: usize,
): void {
  const right = <usize>dilation * sizeof<T>();
  const offsets = multiples<T>(stride);
  const step = stride * lanes<T>();
  for (let i = 0; i < vectors; i++, position += step, x += <usize>step * sizeof<T>(), y += 16, index += <usize>lanes<T>() * 4) {
    let best = v128.splat<T>(-<T>Infinity);
    let where = plus<T>(splatIndex<T>(position), offsets);
    let sum = v128.splat<T>(0);
    let row = x;
    let at = position;
    for (let r = 0; r < rows; r++, row += down, at += indexDown) {
      let p = row;
      for (let j = 0; j < taps; j++, p += right) {
        const v = loadEach<T>(stride, p);
        where = moved<T>(where, plus<T>(splatIndex<T>(at + j * dilation), offsets), v, best);
        best = v128.pmax<T>(best, v);
        sum = v128.add<T>(sum, v);
      }
    }
    v128.store(y, best);
    storeIndex<T>(index, where);
    if (hasNaN<T>(sum)) maxExactEach<T>(stride, x, rows, down, taps, right, position, indexDown, dilation, y, index);
  }
}

/** Returns the elements of v and w, which are neighbours in memory, at the even places, or at the odd ones. */
// @ts-ignore: decorator
@inline
function everySecond<T>(odd: bool, v: v128, w: v128): v128 {
  if (sizeof<T>() == 4) return odd ? v128.shuffle<f32>(v, w, 1, 3, 5, 7) : v128.shuffle<f32>(v, w, 0, 2, 4, 6);
  return odd ? v128.shuffle<f64>(v, w, 1, 3) : v128.shuffle<f64>(v, w, 0, 2);
}

/** As maxVectors, for windows of 2×2 neighbours, two pixels apart. */
// @ts-ignore: decorator
@inline
function maxSquares<T>(vectors: i32, x: usize, down: usize, position: i32, indexDown: i32, y: usize, index: usize): void {
  const end = y + <usize>vectors * 16;
  const step = splatIndex<T>(2 * lanes<T>());
  let at = plus<T>(splatIndex<T>(position + 1), multiples<T>(2));
  for (; y < end; x += 32, y += 16, position += 2 * lanes<T>()) {
    const v = v128.load(x), w = v128.load(x, 16);
    const p = v128.load(x + down), q = v128.load(x + down, 16);
    const a = everySecond<T>(false, v, w), b = everySecond<T>(true, v, w);
    const c = everySecond<T>(false, p, q), d = everySecond<T>(true, p, q);
    const t = v128.pmax<T>(a, b), u = v128.pmax<T>(c, d);
    const best = v128.pmax<T>(t, u);
    const below = plus<T>(at, splatIndex<T>(indexDown));
    v128.store(y, best);
    storeIndex<T>(index, place<T>(at, below, a, c, t, u, best));
    if (hasNaN<T>(sum4<T>(a, b, c, d))) maxExactEach<T>(2, x, 2, down, 2, sizeof<T>(), position, indexDown, 1, y, index);
    at = plus<T>(at, step);
    index += <usize>lanes<T>() * 4;
  }
}

/**
 * Windows inside the image, `stride` (1 or 2) pixels apart, of which the taps of a row are `dilation` pixels apart.
 * @param vectors the number of windows divided by the lanes of a vector · @param x, position address and index of the first tap
 * @param down, indexDown bytes and pixels from a row of taps to the next
 */
export function maxAlongRow<T>(
  vectors: i32, stride: i32, x: usize, rows: i32, down: usize, taps: i32, dilation: i32, position: i32, indexDown: i32, y: usize, index: usize,
): void {
  if (stride == 2 && rows == 2 && taps == 2 && dilation == 1) maxSquares<T>(vectors, x, down, position, indexDown, y, index);
  else if (stride == 1) maxVectors<T>(1, vectors, x, rows, down, taps, dilation, position, indexDown, y, index);
  else maxVectors<T>(2, vectors, x, rows, down, taps, dilation, position, indexDown, y, index);
}

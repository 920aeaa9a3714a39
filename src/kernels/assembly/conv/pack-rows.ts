/**
 * Packing of image rows. Channels of a group, or of a block, whose pixels are a power of two apart map to few cache sets and evict each
 * other; a contiguous copy avoids that.
 */

/** Copies a multiple of 64 bytes. The order of stores is that of putRow in simd/vector.ts. */
// @ts-ignore: decorator
@inline
function copyVectors(from: usize, to: usize, bytes: usize): void {
  for (let k: usize = 0; k < bytes; k += 64) {
    const v0 = v128.load(from + k), v1 = v128.load(from + k, 16), v2 = v128.load(from + k, 32), v3 = v128.load(from + k, 48);
    v128.store(to + k, v3, 48);
    v128.store(to + k, v2, 32);
    v128.store(to + k, v1, 16);
    v128.store(to + k, v0);
  }
}

/**
 * Copies `bytes` bytes of each pixel of `rows` rows × `pixels` pixels to `to`, without gaps, each padded with zeros to toPixel bytes. Both
 * are multiples of 4.
 * row, pixel: bytes from one row or pixel of the source to the next.
 */
export function packRows(from: usize, row: usize, pixel: usize, rows: i32, pixels: i32, bytes: usize, to: usize, toPixel: usize): void {
  for (; rows > 0; rows--) {
    let p = from;
    if (bytes == 64) {
      for (let i = pixels; i > 0; i--) {
        copyVectors(p, to, 64);
        p += pixel;
        to += 64;
      }
    } else {
      for (let i = pixels; i > 0; i--) {
        let k: usize = 0;
        for (; k + 16 <= bytes; k += 16) v128.store(to + k, v128.load(p + k));
        for (; k < bytes; k += 4) store<u32>(to + k, load<u32>(p + k));
        for (; k < toPixel; k += 4) store<u32>(to + k, 0);
        p += pixel;
        to += toPixel;
      }
    }
    from += row;
  }
}

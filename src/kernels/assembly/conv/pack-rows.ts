/**
 * Bands of images copied side by side: channels of a group, or a block of them, whose pixels lie a power of two apart would fall into
 * a few sets of the caches and push each other out.
 */

/** Copies a multiple of 64 bytes. */
// @ts-ignore: decorator
@inline
function copyVectors(from: usize, to: usize, bytes: usize): void {
  for (let k: usize = 0; k < bytes; k += 64) {
    const v0 = v128.load(from + k), v1 = v128.load(from + k, 16), v2 = v128.load(from + k, 32), v3 = v128.load(from + k, 48);
    v128.store(to + k, v0);
    v128.store(to + k, v1, 16);
    v128.store(to + k, v2, 32);
    v128.store(to + k, v3, 48);
  }
}

/** Copies `bytes` of each of `rows` rows of `pixels` pixels to `to`, side by side; zeros make it toPixel. Multiples of 4. */
export function packBand(from: usize, row: usize, pixel: usize, rows: i32, pixels: i32, bytes: usize, to: usize, toPixel: usize): void {
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

/**
 * Bands of images copied side by side: channels of a group, or a block of them, whose pixels lie a power of two apart would fall into
 * a few sets of the caches and push each other out.
 */

/**
 * Copies `bytes` of each of `rows` rows of `pixels` pixels to `to`, side by side, and fills the last of several vectors up with zeros
 * where toPixel is more. Multiples of 4.
 */
export function packBand(from: usize, row: usize, pixel: usize, rows: i32, pixels: i32, bytes: usize, to: usize, toPixel: usize): void {
  for (; rows > 0; rows--) {
    let p = from;
    for (let i = pixels; i > 0; i--) {
      let k: usize = 0;
      for (; k + 16 <= bytes; k += 16) v128.store(to + k, v128.load(p + k));
      for (; k < bytes; k += 4) store<u32>(to + k, load<u32>(p + k));
      for (; k < toPixel; k += 4) store<u32>(to + k, 0);
      p += pixel;
      to += toPixel;
    }
    from += row;
  }
}

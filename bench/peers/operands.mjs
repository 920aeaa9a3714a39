/**
 * The numbers that all peers compute with, and the part of a result that is compared.
 */

/** Elements of a result that are compared. */
const SAMPLES = 64;

/** Mixes the bits of a number below 2³²: the last steps of MurmurHash3. */
function mixed(n) {
  let h = Math.imul(n ^ (n >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Returns n numbers between −scale and scale, the same in every peer. */
export function operand(n, salt, scale = 1) {
  return Float32Array.from({ length: n }, (_, i) => scale * (mixed(i + 0x1000000 * salt) / 2 ** 31 - 1));
}

/** Returns elements at fixed places all over a result. */
export function samples(elements) {
  const n = elements.length;
  return Array.from({ length: Math.min(n, SAMPLES) }, (_, i) => elements[mixed(i) % n]);
}

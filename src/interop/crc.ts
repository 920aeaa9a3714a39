/**
 * Cyclic redundancy checks of 32 bits, as ISO 3309 defines them: bits reflected, started and ended with all ones.
 */

/** Returns the function that computes the check with this reflected polynomial. `previous` continues an earlier one. */
function crcOf(polynomial: number): (bytes: Uint8Array, previous?: number) => number {
  const table = Int32Array.from({ length: 256 }, (_, byte) => {
    let c = byte;
    for (let bit = 0; bit < 8; bit++) c = c & 1 ? polynomial ^ (c >>> 1) : c >>> 1;
    return c;
  });
  return (bytes, previous = 0) => {
    let crc = ~previous;
    for (let i = 0; i < bytes.length; i++) crc = table[(crc ^ bytes[i]!) & 255]! ^ (crc >>> 8);
    return ~crc >>> 0;
  };
}

/** The check of zip files (CRC-32). */
export const crc32 = crcOf(0xedb88320);

/** The check of TensorBoard's records (CRC-32C, Castagnoli; RFC 3720, appendix B.4). */
export const crc32c = crcOf(0x82f63b78);

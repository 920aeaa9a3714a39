/**
 * Turns the kernels' binary into one with fused multiply-adds (relaxed SIMD).
 *
 * The source function `mulAdd` (assembly/simd/vector.ts) compiles to the bytes
 *
 *   …a …b   mul   local.get c   add        which compute a · b + c, rounded twice
 *
 * and nothing else in the binary compiles to them. The fused operation takes a, b and c from the stack, so the multiplication becomes three
 * `nop`s and the addition the fused operation, which is as long. So one binary serves both, without a table.
 */

/** The opcodes of the operations that `mulAdd` compiles to, and of the fused one, for f32x4 and f64x2. */
const OPERATIONS = [
  { mul: [0xfd, 0xe6, 0x01], add: [0xfd, 0xe4, 0x01], fused: [0xfd, 0x85, 0x02] },
  { mul: [0xfd, 0xf2, 0x01], add: [0xfd, 0xf0, 0x01], fused: [0xfd, 0x87, 0x02] },
] as const;
const LOCAL_GET = 0x20;
const NOP = 0x01;

/** Replaces every multiply-add of the binary by the fused operation, in place; returns how many. */
export function fuseMultiplyAdds(bytes: Uint8Array): number {
  let count = 0;
  for (let at = bytes.indexOf(0xfd); at >= 0; at = bytes.indexOf(0xfd, at + 1)) {
    const operation = OPERATIONS.find(({ mul }) => startsWith(bytes, at, mul));
    if (operation === undefined || bytes[at + 3] !== LOCAL_GET) continue;
    const add = endOfNumber(bytes, at + 4);
    if (!startsWith(bytes, add, operation.add)) continue;
    bytes.fill(NOP, at, at + 3);
    bytes.set(operation.fused, add);
    count++;
  }
  return count;
}

function startsWith(bytes: Uint8Array, at: number, prefix: readonly number[]): boolean {
  return prefix.every((byte, i) => bytes[at + i] === byte);
}

/** Returns the position after a number in LEB128, whose bytes have their highest bit set except the last. */
function endOfNumber(bytes: Uint8Array, at: number): number {
  while (bytes[at]! >= 0x80) at++;
  return at + 1;
}

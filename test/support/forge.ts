/**
 * Checkpoints that saveCheckpoint would not write, with the right checksum, as an attacker can make them.
 */
import zlib from 'node:zlib';
import { encodeSafetensors } from 'chainrule/io';
import type { ArrayData } from '../../src/core/array-data.ts';

/** Returns a checkpoint file with any text as its state, and any arrays. */
export function forgeCheckpoint(state: string, arrays: readonly (readonly [string, ArrayData])[] = []): Uint8Array {
  let crc = zlib.crc32(state);
  for (const [name, { data, shape, dtype }] of arrays) {
    crc = zlib.crc32(`${name} ${dtype} [${shape.join(',')}]`, crc);
    crc = zlib.crc32(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), crc);
  }
  return encodeSafetensors(arrays, [
    ['chainrule.checkpoint', '1'],
    ['chainrule.state', state],
    ['chainrule.crc32', crc.toString(16).padStart(8, '0')],
  ]);
}

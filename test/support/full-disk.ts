import fs from 'node:fs';
import { vi } from 'vitest';

/** Makes each write to an open file fail once `room` more bytes are written, as on a full disk. Returns a function that makes room again. */
export function fullDisk(room: number): () => void {
  const write = fs.writeSync as (file: number, bytes: Uint8Array, offset: number, length: number) => number;
  const spy = vi.spyOn(fs, 'writeSync').mockImplementation(((file: number, bytes: Uint8Array, offset: number | null = 0) => {
    const length = Math.min(room, bytes.length - (offset ?? 0));
    if (length === 0) throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC', syscall: 'write' });
    room -= length;
    return write(file, bytes, offset ?? 0, length);
  }) as typeof fs.writeSync);
  return () => spy.mockRestore();
}

import { peek } from './describe.ts';
import { ArgumentError, isArray, kindOf } from './errors.ts';

/**
 * Returns the bytes of a typed array, a Buffer or a DataView, without copying them. The value may come from another realm, where
 * `instanceof Uint8Array` fails: from Jest's environment, a vm context or a frame.
 * Throws: ArgumentError for any other value, whose bytes would be missing silently
 */
export function bytesOf(op: string, name: string, value: unknown): Uint8Array {
  if (ArrayBuffer.isView(value)) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  const kind = peek(value, Symbol.toStringTag);
  const isBuffer = kind === 'ArrayBuffer' || kind === 'SharedArrayBuffer';
  const got = isBuffer ? `an ${kind}; write new Uint8Array(buffer)` : `${kindOf(value)}${remedyFor(value)}`;
  throw new ArgumentError(`${op}: ${name} must be a Uint8Array, got ${got}`);
}

function remedyFor(value: unknown): string {
  if (typeof value === 'string') return '; encode it with new TextEncoder().encode(text)';
  return isArray(value) ? '; write Uint8Array.from(numbers)' : '';
}

/** Returns the bytes of all pieces, one after the other, in one array. */
export function joinBytes(pieces: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(lengthOf(pieces));
  let at = 0;
  for (const piece of pieces) {
    out.set(piece, at);
    at += piece.length;
  }
  return out;
}

/** Returns how many bytes all pieces have. */
export function lengthOf(pieces: readonly Uint8Array[]): number {
  return pieces.reduce((sum, piece) => sum + piece.length, 0);
}

/**
 * Every way of decoding the text of the embedded binary gives the same bytes.
 */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { byDigit, bytesOfHex } from '../../src/kernels/wasm/hex.ts';

const ALL = Uint8Array.from({ length: 256 }, (_, i) => i);
const TEXT = Array.from(ALL, (b) => b.toString(16).padStart(2, '0')).join('');

const native = Object.getOwnPropertyDescriptor(Uint8Array, 'fromHex');

/** Sets Uint8Array.fromHex, so that the tests do not depend on whether the platform has it. */
function setFromHex(value: ((text: string) => Uint8Array) | undefined): void {
  Object.defineProperty(Uint8Array, 'fromHex', { value, configurable: true, writable: true });
}

beforeEach(() => setFromHex(undefined));

afterEach(() => {
  vi.unstubAllGlobals();
  if (native === undefined) Reflect.deleteProperty(Uint8Array, 'fromHex');
  else Object.defineProperty(Uint8Array, 'fromHex', native);
});

describe('bytesOfHex decodes all 256 bytes', () => {
  test('digit by digit', () => {
    expect(byDigit(TEXT)).toEqual(ALL);
  });

  test("by Node's Buffer, into an array with a buffer of its own", () => {
    const bytes = bytesOfHex(TEXT);
    expect(bytes).toEqual(ALL);
    expect(bytes.buffer.byteLength).toBe(256);
  });

  test('by Uint8Array.fromHex if the platform has it', () => {
    const fromHex = vi.fn<(text: string) => Uint8Array>(byDigit);
    vi.stubGlobal('process', undefined);
    setFromHex(fromHex);
    expect(bytesOfHex(TEXT)).toEqual(ALL);
    expect(fromHex.mock.contexts).toEqual([Uint8Array]);
  });

  test('without either', () => {
    vi.stubGlobal('process', undefined);
    expect(bytesOfHex(TEXT)).toEqual(ALL);
  });
});

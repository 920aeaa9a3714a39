/**
 * The embedded binary's text gives the same bytes whichever way the platform decodes it.
 */
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { byDigit, bytesOfHex } from '../../src/kernels/wasm/hex.ts';

const ALL = Uint8Array.from({ length: 256 }, (_, i) => i);
const TEXT = Array.from(ALL, (b) => b.toString(16).padStart(2, '0')).join('');

const native = Object.getOwnPropertyDescriptor(Uint8Array, 'fromHex');

/** Whether the platform has its own is not for these tests to depend on. */
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

  test('by Uint8Array.fromHex where there is one', () => {
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

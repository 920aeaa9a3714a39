/**
 * Decodes hexadecimal text, the form in which the kernels' binary is embedded.
 */
import { nodeModules } from '../../platform/node.ts';

type FromHex = (text: string) => Uint8Array<ArrayBuffer>;

/** Decodes pairs of lower-case digits: with Uint8Array.fromHex if the platform has it, else with Node's Buffer, else digit by digit. */
export function bytesOfHex(text: string): Uint8Array<ArrayBuffer> {
  const { fromHex } = Uint8Array as { readonly fromHex?: FromHex };
  if (fromHex !== undefined) return Reflect.apply(fromHex, Uint8Array, [text]);
  const load = nodeModules();
  return load === undefined ? byDigit(text) : new Uint8Array(load('node:buffer').Buffer.from(text, 'hex'));
}

/** Decodes in plain JavaScript, which takes some milliseconds for the kernels. */
export function byDigit(text: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(text.length / 2);
  // The codes of 0–9 are 48–57, of a–f 97–102: modulo 39 they are 9–18 and 19–24.
  const digit = (i: number): number => (text.charCodeAt(i) % 39) - 9;
  for (let i = 0; i < bytes.length; i++) bytes[i] = 16 * digit(2 * i) + digit(2 * i + 1);
  return bytes;
}

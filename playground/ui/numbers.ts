/**
 * How numbers are written.
 */

/** Returns a formatted number with minus signs in place of hyphens. */
export function withMinus(text: string): string {
  return text.replaceAll('-', '−');
}

/**
 * Text from files and users in messages.
 */

/** Control characters, line separators, and characters that reverse the order of a line. */
const BREAKS_LINE = /[\p{Cc}\u2028\u2029\p{Bidi_Control}]/gu;

/** Short JSON escapes; all other characters are written as \uXXXX. */
const SHORT: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/** Escapes what would break a message's line or command a terminal: a name in a file may hold any character. */
export function oneLine(text: string): string {
  return text.replace(BREAKS_LINE, (c) => SHORT[c] ?? `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** Cuts a text after `length` characters for a message: a damaged file may hold megabytes in one string. */
export function brief(text: string, length = 40): string {
  return text.length > length ? `${text.slice(0, length)}…` : text;
}

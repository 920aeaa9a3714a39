/**
 * Text for a terminal and a shell.
 */

/** Control characters, line separators, spaces without width, and characters that change the direction of the text after them. */
const UNPRINTABLE = /[\p{Cc}\p{Zl}\p{Zp}\u200b\u2060\ufeff\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

/** Returns the text with `\x1b` or `\u2028` in place of each character that a terminal does not print. */
export function printable(text: string): string {
  return text.replace(UNPRINTABLE, (character) => {
    const code = character.codePointAt(0)!;
    return code < 256 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`;
  });
}

/** Returns a path as one word of a shell command. */
export function shellWord(path: string): string {
  // A leading - would be read as an option.
  const word = path.startsWith('-') ? `./${path}` : path;
  if (/^[\w@%+=:,./-]+$/.test(word)) return word;
  // In $'…' a shell replaces the escapes that `printable` makes.
  if (printable(word) !== word) return `$'${printable(word.replaceAll('\\', '\\\\')).replaceAll("'", "\\'")}'`;
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/** Returns the beginning of a text that may be long and unprintable. */
export function excerpt(text: string, most = 60): string {
  const characters = Array.from(text.slice(0, 2 * most + 1));
  return characters.length <= most ? printable(text) : `${printable(characters.slice(0, most).join(''))}…`;
}

/**
 * The blocks of code in the project's documents. A block of TypeScript is checked in one of these ways, which its first line selects:
 *   ```ts            type-checked. Blocks of a page continue each other, up to one that starts with an import.
 *   ```ts name.ts    the same, as a file that others of the page import
 *   ```ts run        the same, and run. A block of text right behind it is what it prints.
 *   ```ts fragment   part of a file with omissions; not checked
 *   ```python run    run, where Python has PyTorch
 * A comment `<!-- ts … -->` holds code that the page does not show, such as the declarations of what a block uses.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

const SKIPPED = new Set(['node_modules', 'dist', 'runs', 'shared', 'coverage', 'generated', '.git']);

/** The Markdown files of the project, from the root. */
export function documents(folder = root): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return SKIPPED.has(entry.name) ? [] : documents(path);
    return entry.name.endsWith('.md') ? [relative(root, path).replaceAll('\\', '/')] : [];
  });
}

/** The text of a file of the project, with line feeds. */
export const textOf = (file: string): string => readFileSync(join(root, file), 'utf8').replaceAll('\r\n', '\n');

export interface Snippet {
  readonly file: string;
  /** The line of the first line of code, from 1. */
  readonly line: number;
  readonly lang: string;
  /** What follows the language: '' for none. */
  readonly info: string;
  readonly code: string;
  /** Whether the page shows it. */
  readonly shown: boolean;
  /** The block of text behind it; null if there is none. */
  readonly printed: string | null;
}

/** The blocks of a document, in order. */
export function snippetsOf(file: string): Snippet[] {
  const text = textOf(file);
  const blocks = /^( *)```([\w-]*) ?(.*)\n([\s\S]*?)^\1```$|^<!-- (ts)\n([\s\S]*?)^-->$/gm;
  const found = Array.from(text.matchAll(blocks), (m) => ({
    start: m.index,
    end: m.index + m[0].length,
    lang: m[5] ?? m[2]!,
    info: m[3] ?? '',
    code: m[6] ?? m[4]!,
    shown: m[5] === undefined,
  }));
  return found.map(({ start, end, lang, info, code, shown }, i) => {
    const next = found[i + 1];
    const isPrinted = next?.lang === 'text' && text.slice(end, next.start).trim() === '';
    return { file, line: text.slice(0, start).split('\n').length + 1, lang, info, code, shown, printed: isPrinted ? next.code : null };
  });
}

/** The program of a page: its lines stand where they stand in the page, so that a compiler's messages name these. */
export interface Program {
  readonly file: string;
  /** A path for it, from a folder of programs. */
  readonly path: string;
  readonly code: string;
}

/** Whether the block is a part of a file that the page links to, and that is checked and run itself. */
function isQuoted({ file, code }: Snippet): boolean {
  const links = Array.from(textOf(file).matchAll(/\]\(([^()\s]+\.ts)\)/g), (m) => relative(root, resolve(root, dirname(file), m[1]!)));
  const sources = file === 'README.md' ? ['examples/readme.ts'] : links;
  return sources.some((source) => textOf(source).includes(code.trimEnd()));
}

/** The programs of a page that a compiler can check. */
export function programsOf(file: string): Program[] {
  const folder = file.replace(/\.md$/, '').replaceAll('/', '--').replace(/^\./, '');
  const parts: { path: string; lines: string[] }[] = [];
  for (const snippet of snippetsOf(file)) {
    const { lang, info, code, line } = snippet;
    if (lang !== 'ts' || info === 'fragment' || (snippet.shown && isQuoted(snippet))) continue;
    const startsAnew = /^(\/\*\*.*\*\/\n)?import /.test(code) || info.endsWith('.ts');
    if (startsAnew || parts.length === 0) parts.push({ path: `${folder}/${info.endsWith('.ts') ? info : `line-${line}.ts`}`, lines: [] });
    const { lines } = parts.at(-1)!;
    while (lines.length < line - 1) lines.push('');
    lines.push(...code.trimEnd().split('\n'));
  }
  // Without an import or export TypeScript reads a script, whose names all files share.
  return parts.map(({ path, lines }) => ({ file, path, code: `${lines.join('\n')}\nexport {};\n` }));
}

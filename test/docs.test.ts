import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

// The documents' links lead to files and headings that exist.

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const SKIPPED = new Set(['node_modules', 'dist', 'runs', 'shared', 'coverage']);

/** The Markdown files of the project, from the root. */
function documents(folder = root): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return SKIPPED.has(entry.name) || entry.name === '.git' ? [] : documents(path);
    return entry.name.endsWith('.md') ? [relative(root, path).replaceAll('\\', '/')] : [];
  });
}

/** The text of a document without blocks and spans of code. */
function prose(text: string): string {
  return text
    .replaceAll('\r\n', '\n')
    .replace(/^```[\s\S]*?^```/gm, '')
    .replace(/`[^`\n]*`/g, (code) => code.replace(/[[\]()]/g, ' '));
}

/** The anchors of a document's headings, as GitHub makes them. */
function anchors(text: string): Set<string> {
  const headings = text
    .replaceAll('\r\n', '\n')
    .replace(/^```[\s\S]*?^```/gm, '')
    .matchAll(/^#{1,6} (.+)$/gm);
  return new Set(Array.from(headings, (m) => slug(m[1]!)));
}

function slug(heading: string): string {
  return heading
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .replace(/\s/g, '-');
}

/** What is wrong with a link; null where it leads somewhere. */
function problemOf(file: string, link: string): string | null {
  const [path, anchor] = link.split('#') as [string, string | undefined];
  const target = path === '' ? join(root, file) : resolve(root, dirname(file), path);
  if (!existsSync(target)) return `${file}: ${link} does not exist`;
  if (anchor === undefined || statSync(target).isDirectory() || !target.endsWith('.md')) return null;
  return anchors(readFileSync(target, 'utf8')).has(anchor) ? null : `${file}: ${link} has no such heading`;
}

const files = documents();

describe('documents', () => {
  test('links lead to files and headings that exist', () => {
    const problems = files.flatMap((file) => {
      const links = prose(readFileSync(join(root, file), 'utf8')).matchAll(/\]\(([^()\s]+)\)/g);
      const local = Array.from(links, (m) => m[1]!).filter((link) => !/^[a-z]+:/.test(link));
      return local.map((link) => problemOf(file, link)).filter((problem) => problem !== null);
    });
    expect(problems).toEqual([]);
  });

  test('the index lists every document', () => {
    const index = readFileSync(join(root, 'docs/README.md'), 'utf8');
    const missing = files.filter((f) => /^docs\/[^/]+\.md$/.test(f) && f !== 'docs/README.md' && !index.includes(`](${f.slice(5)}`));
    expect(missing).toEqual([]);
  });

  test('the index of decisions lists every decision', () => {
    const index = readFileSync(join(root, 'docs/decisions/README.md'), 'utf8');
    const decisions = files.filter((f) => /^docs\/decisions\/\d/.test(f)).map((f) => f.slice('docs/decisions/'.length));
    expect(decisions.filter((f) => !index.includes(`](${f})`))).toEqual([]);
    // Numbers are given once and without gaps.
    expect(decisions.map((f) => Number(f.slice(0, 4))).sort((a, b) => a - b)).toEqual(decisions.map((_, i) => i + 1));
  });
});

// Counts the engine's lines that are neither blank nor comment, and fails above the limit: a mini-framework stays small.
//
//   npm run count
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const LIMIT = 6000;
const FOLDERS = ['core', 'autograd', 'nn', 'optim'];
const src = join(dirname(dirname(fileURLToPath(import.meta.url))), 'src');

/** Lines of code in TypeScript text: neither blank nor only comment. */
function codeLines(text) {
  let count = 0;
  let inComment = false;
  for (const raw of text.split('\n')) {
    let line = raw.trim();
    if (inComment) {
      const end = line.indexOf('*/');
      if (end < 0) continue;
      inComment = false;
      line = line.slice(end + 2).trim();
    }
    while (line.startsWith('/*')) {
      const end = line.indexOf('*/', 2);
      inComment = end < 0;
      line = inComment ? '' : line.slice(end + 2).trim();
    }
    if (line !== '' && !line.startsWith('//')) count++;
  }
  return count;
}

/** Counts a folder of src and prints its line. */
function count(folder) {
  const files = readdirSync(join(src, folder), { recursive: true }).filter((f) => f.endsWith('.ts') && !f.endsWith('.generated.ts'));
  const lines = files.reduce((sum, f) => sum + codeLines(readFileSync(join(src, folder, f), 'utf8')), 0);
  process.stdout.write(`${folder.padEnd(10)}${String(lines).padStart(6)}\n`);
  return lines;
}

const total = FOLDERS.reduce((sum, folder) => sum + count(folder), 0);
process.stdout.write(`${'engine'.padEnd(10)}${String(total).padStart(6)} of at most ${LIMIT} lines, neither blank nor comment\n`);
// Instruments look at the engine; nothing of it needs them.
count('inspect');
if (total > LIMIT) process.exitCode = 1;

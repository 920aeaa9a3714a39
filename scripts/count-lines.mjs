// Counts lines of code, neither blank nor comment, of each layer of src.
//
//   npm run count
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** What trains a network, the kernels apart. */
const ENGINE = ['core', 'autograd', 'nn', 'optim'];
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

/** Lines of code of a folder of src, its generated files apart. */
function count(folder) {
  const files = readdirSync(join(src, folder), { recursive: true }).filter((f) => f.endsWith('.ts') && !f.endsWith('.generated.ts'));
  return files.reduce((sum, f) => sum + codeLines(readFileSync(join(src, folder, f), 'utf8')), 0);
}

const print = (name, lines) => process.stdout.write(`${name.padEnd(10)}${String(lines).padStart(7)}\n`);

const layers = readdirSync(src, { withFileTypes: true }).filter((entry) => entry.isDirectory());
const counts = new Map(layers.map(({ name }) => [name, count(name)]));
for (const name of ENGINE) print(name, counts.get(name));
print(
  '= engine',
  ENGINE.reduce((sum, name) => sum + counts.get(name), 0),
);
for (const [name, lines] of counts) if (!ENGINE.includes(name)) print(name, lines);

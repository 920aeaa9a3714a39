/** The comments of Tensor's methods are those of the operations behind them. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { root, textOf } from '../support/snippets.ts';

/** The text of a comment, on one line. */
const plain = (comment: string): string =>
  comment
    .replaceAll(/\/\*\*|\*\/|^ *\* ?/gm, ' ')
    .replaceAll(/\s+/g, ' ')
    .trim();

/** The comments of the operations, by name. */
function operations(): Map<string, string> {
  const files = readdirSync(join(root, 'src/autograd/ops')).map((name) => textOf(`src/autograd/ops/${name}`));
  const found = files.flatMap((text) => [
    ...text.matchAll(/^(\/\*\*(?:(?!\*\/)[^])*\*\/)\n(?:\/\*.*\*\/\n)?export (?:const|function) (\w+)/gm),
  ]);
  return new Map(found.map(([, comment, name]) => [name!, plain(comment!)]));
}

/** The comments of the methods, by name. */
function methods(): [name: string, comment: string][] {
  const found = textOf('src/autograd/tensor-methods.ts').matchAll(/^ {2}(\/\*\*(?:(?!\*\/)[^])*\*\/)\n {2}(\w+)\(/gm);
  return Array.from(found, ([, comment, name]) => [name!, plain(comment!)]);
}

/** Methods whose operation has another name, or that say more than their operation. */
const OWN = new Set(['backward', 'to', 'var']);

test('comments of methods and of operations are the same', () => {
  const expected = operations();
  const own = methods().filter(([name]) => !OWN.has(name));
  expect(own.length).toBeGreaterThan(100);
  expect(own.filter(([name]) => !expected.has(name))).toEqual([]);
  expect(own).toEqual(own.map(([name]) => [name, expected.get(name)]));
});

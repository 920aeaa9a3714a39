/** docs/pytorch-missing.md is complete: every public name of PyTorch is exported here, or stands in it. */
import * as chainrule from 'chainrule';
import * as data from 'chainrule/data';
import * as distributed from 'chainrule/distributed';
import * as interop from 'chainrule/interop';
import * as io from 'chainrule/io';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import * as optim from 'chainrule/optim';
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { textOf } from './support/snippets.ts';

/** Made by make-torch-names.py with PyTorch 1.13. */
const names = JSON.parse(readFileSync(new URL('fixtures/torch-names.json', import.meta.url), 'utf8')) as Record<string, string[]>;

// A tensor's own fields are properties of the object.
const members = [...Object.getOwnPropertyNames(chainrule.Tensor.prototype), 'shape', 'dtype'];
const homes = [chainrule, F, nn, nn.init, optim, data, io, interop, distributed].flatMap((home) => Object.keys(home));
const here = new Set([...members, ...homes]);

const camelCase = (name: string): string => name.replace(/_([a-z\d])/g, (_, letter: string) => letter.toUpperCase());

const isHere = (name: string): boolean => here.has(name) || here.has(camelCase(name));

/** The names of PyTorch in a section: all names of its lists, and those in the first column of its table. */
function listed(section: string): string[] {
  const text = textOf('docs/pytorch-missing.md').split(`\n## ${section}\n`)[1]!.split('\n## ')[0]!;
  const columns = text.replaceAll(/^\| (.*) \| .* \|$/gm, '$1');
  return Array.from(columns.matchAll(/`(\w+)`/g), (m) => m[1]!);
}

describe.each(Object.keys(names))('%s', (section) => {
  test('lists every name that is not here', () => {
    const missing = names[section]!.filter((name) => !isHere(name));
    expect(missing.filter((name) => !listed(section).includes(name))).toEqual([]);
  });

  test('lists no name that is here, or that PyTorch lacks, and none twice', () => {
    const found = listed(section);
    expect(found.filter(isHere)).toEqual([]);
    expect(found.filter((name) => !names[section]!.includes(name))).toEqual([]);
    expect(found.length).toBe(new Set(found).size);
  });
});

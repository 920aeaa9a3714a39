/** Constructors as editors show them, read from the emitted declarations. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as nn from 'chainrule/nn';
import * as optim from 'chainrule/optim';
import { afterAll, describe, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'chainrule-declarations-'));
afterAll(() => rmSync(folder, { recursive: true }));

execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.build.json', '--outDir', folder], {
  cwd: root,
});

/** All declarations of a folder of src as one text. */
function declarationsOf(layer: string): string {
  const files = readdirSync(join(folder, layer)).filter((name) => name.endsWith('.d.ts'));
  return files.map((name) => readFileSync(join(folder, layer, name), 'utf8')).join('\n');
}

const text = declarationsOf('nn') + declarationsOf('optim');

interface Declared {
  readonly base: string | null;
  /** The parameters as written; null where the class inherits its constructor. */
  readonly parameters: string | null;
  readonly documented: boolean;
}

/** The declaration of a class, or of the constructor type that a generated class extends. */
function declarationOf(name: string): Declared | null {
  const generated = new RegExp(`^declare const ${name}: new \\((.*?)\\) =>`, 'm').exec(text);
  if (generated !== null) return { base: null, parameters: generated[1]!, documented: false };
  const found = new RegExp(`class ${name}(?:<.*?>)?(?: extends (\\w+))?.*?\\{\\n([\\s\\S]*?)^\\}`, 'm').exec(text);
  if (found === null) return null;
  const constructor = /(\*\/\n)?^ {4}constructor\(([\s\S]*?)\);$/m.exec(found[2]!);
  return { base: found[1] ?? null, parameters: constructor?.[2] ?? null, documented: constructor?.[1] !== undefined };
}

/** The constructor of a class, its own or the nearest inherited one. */
function constructorOf(name: string): Declared {
  const declared = declarationOf(name);
  if (declared === null) throw new Error(`no declaration of ${name}`);
  return declared.parameters === null && declared.base !== null ? constructorOf(declared.base) : declared;
}

const isClass = (v: unknown): boolean => typeof v === 'function' && /^class\b/.test(String(v));
const classes = Object.entries({ ...nn, ...optim }).flatMap(([name, v]) => (isClass(v) ? [name] : []));

describe('constructors', () => {
  test('every class of nn and optim has parameters with names', () => {
    expect(classes.length).toBeGreaterThan(50);
    // TypeScript's names for parameters without one: o_0, args_1, __0.
    const isUnnamed = (name: string): boolean => /\b\w*_\d+\??:/.test(constructorOf(name).parameters ?? '');
    expect(classes.filter(isUnnamed)).toEqual([]);
  });

  test('parameters without names are noticed', () => {
    expect(/\b\w*_\d+\??:/.test('o_0: f.Size2d, o_1?: f.MaxPool2dOptions | undefined')).toBe(true);
  });

  test.each([
    ['ReLU', ''],
    ['LeakyReLU', 'negativeSlope?: number'],
    ['ELU', 'alpha?: number'],
    ['GELU', 'options?: f.GeluOptions'],
    ['Softplus', 'options?: f.SoftplusOptions'],
    ['Softmax', 'dim: number'],
    ['LogSoftmax', 'dim: number'],
    ['MaxPool2d', 'kernelSize: f.Size2d, options?: f.MaxPool2dOptions'],
    ['AvgPool2d', 'kernelSize: f.Size2d, options?: f.AvgPool2dOptions'],
    ['AdaptiveAvgPool2d', 'outputSize: f.AdaptiveSize'],
    ['Upsample', 'options?: f.InterpolateOptions'],
    ['Flatten', 'startDim?: number, endDim?: number'],
    ['Identity', ''],
    ['Conv2d', 'inChannels: number, outChannels: number, kernelSize: Size2d, options?: Conv2dLayerOptions'],
  ])('new %s(%s)', (name, parameters) => {
    expect(constructorOf(name).parameters).toBe(parameters);
  });

  test('every parameter of a function layer is documented', () => {
    const layers = [...text.matchAll(/class (\w+) extends FunctionLayer\b/g)].map((m) => m[1]!);
    expect(layers.length).toBe(21);
    const undocumented = layers.filter((name) => constructorOf(name).parameters !== '' && !constructorOf(name).documented);
    expect(undocumented).toEqual([]);
  });
});

describe('the options of a function layer', () => {
  test('are the arguments, without those left out at the end', () => {
    expect(new nn.ReLU().options).toEqual([]);
    expect(new nn.LeakyReLU().options).toEqual([]);
    expect(new nn.LeakyReLU(0.2).options).toEqual([0.2]);
    expect(new nn.MaxPool2d(2).options).toEqual([2]);
    expect(new nn.MaxPool2d(2, { stride: 1 }).options).toEqual([2, { stride: 1 }]);
    expect(new nn.Flatten(undefined, 2).options).toEqual([undefined, 2]);
  });
});

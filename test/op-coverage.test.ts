import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import * as chainrule from 'chainrule';
import { scope, type Tensor } from 'chainrule';
import * as F from 'chainrule/nn/functional';
import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';
import { fused, kernels } from '../src/kernels/index.ts';
import { Draw, type Case } from './support/arbitraries.ts';
import { TABLE } from './support/table.ts';

// Users can call every op, the gradient table checks its gradient, and every kernel is compared with its reference
// implementation. docs/adding-an-op.md lists the files that a new op changes.

/** The ops that were defined, whether each has a gradient, and the ops whose gradient was computed. */
const seen = vi.hoisted(() => ({ defined: new Map<string, boolean>(), walked: new Set<string>() }));

type Spec = Readonly<Record<string, unknown>> & { readonly name: string };
type AnyFunction = (...args: unknown[]) => unknown;

vi.mock('../src/autograd/op.ts', async (importOriginal) => {
  const original = await importOriginal<Record<string, unknown>>();
  const defineOp = original.defineOp as (spec: Spec) => unknown;
  const noting = (spec: Spec): unknown => {
    seen.defined.set(spec.name, spec.backward !== undefined || spec.gradKernel !== undefined);
    const noted: Record<string, unknown> = { ...spec };
    for (const key of ['backward', 'gradKernel', 'definition']) {
      const run = spec[key] as AnyFunction | undefined;
      if (run === undefined) continue;
      noted[key] = (...args: unknown[]) => {
        seen.walked.add(spec.name);
        return run(...args);
      };
    }
    return defineOp(noted as Spec);
  };
  return { ...original, defineOp: noting };
});

/** Ops that users do not call themselves, and what runs each. */
const INTERNAL: Readonly<Record<string, string>> = {
  reluGrad: 'relu',
  sigmoidGrad: 'sigmoid',
  tanhGrad: 'tanh',
  conv2dGradX: 'conv2d',
  conv2dGradW: 'conv2d',
  maxPool2dGrad: 'maxPool2d',
  avgPool2dGrad: 'avgPool2d',
  adaptiveAvgPool2dGrad: 'adaptiveAvgPool2d',
  scaleChannels: 'nn.ChannelGate',
  identity: 'recompute, and the definitions of fused ops',
};

/** Ops of the engine itself, and the tests of their gradients. */
const TESTED_ELSEWHERE: Readonly<Record<string, string>> = {
  recompute: 'autograd/recompute.test.ts',
  grad: 'autograd/backward.test.ts',
};

/** Exports of autograd/ops that are public under another name. */
const RENAMED: Readonly<Record<string, string>> = { cast: 'to', variance: 'var' };

/** Exports of autograd/ops with a line of the gradient table that serve other ops, modules and the engine. */
const NOT_PUBLIC = ['batchNormOp', 'crossEntropyOp', 'gatherUnchecked', 'identity', 'scaleChannels', 'scatterUnchecked', 'sumTo'];

/** Cases for each line of the gradient table: enough to meet all its options. */
const CASES = 12;

/** Computes the gradients of one case, and the gradients of these. gradient-table.test.ts compares them with differences. */
function differentiate({ fn, inputs }: Case): void {
  scope(() => {
    const xs = inputs.map((sample) => sample.base({ requiresGrad: true }));
    const gradients = (createGraph: boolean): Tensor[] => {
      const made = fn(...xs.map((x, i) => inputs[i]!.view(x)));
      const outputs = (made instanceof chainrule.Tensor ? [made] : made).filter((y) => y.requiresGrad);
      const total = outputs.map((y) => y.square().sum()).reduce((a, b) => a.add(b));
      return chainrule.grad(total, xs, { createGraph, allowUnused: true }).flatMap((g) => g ?? []);
    };
    gradients(false);
    const first = gradients(true).filter((g) => g.requiresGrad);
    if (first.length > 0)
      chainrule.grad(
        first.map((g) => g.square().sum()).reduce((a, b) => a.add(b)),
        xs,
        { allowUnused: true },
      );
  });
}

const isMethod = (name: string): boolean => typeof Object.getOwnPropertyDescriptor(chainrule.Tensor.prototype, name)?.value === 'function';
const isExport = (name: string): boolean => [chainrule, F].some((home) => typeof Reflect.get(home, name) === 'function');
const isPublic = (name: string): boolean => isMethod(name) || isExport(name);

describe('ops', () => {
  test('users can call each: as a method, an export, or a function of nn/functional', () => {
    const unreachable = [...seen.defined.keys()].filter((name) => !isPublic(name) && INTERNAL[name] === undefined);
    expect(unreachable).toEqual([]);
    expect(Object.keys(INTERNAL).filter((name) => !seen.defined.has(name) || isPublic(name))).toEqual([]);
  });

  test('what the gradient table covers is public', () => {
    const covered = TABLE.flatMap((line) => line.covers ?? [line.name]).map((name) => RENAMED[name] ?? name);
    expect([...new Set(covered)].filter((name) => !isPublic(name)).sort()).toEqual(NOT_PUBLIC);
  });

  // Once is enough: on the reference kernels the ops are the same.
  test.runIf(fused !== null)('the gradient table computes the gradient of each', () => {
    // Draws of its own for each line: a draw goes on where the one before it ended, so a new line would change those of all others.
    for (const line of TABLE) {
      for (const g of fc.sample(fc.gen(), { numRuns: CASES, seed: 20261124 })) differentiate(line.draw(new Draw(g)));
    }
    const differentiable = [...seen.defined].filter(([, has]) => has).map(([name]) => name);
    const unchecked = differentiable.filter((name) => !seen.walked.has(name));
    expect(unchecked.sort()).toEqual(Object.keys(TESTED_ELSEWHERE).sort());
  });
});

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** The texts of the .ts files below a folder, however deep. */
function textsUnder(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => readFileSync(join(root, folder, file), 'utf8').replaceAll('\r\n', '\n'));
}

/** The tests that compare the WebAssembly kernels with the reference kernels, or with formulas in plain numbers. */
const comparisons = textsUnder('test/kernels').filter((text) => {
  const imports = [...text.matchAll(/^import [^;]*? from '([^']+)';/gm)].map((m) => m[1]!);
  const has = (pattern: RegExp): boolean => imports.some((path) => pattern.test(path));
  return has(/kernels\/(wasm)/) && has(/kernels\/reference/);
});

/** The members of a union of strings that src/kernels declares. */
function members(type: string): string[] {
  const declaration = textsUnder('src/kernels')
    .map((text) => new RegExp(`^export type ${type} =([^;]*);`, 'm').exec(text)?.[1])
    .find((found) => found !== undefined);
  const names = [...(declaration ?? '').matchAll(/'(\w+)'/g)].map((m) => m[1]!);
  if (names.length === 0) throw new Error(`src/kernels declares no union ${type}`);
  return names;
}

const compares = (pattern: RegExp): boolean => comparisons.some((text) => pattern.test(text));

describe('every kernel is compared with its reference implementation in test/kernels', () => {
  test('methods of Kernels', () => {
    const names = Object.keys(kernels).filter((name) => name !== 'name');
    expect(names.length).toBeGreaterThan(20);
    expect(names.filter((name) => !compares(new RegExp(`\\.${name}\\(|'${name}'`)))).toEqual([]);
  });

  // On the reference kernels a fused op is its definition.
  test.runIf(fused !== null)('methods of FusedKernels', () => {
    const names = Object.keys(fused!);
    expect(names.length).toBeGreaterThan(5);
    expect(names.filter((name) => !compares(new RegExp(`\\.${name}\\(`)))).toEqual([]);
  });

  test.each(['UnaryOp', 'OutputGradOp', 'BinaryOp', 'CompareOp', 'ReduceOp'])('%s', (type) => {
    expect(members(type).filter((name) => !compares(new RegExp(`'${name}'`)))).toEqual([]);
  });
});

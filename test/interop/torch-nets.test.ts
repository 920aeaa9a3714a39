import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Tensor, equal, noGrad, scope, tensor, zeros } from 'chainrule';
import { loadTorchStateDict } from 'chainrule/interop';
import type * as nn from 'chainrule/nn';
import { describe, expect, test } from 'vitest';
import { NETS } from '../support/torch-nets.ts';

// Whose files load: names and shapes of torchvision's and timm's small nets (make-torch-nets.py), and the outputs of PyTorch 1.13.

interface Net {
  readonly size: number;
  readonly output: readonly number[];
  /** A line `name 64x3x7x7` for each tensor. */
  readonly tensors: string;
}

const nets = JSON.parse(readFileSync(new URL('../fixtures/torch-nets.json', import.meta.url), 'utf8')) as Readonly<Record<string, Net>>;

/** The names and shapes that a file of the net has, apart from the counters of batch norm. */
function shapesOf(net: Net): Map<string, number[]> {
  const lines = net.tensors.split('\n').map((line) => line.split(' '));
  return new Map(lines.map(([name, shape = '']) => [name!, shape.split('x').filter(Boolean).map(Number)]));
}

/** As `fill` of the script: the n-th tensor, by its name. */
function wave(name: string, shape: readonly number[], n: number): Tensor {
  const count = shape.reduce((a, b) => a * b, 1);
  const [isVector, fan] = [shape.length === 1, Math.max(1, count / shape[0]!)];
  const isScale = isVector && /(weight|running_var)$/.test(name);
  const amplitude = isVector ? 0.1 : Math.sqrt(3 / fan);
  const values = Float32Array.from({ length: count }, (_, i) => {
    const v = Math.sin(0.9 * i * (1 + (n % 7)) + n);
    return isScale ? 1 + 0.2 * v : v * amplitude;
  });
  return tensor(values, { shape });
}

/** The state of a file of the net, by default with the weights that the script gave it. */
function stateOf(net: Net, weights: typeof wave = wave): Record<string, Tensor> {
  const shapes = shapesOf(net);
  const counters = [...shapes.keys()]
    .filter((name) => name.endsWith('running_mean'))
    .map((n) => n.replace('running_mean', 'num_batches_tracked'));
  // The script's order, with the counters among the names.
  const order = [...shapes.keys(), ...counters].sort();
  return Object.fromEntries(
    order.map((name, n) => [name, shapes.has(name) ? weights(name, shapes.get(name)!, n) : zeros([], { dtype: 'int32' })]),
  );
}

function outputOf(model: nn.Layer, size: number): number[] {
  const x = tensor(
    Float32Array.from({ length: 3 * size * size }, (_, i) => Math.sin(0.37 * i)),
    { shape: [1, 3, size, size] },
  );
  model.eval();
  return Array.from(noGrad(() => model.forward(x)).data());
}

test('the nets of the table are those of the fixture', () => {
  expect(Object.keys(NETS)).toEqual(Object.keys(nets));
  const page = readFileSync(new URL('../../docs/recipes/pytorch-weights.md', import.meta.url), 'utf8');
  const rows = page.split('\n').filter((line) => line.startsWith('| `'));
  const listed = rows.flatMap((row) => [...row.split('|')[1]!.matchAll(/`([^`]+)`/g)].map((match) => match[1]!));
  for (const name of Object.keys(nets)) expect(listed).toContain(name.split(' ')[1]);
});

/** Nets with more weights compute in the long run only. */
const MANY = 6e6;

describe('loads strictly, and computes what PyTorch does', () => {
  test.each(Object.entries(nets))('%s', (name, net) => {
    scope(() => {
      const model = NETS[name]!();
      const weights = [...shapesOf(net).values()].reduce((sum, shape) => sum + shape.reduce((a, b) => a * b, 1), 0);
      const computes = weights < MANY || process.env.CHAINRULE_LONG === '1';
      const state = stateOf(net, computes ? wave : (_, shape) => zeros(shape));
      expect(model.loadStateDict(state)).toEqual({ missing: [], unexpected: [] });
      if (!computes) return;
      const largest = Math.max(...net.output.map(Math.abs));
      const output = outputOf(model, net.size);
      net.output.forEach((v, i) => expect(Math.abs(output[i]! - v), `output ${i}`).toBeLessThan(2e-4 * largest));
    });
  });
});

/** The files that make-torch-nets.py wrote into its second folder; they are too large to be kept. */
const files = process.env.CHAINRULE_TORCH_NETS;

describe.skipIf(files === undefined)('files that PyTorch wrote', () => {
  test.each(Object.entries(nets))('%s', (name, net) => {
    scope(() => {
      const path = join(files!, name.replaceAll(/[/ ]/g, '-'));
      expect(existsSync(`${path}.pt`)).toBe(true);
      const state = loadTorchStateDict(`${path}.pt`);
      const expected = stateOf(net);
      expect(Object.keys(state).sort()).toEqual(Object.keys(expected).sort());
      for (const [key, value] of Object.entries(expected)) expect(equal(state[key]!, value), key).toBe(true);
      expect(NETS[name]!().loadStateDict(state)).toEqual({ missing: [], unexpected: [] });
      expect(() => loadTorchStateDict(`${path}.legacy.pth`)).toThrow('it has the format of PyTorch before 1.6');
    });
  });
});

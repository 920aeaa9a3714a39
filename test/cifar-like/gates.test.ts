import { ArgumentError, memory, noGrad, tensor, type Tensor } from 'chainrule';
import { DataLoader, subset, syntheticCifar, transforms } from 'chainrule/data';
import * as nn from 'chainrule/nn';
import { afterEach, expect, test } from 'vitest';
import { savedIn } from '../../examples/cifar-like/checkpoint.ts';
import { byBand, recordGates } from '../../examples/cifar-like/gates.ts';
import { makeModel } from '../../examples/cifar-like/model.ts';
import { defaultSettings } from '../../examples/cifar-like/options.ts';

// Statistics of the gates by class and band, against sums over single images.

/** A gate whose scales are its input's channel means, so that a test chooses them. */
class Echo extends nn.Module {
  excite(x: Tensor): Tensor {
    return x.mean([2, 3], { keepdim: true });
  }

  forward(x: Tensor): Tensor {
    return x.mul(this.excite(x)).mean([2, 3]);
  }
}

class Net extends nn.Module {
  readonly gate = new Echo();

  forward(x: Tensor): Tensor {
    return this.gate.forward(x);
  }
}

const models: nn.Module[] = [];
afterEach(() => models.splice(0).forEach((model) => model.dispose()));

/** Yields images [N,C,1,1] whose channel means are `scales`, two at a time. */
function* batchesOf(scales: readonly (readonly number[])[], labels: readonly number[]): Generator<readonly [Tensor, Tensor]> {
  for (let i = 0; i < labels.length; i += 2) {
    const part = scales.slice(i, i + 2).map((row) => row.map((v) => [[v]]));
    yield [tensor(part, { dtype: 'float64' }), tensor(Int32Array.from(labels.slice(i, i + 2)))];
  }
}

const SCALES = [
  [0, 10],
  [2, 30],
  [5, 7],
  [1, 1],
  [9, 4],
];

test('means and deviations are those of the images of a class and a band, and of all classes in the last row', () => {
  // Cool: images 0 and 1 of class 0, image 4 of class 2. Warm: image 2 of class 0, image 3 of class 1.
  const bands = [0, 0, 1, 1, 0];
  const [gate, ...others] = recordGates(new Net(), batchesOf(SCALES, [0, 0, 0, 1, 2]), {
    classes: 3,
    bands: 2,
    bandOf: (i) => bands[i]!,
  });
  expect(others).toEqual([]);
  expect(gate!.block).toBe('gate');
  const near = (rows: readonly (readonly number[] | null)[]) => rows.map((row) => row && row.map((v) => expect.closeTo(v, 12) as number));
  expect(gate!.means).toEqual([near([[1, 20], null, [9, 4], [11 / 3, 44 / 3]]), near([[5, 7], [1, 1], null, [3, 4]])]);
  const spread = (a: number, b: number, c: number) => Math.sqrt((a * a + b * b + c * c) / 3 - ((a + b + c) / 3) ** 2);
  expect(gate!.deviations).toEqual([
    near([[1, 10], null, [0, 0], [spread(0, 2, 9), spread(10, 30, 4)]]),
    near([[0, 0], [0, 0], null, [2, 3]]),
  ]);
});

test('images without bands are one group a class', () => {
  const [gate] = recordGates(new Net(), batchesOf(SCALES, [1, 0, 1, 1, 0]), { classes: 2, bands: 1, bandOf: () => 0 });
  expect(gate!.means).toEqual([
    [
      [5.5, 17],
      [2, 6],
      [expect.closeTo(3.4, 12), expect.closeTo(10.4, 12)],
    ],
  ]);
});

test('a band without images has no statistics', () => {
  expect(byBand({ means: [[1], [NaN]], deviations: [[0.5], [NaN]] }, [4, 0], 1)).toEqual({
    means: [
      [[1], [1]],
      [null, null],
    ],
    deviations: [
      [[0.5], [0.5]],
      [null, null],
    ],
  });
});

test('a label or a band out of range is refused', () => {
  const record = (label: number, band: number) => () =>
    recordGates(new Net(), batchesOf([[1, 2]], [label]), { classes: 3, bands: 2, bandOf: () => band });
  for (const call of [record(3, 0), record(0, 2), record(-1, 0), record(0, -1)]) expect(call).toThrow(ArgumentError);
  expect(record(3, 1)).toThrow('recordGates: expected classes below 3 and bands below 2, got 3 and 1');
});

test('the gates in a checkpoint are checked', () => {
  const settings = { ...defaultSettings(), se: true };
  const numbers = { parameters: 1, steps: 1, seconds: 1, imagesPerSecond: 1, testLoss: 1, testAccuracy: 1 };
  const saved = (gates: unknown) => {
    const results = [{ net: 'se', ...numbers, labels: '0', predictions: '0', gates }];
    const extra = { version: 2, settings, phase: 0, step: 1, metricsBytes: 0, results };
    const fail = (what: string): Error => new Error(what);
    return savedIn(extra, settings, { field: fail, settings: fail, version: fail }).results[0]!.gates;
  };
  expect(saved([])).toEqual([]);
  const gate = { block: 'se', means: [[[1], null]], deviations: [[[0], null]] };
  expect(saved([gate])).toEqual([gate]);
  for (const damaged of [{ ...gate, means: [[1]] }, { ...gate, deviations: [[['x']]] }, { ...gate, block: 1 }, null]) {
    expect(() => saved([damaged])).toThrow('results: expected the result of the net se, got ');
  }
  expect(() => saved(undefined)).toThrow('results: expected the result of the net se, got ');
});

test('of the SE-CNN on synthetic images they are those of single images, and nothing stays allocated', () => {
  const model = makeModel(defaultSettings(), true, 3);
  models.push(model);
  const images = syntheticCifar({ split: 'test' });
  const loader = new DataLoader(subset(images, 0, 12), { batchSize: 5, transform: transforms.normalize(0.5, 0.25) });
  const before = memory().bytes;
  const gates = recordGates(model, loader, { classes: 10, bands: 2, bandOf: (i) => images.describe(i).context });
  expect(memory().bytes).toBe(before);
  expect(gates.map(({ block, means }) => [block, means.length, means[0]!.length, means[0]![10]!.length])).toEqual([
    ['blocks.0.se', 2, 11, 16],
    ['blocks.1.se', 2, 11, 32],
    ['blocks.2.se', 2, 11, 64],
  ]);
  // One image of its class and band: the group's mean is the scale of that image.
  const samples = Array.from({ length: 12 }, (_, i) => images.describe(i));
  const alone = samples.findIndex((s) => samples.filter((t) => t.label === s.label && t.context === s.context).length === 1);
  const { label, context } = samples[alone]!;
  const single = new DataLoader(subset(images, alone, alone + 1), { batchSize: 1, transform: transforms.normalize(0.5, 0.25) });
  for (const [x, y] of single) {
    const [own] = noGrad(() => nn.recordExcitations(model, [[x, y]], { numClasses: 10 }));
    const expected = (own!.mean.toArray() as number[][])[label]!;
    expect(gates[0]!.means[context]![label]).toEqual(expected.map((v) => expect.closeTo(v, 6) as number));
  }
});

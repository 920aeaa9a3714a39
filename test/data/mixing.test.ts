import { ArgumentError, DTypeError, ShapeError, type Tensor } from 'chainrule';
import { type ArrayData, ArrayDataset, type BatchTransform, DataLoader, Random, transforms } from 'chainrule/data';
import * as F from 'chainrule/nn/functional';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

const { cutmix, mixup } = transforms;

/** A batch whose image b has the value b everywhere, and the label b mod 3. */
const batch = (count: number, h = 4, w = 5): [ArrayData, ArrayData] => [
  {
    data: Float32Array.from({ length: count * 2 * h * w }, (_, i) => Math.floor(i / (2 * h * w))),
    shape: [count, 2, h, w],
    dtype: 'float32',
  },
  { data: Int32Array.from({ length: count }, (_, b) => b % 3), shape: [count], dtype: 'int32' },
];
const seeds = fc.nat(2000);
const counts = fc.integer({ min: 1, max: 6 });
const onehot = (label: number): number[] => [0, 1, 2].map((k) => (k === label ? 1 : 0));

describe.each([
  ['mixup', mixup],
  ['cutmix', cutmix],
])('%s', (_, make) => {
  test('mixes images and targets in the same proportion', () => {
    fc.assert(
      fc.property(counts, seeds, fc.constantFrom(0.1, 0.4, 1, 5), (count, seed, alpha) => {
        const items = batch(count);
        const before = structuredClone(items);
        const [x, y] = make(3, { alpha })(items, new Random(seed)) as [ArrayData, ArrayData];
        expect(items).toEqual(before);
        expect([x.shape, y.shape, y.dtype]).toEqual([items[0].shape, [count, 3], 'float32']);
        for (let b = 0; b < count; b++) {
          const pixels = x.data.subarray(b * 40, (b + 1) * 40);
          const others = [...new Set(pixels)].filter((v) => v !== b);
          // The mean of the image is λ b + (1 − λ) j for one other image j, and the target tells the same λ.
          const mean = Array.from(pixels).reduce((a, v) => a + v, 0) / 40;
          const target = Array.from(y.data.subarray(b * 3, b * 3 + 3));
          const fits = Array.from({ length: count }, (_unused, j) => j).some((j) => {
            const share = j === b ? 1 : (mean - j) / (b - j);
            const expected = onehot(b % 3).map((p, k) => share * p + (1 - share) * onehot(j % 3)[k]!);
            return share >= -1e-6 && share <= 1 + 1e-6 && expected.every((p, k) => Math.abs(p - target[k]!) < 1e-5);
          });
          expect(fits).toBe(true);
          expect(others.length).toBeLessThanOrEqual(1);
        }
      }),
      { seed: 5 },
    );
  });

  test('takes targets that are mixed already, and leaves other items', () => {
    const [x, y] = batch(4);
    const third: ArrayData = { data: Float32Array.of(1, 2, 3, 4), shape: [4], dtype: 'float32' };
    const once = make(3)([x, y, third], new Random(1));
    const twice = make(3)(once, new Random(2)) as ArrayData[];
    expect(twice[2]).toBe(third);
    for (let b = 0; b < 4; b++) expect(Array.from(twice[1]!.data.subarray(b * 3, b * 3 + 3)).reduce((a, v) => a + v, 0)).toBeCloseTo(1, 5);
  });

  test('of a loader depends on seed, epoch and batch, resumes, and trains by crossEntropy', async () => {
    const images = Float32Array.from({ length: 10 * 72 }, (_, i) => Math.sin(i));
    const data = new ArrayDataset(images, [2, 6, 6], [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]);
    const create = () => new DataLoader(data, { batchSize: 4, seed: 3, batchTransform: make(3) });
    const run = async (loader: AsyncIterable<Tensor[]>): Promise<unknown[]> => {
      const seen: unknown[] = [];
      for await (const batchOf of loader) seen.push(batchOf.map((t) => t.toJSON()));
      return seen;
    };
    const loader = create();
    const epochs = [await run(loader), await run(loader)];
    expect(epochs[0]).not.toEqual(epochs[1]);
    const resumed = create();
    resumed.loadStateDict({ ...resumed.stateDict(), position: 1 });
    expect(await run(resumed)).toEqual(epochs[0]!.slice(1));
    for (const [x, y] of create()) {
      expect(y.shape).toEqual([x.size(0), 3]);
      expect(Number.isFinite(F.crossEntropy(x.flatten(1).slice(1, 0, 3), y).item())).toBe(true);
    }
  });

  test('refuses labels and images that do not fit', () => {
    const [x, y] = batch(2);
    const name = make === mixup ? 'mixup' : 'cutmix';
    const run = (items: readonly ArrayData[]) => () => make(2)(items, new Random(0));
    const wrong: ArrayData = { data: Int32Array.of(0, 2), shape: [2], dtype: 'int32' };
    expect(run([x, wrong])).toThrow(new ArgumentError(`${name}: label 2 is outside 0 … 1; there are 2 classes`));
    for (const items of [[x], []]) expect(run(items)).toThrow(new ArgumentError(`${name}: a sample must have an image and a label`));
    expect(run([wrong, y])).toThrow(new DTypeError(`${name}: expected float32 images, got int32`));
    expect(run([x, { ...y, shape: [2, 1] }])).toThrow(
      new ShapeError(`${name}: expected labels [2] int32 or targets [2,2] float32, got [2,1] int32`),
    );
    for (const label of [-1, 5])
      expect(run([x, { ...wrong, data: Int32Array.of(0, label) }])).toThrow(
        new ArgumentError(`${name}: label ${label} is outside 0 … 1; there are 2 classes`),
      );
    for (const targets of [
      { data: new Float32Array(6), shape: [2, 3], dtype: 'float32' },
      { data: new Float32Array(2), shape: [1, 2], dtype: 'float32' },
      { data: new Float32Array(2), shape: [2], dtype: 'float32' },
      { data: new Float32Array(4), shape: [2, 2, 1], dtype: 'float32' },
      { data: new Float64Array(4), shape: [2, 2], dtype: 'float64' },
      { data: new Int32Array(4), shape: [2, 2], dtype: 'int32' },
      { data: new Int32Array(3), shape: [3], dtype: 'int32' },
    ] as const)
      expect(run([x, targets])).toThrow(
        new ShapeError(`${name}: expected labels [2] int32 or targets [2,2] float32, got [${targets.shape.join()}] ${targets.dtype}`),
      );
    expect(() => make(2, { alfa: 1 } as object)).toThrow(new RegExp(`^${name}: unknown option 'alfa'`));
    expect(() => make(2, { alpha: Infinity })).toThrow(new ArgumentError(`${name}: alpha must be a number above 0, got Infinity`));
    expect(() => make(0)).toThrow(new ArgumentError(`${name}: classes must be a whole number ≥ 1, got 0`));
    expect(() => make(2, { alpha: 0 })).toThrow(new ArgumentError(`${name}: alpha must be a number above 0, got 0`));
  });
});

test('cutmix pastes a rectangle with the image’s aspect at any place, and the share of its area is uniform for alpha 1', () => {
  const [h, w] = [20, 40];
  const items: [ArrayData, ArrayData] = [
    { data: Float32Array.from({ length: 2 * h * w }, (_, i) => Number(i >= h * w)), shape: [2, 1, h, w], dtype: 'float32' },
    { data: Int32Array.of(0, 1), shape: [2], dtype: 'int32' },
  ];
  const sides = { top: 0, bottom: 0, left: 0, right: 0 };
  const inside: number[] = [];
  for (let seed = 0; seed < 300; seed++) {
    const [x] = cutmix(2)(items, new Random(seed)) as [ArrayData];
    const pasted = Array.from(x.data.subarray(0, h * w).keys()).filter((i) => x.data[i] === 1);
    if (pasted.length === 0 || pasted.length === h * w) continue;
    const [top, bottom] = [Math.floor(pasted[0]! / w), Math.floor(pasted.at(-1)! / w)];
    const [left, right] = [pasted[0]! % w, pasted.at(-1)! % w];
    expect(pasted).toHaveLength((bottom - top + 1) * (right - left + 1));
    sides.top += Number(top === 0);
    sides.bottom += Number(bottom === h - 1);
    sides.left += Number(left === 0);
    sides.right += Number(right === w - 1);
    if (top === 0 || bottom === h - 1 || left === 0 || right === w - 1) continue;
    // Both sides are the same part of the image's, less two pixels by rounding.
    expect(Math.abs((right - left + 1) / w - (bottom - top + 1) / h)).toBeLessThanOrEqual(2 / h);
    inside.push((bottom - top + 1) / h);
  }
  for (const count of Object.values(sides)) expect(count).toBeGreaterThan(15);
  expect(inside.length).toBeGreaterThan(15);
  expect(Math.min(...inside)).toBeLessThan(0.25);
  expect(Math.max(...inside)).toBeGreaterThan(0.5);
});

test('cutmix pastes a rectangle of an even size around a pixel, cut off at the borders: none into an image of one pixel', () => {
  for (let seed = 0; seed < 50; seed++) {
    const [x, y] = cutmix(3)(batch(4, 1, 1), new Random(seed)) as [ArrayData, ArrayData];
    expect([...x.data]).toEqual([0, 0, 1, 1, 2, 2, 3, 3]);
    expect([...y.data]).toEqual([0, 1, 2, 0].flatMap(onehot));
    const [wide] = cutmix(2)(batch(2, 3, 41), new Random(seed)) as [ArrayData];
    const row = wide.data.subarray(41, 82);
    // A row of the first image, of which the second has been pasted in.
    const [from, to] = [row.indexOf(1), row.lastIndexOf(1) + 1];
    if (from > 0 && to > 0 && to < 41) expect((to - from) % 2).toBe(0);
  }
});

test('cutmix needs images of four dims', () => {
  const [x, y] = batch(2);
  expect(() => cutmix(3)([{ ...x, shape: [2, 40] }, y], new Random(0))).toThrow(
    new ShapeError('cutmix: expected images [B,C,H,W], got [2,40]'),
  );
});

test.each([
  [0.5, (x: number) => (2 / Math.PI) * Math.asin(Math.sqrt(x))],
  [1, (x: number) => x],
  [4, (x: number) => x ** 4 * (35 - 84 * x + 70 * x ** 2 - 20 * x ** 3)],
] as const)('the share of mixup follows Beta(α, α), α = %d', (alpha, distribution) => {
  const items: [ArrayData, ArrayData] = [
    { data: Float32Array.of(0, 1), shape: [2, 1, 1, 1], dtype: 'float32' },
    { data: Int32Array.of(0, 1), shape: [2], dtype: 'int32' },
  ];
  const shares: number[] = [];
  for (let seed = 0; shares.length < 2000; seed++) {
    const [x] = mixup(2, { alpha })(items, new Random(seed)) as [ArrayData];
    // The two images were not exchanged where the first is unchanged; then λ is not seen.
    if (x.data[0] !== 0 || x.data[1] !== 1) shares.push(1 - x.data[0]!);
  }
  shares.sort((a, b) => a - b);
  // Kolmogorov and Smirnov: above 1.63 / √n in one of a hundred samples.
  const distance = Math.max(...shares.map((share, i) => Math.abs(distribution(share) - (i + 0.5) / shares.length)));
  expect(distance).toBeLessThan(1.63 / Math.sqrt(shares.length));
});

test('a batchTransform that returns no items is refused', () => {
  const data = new ArrayDataset(new Float32Array(2), [1], [0, 1]);
  const run = (change: unknown) => () => new DataLoader(data, { batchTransform: change as BatchTransform }).first();
  expect(run(() => undefined)).toThrow(new ArgumentError('DataLoader: batchTransform must return an array of items, got undefined'));
  expect(run(() => [3])).toThrow(
    new ArgumentError('DataLoader: item 0 of batchTransform must be a tensor or { data, shape, dtype }, got a number'),
  );
  expect(run('mixup')).toThrow(new ArgumentError('DataLoader: batchTransform must be a function, got a string'));
});

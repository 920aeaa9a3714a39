import {
  ArgumentError,
  DTypeError,
  memory,
  noGrad,
  ScopeError,
  scope,
  scoped,
  ShapeError,
  StateDictError,
  type Tensor,
  tensor,
  zip,
} from 'chainrule';
import {
  type ArrayData,
  ArrayDataset,
  type BatchDataset,
  DataLoader,
  type DataLoaderOptions,
  type Dataset,
  type Item,
  type Random,
} from 'chainrule/data';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

/** A dataset of samples [i, a random number], one at a time. */
const single = (length: number): Dataset<readonly [ArrayData, ArrayData]> => ({
  length,
  get: (index, random) => [
    { data: Float64Array.of(index, random.uniform()), shape: [2], dtype: 'float64' },
    { data: Int32Array.of(index % 3), shape: [], dtype: 'int32' },
  ],
});

/** The same dataset in batches. */
const batched = (length: number): BatchDataset<readonly [ArrayData, ArrayData]> => ({
  length,
  getBatch: (indices, random) => [
    {
      data: Float64Array.from({ length: 2 * indices.length }, (_, j) => (j % 2 ? random(indices[j >> 1]!).uniform() : indices[j >> 1]!)),
      shape: [indices.length, 2],
      dtype: 'float64',
    },
    { data: Int32Array.from(indices, (i) => i % 3), shape: [indices.length], dtype: 'int32' },
  ],
});

/** Returns the indices of each batch of a loop. */
const indicesOf = (batches: Iterable<[Tensor, Tensor]>): number[][] =>
  Array.from(batches, ([x]) => (x.toArray() as number[][]).map((row) => row[0]!));

/** Returns the random number of each sample of a loop, by index. */
const drawn = (batches: Iterable<[Tensor, Tensor]>): number[] => {
  const out: number[] = [];
  for (const [x] of batches) for (const [i, u] of x.toArray() as [number, number][]) out[i] = u;
  return out;
};

const order = (options: DataLoaderOptions, length = 10) => indicesOf(new DataLoader(batched(length), options));

describe('batches', () => {
  test('are tensors of the items’ dtypes, in order, the last one smaller', () => {
    const images = Uint8Array.from({ length: 5 * 12 }, (_, i) => i);
    const loader = new DataLoader(new ArrayDataset(images, [3, 2, 2], [4, 3, 2, 1, 0]), { batchSize: 2 });
    expect(loader.length).toBe(3);
    const seen: [number[], string, string][] = [];
    for (const [x, y] of loader) {
      expect(x.size(0)).toBe(y.numel);
      seen.push([[...x.shape], x.dtype, y.toString()]);
    }
    expect(seen).toEqual([
      [[2, 3, 2, 2], 'float32', 'tensor [2] int32 [4, 3]'],
      [[2, 3, 2, 2], 'float32', 'tensor [2] int32 [2, 1]'],
      [[1, 3, 2, 2], 'float32', 'tensor [1] int32 [0]'],
    ]);
    expect(loader.first()[0].toArray()).toEqual(tensor(images.slice(0, 24)).div(255).reshape([2, 3, 2, 2]).toArray());
  });

  test('single samples are stacked to the same batches that a batch dataset returns', () => {
    const values = (data: Dataset<readonly [ArrayData, ArrayData]>) =>
      Array.from(new DataLoader(data, { batchSize: 3, shuffle: true, seed: 4 }), ([x, y]) => [x.toJSON(), y.toJSON()]);
    expect(values(single(8))).toEqual(values(batched(8)));
  });

  test.each([
    [{}, 10],
    [{ batchSize: 3 }, 4],
    [{ batchSize: 3, dropLast: true }, 3],
    [{ batchSize: 5, dropLast: true }, 2],
    [{ batchSize: 10, dropLast: true }, 1],
    [{ batchSize: 64 }, 1],
  ])('length of %o is %i', (options, length) => {
    expect(new DataLoader(batched(10), options).length).toBe(length);
    expect(order(options)).toHaveLength(length);
  });

  test('a batch larger than the dataset holds all of it; an empty dataset gives no batch', () => {
    expect(order({ batchSize: 64 })).toEqual([[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]]);
    for (const options of [{}, { batchSize: 4, dropLast: true, shuffle: true }]) {
      const loader = new DataLoader(batched(0), options);
      expect(loader.length).toBe(0);
      expect(indicesOf(loader)).toEqual([]);
      expect(() => loader.first()).toThrow(new ArgumentError('DataLoader.first: the dataset is empty'));
    }
  });

  test('tensors of a batch dataset are yielded without a copy; single samples are copied', () => {
    const whole = tensor([[1], [2]]);
    const [x] = new DataLoader({ length: 2, getBatch: () => [whole] }, { batchSize: 2 }).first();
    expect(x).toBe(whole);
    for (const [y] of new DataLoader({ length: 2, get: () => [whole] }, { batchSize: 2 })) expect(y.shape).toEqual([2, 2, 1]);
    expect(whole.toArray()).toEqual([[1], [2]]);
  });
});

describe('order and random numbers', () => {
  test('each epoch has its own order, a function of the seed', () => {
    const loader = new DataLoader(batched(10), { batchSize: 4, shuffle: true, seed: 3 });
    const epochs = [indicesOf(loader), indicesOf(loader), indicesOf(loader)];
    for (const epoch of epochs) expect(epoch.flat().sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(new Set(epochs.map(String)).size).toBe(3);
    const again = new DataLoader(batched(10), { batchSize: 4, shuffle: true, seed: 3 });
    expect([indicesOf(again), indicesOf(again), indicesOf(again)]).toEqual(epochs);
    expect(order({ batchSize: 4, shuffle: true, seed: 2 })).not.toEqual(epochs[0]);
    // Another batch size splits the same order at other positions.
    expect(order({ batchSize: 3, shuffle: true, seed: 3 }).flat()).toEqual(epochs[0]!.flat());
  });

  test('the order of seed 3 is this one', () => {
    expect(order({ batchSize: 10, shuffle: true, seed: 3 }).flat()).toMatchInlineSnapshot(`
      [
        8,
        0,
        4,
        2,
        3,
        1,
        5,
        9,
        6,
        7,
      ]
    `);
  });

  test('epochs differ up to the last that a number can count, and then end with an error', () => {
    const loader = new DataLoader(batched(10), { batchSize: 4, shuffle: true, seed: 1 });
    const orders = [0, 1, 2 ** 32, 2 ** 32 + 1, 2 ** 33, Number.MAX_SAFE_INTEGER].map((epoch) => {
      loader.loadStateDict({ ...loader.stateDict(), epoch, position: 0 });
      return String(indicesOf(loader));
    });
    expect(new Set(orders).size).toBe(orders.length);
    const error = new ArgumentError(
      'DataLoader: there is no epoch after 2^53 − 1: its order and augmentation would repeat. Make a loader with another seed',
    );
    for (let i = 0; i < 2; i++) expect(() => indicesOf(loader)).toThrow(error);
  });

  test('a batch whose later item cannot be converted leaves no tensor of the earlier ones', () => {
    const item = (data: Float32Array | Int32Array, dtype: string): ArrayData => ({ data, shape: [1], dtype }) as ArrayData;
    const columns = [item(Float32Array.of(1), 'float32'), item(Int32Array.of(1), 'int32'), item(Float32Array.of(0.5), 'int32')];
    const loader = new DataLoader({ length: 1, getBatch: () => columns });
    const { tensors } = memory();
    const message = 'tensor: element 0 is 0.5, which does not fit int32';
    expect(() => loader.first()).toThrow(message);
    expect(() => [...loader.unscoped()]).toThrow(message);
    expect(() => {
      for (const _ of loader) throw new Error('there is no batch');
    }).toThrow(message);
    expect(memory().tensors).toBe(tensors);
  });

  test('a sample’s random numbers depend on seed, epoch and index alone', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 12 }), fc.boolean(), fc.boolean(), (batchSize, shuffle, one) => {
        const loader = new DataLoader((one ? single : batched)(10), { batchSize, shuffle, seed: 8 });
        const plain = new DataLoader(batched(10), { seed: 8 });
        for (let epoch = 0; epoch < 2; epoch++) expect(drawn(loader)).toEqual(drawn(plain));
      }),
      { numRuns: 20 },
    );
    const loader = new DataLoader(batched(10), { seed: 8 });
    const all = [...drawn(loader), ...drawn(loader), ...drawn(new DataLoader(batched(10), { seed: 9 }))];
    expect(new Set(all).size).toBe(30);
  });

  test('transform changes the first item, image by image, with random numbers of its own', () => {
    const jitter = (image: ArrayData, random: Random): ArrayData => ({ ...image, data: image.data.map((v) => v + random.uniform()) });
    const run = (batchSize: number, shuffle: boolean) =>
      drawn(
        new DataLoader(batched(10), {
          batchSize,
          shuffle,
          transform: (x, r) => ({ ...jitter(x, r), data: Float64Array.of(x.data[0]!, r.uniform()) }),
        }),
      );
    expect(run(4, true)).toEqual(run(10, false));
    expect(new Set(run(4, true)).size).toBe(10);
    const [x] = new DataLoader(batched(10), { batchSize: 2, transform: jitter }).first();
    expect(x.data()[0]).not.toBe(0);
  });
});

describe('position', () => {
  const options = { batchSize: 3, shuffle: true, seed: 5 };
  const make = (more: DataLoaderOptions = {}) => new DataLoader(batched(10), { ...options, ...more });
  const epochs = (() => {
    const loader = make();
    return [indicesOf(loader), indicesOf(loader)];
  })();

  test('a completed loop moves to the next epoch; after break the position stays, and the next loop starts another epoch', () => {
    const loader = make();
    expect(loader.stateDict()).toEqual({ epoch: 0, position: 0, seed: 5, samples: 10, batchSize: 3, shuffle: true, dropLast: false });
    for (const _ of loader) if (loader.position === 2) break;
    expect([loader.epoch, loader.position]).toEqual([0, 2]);
    expect(indicesOf(loader)).toEqual(epochs[1]);
    expect([loader.epoch, loader.position]).toEqual([2, 0]);
    expect(() => {
      for (const _ of loader) throw new Error('mine');
    }).toThrow('mine');
    expect([loader.epoch, loader.position]).toEqual([2, 1]);
  });

  test('the current batch counts as done', () => {
    const loader = make();
    const positions: number[] = [];
    for (const _ of loader) positions.push(loader.stateDict().position);
    expect(positions).toEqual([1, 2, 3, 4]);
  });

  test.each([0, 1, 3, 4])('a loader restored at batch %i yields the same remaining batches, then the same epochs', (at) => {
    const loader = make();
    if (at > 0) for (const _ of loader) if (loader.position === at) break;
    const state = JSON.parse(JSON.stringify(loader.stateDict()));
    const other = make({ seed: 99 });
    for (const _ of other) break;
    other.loadStateDict(state);
    expect(other.stateDict()).toEqual(state);
    expect(indicesOf(other)).toEqual(epochs[0]!.slice(at));
    expect(indicesOf(other)).toEqual(epochs[1]);
  });

  test('a state saved after an epoch restores to the next', () => {
    const loader = make();
    indicesOf(loader);
    const other = make();
    other.loadStateDict(loader.stateDict());
    expect(indicesOf(other)).toEqual(epochs[1]);
  });

  test('augmentation resumes too', () => {
    const loader = make();
    const all = [...loader.unscoped()].map(([x]) => x.toArray());
    loader.loadStateDict({ ...loader.stateDict(), epoch: 0, position: 2 });
    expect([...loader.unscoped()].map(([x]) => x.toArray())).toEqual(all.slice(2));
  });

  test('first() returns the first batch of the current epoch and does not move the position', () => {
    const loader = make();
    const head = () => (loader.first()[0].toArray() as number[][]).map((row) => row[0]);
    expect(head()).toEqual(epochs[0]![0]);
    for (const _ of loader) if (loader.position === 2) break;
    expect(head()).toEqual(epochs[0]![0]);
    expect(loader.position).toBe(2);
    indicesOf(loader);
    loader.loadStateDict({ ...loader.stateDict(), epoch: 1 });
    expect(head()).toEqual(epochs[1]![0]);
  });

  test('a state with other batch options is rejected and changes nothing', () => {
    const state = make().stateDict();
    const loader = make();
    for (const _ of loader) break;
    const before = loader.stateDict();
    const refused = (change: object, message: string) =>
      expect(() => loader.loadStateDict({ ...state, ...change })).toThrow(new StateDictError(`DataLoader.loadStateDict: ${message}`));
    refused({ samples: 11 }, 'samples: the state has 11, the loader 10; make the loader as the saved one was');
    refused({ batchSize: 4 }, 'batchSize: the state has 4, the loader 3; make the loader as the saved one was');
    refused({ shuffle: false }, 'shuffle: the state has false, the loader true; make the loader as the saved one was');
    refused({ dropLast: true }, 'dropLast: the state has true, the loader false; make the loader as the saved one was');
    refused({ position: 5 }, 'position: expected a whole number from 0 to 4, got 5');
    refused({ epoch: -1 }, 'epoch: expected a whole number from 0 to 9007199254740991, got -1');
    refused({ seed: undefined }, 'seed: expected a whole number from 0 to 9007199254740991, got undefined');
    expect(loader.stateDict()).toEqual(before);
    expect(() => loader.loadStateDict({} as never)).toThrow('samples: the state has undefined, the loader 10');
  });
});

describe('one loop at a time', () => {
  const lost = new ScopeError(
    'DataLoader: this loop has lost its place: another loop over the same loader began, or loadStateDict was called, inside it. ' +
      'Make a loader for each loop, and leave the loop before loadStateDict',
  );

  test('an inner loop over the same loader runs, and the outer loop throws', () => {
    const loader = new DataLoader(batched(4));
    const inner: number[][][] = [];
    const before = memory();
    expect(() => {
      for (const _ of loader) inner.push(indicesOf(loader));
    }).toThrow(lost);
    expect(inner).toEqual([[[0], [1], [2], [3]]]);
    expect(memory()).toMatchObject({ tensors: before.tensors, bytes: before.bytes });
    expect(() => [...zip(loader, loader)]).toThrow(lost);
    expect(indicesOf(loader)).toHaveLength(4);
  });

  test('loadStateDict inside the loop ends it', () => {
    const loader = new DataLoader(batched(4));
    expect(() => {
      for (const _ of loader) loader.loadStateDict(loader.stateDict());
    }).toThrow(lost);
    expect(indicesOf(loader)).toEqual([[1], [2], [3]]);
  });

  test('an abandoned iterator does not block a new loop', () => {
    const loader = new DataLoader(batched(4));
    loader.unscoped()[Symbol.iterator]().next();
    expect(indicesOf(loader)).toHaveLength(4);
  });
});

describe('ownership of batches', () => {
  const dataset = new ArrayDataset(new Float32Array(64), [8], new Uint8Array(8));

  test('an iteration frees them; a kept batch survives; those of first and unscoped belong to the enclosing scope', () => {
    const loader = new DataLoader(dataset, { batchSize: 2 });
    const live = () => memory().tensors;
    const before = live();
    const kept: Tensor[] = [];
    for (const [x] of loader) {
      expect(live()).toBe(before + 2 + kept.length);
      kept.push(x.keep());
    }
    expect(live()).toBe(before + 4);
    for (const x of kept) x.dispose();
    scope(() => {
      loader.first();
      for (const _ of loader.unscoped()) if (loader.position === 3) break;
      expect(live()).toBe(before + 2 + 6);
    });
    expect(live()).toBe(before);
    for (const [[x], [, y]] of zip(loader, new DataLoader(dataset))) {
      expect([x.shape, y.shape]).toEqual([[2, 8], [1]]);
      expect(live()).toBe(before + 4);
    }
    for (const _ of scoped(loader)) expect(live()).toBe(before + 2);
    noGrad(() => {
      for (const _ of loader) expect(live()).toBe(before + 2);
    });
    expect(live()).toBe(before);
  });

  test('for await yields the same batches, and lets the event loop run', async () => {
    const loader = new DataLoader(batched(6), { batchSize: 2, shuffle: true });
    const expected = indicesOf(new DataLoader(batched(6), { batchSize: 2, shuffle: true }));
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    const seen: number[][] = [];
    const batches: Tensor[] = [];
    const before = memory().tensors;
    for await (const [x] of loader) {
      batches.push(x);
      seen.push((x.toArray() as number[][]).map((row) => row[0]!));
      const until = performance.now() + 60;
      while (performance.now() < until);
    }
    clearInterval(timer);
    expect(seen).toEqual(expected);
    expect(turns).toBeGreaterThanOrEqual(2);
    for await (const [x] of loader) {
      batches.push(x);
      break;
    }
    expect(loader.position).toBe(1);
    expect(batches.map((x) => x.isReleased)).toEqual([true, true, true, true]);
    // Lower if a finalizer ran in the event loop and freed tensors that earlier tests dropped.
    expect(memory().tensors).toBeLessThanOrEqual(before);
  });
});

const WAITS = 'the dataset returned a Promise, which only an asynchronous loop waits for; write for await (const batch of loader)';

describe('errors', () => {
  test.each([
    [{ batchSize: 0 }, 'DataLoader: batchSize must be a whole number ≥ 1, got 0'],
    [{ batchSize: 2.5 }, 'DataLoader: batchSize must be a whole number ≥ 1, got 2.5'],
    [{ seed: -1 }, 'DataLoader: seed must be a whole number ≥ 0, got -1'],
    [{ seed: 2 ** 53 }, 'DataLoader: seed must be a whole number ≥ 0, got 9007199254740992'],
    [
      { batchSize: 11, dropLast: true },
      "DataLoader: batchSize 11 is above the dataset's 10 samples, and dropLast leaves no batch at all. Use a smaller batchSize, or dropLast: false",
    ],
  ])('%o', (options, message) => {
    expect(() => new DataLoader(batched(10), options)).toThrow(new ArgumentError(message));
  });

  test('a dataset without a length', () => {
    expect(() => new DataLoader({ get: () => [] } as never)).toThrow(
      new ArgumentError('DataLoader: dataset.length must be a whole number ≥ 0, got undefined'),
    );
  });

  test.each([
    [async () => [], WAITS],
    [() => Float32Array.of(1), 'sample 0: get must return an array of items, such as [image, label], got a Float32Array'],
    [() => undefined, 'sample 0: get must return an array of items, such as [image, label], got undefined'],
    [
      () => ({ data: new Float32Array(1), shape: [1], dtype: 'float32' }),
      'sample 0: get must return an array of items, such as [image, label], got an object',
    ],
    [() => [Float32Array.of(1), 3], 'item 0 of sample 0 must be a tensor or { data, shape, dtype }, got a Float32Array'],
    [
      () => [{ data: new Float32Array(1), shape: [1], dtype: 'float32' }, 3],
      'item 1 of sample 0 must be a tensor or { data, shape, dtype }, got a number',
    ],
    [() => [[1, 2, 3]], 'item 0 of sample 0 must be a tensor or { data, shape, dtype }, got an array'],
    [() => [{ data: new Float32Array(1), shape: [1] }], 'item 0 of sample 0 must be a tensor or { data, shape, dtype }, got an object'],
  ])('a get that is wrong: %o', (get, message) => {
    for (const batchSize of [1, 2])
      expect(() => new DataLoader({ length: 2, get } as never, { batchSize }).first()).toThrow(new ArgumentError(`DataLoader: ${message}`));
  });

  test('a getBatch that is wrong', () => {
    const first = (getBatch: unknown) => () => new DataLoader({ length: 2, getBatch } as never).first();
    expect(first(() => [3])).toThrow(
      new ArgumentError('DataLoader: item 0 of samples 0 must be a tensor or { data, shape, dtype }, got a number'),
    );
    expect(first(async () => [])).toThrow(new ArgumentError(`DataLoader: ${WAITS}`));
  });

  test('elements that the dtype of their item cannot hold, also behind a transform', () => {
    const item = (values: ArrayLike<number>, dtype: 'int32' | 'bool'): unknown => ({ data: values, shape: [values.length], dtype });
    const read =
      (items: unknown, transform: unknown = null) =>
      () =>
        new DataLoader({ length: 2, get: () => [items] } as never, { batchSize: 2, transform } as never).first();
    const fails = (act: () => unknown, message: string): void => expect(act).toThrow(new DTypeError(message));
    fails(read(item(Float32Array.of(1, 0.5), 'int32')), 'DataLoader: item 0 of sample 0 holds 0.5 at position 1, which does not fit int32');
    fails(read(item([2 ** 40], 'int32')), 'DataLoader: item 0 of sample 0 holds 1099511627776 at position 0, which does not fit int32');
    fails(read(item(Uint8Array.of(1, 7), 'bool')), 'DataLoader: item 0 of sample 0 holds 7 at position 1, which does not fit bool');
    const halved = (): unknown => item(Float32Array.of(0.5), 'int32');
    fails(
      read(item(Int32Array.of(1), 'int32'), halved),
      'DataLoader: item 0 of sample 0 holds 0.5 at position 0, which does not fit int32',
    );
    const whole = { length: 2, getBatch: () => [{ data: Int32Array.of(1, 1), shape: [2, 1], dtype: 'int32' }] };
    fails(
      () => new DataLoader(whole as never, { batchSize: 2, transform: halved as never }).first(),
      'DataLoader: samples 0, 1: withTransform: the image that the transform returned holds 0.5 at position 0, which does not fit int32',
    );
    const bytes = scope(() => (read(item(Uint8ClampedArray.of(0, 255), 'int32'))() as Tensor[])[0]!.toArray());
    expect(bytes).toEqual([
      [0, 255],
      [0, 255],
    ]);
  });

  test('what is no dataset, and what is no transform', () => {
    const item: Item = { data: new Float32Array(1), shape: [1], dtype: 'float32' };
    for (const [wrong, got] of [
      [[item], 'an array'],
      [undefined, 'undefined'],
      [new Float32Array(3), 'a Float32Array'],
    ] as const)
      expect(() => new DataLoader(wrong as never)).toThrow(
        new ArgumentError(`DataLoader: a dataset has length, and get or getBatch; got ${got}`),
      );
    expect(() => new DataLoader(batched(2), { transform: 'flip' } as never)).toThrow(
      new ArgumentError('withTransform: transform must be a function, got a string'),
    );
  });

  test('samples that differ in shape or dtype', () => {
    const item = (n: number, dtype: 'float32' | 'int32' = 'float32'): Item =>
      dtype === 'int32' ? { data: new Int32Array(n), shape: [n], dtype } : { data: new Float32Array(n), shape: [n], dtype };
    const loop = (get: (index: number) => readonly Item[]) => () => [...new DataLoader({ length: 4, get }, { batchSize: 2 })];
    expect(loop((i) => [item(i < 3 ? 2 : 5)])).toThrow(
      new ShapeError('DataLoader: samples of one batch must agree: sample 2 is (float32 [2]), sample 3 is (float32 [5])'),
    );
    expect(loop((i) => [item(1), item(1, i < 1 ? 'float32' : 'int32')])).toThrow(
      new ShapeError(
        'DataLoader: samples of one batch must agree: sample 0 is (float32 [1], float32 [1]), sample 1 is (float32 [1], int32 [1])',
      ),
    );
    expect(loop((i) => (i < 1 ? [item(1)] : []))).toThrow(
      new ShapeError('DataLoader: samples of one batch must agree: sample 0 is (float32 [1]), sample 1 is ()'),
    );
    expect(loop(() => [{ data: new Float32Array(3), shape: [3], dtype: 'float16' as never }])).toThrow(
      new DTypeError("DataLoader: item 0 of sample 0: dtype must be float32, float64, int32 or bool, got 'float16'"),
    );
    expect(loop(() => [{ data: new Float32Array(3), shape: [2], dtype: 'float32' }])).toThrow(
      new ShapeError('DataLoader: item 0 of sample 0 has 3 elements, its shape [2] 2'),
    );
    const wrong = { length: 4, getBatch: () => [item(2), item(3)] };
    expect(() => new DataLoader(wrong, { batchSize: 2 }).first()).toThrow(
      new ShapeError('DataLoader: getBatch was asked for 2 samples; the first dim of item 1 [3] must say so'),
    );
  });
});

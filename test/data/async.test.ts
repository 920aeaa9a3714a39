import { ArgumentError, grad, memory, scoped, type Tensor, tensor, WorkerError, zip } from 'chainrule';
import {
  type ArrayData,
  type AsyncDataset,
  type BatchDataset,
  DataLoader,
  type ItemDataset,
  type Random,
  subset,
  withTransform,
} from 'chainrule/data';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

// Datasets that have to be waited for give the batches, and the bits, of those that need not.

type Numbers = readonly [ArrayData, ArrayData];

const sample = (index: number, random: Random): Numbers => [
  { data: Float64Array.of(index, random.uniform()), shape: [2], dtype: 'float64' },
  { data: Int32Array.of(index % 3), shape: [], dtype: 'int32' },
];
const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));

const plain = (length: number): ItemDataset<Numbers> => ({ length, get: sample });

/** Samples that arrive in another order than they were asked for. Odd ones are there at once. */
const late = (length: number): AsyncDataset<Numbers> => ({
  length,
  get: (index, random) => {
    const made = sample(index, random);
    if (index % 2 === 1) return made;
    return (async () => {
      for (let turns = 1 + (index % 3); turns > 0; turns--) await turn();
      return made;
    })();
  },
});

const lateBatches = (length: number): AsyncDataset<Numbers> => ({
  length,
  async getBatch(indices, randomFor) {
    await turn();
    const rows = Array.from(indices, (index) => sample(index, randomFor(index)));
    return [
      { data: Float64Array.from(rows.flatMap(([x]) => Array.from(x.data))), shape: [indices.length, 2], dtype: 'float64' },
      { data: Int32Array.from(rows, ([, y]) => y.data[0]!), shape: [indices.length], dtype: 'int32' },
    ];
  },
});

async function collect(loader: AsyncIterable<Tensor[]>): Promise<unknown[]> {
  const seen: unknown[] = [];
  for await (const batch of loader) seen.push(batch.map((t) => t.toJSON()));
  return seen;
}

async function errorOf(run: () => Promise<unknown>): Promise<unknown> {
  try {
    await run();
  } catch (error) {
    return error;
  }
  throw new Error('it did not fail');
}

describe('a dataset that has to be waited for', () => {
  test('gives the batches of one that need not, for any options, epoch after epoch', async () => {
    const options = fc.record({
      batchSize: fc.integer({ min: 1, max: 9 }),
      shuffle: fc.boolean(),
      seed: fc.nat(99),
      prefetch: fc.constantFrom(null, 0, 1, 5),
    });
    await fc.assert(
      fc.asyncProperty(options, fc.boolean(), async (o, byBatch) => {
        const jitter = (x: ArrayData, random: Random): ArrayData => ({ ...x, data: x.data.map((v) => v + random.uniform()) });
        const wrap = (data: AsyncDataset<Numbers>): AsyncDataset => withTransform(subset(data, 1, 11), jitter);
        const expected = new DataLoader(wrap(plain(12)), o);
        const loader = new DataLoader(wrap(byBatch ? lateBatches(12) : late(12)), o);
        for (let epoch = 0; epoch < 2; epoch++) expect(await collect(loader)).toEqual(await collect(expected));
      }),
      { numRuns: 25, seed: 5 },
    );
  });

  test('is prepared ahead, no further than prefetch, and no further than the epoch', async () => {
    const started: number[] = [];
    const data: AsyncDataset = {
      length: 5,
      get: async (index) => {
        started.push(index);
        return [{ data: Float32Array.of(index), shape: [], dtype: 'float32' }];
      },
    };
    const seen: number[][] = [];
    for await (const _ of new DataLoader(data, { prefetch: 2 })) seen.push([...started]);
    expect(seen.map((s) => s.length)).toEqual([3, 4, 5, 5, 5]);
    started.length = 0;
    for await (const _ of new DataLoader(data, { prefetch: 0 })) {
      expect(started).toHaveLength(1);
      break;
    }
  });

  test('makes the batches of the epoch, and none without samples', async () => {
    const asked: number[] = [];
    const data: AsyncDataset = {
      ...lateBatches(5),
      getBatch: (indices, randomFor) => (asked.push(indices.length), lateBatches(5).getBatch!(indices, randomFor)),
    };
    expect(await collect(new DataLoader(data, { batchSize: 2, prefetch: 9 }))).toHaveLength(3);
    expect(asked).toEqual([2, 2, 1]);
  });

  test('may give some batches at once, also where samples occur again', async () => {
    const sampler = { length: 6, draw: () => [0, 1, 2, 0, 1, 0] };
    const some: AsyncDataset = {
      length: 3,
      getBatch: (indices, randomFor) => {
        const batch = Array.from(indices, (index) => sample(index, randomFor(index))[0].data[1]!);
        const items = [{ data: Float64Array.from(batch), shape: [indices.length], dtype: 'float64' }] as const;
        return indices.length === 2 ? Promise.resolve(items) : items;
      },
    };
    const single: ItemDataset = {
      length: 3,
      get: (index, random) => [{ data: Float64Array.of(sample(index, random)[0].data[1]!), shape: [], dtype: 'float64' }],
    };
    const options = { batchSize: 6, sampler, seed: 2 };
    expect(await collect(new DataLoader(some, options))).toEqual(await collect(new DataLoader(single, options)));
  });

  test('may compute with tensors before and after it waits', async () => {
    const dataset: AsyncDataset<readonly [ArrayData]> = {
      length: 6,
      async get(index) {
        const x = tensor([index, 1]);
        const y = x.mul(2);
        await turn();
        const z = x.add(y);
        await turn();
        return [{ data: Float32Array.from(z.add(y).data()), shape: [2], dtype: 'float32' }];
      },
    };
    const rows: unknown[] = [];
    for await (const [x] of new DataLoader(dataset, { batchSize: 2 })) {
      for await (const i of scoped(1)) x.mul(i);
      rows.push(...(x.toArray() as unknown[]));
    }
    expect(rows).toEqual(Array.from({ length: 6 }, (_, i) => [5 * i, 5]));
  });

  test('a loop owns its tensors, and frees them after break and throw', async () => {
    const loader = new DataLoader(late(9), { batchSize: 3 });
    const before = memory().tensors;
    const weight = tensor([1], { requiresGrad: true, dtype: 'float64' });
    const kept: Tensor[] = [];
    for await (const [x] of loader) {
      kept.push(x, x.mul(weight), ...grad(x.mul(weight).sum(), [weight]));
      if (loader.position === 2) break;
    }
    expect(kept.map((t) => t.isReleased)).not.toContain(false);
    expect(loader.position).toBe(2);
    weight.dispose();
    // Lower if a finalizer freed tensors that earlier tests dropped.
    expect(memory().tensors).toBeLessThanOrEqual(before);
    loader.loadStateDict({ ...loader.stateDict(), position: 1 });
    expect(await collect(loader)).toEqual((await collect(new DataLoader(plain(9), { batchSize: 3 }))).slice(1));
  });

  test('steps that are requested at once come in order', async () => {
    const iterator = new DataLoader(late(6), { batchSize: 2 })[Symbol.asyncIterator]();
    const steps = await Promise.all(
      [0, 1, 2, 3].map(() => iterator.next().then(({ done, value }) => (done === true ? 'end' : value![0].shape))),
    );
    expect(steps).toEqual([[2, 2], [2, 2], [2, 2], 'end']);
  });

  test('a second loop takes over while the first one waits', async () => {
    const loader = new DataLoader(late(6), { batchSize: 2 });
    const first = loader[Symbol.asyncIterator]().next();
    const second = collect(loader);
    expect(String(await errorOf(() => first))).toContain('this loop has lost its place');
    expect(await second).toHaveLength(3);
  });

  test('a loop that returns while it waits ends', async () => {
    const iterator = new DataLoader(late(6), { batchSize: 2 })[Symbol.asyncIterator]();
    const step = iterator.next();
    await turn();
    await iterator.return!();
    expect(await step).toEqual({ done: true, value: undefined });
  });

  test('loops that cannot wait refuse it', () => {
    const loader = new DataLoader(late(4), { batchSize: 2 });
    const error = new ArgumentError(
      'DataLoader: the dataset returned a Promise, which only an asynchronous loop waits for; write for await (const batch of loader)',
    );
    expect(() => [...loader]).toThrow(error);
    expect(() => [...loader.unscoped()]).toThrow(error);
    expect(() => [...zip(loader, loader)]).toThrow(error);
    expect(() => loader.first()).toThrow(error);
  });
});

describe('errors name the sample', () => {
  const failing = (fail: (index: number) => unknown): AsyncDataset => ({ length: 6, get: fail as never });
  const good = { data: Float32Array.of(1), shape: [], dtype: 'float32' };
  const run = (data: AsyncDataset, batchSize = 6) => errorOf(() => collect(new DataLoader(data, { batchSize })));

  test('the first in the batch’s order, not the first in time', async () => {
    const data = failing(async (index) => {
      if (index === 1) await turn();
      if (index === 1 || index === 4) throw new RangeError(`no picture ${index}`);
      return [good];
    });
    expect(await run(data)).toEqual(new RangeError('DataLoader: sample 1: no picture 1'));
  });

  test('also where some samples are there at once, or none is waited for', async () => {
    const thrower = failing((index) => {
      if (index === 3) throw new TypeError('broken');
      return index === 2 ? Promise.reject(new Error('never seen')) : [good];
    });
    expect(await run(thrower)).toEqual(new TypeError('DataLoader: sample 3: broken'));
    const byBatch: BatchDataset = {
      length: 6,
      getBatch: () => {
        throw new Error('broken');
      },
    };
    expect(await run(byBatch, 2)).toEqual(new Error('DataLoader: samples 0, 1: broken'));
    const late: AsyncDataset = { length: 20, getBatch: async () => Promise.reject(new Error('broken')) };
    expect(await run(late, 20)).toEqual(new Error('DataLoader: samples 0, 1, 2, 3, 4, 5, 6, 7, … (20): broken'));
    expect(await run({ ...late, length: 8 }, 8)).toEqual(new Error('DataLoader: samples 0, 1, 2, 3, 4, 5, 6, 7: broken'));
  });

  test('not where a dataset throws what is no error: it arrives as it is', async () => {
    for (const value of ['broken', null]) expect(await run(failing(async () => Promise.reject(value)))).toBe(value);
  });

  test('where samples occur again: that of the part that throws, and none beside it', async () => {
    const data: AsyncDataset = {
      length: 2,
      getBatch: (indices) => {
        if (indices.length === 1) throw new Error('broken');
        return Promise.reject(new Error('never seen'));
      },
    };
    const loader = new DataLoader(data, { batchSize: 3, sampler: { length: 3, draw: () => [0, 1, 0] } });
    expect(await errorOf(() => collect(loader))).toEqual(new Error('DataLoader: samples 0: broken'));
  });

  test('batches before the error are yielded, and later ones that fail are not reported', async () => {
    const loader = new DataLoader(
      failing(async (index) => {
        if (index > 0) throw new Error('broken');
        return [good];
      }),
      { prefetch: 3 },
    );
    const error = await errorOf(() => collect(loader));
    expect(error).toEqual(new Error('DataLoader: sample 1: broken'));
    expect(loader.position).toBe(1);
    for await (const _ of new DataLoader(failing(async (i) => (i > 0 ? Promise.reject(new Error('broken')) : [good])))) break;
  });

  test('items that are wrong, and tensors, which nothing would free', async () => {
    expect(await run(failing(async () => 3))).toEqual(
      new ArgumentError('DataLoader: sample 0: get must return an array of items, such as [image, label], got a number'),
    );
    const t = tensor([1]);
    expect(await run(failing(async () => [good, t]))).toEqual(
      new ArgumentError(
        'DataLoader: item 1 of sample 0 is a tensor, and nothing would free it: an asynchronous get must return { data, shape, dtype }',
      ),
    );
    expect(await run(failing(async () => [t]))).toEqual(
      new ArgumentError(
        'DataLoader: item 0 of sample 0 is a tensor, and nothing would free it: an asynchronous get must return { data, shape, dtype }',
      ),
    );
    const batch = (value: unknown): AsyncDataset => ({ length: 6, getBatch: (() => value) as never });
    const noItems = new ArgumentError(
      'DataLoader: samples 0, 1, 2, 3, 4, 5: getBatch must return an array of items, such as [image, label], got a number',
    );
    expect(await run(batch(3))).toEqual(noItems);
    expect(await run(batch(Promise.resolve(3)))).toEqual(noItems);
    expect(await run(batch(Promise.resolve([t])))).toEqual(
      new ArgumentError(
        'DataLoader: item 0 of samples 0, 1, 2, 3, 4, 5 is a tensor, and nothing would free it: an asynchronous getBatch must return { data, shape, dtype }',
      ),
    );
    t.dispose();
  });
});

describe('a Web Worker that the caller starts', () => {
  interface Request {
    readonly type: string;
    readonly id: number;
    readonly samples: number;
    readonly draw: { readonly indices: Int32Array; readonly repeats: Int32Array | null };
  }
  type Listen = (event: { readonly data?: unknown; readonly message?: string }) => void;

  /** A worker as a page has it. It answers a request in a later turn, as `answerTo` says. */
  class FakeWorker {
    readonly requests: Request[] = [];
    terminated = 0;
    open = 0;
    mostOpen = 0;
    readonly #listeners: Record<string, Listen> = {};
    readonly #answerTo: (request: Request) => object;

    constructor(answerTo: (request: Request) => object = itemsOf) {
      this.#answerTo = answerTo;
    }

    addEventListener(type: 'message' | 'error', listen: Listen): void {
      this.#listeners[type] = listen;
    }

    postMessage(message: unknown): void {
      const request = message as Request;
      if (request.type === 'chainrule:hello') {
        void turn().then(() => this.#listeners.message!({ data: { type: 'chainrule:ready' } }));
        return;
      }
      this.requests.push(request);
      this.mostOpen = Math.max(this.mostOpen, ++this.open);
      void this.#answer(request);
    }

    async #answer(request: Request): Promise<void> {
      await turn();
      this.open--;
      const answer = { type: 'chainrule:items', id: request.id, items: null, error: null, ...this.#answerTo(request) };
      for (const data of [{ ...answer, type: 'of another library', items: [] }, answer]) this.#listeners.message!({ data });
    }

    fail(message?: string): void {
      this.#listeners.error!(message === undefined ? {} : { message });
    }

    terminate(): void {
      this.terminated++;
    }
  }
  const itemsOf = ({ draw }: Request): object => ({
    items: [{ data: Float64Array.from(draw.indices), shape: [draw.indices.length], dtype: 'float64' }],
  });

  /** The batches of a loop over nine samples, by two workers, and the workers. */
  const loop = async (make: () => FakeWorker, prefetch = 4): Promise<{ seen: unknown; workers: FakeWorker[] }> => {
    const workers: FakeWorker[] = [];
    const module = (): FakeWorker => {
      workers.push(make());
      return workers.at(-1)!;
    };
    const loader = new DataLoader(plain(9), { batchSize: 2, prefetch, workers: { count: 2, module } });
    const seen = await collect(loader).catch((error: unknown) => error);
    return { seen, workers };
  };

  test('gets draws of its own, as many as the other, and is terminated when the loop ends', async () => {
    const { seen, workers } = await loop(() => new FakeWorker());
    expect((seen as { data: number[] }[][]).map(([x]) => x!.data)).toEqual([[0, 1], [2, 3], [4, 5], [6, 7], [8]]);
    expect(workers.map((w) => [w.terminated, w.mostOpen])).toEqual([
      [1, 3],
      [1, 2],
    ]);
    const requests = workers.flatMap((w) => w.requests);
    expect(new Set(requests.map(({ id }) => id)).size).toBe(5);
    for (const { type, samples, draw } of requests) {
      expect([type, samples, draw.repeats]).toEqual(['chainrule:draw', 9, null]);
      // Of a part of an array, all of its buffer would be sent.
      expect(draw.indices.buffer.byteLength).toBe(4 * draw.indices.length);
    }
  });

  test('its error is the loop’s, with the worker’s own as the cause', async () => {
    const error = { name: 'RangeError', message: 'DataLoader: sample 2: no picture', stack: 'at picture.js' };
    const { seen, workers } = await loop(() => new FakeWorker((request) => (request.draw.indices[0] === 2 ? { error } : itemsOf(request))));
    expect(seen).toEqual(new WorkerError('DataLoader: sample 2: no picture (RangeError in a worker)'));
    expect((seen as Error).cause).toMatchObject(error);
    expect(workers.map((w) => w.terminated)).toEqual([1, 1]);
  });

  test.each([
    ['Uncaught SyntaxError', 'Uncaught SyntaxError'],
    [undefined, 'its script could not be loaded'],
    ['', 'its script could not be loaded'],
  ])('a script that fails with the message %j ends the loop', async (message, why) => {
    const { seen, workers } = await loop(() => {
      const worker = new FakeWorker();
      void turn().then(() => worker.fail(message));
      return worker;
    }, 0);
    expect(seen).toEqual(new WorkerError(`DataLoader: a worker failed: ${why}`));
    expect(workers.map((w) => w.terminated)).toEqual([1, 1]);
  });

  test('must be one', async () => {
    for (const [value, kind] of [
      [undefined, 'undefined'],
      [{ postMessage: 1 }, 'an object'],
    ] as const) {
      const loader = new DataLoader(plain(9), { workers: { count: 1, module: () => value as never } });
      expect(await errorOf(() => collect(loader))).toEqual(
        new ArgumentError(`DataLoader: workers: the function module must return a Web Worker, got ${kind}`),
      );
    }
  });
});

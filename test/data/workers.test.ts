import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { ArgumentError, manualSeed, memory, type Tensor, WorkerError } from 'chainrule';
import {
  type ArrayData,
  type AsyncDataset,
  DataLoader,
  type DataLoaderOptions,
  serveDataset,
  withTransform,
  type WorkerOptions,
} from 'chainrule/data';
import { checkpointFromBytes, checkpointToBytes } from 'chainrule/io';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import { SGD } from 'chainrule/optim';
import { type Fit, fit } from 'chainrule/train';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
// @ts-expect-error: a script without types.
import { bundle } from '../../scripts/bundle.mjs';
// @ts-expect-error: threads of Node 20 import JavaScript only.
import { numbers as untyped } from './modules/numbers-dataset.mjs';

// Threads make the same batches as the loop's own thread, and end with the loop.

const numbers = untyped(withTransform) as AsyncDataset;

/** A project with the package installed, as Node 20 imports no TypeScript in a thread, and with the modules of the threads. */
const project = mkdtempSync(join(tmpdir(), 'chainrule-workers-'));
const at = (name: string): URL => pathToFileURL(join(project, `${name}.mjs`));

beforeAll(async () => {
  const installed = join(project, 'node_modules/chainrule');
  mkdirSync(installed, { recursive: true });
  cpSync(fileURLToPath(new URL('../../package.json', import.meta.url)), join(installed, 'package.json'));
  cpSync(fileURLToPath(new URL('./modules', import.meta.url)), project, { recursive: true });
  await bundle(join(installed, 'dist'));
});
afterAll(() => rmSync(project, { recursive: true, force: true }));

async function batches(options: DataLoaderOptions, dataset = numbers, epochs = 2): Promise<unknown[]> {
  const loader = new DataLoader(dataset, options);
  const seen: unknown[] = [];
  for (let epoch = 0; epoch < epochs; epoch++) for await (const batch of loader) seen.push((batch as Tensor[]).map((t) => t.toJSON()));
  return seen;
}

async function failure(run: () => Promise<unknown>): Promise<unknown> {
  return run().then(
    () => null,
    (error: unknown) => error,
  );
}

const items = { length: 8, get: () => [{ data: Float32Array.of(0), shape: [], dtype: 'float32' as const }] };

describe('workers', () => {
  test.each([1, 3])('%i threads make the batches, and the bits, of a loop without', async (count) => {
    const options = { batchSize: 4, shuffle: true, seed: 7 };
    const expected = await batches(options);
    expect(expected).toHaveLength(12);
    expect(await batches({ ...options, workers: { count, module: at('numbers') } })).toEqual(expected);
    expect(await batches({ ...options, prefetch: 0, workers: { count, module: at('numbers') } }, numbers, 1)).toEqual(expected.slice(0, 6));
  });

  test('threads make the part of a rank', async () => {
    const options = { batchSize: 4, shuffle: true, seed: 7, shard: { rank: 1, size: 2 } };
    const expected = await batches(options);
    expect(await batches({ ...options, workers: { count: 2, module: at('numbers') } })).toEqual(expected);
  });

  test('a dataset may compute with tensors before and after it waits', async () => {
    const rows: unknown[] = [];
    const loader = new DataLoader({ length: 6, get: () => [] } as AsyncDataset, {
      batchSize: 2,
      workers: { count: 1, module: at('computes') },
    });
    for await (const [x] of loader as AsyncIterable<Tensor[]>) rows.push(...(x!.toArray() as unknown[]));
    expect(rows).toEqual(Array.from({ length: 6 }, (_, i) => [3 * i, 3]));
  });

  test('leaving the loop ends the threads, and the loader resumes where it was', async () => {
    const options = { batchSize: 4, shuffle: true, seed: 7, workers: { count: 2, module: at('numbers').href } };
    const all = await batches({ ...options, workers: null }, numbers, 1);
    const before = memory().tensors;
    const terminate = vi.spyOn(Worker.prototype, 'terminate');
    const loader = new DataLoader(numbers, options);
    for await (const _ of loader) if (loader.position === 2) break;
    const failed = await failure(async () => {
      for await (const _ of loader) throw new Error('mine');
    });
    expect(failed).toEqual(new Error('mine'));
    // The threads of both loops have ended: 1 is the exit code of a thread that was terminated.
    expect(await Promise.all(terminate.mock.results.map(({ value }) => value as Promise<number>))).toEqual([1, 1, 1, 1]);
    terminate.mockRestore();
    expect(memory().tensors).toBeLessThanOrEqual(before);
    loader.loadStateDict({ ...loader.stateDict(), epoch: 0, position: 2 });
    const seen: unknown[] = [];
    for await (const batch of loader) seen.push((batch as Tensor[]).map((t) => t.toJSON()));
    expect(seen).toEqual(all.slice(2));
  });

  test('an error of a thread names the sample, and has the thread’s error as its cause', async () => {
    const loader = new DataLoader(items, { batchSize: 4, workers: { count: 2, module: at('fails') } });
    const seen: number[] = [];
    const error = await failure(async () => {
      for await (const [x] of loader) seen.push(x!.numel);
    });
    expect(seen).toEqual([4]);
    expect(error).toBeInstanceOf(WorkerError);
    expect((error as Error).message).toBe(`DataLoader: sample 5: no such picture (RangeError in a worker of ${at('fails').href})`);
    expect((error as Error).cause).toMatchObject({ name: 'RangeError', message: 'DataLoader: sample 5: no such picture' });
    expect(loader.position).toBe(1);
  });

  test('what a thread throws and is no error names the samples of its batch', async () => {
    const run = () => batches({ batchSize: 4, workers: { count: 1, module: at('throws-no-error') } }, items as AsyncDataset);
    const place = `a worker of ${at('throws-no-error').href}`;
    const message = `DataLoader: samples 4, 5, 6, 7: 'no such picture' was thrown, which is no error (Error in ${place})`;
    expect(await failure(run)).toEqual(new WorkerError(message));
  });

  test.each([
    ['exits', 'it ended with code 3'],
    ['throws', 'its module throws Error: no data here'],
    ['silent', 'its module does not call serveDataset'],
  ])('a thread that %s is reported', async (name, why) => {
    const run = () => batches({ workers: { count: 2, module: at(name) } }, items as AsyncDataset);
    expect(await failure(run)).toEqual(new WorkerError(`DataLoader: a worker of ${at(name).href} failed: ${why}`));
  });

  test('a thread whose dataset is another one is reported', async () => {
    const run = () => batches({ workers: { count: 1, module: at('numbers') } }, items as AsyncDataset);
    expect(String(await failure(run))).toContain(
      'the thread’s dataset has 23 samples, the loader’s 8; offer the same one'.replaceAll('’', "'"),
    );
  });

  test('wrong options, and loops that cannot wait, are refused', () => {
    const module = at('numbers');
    const make =
      (workers: unknown, more: object = {}) =>
      () =>
        new DataLoader(numbers, { workers, ...more } as never);
    expect(make({ count: 0, module })).toThrow(new ArgumentError('DataLoader: workers: count must be a whole number ≥ 1, got 0'));
    expect(make({ count: 1, module: './x.js' })).toThrow(
      new ArgumentError(
        "DataLoader: workers: module must be an absolute URL, such as new URL('./dataset.js', import.meta.url), got './x.js'",
      ),
    );
    expect(make({ count: 1, modul: module })).toThrow(/unknown option 'modul'/);
    expect(make({ count: 1, module }, { transform: (x: unknown) => x })).toThrow(/a worker cannot receive the function transform/);
    expect(make({ count: 1, module }, { prefetch: -1 })).toThrow(
      new ArgumentError('DataLoader: prefetch must be a whole number ≥ 0, got -1'),
    );
    const loader = new DataLoader(items, { workers: { count: 1, module } });
    expect(() => [...loader]).toThrow(
      new ArgumentError('DataLoader: with workers, a loop must wait for its batches; write for await (const batch of loader)'),
    );
    expect(() => serveDataset({ length: 1 } as never)).toThrow(/^serveDataset: a dataset has length/);
  });

  test('serveDataset does nothing on a main thread', () => {
    serveDataset(items);
    expect(loaderOf(items)).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
  });
});

const loaderOf = (dataset: typeof items): number[] => Array.from(new DataLoader(dataset), ([x]) => x!.item());

/** A small model on the numbers. */
class Small extends nn.Module {
  readonly linear = new nn.Linear(3, 3);

  forward(x: Tensor): Tensor {
    return this.linear.forward(x.to('float32'));
  }
}

test('a training run with workers ends with the bits of one without, also if it is stopped and resumed anywhere', async () => {
  const make = (workers: WorkerOptions | null): Fit => {
    manualSeed(3);
    const model = new Small();
    const optimizer = new SGD(model.parameters(), { lr: 0.01, momentum: 0.9 });
    const loader = new DataLoader(numbers as AsyncDataset<readonly [ArrayData, ArrayData]>, {
      batchSize: 6,
      shuffle: true,
      seed: 2,
      workers,
    });
    return fit(model, { loader, optimizer, loss: F.crossEntropy, epochs: 2 });
  };
  const weights = (run: Fit): unknown => run.model.parameters().map((p) => p.toJSON());
  const plain = make(null);
  await plain.finish();
  for (const stop of [1, 4, 5, 7]) {
    const first = make({ count: 2, module: at('numbers') });
    let events = 0;
    let bytes: Uint8Array | null = null;
    for await (const _ of first) {
      if (++events < stop) continue;
      bytes = checkpointToBytes({ first });
      break;
    }
    const second = make({ count: 1, module: at('numbers') });
    checkpointFromBytes(bytes!, { first: second });
    await second.finish();
    expect(weights(second)).toEqual(weights(plain));
  }
});

const PROGRAM = `
import { DataLoader, withTransform } from 'chainrule/data';
import { numbers } from './numbers-dataset.mjs';

const dataset = numbers(withTransform);
const options = { batchSize: 10, workers: { count: 2, module: new URL('./numbers.mjs', import.meta.url) } };
for await (const [x] of new DataLoader(dataset, options)) console.log(x.shape.join());
for await (const _ of new DataLoader(dataset, options)) break;
const iterator = new DataLoader(dataset, options)[Symbol.asyncIterator]();
await iterator.next();
console.log('end');
`;

test('a program with workers ends by itself, also with a loop that was dropped in the middle', () => {
  writeFileSync(join(project, 'program.mjs'), PROGRAM);
  const run = spawnSync(process.execPath, ['program.mjs'], { cwd: project, encoding: 'utf8', timeout: 100_000 });
  expect([run.stdout, run.stderr, run.status]).toEqual(['10,3\n10,3\n3,3\nend\n', '', 0]);
});

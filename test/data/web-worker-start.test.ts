import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Tensor, WorkerError } from 'chainrule';
import { type ArrayData, type AsyncItemDataset, DataLoader, type WebWorker } from 'chainrule/data';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { CHROMIUM, openPage, serveFolder, startChromium } from '../support/chromium.ts';
import { buildPage } from './build-page.ts';

// Web Workers that the caller starts: their module may call serveDataset late, or never.

const dataset: AsyncItemDataset<readonly [ArrayData]> = {
  length: 4,
  get: (index) => Promise.resolve([{ data: Float32Array.of(index), shape: [], dtype: 'float32' }] as const),
};

interface Message {
  readonly type: string;
  readonly id?: number;
  readonly draw?: { readonly indices: readonly number[] };
}

/** A Web Worker in this thread; `serve` answers its messages. A message that nothing answers is lost. */
class FakeWorker implements WebWorker {
  readonly received: string[] = [];
  isEnded = false;
  serve: ((message: Message) => void) | null = null;
  readonly #listeners: ((event: { readonly data?: unknown }) => void)[] = [];

  postMessage(message: unknown): void {
    this.received.push((message as Message).type);
    this.serve?.(message as Message);
  }

  addEventListener(type: 'message' | 'error', listen: (event: { readonly data?: unknown }) => void): void {
    if (type === 'message') this.#listeners.push(listen);
  }

  tell(data: unknown): void {
    queueMicrotask(() => this.#listeners.forEach((listen) => listen({ data })));
  }

  terminate(): void {
    this.isEnded = true;
  }

  /** What serveDataset does in a worker. */
  offer(): void {
    this.serve = ({ type, id, draw }) => {
      if (type === 'chainrule:hello') this.tell({ type: 'chainrule:ready' });
      if (type !== 'chainrule:draw') return;
      const data = Float32Array.from(draw!.indices);
      this.tell({ type: 'chainrule:items', id, items: [{ data, shape: [data.length], dtype: 'float32' }], error: null });
    };
    this.tell({ type: 'chainrule:ready' });
  }
}

async function epoch(worker: FakeWorker): Promise<number[]> {
  const loader = new DataLoader(dataset, { batchSize: 2, workers: { count: 1, module: () => worker } });
  const seen: number[] = [];
  for await (const [x] of loader) seen.push(...(x as Tensor).data());
  return seen;
}

describe('a Web Worker that the caller starts', () => {
  // Time goes on: a loop that takes long waits for a timer between batches.
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'], shouldAdvanceTime: true }));
  afterEach(() => void vi.useRealTimers());

  test('gets its first request when its module has called serveDataset', async () => {
    const worker = new FakeWorker();
    const result = epoch(worker);
    await vi.advanceTimersByTimeAsync(50_000);
    expect(worker.received).toEqual(['chainrule:hello']);
    worker.offer();
    expect(await result).toEqual([0, 1, 2, 3]);
    expect(worker.isEnded).toBe(true);
    // The limit is one of the start alone.
    expect(vi.getTimerCount()).toBe(0);
  });

  test('that has run already is asked', async () => {
    const worker = new FakeWorker();
    worker.offer();
    await vi.advanceTimersByTimeAsync(1);
    expect(await epoch(worker)).toEqual([0, 1, 2, 3]);
  });

  test('whose module never calls serveDataset is named, with the remedy', async () => {
    const worker = new FakeWorker();
    const caught = epoch(worker).catch((error: unknown) => error);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(await caught).toEqual(
      new WorkerError(
        'DataLoader: a worker failed: its module has not called serveDataset within 60 s; import { serveDataset } from ' +
          "'chainrule/data' in the module and call it with the dataset",
      ),
    );
    expect(worker.isEnded).toBe(true);
  });

  test('leaves no timer of another worker behind', async () => {
    const loader = new DataLoader(dataset, { batchSize: 2, workers: { count: 2, module: () => new FakeWorker() } });
    const iterator = loader[Symbol.asyncIterator]();
    const first = iterator.next().catch(() => null);
    await vi.advanceTimersByTimeAsync(0);
    expect(vi.getTimerCount()).toBe(2);
    await vi.advanceTimersByTimeAsync(60_000);
    await first;
    expect(vi.getTimerCount()).toBe(0);
  });
});

describe.skipIf(CHROMIUM === undefined)('in Chromium', () => {
  test('a module that waits before it calls serveDataset loses no request', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'chainrule-late-'));
    await buildPage(folder, 'late-page', 'late');
    const server = await serveFolder(folder);
    const browser = await startChromium();
    try {
      const { page, faults } = await openPage(browser, `${server.url}/`);
      expect(await page.evaluate('late()')).toEqual([0, 1, 2, 3]);
      expect(faults).toEqual([]);
    } finally {
      await browser.close();
      server.close();
      rmSync(folder, { recursive: true });
    }
  });
});

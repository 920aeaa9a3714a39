import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

// A page whose Content-Security-Policy forbids workers made from a Blob: one thread computes, and a warning says so once. Some browsers
// throw in the constructor of Worker, others fire an error event once the caller returns to its event loop.

const WARNING =
  'chainrule: no worker thread could start, so one thread computes. A Content-Security-Policy must allow worker-src blob:, ' +
  "Node's permission model --allow-worker; setNumThreads(1) does without workers";

function ThrowingWorker(): never {
  throw new DOMException('violates the Content Security Policy', 'SecurityError');
}

/** Stands for a worker whose program is never loaded. */
class SilentWorker extends EventTarget {
  static made: SilentWorker[] = [];
  stopped = false;

  constructor() {
    super();
    SilentWorker.made.push(this);
  }

  postMessage(): void {}

  terminate(): void {
    this.stopped = true;
  }
}

/** Loads the library as an isolated page's worker sees its platform: without Node's modules, with the given Worker. */
async function loadWith(worker: unknown): Promise<typeof import('../../src/index.ts')> {
  const node = process;
  vi.resetModules();
  const library = await import('../../src/index.ts');
  const { tuning } = await import('../../src/kernels/threads/pool.ts');
  tuning.leastWork = 0;
  vi.stubGlobal('process', new Proxy(node, { get: (of, name) => (name === 'getBuiltinModule' ? undefined : Reflect.get(of, name)) }));
  vi.stubGlobal('crossOriginIsolated', true);
  vi.stubGlobal('Worker', worker);
  return library;
}

const warn = vi.spyOn(console, 'warn');

beforeEach(() => {
  warn.mockReset().mockImplementation(() => {});
  SilentWorker.made = [];
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.resetModules();
});

describe('one thread computes, and a warning says so once', () => {
  test('where the constructor of Worker throws', async () => {
    const { getNumThreads, ones, setNumThreads } = await loadWith(ThrowingWorker);
    for (let again = 0; again < 2; again++) {
      setNumThreads(3);
      expect(getNumThreads()).toBe(3);
      for (let i = 0; i < 3; i++)
        expect(
          ones([64, 64])
            .matmul(ones([64, 64]))
            .sum()
            .item(),
        ).toBe(64 ** 3);
      expect(getNumThreads()).toBe(1);
    }
    expect(warn.mock.calls).toEqual([[WARNING]]);
  });

  test('where workers fire an error instead of starting', async () => {
    const { getNumThreads, ones, setNumThreads } = await loadWith(SilentWorker);
    for (let again = 0; again < 2; again++) {
      SilentWorker.made = [];
      setNumThreads(3);
      // Workers that have not started hold no work, so nothing waits for them.
      expect(
        ones([64, 64])
          .matmul(ones([64, 64]))
          .sum()
          .item(),
      ).toBe(64 ** 3);
      expect(SilentWorker.made.map((w) => w.stopped)).toEqual([false, false]);
      for (const worker of SilentWorker.made) worker.dispatchEvent(new Event('error'));
      expect(getNumThreads()).toBe(1);
      expect(SilentWorker.made.map((w) => w.stopped)).toEqual([true, true]);
      expect(
        ones([64, 64])
          .matmul(ones([64, 64]))
          .sum()
          .item(),
      ).toBe(64 ** 3);
      expect(SilentWorker.made).toHaveLength(2);
    }
    expect(warn.mock.calls).toEqual([[WARNING]]);
  });

  test('and none where the number of threads is one', async () => {
    const { getNumThreads, ones, setNumThreads } = await loadWith(ThrowingWorker);
    setNumThreads(1);
    expect(
      ones([64, 64])
        .matmul(ones([64, 64]))
        .sum()
        .item(),
    ).toBe(64 ** 3);
    expect(getNumThreads()).toBe(1);
    expect(warn).not.toHaveBeenCalled();
  });
});

/** Loops that wait, beside code that makes tensors and contains no loop. The tests run with and without task values. */
import { memory, ones, scoped, tensor, type Tensor } from 'chainrule';
import { DataLoader } from 'chainrule/data';
import { describe, expect, test } from 'vitest';

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Fails if there are more tensors than before. There may be fewer, as earlier tests leave tensors to the garbage collector, which frees them at any time. */
export function expectNoMoreTensors(before: number): void {
  expect(memory().tensors).toBeLessThanOrEqual(before);
}

const dataset = { length: 6, get: (i: number) => [tensor([i, i])] as const };
const loader = (): DataLoader<readonly [Tensor]> => new DataLoader(dataset, { batchSize: 2 });

/** Loops whose bodies make tensors before and after they wait for `pause`. */
const LOOPS: Readonly<Record<string, (pause: () => Promise<unknown>) => Promise<void>>> = {
  'for await … of a loader': async (pause) => {
    for await (const [x] of loader()) {
      x.exp();
      await pause();
      x.exp();
    }
  },
  'for … of a loader': async (pause) => {
    for (const [x] of loader()) {
      x.shape.at(0);
      ones([2]).exp();
      await pause();
      ones([2]).exp();
    }
  },
  'for await … of scoped': async (pause) => {
    for await (const i of scoped(3)) {
      ones([2]).mul(i);
      await pause();
      ones([2]).mul(i);
    }
  },
  'for … of scoped': async (pause) => {
    for (const i of scoped(3)) {
      ones([2]).mul(i);
      await pause();
      ones([2]).mul(i);
    }
  },
  'a wait before the first tensor': async (pause) => {
    for await (const i of scoped(3)) {
      await pause();
      ones([2]).mul(i);
    }
  },
  'loops in loops': async (pause) => {
    for await (const [x] of loader()) {
      for await (const i of scoped(2)) {
        x.mul(i);
        await pause();
        for (const j of scoped(2)) x.mul(j);
      }
      x.exp();
    }
  },
};

const PAUSES: Readonly<Record<string, () => Promise<unknown>>> = { 'a timer': () => sleep(2), 'a microtask': () => Promise.resolve() };

/** Expects that every tensor still has its memory. */
function expectAlive(made: readonly Tensor[]): void {
  expect(made.length).toBeGreaterThan(0);
  for (const t of made) expect(t.toArray()).toEqual([2, 2]);
  for (const t of made) t.dispose();
}

const make = (): Tensor => ones([2]).mul(2);

/** Declares the tests that hold on every platform. */
export function testInnocentCode(): void {
  const cases = Object.keys(LOOPS).flatMap((loop) => Object.keys(PAUSES).map((pause) => [loop, pause] as const));
  describe.each(cases)('%s that waits for %s', (name, pause) => {
    const run = (): Promise<void> => LOOPS[name]!(PAUSES[pause]!);

    test('takes nothing from an event handler', async () => {
      const made: Tensor[] = [];
      const before = setInterval(() => void made.push(make()), 1);
      const loop = run();
      const after = setInterval(() => void made.push(make()), 1);
      await loop;
      await sleep(5);
      clearInterval(before);
      clearInterval(after);
      expectAlive(made);
    });

    test('takes nothing from the code that called the function', async () => {
      const loop = run();
      const made = [make()];
      await loop;
      made.push(make());
      expectAlive(made);
    });

    test('takes nothing from another task', async () => {
      const made: Tensor[] = [];
      const predict = async (): Promise<void> => {
        for (let i = 0; i < 30; i++) {
          made.push(make());
          await Promise.resolve();
        }
      };
      const first = predict();
      const loop = run();
      await Promise.all([first, loop, predict()]);
      expectAlive(made);
    });
  });

  test('an iteration of for await that does not wait frees what it made', async () => {
    const counts: number[] = [];
    for await (const [x] of loader()) {
      x.exp().mul(2);
      counts.push(memory().tensors);
    }
    for (const count of counts.slice(1)) expect(count).toBeLessThanOrEqual(counts[0]!);
  });

  test('two loops run side by side', async () => {
    const sums = [0, 0];
    const run = async (k: 0 | 1): Promise<void> => {
      for await (const [x] of loader()) {
        sums[k]! += x.sum().item();
        await Promise.resolve();
        sums[k]! += x.sum().item();
      }
    };
    await Promise.all([run(0), run(1)]);
    expect(sums).toEqual([60, 60]);
  });

  test('the loop itself keeps its batch until its iteration ends', async () => {
    let last: Tensor | null = null;
    for await (const [x] of loader()) {
      await sleep(1);
      expect(x.toArray()).toHaveLength(2);
      last = x;
    }
    expect(() => last!.toArray()).toThrow('was freed at the end of its iteration');
  });

  test('break and errors end the loop, and the source with it', async () => {
    const ended: string[] = [];
    function* source(): Generator<number> {
      try {
        yield 1;
        yield 2;
      } finally {
        ended.push('source');
      }
    }
    const before = memory().tensors;
    for await (const i of scoped(source())) {
      ones([2]).mul(i);
      break;
    }
    await expect(
      (async () => {
        for await (const i of scoped(source())) throw new Error(`mine ${i}`);
      })(),
    ).rejects.toThrow('mine 1');
    expect(ended).toEqual(['source', 'source']);
    expectNoMoreTensors(before);
  });

  test('a source that throws rejects, and leaves nothing', async () => {
    const before = memory().tensors;
    const broken = new DataLoader({
      length: 2,
      get: () =>
        [
          ones([2]),
          (() => {
            throw new Error('damaged');
          })(),
        ] as never,
    });
    const it = broken[Symbol.asyncIterator]();
    await expect(it.next()).rejects.toThrow('damaged');
    expect(await it.next()).toEqual({ done: true, value: undefined });
    expectNoMoreTensors(before);
  });
}

/**
 * Loops as users write them, which must not leak memory.
 */
import { manualSeed, memory, ones, randn, ReleasedError, ScopeError, scope, scoped, tensor, type Tensor, zeros, zip } from 'chainrule';
import { DataLoader, syntheticCifar } from 'chainrule/data';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import * as optim from 'chainrule/optim';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

function makeNet() {
  manualSeed(5);
  const model = new nn.Sequential(
    new nn.Conv2d(3, 4, 3, { stride: 2, bias: false }),
    new nn.BatchNorm2d(4),
    new nn.ReLU(),
    new nn.SqueezeExcite(4, { reduction: 2 }),
    new nn.AdaptiveAvgPool2d(1),
    new nn.Flatten(),
    new nn.Linear(4, 10),
  );
  const optimizer = new optim.SGD(model.parameters(), { lr: 0.01, momentum: 0.9, nesterov: true, weightDecay: 5e-4 });
  const dispose = () => [model, optimizer].forEach((x) => x.dispose());
  return { model, optimizer, dispose };
}

const mean = tensor([0.5, 0.4, 0.3], { shape: [3, 1, 1] }).keep();
const std = tensor([0.2, 0.3, 0.4], { shape: [3, 1, 1] }).keep();
const dataset = syntheticCifar({ length: 40, seed: 1 });
const makeLoader = () => new DataLoader(dataset, { batchSize: 4, shuffle: true });

let net: ReturnType<typeof makeNet>;
let before: number;
beforeEach(() => {
  before = memory().tensors;
  net = makeNet();
});
afterEach(() => {
  net.dispose();
  expect(memory().tensors).toBe(before);
});

/** Records `memory()` after each step. From the third step on, all reports must be equal. */
function expectSteady(reports: readonly unknown[]): void {
  expect(reports.length).toBeGreaterThanOrEqual(8);
  for (const report of reports.slice(3)) expect(report).toEqual(reports[2]);
}

/** Returns live bytes and tensors outside all loops. They must be equal before and after a loop, however it ends. */
const live = () => ({ bytes: memory().bytes, tensors: memory().tensors });

/** Does a training step, in tests of other aspects of loops. */
function trainStep(x: Tensor, y: Tensor): Tensor {
  const loss = F.crossEntropy(net.model.forward(x), y);
  net.optimizer.zeroGrad();
  loss.backward();
  net.optimizer.step();
  return loss;
}

/** Makes the gradients and all else that a first step allocates, so that later reports can be compared. */
function warmUp(): void {
  for (const [x, y] of makeLoader()) {
    trainStep(x, y);
    break;
  }
}

const freed = (what: string) =>
  new ReleasedError(
    `${what} was freed at the end of its iteration of a scoped loop. keep() it, or accumulate in place into a tensor made ` +
      'before the loop (total.add_(x)); for a cache inside a module: nn.buffer(t, { persistent: false })',
  );

describe('the loop of the README', () => {
  test('does not leak', () => {
    const { model, optimizer } = net;
    const loader = makeLoader();
    const inside: unknown[] = [];
    const zero = zeros([]);
    let correct = 0;
    let total = zero;
    for (const [x, y] of loader) {
      const logits = model.forward(x.sub(mean).div(std));
      const loss = F.crossEntropy(logits, y);
      optimizer.zeroGrad();
      loss.backward();
      optimizer.step();
      correct += logits.argmax(1).eq(y).sum().item();
      total = total.add(loss.detach());
      inside.push(memory());
    }
    expectSteady(inside);
    expect(correct).toBeLessThanOrEqual(40);
    expect(total.item()).toBeGreaterThan(10);
    zero.dispose();
  });

  test('the sum of detached losses is the sum of their values', () => {
    const zero = zeros([], { dtype: 'float64' });
    let total = zero;
    let expected = 0;
    for (const step of scoped(10)) {
      const w = tensor([step], { dtype: 'float64', requiresGrad: true });
      const loss = w.mul(w).sum();
      loss.backward();
      total = total.add(loss.detach());
      expected += loss.item();
    }
    expect(total.item()).toBe(expected);
    expect(expected).toBe(285);
    zero.dispose();
  });

  test('a sum of losses with their graphs throws where it would lose a gradient', () => {
    const w = tensor([2], { requiresGrad: true }).keep();
    const zero = zeros([]);
    let total = zero;
    expect(() => {
      for (const _ of scoped(3)) total = total.add(w.mul(w).sum());
    }).toThrow(freed('a tensor []'));
    w.dispose();
    zero.dispose();
  });
});

describe('other loops do not leak either', () => {
  test('evaluation without noGrad inside the loop', () => {
    const reports: unknown[] = [];
    const valid = makeLoader().first();
    for (const [x, y] of makeLoader()) {
      trainStep(x, y);
      expect(net.model.forward(valid[0]).argmax(1).eq(valid[1]).sum().item()).toBeLessThanOrEqual(4);
      reports.push(memory());
    }
    expectSteady(reports);
    for (const t of valid) t.dispose();
  });

  test('an unused head, before and after backward', () => {
    const reports: unknown[] = [];
    for (const [x, y] of makeLoader()) {
      const head = net.model.forward(x).exp();
      trainStep(x, y);
      net.model.forward(x).add(head.detach()).log();
      reports.push(memory());
    }
    expectSteady(reports);
  });

  test('a head on a graph that backward has consumed', () => {
    const reports: unknown[] = [];
    for (const [x, y] of makeLoader()) {
      const logits = net.model.forward(x);
      const entropy = logits.softmax(1).mul(logits.logSoftmax(1)).sum();
      F.crossEntropy(logits, y).backward();
      expect(entropy.item()).toBeLessThan(0);
      net.optimizer.step();
      net.optimizer.zeroGrad();
      reports.push(memory());
    }
    expectSteady(reports);
  });

  test('a loss without backward', () => {
    const reports: unknown[] = [];
    for (const [x, y] of makeLoader()) {
      F.crossEntropy(net.model.forward(x), y);
      reports.push(memory());
    }
    expectSteady(reports);
  });

  test('break', () => {
    warmUp();
    const start = live();
    for (const [x, y] of makeLoader()) {
      const loss = trainStep(x, y);
      net.model.forward(x);
      if (loss.item() > 0) break;
    }
    expect(live()).toEqual(start);
    (() => {
      for (const [x] of makeLoader()) return net.model.forward(x).shape;
      return null;
    })();
    expect(live()).toEqual(start);
  });

  test('errors thrown by the body and by an operation', () => {
    warmUp();
    const start = live();
    const loader = makeLoader();
    expect(() => {
      for (const [x] of loader) {
        net.model.forward(x);
        throw new Error('mine');
      }
    }).toThrow('mine');
    expect(live()).toEqual(start);
    expect(() => {
      for (const [x] of loader) net.model.forward(x.sum(1));
    }).toThrow('conv2d');
    expect(live()).toEqual(start);
    for (const [x, y] of loader) trainStep(x, y);
    expect(live()).toEqual(start);
  });

  test('a dataset that throws', () => {
    warmUp();
    const start = live();
    const broken = new DataLoader({
      length: 3,
      get: (index) => {
        tensor([1]);
        if (index === 1) throw new Error('damaged');
        return [tensor([index])] as const;
      },
    });
    expect(() => {
      for (const [x] of broken) x.exp();
    }).toThrow('damaged');
    expect(live()).toEqual(start);
  });

  test('a loop without a loader, under scoped', () => {
    const reports: unknown[] = [];
    for (const step of scoped(10)) {
      trainStep(randn([4, 3, 32, 32]), tensor([step % 10, 1, 2, 3], { dtype: 'int32' }));
      ones([100]).mul(step);
      reports.push(memory());
    }
    expectSteady(reports);
    const list = [1, 2, 3, 4, 5, 6, 7, 8];
    const lists: unknown[] = [];
    for (const v of scoped(list)) {
      ones([1000]).mul(v);
      lists.push(memory());
    }
    expectSteady(lists);
  });

  test('nested loops', () => {
    const reports: unknown[] = [];
    const valid = new DataLoader(dataset, { batchSize: 20 });
    for (const [x, y] of makeLoader()) {
      trainStep(x, y);
      let right = zeros([], { dtype: 'int32' });
      for (const [vx, vy] of valid) right = right.add(net.model.forward(vx).argmax(1).eq(vy).sum());
      expect(right.item()).toBeLessThanOrEqual(40);
      for (const _ of scoped(2)) {
        net.model.forward(x);
        if (y.numel > 0) break;
      }
      reports.push(memory());
    }
    expectSteady(reports);
  });

  test('break out of two loops', () => {
    warmUp();
    const start = live();
    outer: for (const [x] of makeLoader()) {
      for (const _ of scoped(3)) {
        net.model.forward(x);
        break outer;
      }
    }
    expect(live()).toEqual(start);
  });

  test('zip', () => {
    const reports: unknown[] = [];
    const other = new DataLoader(dataset, { batchSize: 4, seed: 3, shuffle: true });
    for (const [[x, y], [u]] of zip(makeLoader(), other)) {
      trainStep(x.add(u), y);
      reports.push(memory());
    }
    expectSteady(reports);
  });

  test('for await', async () => {
    const reports: unknown[] = [];
    for await (const [x, y] of makeLoader()) {
      trainStep(x, y);
      await Promise.resolve();
      net.model.forward(x);
      reports.push(memory());
    }
    expectSteady(reports);
    const start = live();
    for await (const [x] of makeLoader()) {
      net.model.forward(x);
      break;
    }
    await expect(
      (async () => {
        for await (const [x] of makeLoader()) throw new Error(`mine ${x.shape}`);
      })(),
    ).rejects.toThrow('mine 4,3,32,32');
    expect(live()).toEqual(start);
  });
});

describe('a tensor made in an iteration', () => {
  test('is released afterwards, and reading it throws', () => {
    const left: Tensor[] = [];
    for (const [x] of makeLoader()) {
      if (left.length > 0) expect(() => left[0]!.data()).toThrow(freed('a tensor [4,3,32,32]'));
      const logits = net.model.forward(x);
      logits.label = 'logits';
      left.push(x, logits);
    }
    expect(() => left[0]!.add(1)).toThrow(freed('a tensor [4,3,32,32]'));
    expect(() => left[1]!.toArray()).toThrow(freed("'logits' [4,10]"));
    expect(() => left[1]!.keep()).toThrow(ReleasedError);
  });

  test('survives if it is kept; numbers and tensors made outside survive too', () => {
    const kept: Tensor[] = [];
    const values: Tensor[] = [];
    const confusion = zeros([10]);
    for (const [x, y] of makeLoader()) {
      kept.push(y.keep());
      confusion.add_(ones([10]));
      values.push(trainStep(x, y));
    }
    expect(kept.flatMap((y) => [...y.data()])).toHaveLength(40);
    expect(confusion.toArray()).toEqual(new Array(10).fill(10));
    expect(values.every((loss) => loss.item() > 0)).toBe(true);
    for (const t of [confusion, ...kept]) t.dispose();
  });

  test('belongs to the iteration if a scope within it returned it', () => {
    const start = live();
    for (const step of scoped(3)) {
      const y = scope(() => ones([3]).mul(step));
      expect(y.toArray()).toEqual([step, step, step]);
    }
    expect(live()).toEqual(start);
  });
});

describe('overlapping loops', () => {
  const overlap = new ScopeError(
    'scoped loop: two scoped loops run at the same time, and one began an iteration inside the other’s. ' +
      'Run them one after the other, or walk both in one loop with zip(a, b)',
  );

  test('two asynchronous loops do not disturb each other', async () => {
    const start = live();
    const seen = [0, 0];
    const run = async (which: 0 | 1) => {
      for await (const [x] of makeLoader()) {
        x.exp();
        await Promise.resolve();
        x.exp();
        seen[which]!++;
      }
    };
    await Promise.all([run(0), run(1)]);
    expect(seen).toEqual([10, 10]);
    expect(live()).toEqual(start);
  });

  test('two iterators called by hand', () => {
    const start = live();
    const a = makeLoader()[Symbol.iterator]();
    const b = makeLoader()[Symbol.iterator]();
    a.next();
    const [x] = b.next().value;
    expect(() => a.next()).toThrow(overlap);
    expect(a.next()).toEqual({ done: true, value: undefined });
    expect(x.exp().shape).toEqual([4, 3, 32, 32]);
    expect(b.next().done).toBe(false);
    b.return!();
    expect(live()).toEqual(start);
  });

  test('two iterators called by hand in a scope, which ends and frees all', () => {
    const start = live();
    scope(() => {
      const [a, b] = [scoped(2), scoped(2)];
      a.next();
      b.next();
      expect(() => a.next()).toThrow(overlap);
      b.return!();
      ones([3]).mul(2);
    });
    expect(live()).toEqual(start);
  });

  test('a loop that outlives its enclosing scope', () => {
    const start = live();
    const it = scope(() => {
      const inner = { it: makeLoader()[Symbol.iterator]() };
      inner.it.next();
      return inner;
    }).it;
    expect(() => it.next()).toThrow(
      new ScopeError('scoped loop: the scope around this loop has ended before the loop did. Finish the loop inside it'),
    );
    expect(live()).toEqual(start);
  });
});

describe('the iterator of the source', () => {
  /** Counts calls of return(); the source throws in place of the value `failsAt`. */
  function counted(failsAt = Infinity): { source: Iterable<number>; returns: () => number } {
    let returns = 0;
    let next = 0;
    const iterator: Iterator<number> = {
      next() {
        if (next === failsAt) throw new Error('the source failed');
        return next < 3 ? { done: false, value: next++ } : { done: true, value: undefined };
      },
      return() {
        returns++;
        return { done: true, value: undefined };
      },
    };
    return { source: { [Symbol.iterator]: () => iterator }, returns: () => returns };
  }

  test('is returned once by a break, and not at all where it has ended or thrown', async () => {
    for (const [end, returned] of [
      [1, 1],
      [Infinity, 0],
    ] as const) {
      const [a, b] = [counted(), counted()];
      for (const v of scoped(a.source)) if (v === end) break;
      for await (const v of scoped(b.source)) if (v === end) break;
      expect([a.returns(), b.returns()]).toEqual([returned, returned]);
    }
    const [a, b] = [counted(1), counted(1)];
    expect(() => [...scoped(a.source)]).toThrow('the source failed');
    const walk = async (): Promise<void> => {
      for await (const v of scoped(b.source)) expect(v).toBe(0);
    };
    await expect(walk()).rejects.toThrow('the source failed');
    expect([a.returns(), b.returns()]).toEqual([0, 0]);
  });

  test('needs no return()', async () => {
    const plain = (): Iterable<number> => {
      const { next } = counted().source[Symbol.iterator]();
      return { [Symbol.iterator]: () => ({ next }) };
    };
    for (const v of scoped(plain())) if (v === 1) break;
    for await (const v of scoped(plain())) if (v === 1) break;
  });

  test('an iterator of for await is iterable, and ends by return()', async () => {
    const steps = scoped(counted().source)[Symbol.asyncIterator]();
    for await (const v of steps) if (v === 1) break;
    expect(await steps.next()).toEqual({ done: true, value: undefined });
    const others = scoped(counted().source)[Symbol.asyncIterator]();
    expect([await others.next(), await others.return!()]).toEqual([
      { done: false, value: 0 },
      { done: true, value: undefined },
    ]);
  });
});

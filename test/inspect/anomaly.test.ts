import { runInNewContext } from 'node:vm';
import { spawnSync } from 'node:child_process';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test } from 'vitest';
import {
  AnomalyError,
  ArgumentError,
  type Tensor,
  detectAnomaly,
  grad,
  manualSeed,
  memory,
  profile,
  randn,
  scope,
  tensor,
} from 'chainrule';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import { ITEM_SIZE, isFloat } from '../../src/core/dtype.ts';
import { formatShape } from '../../src/core/shape.ts';
import { addInstrumentation, type Instrumentation } from '../../src/autograd/instrumentation.ts';
import { anomalies } from '../../src/inspect/anomaly.ts';
import { viewOf } from '../../src/kernels/memory/wasm-memory.ts';
import { addressOf, type View } from '../../src/kernels/view.ts';

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

afterEach(() => detectAnomaly(false));

/** Returns the message that `fn` throws, with this file's path as `here` and lines and columns as L:C. */
function anomaly(fn: () => void): string {
  try {
    fn();
  } catch (e) {
    if (!(e instanceof AnomalyError)) throw e;
    return e.message.replaceAll(/\S*anomaly\.test\.ts:\d+:\d+/g, 'here:L:C');
  }
  throw new Error('nothing was thrown');
}

/** Returns the line of this file that a message names. */
function lineOf(message: string): number {
  return Number(/called at \S*anomaly\.test\.ts:(\d+):\d+$/.exec(message)?.[1]);
}

describe('detectAnomaly', () => {
  test('names a forward, its values, and the line', () => {
    const x = tensor([0, 1, 2], { label: 'x' });
    expect(anomaly(() => detectAnomaly(() => x.mul(2).log()))).toBe(
      'log: forward made 1 of 3 values not finite\n' +
        '  result float32 [3]: min 0.69315, max 1.3863, mean 1.0397, 1 infinite\n' +
        '  argument 0 float32 [3]: min 0, max 4, mean 2\n' +
        '  called at here:L:C',
    );
    expect(anomaly(() => detectAnomaly(() => x.mul(tensor([NaN, Infinity, 1], { dtype: 'float64' }))))).toBe(
      'mul: forward made 2 of 3 values not finite\n' +
        '  result float64 [3]: min 2, max 2, mean 2, 1 NaN, 1 infinite\n' +
        '  argument 0 float64 [3]: min 0, max 2, mean 1\n' +
        '  argument 1 float64 [3]: min 1, max 1, mean 1, 1 NaN, 1 infinite\n' +
        '  called at here:L:C',
    );
  });

  test('names a backward, and the line of the forward that recorded it', () => {
    const x = tensor([0, 1, 4], { requiresGrad: true });
    expect(anomaly(() => detectAnomaly(() => x.mul(1).sqrt().sum().backward()))).toBe(
      'sqrt: backward made 1 of 3 values not finite\n' +
        '  gradient of argument 0 float32 [3]: min 0.25, max 0.5, mean 0.375, 1 infinite\n' +
        '  gradient of the result float32 [3]: min 1, max 1, mean 1\n' +
        '  saved y float32 [3]: min 0, max 2, mean 1\n' +
        '  its forward was called at here:L:C',
    );
    expect(x.grad).toBeNull();
  });

  test('names a gradient that was passed in, in first and second order', () => {
    const x = tensor([1, 2], { requiresGrad: true });
    const text = (op: string, value: string): string =>
      `${op}: the gradient that reached it (given, from a hook, or a sum) has 2 of 2 values not finite\n` +
      '  gradient float32 [2]: no finite value, 2 infinite\n' +
      `  value float32 [2]: ${value}`;
    const hooked = anomaly(() =>
      detectAnomaly(() => {
        const y = x.mul(2);
        y.registerHook((g) => g.mul(Infinity));
        y.sum().backward();
      }),
    );
    expect(hooked).toBe(`${text('mul', 'min 2, max 4, mean 3')}\n  its forward was called at here:L:C`);
    const y = x.mul(3);
    expect(anomaly(() => detectAnomaly(() => y.backward(tensor([Infinity, Infinity]))))).toBe(text('mul', 'min 3, max 6, mean 4.5'));
    const second = anomaly(() =>
      detectAnomaly(() => {
        const g = grad(x.sub(1).pow(1.5).sum(), x, { createGraph: true });
        g.sum().backward();
      }),
    );
    expect(second).toMatch(/^pow: backward made 1 of 2 values not finite\n/);
  });

  test('reads values in any layout, freed and of every dtype', () => {
    const x = tensor(
      [
        [1, 2],
        [3, NaN],
      ],
      { dtype: 'float64' },
    );
    expect(detectAnomaly(() => x.slice(1, 0, 1).expand([2, 2]).sum().item())).toBe(8);
    expect(anomaly(() => detectAnomaly(() => x.transpose(0, 1)))).toContain('result float64 [2,2]: min 1, max 3, mean 2, 1 NaN');
    expect(anomaly(() => detectAnomaly(() => x.select(1, 1)))).toMatch(/^slice: forward made 1 of 2 values not finite\n/);
    expect(detectAnomaly(() => x.isnan().sum().item())).toBe(1);
    expect(detectAnomaly(() => tensor([]).mul(2).numel)).toBe(0);
  });

  test('names the module in forward and backward', () => {
    const net = new nn.Sequential(new nn.Identity(), new nn.Sequential(new Root()));
    expect(anomaly(() => detectAnomaly(() => void net.forward(tensor([-1]))))).toMatch(/^1\.0 \(Root\): sqrt: forward made 1 of 1 values/);
    const backward = anomaly(() => detectAnomaly(() => net.forward(tensor([0], { requiresGrad: true })).backward()));
    expect(backward).toMatch(/^1\.0 \(Root\): sqrt: backward made 1 of 1 values/);
  });

  test('is off before and after, and after a throw', () => {
    const x = tensor([0]);
    expect(x.log().item()).toBe(-Infinity);
    expect(detectAnomaly(() => 7)).toBe(7);
    expect(() => detectAnomaly(() => x.log())).toThrow(AnomalyError);
    expect(x.log().item()).toBe(-Infinity);
    detectAnomaly(true);
    expect(() => x.log()).toThrow(AnomalyError);
    detectAnomaly(() => x.add(1));
    expect(() => x.log()).toThrow(AnomalyError);
    detectAnomaly(false);
    expect(x.log().item()).toBe(-Infinity);
  });

  test('checks inside profile, which measures inside the check', () => {
    const x = tensor([0, 1], { requiresGrad: true });
    const forward = 'log: forward made 1 of 2 values not finite';
    const backward = 'sqrt: backward made 1 of 2 values not finite';
    expect(anomaly(() => detectAnomaly(() => profile(() => x.log())))).toContain(forward);
    expect(anomaly(() => profile(() => detectAnomaly(() => x.log())))).toContain(forward);
    expect(anomaly(() => detectAnomaly(() => profile(() => x.sqrt().sum().backward())))).toContain(backward);
    expect(anomaly(() => profile(() => detectAnomaly(() => x.sqrt().sum().backward())))).toContain(backward);
    const { rows } = detectAnomaly(() => profile(() => x.exp().sum().backward()));
    const inner = profile(() => detectAnomaly(() => x.exp().sum().backward())).rows;
    for (const of of [rows, inner]) {
      expect(of.map((r) => `${r.phase} ${r.op} ${r.calls}`).sort()).toEqual([
        'backward exp 1',
        'backward sum 1',
        'forward exp 1',
        'forward sum 1',
      ]);
    }
    // A profile inside a profile leaves the outer one whole.
    const outer = profile(() => profile(() => x.exp()));
    expect([outer.rows.length, outer.value.rows.length]).toEqual([1, 1]);
    // All of them have ended.
    expect(x.log().toArray()).toEqual([-Infinity, 0]);
  });

  test('switched within a function, it ends with the function', () => {
    const x = tensor([0]);
    detectAnomaly(() => detectAnomaly(true));
    expect(x.log().item()).toBe(-Infinity);
    expect(detectAnomaly(() => (detectAnomaly(false), x.log().item()))).toBe(-Infinity);
    detectAnomaly(true);
    detectAnomaly(() => detectAnomaly(false));
    expect(() => x.log()).toThrow(AnomalyError);
  });

  test.each([
    ['a Promise', async () => 1],
    ['a Promise', () => runInNewContext('Promise.resolve()')],
    ['an iterator', function* () {}],
    ['an iterator', async function* () {}],
  ] as [string, () => unknown][])('rejects a function that returns %s', (what, fn) => {
    expect(() => detectAnomaly(fn)).toThrow(
      new ArgumentError(
        `detectAnomaly: the function returned ${what}, whose work would run unchecked. Use detectAnomaly(true) and detectAnomaly(false) around it`,
      ),
    );
  });

  test('changes neither memory nor gradients', () => {
    const x = tensor([0, 1], { requiresGrad: true });
    scope(() => x.mul(2).sum().backward());
    const [before, was] = [memory(), x.grad!.toArray()];
    expect(() => scope(() => detectAnomaly(() => x.log()))).toThrow(AnomalyError);
    expect(() => scope(() => detectAnomaly(() => x.sqrt().sum().backward()))).toThrow(AnomalyError);
    expect([memory().bytes, memory().tensors, x.grad!.toArray()]).toEqual([before.bytes, before.tensors, was]);
  });

  /** Runs a program of its own with the given value of CHAINRULE_ANOMALY. */
  const runProgram = (code: string, CHAINRULE_ANOMALY: string) =>
    spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', code], {
      cwd: root,
      encoding: 'utf8',
      env: { ...process.env, CHAINRULE_ANOMALY },
    });

  test('CHAINRULE_ANOMALY=1 switches it on', () => {
    const code = "import { tensor } from './src/index.ts'; tensor([0]).log();";
    expect(runProgram(code, '1').stderr).toContain('AnomalyError: log: forward made 1 of 1 values not finite');
    expect(runProgram(code, '0').stderr).toBe('');
  });

  test('CHAINRULE_ANOMALY=1 trains the same weights', () => {
    const code = `
      import { createHash } from 'node:crypto';
      import { manualSeed, randint, randn, scoped } from './src/index.ts';
      import * as nn from './src/nn/index.ts';
      import * as F from './src/nn/functional.ts';
      import { SGD } from './src/optim/index.ts';
      manualSeed(1);
      const conv = (from, to) => new nn.Conv2d(from, to, 3, { padding: 1, bias: false });
      const head = [new nn.SqueezeExcite(8, { reduction: 4 }), new nn.AdaptiveAvgPool2d(1), new nn.Flatten(), new nn.Linear(8, 4)];
      const model = new nn.Sequential(conv(3, 8), new nn.BatchNorm2d(8), new nn.ReLU(), conv(8, 8), new nn.BatchNorm2d(8), new nn.ReLU(), ...head);
      const optimizer = new SGD(model.parameters(), { lr: 0.1, momentum: 0.9 });
      for (const _ of scoped(4)) {
        optimizer.zeroGrad();
        F.crossEntropy(model.forward(randn([4, 3, 8, 8])), randint(0, 4, [4])).backward();
        optimizer.step();
      }
      const hash = createHash('sha256');
      for (const t of Object.values(model.stateDict())) hash.update(t.data());
      console.log(hash.digest('hex'));`;
    const [without, checked] = ['0', '1'].map((anomaly) => runProgram(code, anomaly));
    expect(without!.stderr).toBe('');
    expect(checked!.stdout).toBe(without!.stdout);
    expect(without!.stdout).toMatch(/^[0-9a-f]{64}\n$/);
  });
});

class Root extends nn.Module {
  forward(x: Tensor): Tensor {
    return x.sqrt();
  }
}

// — a NaN at every operation of the SE-CNN —

function stage(from: number, to: number): nn.Layer[] {
  const conv = new nn.Conv2d(from, to, 3, { padding: 1, bias: false });
  return [conv, new nn.BatchNorm2d(to), new nn.ReLU(), new nn.SqueezeExcite(to, { reduction: 2 })];
}

/** Makes a new small SE-CNN, as the last one may have a NaN in its parameters' memory. */
function seCnn(): nn.Sequential {
  manualSeed(3);
  const pool = (): nn.Layer => new nn.MaxPool2d(2);
  const head = [new nn.AdaptiveAvgPool2d(1), new nn.Flatten(), new nn.Linear(4, 3)];
  return new nn.Sequential(...stage(3, 2), pool(), ...stage(2, 4), pool(), ...head);
}

let called = 0;

/** Records the line it is called from in the form that stacks have here, as the code has been transformed. */
function noteLine<T>(value: T): T {
  called = Number(/anomaly\.test\.ts:(\d+):\d+/.exec(new Error('line').stack!.split('\n')[2]!)?.[1]);
  return value;
}

/** A whole training step as a module. */
class Criterion extends nn.Module {
  readonly net = seCnn();

  forward(x: Tensor, classes: Tensor): Tensor {
    return F.crossEntropy(this.net.forward(x), noteLine(classes));
  }
}

function poison(v: View): void {
  viewOf(v.dtype)[addressOf(v) / ITEM_SIZE[v.dtype]] = NaN;
}

/** The anomaly detector, with a NaN written into the k-th result of a forward or gradient of a backward. */
class Poisoner implements Instrumentation {
  readonly recorded = anomalies.recorded;
  readonly #phase: 'forward' | 'backward';
  readonly #k: number;
  /** The results or gradients seen, in order. */
  readonly seen: string[] = [];

  constructor(phase: 'forward' | 'backward', k: number) {
    this.#phase = phase;
    this.#k = k;
  }

  #visit(phase: 'forward' | 'backward', what: string, v: View): void {
    if (phase !== this.#phase || !isFloat(v.dtype)) return;
    if (this.seen.push(`${what} ${formatShape(v.shape)}`) === this.#k) poison(v);
  }

  computed(...[op, args, results, insideBackward]: Parameters<Instrumentation['computed']>): void {
    if (insideBackward) return;
    for (const v of results) this.#visit('forward', op.name, v);
    anomalies.computed(op, args, results, insideBackward);
  }

  visited(...[node, g, grads]: Parameters<Instrumentation['visited']>): void {
    // Skips gradients that are the incoming one or a view of it: the detector would blame the incoming gradient.
    for (const x of grads) if (x !== null && x.storage !== g.storage) this.#visit('backward', node.name, x);
    anomalies.visited(node, g, grads);
  }
}

/** Runs the net with a NaN at position k; returns the detector's message, or null if there is no such position. */
function poisoned(phase: 'forward' | 'backward', k: number): { seen: readonly string[]; message: string | null } {
  const poisoner = new Poisoner(phase, k);
  const net = new Criterion();
  const [x, classes] = [randn([2, 3, 4, 4]), tensor([0, 2], { dtype: 'int32' })];
  const stop = addInstrumentation(poisoner);
  try {
    scope(() => net.forward(x, classes).backward());
    return { seen: poisoner.seen, message: null };
  } catch (e) {
    if (!(e instanceof AnomalyError)) throw e;
    return { seen: poisoner.seen, message: e.message };
  } finally {
    stop();
    for (const made of [net, x, classes]) made.dispose();
  }
}

describe.each(['forward', 'backward'] as const)('a NaN in the %s of the SE-CNN', (phase) => {
  test('is found at every operation, immediately, with its module and line', () => {
    const all = poisoned(phase, 0).seen;
    expect(all.length).toBeGreaterThan(25);
    const before = memory().bytes;
    for (let k = 1; k <= all.length; k++) {
      const { seen, message } = poisoned(phase, k);
      const [name, shape] = all[k - 1]!.split(' ') as [string, string];
      const where = `${all[k - 1]!}, ${k}`;
      expect(message, where).toMatch(new RegExp(`(^|: )${name}: ${phase} made 1 of \\d+ values not finite\n`));
      expect(message, where).toContain(`float32 ${shape}: `);
      // It is the last position seen, except for further results of the same operation: batch norm has five.
      expect(seen.length - k, where).toBeLessThanOrEqual(5);
      // In the forward, the function that writes the NaN is on the stack between the operation and its caller.
      if (phase === 'backward') expect(lineOf(message!), where).toBe(called);
      expect(message, where).toMatch(/^(Criterion|net(\.\w+)* \(\w+\)): /);
    }
    expect(memory().bytes).toBe(before);
  });
});

import * as mine from 'chainrule';
import { ChainruleError, ones, scope, zeros } from 'chainrule';
import { DataLoader } from 'chainrule/data';
import { saveCheckpoint, tensorsToBytes } from 'chainrule/io';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import * as optim from 'chainrule/optim';
import { fit } from 'chainrule/train';
import { beforeAll, describe, expect, test, vi } from 'vitest';
import { HOMES, LAYERS, METHODS, invoke, receiver } from './support/public-calls.ts';

// Two copies of the library in one process, as ESM beside CommonJS or two versions make them. A tensor of the other copy lies in
// the other's memory: at its address here are elements of innocent tensors.

let other: typeof mine;
let otherNn: typeof nn;
let otherOptim: typeof optim;
let otherData: typeof import('chainrule/data');

beforeAll(async () => {
  vi.resetModules();
  other = await import('chainrule');
  otherNn = await import('chainrule/nn');
  otherOptim = await import('chainrule/optim');
  otherData = await import('chainrule/data');
});

/** Returns the copy of a tensor in the other library. */
const abroad = (t: mine.Tensor): mine.Tensor => other.tensor(t.data(), { shape: t.shape, dtype: t.dtype });

/** Expects that `act` names the tensor of the other copy. */
function refuses(title: string, act: () => unknown, kind = 'a tensor'): void {
  let error: unknown;
  try {
    scope(() => other.scope(act));
  } catch (e) {
    error = e;
  }
  expect(error, title).toBeInstanceOf(ChainruleError);
  expect((error as Error).message, title).toContain(`${kind} of another copy of chainrule`);
}

/** Returns the arguments with the tensor at position i in the other copy. */
const swapped = (args: readonly unknown[], i: number): unknown[] => args.map((a, k) => (k === i ? abroad(a as mine.Tensor) : a));

test('the copies are two', () => {
  expect(other.Tensor).not.toBe(mine.Tensor);
  expect(abroad(ones([2])).toArray()).toEqual([1, 1]);
});

const calls = HOMES.flatMap(({ home, exports, calls: of }) =>
  Object.entries(of).map(([name, call]) => ({ ...call, title: `${home} ${name}`, fn: exports[name] })),
);

test.each(calls.filter(({ tensors = [], lists = [] }) => tensors.length + lists.length > 0))('$title', (call) => {
  const { fn, args, tensors = [], lists = [], title } = call;
  for (const i of tensors) refuses(`${title}, argument ${i}`, () => invoke(fn, swapped(args(), i)));
  for (const i of lists) {
    const list = (all: readonly unknown[]): unknown[] => all.map((a, k) => (k === i ? (a as mine.Tensor[]).map(abroad) : a));
    refuses(`${title}, argument ${i}`, () => invoke(fn, list(args())));
  }
});

test.each(calls.filter(({ tensorOptions = [] }) => tensorOptions.length > 0))('$title, options', (call) => {
  const { fn, args, options, tensorOptions = [], title } = call;
  for (const option of tensorOptions) {
    refuses(`${title}, ${option}`, () => {
      const given = args();
      while (given.length <= options) given.push(undefined);
      given[options] = { ...(given[options] as object | undefined), [option]: other.ones([2]) };
      return invoke(fn, given);
    });
  }
});

const generators = calls.filter(({ options, takes = true, args, fn }) => {
  if (!takes) return false;
  // Those that know the option refuse its value by name.
  try {
    scope(() => invoke(fn, [...args().slice(0, options), { generator: 1 }]));
  } catch (e) {
    return (e as Error).message.includes('generator must be');
  }
  return false;
});

test('functions and layers that draw', () => {
  expect(generators.length).toBeGreaterThan(20);
  for (const { fn, args, options, title } of generators) {
    const given = (): unknown[] => [...args().slice(0, options), { generator: other.defaultGenerator }];
    refuses(title, () => invoke(fn, given()), 'a generator');
  }
});

test.each(LAYERS)('forward of %s', (title, make, inputs) => {
  for (const i of scope(() => inputs()).keys())
    refuses(`${title}, input ${i}`, () => (make() as unknown as { forward(...t: unknown[]): unknown }).forward(...swapped(inputs(), i)));
});

test.each(METHODS)('the method %s', (name, args, tensors) => {
  for (const i of tensors) {
    refuses(`${name}, argument ${i}`, () => {
      const target = receiver() as unknown as Record<string, (...args: unknown[]) => unknown>;
      const value = args()[i];
      return target[name]!(...(value instanceof mine.Tensor ? swapped(args(), i) : [other.ones([])]));
    });
  }
});

describe('other places', () => {
  const leaf = (): mine.Tensor => ones([2], { requiresGrad: true });

  test('gradients, hooks and custom operations', () => {
    refuses('backward', () =>
      leaf()
        .mul(2)
        .backward(other.ones([2])),
    );
    refuses('grad', () => Object.assign(leaf(), { grad: other.ones([2]) }));
    refuses('a hook', () => {
      const x = leaf();
      x.registerHook(() => other.ones([2]));
      x.sum().backward();
    });
    const mul = mine.defineOp({
      name: 'mine',
      forward: (k, a: mine.Tensor, b: mine.Tensor) => {
        const y = a.clone();
        k.binary('mul', a, b, y);
        return y;
      },
    });
    refuses('an argument', () => mul(leaf(), other.ones([2])));
    const op = (spec: object): mine.Tensor =>
      mine.defineOp({ name: 'mine', forward: (_: unknown, t: mine.Tensor) => t.clone(), ...spec } as never)(leaf()) as never;
    const abroadGrads = (): unknown => [other.ones([2])];
    refuses('a result of forward', () => op({ forward: () => other.ones([2]) }));
    refuses('results of forward', () => op({ forward: () => [ones([2]), other.ones([2])] }));
    refuses('a gradient', () => op({ backward: abroadGrads }).sum().backward());
    refuses('a gradient of a fused operation', () =>
      op({ save: () => ({}), gradKernel: abroadGrads, definition: (t: mine.Tensor) => t.mul(1) })
        .sum()
        .backward(),
    );
    refuses('recompute', () => mine.recompute((a: mine.Tensor) => a.add(1), other.ones([2])));
    refuses('a result of recompute', () => mine.recompute(() => other.ones([2])));
    refuses('a result of jacobian', () => mine.jacobian(() => other.ones([2]), leaf()));
    refuses('a result of gradcheck', () =>
      mine.gradcheck(() => other.ones([2]), mine.tensor([1], { dtype: 'float64', requiresGrad: true })),
    );
  });

  test('modules', () => {
    class Net extends nn.Module {
      readonly part: unknown;

      constructor(part: unknown) {
        super();
        this.part = part;
      }

      forward(x: mine.Tensor): mine.Tensor {
        return x;
      }
    }
    refuses('Sequential', () => new nn.Sequential(new otherNn.ReLU() as unknown as nn.ReLU), 'a module');
    refuses('a module in a module', () => new Net(new otherNn.ReLU()).parameters(), 'a module');
    refuses('a parameter', () => new Net(new otherNn.Parameter(other.ones([2]))).parameters());
    refuses('a buffer in an array', () => new Net([otherNn.buffer(other.ones([2]))]).stateDict());
    refuses('loadStateDict', () => new nn.Linear(2, 2).loadStateDict(new otherNn.Linear(2, 2).stateDict() as never));
    refuses('loadStateDict of torchvision', () =>
      new nn.SqueezeExcite(2, { reduction: 1 }).loadStateDict({ 'fc1.weight': other.ones([2, 2, 1, 1]) }),
    );
    refuses('cloneStateDict', () => nn.cloneStateDict({ t: other.ones([2]) }));
    refuses('cloneStateDict of one tensor', () => nn.cloneStateDict(other.ones([2])));
    refuses('excitations', () => nn.recordExcitations(new otherNn.ECA(2) as unknown as nn.ECA, []), 'a module');
    const gate = new nn.ECA(2);
    refuses('images', () => nn.recordExcitations(gate, [[other.ones([1, 2, 2, 2]), mine.tensor([0], { dtype: 'int32' })]]));
    refuses('gradcheck', () => mine.gradcheck(new otherNn.ReLU() as never, leaf()), 'a module');
    gate.dispose();
  });

  test('optimizers and schedulers', () => {
    const foreign = new otherOptim.SGD([other.ones([2], { requiresGrad: true })], { lr: 0.1 }) as unknown as optim.SGD;
    refuses('a group', () => new optim.SGD([{ params: [other.ones([2], { requiresGrad: true })] }], { lr: 0.1 }));
    refuses('one tensor', () => new optim.SGD(other.ones([2]) as never, { lr: 0.1 }));
    refuses('StepLR', () => new optim.StepLR(foreign, { stepSize: 1 }), 'an optimizer');
    const own = new optim.SGD([leaf()], { lr: 0.1, momentum: 0.9 });
    const schedulers = [new otherOptim.LinearLR(foreign as never) as unknown as optim.LinearLR];
    refuses('SequentialLR', () => new optim.SequentialLR(own, { schedulers, milestones: [] }), 'a scheduler');
    const { paramGroups } = own.stateDict();
    refuses('loadStateDict', () => own.loadStateDict({ paramGroups, state: { 0: { momentumBuffer: other.ones([2]) } } }));
    const ema = new optim.EMA([leaf()]);
    refuses('EMA', () => ema.loadStateDict({ averages: [other.ones([2])] }));
    ema.dispose();
  });

  test('loaders and files', () => {
    const items = { length: 1, get: () => [other.ones([2])] };
    refuses('get', () => new DataLoader(items).first());
    refuses('getBatch', () => new DataLoader({ length: 1, getBatch: () => [other.ones([1, 2])] }).first());
    refuses('transform', () => new DataLoader(items, { transform: (image) => image }).first());
    refuses('tensor', () => mine.tensor(other.ones([2]) as never));
    refuses('safetensors', () => tensorsToBytes({ t: other.ones([2]) }));
    refuses('a checkpoint', () => saveCheckpoint('/nonexistent/x', { model: new otherNn.Linear(2, 2) }), 'a module');
  });

  test('training', async () => {
    const dataset = { length: 2, get: () => [other.ones([2]), other.ones([])] as const };
    const loader = new otherData.DataLoader(dataset, { batchSize: 2 });
    const net = new nn.Linear(2, 1);
    const optimizer = new optim.SGD(net.parameters(), { lr: 0.1 });
    const run = fit(net, { loader, optimizer, loss: F.mseLoss, epochs: 1 } as never);
    await expect(run.finish()).rejects.toThrow(
      'got an array of a tensor of another copy of chainrule and a tensor of another copy of chainrule',
    );
    const ema = new otherOptim.EMA([other.ones([1], { requiresGrad: true })]);
    refuses('an average', () => fit(net, { loader, optimizer, loss: F.mseLoss, epochs: 1, ema } as never), 'an EMA');
    for (const made of [net, optimizer]) made.dispose();
  });

  test('an innocent tensor keeps its values', () => {
    scope(() => {
      const innocent = zeros([4096]);
      const far = other.scope(() => Array.from({ length: 64 }, () => other.zeros([64])));
      for (const runningMean of far)
        expect(() => F.batchNorm(ones([2, 64, 2, 2]), { training: true, runningMean })).toThrow(/another copy/);
      for (const t of far) expect(() => ones([64]).copy_(t)).toThrow(/another copy/);
      expect(innocent.sum().item()).toBe(0);
    });
  });
});

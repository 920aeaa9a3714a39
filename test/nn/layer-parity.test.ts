import { readFileSync } from 'node:fs';
import { grad, manualSeed, randn, scope, type Tensor } from 'chainrule';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import { SGD } from 'chainrule/optim';
import { describe, expect, test } from 'vitest';
import { expectClose, fill, wave } from './fixture.ts';

// Outputs, gradients, buffers and state dicts of layers are PyTorch's: the fixture that test/fixtures/make-layers.py wrote.

interface Step {
  readonly y: readonly (readonly [shape: number[], values: number[]])[];
  readonly grads: readonly number[][];
}

interface Case {
  readonly name: keyof typeof nn;
  readonly args: readonly unknown[];
  /** Null for layers without options. */
  readonly options: object | null;
  readonly shapes: readonly number[][];
  readonly steps: readonly Step[];
  readonly state: Readonly<Record<string, number[]>>;
  readonly buffers: Readonly<Record<string, number[]>>;
}

const cases = JSON.parse(readFileSync(new URL('../fixtures/layers.json', import.meta.url), 'utf8')) as Case[];

type AnyModule = nn.Module & { forward(...xs: Tensor[]): unknown };

const tensorsOf = (value: unknown): Tensor[] => (Array.isArray(value) ? value.flatMap(tensorsOf) : [value as Tensor]);

function make({ name, args, options }: Case): AnyModule {
  const isFunction = name === 'Upsample' || options === null;
  const given = isFunction ? options : { ...options, dtype: 'float64' };
  return Reflect.construct(Reflect.get(nn, name) as new () => AnyModule, given === null ? args : [...args, given]) as AnyModule;
}

function checkStep(module: AnyModule, { shapes }: Case, step: number, { y: wanted, grads }: Step): void {
  const xs = shapes.map((s, k) => wave(s, { k: step + 2 * k, requiresGrad: true }));
  const ys = tensorsOf(module.forward(...xs));
  expect(ys.map((y) => y.shape)).toEqual(wanted.map(([shape]) => shape));
  ys.forEach((y, j) => expectClose(y, wanted[j]![1]));
  const gradOutputs = ys.map((y, j) => wave([...y.shape], { k: 3 + j }));
  const found = grad(ys, [...xs, ...module.parameters()], { gradOutputs });
  expect(found.length).toBe(grads.length);
  found.forEach((g, i) => expectClose(g, grads[i]!));
}

describe('agrees with PyTorch', () => {
  test.each(cases.map((c, i) => [`${i}: ${c.name} ${JSON.stringify(c.args)} ${JSON.stringify(c.options)}`, c] as const))('%s', (_, c) => {
    scope(() => {
      const module = fill(make(c));
      const state = module.stateDict();
      expect(Object.fromEntries(Object.entries(state).map(([k, t]) => [k, t.shape]))).toEqual(c.state);
      [0, 1, 9].forEach((step, i) => checkStep(step === 9 ? module.eval() : module, c, step, c.steps[i]!));
      for (const [name, values] of Object.entries(c.buffers)) expectClose(state[name]!, values);
      module.dispose();
    });
  });
});

describe('module.requiresGrad_', () => {
  test('freezes the tree, and an optimizer leaves what is frozen as it is', () => {
    manualSeed(1);
    const net = new nn.Sequential(new nn.Linear(3, 4), new nn.BatchNorm1d(4), new nn.Linear(4, 2));
    const [body, norm, head] = net as Iterable<nn.Layer> as unknown as [nn.Linear, nn.BatchNorm1d, nn.Linear];
    expect(body.requiresGrad_(false)).toBe(body);
    norm.requiresGrad_(false);
    const before = Array.from(body.weight.data());
    const optimizer = new SGD(net.parameters(), { lr: 0.1 });
    F.mseLoss(net.forward(randn([5, 3])), randn([5, 2])).backward();
    optimizer.step();
    expect([body.weight.grad, norm.weight!.grad, head.weight.grad === null]).toEqual([null, null, false]);
    expect(Array.from(body.weight.data())).toEqual(before);
    expect(norm.num_batches_tracked!.item()).toBe(1);
    net.requiresGrad_();
    expect(net.parameters().every((p) => p.requiresGrad)).toBe(true);
    net.dispose();
  });

  test('takes true and false only', () => {
    const layer = new nn.Linear(2, 2);
    expect(() => layer.requiresGrad_('no' as never)).toThrow("requiresGrad_: flag must be true or false, got 'no'");
    layer.dispose();
  });
});

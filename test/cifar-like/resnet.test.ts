import { readFileSync } from 'node:fs';
import { ArgumentError, memory, scope, tensor } from 'chainrule';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import { SGD } from 'chainrule/optim';
import { describe, expect, test } from 'vitest';
import { makeModel, parameterCount } from '../../examples/cifar-like/model.ts';
import { defaultSettings } from '../../examples/cifar-like/options.ts';
import { CifarResNet, type Placement, SEBasicBlock, seResNet } from '../../examples/cifar-like/resnet.ts';
import { expectClose, fill, onReference, wave } from '../nn/fixture.ts';

// Compares the residual nets with PyTorch (test/fixtures/make-se.py), and their sizes with numbers derived by hand.

interface Case {
  placement: Placement | null;
  keys: string[];
  logits: number[];
  dx: number[];
  grads: number[];
  evaluated: number[];
}

const cases = (JSON.parse(readFileSync(new URL('../fixtures/se.json', import.meta.url), 'utf8')) as { resnets: Case[] }).resnets;

describe('five placements, and without SE: PyTorch’s within 1e-10 (float64)', () => {
  test.each(cases.map((c) => [c.placement ?? 'without SE', c] as const))('%s', (_, { placement, keys, logits, dx, grads, evaluated }) => {
    scope(() => {
      const where = placement === null ? { se: false } : { placement };
      const model = fill(new CifarResNet(2, { width: 2, reduction: 2, numClasses: 4, dtype: 'float64', ...where }));
      expect(Object.keys(model.stateDict())).toEqual(keys);
      const x = wave([3, 3, 8, 8], { requiresGrad: true });
      const target = tensor([2, 0, 3], { dtype: 'int32' });
      const y = model.forward(x);
      expectClose(y, logits);
      F.crossEntropy(y, target).backward();
      expectClose(
        x.grad!.data().filter((__, i) => i % 5 === 0),
        dx,
      );
      model.parameters().forEach((p, i) => {
        expectClose(
          [
            p
              .grad!.mul(wave([...p.shape], { k: 5 }))
              .sum()
              .item(),
          ],
          [grads[i]!],
        );
      });
      const optimizer = new SGD(model.parameters(), { lr: 0.1, momentum: 0.9 });
      for (let step = 0; step < 3; step++) {
        const loss = F.crossEntropy(model.forward(x), target);
        optimizer.zeroGrad();
        loss.backward();
        optimizer.step();
      }
      expectClose(model.eval().forward(x), evaluated);
      optimizer.dispose();
      model.dispose();
    });
  });

  test('the placements differ from each other', () => {
    expect(new Set(cases.map((c) => c.logits[0])).size).toBe(6);
  });
});

/** Returns a total of the model's summary. */
const total = (model: nn.Module, column: 'parameters' | 'multiply-adds'): number =>
  Number(
    model
      .summary([1, 3, 32, 32])
      .split('\n')
      .at(-1)!
      .split(/ +/)
      .at(column === 'parameters' ? 1 : 2)!
      .replaceAll(',', ''),
  ); // prettier-ignore

/** Returns the multiply-adds of ResNet-(6n+2) on a 32×32 image, including those of 1×1 shortcuts. */
function byHand(n: number, [w1, w2, w3]: [number, number, number]): number {
  const conv = (side: number, i: number, o: number, k: number): number => side ** 2 * i * o * k ** 2;
  const stage = (side: number, i: number, o: number): number =>
    conv(side, i, o, 3) + (2 * n - 1) * conv(side, o, o, 3) + (i === o ? 0 : conv(side, i, o, 1));
  return conv(32, 3, w1, 3) + stage(32, w1, w1) + stage(16, w1, w2) + stage(8, w2, w3) + 10 * w3;
}

// Skipped on the reference kernels, where whole forwards are slow and would test nothing new.
describe.skipIf(onReference)('parameters and multiply-adds', () => {
  test('SE-ResNet-20 (r = 4): 280,538 parameters, 41 million multiply-adds', () => {
    const [se, plain] = [seResNet(20, { reduction: 4 }), seResNet(20, { se: false })];
    expect(parameterCount(se)).toBe(280_538);
    expect(total(se, 'parameters')).toBe(280_538);
    expect(byHand(3, [16, 32, 64])).toBe(40_813_184);
    expect(total(plain, 'multiply-adds')).toBe(40_813_184);
    // SE adds two linear layers to each block; a stage has three blocks.
    expect(total(se, 'multiply-adds') - 40_813_184).toBe(3 * 2 * (16 * 4 + 32 * 8 + 64 * 16));
    const row = se
      .summary([1, 3, 32, 32])
      .split('\n')
      .find((line) => line.startsWith('layer2.0.conv1 ')); // prettier-ignore
    expect(row).toMatch(/ Conv2d +\[1,32,16,16\] +4,608 +1,179,648$/);
  });

  test('the tiny SE-CNN: 2.8 million', () => {
    const convolutions = 32 ** 2 * 3 * 16 * 9 + 16 ** 2 * 16 * 32 * 9 + 8 ** 2 * 32 * 64 * 9;
    const attention = 2 * (16 * 4 + 32 * 8 + 64 * 16);
    expect(convolutions + attention + 640).toBe(2_804_992);
    expect(total(makeModel(defaultSettings(), true, 3), 'multiply-adds')).toBe(2_804_992);
  });

  test.each([
    [32, 5],
    [56, 9],
  ])('ResNet-%i has %i blocks a stage', (depth, n) => {
    const model = seResNet(depth, { width: 8, se: false });
    expect([...model.layer1, ...model.layer2, ...model.layer3].length).toBe(3 * n);
    expect(total(model, 'multiply-adds')).toBe(byHand(n, [8, 16, 32]));
    const layers = model
      .namedModules()
      .filter(([name, m]) => (m instanceof nn.Conv2d && !name.includes('downsample')) || m instanceof nn.Linear); // prettier-ignore
    expect(layers.length).toBe(depth);
  });
});

test('options reach every block, also another attention', () => {
  const model = seResNet(8, { width: 4, placement: 'pre', attention: (channels) => new nn.ECA(channels), inChannels: 1, numClasses: 3 });
  const gates = model.namedModules().flatMap(([, m]) => (m instanceof nn.ECA ? [m.channels] : []));
  expect(gates).toEqual([4, 4, 8]);
  expect(model.conv1.weight.shape).toEqual([4, 1, 3, 3]);
  expect(model.fc.weight.shape).toEqual([3, 16]);
});

test('errors name what is expected and leave no memory behind', () => {
  const before = memory().bytes;
  expect(() => seResNet(21)).toThrow(new ArgumentError('seResNet: depth must be 6n + 2 (20, 32, 56, …), got 21'));
  expect(() => seResNet(2)).toThrow(new ArgumentError('seResNet: depth must be 6n + 2 (20, 32, 56, …), got 2'));
  expect(() => new SEBasicBlock(4, 4, { placement: 'inside' as 'pre' })).toThrow(
    new ArgumentError("SEBasicBlock: placement must be one of standard, pre, post, identity, conv3x3, got 'inside'"),
  );
  expect(memory().bytes).toBe(before);
});

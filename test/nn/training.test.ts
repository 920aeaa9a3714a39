import { manualSeed, memory, noGrad, randint, randn, scope, scoped, tensor } from 'chainrule';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import * as optim from 'chainrule/optim';
import { describe, expect, test } from 'vitest';
import { expectClose, fill, fixture, onReference, tinyNet, wave } from './fixture.ts';

describe('the tiny SE-CNN follows PyTorch over 20 SGD steps (5 on the reference kernels)', () => {
  const steps = onReference ? 5 : 20;
  const { keys, losses, logits, mean } = fixture.training;
  const options = { lr: 0.02, momentum: 0.9, nesterov: true, weightDecay: 5e-4 };
  const run = (dtype: 'float32' | 'float64', tolerance: number): void => {
    scope(() => {
      const model = fill(tinyNet({ dtype }));
      const x = wave([4, 3, 8, 8], { dtype });
      const y = tensor([0, 7, 4, 1], { dtype: 'int32' });
      const optimizer = new optim.SGD(model.parameters(), options);
      const seen: number[] = [];
      for (const _ of scoped(steps)) {
        const loss = F.crossEntropy(model.forward(x), y);
        optimizer.zeroGrad();
        loss.backward();
        optimizer.step();
        seen.push(loss.item());
      }
      expectClose(seen, losses.slice(0, steps), tolerance);
      expect(Object.keys(model.stateDict())).toEqual(keys);
      if (steps === 20) {
        model.eval();
        const evaluated = noGrad(() => model.forward(x));
        expectClose(evaluated, logits, tolerance);
        expectClose(model.stateDict()['1.running_mean']!, mean, tolerance);
      }
      model.dispose();
      optimizer.dispose();
    });
  };

  test('float64: losses, logits and statistics within 1e-10', () => run('float64', 1e-10));
  test('float32: the same within 1e-4', () => run('float32', 1e-4));
});

test('one batch of 64 is overfitted to a loss below 0.01 within 200 steps; the initial loss is within 0.1 of ln 10', () => {
  scope(() => {
    manualSeed(1);
    const size = onReference ? 4 : 16;
    const model = onReference
      ? new nn.Sequential(
          new nn.Conv2d(3, 8, 3, { padding: 1 }),
          new nn.BatchNorm2d(8),
          new nn.ReLU(),
          new nn.SqueezeExcite(8, { reduction: 2 }),
          new nn.Flatten(),
          new nn.Linear(128, 10),
        )
      : tinyNet();
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.1, momentum: 0.9, nesterov: true });
    const x = randn([64, 3, size, size]);
    const y = randint(0, 10, [64]);
    const losses: number[] = [];
    for (const step of scoped(200)) {
      const loss = F.crossEntropy(model.forward(x), y);
      optimizer.zeroGrad();
      loss.backward();
      optimizer.step();
      losses.push(loss.item());
      if (loss.item() < 0.01) break;
      expect(step).toBeLessThan(199);
    }
    if (!onReference) expect(Math.abs(losses[0]! - Math.log(10))).toBeLessThan(0.1);
    expect(losses.at(-1)).toBeLessThan(0.01);
    expect(losses.length).toBeLessThanOrEqual(200);
    model.dispose();
    optimizer.dispose();
  });
});

describe('memory', () => {
  const net = (): nn.Sequential =>
    new nn.Sequential(
      new nn.Conv2d(3, 8, 3, { padding: 1, bias: false }),
      new nn.BatchNorm2d(8),
      new nn.ReLU(),
      new nn.SqueezeExcite(8, { reduction: 4 }),
      new nn.Dropout(0.2),
      new nn.MaxPool2d(2),
      new nn.AdaptiveAvgPool2d(1),
      new nn.Flatten(),
      new nn.Linear(8, 10),
    );

  // The reference kernels run fused operations as their definitions, whose constants need a scope.
  test.each([['in a scoped loop', true] as const, ...(onReference ? [] : [['in a plain loop', false] as const])])(
    'is equal after every training step from the third on, %s, and pages do not grow',
    (_, inScope) => {
      const model = net();
      const optimizer = new optim.SGD(model.parameters(), { lr: 0.05, momentum: 0.9 });
      const schedule = new optim.OneCycleLR(optimizer, { maxLr: 0.1, totalSteps: 40 });
      const x = randn([8, 3, 8, 8]);
      const y = randint(0, 10, [8]);
      const seen: string[] = [];
      const step = (): void => {
        const loss = F.crossEntropy(model.forward(x), y);
        optimizer.zeroGrad();
        loss.backward();
        optim.clipGradNorm(model.parameters(), 1);
        optimizer.step();
        schedule.step();
        const { bytes, tensors, pages } = memory();
        seen.push(`${bytes} ${tensors} ${pages}`);
      };
      const n = onReference ? 8 : 40;
      if (inScope) for (const _ of scoped(n)) step();
      else for (let i = 0; i < n; i++) step();
      expect(new Set(seen.slice(2)).size).toBe(1);
      for (const t of [model, optimizer, x, y]) t.dispose();
    },
  );

  test('training and disposing free all memory', () => {
    const run = (): void =>
      scope(() => {
        const model = net();
        const optimizer = new optim.SGD(model.parameters(), { lr: 0.05, momentum: 0.9 });
        const x = randn([8, 3, 8, 8]);
        F.crossEntropy(model.forward(x), randint(0, 10, [8])).backward();
        optimizer.step();
        model.dispose();
        optimizer.dispose();
      });
    // The first run also frees tensors that earlier tests left readable.
    run();
    const before = memory();
    run();
    expect(memory().bytes).toBe(before.bytes);
    expect(memory().tensors).toBe(before.tensors);
  });
});

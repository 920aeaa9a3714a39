/**
 * Compares gradients of whole nets with finite differences in float64.
 */
import { expect, test } from 'vitest';
import { gradcheck, gradgradcheck, manualSeed, memory, noGrad, randn, scope, tensor, type Tensor } from 'chainrule';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import { grad, logBranches, withGradMode } from '../../src/autograd/index.ts';
import { Random } from '../../src/core/random.ts';

const dtype = 'float64';

/** Conv 3×3 without bias → batch norm → ReLU → SE, r = 4. */
function stage(from: number, to: number): nn.Layer[] {
  return [
    new nn.Conv2d(from, to, 3, { padding: 1, bias: false, dtype }),
    new nn.BatchNorm2d(to, { dtype }),
    new nn.ReLU(),
    new nn.SqueezeExcite(to, { reduction: 4, dtype }),
  ];
}

/** Three stages, the first two followed by 2×2 max pooling, then global average pooling and a linear layer to 10 classes. */
function seCnn([a, b, c]: readonly [number, number, number]): nn.Sequential {
  const pool = (): nn.Layer => new nn.MaxPool2d(2);
  const head = [new nn.AdaptiveAvgPool2d(1), new nn.Flatten(), new nn.Linear(c, 10, { dtype })];
  return new nn.Sequential(...stage(3, a), pool(), ...stage(a, b), pool(), ...stage(b, c), ...head);
}

/** y = relu(x + se(bn(conv(relu(bn(conv x)))))) */
class ResidualSE extends nn.Module {
  readonly branch: nn.Sequential;

  constructor(channels: number) {
    super();
    const conv = (): nn.Layer => new nn.Conv2d(channels, channels, 3, { padding: 1, bias: false, dtype });
    const norm = (): nn.Layer => new nn.BatchNorm2d(channels, { dtype });
    this.branch = new nn.Sequential(conv(), norm(), new nn.ReLU(), conv(), norm(), new nn.SqueezeExcite(channels, { reduction: 2, dtype }));
  }

  forward(x: Tensor): Tensor {
    return this.branch.forward(x).add(x).relu();
  }
}

const isLong = process.env.CHAINRULE_LONG === '1';
const widths: [number, number, number] = [4, isLong ? 8 : 4, 8];

test(`SE-CNN ${widths.join('/')} on 8×8 images: every parameter`, () => {
  manualSeed(1);
  const net = seCnn(widths);
  const x = randn([2, 3, 8, 8], { dtype });
  const target = tensor([3, 7], { dtype: 'int32' });
  const parameters = [...net.parameters()];
  const before = memory();
  const report = gradcheck(() => F.crossEntropy(net.forward(x), target), parameters);
  expect(report.checked).toBe(parameters.reduce((n, p) => n + p.numel, 0));
  expect(memory().tensors).toBe(before.tensors);
  net.dispose();
});

test('SE-CNN: second order, in the parameters of the first stage', () => {
  manualSeed(2);
  const net = new nn.Sequential(...stage(1, 4), new nn.AdaptiveAvgPool2d(1), new nn.Flatten(), new nn.Linear(4, 3, { dtype }));
  const x = randn([2, 1, 3, 3], { dtype });
  const target = tensor([0, 2], { dtype: 'int32' });
  expect(gradgradcheck(() => F.crossEntropy(net.forward(x), target), [...net.parameters()]).ok).toBe(true);
  net.dispose();
});

test('residual SE block: every parameter and the input', () => {
  manualSeed(3);
  const block = new ResidualSE(4);
  const x = randn([2, 4, 5, 5], { dtype, requiresGrad: true });
  const report = gradcheck((at) => block.forward(at), [x, ...block.parameters()]);
  expect(report.checked).toBe(2 * 4 * 5 * 5 + 2 * 4 * 4 * 9 + 2 * 2 * 4 + 2 * 2 * 4);
  block.dispose();
});

test('dropout is a fixed function while it is checked', () => {
  manualSeed(4);
  const net = new nn.Sequential(new nn.Linear(6, 8, { dtype }), new nn.Tanh(), new nn.Dropout(0.5), new nn.Linear(8, 2, { dtype }));
  const x = randn([3, 6], { dtype });
  expect(gradcheck(() => net.forward(x), [...net.parameters()]).ok).toBe(true);
  net.dispose();
});

/** Returns (f(θ + h d) − f(θ − h d)) / 2h, and whether a kink lies between the two points. */
function directional(f: () => Tensor, parameters: readonly Tensor[], d: readonly Tensor[], h: number): { slope: number; kink: boolean } {
  const at = (step: number): { value: number; branches: Float64Array[] } =>
    noGrad(() => {
      parameters.forEach((p, i) => p.add_(d[i]!.mul(step)));
      const { result, branches } = logBranches(() => withGradMode(true, () => scope(() => f().item())));
      return { value: result, branches };
    });
  const given = parameters.map((p) => p.clone().detach());
  const above = at(h);
  const below = at(-2 * h);
  noGrad(() => parameters.forEach((p, i) => p.copy_(given[i]!)));
  const kink = above.branches.some((b, k) => b.some((x, i) => x !== below.branches[k]![i]));
  return { slope: (above.value - below.value) / (2 * h), kink };
}

test('the tiny SE-CNN 16/32/64 on 32×32 images: random directions', () => {
  manualSeed(5);
  const net = seCnn([16, 32, 64]);
  const x = randn([2, 3, 32, 32], { dtype });
  const target = tensor([1, 8], { dtype: 'int32' });
  const parameters = [...net.parameters()];
  const f = (): Tensor => F.crossEntropy(net.forward(x), target);
  const random = new Random(6);
  let checked = 0;
  let tried = 0;
  scope(() => {
    const gradient = grad(f(), parameters);
    const wanted = isLong ? 20 : 10;
    while (checked < wanted && tried < 3 * wanted) {
      tried++;
      scope(() => {
        // The direction has unit length in each parameter tensor, so that small tensors count too.
        const d = parameters.map((p) => {
          const values = Float64Array.from({ length: p.numel }, () => random.normal());
          const norm = Math.hypot(...values);
          return tensor(
            values.map((v) => v / norm),
            { shape: p.shape },
          );
        });
        const found = [1e-5, 1e-6, 1e-7].map((h) => directional(f, parameters, d, h)).find((r) => !r.kink);
        if (found === undefined) return;
        const expected = gradient.reduce((sum, g, i) => sum + g.mul(d[i]!).sum().item(), 0);
        expect(Math.abs(found.slope - expected)).toBeLessThan(1e-6 + 1e-4 * Math.abs(expected));
        checked++;
      });
    }
    expect(checked).toBe(wanted);
  });
  net.dispose();
});

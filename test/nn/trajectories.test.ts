/** Four different networks follow PyTorch's losses over 24 steps, within 1e-10 in float64 and 2e-4 in float32. */
import { readFileSync } from 'node:fs';
import { scope, scoped, tensor, zeros, type FloatDType, type Tensor } from 'chainrule';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import * as optim from 'chainrule/optim';
import { describe, expect, test } from 'vitest';
import { expectClose, fill, wave } from './fixture.ts';

// The fixtures of test/fixtures/make-training.py.

interface Run {
  readonly losses: number[];
  /** Every ⌊numel / 5⌋-th element of each, after the last step. */
  readonly parameters: Record<string, number[]>;
}

const runs = JSON.parse(readFileSync(new URL('../fixtures/training.json', import.meta.url), 'utf8')) as Record<string, Run>;
const STEPS = 24;

interface Training {
  readonly model: nn.Module;
  readonly optimizer: optim.SGD | optim.Adam;
  readonly loss: (k: number) => Tensor;
  readonly schedule?: optim.Scheduler;
  readonly maxNorm?: number;
}

const classes = (n: number, k: number, count: number): Tensor =>
  tensor(
    Array.from({ length: n }, (_, i) => (7 * i + 3 * k) % count),
    { dtype: 'int32' },
  );

/** Strided, dilated, grouped and depthwise convolutions with group norm: SGD, label smoothing. */
function grouped(dtype: FloatDType): Training {
  const model = fill(
    new nn.Sequential(
      new nn.Conv2d(3, 8, 3, { stride: 2, padding: 1, dtype }),
      new nn.GroupNorm(4, 8, { dtype }),
      new nn.SiLU(),
      new nn.Conv2d(8, 12, 3, { padding: 2, dilation: 2, groups: 4, dtype }),
      new nn.GroupNorm(3, 12, { dtype }),
      new nn.GELU(),
      new nn.Conv2d(12, 12, [3, 1], { stride: [2, 1], padding: [1, 0], groups: 12, bias: false, dtype }),
      new nn.ReLU(),
      new nn.AvgPool2d(3, { stride: 2, padding: 1 }),
      new nn.Flatten(),
      new nn.Linear(72, 5, { dtype }),
    ),
  );
  return {
    model,
    optimizer: new optim.SGD(model.parameters(), { lr: 0.05, momentum: 0.9, nesterov: true, weightDecay: 1e-3 }),
    loss: (k) => F.crossEntropy(model.forward(wave([6, 3, 9, 9], { k, dtype })), classes(6, k, 5), { labelSmoothing: 0.1 }),
  };
}

/** A perceptron with layer norm: Adam with AMSGrad and weight decay, smooth L1. */
function layered(dtype: FloatDType): Training {
  const model = fill(
    new nn.Sequential(
      new nn.Linear(10, 16, { dtype }),
      new nn.LayerNorm(16, { dtype }),
      new nn.GELU({ approximate: 'tanh' }),
      new nn.Linear(16, 16, { dtype }),
      new nn.LayerNorm([16], { elementwiseAffine: false }),
      new nn.Mish(),
      new nn.Linear(16, 3, { dtype }),
    ),
  );
  return {
    model,
    optimizer: new optim.Adam(model.parameters(), { lr: 0.01, betas: [0.8, 0.95], weightDecay: 0.01, amsgrad: true }),
    loss: (k) => F.smoothL1Loss(model.forward(wave([8, 10], { k, scale: 2, dtype })), wave([8, 3], { k: 2 * k, dtype }), { beta: 0.5 }),
  };
}

/** x + pointwise(depthwise(x)), with batch norm. */
class Separable extends nn.Module {
  readonly depthwise: nn.Conv2d;
  readonly norm: nn.BatchNorm2d;
  readonly pointwise: nn.Conv2d;

  constructor(channels: number, dilation: number, dtype: FloatDType) {
    super();
    this.depthwise = new nn.Conv2d(channels, channels, 3, { padding: dilation, dilation, groups: channels, bias: false, dtype });
    this.norm = new nn.BatchNorm2d(channels, { dtype });
    this.pointwise = new nn.Conv2d(channels, channels, 1, { dtype });
  }

  forward(x: Tensor): Tensor {
    return x.add(this.pointwise.forward(F.hardswish(this.norm.forward(this.depthwise.forward(x)))));
  }
}

/** Residual blocks of depthwise separable convolutions, batch norm and max pools: AdamW, cosine schedule, class weights. */
function separable(dtype: FloatDType): Training {
  const model = fill(
    new nn.Sequential(
      new nn.Conv2d(2, 6, 3, { padding: 'same', dtype }),
      new Separable(6, 1, dtype),
      new nn.MaxPool2d(3, { stride: 2, padding: 1 }),
      new Separable(6, 2, dtype),
      new nn.LeakyReLU(0.1),
      new nn.AdaptiveAvgPool2d(1),
      new nn.Flatten(),
      new nn.Linear(6, 4, { dtype }),
    ),
  );
  const optimizer = new optim.AdamW(model.parameters(), { lr: 0.02, weightDecay: 0.05 });
  const weight = wave([4], { k: 2, scale: 0.5, offset: 1, dtype });
  return {
    model,
    optimizer,
    loss: (k) => F.crossEntropy(model.forward(wave([5, 2, 7, 7], { k, dtype })), classes(5, k, 4), { weight, ignoreIndex: 3 }),
    schedule: new optim.CosineAnnealingLR(optimizer, { tMax: STEPS }),
  };
}

/** Downsamples by strided convolutions and upsamples by transposed ones. */
class Autoencoder extends nn.Module {
  readonly down1: nn.Conv2d;
  readonly down2: nn.Conv2d;
  readonly up1: nn.Parameter;
  readonly up2: nn.Parameter;

  constructor(dtype: FloatDType) {
    super();
    this.down1 = new nn.Conv2d(1, 4, 3, { stride: 2, padding: 1, dtype });
    this.down2 = new nn.Conv2d(4, 6, 3, { stride: 2, padding: 1, dtype });
    this.up1 = new nn.Parameter(zeros([6, 4, 3, 3], { dtype }));
    this.up2 = new nn.Parameter(zeros([4, 1, 2, 2], { dtype }));
  }

  forward(x: Tensor): Tensor {
    const z = this.down2.forward(F.softplus(this.down1.forward(x))).tanh();
    const y = F.elu(F.convTranspose2d(z, this.up1, null, { stride: 2, padding: 1, outputPadding: 1 }));
    return F.convTranspose2d(y, this.up2, null, { stride: 2 });
  }
}

/** Strided, then transposed convolutions: SGD with two groups, clipped gradients, a step schedule, BCE. */
function autoencoder(dtype: FloatDType): Training {
  const model = fill(new Autoencoder(dtype));
  const down = [...model.down1.parameters(), ...model.down2.parameters()];
  const groups = [{ params: down }, { params: [model.up1, model.up2], lr: 4 }];
  const optimizer = new optim.SGD(groups, { lr: 2, momentum: 0.8, dampening: 0.1 });
  const posWeight = tensor(1.5, { dtype });
  const loss = (k: number): Tensor => {
    const x = wave([3, 1, 8, 8], { k, dtype });
    return F.binaryCrossEntropyWithLogits(model.forward(x), x.add(1).div(2), { posWeight });
  };
  return { model, optimizer, loss, schedule: new optim.StepLR(optimizer, { stepSize: 8, gamma: 0.5 }), maxNorm: 0.08 };
}

function follows(name: string, { model, optimizer, loss, schedule, maxNorm }: Training, tolerance: number): void {
  const { losses, parameters } = runs[name]!;
  const seen: number[] = [];
  for (const k of scoped(STEPS)) {
    const y = loss(k);
    optimizer.zeroGrad();
    y.backward();
    if (maxNorm !== undefined) optim.clipGradNorm(model.parameters(), maxNorm);
    optimizer.step();
    schedule?.step();
    seen.push(y.item());
  }
  expectClose(seen, losses, tolerance);
  const named = model.namedParameters();
  expect(named.map(([key]) => key)).toEqual(Object.keys(parameters));
  for (const [key, p] of named) {
    const every = Math.max(1, Math.floor(p.numel / 5));
    const sample = Array.from(p.data()).filter((_, i) => i % every === 0);
    expectClose(sample, parameters[key]!, tolerance * 10);
  }
}

describe('24 steps follow PyTorch', () => {
  for (const make of [grouped, layered, separable, autoencoder]) {
    for (const [dtype, tolerance] of [
      ['float64', 1e-10],
      ['float32', 2e-4],
    ] as const) {
      test(`${make.name}: losses within ${tolerance}, parameters within ${tolerance * 10}, in ${dtype}`, () => {
        scope(() => {
          const training = make(dtype);
          follows(make.name, training, tolerance);
          training.model.dispose();
          training.optimizer.dispose();
        });
      });
    }
  }
});

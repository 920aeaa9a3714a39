import { createHash } from 'node:crypto';
import { type FloatDType, manualSeed, rand, randint, scoped, setNumThreads } from 'chainrule';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import * as optim from 'chainrule/optim';
import { afterAll, describe, expect, test } from 'vitest';
import { TinyCnn } from '../examples/cifar-like/model.ts';
import { type CifarResNet, seResNet } from '../examples/cifar-like/resnet.ts';

// The weights after training, as a SHA-256 that a refactoring must not change. A change that is meant to alter the order of floating-point
// operations records the new digests here and says so in the changelog. The reference kernels train on smaller images, as they are slower.

const onReference = process.env.CHAINRULE_KERNELS === 'reference';

interface Run {
  readonly make: () => TinyCnn | CifarResNet | nn.Sequential;
  readonly optimizer: (parameters: nn.Parameter[]) => optim.Optimizer;
  readonly steps: number;
  readonly batch: number;
  /** Height and width of the images in pixels. */
  readonly size: number;
}

/** Layers and shapes that the two nets of the examples lack: strides, groups, dilation, odd sizes, averages, other normalisations. */
function mixedNet(): nn.Sequential {
  return new nn.Sequential(
    new nn.Conv2d(3, 8, 5, { stride: 2, padding: 2 }),
    new nn.GELU(),
    new nn.Conv2d(8, 16, 3, { groups: 8, padding: 1 }),
    new nn.GroupNorm(4, 16),
    new nn.Conv2d(16, 24, 3, { groups: 4, dilation: 2, padding: 2 }),
    new nn.BatchNorm2d(24),
    new nn.ReLU(),
    new nn.ECA(24),
    new nn.AvgPool2d(3, { stride: 2, padding: 1 }),
    new nn.Conv2d(24, 40, 1, { bias: false }),
    new nn.SiLU(),
    new nn.MaxPool2d(3, { stride: 1, padding: 1 }),
    new nn.EffectiveSE(40),
    new nn.Dropout(0.2),
    new nn.AdaptiveAvgPool2d(2),
    new nn.Flatten(),
    new nn.LayerNorm(160),
    new nn.Linear(160, 10),
  );
}

const sgd = (parameters: nn.Parameter[]): optim.SGD =>
  new optim.SGD(parameters, { lr: 0.02, momentum: 0.9, nesterov: true, weightDecay: 1e-4 });

const runs: Readonly<Record<'tiny SE-CNN' | 'SE-ResNet-20' | 'mixed net', Run>> = {
  'tiny SE-CNN': {
    make: () => new TinyCnn({ inChannels: 3, attention: (channels) => new nn.SqueezeExcite(channels, { reduction: 4 }) }),
    optimizer: sgd,
    steps: 200,
    batch: onReference ? 2 : 16,
    size: onReference ? 8 : 32,
  },
  'SE-ResNet-20': {
    make: () => seResNet(20, { reduction: 4 }),
    optimizer: sgd,
    steps: 20,
    batch: onReference ? 2 : 8,
    size: onReference ? 8 : 32,
  },
  'mixed net': {
    make: mixedNet,
    optimizer: (parameters) => new optim.AdamW(parameters, { lr: 1e-3, amsgrad: true }),
    steps: onReference ? 5 : 30,
    batch: onReference ? 3 : 12,
    size: onReference ? 13 : 37,
  },
};

type Name = keyof typeof runs;

const expected: Readonly<Record<Name, Record<FloatDType, string>>> = onReference
  ? {
      'tiny SE-CNN': {
        float32: '3675fb9eb4004a5f978060477f5b6db6e10a869cd10ce3f0f9e2a4fc77fe4b88',
        float64: 'fdefd2abb7fd38f8d54c3fab134f4f4721e6cbe042a2fc95182ea60794c46089',
      },
      'SE-ResNet-20': {
        float32: '456b3c07e2418c5ef42f6bf2d98a54a7c5071886677f5eeefaf1f17d0796ecca',
        float64: '7a5a7fa3ce449d81d409451ca73646be192dc5ab9236956d059ed26ce6a7a210',
      },
      'mixed net': {
        float32: '3432d6d654f809dd09526b8c0dc0fbfc7b9b21e0416ad40a46267876418dcbf4',
        float64: 'b4e9ca82dff1c333fd1385ba91434c1427767ec08773b6404d4444d4ad61297f',
      },
    }
  : {
      'tiny SE-CNN': {
        float32: '44879cd0537ac806a42d5eca1a6a970df6fd3f85a402b88b9aadf4cb6a796c6c',
        float64: '4ccef89a902e9159fd51f26e3b57359e5f520b98ea8b6bb23298d0ca20616ba5',
      },
      'SE-ResNet-20': {
        float32: '9b12832b4189d2e2afa9998b07fe74642e4d885401ea29bbe94111a61d069b5e',
        float64: '4b74ab3cb19c562e7833d4b7bce7c95bf14f2bf6389b1b4b04602961b0f39fba',
      },
      'mixed net': {
        float32: '9ec89b766bbca324416a4f3c78dfe00a4140cbfadbe97859235c04c59dc67259',
        float64: '01dda5144117d5dffd64de37d313b91e9f55a9cf9c1b10e361f043c2dfe8d659',
      },
    };

function digestOf(model: nn.Module): string {
  const hash = createHash('sha256');
  for (const [name, t] of Object.entries(model.stateDict())) hash.update(name).update(t.data());
  return hash.digest('hex');
}

/** Trains on random images and returns the SHA-256 of all parameters and running statistics. */
function train({ make, optimizer: optimizerOf, steps, batch, size }: Run, dtype: FloatDType): string {
  manualSeed(7);
  const model = make();
  model.to(dtype);
  const optimizer = optimizerOf(model.parameters());
  for (const _ of scoped(steps)) {
    const images = rand([batch, 3, size, size], { dtype });
    const labels = randint(0, 10, [batch]);
    const loss = F.crossEntropy(model.forward(images), labels);
    optimizer.zeroGrad();
    loss.backward();
    optimizer.step();
  }
  const digest = digestOf(model);
  optimizer.dispose();
  model.dispose();
  return digest;
}

describe('weights after training, bitwise', () => {
  afterAll(() => setNumThreads(1));

  for (const name of Object.keys(runs) as Name[]) {
    for (const dtype of ['float32', 'float64'] as const) {
      test.each(onReference ? [1] : [1, 2])(`${name}, ${runs[name].steps} steps, ${dtype}, %d thread(s)`, (threads) => {
        setNumThreads(threads);
        expect(train(runs[name], dtype)).toBe(expected[name][dtype]);
      });
    }
  }
});

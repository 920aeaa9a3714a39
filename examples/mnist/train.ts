/**
 * The recipe: a small CNN that reaches 99 % of MNIST's test images in less than an epoch. train.py is the same in PyTorch.
 */
import { manualSeed, noGrad } from 'chainrule';
import { DataLoader, type Dataset, type ImageAndLabel } from 'chainrule/data';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import { AdamW, OneCycleLR } from 'chainrule/optim';

export interface TrainOptions {
  /** Fixes the first weights and the order of the images. */
  readonly seed: number;
  /** Squeeze-and-excitation after each ReLU. Default false. */
  readonly se?: boolean;
  /** Default STEPS. */
  readonly steps?: number;
}

const BATCH_SIZE = 128;
const MAX_LR = 0.02;

/** Steps of a training on MNIST, which see 85 % of the images once. */
export const STEPS = 400;

/**
 * Three convolutions with batch norm and ReLU, and a linear layer. The first convolution has no padding: MNIST's images have four empty
 * pixels on each side, and a side of 12 is three of Winograd's tiles.
 * Shape:  x [N,1,28,28] → [N,16,12,12] → [N,32,6,6] → [N,32,6,6] → logits [N,10]
 * Init:   PyTorch's defaults
 */
export function network(se = false): nn.Sequential {
  const block = (convolution: nn.Conv2d, channels: number): nn.Layer[] => [
    convolution,
    new nn.BatchNorm2d(channels),
    new nn.ReLU(),
    ...(se ? [new nn.SqueezeExcite(channels, { reduction: 4 })] : []),
  ];
  return new nn.Sequential(
    ...block(new nn.Conv2d(1, 16, 5, { stride: 2, bias: false }), 16),
    ...block(new nn.Conv2d(16, 32, 3, { padding: 1, bias: false }), 32),
    new nn.MaxPool2d(2),
    ...block(new nn.Conv2d(32, 32, 3, { padding: 1, bias: false }), 32),
    new nn.Flatten(),
    new nn.Linear(32 * 6 * 6, 10),
  );
}

/** Trains a new network. Its weights depend on the images and the options alone. */
export function train(images: Dataset<ImageAndLabel>, { seed, se = false, steps = STEPS }: TrainOptions): nn.Sequential {
  manualSeed(seed);
  const model = network(se);
  const loader = new DataLoader(images, { batchSize: BATCH_SIZE, shuffle: true, dropLast: true, seed });
  const optimizer = new AdamW(model.parameters(), { lr: MAX_LR });
  const cycle = { maxLr: MAX_LR, totalSteps: steps, pctStart: 0.2, divFactor: 10, annealStrategy: 'linear', cycleMomentum: false } as const;
  const scheduler = new OneCycleLR(optimizer, cycle);
  for (let step = 0; step < steps; ) {
    for (const [x, labels] of loader) {
      const loss = F.crossEntropy(model.forward(x), labels, { labelSmoothing: 0.1 });
      optimizer.zeroGrad();
      loss.backward();
      optimizer.step();
      scheduler.step();
      if (++step === steps) break;
    }
  }
  optimizer.dispose();
  return model;
}

/** Returns how many images the model labels right. */
export function countRight(model: nn.Module & nn.Layer, images: Dataset<ImageAndLabel>): number {
  model.eval();
  let right = 0;
  for (const [x, labels] of new DataLoader(images, { batchSize: 1000 })) {
    right += noGrad(() => model.forward(x).argmax(1).eq(labels).sum().item());
  }
  return right;
}

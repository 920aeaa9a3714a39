/**
 * Cases that time whole training steps: forward, loss, backward, update.
 */
import { manualSeed, randint, randn } from 'chainrule';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import * as optim from 'chainrule/optim';
import { TinyCnn } from '../examples/cifar-like/model.ts';
import { seResNet } from '../examples/cifar-like/resnet.ts';
import type { Case } from './case.ts';

type Net = nn.Module & { forward: nn.Layer['forward'] };

interface Step {
  readonly model: string;
  readonly batch: number;
  readonly make: () => Net;
}

const step = ({ model, batch, make }: Step): Case => ({
  group: 'steps',
  name: `${model} step, batch ${batch}`,
  dtype: 'float32',
  work: { kind: 'images', amount: batch },
  peer: { op: 'step', model, batch },
  prepare: () => {
    manualSeed(0);
    const net = make();
    const x = randn([batch, 3, 32, 32]).keep();
    const y = randint(0, 10, [batch]).keep();
    const sgd = new optim.SGD(net.parameters(), { lr: 1e-3, momentum: 0.9, nesterov: true, weightDecay: 5e-4 });
    return {
      run: () => {
        const loss = F.crossEntropy(net.forward(x), y);
        sgd.zeroGrad();
        loss.backward();
        sgd.step();
      },
      free: () => [sgd, net, x, y].forEach((t) => t.dispose()),
    };
  },
});

const REDUCTION = 4;

const tiny = (batch: number): Case =>
  step({
    model: 'tiny SE-CNN',
    batch,
    make: () => new TinyCnn({ inChannels: 3, attention: (channels) => new nn.SqueezeExcite(channels, { reduction: REDUCTION }) }),
  });

const resnet = (depth: 20 | 56, batch: number): Case =>
  step({ model: `SE-ResNet-${depth}`, batch, make: () => seResNet(depth, { reduction: REDUCTION }) });

export const stepCases: readonly Case[] = [
  ...[1, 4, 16, 64, 128, 256, 512].map(tiny),
  ...[1, 16, 64, 128, 512].map((n) => resnet(20, n)),
  ...[16, 64, 128].map((n) => resnet(56, n)),
];

/**
 * The network around the block: a convolution before it, and after it a convolution and a classifier, so that a gradient arrives.
 */
import type { Tensor } from 'chainrule';
import * as nn from 'chainrule/nn';
import { CHANNELS, type NetworkSettings } from './settings.ts';

/** Running statistics of the last batch: the training ends with one of all images. */
const LAST_BATCH = { momentum: 1 };

/**
 * Shape: images [N,3,32,32] → scores of two classes [N,2]; the block works on [N,8,16,16]
 */
export class SmallNetwork extends nn.Module {
  readonly before = new nn.Sequential(
    new nn.Conv2d(3, CHANNELS, 3, { stride: 2, padding: 1, bias: false }),
    new nn.BatchNorm2d(CHANNELS, LAST_BATCH),
    new nn.ReLU(),
  );
  readonly se: nn.SqueezeExcite;
  readonly after = new nn.Sequential(
    new nn.Conv2d(CHANNELS, CHANNELS, 3, { stride: 2, padding: 1, bias: false }),
    new nn.BatchNorm2d(CHANNELS, LAST_BATCH),
    new nn.ReLU(),
    new nn.AdaptiveAvgPool2d(1),
    new nn.Flatten(),
    new nn.Linear(CHANNELS, 2),
  );

  constructor({ gate, reduction }: Omit<NetworkSettings, 'seed'>) {
    super();
    this.se = new nn.SqueezeExcite(CHANNELS, { gate, reduction });
  }

  forward(images: Tensor): Tensor {
    return this.after.forward(this.se.forward(this.before.forward(images)));
  }
}

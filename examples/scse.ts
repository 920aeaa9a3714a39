import { gradcheck, gradgradcheck, manualSeed, noGrad, randn, type Tensor } from 'chainrule';
import { syntheticCifar, DataLoader } from 'chainrule/data';
import * as nn from 'chainrule/nn';

export interface ScSEOptions extends nn.LayerOptions {
  /** The hidden layer of the channel branch has C/r channels. Default 2, as in the paper. */
  readonly reduction?: number;
}

/**
 * Concurrent spatial and channel squeeze-and-excitation. One branch scales every channel by a function of its mean over the
 * image, the other scales every pixel by a function of its channels; the output is the sum of both.
 *   y = x · σ(W₂ relu(W₁ z + b₁) + b₂) + x · σ(w ∗ x),   z = mean of x over H, W,   w a 1×1 convolution to one channel
 * Shape:  x [N,C,H,W] → y [N,C,H,W]; channel.fc.0.weight [C/r,C], channel.fc.2.weight [C,C/r], spatial.weight [1,C,1,1]
 * Init:   as Linear and Conv2d
 * Source: Roy et al. 2018, arXiv:1803.02579, fig. 1 (b–d), section 2
 * Throws: ShapeError if x is not 4-d or has other channels
 */
export class ScSE extends nn.Module {
  readonly channel: nn.SqueezeExcite;
  readonly spatial: nn.Conv2d;

  constructor(channels: number, { reduction = 2, ...layer }: ScSEOptions = {}) {
    super();
    this.channel = new nn.SqueezeExcite(channels, { reduction, bias: true, ...layer });
    this.spatial = new nn.Conv2d(channels, 1, 1, { bias: false, ...layer });
  }

  forward(x: Tensor): Tensor {
    const byChannel = this.channel.forward(x);
    const byPixel = x.mul(this.spatial.forward(x).sigmoid());
    return byChannel.add(byPixel);
  }
}

manualSeed(0);
const block = new ScSE(4, { dtype: 'float64' });
const x = randn([2, 4, 3, 2], { dtype: 'float64', requiresGrad: true });
console.log(gradcheck(block, x).toString());
gradgradcheck(block, x);

const stem = [new nn.Conv2d(3, 16, 3, { stride: 2, padding: 1, bias: false }), new nn.BatchNorm2d(16), new nn.ReLU()];
const net = new nn.Sequential(...stem, new ScSE(16), new nn.AdaptiveAvgPool2d(1), new nn.Flatten(), new nn.Linear(16, 10));
console.log(net.summary([1, 3, 32, 32]));

const loader = new DataLoader(syntheticCifar({ length: 64 }), { batchSize: 32 });
const [gate] = nn.recordExcitations(net, loader);
const perChannel = noGrad(() => gate!.mean.amax(0).sub(gate!.mean.amin(0)).amax().item());
console.log(`${gate!.block}: class means of a channel's scale differ by ${perChannel.toFixed(3)} at most`);

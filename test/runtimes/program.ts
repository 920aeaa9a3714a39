/**
 * The program that test/runtimes/runtimes.test.ts runs on each runtime.
 */
import {
  getNumThreads,
  getTurbo,
  manualSeed,
  multinomial,
  rand,
  randint,
  randn,
  scoped,
  type Tensor,
  type TurboReport,
} from '../../src/index.ts';
import * as nn from '../../src/nn/index.ts';
import * as F from '../../src/nn/functional.ts';
import * as optim from '../../src/optim/index.ts';

export interface Trained {
  /** The SHA-256 of the bytes of all weights and statistics. */
  readonly digest: string;
  readonly threads: number;
  readonly turbo: TurboReport;
}

function block(from: number, to: number): nn.Layer[] {
  return [
    new nn.Conv2d(from, to, 3, { padding: 1, bias: false }),
    new nn.BatchNorm2d(to),
    new nn.ReLU(),
    new nn.SqueezeExcite(to, { reduction: 4 }),
  ];
}

/** Trains a small net in float64 by what computes with numbers beside tensors: normal and truncated weights, schedules, clipping, draws. */
function trainInFloat64(): Tensor[] {
  const model = new nn.Sequential(new nn.Linear(8, 16), new nn.Tanh(), new nn.Dropout(0.3), new nn.Linear(16, 4));
  model.to('float64');
  const [first, , second] = model.parameters() as [nn.Parameter, nn.Parameter, nn.Parameter];
  nn.init.kaimingNormal_(first, { nonlinearity: 'leakyRelu', a: 0.3 });
  nn.init.truncNormal_(second, 0, 1, 0.5, 3);
  const optimizer = new optim.AdamW(model.parameters(), { lr: 0.05 });
  const scheduler = new optim.OneCycleLR(optimizer, { maxLr: 0.1, totalSteps: 60 });
  for (const _ of scoped(60)) {
    const x = randn([16, 8], { dtype: 'float64' });
    const y = multinomial(rand([4]), 16, { replacement: true });
    const loss = F.crossEntropy(model.forward(x), y);
    optimizer.zeroGrad();
    loss.backward();
    optim.clipGradNorm(model.parameters(), 1, { normType: 3 });
    optimizer.step();
    scheduler.step();
  }
  return model.parameters();
}

/** Trains a small SE-CNN for 20 steps on random images, and then a net in float64. It yields to the event loop, where browsers start workers. */
export async function run(): Promise<Trained> {
  manualSeed(5);
  const head = [
    new nn.AdaptiveAvgPool2d(1),
    new nn.Flatten(),
    new nn.Dropout(0.2),
    new nn.Linear(32, 32),
    new nn.GELU(),
    new nn.Linear(32, 10),
  ];
  const model = new nn.Sequential(...block(3, 16), new nn.MaxPool2d(2), ...block(16, 32), ...head);
  const optimizer = new optim.AdamW(model.parameters(), { lr: 0.01, weightDecay: 0.01 });
  for (const _ of scoped(20)) {
    const x = rand([16, 3, 16, 16]);
    const y = randint(0, 10, [16]);
    const loss = F.crossEntropy(model.forward(x), y);
    optimizer.zeroGrad();
    loss.backward();
    optimizer.step();
    await new Promise((resolve) => setTimeout(resolve, 0));
  }
  const tensors = [...Object.values(model.stateDict()), ...trainInFloat64()].map((t) => t.data());
  const bytes = tensors.flatMap((t) => [...new Uint8Array(t.buffer, t.byteOffset, t.byteLength)]);
  const hash = await crypto.subtle.digest('SHA-256', Uint8Array.from(bytes));
  const digest = Array.from(new Uint8Array(hash), (byte) => byte.toString(16).padStart(2, '0')).join('');
  return { digest, threads: getNumThreads(), turbo: getTurbo() };
}

import { type NestedArray, type Tensor, grad, tensor } from 'chainrule';
import { type Exercise, exercise, expectTensor } from '../../support/exercise.ts';
import type * as Block from '../exercises/block.ts';
import type * as Gate from '../exercises/gate.ts';
import type * as Input from '../exercises/input.ts';

const float64 = (values: NestedArray): Tensor => tensor(values, { dtype: 'float64' });
const perChannel = (t: Tensor): Tensor => t.reshape([t.size(0), t.size(1), 1, 1]);

/** Two images of two channels and 1×2 pixels. The second hidden unit is negative for the first image and positive for the second. */
const x = float64([
  [[[1, 3]], [[-2, 4]]],
  [[[0, 1]], [[2, 4]]],
]);
const W1 = float64([
  [1, 0.5],
  [-1, 1],
]);
const W2 = float64([
  [0.4, 1],
  [-0.4, 0.5],
]);
const g = float64([
  [[[1, 1]], [[1, 1]]],
  [[[1, 0]], [[2, -1]]],
]);
const EXAMPLE = 'two images of two channels';

/** An SE block with each part exchangeable, to compute what a typical mistake gives. */
interface Parts {
  readonly squeeze: (x: Tensor) => Tensor;
  readonly hidden: (t: Tensor) => Tensor;
  readonly gate: (t: Tensor) => Tensor;
  readonly scale: (x: Tensor, s: Tensor) => Tensor;
}

function block(at: Tensor, change: Partial<Parts> = {}): Tensor {
  const usual: Parts = {
    squeeze: (t) => t.mean([2, 3]),
    hidden: (t) => t.relu(),
    gate: (t) => t.sigmoid(),
    scale: (t, s) => t.mul(perChannel(s)),
  };
  const { squeeze, hidden, gate, scale } = { ...usual, ...change };
  const h = hidden(squeeze(at).matmul(W1.transpose(0, 1)));
  return scale(at, gate(h.matmul(W2.transpose(0, 1))));
}

/** The gradient of the image of a block with the given parts. */
function imageGradient(change: Partial<Parts> = {}): Tensor {
  const at = x.clone().requiresGrad_();
  return grad(block(at, change), at, { gradOutputs: g });
}

function checkBlock({ squeezeExcite }: typeof Block): void {
  expectTensor(`${EXAMPLE}: squeezeExcite(x, W1, W2)`, squeezeExcite(x, W1, W2), block(x), {
    'The squeeze is the mean of the pixels, not their sum': block(x, { squeeze: (t) => t.sum([2, 3]) }),
    'The mean runs over the images too. Each image has its own gates': block(x, { squeeze: (t) => t.mean([0, 2, 3]).expand([2, 2]) }),
    'The relu between the two matrices is missing': block(x, { hidden: (t) => t }),
    'The sigmoid is missing': block(x, { gate: (t) => t }),
    'These are the gates. Multiply x by them': block(x, { scale: (_t, s) => s }),
    'The gates are added to x, and must multiply it': block(x, { scale: (t, s) => t.add(perChannel(s)) }),
  });
}

function checkGate({ gateBackward }: typeof Gate): void {
  const u = float64([
    [0, Math.log(3)],
    [-1, 2],
  ]).requiresGrad_();
  const s = u.sigmoid();
  const want = grad(x.mul(perChannel(s)), u, { gradOutputs: g });
  const slope = s.mul(s.neg().add(1)).detach();
  const ds = g.mul(x).sum([2, 3]);
  expectTensor(`${EXAMPLE}: gateBackward(g, x, s)`, gateBackward(g, x, s.detach()), want, {
    'The broadcast sum is missing: a gate scales all pixels of its channel': g.mul(x).mul(perChannel(slope)),
    'This is the mean over the pixels, and must be the sum': ds.mul(slope).div(2),
    'This is the gradient of s. The slope of σ, s·(1 − s), is missing': ds,
    'The slope of σ is s·(1 − s), not s': ds.mul(s).detach(),
    'The derivative of x·s by s is x': g.sum([2, 3]).mul(slope),
  });
}

function checkInput({ inputBackward }: typeof Input): void {
  const want = imageGradient();
  const direct = imageGradient({ squeeze: (t) => t.detach().mean([2, 3]) });
  const through = want.sub(direct);
  expectTensor(`${EXAMPLE}: inputBackward(g, x, W1, W2)`, inputBackward(g, x, W1, W2), want, {
    'This is the direct path alone. x also determines the gates, through the squeeze': direct,
    'This is the path through the squeeze alone': through,
    'Each pixel is 1/(H·W) of the mean: divide by the number of pixels': direct.add(through.mul(2)),
    'A hidden unit that relu has set to 0 passes nothing back': imageGradient({
      hidden: (t) => t.add(t.relu().sub(t).detach()),
    }),
  });
}

export const exercises: readonly Exercise[] = [
  exercise<typeof Block>({
    title: 'The forward pass',
    file: 'block',
    functions: ['squeezeExcite'],
    hint: 'Follow the shapes: z [N,C], h [N,R], s [N,C], and s reshaped to [N,C,1,1] to scale x.',
    check: checkBlock,
  }),
  exercise<typeof Gate>({
    title: 'The gradient of the gates',
    file: 'gate',
    functions: ['gateBackward'],
    hint: 'Chapter 4: the gradient of a factor that was broadcast is a sum. Then the slope of σ.',
    check: checkGate,
  }),
  exercise<typeof Input>({
    title: 'The gradient of the image',
    file: 'input',
    functions: ['inputBackward'],
    hint: 'Compute the direct path and the path through the squeeze one after the other, and add them.',
    check: checkInput,
  }),
];

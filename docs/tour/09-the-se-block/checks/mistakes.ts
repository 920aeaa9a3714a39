import type { Tensor } from 'chainrule';
import type { Mistake } from '../../support/exercise.ts';
import type { squeezeExcite } from '../solutions/block.ts';
import { gateBackward } from '../solutions/gate.ts';
import { inputBackward } from '../solutions/input.ts';

const t = (x: Tensor): Tensor => x.transpose(0, 1);
const perChannel = (v: Tensor): Tensor => v.reshape([v.size(0), v.size(1), 1, 1]);
const gates = (z: Tensor, W1: Tensor, W2: Tensor): Tensor => z.matmul(t(W1)).relu().matmul(t(W2)).sigmoid();

const block = (title: string, wrong: typeof squeezeExcite, says: RegExp): Mistake => ({
  exercise: 1,
  title,
  module: { squeezeExcite: wrong },
  says,
});

const gate = (title: string, wrong: typeof gateBackward, says: RegExp): Mistake => ({
  exercise: 2,
  title,
  module: { gateBackward: wrong },
  says,
});

const input = (title: string, wrong: typeof inputBackward, says: RegExp): Mistake => ({
  exercise: 3,
  title,
  module: { inputBackward: wrong },
  says,
});

/** The gradient along the direct path. */
const direct = (g: Tensor, x: Tensor, W1: Tensor, W2: Tensor): Tensor => g.mul(perChannel(gates(x.mean([2, 3]), W1, W2)));

/** The gradient through the squeeze, if relu passed everything back. */
function withoutMask(g: Tensor, x: Tensor, W1: Tensor, W2: Tensor): Tensor {
  const s = gates(x.mean([2, 3]), W1, W2);
  const dz = gateBackward(g, x, s).matmul(W2).matmul(W1);
  return perChannel(dz.div(x.size(2) * x.size(3)));
}

const slope = (s: Tensor): Tensor => s.mul(s.neg().add(1));

export const mistakes: readonly Mistake[] = [
  block('the sum instead of the mean', (x, W1, W2) => x.mul(perChannel(gates(x.sum([2, 3]), W1, W2))), /not their sum/),
  block(
    'the mean over images',
    (x, W1, W2) => x.mul(gates(x.mean([0, 2, 3]).reshape([1, -1]), W1, W2).reshape([1, -1, 1, 1])),
    /own gates/,
  ),
  block('no relu', (x, W1, W2) => x.mul(perChannel(x.mean([2, 3]).matmul(t(W1)).matmul(t(W2)).sigmoid())), /relu between/),
  block('no sigmoid', (x, W1, W2) => x.mul(perChannel(x.mean([2, 3]).matmul(t(W1)).relu().matmul(t(W2)))), /sigmoid is missing/),
  block('returns the gates', (x, W1, W2) => gates(x.mean([2, 3]), W1, W2), /These are the gates/),
  block('adds the gates', (x, W1, W2) => x.add(perChannel(gates(x.mean([2, 3]), W1, W2))), /must multiply/),
  gate('no broadcast sum', (g, x, s) => g.mul(x).mul(perChannel(slope(s))), /broadcast sum is missing/),
  gate('the mean', (g, x, s) => g.mul(x).mean([2, 3]).mul(slope(s)), /must be the sum/),
  gate('no slope', (g, x) => g.mul(x).sum([2, 3]), /The slope of σ, s·\(1 − s\), is missing/),
  gate('the image is left out', (g, _x, s) => g.sum([2, 3]).mul(slope(s)), /by s is x/),
  input('the direct path alone', direct, /direct path alone/),
  input('the path through the squeeze alone', (g, x, W1, W2) => inputBackward(g, x, W1, W2).sub(direct(g, x, W1, W2)), /squeeze alone/),
  input('relu passes everything', (g, x, W1, W2) => direct(g, x, W1, W2).add(withoutMask(g, x, W1, W2)), /passes nothing back/),
  input(
    'the number of pixels is left out',
    (g, x, W1, W2) => {
      const path = direct(g, x, W1, W2);
      return path.add(
        inputBackward(g, x, W1, W2)
          .sub(path)
          .mul(x.size(2) * x.size(3)),
      );
    },
    /1\/\(H·W\) of the mean/,
  ),
];

import fc from 'fast-check';
import { test } from 'vitest';
import type { Tensor } from 'chainrule';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import { broadcastTensors, convolutions, gradientProperty, shapes, tensors } from 'chainrule/testing';

/** A function of one's own. */
const swish = (x: Tensor, beta: Tensor): Tensor => x.mul(x.mul(beta).sigmoid());

/** A module of one's own: y = x ⊙ σ(W x + b). */
class Gate extends nn.Module {
  readonly linear = new nn.Linear(3, 3);

  forward(x: Tensor): Tensor {
    return x.mul(this.linear.forward(x).sigmoid());
  }
}

test('gelu', () => fc.assert(gradientProperty((x) => x.gelu(), tensors({ dtype: 'float64' }))));

test('swish, broadcasting', () => fc.assert(gradientProperty(swish, broadcastTensors(2, { dtype: 'float64' }))));

test('conv2d', () => fc.assert(gradientProperty(F.conv2d, convolutions({ dtype: 'float64' }))));

test('Gate: its input and its parameters', () => {
  const shape = shapes({ maxRank: 2 }).map((leading) => [...leading, 3]);
  fc.assert(gradientProperty(new Gate().to('float64'), tensors({ dtype: 'float64', shape })));
});

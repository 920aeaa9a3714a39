/**
 * The operations that the panel offers: the classic mistakes, and a right one.
 */
import type { Program } from './program.ts';

export interface Preset extends Program {
  readonly title: string;
  /** Says what is wrong, and what would be right. */
  readonly lesson: string;
}

export type PresetName = 'correct' | 'sign' | 'factor' | 'transpose' | 'broadcast' | 'detached' | 'tie' | 'kink';

export const PRESETS: Readonly<Record<PresetName, Preset>> = {
  correct: {
    title: 'correct: tanh(x w)',
    inputs: 'x = [[0.5, -1.2], [0.3, 0.8], [-0.7, 0.1]]\nw = [[1.1, -0.4], [0.6, 0.9]]',
    forward: 'y = x.matmul(w).tanh()',
    backward: 'h = g * (1 - y * y)  // through tanh\ndx = h.matmul(w.transpose(0, 1))\ndw = x.transpose(0, 1).matmul(h)',
    lesson:
      'Nothing is wrong here. Both gradients agree with the differences to ten digits. Change a sign or drop a transpose, and see what ' +
      'the check says.',
  },
  sign: {
    title: 'sign: Σ 1/x',
    inputs: 'x = [0.5, -1.5, 2, 3]',
    forward: 'y = (1 / x).sum()',
    backward: 'dx = g / (x * x)',
    lesson: 'The derivative of 1/x is −1/x². The minus is missing: dx = -g / (x * x).',
  },
  factor: {
    title: 'factor: Σ x²',
    inputs: 'x = [0.5, -1.5, 2, 3]',
    forward: 'y = (x * x).sum()',
    backward: 'dx = g * x',
    lesson: 'x is used twice, so two gradients arrive and add up: dx = 2 * g * x.',
  },
  transpose: {
    title: 'transpose: x w',
    inputs: 'x = [[0.5, -1.2], [0.3, 0.8], [-0.7, 0.1]]\nw = [[1.1, -0.4], [0.6, 0.9]]',
    forward: 'y = x.matmul(w)',
    backward: 'dx = g.matmul(w)\ndw = x.transpose(0, 1).matmul(g)',
    lesson: 'w is square, so every shape fits, and the values are wrong all the same: dx = g.matmul(w.transpose(0, 1)).',
  },
  broadcast: {
    title: 'missing broadcast sum: x w',
    inputs: 'x = [[0.5, -1.2], [0.3, 0.8], [-0.7, 0.1]]\nw = [1.5, -2]',
    forward: 'y = x * w',
    backward: 'dx = g * w\ndw = g * x',
    lesson:
      'w is read once for each row of x, so three gradients reach each of its elements. They add up: dw = (g * x).sum(0). The engine ' +
      'rejects a gradient of another shape than its input.',
  },
  detached: {
    title: 'detached path: a gate',
    inputs: 'x = [[0.5, -1.2, 0.9], [0.3, 0.8, -0.4]]',
    forward: 's = x.mean(1, { keepdim: true }).sigmoid()\ny = x * s',
    backward: 's = x.mean(1, { keepdim: true }).sigmoid()\ndx = g * s',
    lesson:
      'This is squeeze-and-excitation without its two layers. x reaches y along two paths, and the one through the mean has no gradient: ' +
      'dx = g * s + (g * x).sum(1, { keepdim: true }) * s * (1 - s) / 3.',
  },
  tie: {
    title: 'tie: a maximum',
    inputs: 'x = [2, 1, 2, -1]',
    forward: 'y = x.amax()\nbranch = x.eq(y)',
    backward: 'dx = g * x.eq(y)',
    lesson:
      'Two elements are equal to the maximum, and each gets the whole gradient. They must share it: dx = g * x.eq(y) / x.eq(y).sum(). ' +
      'The line branch says which element won. The check moves the point where it changes within a step, and compares the tie along the ' +
      'direction in which all elements move alike.',
  },
  kink: {
    title: 'kink without branch: Σ max(x, 0)',
    inputs: 'x = [0, 1.5, -0.5]',
    forward: 'y = (x * (x > 0)).sum()',
    backward: 'dx = g * (x > 0)',
    lesson:
      'The gradient is right wherever there is one. At 0 the slope is 0 to the left and 1 to the right, and the difference gives ½. Add ' +
      'the line branch = x > 0 to the forward, and the check moves away from the kink.',
  },
};

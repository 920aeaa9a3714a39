import { ArrayDataset } from 'chainrule/data';
import * as nn from 'chainrule/nn';
import { describe, expect, test } from 'vitest';
import { evaluate } from '../../examples/cifar-like/evaluate.ts';
import type { Metric } from '../../examples/cifar-like/metrics.ts';
import { confusionOf } from '../../examples/cifar-like/report/confusion.ts';
import { curvesOf } from '../../examples/cifar-like/report/curves.ts';
import { groupsOf } from '../../examples/cifar-like/report/samples.ts';
import { gain, points, type Result, textTable } from '../../examples/cifar-like/table.ts';

// The numbers of the report and of the table, against values counted by hand.

function resultOf(net: Result['net'], given: Partial<Result> = {}): Result {
  return {
    net,
    title: net === 'se' ? 'SE-CNN' : 'without SE',
    parameters: 24_346,
    steps: 781,
    seconds: 65.4,
    imagesPerSecond: 3456.4,
    testLoss: 0.5,
    testAccuracy: 0.5,
    labels: '',
    predictions: '',
    excitations: [],
    ...given,
  };
}

/** Metrics of the steps of one net. */
function stepsOf(net: string, losses: readonly number[]): Metric[] {
  return losses.map((loss, i) => ({ net, step: i + 1, epoch: 1, loss, accuracy: 1 / (i + 1), lr: (i + 1) / 10 }));
}

/** The mean of losses[from - 1 … to - 1]: of the steps `from` to `to`. */
function meanOf(losses: readonly number[], from: number, to: number): number {
  const part = losses.slice(from - 1, to);
  return part.reduce((a, b) => a + b, 0) / part.length;
}

describe('the SE gain', () => {
  const [plain, se] = [resultOf('plain', { testAccuracy: 0.75 }), resultOf('se', { testAccuracy: 0.875 })];

  test('is the accuracy with SE minus that without, in whatever order the nets come', () => {
    expect([gain([plain, se]), gain([se, plain])]).toEqual([12.5, 12.5]);
    expect(gain([resultOf('plain', { testAccuracy: 0.875 }), resultOf('se', { testAccuracy: 0.75 })])).toBe(-12.5);
    expect([gain([plain]), gain([se]), gain([])]).toEqual([null, null, null]);
  });

  test('has its sign as text', () => {
    expect([12.5, -12.5, 0.25, -0.25, 0, 0.001, -0.001].map(points)).toEqual([
      '+12.5 points',
      '−12.5 points',
      '+0.25 points',
      '−0.25 points',
      '±0.00 points',
      '±0.00 points',
      '±0.00 points',
    ]);
  });

  test('is the last line of the table', () => {
    expect(textTable([plain, se]).split('\n')).toEqual([
      'model       parameters  steps  time  test accuracy  images/s',
      '────────────────────────────────────────────────────────────',
      'without SE      24,346    781  1:05        75.00 %     3,456',
      'SE-CNN          24,346    781  1:05        87.50 %     3,456',
      '',
      'SE gain: +12.5 points of test accuracy',
    ]);
    expect(textTable([se])).not.toContain('gain');
  });

  test('a title sends no escape codes to the terminal', () => {
    const title = '\x1b[2Jnet\r\n\x9b31m\u202e';
    const table = textTable([resultOf('se', { title })]);
    expect(table).toContain('\\x1b[2Jnet\\x0d\\x0a\\x9b31m\\u202e  ');
    expect(table.split('\n').length).toBe(3);
  });
});

test('confusion: rows are the true class, columns the answer', () => {
  // Class 0 three times: right, taken for 1, taken for 1. Class 1 once: taken for 2. Class 2 never.
  expect(confusionOf(resultOf('se', { labels: '0001', predictions: '0112' }), 3)).toEqual([
    [1, 2, 0],
    [0, 0, 1],
    [0, 0, 0],
  ]);
});

describe('the groups of test images', () => {
  const labels = '01234567';
  // Right: 0 1 2 3 and 0 1 4 of eight.
  const plain = resultOf('plain', { labels, predictions: '01239999' });
  const se = resultOf('se', { labels, predictions: '01994999' });

  test('tell which net is right', () => {
    expect(groupsOf([plain, se])).toEqual([
      { title: 'Only SE-CNN is right', total: 1, indices: [4] },
      { title: 'Both are right', total: 2, indices: [0, 1] },
      { title: 'Both are wrong', total: 3, indices: [5, 6, 7] },
      { title: 'Only the net without SE is right', total: 2, indices: [2, 3] },
    ]);
  });

  test('of one net are right and wrong; the first few of each are shown, and empty groups are not', () => {
    expect(groupsOf([se], 2)).toEqual([
      { title: 'Right', total: 3, indices: [0, 1] },
      { title: 'Wrong', total: 5, indices: [2, 3] },
    ]);
    expect(groupsOf([resultOf('se', { labels, predictions: labels })]).map((g) => g.title)).toEqual(['Right']);
    expect(groupsOf([])).toEqual([]);
  });
});

describe('the curves', () => {
  const losses = Array.from({ length: 100 }, (_, i) => (i * 37) % 100);

  test('are means over a centred window of 3 % of the steps, which is shorter at the ends', () => {
    const { steps, curves } = curvesOf(stepsOf('se', losses), [resultOf('se')]);
    expect(steps).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
    const [{ loss, accuracy, lr }] = curves as [(typeof curves)[0]];
    // The window has three steps: the one before, the step, the one after.
    const expected = steps.map((s) => meanOf(losses, Math.max(1, s - 1), Math.min(100, s + 1)));
    expect(loss).toEqual(expected);
    expect(accuracy[49]).toBeCloseTo((100 * (1 / 49 + 1 / 50 + 1 / 51)) / 3, 10);
    expect([lr[0], lr[49], lr[99]]).toEqual([0.1, 5, 10]);
  });

  test('of a long run have about 500 points, the first and the last step among them', () => {
    const many = Array.from({ length: 5000 }, (_, i) => Math.sin(i));
    const { steps, curves } = curvesOf(stepsOf('se', many), [resultOf('se')]);
    expect([steps.length, steps[0], steps[1], steps.at(-1)]).toEqual([501, 1, 10, 5000]);
    const at = steps.indexOf(2500);
    // 150 steps, and one more so that the window has a centre.
    expect(curves[0]!.loss[at]).toBeCloseTo(meanOf(many, 2500 - 75, 2500 + 75), 12);
  });

  test('draw tests at their own steps, and each net by its own metrics', () => {
    const tested = (net: string, step: number, testLoss: number | null): Metric => ({ net, step, images: 4, testLoss, testAccuracy: 0.25 });
    const metrics = [...stepsOf('plain', [3, 3, 3]), tested('plain', 2, 7), ...stepsOf('se', [5, 5]), tested('se', 2, null)];
    const { steps, curves } = curvesOf(metrics, [resultOf('plain'), resultOf('se')]);
    expect(steps).toEqual([1, 2, 3]);
    expect(curves.map(({ net, loss, testLoss, testAccuracy }) => ({ net, loss, testLoss, testAccuracy }))).toEqual([
      { net: 'plain', loss: [3, 3, 3], testLoss: [null, 7, null], testAccuracy: [null, 25, null] },
      // The net that stopped earlier has no third step.
      { net: 'se', loss: [5, 5, null], testLoss: [null, null, null], testAccuracy: [null, 25, null] },
    ]);
  });

  test.each([1e18, 3e38])('keep their values after a spike of %s', (spike) => {
    const spiked = losses.map((_, i) => (i === 20 ? spike : 2));
    const { loss } = curvesOf(stepsOf('se', spiked), [resultOf('se')]).curves[0]!;
    expect([loss[10], loss[30], loss[99]]).toEqual([2, 2, 2]);
    expect(loss[20]).toBeCloseTo(spike / 3, -30);
  });

  test('of 200,000 lines can be drawn', () => {
    const { steps, curves } = curvesOf(stepsOf('se', new Array(200_000).fill(1)), [resultOf('se')]);
    expect([steps.at(-1), curves[0]!.loss.every((v) => v === 1)]).toEqual([200_000, true]);
  });
});

test('an evaluation takes 200,000 images in one batch', async () => {
  const images = 200_000;
  const dataset = new ArrayDataset(new Uint8Array(2 * images), [2], new Uint8Array(images).fill(1));
  const net = new nn.Sequential(new nn.Identity());
  // Both logits are 0, and the first of equal ones is the prediction.
  const { loss, accuracy, predictions, labels } = (await evaluate(net, dataset, { batchSize: images, transform: (x) => x }))!;
  expect([loss, accuracy, predictions.length, labels.length]).toEqual([expect.closeTo(Math.log(2), 6), 0, images, images]);
});

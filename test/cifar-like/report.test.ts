import { ArrayDataset, DataLoader } from 'chainrule/data';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import { evaluate } from 'chainrule/train';
import { PNG } from 'pngjs';
import { describe, expect, test } from 'vitest';
import { Answers } from '../../examples/cifar-like/answers.ts';
import { chooseData } from '../../examples/cifar-like/data.ts';
import type { Metric } from '../../examples/cifar-like/metrics.ts';
import { makeModel, WIDTHS } from '../../examples/cifar-like/model.ts';
import { defaultSettings, type Settings } from '../../examples/cifar-like/options.ts';
import { confusionOf } from '../../examples/cifar-like/report/confusion.ts';
import { curvesOf } from '../../examples/cifar-like/report/curves.ts';
import { netSection } from '../../examples/cifar-like/report/net.ts';
import { gateTitle } from '../../examples/cifar-like/report/report.ts';
import { groupsOf, imageUrl } from '../../examples/cifar-like/report/samples.ts';
import { taskSection } from '../../examples/cifar-like/report/task.ts';
import { headline, verdict } from '../../examples/cifar-like/report/verdict.ts';
import { gain, points, type Result, textTable } from '../../examples/cifar-like/table.ts';

// The numbers of the report and of the table, against values counted by hand.

function resultOf(net: Result['net'], given: Partial<Result> = {}): Result {
  return {
    net,
    title: net === 'se' ? 'SE-CNN' : 'without SE',
    parameters: 24_346,
    steps: 781,
    ranks: 1,
    seconds: 65.4,
    imagesPerSecond: 3456.4,
    testLoss: 0.5,
    testAccuracy: 0.5,
    labels: '',
    predictions: '',
    gates: [],
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

describe('the headline', () => {
  const [plain, se] = [resultOf('plain', { testAccuracy: 0.75 }), resultOf('se', { testAccuracy: 0.65 })];

  test('has the gain, and of one net its accuracy', () => {
    expect(headline([plain, se], { defaultSteps: 781 })).toBe('Squeeze-and-excitation: −10.0 points of test accuracy');
    expect(headline([se], { defaultSteps: 781 })).toBe('SE-CNN: 65.00 % of the test images');
  });

  test('says so if the run was shorter than the default', () => {
    const short = (r: Result) => ({ ...r, steps: 120 });
    expect(headline([short(plain), short(se)], { defaultSteps: 781 })).toBe('Squeeze-and-excitation: −10.0 points after 120 of 781 steps');
    expect(headline([short(plain)], { defaultSteps: 1562 })).toBe('without SE: 75.00 % of the test images after 120 of 1,562 steps');
    expect(headline([plain, se], { defaultSteps: 782 })).toContain('after 781 of 782 steps');
    expect(headline([plain, se], { defaultSteps: 780 })).not.toContain('after');
  });

  test.each([
    [{}, 781],
    [{ batchSize: 100 }, 500],
    // With fewer images, too: the default are all.
    [{ trainImages: 128 }, 781],
    [{ epochs: 3, maxSteps: 7 }, 781],
  ])('of a run with %o, the default are %i steps', (given, steps) => {
    expect(chooseData({ ...defaultSettings(), ...given }).defaultSteps).toBe(steps);
  });
});

describe('the bars of accuracy', () => {
  const results = [resultOf('plain', { testAccuracy: 0.8 }), resultOf('se', { title: '<SE> & "more"' })];

  test('have labelled marks at 80 and 90 % on the task that has these bounds, and on no other', () => {
    const labels = (given: Partial<Settings>) => [
      ...verdict(results, { ...defaultSettings(), ...given }).text.matchAll(
        /(?<![.\d])(\d+) %(?:<span class="wide">[^<]+<\/span>)?<\/span>/g,
      ),
    ];
    expect(labels({}).map(([, at]) => at)).toEqual(['80', '90']);
    expect(labels({ context: 'none' })).toEqual([]);
    expect(labels({ data: 'mnist' })).toEqual([]);
    expect(labels({ model: 'resnet20' })).toEqual([]);
  });

  test('have titles that are text', () => {
    const { text } = verdict(results, defaultSettings());
    expect(text).toContain('&lt;SE&gt; &amp; &quot;more&quot;');
    expect(text).not.toContain('<SE>');
  });
});

describe('the picture of the task', () => {
  const shown = (given: Partial<Settings> = {}) => {
    const settings = { ...defaultSettings(), ...given };
    return taskSection(chooseData(settings), settings)!.text;
  };
  const attributes = (text: string, kind: string) =>
    [...text.matchAll(new RegExp(`<rect class="${kind}" x="(\\d+)" y="(\\d+)" width="(\\d+)"`, 'g'))].map(([, ...numbers]) =>
      numbers.map((n) => Number(n) / 8),
    );

  test('shows one shape under a cool and a warm band, and the label that flips', () => {
    expect([...shown().matchAll(/label: <b>(\w+)<\/b>(, flipped)?/g)].map(([text]) => text)).toEqual([
      'label: <b>square</b>',
      'label: <b>frame</b>, flipped',
    ]);
    expect([...shown({ context: 'none' }).matchAll(/label: <b>\w+<\/b>(, flipped)?/g)].map(([text]) => text)).toEqual([
      'label: <b>square</b>',
      'label: <b>square</b>',
    ]);
  });

  test('frames the shape where it is, and what the last convolution of the tiny net sees around it', () => {
    const { synthetic } = chooseData(defaultSettings());
    const samples = Array.from({ length: 500 }, (_, i) => synthetic!.describe(i));
    const found = [0, 1].map((context) => samples.find((s) => s.shape === 2 && s.context === context && s.side === 'left')!);
    const top = 30 / 8;
    expect(attributes(shown(), 'mark')).toEqual(found.map(({ corner: [x, y] }) => [x, top + y, 9]));
    for (const [i, [x, y, width]] of attributes(shown(), 'field').entries()) {
      expect([x, width]).toEqual([0, 18]);
      const row = y! - top;
      expect(row >= 0 && row <= 14 && row <= found[i]!.corner[1] && row + 18 >= found[i]!.corner[1] + 9).toBe(true);
    }
    expect(attributes(shown({ model: 'resnet20' }), 'field')).toEqual([]);
  });

  test('says what the last convolutions of a residual net see, where the context decides', () => {
    const sees = 'see all of the image';
    expect(shown({ model: 'resnet20' })).toContain(sees);
    expect(shown({ model: 'resnet20', context: 'none' })).not.toContain(sees);
    expect(shown()).not.toContain(sees);
  });

  test('is left out for real images', () => {
    const settings = defaultSettings();
    expect(taskSection({ ...chooseData(settings), synthetic: null, bands: null }, settings)).toBe(null);
    for (const without of [{ synthetic: null }, { bands: null }])
      expect(taskSection({ ...chooseData(settings), ...without }, settings)).toBe(null);
  });
});

describe('the drawing of the nets', () => {
  const drawn = (given: Partial<Settings> = {}, shape: readonly number[] = [3, 32, 32]) => {
    const settings = { ...defaultSettings(), ...given };
    const { text } = netSection(settings, { ...chooseData(settings), shape });
    return [...text.matchAll(/<text [^>]*>([^<]*)<\/text>/g)].map(([, label]) => label!);
  };

  test('has the sizes of the settings', () => {
    expect(drawn().filter((t) => t.startsWith('SE '))).toEqual(['SE  16 → 4 → 16', 'SE  32 → 8 → 32', 'SE  64 → 16 → 64']);
    expect(drawn({ reduction: 16 }).filter((t) => t.startsWith('SE '))).toEqual(['SE  16 → 1 → 16', 'SE  32 → 2 → 32', 'SE  64 → 4 → 64']);
    expect(drawn()).toEqual(expect.arrayContaining(['3 × 32×32', '16 × 32×32', '32 × 16×16', '64 × 8×8', 'linear  64 → 10']));
    expect(drawn({}, [1, 28, 28])).toEqual(expect.arrayContaining(['1 × 28×28', '16 × 28×28', '32 × 14×14', '64 × 7×7']));
    // Pooling rounds down, a stride of 2 up.
    expect(drawn({}, [1, 7, 7])).toEqual(expect.arrayContaining(['16 × 7×7', '32 × 3×3', '64 × 1×1']));
    expect(drawn({ model: 'resnet20' }, [1, 7, 7])).toEqual(expect.arrayContaining(['16 × 7×7', '32 × 4×4', '64 × 2×2']));
    expect(drawn({ gate: 'tanh', squeeze: 'max' })).toEqual(expect.arrayContaining(['linear  C/4 → C, tanh', 'maximum over H×W']));
  });

  test('has the widths of the nets that are trained', () => {
    for (const model of ['tiny', 'resnet20'] as const) {
      const net = makeModel({ ...defaultSettings(), model }, true, 3);
      const widths = net.namedModules().flatMap(([, m]) => (m instanceof nn.SqueezeExcite ? [m.channels] : []));
      expect([...new Set(widths)]).toEqual([...WIDTHS]);
      net.dispose();
    }
  });

  test.each([
    ['standard', ['x', '3×3 conv, batch norm, ReLU', '3×3 conv, batch norm', 'SE', '+', 'shortcut', 'ReLU', 'y']],
    ['pre', ['x', 'SE', '3×3 conv, batch norm, ReLU', '3×3 conv, batch norm', '+', 'shortcut', 'ReLU', 'y']],
    ['post', ['x', '3×3 conv, batch norm, ReLU', '3×3 conv, batch norm', '+', 'shortcut', 'ReLU', 'SE', 'y']],
    ['identity', ['x', '3×3 conv, batch norm, ReLU', '3×3 conv, batch norm', '+', 'shortcut', 'SE', 'ReLU', 'y']],
    ['conv3x3', ['x', '3×3 conv, batch norm, ReLU', 'SE', '3×3 conv, batch norm', '+', 'shortcut', 'ReLU', 'y']],
  ] as const)('has SE at the placement %s', (placement, parts) => {
    const labels = drawn({ model: 'resnet20', placement });
    const start = labels.indexOf('x');
    expect(labels.slice(start, start + parts.length)).toEqual(parts);
  });

  test('has no SE for the net without', () => {
    for (const model of ['tiny', 'resnet56'] as const) expect(drawn({ se: false, model }).join(' ')).not.toContain('SE');
    expect(drawn({ se: false, model: 'resnet56' })).toContain('9 residual blocks');
  });
});

test.each([
  ['blocks.1.se', 'block 2'],
  ['layer3.0.se', 'stage 3, block 1'],
  ['layer12.10.se', 'stage 12, block 11'],
  ['other.blocks.1.se', 'other.blocks.1.se'],
  ['attention', 'attention'],
])('the gate %s has the title %s', (path, title) => expect(gateTitle(path)).toBe(title));

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

test.each([
  [
    'red, green and blue',
    [3, 2, 2],
    [10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 255],
    [
      [10, 50, 90],
      [20, 60, 100],
      [30, 70, 110],
      [40, 80, 255],
    ],
  ],
  [
    'grey',
    [1, 2, 2],
    [0, 10, 20, 255],
    [
      [0, 0, 0],
      [10, 10, 10],
      [20, 20, 20],
      [255, 255, 255],
    ],
  ],
  [
    'wide',
    [1, 1, 3],
    [1, 2, 3],
    [
      [1, 1, 1],
      [2, 2, 2],
      [3, 3, 3],
    ],
  ],
])('a test image of the report has its pixels: %s', (_, shape, bytes, pixels) => {
  const other = bytes.map(() => 7);
  const url = imageUrl(new ArrayDataset(Uint8Array.from([...other, ...bytes]), shape, [0, 1]), 1);
  const [start, content] = url.split(',') as [string, string];
  expect(start).toBe('data:image/png;base64');
  const { width, height, data } = PNG.sync.read(Buffer.from(content, 'base64'));
  expect([height, width]).toEqual(shape.slice(1));
  expect([...data]).toEqual(pixels.flatMap((rgb) => [...rgb, 255]));
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

  test('of a run that goes on are averaged over a share of the whole axis', () => {
    const losses = Array.from({ length: 10 }, (_, i) => i + 1);
    const { curves, end } = curvesOf(stepsOf('se', losses), [resultOf('se')], 1000);
    expect([end, curves[0]!.loss[0]]).toEqual([1000, 5.5]);
  });

  test('of a long run have about 500 points, the first and the last step among them', () => {
    const many = Array.from({ length: 5000 }, (_, i) => Math.sin(i));
    const { steps, curves } = curvesOf(stepsOf('se', many), [resultOf('se')]);
    expect([steps.length, steps[0], steps[1], steps.at(-1)]).toEqual([501, 1, 10, 5000]);
    const at = steps.indexOf(2500);
    // 150 steps, and one more so that the window has a centre.
    expect(curves[0]!.loss[at]).toBeCloseTo(meanOf(many, 2500 - 75, 2500 + 75), 12);
  });

  test('of a long run have each evaluation at its own step', () => {
    const tested: Metric = { net: 'se', step: 1234, images: 4, testLoss: 7, testAccuracy: 0.25 };
    const { steps, curves } = curvesOf([...stepsOf('se', new Array(5000).fill(1)), tested], [resultOf('se')]);
    const at = steps.indexOf(1234);
    expect(steps.slice(at - 1, at + 2)).toEqual([1230, 1234, 1240]);
    const [{ loss, testLoss, testAccuracy }] = curves as [(typeof curves)[0]];
    expect([loss[at], testLoss[at], testAccuracy[at]]).toEqual([1, 7, 25]);
    expect(testLoss.filter((v) => v !== null)).toEqual([7]);
  });

  test('draw tests at their own steps, and each net by its own metrics', () => {
    const tested = (net: string, step: number, testLoss: number | null): Metric => ({ net, step, images: 4, testLoss, testAccuracy: 0.25 });
    const metrics = [...stepsOf('plain', [3, 3, 3]), tested('plain', 2, 7), ...stepsOf('se', [5, 5]), tested('se', 2, null)];
    const { steps, curves, end } = curvesOf(metrics, [resultOf('plain'), resultOf('se')]);
    expect([steps, end]).toEqual([[1, 2, 3], 3]);
    expect(curvesOf(metrics, [resultOf('plain')], 12).end).toBe(12);
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
  const answers = new Answers();
  const loader = new DataLoader(dataset, { batchSize: images, transform: (x) => x });
  // Both logits are 0, and the first of equal ones is the prediction.
  const { loss, metrics } = await evaluate(net, { loader, loss: F.crossEntropy, metrics: { answers } });
  expect([loss, metrics.answers]).toEqual([expect.closeTo(Math.log(2), 6), 0]);
  expect([answers.predictions.length, answers.labels.length]).toEqual([images, images]);
});

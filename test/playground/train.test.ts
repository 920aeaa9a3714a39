import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { manualSeed, memory, type Tensor } from 'chainrule';
import { DataLoader, syntheticCifar, transforms } from 'chainrule/data';
import * as F from 'chainrule/nn/functional';
import { Adam, AdamW, SGD } from 'chainrule/optim';
import { afterEach, describe, expect, test } from 'vitest';
import { makeModel } from '../../examples/cifar-like/model.ts';
import { defaultSettings } from '../../examples/cifar-like/options.ts';
import { formatLink, parseLink } from '../../playground/link.ts';
import { Curve } from '../../playground/train/curve.ts';
import { EXPERIMENTS, experimentOf } from '../../playground/train/experiments.ts';
import { unpack } from '../../playground/train/files.ts';
import { findingOf } from '../../playground/train/views/texts.ts';
import { gradientNorms, observe } from '../../playground/train/observe.ts';
import { NETS } from '../../playground/train/nets.ts';
import { Diverged, Session } from '../../playground/train/session.ts';
import {
  BATCH_SIZES,
  type Change,
  CONTEXTS,
  DATA,
  DEFAULTS,
  GATES,
  OPTIMIZERS,
  PLACEMENTS,
  readSettings,
  REDUCTIONS,
  SQUEEZES,
  TEST_IMAGES,
  type TrainSettings,
  writeSettings,
} from '../../playground/train/settings.ts';
import { disposeTask, FilesError, mnistTask, syntheticTask, type Task } from '../../playground/train/task.ts';
import { tinyMnist } from '../support/idx.ts';

// The training of the playground, without its page.

const open: Session[] = [];
const tasks: Task[] = [];
afterEach(() => {
  open.splice(0).forEach((session) => session.dispose());
  tasks.splice(0).forEach(disposeTask);
});

function begin(settings: TrainSettings, task: Task): Session {
  const session = new Session(settings, task);
  open.push(session);
  return session;
}

function own(task: Task): Task {
  tasks.push(task);
  return task;
}

/** Small images, for what does not depend on the images. */
function tinyTask(count = 72): Task {
  const { images, labels } = tinyMnist(count);
  return own(
    mnistTask([
      { name: 'train-images', bytes: images },
      { name: 'train-labels', bytes: labels },
    ]),
  );
}

const SMALL: TrainSettings = { ...DEFAULTS, batchSize: 16 };

function lossesOf(session: Session, steps: number): { plain: number; se: number }[] {
  return Array.from({ length: steps }, () => session.step());
}

describe('a session', () => {
  test('has the losses of a loop over the public API, through changes of learning rate and optimizer', () => {
    const settings: TrainSettings = {
      ...SMALL,
      seed: 3,
      start: { optimizer: 'sgd', lr: 0.05 },
      changes: [
        { step: 2, optimizer: 'sgd', lr: 0.02 },
        { step: 3, optimizer: 'adam', lr: 0.01 },
        { step: 5, optimizer: 'adamw', lr: 0.003 },
      ],
    };
    const losses = lossesOf(begin(settings, own(syntheticTask(settings))), 7);
    for (const name of NETS) {
      const net = makeModel({ ...defaultSettings(), seed: 3 }, name === 'se', 3);
      const sgd = new SGD(net.parameters(), { lr: 0.05, momentum: 0.9 });
      const adam = new Adam(net.parameters(), { lr: 0.01 });
      const adamw = new AdamW(net.parameters(), { lr: 0.003 });
      const optimizers = [sgd, sgd, sgd, adam, adam, adamw, adamw];
      const expected: number[] = [];
      const transform = transforms.normalize(0.5, 0.25);
      for (const [x, y] of new DataLoader(syntheticCifar(), { batchSize: 16, seed: 3, shuffle: true, transform })) {
        const step = expected.length;
        if (step === 2) sgd.paramGroups[0]!.lr = 0.02;
        const loss = F.crossEntropy(net.forward(x), y);
        net.zeroGrad();
        loss.backward();
        optimizers[step]!.step();
        expected.push(loss.item());
        if (expected.length === 7) break;
      }
      expect(losses.map((l) => l[name])).toEqual(expected);
      [sgd, adam, adamw].forEach((o) => o.dispose());
      net.dispose();
    }
  });

  test('begins both nets with equal weights where both have them, in every placement', () => {
    for (const placement of PLACEMENTS) {
      const { nets } = begin({ ...SMALL, placement, reduction: 16 }, tinyTask());
      const plain = nets.plain.stateDict() as Record<string, Tensor>;
      const se = nets.se.stateDict() as Record<string, Tensor>;
      for (const [name, value] of Object.entries(plain)) expect(value.data()).toEqual(se[name]!.data());
      const gates = Object.keys(se).filter((name) => /fc\.0/.test(name) && !(name in plain));
      expect(gates.map((name) => name[7])).toEqual({ first: ['0'], last: ['2'] }[placement as string] ?? ['0', '1', '2']);
    }
  });

  test('gives the same losses again, whatever is looked at in between', () => {
    const task = tinyTask();
    const expected = lossesOf(begin(SMALL, task), 8);
    const watched = begin(SMALL, task);
    manualSeed(99);
    const losses = expected.map((_, i) => {
      observe(watched, i);
      gradientNorms(watched);
      return watched.step();
    });
    expect(losses).toEqual(expected);
    // Three steps are an epoch here: the order of the images changes.
    expect(new Set(expected.map((l) => l.plain)).size).toBe(8);
  });

  test('records a change by hand, so that its settings give the same run', () => {
    const task = tinyTask();
    const first = begin({ ...SMALL, changes: [{ step: 9, optimizer: 'sgd', lr: 1 }] }, task);
    first.change({ optimizer: 'sgd', lr: 0.1 });
    const losses = lossesOf(first, 3);
    first.change({ optimizer: 'adam', lr: 0.001 });
    first.change({ optimizer: 'adamw', lr: 0.002 });
    losses.push(...lossesOf(first, 3));
    first.change({ optimizer: 'adamw', lr: 0.02 });
    losses.push(...lossesOf(first, 4));
    // A change before the first step is the start, one at the same step replaces the other, and what was planned is dropped.
    expect(first.schedule).toEqual({
      start: { optimizer: 'sgd', lr: 0.1 },
      changes: [
        { step: 3, optimizer: 'adamw', lr: 0.002 },
        { step: 6, optimizer: 'adamw', lr: 0.02 },
      ],
    });
    expect(lossesOf(begin({ ...SMALL, ...first.schedule }, task), 10)).toEqual(losses);
  });

  test('keeps planned changes in its schedule before and after they take effect', () => {
    const changes: readonly Change[] = [
      { step: 1, optimizer: 'adam', lr: 0.5 },
      { step: 3, optimizer: 'sgd', lr: 0.5 },
    ];
    const session = begin({ ...SMALL, changes }, tinyTask());
    for (let step = 0; step < 5; step++) {
      expect(session.schedule).toEqual({ start: DEFAULTS.start, changes });
      session.step();
    }
    expect(session.update).toEqual({ optimizer: 'sgd', lr: 0.5 });
  });

  test('takes no more memory after 60 steps with views than after 5, and frees all at the end', () => {
    const before = memory().bytes;
    const { images, labels } = tinyMnist(40, 8);
    const task = mnistTask([
      { name: 'train-images', bytes: images },
      { name: 'train-labels', bytes: labels },
    ]);
    const session = new Session(SMALL, task);
    const run = (steps: number): number => {
      for (let i = 0; i < steps; i++) {
        session.step();
        if (i % 50 === 0) observe(session, 0);
      }
      return memory().bytes;
    };
    const warm = run(5);
    expect(run(60)).toBe(warm);
    session.dispose();
    disposeTask(task);
    expect(memory().bytes).toBe(before);
  });

  test('stops at a loss that is not finite, and names step, net and learning rate', () => {
    const session = begin({ ...SMALL, start: { optimizer: 'sgd', lr: 1e30 } }, tinyTask());
    session.step();
    const error = expectThrown(() => session.step());
    expect(error).toBeInstanceOf(Diverged);
    expect(error.message).toBe('Step 2: the loss of the net without SE is NaN. The learning rate 1e+30 is too high for sgd.');
    expect(session.steps).toBe(1);
    expect(observe(session, 0).evaluation.plain.predictions.length).toBe(12);
  });
});

describe('the views', () => {
  test('are those of the nets in evaluation mode', () => {
    const task = own(syntheticTask(DEFAULTS));
    const session = begin(SMALL, task);
    session.step();
    const { evaluation, gates, filters, maps } = observe(session, 5);
    const [x, labels] = task.test.batches[0]!;
    for (const name of NETS) {
      session.nets[name].eval();
      const predictions = session.nets[name].forward(x).argmax(1);
      expect([...evaluation[name].predictions.subarray(0, 128)]).toEqual([...predictions.data()]);
      expect(evaluation[name].predictions.length).toBe(TEST_IMAGES);
      expect(filters[name].values).toEqual(session.nets[name].blocks[0]!.conv.weight.data());
      expect(maps[name].map((m) => m.shape)).toEqual([
        [16, 32, 32],
        [32, 16, 16],
        [64, 8, 8],
      ]);
      const features = session.nets[name].featureMaps(x.slice(0, 5, 6))[2]!.data();
      const most = Math.max(...features);
      const expected = [...features].map((v) => Math.round(255 * Math.sqrt(v / most)));
      expect([...maps[name][2]!.values]).toEqual(expected);
    }
    const right = evaluation.se.predictions.reduce((n, p, i) => n + Number(p === task.test.labels[i]), 0);
    expect(evaluation.se.accuracy).toBe(right / TEST_IMAGES);
    expect([...labels.data()]).toEqual([...task.test.labels.subarray(0, 128)]);
    // Two bands of ten classes, and a row for all classes.
    expect(gates.map(({ block, means }) => [block, means.map((rows) => rows.length), means[1]![10]!.length])).toEqual([
      ['blocks.0.se', [11, 11], 16],
      ['blocks.1.se', [11, 11], 32],
      ['blocks.2.se', [11, 11], 64],
    ]);
  });

  test('give the length of the gradient of each layer', () => {
    const session = begin(SMALL, tinyTask());
    expect(gradientNorms(session).every(({ norms }) => norms.plain === null && norms.se === null)).toBe(true);
    session.step();
    const norms = gradientNorms(session);
    expect(norms.map(({ layer }) => layer)).toEqual([
      ...[1, 2, 3].flatMap((b) => [`${b} convolution`, `${b} batch norm`, `${b} SE`]),
      'linear',
    ]);
    const { weight, bias } = session.nets.se.fc;
    const squares = [weight, bias!].flatMap((p) => [...p.grad!.data()]).map((g) => g * g);
    expect(norms.at(-1)!.norms.se).toBeCloseTo(Math.sqrt(squares.reduce((a, b) => a + b)), 12);
    expect(norms[2]!.norms.plain).toBeNull();
    expect(norms[2]!.norms.se).toBeGreaterThan(0);
  });

  test('work for grey images and for a block without a gate', () => {
    const session = begin({ ...SMALL, placement: 'last', gate: 'tanh' }, tinyTask());
    const { gates, maps, filters } = observe(session, 11);
    expect(gates.map(({ block, means }) => [block, means.length])).toEqual([['blocks.2.se', 1]]);
    expect(maps.se[0]!.shape).toEqual([16, 12, 12]);
    expect(filters.se.shape).toEqual([16, 1, 3, 3]);
  });
});

describe('a link', () => {
  const change = fc.record({
    step: fc.integer({ min: 1, max: 1e9 }),
    optimizer: fc.constantFrom(...OPTIMIZERS),
    lr: fc.double({ min: Number.MIN_VALUE, max: 1e30, noNaN: true }),
  });
  const settings: fc.Arbitrary<TrainSettings> = fc.record({
    data: fc.constantFrom(...DATA),
    context: fc.constantFrom(...CONTEXTS),
    placement: fc.constantFrom(...PLACEMENTS),
    reduction: fc.constantFrom(...REDUCTIONS),
    squeeze: fc.constantFrom(...SQUEEZES),
    gate: fc.constantFrom(...GATES),
    batchSize: fc.constantFrom(...BATCH_SIZES),
    seed: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    start: change.map(({ optimizer, lr }) => ({ optimizer, lr })),
    changes: fc.uniqueArray(change, { selector: (c) => c.step }).map((list) => [...list].sort((a, b) => a.step - b.step)),
  });

  test('carries all settings and changes', () => {
    fc.assert(
      fc.property(settings, fc.integer({ min: 0, max: TEST_IMAGES - 1 }), (given, image) => {
        const link = formatLink({ panel: 'train', state: writeSettings(given, image) });
        expect(readSettings(parseLink(link).state)).toEqual({ settings: given, image, problems: [] });
      }),
    );
  });

  test('with anything in it gives valid settings', () => {
    const names = fc.oneof(fc.constantFrom(...Object.keys(writeSettings(DEFAULTS)), 'changes', 'image'), fc.string());
    const values = fc.oneof(fc.string(), fc.constantFrom('1', '-1', '1e400', '0', 'NaN', '1:sgd:1,1:sgd:1', '1:sgd', '__proto__'));
    fc.assert(
      fc.property(fc.dictionary(names, values), (state) => {
        const { settings, image } = readSettings(state);
        const link = writeSettings(settings, image);
        expect(readSettings(link)).toEqual({ settings, image, problems: [] });
      }),
    );
  });

  test.each([
    ['r', '3', "The link has r='3', expected 1, 2, 4, 8, 16; used 4."],
    ['lr', '0', "The link has lr='0', expected a number above 0; used 0.01."],
    ['lr', '1e400', "The link has lr='1e400', expected a number above 0; used 0.01."],
    ['seed', '-1', "The link has seed='-1', expected a whole number from 0 to 4294967295; used 0."],
    ['gate', 'sigmoid ', "The link has gate='sigmoid ', expected sigmoid, hardsigmoid, tanh, relu; used sigmoid."],
    [
      'changes',
      '5:sgd:1,5:sgd:2',
      "The link has changes='5:sgd:1,5:sgd:2', expected step:optimizer:lr by rising step, such as 120:sgd:0.05,300:adam:0.001; used none.",
    ],
    ['image', '512', "The link has image='512', expected a whole number from 0 to 511; used 11."],
    ['speed', '9', "The link has 'speed', which is no setting; it was left out."],
  ])('with %s=%s has the default, and says so', (name, value, problem) => {
    expect(readSettings({ [name]: value })).toEqual({ settings: DEFAULTS, image: 11, problems: [problem] });
  });

  test('of each experiment is its settings', () => {
    for (const experiment of EXPERIMENTS) {
      expect(experimentOf(readSettings(writeSettings(experiment.settings)).settings)).toBe(experiment);
    }
    expect(experimentOf({ ...DEFAULTS, seed: 77 })).toBeNull();
  });
});

describe('MNIST from files', () => {
  const { images, labels } = tinyMnist(60);
  const test10k = tinyMnist(30);

  test('needs one pair of files; the last sixth of it serves as test images', () => {
    const task = tinyTask(60);
    expect([task.train.length, task.test.labels.length, task.test.shape, task.test.samples]).toEqual([50, 10, [1, 12, 12], null]);
    expect([...task.test.pixels.subarray(0, 144)]).toEqual([...images.subarray(16 + 50 * 144, 16 + 51 * 144)]);
    expect([...task.test.labels]).toEqual([...labels.subarray(8 + 50)]);
  });

  test('takes test images from files of their own, in any order, packed or plain', async () => {
    const given = [
      new File([gzipSync(test10k.labels)], 't10k-labels-idx1-ubyte.gz'),
      new File([labels], 'train-labels-idx1-ubyte'),
      new File([test10k.images], 't10k-images-idx3-ubyte'),
      new File([gzipSync(images)], 'train-images-idx3-ubyte.gz'),
    ];
    const task = own(mnistTask(await Promise.all(given.map(unpack))));
    expect([task.train.length, task.test.labels.length]).toEqual([60, 30]);
  });

  test.each([
    [
      [],
      'Expected the training images and their labels, got none. Add train-images-idx3-ubyte and train-labels-idx1-ubyte, plain or as .gz.',
    ],
    [
      [{ name: 'train-images', bytes: images }],
      'Expected the training images and their labels, got train-images. Add train-images-idx3-ubyte and train-labels-idx1-ubyte, plain or as .gz.',
    ],
    [
      [
        { name: 'a', bytes: images },
        { name: 'b', bytes: labels },
        { name: 't10k-labels', bytes: labels },
      ],
      'Expected the test images and their labels, got t10k-labels. Add t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, plain or as .gz.',
    ],
  ])('says which file is missing (%#)', (files, message) => {
    const error = expectThrown(() => mnistTask(files));
    expect(error).toBeInstanceOf(FilesError);
    expect(error.message).toBe(message);
  });

  test('says which file is damaged', async () => {
    const packed = gzipSync(images);
    const broken = new File([packed.subarray(0, packed.length - 20)], 'train-images.gz');
    await expect(unpack(broken)).rejects.toThrow(
      new FilesError('train-images.gz cannot be unpacked: the file is damaged. Fetch it again.'),
    );
  });
});

describe('a curve', () => {
  test('keeps at most 400 points, each the mean of equally many neighbours', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5000 }), (count) => {
        const curve = new Curve(2);
        for (let i = 1; i <= count; i++) curve.add(i, [i, -i]);
        const points = curve.x.length;
        const size = points === 0 ? 1 : curve.x[0]!;
        expect(points).toBeLessThan(400);
        expect(points).toBe(Math.floor(count / size));
        curve.x.forEach((x, i) => {
          expect(x).toBe((i + 1) * size);
          expect(curve.series[0]![i]).toBeCloseTo(x - (size - 1) / 2, 9);
          expect(curve.series[1]![i]).toBeCloseTo(-(x - (size - 1) / 2), 9);
        });
      }),
      { numRuns: 20 },
    );
  });
});

function expectThrown(action: () => unknown): Error {
  try {
    action();
  } catch (error) {
    return error as Error;
  }
  throw new Error('expected an error');
}

test('the finding about gates names a channel only where one differs', () => {
  expect(findingOf([0.1, 0.5], [0.2, 0.2])).toBe('Channel 2 differs most: 0.50 for a cool band, 0.20 for a warm one.');
  expect(findingOf([NaN, 0.1], [0.1, 0.1])).toBe('The gates are not finite numbers.');
  expect(findingOf([0, 0.001], [0, 0])).toBe('All gates are closed, for both bands.');
  expect(findingOf([0.5, 0.5], [0.5, 0.502])).toBe('No channel differs between the bands.');
});

import { ShapeError, ArgumentError, memory, randn, manualSeed, tensor, zeros } from 'chainrule';
import { Accuracy, AUC, ConfusionMatrix, HardestExamples, Mean } from 'chainrule/train';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

// Metrics over batches, compared with their definitions.

const classes = (values: readonly number[]) => tensor([...values], { dtype: 'int32' });

const samples = fc.array(
  fc.record({ scores: fc.array(fc.integer({ min: -2, max: 2 }), { minLength: 4, maxLength: 4 }), label: fc.nat(3) }),
  {
    minLength: 1,
    maxLength: 12,
  },
);

test('accuracy and top-k: the share of samples whose class is among the k highest, of equal ones the lower class first', () => {
  fc.assert(
    fc.property(samples, fc.integer({ min: 1, max: 4 }), fc.nat(11), (rows, topK, split) => {
      const metric = new Accuracy({ topK });
      for (const part of [rows.slice(0, split), rows.slice(split)]) {
        if (part.length > 0) metric.update(tensor(part.map((r) => r.scores)), classes(part.map((r) => r.label)));
      }
      const right = rows.filter(({ scores, label }) => {
        const order = scores.map((score, c) => ({ score, c })).sort((a, b) => b.score - a.score || a.c - b.c);
        return order.slice(0, topK).some(({ c }) => c === label);
      });
      expect(metric.compute()).toBe(right.length / rows.length);
    }),
    { seed: 1, numRuns: 100 },
  );
});

test('the accuracy is that of argmax, also with NaN', () => {
  const scores = tensor([
    [1, NaN, 3],
    [NaN, 2, 2],
    [0, 1, 1],
  ]); // prettier-ignore
  for (let label = 0; label < 3; label++) {
    const metric = new Accuracy();
    metric.update(scores, classes([label, label, label]));
    const right = [...scores.argmax(1).data()].filter((p) => p === label).length;
    // A sample whose output for its own class is NaN is never right.
    const nan = [scores.toArray() as number[][]]
      .flat()
      .filter((row, n) => Number.isNaN(row[label]) && scores.argmax(1).data()[n] === label).length;
    expect(metric.compute()).toBe((right - nan) / 3);
  }
});

test('a sample without a number for its class is never right, of however many classes', () => {
  const metric = new Accuracy({ topK: 5 });
  metric.update(tensor([[NaN, 1, 2]]), classes([0]));
  expect(metric.compute()).toBe(0);
});

test('a confusion matrix that refuses a batch keeps no tensor', () => {
  const matrix = new ConfusionMatrix(2);
  const [three, target, wrong] = [tensor([[0, 0, 9]]), classes([0]), classes([5])];
  const { tensors } = memory();
  expect(() => matrix.update(three, wrong)).toThrow('target: expected a class from 0 to 1, got 5');
  expect(() => matrix.update(three, target)).toThrow('output: expected a class from 0 to 1, got 2');
  expect(memory().tensors).toBe(tensors);
});

test('the confusion matrix, precision, recall and F1 as scikit-learn defines them', () => {
  const matrix = new ConfusionMatrix(3);
  matrix.update(classes([0, 1, 1, 0, 2]), classes([0, 1, 0, 0, 1]));
  matrix.update(tensor([[0, 5, 1]]), classes([1]));
  expect(matrix.counts).toEqual([
    [2, 1, 0],
    [0, 2, 1],
    [0, 0, 0],
  ]);
  expect(matrix.compute()).toBe(4 / 6);
  // precision 2/2, 2/3, 0/1; recall 2/3, 2/3, 0/0; f1 4/5, 4/6, 0/1.
  expect(matrix.precision()).toBeCloseTo((1 + 2 / 3) / 3, 12);
  expect(matrix.recall()).toBeCloseTo((2 / 3 + 2 / 3) / 3, 12);
  expect(matrix.f1()).toBeCloseTo((0.8 + 2 / 3) / 3, 12);
  expect(matrix.f1('micro')).toBeCloseTo(4 / 6, 12);
  expect(matrix.precision('weighted')).toBeCloseTo((3 * 1 + 3 * (2 / 3)) / 6, 12);
  expect(matrix.confusions()).toEqual([
    { truth: 0, answer: 1, count: 1 },
    { truth: 1, answer: 2, count: 1 },
  ]);
  expect(matrix.confusions(1)).toHaveLength(1);
  matrix.reset();
  expect([matrix.counts.flat().every((n) => n === 0), matrix.compute()]).toEqual([true, NaN]);
});

test('AUC is the share of pairs in the right order, ties counting half, in any batches', () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.integer({ min: -3, max: 3 }), fc.nat(1)), { minLength: 1, maxLength: 20 }),
      fc.nat(19),
      (rows, split) => {
        const auc = new AUC();
        for (const part of [rows.slice(0, split), rows.slice(split)]) {
          if (part.length > 0) auc.update(tensor(part.map(([score]) => [score])), classes(part.map(([, label]) => label)).reshape([-1, 1]));
        }
        const pairs = rows.flatMap(([p, isP]) =>
          rows.flatMap(([n, isN]) => (isP === 1 && isN === 0 ? [p > n ? 1 : Number(p === n) / 2] : [])),
        );
        const expected = pairs.reduce((a, b) => a + b, 0) / pairs.length;
        if (pairs.length === 0) expect(auc.compute()).toBeNaN();
        else expect(auc.compute()).toBeCloseTo(expected, 12);
      },
    ),
    { seed: 2, numRuns: 100 },
  );
  // Infinities and 0 against −0 are ordered as numbers.
  const auc = new AUC();
  auc.update(tensor([-Infinity, 0, -0, Infinity]), classes([0, 1, 0, 1]));
  expect(auc.compute()).toBe((1 + 0.5 + 1 + 1) / 4);
});

test('the mean weighs its numbers', () => {
  const mean = new Mean();
  expect(() => mean.update('3' as never)).toThrow(new ArgumentError('Mean: value must be a number, got a string'));
  expect(() => mean.update(3, null as never)).toThrow(new ArgumentError('Mean: weight must be a number, got null'));
  mean.update(1, 3);
  mean.update(5);
  expect(mean.compute()).toBe(2);
  mean.reset();
  expect(mean.compute()).toBeNaN();
});

test('the hardest examples over batches, NaN first, the earlier of equal ones first', () => {
  const hardest = new HardestExamples(4);
  hardest.update(tensor([1, 3, 2]));
  hardest.update(tensor([3, NaN, 0]));
  expect(hardest.compute()).toEqual([
    { index: 4, loss: NaN },
    { index: 1, loss: 3 },
    { index: 3, loss: 3 },
    { index: 2, loss: 2 },
  ]);
});

test('metrics keep no tensor', () => {
  manualSeed(1);
  const [output, target, scores, labels] = [randn([8, 3]), classes(Array(8).fill(1)), randn([8]), classes([0, 1, 0, 1, 0, 1, 0, 1])];
  const { tensors } = memory();
  new Accuracy().update(output, target);
  new ConfusionMatrix(3).update(output, target);
  new AUC().update(scores, labels);
  new HardestExamples().update(scores);
  expect(memory().tensors).toBe(tensors);
});

describe('what is wrong is refused by name', () => {
  test.each([
    [() => new Accuracy({ topK: 0 }), ArgumentError, 'Accuracy: topK must be an integer from 1 on, got 0'],
    [
      () => new Accuracy().update(zeros([2]), classes([0, 1])),
      ShapeError,
      'Accuracy: expected outputs [N,C] and targets [N], got [2] and [2]',
    ],
    [
      () => new Accuracy().update(zeros([2, 3]), classes([0, 3])),
      ArgumentError,
      'Accuracy: target: expected a class from 0 to 2, got 3 at element 1',
    ],
    [() => new ConfusionMatrix(0), ArgumentError, 'ConfusionMatrix: the number of classes must be an integer from 1 on, got 0'],
    [
      () => new ConfusionMatrix(2).update(classes([0]), classes([0, 1])),
      ShapeError,
      'ConfusionMatrix: expected as many targets as outputs, got [1] and [2]',
    ],
    [
      () => new ConfusionMatrix(2).f1('mean' as never),
      ArgumentError,
      "ConfusionMatrix.f1: average must be macro, micro or weighted, got 'mean'",
    ],
    [() => new AUC().update(zeros([2, 2]), zeros([4])), ShapeError, 'AUC: expected one output for each target, got [2,2] and [4]'],
    [() => new AUC().update(zeros([1]), tensor([0.5])), ArgumentError, 'AUC: targets must be 0 or 1, got 0.5 at element 0'],
    [() => new AUC().update(tensor([NaN]), zeros([1])), ArgumentError, 'AUC: outputs must be numbers, got NaN at element 0'],
    [() => new HardestExamples(1.5), ArgumentError, 'HardestExamples: the length must be an integer from 1 on, got 1.5'],
    [
      () => new HardestExamples().update(zeros([])),
      ShapeError,
      "HardestExamples: expected the losses of a batch [N], got []; use reduction: 'none'",
    ],
  ] as const)('%s', (act, kind, message) => {
    expect(act).toThrow(message);
    expect(act).toThrow(kind);
  });
});

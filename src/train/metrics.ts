/**
 * Metrics that add up over batches. They hold numbers, no tensors, and their values are exact: the same however the samples are divided
 * into batches.
 *
 * Letters: N = samples of a batch, C = classes.
 */
import { checkTensors, scope, type Tensor } from '../autograd/index.ts';
import { isReadable, peek } from '../core/describe.ts';
import { ArgumentError, kindOf, ShapeError, shown } from '../core/errors.ts';
import { refuseOptions, refuseSurplus, withDefaults } from '../core/options.ts';
import { formatShape } from '../core/shape.ts';

/** A number that is computed over many batches. */
export interface Metric {
  /** Adds a batch: the model's output and the target. */
  update(output: Tensor, target: Tensor): void;
  /** Returns the value over all batches since the last reset; NaN without any. */
  compute(): number;
  /** Forgets all batches. */
  reset(): void;
}

/** Throws unless `metrics` is a record of metrics. */
export function checkMetrics(op: string, metrics: Readonly<Record<string, Metric>>): void {
  if (!isReadable(metrics)) throw new ArgumentError(`${op}: metrics must be an object of metrics by name, got ${kindOf(metrics)}`);
  for (const [name, metric] of Object.entries(metrics)) {
    const isMetric = (['update', 'compute', 'reset'] as const).every((method) => typeof peek(metric, method) === 'function');
    if (!isMetric)
      throw new ArgumentError(`${op}: metrics.${name} must have update, compute and reset, as new Accuracy() has, got ${kindOf(metric)}`);
  }
}

/** Returns the values of metrics by name. */
export function valuesOf(metrics: readonly (readonly [name: string, metric: Metric])[]): Readonly<Record<string, number>> {
  return Object.fromEntries(metrics.map(([name, metric]) => [name, metric.compute()]));
}

/** The mean of numbers, each with a weight, such as a loss with the number of its samples. */
export class Mean {
  #sum = 0;
  #weight = 0;

  constructor() {
    refuseOptions('Mean', arguments[0]);
  }

  /** Adds a number. Throws: ArgumentError for anything else, such as a tensor */
  update(value: number, weight = 1): void {
    refuseSurplus('update', arguments, 2);
    for (const [name, number] of Object.entries({ value, weight }))
      if (typeof number !== 'number') throw new ArgumentError(`Mean: ${name} must be a number, got ${kindOf(number)}`);
    this.#sum += value * weight;
    this.#weight += weight;
  }

  /** Returns Σ value · weight / Σ weight; NaN without any. */
  compute(): number {
    refuseSurplus('compute', arguments, 0);
    return this.#sum / this.#weight;
  }

  /** Forgets all numbers. */
  reset(): void {
    refuseSurplus('reset', arguments, 0);
    this.#sum = 0;
    this.#weight = 0;
  }
}

/** Options of Accuracy. */
export interface AccuracyOptions {
  /** A sample counts as right if its class is among so many highest outputs. Default 1. */
  readonly topK?: number;
}

/**
 * The share of samples whose class has the highest output, or one of the `topK` highest. Of equal outputs the lower class wins, as in argmax.
 * Shape:  output [N,C], target [N] of int32
 * Throws: ShapeError for other shapes, ArgumentError for a class that is not one of 0 … C − 1
 */
export class Accuracy implements Metric {
  readonly #topK: number;
  #right = 0;
  #count = 0;

  constructor(options: AccuracyOptions = {}) {
    const { topK } = withDefaults('Accuracy', options, { topK: 1 });
    if (!Number.isSafeInteger(topK) || topK < 1) throw new ArgumentError(`Accuracy: topK must be an integer from 1 on, got ${shown(topK)}`);
    this.#topK = topK;
  }

  update(output: Tensor, target: Tensor): void {
    refuseSurplus('update', arguments, 2);
    const { scores, labels, classes } = readScores('Accuracy', output, target);
    labels.forEach((label, n) => {
      const row = scores.subarray(n * classes, (n + 1) * classes);
      if (rankOf(label, row) < this.#topK) this.#right++;
    });
    this.#count += labels.length;
  }

  compute(): number {
    refuseSurplus('compute', arguments, 0);
    return this.#right / this.#count;
  }

  reset(): void {
    refuseSurplus('reset', arguments, 0);
    this.#right = 0;
    this.#count = 0;
  }
}

/**
 * Returns how many classes come before this one: those with a higher output, and lower classes with an equal one. NaN comes first; a class
 * whose own output is NaN has no rank.
 */
function rankOf(label: number, row: Readonly<Exclude<ReturnType<Tensor['data']>, never>>): number {
  const own = row[label]!;
  if (Number.isNaN(own)) return Infinity;
  let before = 0;
  for (let c = 0; c < row.length; c++) {
    if (c !== label && (!(row[c]! <= own) || (row[c] === own && c < label))) before++;
  }
  return before;
}

/** How the values of several classes become one. */
export type Average = 'macro' | 'micro' | 'weighted';

/**
 * Counts which class is taken for which, and computes precision, recall and F1 from it. As a metric its value is the accuracy.
 * Shape:  output [N,C] or predicted classes [N] of int32, target [N] of int32
 */
export class ConfusionMatrix implements Metric {
  /** C. */
  readonly classes: number;
  /** `counts[t][p]`: samples of class t taken for class p. */
  readonly counts: number[][];

  constructor(classes: number) {
    refuseOptions('ConfusionMatrix', arguments[1]);
    if (!Number.isSafeInteger(classes) || classes < 1)
      throw new ArgumentError(`ConfusionMatrix: the number of classes must be an integer from 1 on, got ${shown(classes)}`);
    this.classes = classes;
    this.counts = Array.from({ length: classes }, () => Array<number>(classes).fill(0));
  }

  update(output: Tensor, target: Tensor): void {
    refuseSurplus('update', arguments, 2);
    checkTensors('ConfusionMatrix', { output, target });
    const labels = readClasses('ConfusionMatrix', 'target', target, this.classes);
    const answers = scope(() => {
      const predicted = output.ndim === 1 ? output : output.argmax(1);
      return readClasses('ConfusionMatrix', 'output', predicted, this.classes);
    });
    if (labels.length !== answers.length) {
      throw new ShapeError(
        `ConfusionMatrix: expected as many targets as outputs, got ${formatShape(output.shape)} and ${formatShape(target.shape)}`,
      );
    }
    labels.forEach((label, n) => this.counts[label]![answers[n]!]!++);
  }

  /** The accuracy. */
  compute(): number {
    refuseSurplus('compute', arguments, 0);
    return sum(this.counts.map((row, c) => row[c]!)) / this.#total();
  }

  reset(): void {
    refuseSurplus('reset', arguments, 0);
    for (const row of this.counts) row.fill(0);
  }

  /** Of what was taken for a class, the share that is of it. A class never answered counts as 0. */
  precision(average: Average = 'macro'): number {
    refuseSurplus('precision', arguments, 1);
    return this.#averaged('precision', average, (right, answered) => right / answered);
  }

  /** Of the samples of a class, the share that was found. A class without samples counts as 0. */
  recall(average: Average = 'macro'): number {
    refuseSurplus('recall', arguments, 1);
    return this.#averaged('recall', average, (right, _, present) => right / present);
  }

  /** The harmonic mean of precision and recall of each class, averaged. */
  f1(average: Average = 'macro'): number {
    refuseSurplus('f1', arguments, 1);
    return this.#averaged('f1', average, (right, answered, present) => (2 * right) / (answered + present));
  }

  /** The pairs of classes that are most often confused: samples of `truth` taken for `answer`, at most `length` of them, most first. */
  confusions(length = 10): { readonly truth: number; readonly answer: number; readonly count: number }[] {
    refuseSurplus('confusions', arguments, 1);
    const pairs = this.counts.flatMap((row, truth) => row.map((count, answer) => ({ truth, answer, count })));
    const wrong = pairs.filter(({ truth, answer, count }) => truth !== answer && count > 0);
    return wrong.sort((a, b) => b.count - a.count).slice(0, length);
  }

  #total(): number {
    return sum(this.counts.flat());
  }

  #averaged(name: string, average: Average, share: (right: number, answered: number, present: number) => number): number {
    const right = this.counts.map((row, c) => row[c]!);
    const answered = this.counts.map((_, c) => sum(this.counts.map((row) => row[c]!)));
    const present = this.counts.map(sum);
    // 0 / 0 counts as 0, as in scikit-learn.
    const values = right.map((r, c) => share(r, answered[c]!, present[c]!) || 0);
    switch (average) {
      case 'macro':
        return sum(values) / this.classes;
      case 'micro':
        return share(sum(right), sum(answered), sum(present));
      case 'weighted':
        return sum(values.map((value, c) => value * present[c]!)) / sum(present);
      default:
        throw new ArgumentError(`ConfusionMatrix.${name}: average must be macro, micro or weighted, got ${shown(average)}`);
    }
  }
}

function sum(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0);
}

/**
 * The area under the ROC curve of a binary classifier: the probability that a positive sample has a higher output than a negative one;
 * equal outputs count half. Keeps one number a sample.
 * Shape:  output [N] or [N,1], target the same with 0 and 1
 * Source: Hanley & McNeil 1982, Radiology 143 (1), the Mann–Whitney statistic
 */
export class AUC implements Metric {
  readonly #positive: number[] = [];
  readonly #negative: number[] = [];

  constructor() {
    refuseOptions('AUC', arguments[0]);
  }

  update(output: Tensor, target: Tensor): void {
    refuseSurplus('update', arguments, 2);
    checkTensors('AUC', { output, target });
    if (output.numel !== target.numel || output.ndim > 2 || (output.ndim === 2 && output.shape[1] !== 1)) {
      throw new ShapeError(`AUC: expected one output for each target, got ${formatShape(output.shape)} and ${formatShape(target.shape)}`);
    }
    const scores = output.data();
    const labels = target.data();
    const wrong = labels.findIndex((label) => label !== 0 && label !== 1);
    if (wrong >= 0) throw new ArgumentError(`AUC: targets must be 0 or 1, got ${labels[wrong]} at element ${wrong}`);
    const nan = scores.findIndex(Number.isNaN);
    if (nan >= 0) throw new ArgumentError(`AUC: outputs must be numbers, got NaN at element ${nan}`);
    scores.forEach((score, n) => (labels[n] === 1 ? this.#positive : this.#negative).push(score));
  }

  /** NaN without both a positive and a negative sample. */
  compute(): number {
    refuseSurplus('compute', arguments, 0);
    const negative = Float64Array.from(this.#negative).sort();
    let wins = 0;
    for (const score of this.#positive) wins += (countBelow(negative, score, false) + countBelow(negative, score, true)) / 2;
    return wins / (this.#positive.length * negative.length);
  }

  reset(): void {
    refuseSurplus('reset', arguments, 0);
    this.#positive.length = 0;
    this.#negative.length = 0;
  }
}

/** Returns how many of the sorted values are below `score`, or not above it if `orEqual`, by bisection. */
function countBelow(sorted: Float64Array, score: number, orEqual: boolean): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]! < score || (orEqual && sorted[middle] === score)) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** A sample with its loss. */
export interface HardExample {
  /** The position of the sample among all that were added, from 0. */
  readonly index: number;
  readonly loss: number;
}

/** Keeps the samples with the highest losses. */
export class HardestExamples {
  readonly #length: number;
  #examples: HardExample[] = [];
  #seen = 0;

  /** @param length how many samples to keep */
  constructor(length = 16) {
    refuseOptions('HardestExamples', arguments[1]);
    if (!Number.isSafeInteger(length) || length < 1)
      throw new ArgumentError(`HardestExamples: the length must be an integer from 1 on, got ${shown(length)}`);
    this.#length = length;
  }

  /**
   * Adds the losses of a batch, as `reduction: 'none'` gives them.
   * Shape: losses [N]
   */
  update(losses: Tensor): void {
    refuseSurplus('update', arguments, 1);
    checkTensors('HardestExamples', { losses });
    if (losses.ndim !== 1)
      throw new ShapeError(`HardestExamples: expected the losses of a batch [N], got ${formatShape(losses.shape)}; use reduction: 'none'`);
    const added = Array.from(losses.data(), (loss, n) => ({ index: this.#seen + n, loss }));
    this.#seen += added.length;
    // NaN is the hardest of all.
    const key = ({ loss }: HardExample): number => (Number.isNaN(loss) ? Infinity : loss);
    this.#examples = [...this.#examples, ...added].sort((a, b) => key(b) - key(a)).slice(0, this.#length);
  }

  /** Returns the samples, the hardest first; of equal ones the earlier first. */
  compute(): readonly HardExample[] {
    refuseSurplus('compute', arguments, 0);
    return [...this.#examples];
  }

  /** Forgets all samples. */
  reset(): void {
    refuseSurplus('reset', arguments, 0);
    this.#examples = [];
    this.#seen = 0;
  }
}

interface Scores {
  readonly scores: ReturnType<Tensor['data']>;
  readonly labels: ArrayLike<number> & { forEach(fn: (label: number, n: number) => void): void };
  readonly classes: number;
}

function readScores(op: string, output: Tensor, target: Tensor): Scores {
  checkTensors(op, { output, target });
  const classes = output.shape[1];
  if (output.ndim !== 2 || classes === undefined || target.ndim !== 1 || target.shape[0] !== output.shape[0]) {
    throw new ShapeError(
      `${op}: expected outputs [N,C] and targets [N], got ${formatShape(output.shape)} and ${formatShape(target.shape)}`,
    );
  }
  return { scores: output.data(), labels: readClasses(op, 'target', target, classes), classes };
}

function readClasses(op: string, name: string, t: Tensor, classes: number): Scores['labels'] {
  if (t.ndim !== 1) throw new ShapeError(`${op}: ${name}: expected classes [N], got ${formatShape(t.shape)}`);
  const labels = t.data();
  const wrong = labels.findIndex((label) => !Number.isInteger(label) || label < 0 || label >= classes);
  if (wrong >= 0)
    throw new ArgumentError(`${op}: ${name}: expected a class from 0 to ${classes - 1}, got ${labels[wrong]} at element ${wrong}`);
  return labels;
}

/**
 * Samplers: which samples an epoch of a loader draws, and in which order.
 */
import { ArgumentError, kindOf } from '../core/errors.ts';
import { peek } from '../core/describe.ts';
import { checkBoolean, checkCount, checkOptions } from '../core/options.ts';
import type { Random } from '../core/random.ts';
import { log } from '../kernels/scalars.ts';

/** Draws the samples of an epoch: a pure function of `random`, so that a loader that resumes draws the same ones. */
export interface Sampler {
  /** Samples of an epoch. */
  readonly length: number;
  /**
   * Returns `length` indices of the dataset, in order; the same one may occur again.
   * @param random the stream of the epoch, keyed by (data seed, epoch)
   */
  draw(random: Random): ArrayLike<number>;
}

/** The samples of an epoch, in order. */
export interface Order {
  readonly indices: Int32Array;
  /** For each, how often it was drawn before; null if none is drawn twice. */
  readonly repeats: Int32Array | null;
}

/** Throws unless `sampler` is one. */
export function checkSampler(sampler: Sampler, shuffle: boolean): void {
  const length = peek(sampler, 'length');
  if (typeof peek(sampler, 'draw') !== 'function' || !Number.isSafeInteger(length) || (length as number) < 0)
    throw new ArgumentError(`DataLoader: sampler must have a length, a whole number ≥ 0, and draw, got ${kindOf(sampler)}`);
  if (shuffle) throw new ArgumentError('DataLoader: the sampler draws the order; leave out shuffle');
}

/** Returns the order that a sampler draws for a dataset of n samples. */
export function drawOrder(sampler: Sampler, random: Random, n: number): Order {
  const drawn = sampler.draw(random);
  if (drawn.length !== sampler.length)
    throw new ArgumentError(`DataLoader: the sampler drew ${drawn.length} samples, its length is ${sampler.length}`);
  const counts = new Map<number, number>();
  const repeats = Int32Array.from(drawn, (index) => {
    if (!Number.isInteger(index) || index < 0 || index >= n)
      throw new ArgumentError(`DataLoader: the sampler drew index ${index}, the dataset has ${n} samples`);
    const count = counts.get(index) ?? 0;
    counts.set(index, count + 1);
    return count;
  });
  return { indices: Int32Array.from(drawn), repeats: counts.size === drawn.length ? null : repeats };
}

/** Options of weightedSampler. */
export interface WeightedSamplerOptions {
  /** Samples of an epoch. Default: as many as there are weights. */
  readonly length?: number;
  /** Whether a sample may be drawn again in an epoch. Default true. */
  readonly replacement?: boolean;
}

/**
 * Draws samples with probabilities in proportion to their weights.
 *
 * Without replacement, each next sample is drawn in proportion to the weights of those that remain (Efraimidis and Spirakis 2006: the
 * `length` largest ln(u) / w). A sample that is drawn again has random numbers of its own.
 * @param weights one number ≥ 0 for each sample of the dataset
 * Throws: ArgumentError for other weights, if all are 0, or if fewer than `length` are above 0 without replacement
 */
export function weightedSampler(weights: ArrayLike<number>, options: WeightedSamplerOptions = {}): Sampler {
  checkOptions('weightedSampler', options, ['length', 'replacement']);
  const own = checkWeights(weights);
  if (own.length === 0) throw new ArgumentError('weightedSampler: there are no weights');
  const { length = own.length, replacement = true } = options;
  checkCount('weightedSampler', 'length', length);
  checkBoolean('weightedSampler', 'replacement', replacement);
  const positive = own.reduce((count, weight) => count + (weight > 0 ? 1 : 0), 0);
  if (positive === 0) throw new ArgumentError('weightedSampler: no weight is above 0');
  if (!replacement && length > positive)
    throw new ArgumentError(
      `weightedSampler: length is ${length}, and without replacement only ${positive} samples of weight above 0 can be drawn`,
    );
  const sums = cumulative(own);
  if (replacement) return { length, draw: (random) => Int32Array.from({ length }, () => pick(sums, random.uniform())) };
  return { length, draw: (random) => withoutReplacement(own, length, random) };
}

/**
 * Draws each class equally often on average, and the samples of a class equally likely: weightedSampler with weights 1 / (samples of the
 * class).
 *
 * @param labels the class of each sample of the dataset · @param options as weightedSampler's
 * @example new DataLoader(data, { batchSize: 64, sampler: classBalancedSampler(data.labels) })
 */
export function classBalancedSampler(labels: ArrayLike<number>, options: WeightedSamplerOptions = {}): Sampler {
  checkOptions('classBalancedSampler', options, ['length', 'replacement']);
  const counts = new Map<number, number>();
  const classes = toArray('classBalancedSampler', 'labels', labels);
  if (classes.length === 0) throw new ArgumentError('classBalancedSampler: there are no labels');
  for (const label of classes) counts.set(label, (counts.get(label) ?? 0) + 1);
  return weightedSampler(
    classes.map((label) => 1 / counts.get(label)!),
    options,
  );
}

function checkWeights(weights: ArrayLike<number>): Float64Array {
  const own = Float64Array.from(toArray('weightedSampler', 'weights', weights));
  const wrong = own.findIndex((weight) => !(weight >= 0 && Number.isFinite(weight)));
  if (wrong >= 0) throw new ArgumentError(`weightedSampler: weight ${wrong} must be a number ≥ 0, got ${own[wrong]}`);
  return own;
}

function toArray(op: string, name: string, values: unknown): number[] {
  if (typeof values === 'object' && Number.isSafeInteger(peek(values, 'length'))) {
    const list = Array.from(values as ArrayLike<unknown>);
    const wrong = list.findIndex((value) => typeof value !== 'number');
    if (wrong < 0) return list as number[];
    throw new ArgumentError(`${op}: ${name} must be an array of numbers, element ${wrong} is ${kindOf(list[wrong])}`);
  }
  throw new ArgumentError(`${op}: ${name} must be an array of numbers, got ${kindOf(values)}`);
}

/** Returns the sums of the weights up to and with each. */
function cumulative(weights: Float64Array): Float64Array {
  let sum = 0;
  return weights.map((weight) => (sum += weight));
}

/** Returns the first index whose cumulative weight is above u times the whole. Its weight is above 0. */
function pick(sums: Float64Array, u: number): number {
  const whole = sums.at(-1)!;
  const target = u * whole;
  let low = 0;
  // The last one of a weight above 0: rounding can make the target the whole.
  let high = sums.indexOf(whole);
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sums[middle]! > target) high = middle;
    else low = middle + 1;
  }
  return low;
}

function withoutReplacement(weights: Float64Array, length: number, random: Random): Int32Array {
  const keys = weights.map((weight) => {
    // Drawn for each sample, so that the number of draws does not depend on the weights.
    const logarithm = log(1 - random.uniform());
    return weight === 0 ? -Infinity : logarithm / weight;
  });
  const order = Int32Array.from(weights, (_, i) => i).sort((a, b) => keys[b]! - keys[a]!);
  return order.slice(0, length);
}

/**
 * fast-check arbitraries of shapes and tensors. Shape, layout and values are drawn independently, so that a failure shrinks to
 * the smallest shape in the simplest layout.
 */
import fc, { type Arbitrary } from 'fast-check';
import { peek } from '../core/describe.ts';
import { checkDType, fits, isFloat, type DType } from '../core/dtype.ts';
import { ArgumentError, isArray, shown } from '../core/errors.ts';
import { checkCount, checkOptions } from '../core/options.ts';
import { Random } from '../core/random.ts';
import { checkDims, sizeOf, type Shape } from '../core/shape.ts';
import { TensorSample, type Layout, type LayoutChoice } from './sample.ts';

/** Which values a float tensor has: `distinct` values are at least 0.2 apart, `nonzero` ones at least 0.3 away from 0. */
export type Domain = 'real' | 'positive' | 'nonzero' | 'distinct' | 'aboveMinusOne';

/** Options of shapes. */
export interface ShapeOptions {
  /** Default 0. */
  readonly minRank?: number;
  /** Default 3. */
  readonly maxRank?: number;
  /** 0 allows empty tensors. Default 0. */
  readonly minSize?: number;
  /** Default 3. */
  readonly maxSize?: number;
}

/** Options of broadcastTensors: those of shapes, and those of tensors except `shape`. */
export interface BroadcastOptions extends ShapeOptions, Omit<TensorsOptions, 'shape'> {}

/** Options of tensors. */
export interface TensorsOptions {
  /** Default float32; gradients are checked in float64. */
  readonly dtype?: DType;
  /** One shape, or an arbitrary of shapes. Default: shapes(). */
  readonly shape?: Shape | Arbitrary<readonly number[]>;
  /** Default 'real': from −2 to 2. Ignored for int32 and bool. */
  readonly domain?: Domain;
  /** Default: ALL_LAYOUTS. */
  readonly layouts?: readonly Layout[];
  /** Smallest int32 value. Default −10. */
  readonly min?: number;
  /** Largest int32 value. Default 10. */
  readonly max?: number;
  /** Default true for float dtypes. */
  readonly requiresGrad?: boolean;
}

/** The names of the options. */
export const SHAPE_OPTIONS = ['minRank', 'maxRank', 'minSize', 'maxSize'] as const;
export const SAMPLE_OPTIONS = ['dtype', 'domain', 'layouts', 'min', 'max', 'requiresGrad'] as const;

/** Checks options of shapes or tensors: those of `known`. */
export function checkSampleOptions(name: string, options: object, known: readonly string[]): void {
  const booleans = ['requiresGrad', 'unbatched', 'dilated'].filter((option) => known.includes(option));
  checkOptions(name, options, known, booleans);
  const given = options as Readonly<Record<string, unknown>>;
  for (const option of SHAPE_OPTIONS) if (given[option] !== undefined) checkWhole(name, option, given[option]);
  const { dtype, domain, layouts, min, max } = given;
  if (dtype !== undefined) checkDType(name, dtype as DType);
  if (domain !== undefined && !DOMAINS.includes(domain as Domain))
    throw new ArgumentError(`${name}: domain must be one of ${DOMAINS.join(', ')}, got ${shown(domain)}`);
  checkBounds(name, min, max);
  if (layouts !== undefined && (!isArray(layouts) || layouts.length === 0 || !layouts.every((l) => ALL_LAYOUTS.includes(l as Layout))))
    throw new ArgumentError(`${name}: layouts must be an array of ${ALL_LAYOUTS.join(', ')}, got ${shown(layouts)}`);
}

function checkWhole(name: string, option: string, value: unknown): void {
  if (!Number.isSafeInteger(value) || (value as number) < 0)
    throw new ArgumentError(`${name}: ${option} must be a whole number ≥ 0, got ${shown(value)}`);
  if (option.endsWith('Rank')) checkDims(`${name}: ${option}`, value as number);
}

/** Throws unless the bounds of int32 values are int32, in order. */
function checkBounds(name: string, min: unknown = INT32_RANGE.min, max: unknown = INT32_RANGE.max): void {
  for (const [option, value] of Object.entries({ min, max }))
    if (!fits(value as number, 'int32'))
      throw new ArgumentError(`${name}: ${option} must be a whole number that fits int32, got ${shown(value)}`);
  if ((min as number) > (max as number)) throw new ArgumentError(`${name}: min must be at most max, got ${String(min)} and ${String(max)}`);
}

/** Throws unless `value` is a shape, or an arbitrary of shapes. */
function checkShape(name: string, value: unknown): void {
  if (isArray(value)) sizeOf(value as Shape, `${name}: shape`);
  else if (!isArbitrary(value))
    throw new ArgumentError(`${name}: shape must be an array of sizes, or an arbitrary of them, got ${shown(value)}`);
}

/** Returns whether fast-check can draw from the value. */
export function isArbitrary(value: unknown): value is Arbitrary<unknown> {
  return typeof peek(value, 'generate') === 'function' && typeof peek(value, 'shrink') === 'function';
}

/** The int32 values that are drawn by default. */
const INT32_RANGE = { min: -10, max: 10 } as const;

const DOMAINS: readonly Domain[] = ['real', 'positive', 'nonzero', 'distinct', 'aboveMinusOne'];

/** Every layout. */
export const ALL_LAYOUTS: readonly Layout[] = ['plain', 'transposed', 'sliced', 'expanded', 'channelsLast'];

/** Every layout except `expanded`, whose repeated elements tie. */
export const NO_TIES: readonly Layout[] = ['plain', 'transposed', 'sliced', 'channelsLast'];

/** Sizes of one dim: mostly above 1, rarely 0. Shrinks to 1. */
function sizes(minSize: number, maxSize: number): Arbitrary<number> {
  const smallest = Math.max(minSize, 1);
  const larger = Array.from({ length: Math.max(0, maxSize - smallest) }, (_, i) => smallest + 1 + i);
  // Repetitions set the probabilities. fc.constantFrom shrinks to the first choice, so the simplest size comes first.
  const zero = minSize === 0 ? [0] : [];
  const choices = [smallest, ...zero, smallest, smallest, ...larger.flatMap((n) => [n, n, n, n])];
  return fc.constantFrom(...choices);
}

/**
 * Draws shapes of a few small dims.
 * @example fc.property(shapes({ minRank: 2 }), (shape) => …)
 */
export function shapes(options: ShapeOptions = {}): Arbitrary<number[]> {
  checkSampleOptions('shapes', options, SHAPE_OPTIONS);
  const { minRank = 0, maxRank = Math.max(3, minRank), minSize = 0, maxSize = 3 } = options;
  if (minRank > maxRank || minSize > maxSize) {
    throw new ArgumentError(`shapes: minRank ${minRank} and minSize ${minSize} must not exceed maxRank ${maxRank} and maxSize ${maxSize}`);
  }
  return fc.array(sizes(minSize, maxSize), { minLength: minRank, maxLength: maxRank });
}

/**
 * Draws `count` shapes that broadcast against each other: some lack leading dims, some have 1 where others have more.
 * @example fc.property(broadcastShapes(2), ([a, b]) => …)
 */
export function broadcastShapes(count: number, options: ShapeOptions = {}): Arbitrary<number[][]> {
  checkSampleOptions('broadcastShapes', options, SHAPE_OPTIONS);
  checkCount('broadcastShapes', 'count', count);
  const rank = options.maxRank ?? Math.max(3, options.minRank ?? 0);
  // 0 to 5 drop no leading dim; a larger number n drops n − 5, at most as many as minRank allows.
  const droppedDims = fc.nat({ max: 5 + rank }).map((n) => Math.max(0, n - 5));
  // A dim becomes 1 where its number is 3: with probability 1/4.
  const ones = fc.array(fc.nat({ max: 3 }), { minLength: rank, maxLength: rank });
  const reductions = fc.array(fc.tuple(droppedDims, ones), { minLength: count, maxLength: count });
  return fc.tuple(shapes(options), reductions).map(([full, drawn]) =>
    drawn.map(([dropped, one]) => {
      const first = Math.min(dropped, full.length - (options.minRank ?? 0));
      return full.map((n, d) => (one[d] === 3 ? 1 : n)).slice(first);
    }),
  );
}

/**
 * Draws samples of tensors of a dtype; `sample.tensor()` makes the tensor.
 * @example fc.property(tensors({ shape: [2, 3] }), (x) => x.tensor().exp().log()…)
 * @example tensors({ dtype: 'int32', min: 0, max: 9, shape: [4] })   // class indices
 */
export function tensors(options: TensorsOptions = {}): Arbitrary<TensorSample> {
  checkSampleOptions('tensors', options, ['shape', ...SAMPLE_OPTIONS]);
  const { shape = shapes(), ...rest } = options;
  checkShape('tensors', shape);
  const arbitraryShape = isArray(shape) ? fc.constant(shape) : shape;
  return fc.tuple(arbitraryShape, sampleMakers(rest)).map(([s, make]) => {
    checkShape('tensors', s);
    return make(s);
  });
}

/**
 * Draws samples of `count` tensors whose shapes broadcast against each other.
 * @example gradientProperty((a, b) => a.mul(b), broadcastTensors(2, { dtype: 'float64' }))
 */
export function broadcastTensors(count: number, options: BroadcastOptions = {}): Arbitrary<TensorSample[]> {
  checkSampleOptions('broadcastTensors', options, [...SHAPE_OPTIONS, ...SAMPLE_OPTIONS]);
  checkCount('broadcastTensors', 'count', count);
  const { minRank, maxRank, minSize, maxSize, ...rest } = options;
  const shapeOptions = Object.fromEntries(Object.entries({ minRank, maxRank, minSize, maxSize }).filter(([, v]) => v !== undefined));
  const makers = fc.array(sampleMakers(rest), { minLength: count, maxLength: count });
  return fc.tuple(broadcastShapes(count, shapeOptions), makers).map(([all, makes]) => all.map((s, i) => makes[i]!(s)));
}

/** Draws everything about a tensor except its shape, as a function of the shape, so that the shape can shrink independently. */
export function sampleMakers(options: Omit<TensorsOptions, 'shape'> = {}): Arbitrary<(shape: Shape) => TensorSample> {
  const {
    dtype = 'float32',
    domain = 'real',
    layouts = ALL_LAYOUTS,
    min = INT32_RANGE.min,
    max = INT32_RANGE.max,
    requiresGrad = isFloat(dtype),
  } = options;
  const layout = fc.record({ layout: fc.constantFrom(...layouts), a: fc.nat({ max: 11 }), b: fc.nat({ max: 11 }) });
  // One sample in ten, and every shrunk one, has coarse values, which are easy to read.
  const values = fc.record({ coarse: fc.nat({ max: 9 }).map((n) => n === 0), seed: fc.nat({ max: 2 ** 31 - 1 }) });
  return fc.tuple(layout, values).map(
    ([choice, { coarse, seed }]: [LayoutChoice, { coarse: boolean; seed: number }]) =>
      (shape: Shape) =>
        new TensorSample({
          dtype,
          shape,
          choice,
          requiresGrad,
          values: (count) => drawValues(new Random(seed), count, { dtype, domain, step: coarse ? 0.5 : 0.001, min, max }),
        }),
  );
}

/** Which values drawValues draws. */
interface ValueRange {
  readonly dtype: DType;
  readonly domain: Domain;
  /** Float values are multiples of this. */
  readonly step: number;
  readonly min: number;
  readonly max: number;
}

function drawValues(random: Random, count: number, { dtype, domain, step, min, max }: ValueRange): Float64Array {
  const integers = (low: number, high: number): Float64Array =>
    Float64Array.from({ length: count }, () => low + random.integer(high - low + 1));
  if (dtype === 'bool') return integers(0, 1);
  if (dtype === 'int32') return integers(min, max);
  // n / 1000 prints with three decimals; the product 0.001 · 1234 would print as 1.2340000000000002.
  const between = (low: number, high: number): Float64Array =>
    integers(Math.ceil(low / step), Math.floor(high / step)).map((n) => n / (1 / step));
  switch (domain) {
    case 'real':
      return between(-2, 2);
    case 'positive':
      return between(0.2, 3);
    case 'aboveMinusOne':
      return between(-0.8, 2);
    case 'nonzero':
      return between(-1.7, 1.7).map((x) => roundTo3Decimals(x + (x < 0 ? -0.3 : 0.3)));
    case 'distinct': {
      const order = random.permutation(count);
      return between(0, 0.099).map((x, i) => roundTo3Decimals((order[i]! - count / 2) * 0.3 + x));
    }
  }
}

function roundTo3Decimals(x: number): number {
  return Math.round(x * 1000) / 1000;
}

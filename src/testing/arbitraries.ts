/**
 * fast-check arbitraries of shapes and tensors. Shape, layout and values are drawn apart from each other, so that a failure
 * shrinks to the smallest shape in the plainest layout.
 */
import fc, { type Arbitrary } from 'fast-check';
import { isFloat, type DType } from '../core/dtype.ts';
import { ArgumentError } from '../core/errors.ts';
import { Random } from '../core/random.ts';
import type { Shape } from '../core/shape.ts';
import { TensorSample, type Layout, type LayoutChoice } from './sample.ts';

/** Which values a float tensor has: `distinct` ones lie at least 0.2 apart, `nonzero` ones at least 0.3 from 0. */
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

/** Options of broadcastTensors: those of shapes and of tensors, whose shape they are. */
export interface BroadcastOptions extends ShapeOptions, Omit<TensorsOptions, 'shape'> {}

/** Options of tensors. */
export interface TensorsOptions {
  /** Default float32; gradients are checked in float64. */
  readonly dtype?: DType;
  /** One shape, or an arbitrary of shapes. Default: shapes(). */
  readonly shape?: Shape | Arbitrary<readonly number[]>;
  /** Default 'real': from −2 to 2. int32 and bool have none. */
  readonly domain?: Domain;
  /** Default: all. */
  readonly layouts?: readonly Layout[];
  /** Of int32: the smallest value. Default −10. */
  readonly min?: number;
  /** Of int32: the largest value. Default 10. */
  readonly max?: number;
  /** Default true for float dtypes. */
  readonly requiresGrad?: boolean;
}

/** Every layout. */
export const ALL_LAYOUTS: readonly Layout[] = ['plain', 'transposed', 'sliced', 'expanded', 'channelsLast'];

/** All but the expanded one, whose elements repeat: no two elements tie. */
export const NO_TIES: readonly Layout[] = ['plain', 'transposed', 'sliced', 'channelsLast'];

/** One dim's size: mostly more than 1, seldom 0. Shrinks to 1. */
function sizes(minSize: number, maxSize: number): Arbitrary<number> {
  const from = Math.max(minSize, 1);
  const above = Array.from({ length: Math.max(0, maxSize - from) }, (_, i) => from + 1 + i);
  // Early is simple: fc.constantFrom shrinks to what stands first.
  const choices = [from, ...(minSize === 0 ? [0] : []), from, from, ...above.flatMap((n) => [n, n, n, n])];
  return fc.constantFrom(...choices);
}

/**
 * Shapes of a few small dims.
 * @example fc.property(shapes({ minRank: 2 }), (shape) => …)
 */
export function shapes({ minRank = 0, maxRank = Math.max(3, minRank), minSize = 0, maxSize = 3 }: ShapeOptions = {}): Arbitrary<number[]> {
  if (minRank > maxRank || minSize > maxSize) {
    throw new ArgumentError(`shapes: minRank ${minRank} and minSize ${minSize} must not exceed maxRank ${maxRank} and maxSize ${maxSize}`);
  }
  return fc.array(sizes(minSize, maxSize), { minLength: minRank, maxLength: maxRank });
}

/**
 * `count` shapes that broadcast against each other: some lack leading dims, some have 1 where others have more.
 * @example fc.property(broadcastShapes(2), ([a, b]) => …)
 */
export function broadcastShapes(count: number, options: ShapeOptions = {}): Arbitrary<number[][]> {
  const rank = options.maxRank ?? Math.max(3, options.minRank ?? 0);
  // 0 to 5: nothing is cut; beyond: so many leading dims, as far as there are.
  const cut = fc.nat({ max: 5 + rank }).map((n) => Math.max(0, n - 5));
  const ones = fc.array(fc.nat({ max: 3 }), { minLength: rank, maxLength: rank });
  const part = fc.tuple(cut, ones);
  return fc.tuple(shapes(options), fc.array(part, { minLength: count, maxLength: count })).map(([full, parts]) =>
    parts.map(([lead, narrow]) => {
      const first = Math.min(lead, full.length - (options.minRank ?? 0));
      return full.flatMap((n, d) => (d < first ? [] : [narrow[d] === 3 ? 1 : n]));
    }),
  );
}

/**
 * Tensors of a dtype, as samples: `sample.tensor()` makes one.
 * @example fc.property(tensors({ shape: [2, 3] }), (x) => x.tensor().exp().log()…)
 * @example tensors({ dtype: 'int32', min: 0, max: 9, shape: [4] })   // class indices
 */
export function tensors({ shape = shapes(), ...options }: TensorsOptions = {}): Arbitrary<TensorSample> {
  const of = Array.isArray(shape) ? fc.constant(shape as Shape) : (shape as Arbitrary<readonly number[]>);
  return fc.tuple(of, recipes(options)).map(([s, make]) => make(s));
}

/**
 * `count` tensors whose shapes broadcast against each other.
 * @example gradientProperty((a, b) => a.mul(b), broadcastTensors(2, { dtype: 'float64' }))
 */
export function broadcastTensors(count: number, options: BroadcastOptions = {}): Arbitrary<TensorSample[]> {
  const { minRank, maxRank, minSize, maxSize, ...rest } = options;
  const given = Object.fromEntries(Object.entries({ minRank, maxRank, minSize, maxSize }).filter(([, v]) => v !== undefined));
  const made = fc.array(recipes(rest), { minLength: count, maxLength: count });
  return fc.tuple(broadcastShapes(count, given), made).map(([all, makers]) => all.map((s, i) => makers[i]!(s)));
}

/** Everything about a tensor but its shape: independent of it, so that the shape can shrink by itself. */
export function recipes(options: Omit<TensorsOptions, 'shape'> = {}): Arbitrary<(shape: Shape) => TensorSample> {
  const { dtype = 'float32', domain = 'real', layouts = ALL_LAYOUTS, min = -10, max = 10, requiresGrad = isFloat(dtype) } = options;
  const layout = fc.record({ layout: fc.constantFrom(...layouts), a: fc.nat({ max: 11 }), b: fc.nat({ max: 11 }) });
  // Now and then, and when shrunk, coarse values, which are good to read.
  const values = fc.record({ coarse: fc.nat({ max: 9 }).map((n) => n === 0), seed: fc.nat({ max: 2 ** 31 - 1 }) });
  return fc.tuple(layout, values).map(
    ([choice, { coarse, seed }]: [LayoutChoice, { coarse: boolean; seed: number }]) =>
      (shape: Shape) =>
        new TensorSample({
          dtype,
          shape,
          choice,
          requiresGrad,
          values: (count) => draw(new Random(seed), count, dtype, domain, coarse ? 0.5 : 0.001, min, max),
        }),
  );
}

function draw(random: Random, count: number, dtype: DType, domain: Domain, step: number, min: number, max: number): Float64Array {
  const whole = (low: number, high: number): Float64Array =>
    Float64Array.from({ length: count }, () => low + random.integer(high - low + 1));
  if (dtype === 'bool') return whole(0, 1);
  if (dtype === 'int32') return whole(min, max);
  // 3 digits and no more: 0.001 · 1234 would print as 1.2340000000000002.
  const between = (low: number, high: number): Float64Array =>
    whole(Math.ceil(low / step), Math.floor(high / step)).map((n) => n / (1 / step));
  switch (domain) {
    case 'real':
      return between(-2, 2);
    case 'positive':
      return between(0.2, 3);
    case 'aboveMinusOne':
      return between(-0.8, 2);
    case 'nonzero':
      return between(-1.7, 1.7).map((x) => Math.round((x + (x < 0 ? -0.3 : 0.3)) * 1000) / 1000);
    case 'distinct': {
      const order = random.permutation(count);
      return between(0, 0.099).map((x, i) => Math.round(((order[i]! - count / 2) * 0.3 + x) * 1000) / 1000);
    }
  }
}

/**
 * Draws of indices by their weights: a function rather than a method, so that programs without it carry no random numbers.
 */
import { ArgumentError, ShapeError, shown } from '../../core/errors.ts';
import { withDefaults } from '../../core/options.ts';
import { formatShape } from '../../core/shape.ts';
import { log1p } from '../../kernels/scalars.ts';
import { tensor } from '../create.ts';
import { defineOp } from '../op.ts';
import { defaultGenerator, rand, type Generator } from '../random.ts';
import { composed } from '../scope-stack.ts';
import type { Tensor } from '../tensor.ts';
import { areWhole } from './dims.ts';
import { ascending } from './ordering.ts';
import { requireFloat } from './reduce.ts';
import { reshape } from './views.ts';

/** Options of multinomial. */
export interface MultinomialOptions {
  /** Whether one index may be drawn several times. Default false. */
  readonly replacement?: boolean;
  /** Default: the generator of `manualSeed`. */
  readonly generator?: Generator;
}

const multinomialOp = defineOp({
  name: 'multinomial',
  forward: (_, weights: Tensor, uniforms: Tensor, count: number, replacement: boolean) => {
    const k = weights.size(-1);
    const [w, u] = [weights.data(), uniforms.data()];
    const draw = replacement ? drawIndependent : drawDistinct;
    const perRow = uniforms.size(-1);
    const rows = Array.from({ length: weights.size(0) }, (_row, r) =>
      draw(w.subarray(r * k, (r + 1) * k), u.subarray(r * perRow, (r + 1) * perRow), count),
    );
    return tensor(Int32Array.from(rows.flat()), { shape: [rows.length, count] });
  },
});

type DrawRow = (weights: ArrayLike<number>, uniforms: ArrayLike<number>, count: number) => number[];

/** Inverts the cumulative weights at each uniform number. */
const drawIndependent: DrawRow = (weights, uniforms, count) => {
  let total = 0;
  const bounds = Array.from(weights, (w) => (total += w));
  const last = bounds.indexOf(total);
  return Array.from({ length: count }, (_, i) => {
    const found = bounds.findIndex((bound) => uniforms[i]! * total < bound);
    // The product may round up to the total.
    return found < 0 ? last : found;
  });
};

/** Takes the first events of independent exponential clocks, whose rates are the weights: the same as drawing one after another. */
const drawDistinct: DrawRow = (weights, uniforms, count) => {
  const times = Array.from(weights, (w, i) => (w === 0 ? Infinity : -log1p(-uniforms[i]!) / w));
  return Array.from(times.keys())
    .sort((i, j) => ascending(times[i]!, times[j]!))
    .slice(0, count);
};

/**
 * Draws `count` indices (int32) from each row of weights, which need not add up to 1. No gradient.
 * Shape:  x [K] or [N,K] → y [count] or [N,count]
 * Source: for distinct indices Efraimidis & Spirakis 2006, Information Processing Letters 97, algorithm A
 * Throws: ArgumentError for a negative or infinite weight, a row whose weights are all 0, or fewer weights above 0 than distinct
 *         indices
 */
export const multinomial = composed((x: Tensor, count: number, options: MultinomialOptions = {}): Tensor => {
  const { replacement, generator } = withDefaults('multinomial', options, { replacement: false, generator: defaultGenerator });
  requireFloat('multinomial', x);
  if (x.ndim !== 1 && x.ndim !== 2) throw new ShapeError(`multinomial: x must be [K] or [N,K], got ${formatShape(x.shape)}`);
  if (!areWhole(1, count)) throw new ArgumentError(`multinomial: count must be a whole number ≥ 1, got ${shown(count)}`);
  const rows = reshape(x, [x.ndim === 1 ? 1 : x.size(0), x.size(-1)]);
  checkWeights(rows, replacement ? 1 : count);
  const uniforms = rand([rows.size(0), replacement ? count : rows.size(1)], { dtype: 'float64', generator });
  const drawn = multinomialOp(rows, uniforms, count, replacement);
  return x.ndim === 1 ? reshape(drawn, [count]) : drawn;
});

/** Throws unless all weights are finite and not negative, and each row has `least` above 0. */
function checkWeights(rows: Tensor, least: number): void {
  const weights = rows.data();
  const wrong = weights.find((w) => !(w >= 0 && w < Infinity));
  if (wrong !== undefined) throw new ArgumentError(`multinomial: weights must be finite and at least 0, got ${wrong}`);
  const k = rows.size(1);
  for (let r = 0; r < rows.size(0); r++) {
    const positive = weights.subarray(r * k, (r + 1) * k).filter((w) => w > 0).length;
    if (positive < least)
      throw new ArgumentError(`multinomial: row ${r} has ${positive} weights above 0, and ${least} are needed to draw from`);
  }
}

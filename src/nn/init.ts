/**
 * In-place initialisation with PyTorch's formulas. Numbers are drawn in float64 and rounded to the tensor's dtype. So float32 and
 * float64 models of one seed differ only by rounding.
 */
import {
  checkTensor,
  defaultGenerator,
  eye,
  full,
  noGrad,
  rand,
  randn,
  scoped,
  tensor,
  where,
  zeros,
  type Generator,
  type Tensor,
} from '../autograd/index.ts';
import { isKeyOf } from '../core/describe.ts';
import { below, isFloat, roundDown, roundUp } from '../core/dtype.ts';
import { ArgumentError, ShapeError, shown } from '../core/errors.ts';
import { checkCount, checkNumber, refuseOptions, withDefaults } from '../core/options.ts';
import { Random } from '../core/random.ts';
import { formatShape, sizeOf } from '../core/shape.ts';
import { exp, expm1, log1p } from '../kernels/scalars.ts';

/** Options of functions that draw random numbers. */
export interface InitOptions {
  /** The generator that draws the numbers. Default: that of `manualSeed`. */
  readonly generator?: Generator;
}

/** Checks the tensor to fill, and reads the options of a function that draws. */
function readInit(op: string, t: Tensor, options: InitOptions): Generator {
  checkTensor(op, 't', t);
  const { generator } = withDefaults(op, options, { generator: defaultGenerator });
  return generator;
}

/** Throws unless every one of `numbers`, by name, is a number. */
function checkNumbers(op: string, numbers: Readonly<Record<string, unknown>>): void {
  for (const [name, value] of Object.entries(numbers)) checkNumber(op, name, value);
}

function fill<T extends Tensor>(t: T, values: () => Tensor): T {
  noGrad(() => t.copy_(values()));
  return t;
}

/** y, but at least `least` and at most `most`: rounding to t's dtype could lead out of an interval whose elements these are. */
function within(t: Tensor, y: Tensor, least: number, most: number): Tensor {
  return isFloat(t.dtype) && least <= most ? y.clamp(least, most) : y;
}

/**
 * Fills t with draws from U(low, high): low ≤ y < high, also after rounding to t's dtype. Returns t.
 * Throws: ArgumentError for low > high, or bounds that are not finite in t's dtype
 */
export function uniform_<T extends Tensor>(t: T, low = 0, high = 1, options: InitOptions = {}): T {
  const generator = readInit('uniform_', t, options);
  checkNumbers('uniform_', { low, high });
  if (!(low <= high)) throw new ArgumentError(`uniform_: low must be at most high, got ${low} and ${high}`);
  // Nothing to draw: the bounds of kaimingUniform_ may be infinite then.
  if (t.numel === 0) return t;
  const dtype = isFloat(t.dtype) ? t.dtype : 'float64';
  const [least, most] = [roundUp(low, dtype), below(high, dtype)];
  if (!Number.isFinite(low) || !Number.isFinite(high) || !Number.isFinite(least))
    throw new ArgumentError(`uniform_: low and high must be finite in ${t.dtype}, got ${low} and ${high}`);
  const width = high - low;
  return fill(t, () => {
    const u = rand(t.shape, { dtype: 'float64', generator });
    const y = Number.isFinite(width) ? u.mul(width).add(low) : u.mul(high).add(u.mul(-1).add(1).mul(low));
    return within(t, y, least, most);
  });
}

/** Fills t with draws from N(mean, std²). Returns t. */
export function normal_<T extends Tensor>(t: T, mean = 0, std = 1, options: InitOptions = {}): T {
  const generator = readInit('normal_', t, options);
  checkNumbers('normal_', { mean, std });
  if (!(std >= 0)) throw new ArgumentError(`normal_: std must be ≥ 0, got ${std}`);
  if (t.numel === 0) return t;
  if (!Number.isFinite(mean) || !Number.isFinite(std))
    throw new ArgumentError(`normal_: mean and std must be finite, got ${mean} and ${std}`);
  return fill(t, () => randn(t.shape, { dtype: 'float64', generator }).mul(std).add(mean));
}

/** Fills t with `value`. Returns t. */
export function constant_<T extends Tensor>(t: T, value: number): T {
  checkTensor('constant_', 't', t);
  checkNumber('constant_', 'value', value);
  refuseOptions('constant_', arguments[2]);
  noGrad(() => t.fill_(value));
  return t;
}

/** Fills t with 0. Returns t. */
export function zeros_<T extends Tensor>(t: T): T {
  checkTensor('zeros_', 't', t);
  refuseOptions('zeros_', arguments[1]);
  return constant_(t, 0);
}

/** Fills t with 1. Returns t. */
export function ones_<T extends Tensor>(t: T): T {
  checkTensor('ones_', 't', t);
  refuseOptions('ones_', arguments[1]);
  return constant_(t, 1);
}

/**
 * Fills t with the identity matrix; t need not be square. Returns t.
 * Throws: ShapeError unless t has 2 dims
 */
export function eye_<T extends Tensor>(t: T): T {
  checkTensor('eye_', 't', t);
  refuseOptions('eye_', arguments[1]);
  if (t.ndim !== 2) throw new ShapeError(`eye_: expected 2 dims, got shape ${formatShape(t.shape)}`);
  return fill(t, () => eye(t.size(0), t.size(1)));
}

/**
 * Fills the weights [O,I,…] of a convolution so that, in each group, output channel i copies input channel i. Returns t.
 * Throws: ShapeError unless t has 3 to 5 dims and O is a multiple of `groups`
 */
export function dirac_<T extends Tensor>(t: T, groups = 1): T {
  checkTensor('dirac_', 't', t);
  checkCount('dirac_', 'groups', groups);
  refuseOptions('dirac_', arguments[2]);
  const outputsPerGroup = t.size(0) / groups;
  if (t.ndim < 3 || t.ndim > 5 || !Number.isInteger(outputsPerGroup))
    throw new ShapeError(`dirac_: expected 3 to 5 dims, the first a multiple of ${groups} groups, got shape ${formatShape(t.shape)}`);
  noGrad(() => {
    t.zero_();
    let centre: Tensor = t;
    for (const kernelSize of t.shape.slice(2)) centre = centre.select(2, kernelSize >> 1);
    centre.copy_(eye(outputsPerGroup, t.size(1)).repeat([groups, 1]));
  });
  return t;
}

/** With bounds further apart than so many deviations, and the mean between them, half of all draws or more lie inside. */
const WIDE = 2.5;

/**
 * Fills t with draws from N(mean, std²) truncated to [a, b], also far from the mean. Returns t.
 * Source: Robert 1995, "Simulation of truncated normal variables", arXiv:0907.4010, section 2, in the tails
 * Throws: ArgumentError for a > b, std < 0, or a mean outside [a, b] at std 0
 */
export function truncNormal_<T extends Tensor>(t: T, mean = 0, std = 1, a = -2, b = 2, options: InitOptions = {}): T {
  readInit('truncNormal_', t, options);
  checkNumbers('truncNormal_', { mean, std, a, b });
  if (!(a <= b)) throw new ArgumentError(`truncNormal_: a must be at most b, got ${a} and ${b}`);
  if (!(std >= 0) || !Number.isFinite(mean))
    throw new ArgumentError(`truncNormal_: std must be ≥ 0 and mean finite, got std ${std} and mean ${mean}`);
  if (std === 0 && !(a <= mean && mean <= b))
    throw new ArgumentError(`truncNormal_: with std 0 the mean must lie from ${a} to ${b}, got ${mean}`);
  const dtype = isFloat(t.dtype) ? t.dtype : 'float64';
  const [least, most] = [roundUp(a, dtype), roundDown(b, dtype)];
  const [low, high] = [(a - mean) / std, (b - mean) / std];
  const values = (): Tensor => {
    // Everything lies at the mean, or at the bound next to it.
    if (std === 0 || low === Infinity || high === -Infinity) return full(t.shape, Math.min(Math.max(mean, a), b), { dtype: 'float64' });
    if (low < 0 && high > 0 && high - low > WIDE) return redrawn(t, mean, std, a, b, options);
    return tensor(truncated(t.numel, mean, std, low, high, options), { shape: t.shape });
  };
  return fill(t, () => within(t, values(), least, most));
}

/** Draws from N(mean, std²), repeated where outside [a, b]: few rounds, where most lie inside. */
function redrawn(t: Tensor, mean: number, std: number, a: number, b: number, options: InitOptions): Tensor {
  const draw = (): Tensor => normal_(zeros(t.shape, { dtype: 'float64' }), mean, std, options);
  const isInside = (y: Tensor): Tensor => y.ge(a).logicalAnd(y.le(b));
  let y = draw();
  while (isInside(y).all().item() === 0) y = where(isInside(y), y, draw());
  return y;
}

/** Returns n draws of mean + std · z, z standard normal in [low, high]. */
function truncated(
  n: number,
  mean: number,
  std: number,
  low: number,
  high: number,
  { generator = defaultGenerator }: InitOptions,
): Float64Array {
  const { key, stream } = generator.draw();
  const random = new Random(key, stream);
  const z = standardDraw(low, high);
  return Float64Array.from({ length: n }, () => mean + std * z(random));
}

/** Returns a function that draws from N(0, 1) truncated to [low, high]. */
function standardDraw(low: number, high: number): (random: Random) => number {
  if (low >= 0) return (random) => tailDraw(random, low, high);
  if (high <= 0) return (random) => -tailDraw(random, -high, -low);
  return (random) => {
    for (;;) {
      const z = low + (high - low) * random.uniform();
      if (random.uniform() < exp((-z * z) / 2)) return z;
    }
  };
}

/** Draws from N(0, 1) truncated to [low, high], low ≥ 0: takes exponential draws with Robert's rate, cut at `high`, and rejects some. */
function tailDraw(random: Random, low: number, high: number): number {
  // (low + √(low² + 4)) / 2; a square of a large number could overflow, and 4 is rounded away.
  const rate = low < 1e9 ? (low + Math.sqrt(low * low + 4)) / 2 : low;
  const peak = Math.min(rate, high) - rate;
  for (;;) {
    const z = low - log1p(random.uniform() * expm1(-rate * (high - low))) / rate;
    if (random.uniform() < exp((peak * peak - (z - rate) * (z - rate)) / 2)) return z;
  }
}

/**
 * Fills t, read as a matrix [size(0), the rest], with a random matrix Q. The rows of Q, or its columns if there are fewer, are
 * orthogonal and of length `gain`. Returns t.
 * Source: Saxe et al. 2014, arXiv:1312.6120; uniform over all such matrices, as in PyTorch
 * Throws: ShapeError unless t has 2 dims or more
 */
export function orthogonal_<T extends Tensor>(t: T, gain = 1, options: InitOptions = {}): T {
  const generator = readInit('orthogonal_', t, options);
  checkNumber('orthogonal_', 'gain', gain);
  if (t.ndim < 2) throw new ShapeError(`orthogonal_: expected at least 2 dims, got shape ${formatShape(t.shape)}`);
  const rows = t.size(0);
  const columns = sizeOf(t.shape.slice(1));
  return fill(t, () => {
    const q = randn([Math.min(rows, columns), Math.max(rows, columns)], { dtype: 'float64', generator });
    // Modified Gram–Schmidt: scale each row to length 1, then subtract its projection from every later row.
    for (const i of scoped(q.size(0))) {
      const row = q.select(0, i);
      row.mul_(1 / row.norm().item());
      const rest = q.slice(0, i + 1);
      rest.add_(rest.mv(row).outer(row).neg());
    }
    return (rows > columns ? q.transpose(0, 1) : q).mul(gain).reshape(t.shape);
  });
}

const GAINS = { linear: 1, conv2d: 1, sigmoid: 1, tanh: 5 / 3, relu: Math.SQRT2, selu: 3 / 4 } as const;

/** The nonlinearity that follows a layer; it determines the gain. */
export type Nonlinearity = keyof typeof GAINS | 'leakyRelu';

/**
 * Returns the gain of a nonlinearity: the factor on the weights' standard deviation that preserves the variance. `slope` is that of
 * leakyRelu. Default 0.01.
 */
export function calculateGain(nonlinearity: Nonlinearity, slope = 0.01): number {
  checkNumber('calculateGain', 'slope', slope);
  refuseOptions('calculateGain', arguments[2]);
  if (nonlinearity === 'leakyRelu') return Math.sqrt(2 / (1 + slope * slope));
  if (isKeyOf(nonlinearity, GAINS)) return GAINS[nonlinearity];
  throw new ArgumentError(`calculateGain: unknown nonlinearity ${shown(nonlinearity)}`);
}

/** Returns fan-in and fan-out of a weight [O,I,…]: I and O times the kernel's number of elements. */
export function calculateFan(t: Tensor): { fanIn: number; fanOut: number } {
  checkTensor('calculateFan', 't', t);
  refuseOptions('calculateFan', arguments[1]);
  if (t.ndim < 2) throw new ShapeError(`calculateFan: a weight needs at least 2 dims, got shape ${formatShape(t.shape)}`);
  const kernelElements = t.shape.slice(2).reduce((n, size) => n * size, 1);
  return { fanIn: t.shape[1]! * kernelElements, fanOut: t.shape[0]! * kernelElements };
}

/** Options of kaimingUniform_ and kaimingNormal_. */
export interface KaimingOptions extends InitOptions {
  /** The slope of leakyRelu. Default 0. */
  readonly a?: number;
  /** Which variance is preserved: that of the forward pass ('fanIn') or of backward ('fanOut'). Default 'fanIn'. */
  readonly mode?: 'fanIn' | 'fanOut';
  /** Default 'leakyRelu'. */
  readonly nonlinearity?: Nonlinearity;
}

const KAIMING_DEFAULTS: Required<KaimingOptions> = { a: 0, mode: 'fanIn', nonlinearity: 'leakyRelu', generator: defaultGenerator };

/** Checks the arguments; returns the standard deviation, and the options of the draw. */
function readKaiming(op: string, t: Tensor, options: KaimingOptions): readonly [std: number, init: InitOptions] {
  const { a, mode, nonlinearity, generator } = withDefaults(op, options, KAIMING_DEFAULTS);
  readInit(op, t, { generator });
  checkNumber(op, 'a', a);
  if (mode !== 'fanIn' && mode !== 'fanOut') throw new ArgumentError(`${op}: mode must be 'fanIn' or 'fanOut', got ${shown(mode)}`);
  return [calculateGain(nonlinearity, a) / Math.sqrt(calculateFan(t)[mode]), { generator }];
}

/**
 * Fills t with draws from U(−k, k), k = gain · √(3 / fan). Returns t.
 * Source: He et al. 2015, arXiv:1502.01852, eq. 10
 */
export function kaimingUniform_<T extends Tensor>(t: T, options: KaimingOptions = {}): T {
  const [std, init] = readKaiming('kaimingUniform_', t, options);
  const k = Math.sqrt(3) * std;
  return uniform_(t, -k, k, init);
}

/** Fills t with draws from N(0, gain² / fan). Returns t. Source: as kaimingUniform_ */
export function kaimingNormal_<T extends Tensor>(t: T, options: KaimingOptions = {}): T {
  const [std, init] = readKaiming('kaimingNormal_', t, options);
  return normal_(t, 0, std, init);
}

/**
 * Fills t with draws from U(−k, k), k = gain · √(6 / (fanIn + fanOut)). Returns t.
 * Source: Glorot & Bengio 2010, eq. 16
 */
export function xavierUniform_<T extends Tensor>(t: T, gain = 1, options: InitOptions = {}): T {
  readInit('xavierUniform_', t, options);
  checkNumber('xavierUniform_', 'gain', gain);
  const { fanIn, fanOut } = calculateFan(t);
  const k = gain * Math.sqrt(6 / (fanIn + fanOut));
  return uniform_(t, -k, k, options);
}

/** Fills t with draws from N(0, 2 gain² / (fanIn + fanOut)). Returns t. Source: as xavierUniform_ */
export function xavierNormal_<T extends Tensor>(t: T, gain = 1, options: InitOptions = {}): T {
  readInit('xavierNormal_', t, options);
  checkNumber('xavierNormal_', 'gain', gain);
  const { fanIn, fanOut } = calculateFan(t);
  return normal_(t, 0, gain * Math.sqrt(2 / (fanIn + fanOut)), options);
}

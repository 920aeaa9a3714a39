/**
 * The kernels' interface. See index.ts for the conventions and the letters.
 */
import type { View } from './view.ts';

/** y = f(x), floats; neg abs sign square relu also int32. round is half to even; sign(NaN) is NaN, relu(NaN) is NaN. */
export type UnaryOp =
  | 'neg'
  | 'abs'
  | 'sign'
  | 'square'
  | 'reciprocal'
  | 'sqrt'
  | 'exp'
  | 'expm1'
  | 'log'
  | 'log1p'
  | 'sin'
  | 'cos'
  | 'tanh'
  | 'sigmoid'
  | 'erf'
  | 'relu'
  | 'floor'
  | 'ceil'
  | 'round';

/** dx = f(g, y), the gradient of the unary op that gave y: g unless y ≤ 0; g·y·(1 − y); g·(1 − y²). Floats. */
export type OutputGradOp = 'reluGrad' | 'sigmoidGrad' | 'tanhGrad';

/** y = f(a, b), a and b of y's dtype: floats, and the first five of these int32 too. maximum and minimum propagate NaN. */
export type BinaryOp = 'add' | 'sub' | 'mul' | 'maximum' | 'minimum' | 'div' | 'pow' | OutputGradOp;

/** y (bool) = a ∘ b, a and b of one dtype, any. */
export type CompareOp = 'eq' | 'ne' | 'lt' | 'le' | 'gt' | 'ge';

/** Floats and int32 (int32 sums wrap here; the operation checks for overflow). amax and amin propagate NaN. */
export type ReduceOp = 'sum' | 'prod' | 'amax' | 'amin';

/** Geometry of a 2-d convolution; each pair is [vertical, horizontal]. */
export interface ConvParams {
  readonly stride: readonly [number, number];
  readonly padding: readonly [number, number];
  readonly dilation: readonly [number, number];
  readonly groups: number;
}

/** Geometry of a 2-d pool; each pair is [vertical, horizontal]. Output sizes are the output view's. */
export interface PoolParams {
  readonly kernel: readonly [number, number];
  readonly stride: readonly [number, number];
  readonly padding: readonly [number, number];
  readonly dilation: readonly [number, number];
}

/** PoolParams of an average pool. */
export interface AvgPoolParams extends PoolParams {
  /** Whether padding counts in the divisor (a window that hangs over the padded edge counts only up to it). */
  readonly countIncludePad: boolean;
  /** Divides by this instead of the window's size. */
  readonly divisor: number | null;
}

/** One parameter's views for a step of SGD. */
export interface SgdEntry {
  readonly param: View;
  readonly grad: View;
  /** The momentum buffer; null where momentum is 0. */
  readonly velocity: View | null;
  /** True at the first step: the buffer is set to the gradient instead of updated. */
  readonly first: boolean;
  readonly options: SgdStepOptions;
}

export interface SgdStepOptions {
  readonly lr: number;
  readonly momentum: number;
  readonly dampening: number;
  readonly nesterov: boolean;
  readonly weightDecay: number;
  readonly maximize: boolean;
}

/** One parameter's views for a step of Adam. */
export interface AdamEntry {
  readonly param: View;
  readonly grad: View;
  readonly expAvg: View;
  readonly expAvgSq: View;
  /** The largest expAvgSq so far; null without amsgrad. */
  readonly maxExpAvgSq: View | null;
  /** The number of the parameter's step, from 1 on. */
  readonly step: number;
  readonly options: AdamStepOptions;
}

export interface AdamStepOptions {
  readonly lr: number;
  readonly betas: readonly [number, number];
  readonly eps: number;
  readonly weightDecay: number;
  /** Whether weight decay shrinks the parameter (AdamW) instead of adding to the gradient. */
  readonly decoupled: boolean;
  readonly maximize: boolean;
}

/** One pair of views of x ← keep·x + take·y, or keep·x where y is null. */
export interface BlendEntry {
  readonly x: View;
  readonly y: View | null;
  readonly keep: number;
  readonly take: number;
}

/**
 * Optimizer updates of many tensors in one launch, float32 and float64 mixed, of any strides. They may run out of memory, but not
 * once they have begun to write. Formulas in reference/optimizers.ts.
 */
export interface OptimizerKernels {
  /** PyTorch's SGD. */
  sgd(entries: readonly SgdEntry[]): void;
  /** PyTorch's Adam and AdamW, with amsgrad. */
  adam(entries: readonly AdamEntry[]): void;
  /** The sum of all elements' squares, in float64. */
  sumSquares(views: readonly View[]): number;
  /** x ← keep·x + take·y: moving averages; without y, scaling. */
  blend(entries: readonly BlendEntry[]): void;
}

export interface Kernels extends OptimizerKernels {
  readonly name: 'wasm' | 'reference';

  // — elementwise; inputs have y's shape, with stride 0 where they broadcast —
  /** y = value, every dtype. */
  fill(value: number, y: View): void;
  /** y = x, converted to y's dtype: float → int32 truncates and saturates (NaN gives 0), anything → bool is ≠ 0. */
  copy(x: View, y: View): void;
  unary(op: UnaryOp, x: View, y: View): void;
  binary(op: BinaryOp, a: View, b: View, y: View): void;
  compare(op: CompareOp, a: View, b: View, y: View): void;
  /** y = c ? a : b; c bool; a, b, y of one dtype, any. */
  where(c: View, a: View, b: View, y: View): void;

  // — reductions; y has x's rank, size 1 along the reduced dims, dense —
  /** An empty reduction gives 0 (sum) or 1 (prod); the operation rejects amax and amin of no elements. */
  reduce(op: ReduceOp, x: View, y: View): void;
  /** Index (int32) of the first largest or smallest element along `dim`; a NaN wins. y has size 1 along dim. */
  argReduce(op: 'argmax' | 'argmin', x: View, dim: number, y: View): void;
  /** y[i] = Σ_{j ≤ i} x[j] along `dim`. */
  cumsum(x: View, dim: number, y: View): void;

  // — indexing; index is int32 and within range (checked before) —
  /** y[.., i, ..] = x[.., index[.., i, ..], ..] along `dim`; y has index's shape; other sizes ≤ x's. Any dtype. */
  gather(x: View, dim: number, index: View, y: View): void;
  /** y[.., index[.., i, ..], ..] += x[.., i, ..] along `dim`, in row-major order of index; x has index's shape. */
  scatterAdd(x: View, dim: number, index: View, y: View): void;

  /** y[i] (row-major, dense, float) = uniform in [0, 1) from Threefry-2x32 with `key`, at counter (i, stream). See core/random.ts. */
  uniform(key: readonly [number, number], stream: number, y: View): void;

  // — products —
  /** y = a · b for a [..., M, K], b [..., K, N], y [..., M, N] dense row-major; equal ranks ≥ 2, batch dims broadcast by stride 0. */
  matmul(a: View, b: View, y: View): void;

  // — convolution: x [N,C,H,W], w [O,C/G,KH,KW], y and g [N,O,OH,OW]; images are written channels-last, w row-major —
  /** y = x ⋆ w */
  conv2d(x: View, w: View, y: View, p: ConvParams): void;
  /** dx = ∂⟨g, x ⋆ w⟩/∂x */
  conv2dGradX(g: View, w: View, dx: View, p: ConvParams): void;
  /** dw = ∂⟨g, x ⋆ w⟩/∂w */
  conv2dGradW(g: View, x: View, dw: View, p: ConvParams): void;

  // — pooling: x [N,C,H,W], y and g [N,C,OH,OW] —
  /** y = max over each window (NaN wins, padding never), index (int32) = h·W + w of the first maximum, or of the last NaN. */
  maxPool2d(x: View, y: View, index: View, p: PoolParams): void;
  /** dx = Σ g over the windows whose index is the element's position. */
  maxPool2dGrad(g: View, index: View, dx: View, p: PoolParams): void;
  /** y = sum over each window / divisor; dilation is 1. */
  avgPool2d(x: View, y: View, p: AvgPoolParams): void;
  /** The adjoint of avgPool2d. */
  avgPool2dGrad(g: View, dx: View, p: AvgPoolParams): void;
  /** y[i] = mean of x over ⌊i·H/OH⌋ … ⌈(i+1)·H/OH⌉ − 1, likewise along W. */
  adaptiveAvgPool2d(x: View, y: View): void;
  /** The adjoint of adaptiveAvgPool2d. */
  adaptiveAvgPool2dGrad(g: View, dx: View): void;
}

/** Vectors [C]: mean, invstd = 1 / √(variance + eps), scale = invstd·w and offset = mean·scale − b. */
export type ChannelNorm = Readonly<Record<'mean' | 'invstd' | 'scale' | 'offset', View>>;

/**
 * Kernels of fused operations. Each operation has a definition in simple operations, which is the reference implementation.
 * x, y, g, dx [N,C,…] are dense in one layout: channels-last or row-major. Vectors [C] are contiguous. All views have x's dtype.
 */
export interface FusedKernels {
  /** Writes the biased variance and `norm` of each channel; w and b may be null. As exact as in two passes. */
  batchNormStats(x: View, eps: number, w: View | null, b: View | null, variance: View, norm: ChannelNorm): void;
  /** y = x·scale − offset, or max(x·scale − offset, 0) if `relu` */
  batchNormApply(x: View, scale: View, offset: View, y: View, relu?: boolean): void;
  /**
   * With x̂ = (x − mean)·invstd and M = N·H·W:
   *   db = Σg, dw = Σ g·x̂, dx = scale·(g − db/M − x̂·dw/M). dw, db are always written; dx may be null.
   * If `relu`, g is the gradient of max(y, 0), and counts as 0 wherever y ≤ 0; offset must be finite.
   */
  batchNormGrad(g: View, x: View, norm: ChannelNorm, dx: View | null, dw: View, db: View, relu?: boolean): void;
  /** ds = Σ g·x over H and W, and dx = g·s in the same pass; s and ds [N,C] row-major, dx may be null. */
  scaleChannelsGrad(g: View, x: View, s: View, dx: View | null, ds: View): void;
  /** Along the last dim of x [M,K], rows contiguous: y = x − log Σ exp x (log) or its exponential. */
  softmax(log: boolean, x: View, y: View): void;
  /** softmax: dx = y·(g − Σ g·y); log: dx = g − exp(y)·Σ g. g, y, dx [M,K] row-major. */
  softmaxGrad(log: boolean, g: View, y: View, dx: View): void;
  /** x [N,K] row-major, target [N] int32: loss[i] = log Σ exp x[i] − x[i, target[i]]; logp [N,K] = log softmax. */
  crossEntropy(x: View, target: View, loss: View, logp: View): void;
  /** dx[i,k] = scale[i]·(exp logp[i,k] − [k = target[i]]); scale [N]. */
  crossEntropyGrad(scale: View, logp: View, target: View, dx: View): void;
}

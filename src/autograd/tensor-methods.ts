/**
 * The operations that are methods of Tensor, with their signatures and comments. methods.ts installs them.
 *
 * Signatures and comments are those of ops/, written out: editors show no comment for the members of a mapped type.
 * test/autograd/methods.test.ts compares the comments, and the compiler the signatures.
 */
import type { DType } from '../core/dtype.ts';
import type { Shape } from '../core/shape.ts';
import type { BackwardOptions } from './backward.ts';
import type { Dims } from './ops/dims.ts';
import type { Operand } from './ops/operands.ts';
import type { SortOptions, TopkOptions } from './ops/ordering.ts';
import type { GeluOptions, SoftplusOptions } from './ops/options.ts';
import type { ReduceOptions, VarOptions } from './ops/reduce.ts';
import type { Tensor } from './tensor.ts';

/** The methods of Tensor that are operations. */
export interface TensorMethods {
  // — autograd —
  /** Accumulates gradients into the `grad` of every leaf behind this tensor, and consumes the graph. A scalar needs no gradient. */
  backward(gradient?: Tensor | null, options?: BackwardOptions): void;
  /** The same for a scalar, with options only: `loss.backward({ retainGraph: true })`. */
  backward(options: BackwardOptions): void;

  // — dtype —
  /** x in another dtype; the same dtype gives x itself. The gradient is cast back. */
  to(dtype: DType): Tensor;

  // — elementwise operations —
  /** y = a + b.   ∂a = g,   ∂b = g */
  add(b: Operand): Tensor;
  /** y = a − b.   ∂a = g,   ∂b = −g */
  sub(b: Operand): Tensor;
  /** y = a ⊙ b.   ∂a = g ⊙ b,   ∂b = g ⊙ a */
  mul(b: Operand): Tensor;
  /** y = a / b; two int32 operands give float32.   ∂a = g / b,   ∂b = −g ⊙ a / b² */
  div(b: Operand): Tensor;
  /**
   * y = a ^ b. Whole numbers, of int32 or bool tensors and numbers, give int32; otherwise floats.   ∂a = g ⊙ b ⊙ a^(b−1),   ∂b = g ⊙ y ⊙ ln a
   * Throws: DTypeError for a negative exponent of whole numbers, and where their power overflows int32
   */
  pow(b: Operand): Tensor;
  /** y = max(a, b) per element; NaN wins.   ∂ goes to the larger, half to each at a tie */
  maximum(b: Operand): Tensor;
  /** y = min(a, b) per element; NaN wins.   ∂ goes to the smaller, half to each at a tie */
  minimum(b: Operand): Tensor;
  /**
   * y = min(max(x, min), max); either bound may be null, a number or a tensor.
   * ∂x = g where min ≤ x ≤ max,   ∂min = g where x < min < max,   ∂max = g where x > max or min > max
   */
  clamp(min: Operand | null, max?: Operand | null): Tensor;
  /** y = −x.   ∂x = −g */
  neg(): Tensor;
  /** y = |x|.   ∂x = g ⊙ sign x */
  abs(): Tensor;
  /** y = −1, 0 or 1. No gradient: the derivative is 0 wherever it exists. */
  sign(): Tensor;
  /** y = x².   ∂x = 2 g ⊙ x */
  square(): Tensor;
  /** y = ⌊x⌋; int32 stays. No gradient: the derivative is 0 wherever it exists. */
  floor(): Tensor;
  /** y = ⌈x⌉; int32 stays. No gradient. */
  ceil(): Tensor;
  /** y = the integer nearest x, ties to even; int32 stays. No gradient. */
  round(): Tensor;
  /** y = 1 / x.   ∂x = −g ⊙ y² */
  reciprocal(): Tensor;
  /** y = √x.   ∂x = g / 2y */
  sqrt(): Tensor;
  /** y = 1 / √x */
  rsqrt(): Tensor;
  /** y = eˣ.   ∂x = g ⊙ y */
  exp(): Tensor;
  /** y = eˣ − 1, exact for small x.   ∂x = g ⊙ eˣ, not y + 1, which cancels for x < 0 */
  expm1(): Tensor;
  /** y = ln x.   ∂x = g / x */
  log(): Tensor;
  /** y = ln(1 + x), exact for small x.   ∂x = g / (1 + x) */
  log1p(): Tensor;
  /** y = sin x.   ∂x = g ⊙ cos x */
  sin(): Tensor;
  /** y = cos x.   ∂x = −g ⊙ sin x */
  cos(): Tensor;
  /** y = 2/√π ∫₀ˣ e^−t² dt.   ∂x = g ⊙ 2/√π e^−x² */
  erf(): Tensor;

  // — comparison and masks —
  /** y = (a = b), bool. No gradient. */
  eq(b: Operand): Tensor;
  /** y = (a ≠ b), bool. No gradient. */
  ne(b: Operand): Tensor;
  /** y = (a < b), bool. No gradient. */
  lt(b: Operand): Tensor;
  /** y = (a ≤ b), bool. No gradient. */
  le(b: Operand): Tensor;
  /** y = (a > b), bool. No gradient. */
  gt(b: Operand): Tensor;
  /** y = (a ≥ b), bool. No gradient. */
  ge(b: Operand): Tensor;
  /** y = (x is NaN), bool. No gradient. */
  isnan(): Tensor;
  /** y = (x is neither NaN nor infinite), bool. No gradient. */
  isfinite(): Tensor;
  /** y = (a and b), bool. No gradient. */
  logicalAnd(b: Operand): Tensor;
  /** y = (a or b), bool. No gradient. */
  logicalOr(b: Operand): Tensor;
  /** y = (not x), bool. No gradient. */
  logicalNot(): Tensor;
  /** Replaces x by `value`, a number or a 0-d tensor, where the mask is true. mask is bool and broadcasts to x.   ∂x = g where not mask */
  maskedFill(mask: Tensor, value: Operand): Tensor;

  // — reductions —
  /** y = Σ x. int32 and bool give int32, and throw where that overflows.   ∂x = g expanded */
  sum(dim?: Dims, options?: ReduceOptions): Tensor;
  /** y = Σ x / n. Floats only.   ∂x = g / n expanded */
  mean(dim?: Dims, options?: ReduceOptions): Tensor;
  /** y = √var.   ∂x = g ⊙ (x − x̄) / ((n − correction) y), and 0 where y = 0 */
  std(dim?: Dims, options?: VarOptions): Tensor;
  /** y = variance of x over `dim`, all dims by default; divides by n − correction (1) */
  var(dim?: Dims, options?: VarOptions): Tensor;
  /**
   * y = Π x, as a tree of products, whose gradient needs no division and so is right where factors are 0. int32 and bool give
   * int32, and throw where that overflows.   ∂xᵢ = g ⊙ Π xⱼ over j ≠ i
   */
  prod(dim?: Dims, options?: ReduceOptions): Tensor;
  /** y = ln Σ eˣ, without overflow.   ∂x = g ⊙ exp(x − y) */
  logsumexp(dim?: Dims, options?: ReduceOptions): Tensor;
  /**
   * y = (Σ |x|ᵖ)^(1/p); for p = ∞ the largest |x|, for −∞ the smallest, for 0 the number of x ≠ 0, which has no gradient. Floats only.
   *   ∂x = g ⊙ sign x · (|x| / y)^(p−1), and 0 where y = 0, or x = 0 and p < 1
   * Throws: ArgumentError for p NaN; ShapeError for an empty x with p = ±∞ or p < 0
   */
  norm(p?: number, dim?: Dims, options?: ReduceOptions): Tensor;
  /** y = (any x ≠ 0), bool; NaN counts as ≠ 0. No gradient. */
  any(dim?: Dims, options?: ReduceOptions): Tensor;
  /** y = (all x ≠ 0), bool; NaN counts as ≠ 0. No gradient. */
  all(dim?: Dims, options?: ReduceOptions): Tensor;
  /** y[.., i, ..] = Σ x[.., j, ..] over j ≤ i along `dim`; int32 as in sum.   ∂x = Σ g over j ≥ i */
  cumsum(dim: number): Tensor;
  /** y = max x; NaN wins.   ∂x = g, shared equally among ties */
  amax(dim?: Dims, options?: ReduceOptions): Tensor;
  /** y = min x; NaN wins.   ∂x = g, shared equally among ties */
  amin(dim?: Dims, options?: ReduceOptions): Tensor;
  /** Returns the index (int32) of the first largest element along `dim`, or in the flattened tensor; NaN wins. No gradient. */
  argmax(dim?: number, options?: ReduceOptions): Tensor;
  /** Returns the index (int32) of the first smallest element along `dim`, or in the flattened tensor; NaN wins. No gradient. */
  argmin(dim?: number, options?: ReduceOptions): Tensor;
  /** [max x along `dim`, index (int32) of its first place]; NaN wins.   ∂x = g at the index */
  max(dim: number, options?: ReduceOptions): [values: Tensor, indices: Tensor];
  /** [min x along `dim`, index (int32) of its first place]; NaN wins.   ∂x = g at the index */
  min(dim: number, options?: ReduceOptions): [values: Tensor, indices: Tensor];

  // — views and shapes —
  /** Returns the elements, in row-major order, in another shape; one size may be −1. A view where possible.   ∂x = g in x's shape */
  reshape(shape: Shape): Tensor;
  /** Reshapes without a copy; throws ShapeError where one is needed.   ∂x = g in x's shape */
  view(shape: Shape): Tensor;
  /** Merges the dims `start` to `end` (inclusive, negative from the end). A view where possible.   ∂x = g in x's shape */
  flatten(start?: number, end?: number): Tensor;
  /** Splits `dim` into dims of `sizes`, of which one may be −1, as a view.   ∂x = g in x's shape */
  unflatten(dim: number, sizes: Shape): Tensor;
  /** Removes dims of size 1, as a view: all of them, or those named; named dims of another size stay.   ∂x = g in x's shape */
  squeeze(dim?: number | readonly number[]): Tensor;
  /** Inserts a dim of size 1 before `dim`, as a view.   ∂x = g in x's shape */
  unsqueeze(dim: number): Tensor;
  /** Reorders the dims, as a view: dim i of y is dim dims[i] of x.   ∂x = g in the inverse order */
  permute(dims: readonly number[]): Tensor;
  /** Exchanges dims a and b, as a view.   ∂x = g with them exchanged back */
  transpose(a: number, b: number): Tensor;
  /** Moves the dims `source` to `destination`; the others keep their order. A view.   ∂x = g moved back */
  movedim(source: Dims, destination: Dims): Tensor;
  /** Returns a tensor on the memory of x, without history: no gradient flows through it. */
  detach(): Tensor;
  /** Returns x itself where it is row-major, else a row-major copy.   ∂x = g */
  contiguous(): Tensor;
  /** Copies x in its memory order.   ∂x = g */
  clone(): Tensor;
  /** Broadcasts x to `shape` as a view; −1 keeps a size.   ∂x = g summed over the broadcast dims */
  expand(shape: Shape): Tensor;
  /** Broadcasts x to `shape` as a view.   ∂x = g summed over the broadcast dims */
  broadcastTo(shape: Shape): Tensor;

  // — indexing —
  /**
   * Returns the elements start, start + step, … before `end` along `dim`, as a view. Negative bounds count from the end;
   * bounds outside are clipped.   ∂x = g placed in zeros
   */
  slice(dim: number, start?: number, end?: number | null, step?: number): Tensor;
  /** Returns the slice at `index` along `dim`, without that dim, as a view; negative indices count from the end.   ∂x = g placed in zeros */
  select(dim: number, index: number): Tensor;
  /**
   * y[.., i, ..] = x[.., index[.., i, ..], ..] along `dim`.   ∂x = g added up at index
   * Shape:  x and index (int32) of equal rank, 0-d counts as 1-d; other sizes of index at most those of x; y as index
   * Throws: ShapeError for an index outside 0 … size − 1
   */
  gather(dim: number, index: Tensor): Tensor;
  /**
   * y = x, then y[.., index[.., i, ..], ..] += src[.., i, ..] along `dim`.   ∂x = g,   ∂src = g gathered at index
   * Shape:  x, index (int32) and src of equal rank, 0-d counts as 1-d; sizes of index at most those of src, and at most
   *         those of x except along dim; y as x
   * Throws: ShapeError for an index outside 0 … size − 1
   */
  scatterAdd(dim: number, index: Tensor, src: Tensor): Tensor;
  /**
   * y[.., i, ..] = x[.., index[i], ..] along `dim`.   ∂x = g added up at index
   * Shape:  x [..,N,..], index [I] or [] (int32) → [..,I,..]; x [] takes one index
   * Throws: ShapeError for an index outside 0 … N − 1
   */
  indexSelect(dim: number, index: Tensor): Tensor;
  /** y[.., i, ..] = x[.., n − 1 − i, ..] along `dims`.   ∂x = g flipped back */
  flip(dims: Dims): Tensor;
  /** y[.., i, j] = x[.., i, j] where j − i ≤ diagonal, else 0.   ∂x = g there */
  tril(diagonal?: number): Tensor;
  /** y[.., i, j] = x[.., i, j] where j − i ≥ diagonal, else 0.   ∂x = g there */
  triu(diagonal?: number): Tensor;

  // — sorting and selection —
  /**
   * Sorts x along `dim`: [values, indices (int32)]. Equal elements keep their order, and NaN is the largest.   ∂x = g at the indices
   * Shape:  x of any → values, indices as x
   */
  sort(dim?: number, options?: SortOptions): [values: Tensor, indices: Tensor];
  /**
   * Returns the indices (int32) that sort x along `dim`; equal elements keep their order, and NaN is the largest. No gradient.
   * Shape:  x of any → y as x
   */
  argsort(dim?: number, options?: SortOptions): Tensor;
  /**
   * Returns the k largest elements along `dim`, largest first: [values, indices (int32)]. Of equal elements the first are taken, and NaN is
   * the largest.   ∂x = g at the indices
   * Shape:  x [..,N,..] → values, indices [..,k,..]
   * Throws: ShapeError unless k is from 0 to N
   */
  topk(k: number, dim?: number, options?: TopkOptions): [values: Tensor, indices: Tensor];
  /**
   * Returns the indices (int32) of the elements that are not 0, in row-major order; NaN is not 0. No gradient.
   * Shape:  x of D dims → y [K,D] for K such elements
   */
  nonzero(): Tensor;
  /**
   * Returns the elements of x where the mask is true, in row-major order.   ∂x = g there, else 0
   * Shape:  x and mask (bool) broadcast against each other → y [K]
   * Throws: DTypeError for a mask that is not bool
   */
  maskedSelect(mask: Tensor): Tensor;

  // — splitting and repeating —
  /** Splits x along `dim` into views of `size` (the last may be smaller), or of several sizes.   ∂x = their g concatenated */
  split(size: Dims, dim?: number): Tensor[];
  /** Splits x along `dim` into at most `chunks` views of equal size; the last may be smaller.   ∂x = their g concatenated */
  chunk(chunks: number, dim?: number): Tensor[];
  /** Returns all slices along `dim`, without that dim, as views.   ∂x = their g stacked */
  unbind(dim?: number): Tensor[];
  /** Repeats x counts[d] times along each dim; more counts than dims add dims in front.   ∂x = g summed over the copies */
  repeat(counts: Shape): Tensor;
  /** y[.., (i + shift) mod n, ..] = x[.., i, ..] along `dim`, or in the flattened tensor.   ∂x = g rolled back */
  roll(shift: Dims, dim?: Dims): Tensor;

  // — softmax —
  /** yᵢ = exp xᵢ / Σⱼ exp xⱼ along `dim`.   ∂x = y ⊙ (g − Σ g ⊙ y) */
  softmax(dim: number): Tensor;
  /** yᵢ = xᵢ − ln Σⱼ exp xⱼ along `dim`.   ∂x = g − exp y ⊙ Σ g */
  logSoftmax(dim: number): Tensor;

  // — products —
  /**
   * Computes the matrix product, as torch.matmul: vectors give the dot product, leading dims broadcast as batches.
   * Shape:  a [B…,M,K] · b [B…,K,N] → [B…,M,N]; a [K] counts as [1,K], b [K] as [K,1], without those dims in the result
   *   ∂a = g · bᵀ,   ∂b = aᵀ · g, summed over broadcast batches
   * Throws: ShapeError where the inner sizes differ; DTypeError for int32 and bool
   */
  matmul(b: Tensor): Tensor;
  /** y = a · b.   ∂a = g ⊗ b,   ∂b = aᵀ · g.   Shape:  a [M,K], b [K] → [M] */
  mv(b: Tensor): Tensor;
  /** y = Σ a ⊙ b.   ∂a = g ⊙ b,   ∂b = g ⊙ a.   Shape:  a [K], b [K] → [] */
  dot(b: Tensor): Tensor;
  /** y[i, j] = a[i] · b[j].   ∂a = g · b,   ∂b = gᵀ · a.   Shape:  a [M], b [N] → [M,N] */
  outer(b: Tensor): Tensor;

  // — activations —
  /** y = max(x, 0).   ∂x = g where y > 0, and at NaN, as in PyTorch */
  relu(): Tensor;
  /** y = σ(x) = 1 / (1 + e⁻ˣ).   ∂x = g ⊙ y ⊙ (1 − y) */
  sigmoid(): Tensor;
  /** y = tanh x.   ∂x = g ⊙ (1 − y²) */
  tanh(): Tensor;
  /** y = ln σ(x).   ∂x = g ⊙ σ(−x) */
  logSigmoid(): Tensor;
  /** y = x where x > 0, else negativeSlope · x */
  leakyRelu(negativeSlope?: number): Tensor;
  /**
   * y = x where x > 0, else w ⊙ x, with one learned slope or one per channel
   * Shape:  x [N,C,…], w [C] or [1] (the only one for x [N] or []) → y as x
   * Source: He et al. 2015, arXiv:1502.01852, eq. 1
   * Throws: ShapeError for other sizes
   */
  prelu(w: Tensor): Tensor;
  /**
   * y = x where x > 0, else alpha · (eˣ − 1)
   * Source: Clevert et al. 2015, arXiv:1511.07289, eq. 15
   */
  elu(alpha?: number): Tensor;
  /**
   * y = x Φ(x), Φ the standard normal distribution: ½ (1 + erf(x / √2)), or ½ (1 + tanh(√(2/π) (x + 0.044715 x³)))
   * Source: Hendrycks & Gimpel 2016, arXiv:1606.08415, section 2
   * Throws: ArgumentError for another `approximate`
   */
  gelu(options?: GeluOptions): Tensor;
  /**
   * y = ln(1 + e^βx) / β where βx ≤ threshold, else x
   * Throws: ArgumentError for beta 0
   */
  softplus(options?: SoftplusOptions): Tensor;
  /** y = x σ(x) */
  silu(): Tensor;
  /** y = x tanh(ln(1 + eˣ)) */
  mish(): Tensor;
  /** y = min(max(x + 3, 0), 6) / 6.   ∂x = g / 6 where −3 < x < 3 */
  hardsigmoid(): Tensor;
  /** y = x min(max(x + 3, 0), 6) / 6.   ∂x = g ⊙ (x / 3 + ½) where −3 ≤ x ≤ 3, g above */
  hardswish(): Tensor;

  // — in place —
  /** x ← x + y, y broadcast to x. Not recorded; throws in grad mode where a gradient is required. Returns x. */
  add_(y: Operand): this;
  /** x ← x ⊙ y, y broadcast to x. Not recorded; throws in grad mode where a gradient is required. Returns x. */
  mul_(y: Operand): this;
  /** x ← 0. Not recorded; throws in grad mode where a gradient is required. Returns x. */
  zero_(): this;
  /** x ← y, converted and broadcast to x. Not recorded; throws in grad mode where a gradient is required. Returns x. */
  copy_(y: Tensor): this;
  /** x ← value. Not recorded; throws in grad mode where a gradient is required. Returns x. */
  fill_(value: number): this;
}

import { allOrNone, causalMask, checkProbability, checkTensor, composed, defaultGenerator, isTensor, where } from '../autograd/index.ts';
import { scaledDotProductAttention, type Generator, type Tensor } from '../autograd/index.ts';
import { ArgumentError, DTypeError, ShapeError } from '../core/errors.ts';
import { checkCount, refuseSurplus, withDefaults } from '../core/options.ts';
import { formatShape, shapesOf } from '../core/shape.ts';
import { linear } from './functional.ts';
import { xavierUniform_, zeros_, type InitOptions } from './init.ts';
import { Linear } from './linear-layers.ts';
import { Module } from './module.ts';
import { parameter, type LayerOptions, type Parameter } from './parameter.ts';

/** Options of MultiheadAttention. */
export interface MultiheadAttentionOptions extends LayerOptions, InitOptions {
  /** The probability with which dropout zeroes an attention weight in training. Default 0. */
  readonly dropout?: number;
  /** Whether the projections have biases. Default true. */
  readonly bias?: boolean;
}

/** Options of MultiheadAttention.forward. As in PyTorch, a bool mask is true where attention is *not* allowed. */
export interface MultiheadAttentionMasks {
  /** [L,S] or [N·heads,L,S]: bool, or floats that are added to the scores. Default none. */
  readonly attnMask?: Tensor | null;
  /** [N,S], bool: true for keys that are padding. Default none. */
  readonly keyPaddingMask?: Tensor | null;
  /** Whether query i attends to the keys 0 … i only. Default false. */
  readonly isCausal?: boolean;
}

const MASKS = { attnMask: null, keyPaddingMask: null, isCausal: false };
const OP = 'multiheadAttention';

interface Projections {
  readonly heads: number;
  readonly dropoutP: number;
  readonly generator: Generator;
  readonly weight: Tensor;
  readonly bias: Tensor | null;
  readonly outWeight: Tensor;
  readonly outBias: Tensor | null;
}

/**
 * Attention in several heads, each over its own projections of queries, keys and values.
 *   y = concat(headᵢ) W_Oᵀ + b_O,   headᵢ = softmax(qᵢ kᵢᵀ / √D) vᵢ,   D = embedDim / numHeads
 * A query that bool masks keep from every key gives 0 in all heads.
 * Shape:  query [N,L,E], key and value [N,S,E] → y [N,L,E]; in_proj_weight [3E,E], in_proj_bias [3E], out_proj.weight [E,E]
 * Init:   in_proj_weight as xavierUniform_, out_proj.weight as Linear, biases 0 (PyTorch's default)
 * Source: Vaswani et al. 2017, arXiv:1706.03762, section 3.2.2
 * Throws: ArgumentError for heads that do not divide embedDim; ShapeError for shapes and masks that do not fit
 * @example new MultiheadAttention(64, 4).forward(x, x, x, { isCausal: true })
 */
export class MultiheadAttention extends Module {
  // PyTorch's names, as property names are the keys in the state dict.
  /** [3E,E]: the projections of query, key and value, one below the other. */
  readonly in_proj_weight: Parameter;
  /** [3E]; null without bias. */
  readonly in_proj_bias: Parameter | null;
  /** The projection of the joined heads, E to E. */
  readonly out_proj: Linear;
  /** E. */
  readonly embedDim: number;
  /** The number of heads, which divides E. */
  readonly numHeads: number;
  /** The probability that a weight of the attention is zeroed in training. */
  readonly dropout: number;
  /** Draws the masks of the dropout. */
  readonly generator: Generator;

  constructor(embedDim: number, numHeads: number, options: MultiheadAttentionOptions = {}) {
    super();
    const defaults = { dropout: 0, bias: true, dtype: 'float32', generator: defaultGenerator } as const;
    const { dropout, bias, dtype, generator } = withDefaults('MultiheadAttention', options, defaults);
    checkCount('MultiheadAttention', 'embedDim', embedDim);
    checkCount('MultiheadAttention', 'numHeads', numHeads);
    if (embedDim % numHeads !== 0)
      throw new ArgumentError(`MultiheadAttention: embedDim ${embedDim} does not divide into ${numHeads} heads`);
    checkProbability('MultiheadAttention', dropout);
    [this.in_proj_weight, this.in_proj_bias, this.out_proj] = allOrNone(() => {
      const out = new Linear(embedDim, embedDim, { bias, dtype, generator });
      if (out.bias !== null) zeros_(out.bias);
      return [
        parameter([3 * embedDim, embedDim], dtype, (t) => xavierUniform_(t, 1, { generator })),
        bias ? parameter([3 * embedDim], dtype, zeros_) : null,
        out,
      ];
    });
    this.embedDim = embedDim;
    this.numHeads = numHeads;
    this.dropout = dropout;
    this.generator = generator;
  }

  /** @param key Default: query. @param value Default: key. */
  forward(query: Tensor, key: Tensor = query, value: Tensor = key, masks: MultiheadAttentionMasks = {}): Tensor {
    refuseSurplus('forward', arguments, 4);
    const { numHeads: heads, generator, in_proj_weight: weight, in_proj_bias: bias, out_proj: out } = this;
    this.#checkInputs(query, key, value);
    const dropoutP = this.training ? this.dropout : 0;
    return attend(query, key, value, masks, { heads, dropoutP, generator, weight, bias, outWeight: out.weight, outBias: out.bias });
  }

  #checkInputs(query: Tensor, key: Tensor, value: Tensor): void {
    for (const [name, t] of Object.entries({ query, key, value })) checkTensor(OP, name, t);
    const e = this.embedDim;
    const fits = [query, key, value].every((t) => t.ndim === 3 && t.size(0) === query.size(0) && t.size(2) === e);
    if (!fits || key.size(1) !== value.size(1))
      throw new ShapeError(`${OP}: query must be [N,L,${e}], key and value [N,S,${e}] ${shapesOf({ query, key, value })}`);
  }

  /** Of self-attention. */
  override multiplyAdds(x: Tensor): number {
    const e = this.embedDim;
    return (x.numel / e) * (4 * e * e + 2 * x.size(1) * e);
  }
}

const attend = composed((query: Tensor, key: Tensor, value: Tensor, masks: MultiheadAttentionMasks, p: Projections): Tensor => {
  const { attnMask, keyPaddingMask, isCausal } = withDefaults<MultiheadAttentionMasks>(OP, masks, MASKS);
  const mask = joinMasks([query.size(0), p.heads, query.size(1), key.size(1)], attnMask, keyPaddingMask, isCausal);
  const [q, k, v] = project(query, key, value, p).map((t) => t.unflatten(2, [p.heads, -1]).transpose(1, 2)) as [Tensor, Tensor, Tensor];
  const y = scaledDotProductAttention(q, k, v, { attnMask: mask, dropoutP: p.dropoutP, generator: p.generator });
  return linear(y.transpose(1, 2).flatten(2), p.outWeight, p.outBias);
});

/** Returns queries, keys and values. Those of self-attention are one product. */
function project(query: Tensor, key: Tensor, value: Tensor, { weight, bias }: Projections): Tensor[] {
  if (key === query && value === query) return linear(query, weight, bias).chunk(3, 2);
  const weights = weight.chunk(3);
  const biases = bias?.chunk(3);
  return [query, key, value].map((t, i) => linear(t, weights[i]!, biases?.[i] ?? null));
}

type Sizes = readonly [batch: number, heads: number, queries: number, keys: number];

/** Returns one mask for scaledDotProductAttention, which broadcasts to `sizes`; null if there is none. */
function joinMasks(sizes: Sizes, attn: Tensor | null, padding: Tensor | null, isCausal: boolean): Tensor | null {
  const [n, heads, l, s] = sizes;
  const allowed: Tensor[] = [];
  if (isCausal) allowed.push(causalMask(l, s));
  if (padding !== null) {
    checkMask('keyPaddingMask', padding, [[n, s]]);
    if (padding.dtype !== 'bool') throw new DTypeError(`${OP}: keyPaddingMask must be bool, got ${padding.dtype}`);
    allowed.push(padding.logicalNot().unflatten(0, [n, 1, 1]));
  }
  if (attn !== null)
    checkMask('attnMask', attn, [
      [l, s],
      [n * heads, l, s],
    ]); // prettier-ignore
  const perHead = attn?.ndim === 3 ? attn.unflatten(0, [n, heads]) : attn;
  if (perHead?.dtype === 'bool') allowed.push(perHead.logicalNot());
  const every = allowed.length === 0 ? null : allowed.reduce((a, b) => a.logicalAnd(b));
  if (perHead === null || perHead.dtype === 'bool') return every;
  return every === null ? perHead : where(every, perHead, -Infinity);
}

function checkMask(name: string, mask: Tensor, shapes: readonly (readonly number[])[]): void {
  if (!isTensor(mask)) checkTensor(OP, name, mask);
  if (!shapes.some((shape) => formatShape(shape) === formatShape(mask.shape)))
    throw new ShapeError(`${OP}: ${name} must be ${shapes.map(formatShape).join(' or ')}, got ${formatShape(mask.shape)}`);
}

/**
 * chainrule/nn/functional: layers and losses as functions, with torch.nn.functional's names in camelCase.
 *
 * Letters: N batch, C channels, H W image, L sequence, O output channels, K kernel. Images and sequences of a convolution may omit N.
 */
import { arange, checkIndex, checkTensor, checkTensors, type Tensor, composed } from '../autograd/index.ts';
import { ArgumentError, DTypeError, ShapeError, shown } from '../core/errors.ts';
import { refuseOptions } from '../core/options.ts';
import { sameShape, shapesOf } from '../core/shape.ts';

export { binaryCrossEntropy, binaryCrossEntropyWithLogits, crossEntropy } from '../autograd/index.ts';
export { huberLoss, l1Loss, mseLoss, nllLoss, smoothL1Loss } from '../autograd/index.ts';
export type { BinaryCrossEntropyOptions, BinaryCrossEntropyWithLogitsOptions, CrossEntropyOptions } from '../autograd/index.ts';
export type { HuberLossOptions, Loss, LossOptions, NllLossOptions, Reduction, SmoothL1LossOptions } from '../autograd/index.ts';
export { logSigmoid, logSoftmax, relu, sigmoid, softmax, tanh } from '../autograd/index.ts';
export { scaledDotProductAttention, type AttentionOptions } from '../autograd/index.ts';
export { dropout, dropout2d, embedding, stochasticDepth } from '../autograd/index.ts';
export type { DropoutOptions, EmbeddingOptions, StochasticDepthMode } from '../autograd/index.ts';
export { elu, gelu, hardsigmoid, hardswish, leakyRelu, mish, prelu, silu, softplus } from '../autograd/index.ts';
export type { GeluOptions, SoftplusOptions } from '../autograd/index.ts';
export { conv1d, conv2d, convTranspose2d } from '../autograd/index.ts';
export type { Conv1dOptions, Conv2dOptions, ConvTranspose2dOptions, Size2d } from '../autograd/index.ts';
export {
  adaptiveAvgPool2d,
  adaptiveMaxPool2d,
  avgPool2d,
  globalAvgPool2d,
  globalMaxPool2d,
  interpolate,
  maxPool2d,
} from '../autograd/index.ts';
export type { AdaptiveSize, AvgPool2dOptions, InterpolateOptions, MaxPool2dOptions, PoolOptions, WithIndices } from '../autograd/index.ts';
export { batchNorm, groupNorm, instanceNorm, layerNorm, rmsNorm } from '../autograd/index.ts';
export type { BatchNormOptions, InstanceNormOptions, NormOptions, RmsNormOptions } from '../autograd/index.ts';

/**
 * y = x Wᵀ + b
 * Shape:  x [...,I], w [O,I], b [O] → y [...,O]
 * Throws: ShapeError if the sizes do not fit; DTypeError if the dtypes differ
 */
export const linear = composed(function linear(x: Tensor, w: Tensor, b: Tensor | null = null): Tensor {
  refuseOptions('linear', arguments[3]);
  checkTensors('linear', { x, w, ...(b !== null && { b }) });
  const shapeError = (problem: string): ShapeError => new ShapeError(`linear: ${problem} ${shapesOf({ x, w, b })}`);
  if (w.ndim !== 2 || x.ndim === 0) throw shapeError('x must be [...,I] and w [O,I]');
  if (x.size(-1) !== w.size(1)) throw shapeError(`x has ${x.size(-1)} features, w expects ${w.size(1)}`);
  if (b !== null && !sameShape(b.shape, [w.size(0)])) throw shapeError(`b must be [${w.size(0)}]`);
  // As convolutions and norms: a layer computes in the dtype of its parameters, and nothing is converted silently.
  const other = [w, ...(b === null ? [] : [b])].find((t) => t.dtype !== x.dtype);
  if (other !== undefined)
    throw new DTypeError(`linear: x is ${x.dtype}, ${other === w ? 'w' : 'b'} ${other.dtype}; they must be equal, convert one with .to()`);
  const y = x.matmul(w.transpose(0, 1));
  return b === null ? y : y.add(b);
});

/**
 * y[…, c] = 1 where c = index[…], else 0, in int32. No gradient.
 * Shape:  index […] (int32) → y […,C]; C = numClasses, by default the largest index + 1
 */
export const oneHot = composed(function oneHot(index: Tensor, numClasses?: number): Tensor {
  checkTensor('oneHot', 'index', index);
  refuseOptions('oneHot', arguments[2]);
  if (numClasses === undefined && index.numel === 0)
    throw new ArgumentError('oneHot: an empty index has no largest class; give numClasses');
  const largestIndex = (): number => Array.from(index.data()).reduce((a, b) => Math.max(a, b), 0);
  const count = numClasses ?? largestIndex() + 1;
  if (!Number.isInteger(count) || count < 1) throw new ArgumentError(`oneHot: numClasses must be a whole number ≥ 1, got ${shown(count)}`);
  checkIndex('oneHot', index, count);
  return index.unsqueeze(-1).eq(arange(count)).to('int32');
});

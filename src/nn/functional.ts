/**
 * Layers as functions, under torch.nn.functional's names in camelCase. Letters: N batch, C channels, H W image, O output
 * channels, K kernel; images may come without N.
 */
import { arange, checkIndex, checkTensors, type Tensor } from '../autograd/index.ts';
import { ArgumentError, ShapeError } from '../core/errors.ts';
import { sameShape, shapesOf } from '../core/shape.ts';

export { binaryCrossEntropy, binaryCrossEntropyWithLogits, crossEntropy } from '../autograd/index.ts';
export { l1Loss, mseLoss, nllLoss, smoothL1Loss } from '../autograd/index.ts';
export type { BinaryCrossEntropyOptions, BinaryCrossEntropyWithLogitsOptions, CrossEntropyOptions } from '../autograd/index.ts';
export type { Loss, LossOptions, NllLossOptions, Reduction, SmoothL1LossOptions } from '../autograd/index.ts';
export { logSigmoid, logSoftmax, relu, sigmoid, softmax, tanh } from '../autograd/index.ts';
export { dropout, dropout2d, embedding, stochasticDepth } from '../autograd/index.ts';
export type { DropoutOptions, EmbeddingOptions, StochasticDepthMode } from '../autograd/index.ts';
export { elu, gelu, hardsigmoid, hardswish, leakyRelu, mish, prelu, silu, softplus } from '../autograd/index.ts';
export type { GeluOptions, SoftplusOptions } from '../autograd/index.ts';
export { conv2d, convTranspose2d, type Conv2dOptions, type ConvTranspose2dOptions, type Size2d } from '../autograd/index.ts';
export { adaptiveAvgPool2d, avgPool2d, globalAvgPool2d, globalMaxPool2d, interpolate, maxPool2d } from '../autograd/index.ts';
export type { AdaptiveSize, AvgPool2dOptions, InterpolateOptions, MaxPool2dOptions, PoolOptions, WithIndices } from '../autograd/index.ts';
export { batchNorm, groupNorm, layerNorm, rmsNorm } from '../autograd/index.ts';
export type { BatchNormOptions, NormOptions, RmsNormOptions } from '../autograd/index.ts';

/**
 * y = x Wᵀ + b
 * Shape:  x [...,I], w [O,I], b [O] → y [...,O]
 * Throws: ShapeError for other sizes
 */
export function linear(x: Tensor, w: Tensor, b: Tensor | null = null): Tensor {
  checkTensors('linear', { x, w, ...(b !== null && { b }) });
  const refusal = (why: string): ShapeError => new ShapeError(`linear: ${why} ${shapesOf({ x, w, b })}`);
  if (w.ndim !== 2 || x.ndim === 0) throw refusal('x must be [...,I] and w [O,I]');
  if (x.size(-1) !== w.size(1)) throw refusal(`x has ${x.size(-1)} features, w expects ${w.size(1)}`);
  if (b !== null && !sameShape(b.shape, [w.size(0)])) throw refusal(`b must be [${w.size(0)}]`);
  const y = x.matmul(w.transpose(0, 1));
  return b === null ? y : y.add(b);
}

/**
 * y[.., c] = 1 where c = index, else 0, in int32; as many classes as the largest index needs by default. No gradient.
 * Shape:  index […] (int32) → […,C]
 */
export function oneHot(index: Tensor, numClasses?: number): Tensor {
  if (numClasses === undefined && index.numel === 0)
    throw new ArgumentError('oneHot: an empty index has no largest class; give numClasses');
  const count = numClasses ?? Array.from(index.data()).reduce((a, b) => Math.max(a, b), 0) + 1;
  if (!Number.isInteger(count) || count < 1) throw new ArgumentError(`oneHot: numClasses must be a whole number ≥ 1, got ${count}`);
  checkIndex('oneHot', index, count);
  return index.unsqueeze(-1).eq(arange(count)).to('int32');
}

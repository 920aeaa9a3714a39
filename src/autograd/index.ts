/**
 * Everything of autograd that the layers above may use. src/index.ts selects what is public.
 */
import './methods.ts';

export { setConvAlgorithm, type ConvAlgorithm } from '../kernels/conv-algorithm.ts';
export { getNumThreads, setNumThreads } from '../kernels/threads/pool.ts';
export { getTurbo, setTurbo, type TurboChoice, type TurboReport } from '../kernels/wasm/turbo.ts';
export * from './backward.ts';
export * from './create.ts';
export * from './functional.ts';
export * from './scopes.ts';
export * from './op.ts';
export * from './random.ts';
export { recompute } from './recompute.ts';
export { isGradEnabled, withGradMode } from './grad-mode.ts';
/** @internal */
export { withLeafListener } from './leaf-gradients.ts';
export { allOrNone, composed, releasing, startInScope } from './scope-stack.ts';
export { scopedAsyncIterator, scopedIterator, Wait } from './scoped-loops.ts';
export { checkTensor, checkTensorRecord, checkTensors, isTensor, Tensor, type NestedArray, type TensorOptions } from './tensor.ts';
/** @internal */
export { owned, untracked } from './tensor.ts';
/** @internal */
export { copyAll_, mayWrite } from './ops/inplace.ts';
export { moduleStack, placeOf, titleOf } from './instrumentation.ts';
export * from './ops/options.ts';
export * from './ops/activations.ts';
export * from './ops/attention.ts';
export * from './ops/batch-norm.ts';
export { broadcastTo, expand, sumTo } from './ops/broadcasting.ts';
export * from './ops/comparison.ts';
export * from './ops/conv.ts';
export type { Dims } from './ops/dims.ts';
export * from './ops/dropout.ts';
export * from './ops/elementwise.ts';
export * from './ops/einsum.ts';
export * from './ops/embedding.ts';
export type { Size2d } from './ops/image-batch.ts';
export * from './ops/indexing.ts';
export * from './ops/instance-norm.ts';
export * from './ops/interpolate.ts';
export * from './ops/joining.ts';
export * from './ops/linalg.ts';
export * from './ops/loss.ts';
export * from './ops/multinomial.ts';
export { groupNorm, layerNorm, rmsNorm, type NormOptions, type RmsNormOptions } from './ops/normalization.ts';
export { cast, type Operand } from './ops/operands.ts';
export * from './ops/ordering.ts';
export * from './ops/pool.ts';
export * from './ops/reduce.ts';
export * from './ops/scale-channels.ts';
export * from './ops/softmax.ts';
export * from './ops/views.ts';

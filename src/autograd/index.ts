/**
 * Everything of autograd that the layers above may use. src/index.ts selects what is public.
 */
import './methods.ts';

export { setConvAlgorithm, type ConvAlgorithm } from '../kernels/conv-algorithm.ts';
export { getNumThreads, setNumThreads } from '../kernels/threads/pool.ts';
export * from './backward.ts';
export * from './create.ts';
export * from './functional.ts';
export * from './scopes.ts';
export * from './op.ts';
export * from './random.ts';
export { recompute } from './recompute.ts';
export { isGradEnabled, withGradMode } from './grad-mode.ts';
export { currentScope } from './scope-stack.ts';
export { scopedAsyncIterator, scopedIterator } from './scoped-loops.ts';
export { checkTensors, isTensor, Tensor, type NestedArray, type TensorOptions } from './tensor.ts';
/** @internal */
export { owned, untracked } from './tensor.ts';
export { moduleStack, placeOf, titleOf } from './instrumentation.ts';
export * from './ops/activations.ts';
export * from './ops/conv.ts';
export * from './ops/dropout.ts';
export * from './ops/elementwise.ts';
export * from './ops/embedding.ts';
export * from './ops/einsum.ts';
export type { Size2d } from './ops/images.ts';
export * from './ops/linalg.ts';
export * from './ops/loss.ts';
export * from './ops/movement.ts';
export * from './ops/norm.ts';
export * from './ops/normalize.ts';
export * from './ops/pool.ts';
export * from './ops/rearrange.ts';
export * from './ops/reduce.ts';

/**
 * The SIMD WebAssembly kernels: argument marshalling by family, all run by launch.ts.
 */
import type { FusedKernels, Kernels } from './interface.ts';
import { elementwiseKernels } from './wasm-elementwise.ts';
import { fusedKernels } from './wasm-fused.ts';
import { lazyKernels } from './wasm-lazy.ts';
import { optimizerKernels } from './wasm-optim.ts';
import { poolingKernels } from './wasm-pooling.ts';
import { productKernels } from './wasm-products.ts';

const { unary, binary, batchNormApply, batchNormGrad } = lazyKernels;

export const wasm: Kernels = {
  name: 'wasm',
  ...elementwiseKernels,
  ...productKernels,
  ...poolingKernels,
  ...optimizerKernels,
  unary,
  binary,
};

export const wasmFused: FusedKernels = { ...fusedKernels, batchNormApply, batchNormGrad };

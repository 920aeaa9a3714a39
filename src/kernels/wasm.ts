/**
 * The SIMD WebAssembly kernels: argument marshalling by family, all run by launch.ts.
 */
import type { FusedKernels, Kernels } from './interface.ts';
import { elementwiseKernels } from './wasm-elementwise.ts';
import { fusedKernels } from './wasm-fused.ts';
import { lazyFusedKernels, lazyKernels } from './wasm-lazy.ts';
import { optimizerKernels } from './wasm-optim.ts';
import { poolingKernels } from './wasm-pooling.ts';
import { productKernels } from './wasm-products.ts';

export const wasm: Kernels = {
  name: 'wasm',
  ...elementwiseKernels,
  ...productKernels,
  ...poolingKernels,
  ...optimizerKernels,
  ...lazyKernels,
};

export const wasmFused: FusedKernels = { ...fusedKernels, ...lazyFusedKernels };

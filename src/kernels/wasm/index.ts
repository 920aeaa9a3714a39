/**
 * The SIMD WebAssembly kernels. One file per family computes the arguments; launch.ts runs the kernels.
 */
import type { FusedKernels, Kernels } from '../interface.ts';
import { elementwiseKernels } from './elementwise.ts';
import { fusedKernels } from './fused.ts';
import { fusingFusedKernels, fusingKernels } from './fusion/batch-norm-relu.ts';
import { optimizerKernels } from './optimizers.ts';
import { indexingKernels } from './indexing.ts';
import { poolingKernels } from './pooling.ts';
import { randomKernels } from './random.ts';
import { reductionKernels } from './reduce.ts';
import { productKernels } from './matmul.ts';

export const wasm: Kernels = {
  name: 'wasm',
  ...elementwiseKernels,
  ...reductionKernels,
  ...indexingKernels,
  ...randomKernels,
  ...productKernels,
  ...poolingKernels,
  ...optimizerKernels,
  ...fusingKernels,
};

export const wasmFused: FusedKernels = { ...fusedKernels, ...fusingFusedKernels };

/**
 * The primitive kernels: their interface, and the implementation in use.
 *
 * Kernels write into views that the caller has allocated. They never allocate results and never check shapes (operations do, with
 * texts for the user). They throw only if memory runs out or a worker fails. Views may have any strides, 0 included, unless a kernel's
 * comment restricts them. An output never overlaps an input unless both are the same view.
 *
 * Letters: N batch, C channels, H W image, O output channels, G groups, K kernel, M×K · K×N matrix product.
 */
import { ArgumentError } from '../core/errors.ts';
import { environment } from '../platform/node.ts';
import type { FusedKernels, Kernels } from './interface.ts';
import { reference } from './reference/index.ts';
import { startTurbo } from './wasm/turbo.ts';
import { wasm, wasmFused } from './wasm/index.ts';

export type * from './interface.ts';

const wanted = environment('CHAINRULE_KERNELS');
if (wanted !== undefined && !['', 'wasm', 'reference'].includes(wanted)) {
  throw new ArgumentError(`CHAINRULE_KERNELS: expected wasm or reference, got '${wanted}'`);
}

/** The kernels in use: SIMD WebAssembly, or the reference implementation with `CHAINRULE_KERNELS=reference`. */
export const kernels: Kernels = wanted === 'reference' ? reference : wasm;

/** Kernels of fused operations; null with the reference kernels, where fused operations run their definitions. */
export const fused: FusedKernels | null = wanted === 'reference' ? null : wasmFused;

startTurbo(wanted === 'reference');

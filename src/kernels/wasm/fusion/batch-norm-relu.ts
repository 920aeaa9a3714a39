/**
 * Fuses batch norm with the ReLU after it, forward and backward. Batch norm's last pass is deferred until the ReLU reads y, and the ReLU's
 * gradient until batch norm's gradient reads it. Each pair then takes one pass over memory. Results are bitwise identical to those of
 * separate kernel calls.
 */
import type { FusedKernels, Kernels } from '../../interface.ts';
import type { Storage } from '../../memory/storage.ts';
import { readElements } from '../../memory/wasm-memory.ts';
import { materialize, materializedAddressOf, type View } from '../../view.ts';
import { elementwiseKernels } from '../elementwise.ts';
import { fusedKernels } from '../fused.ts';
import { deferCall, hasSameLayout, pendingCallOf, type DeferredCall } from './deferred-call.ts';

type BatchNormInputs = Readonly<Record<'x' | 'scale' | 'offset', View>>;
type ReluGradInputs = Readonly<Record<'g' | 'y', View>>;

const batchNormCall = ({ x, scale, offset }: BatchNormInputs, y: View): void => fusedKernels.batchNormApply(x, scale, offset, y);
const reluGradCall = ({ g, y }: ReluGradInputs, dx: View): void => elementwiseKernels.binary('reluGrad', g, y, dx);

/** Maps a fused ReLU's output to the batch-norm call that it absorbed, with the output's version at that time. */
const fusedReluInputs = new WeakMap<Storage, { readonly call: DeferredCall<BatchNormInputs>; readonly version: number }>();

/** Returns the batch-norm call that the ReLU with output z absorbed; null if z or an input of the call has changed since. */
function absorbedBy(z: View): DeferredCall<BatchNormInputs> | null {
  const fused = fusedReluInputs.get(z.storage);
  if (fused === undefined || fused.call.inputs === null || fused.version !== z.storage.version) return null;
  return fused.call;
}

function isFinite(v: View): boolean {
  materialize(v, 'read');
  return readElements(materializedAddressOf(v), v.dtype, v.shape[0]!).every(Number.isFinite);
}

export const fusingKernels: Pick<Kernels, 'unary' | 'binary'> = {
  unary(op, x, z) {
    if (op !== 'relu') return elementwiseKernels.unary(op, x, z);
    // This precedes the look-up, as the call may read or write z's memory.
    materialize(z, 'write');
    const call = pendingCallOf(batchNormCall, x);
    if (call === null || !hasSameLayout(x, z)) return elementwiseKernels.unary(op, x, z);
    const { x: source, scale, offset } = call.inputs!;
    fusedKernels.batchNormApply(source, scale, offset, z, true);
    fusedReluInputs.set(z.storage, { call, version: z.storage.version });
  },

  binary(op, a, b, y) {
    const absorbed = op === 'reluGrad' ? absorbedBy(b) : null;
    if (absorbed !== null && [a, b, y].every((v) => hasSameLayout(v, absorbed.y))) deferCall(reluGradCall, { g: a, y: b }, y);
    else elementwiseKernels.binary(op, a, b, y);
  },
};

export const fusingFusedKernels: Pick<FusedKernels, 'batchNormApply' | 'batchNormGrad'> = {
  batchNormApply(x, scale, offset, y, relu = false) {
    if (relu) fusedKernels.batchNormApply(x, scale, offset, y, relu);
    else deferCall(batchNormCall, { x, scale, offset }, y);
  },

  batchNormGrad(g, x, norm, dx, dw, db, relu = false) {
    // This precedes the look-ups, as the calls may read or write the memory of the results.
    for (const result of [dx, dw, db]) if (result !== null) materialize(result, 'write');
    const gradient = relu ? null : pendingCallOf(reluGradCall, g);
    const absorbed = gradient === null ? null : absorbedBy(gradient.inputs!.y);
    // Each batch norm has its own scale tensor, so an equal one means that the ReLU followed this batch norm. With an infinite offset,
    // y = x·scale − offset could be ∞ − ∞, which comparing x·scale with offset does not detect.
    const isOwn = absorbed !== null && absorbed.inputs!.scale.storage === norm.scale.storage && isFinite(norm.offset);
    if (isOwn) fusedKernels.batchNormGrad(gradient!.inputs!.g, x, norm, dx, dw, db, true);
    else fusedKernels.batchNormGrad(g, x, norm, dx, dw, db, relu);
  },
};

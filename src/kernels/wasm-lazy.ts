/**
 * Kernels that wait for the next one, so that both take one pass over memory: batch norm for the ReLU that reads it, and that ReLU's
 * gradient for batch norm's. What comes out is, bit for bit, what one after the other gives.
 */
import { Deferred, deferredCall, sameLayout } from './deferred.ts';
import type { FusedKernels, Kernels } from './interface.ts';
import type { Storage } from './memory.ts';
import type { View } from './view.ts';
import { elementwiseKernels } from './wasm-elementwise.ts';
import { fusedKernels } from './wasm-fused.ts';

type Normalised = Readonly<Record<'x' | 'scale' | 'offset', View>>;
type Rectified = Readonly<Record<'g' | 'y', View>>;

const normalise = ({ x, scale, offset }: Normalised, y: View): void => fusedKernels.batchNormApply(x, scale, offset, y);
const rectify = ({ g, y }: Rectified, dx: View): void => elementwiseKernels.binary('reluGrad', g, y, dx);

/** Of the output of each ReLU that took batch norm along: the call that it took, and the output's version then. */
const origins = new WeakMap<Storage, { readonly call: Deferred<Normalised>; readonly version: number }>();

/** The call that made what the ReLU gave y for, where nothing has changed since. */
function originOf(y: View): Deferred<Normalised> | null {
  const origin = origins.get(y.storage);
  return origin?.call.isWaiting === true && origin.version === y.storage.version ? origin.call : null;
}

export const lazyKernels: Pick<Kernels, 'unary' | 'binary'> & Pick<FusedKernels, 'batchNormApply' | 'batchNormGrad'> = {
  batchNormApply(x, scale, offset, y, relu = false) {
    if (relu) fusedKernels.batchNormApply(x, scale, offset, y, relu);
    else Deferred.make(normalise, { x, scale, offset }, y);
  },

  unary(op, x, y) {
    const call = op === 'relu' ? deferredCall(normalise, x) : null;
    if (call === null || !sameLayout(x, y)) return elementwiseKernels.unary(op, x, y);
    const { x: source, scale, offset } = call.inputs;
    call.during(() => fusedKernels.batchNormApply(source, scale, offset, y, true));
    origins.set(y.storage, { call, version: y.storage.version });
  },

  binary(op, a, b, y) {
    const origin = op === 'reluGrad' ? originOf(b) : null;
    if (origin !== null && [a, b, y].every((v) => sameLayout(v, origin.y))) Deferred.make(rectify, { g: a, y: b }, y);
    else elementwiseKernels.binary(op, a, b, y);
  },

  batchNormGrad(g, x, norm, dx, dw, db, relu = false) {
    const gradient = relu ? null : deferredCall(rectify, g);
    const origin = gradient && originOf(gradient.inputs.y);
    // A batch norm's scale is its own: it tells whether the ReLU came after this one.
    if (origin?.inputs.scale.storage !== norm.scale.storage) return fusedKernels.batchNormGrad(g, x, norm, dx, dw, db, relu);
    gradient!.during(() => origin.during(() => fusedKernels.batchNormGrad(gradient!.inputs.g, x, norm, dx, dw, db, true)));
  },
};

/**
 * Kernels that wait for the next one, so that both take one pass over memory: batch norm for the ReLU that reads it, and that ReLU's
 * gradient for batch norm's. What comes out is, bit for bit, what one after the other gives.
 */
import { defer, deferredCall, reading, sameLayout, type Deferred } from './deferred-call.ts';
import type { FusedKernels, Kernels } from '../../interface.ts';
import { type Storage } from '../../memory/storage.ts';
import { readElements } from '../../memory/wasm-memory.ts';
import { addressOf, type View } from '../../view.ts';
import { elementwiseKernels } from '../elementwise.ts';
import { fusedKernels } from '../fused.ts';

type Normalised = Readonly<Record<'x' | 'scale' | 'offset', View>>;
type Rectified = Readonly<Record<'g' | 'y', View>>;

const normalise = ({ x, scale, offset }: Normalised, y: View): void => fusedKernels.batchNormApply(x, scale, offset, y);
const rectify = ({ g, y }: Rectified, dx: View): void => elementwiseKernels.binary('reluGrad', g, y, dx);

/** Of the output of each ReLU that took batch norm along: the call that it took, and the output's version then. */
const origins = new WeakMap<Storage, { readonly call: Deferred<Normalised>; readonly version: number }>();

/** The call whose y the ReLU that gave z has read, where nothing has changed since. */
function originOf(z: View): Deferred<Normalised> | null {
  const origin = origins.get(z.storage);
  return origin !== undefined && origin.call.inputs !== null && origin.version === z.storage.version ? origin.call : null;
}

/** Asks for the addresses of what is about to be written: what waits there runs. */
function touch(...views: (View | null)[]): void {
  for (const v of views) if (v !== null) addressOf(v);
}

function isFinite(v: View): boolean {
  return readElements(addressOf(v), v.dtype, v.shape[0]!).every(Number.isFinite);
}

export const lazyKernels: Pick<Kernels, 'unary' | 'binary'> = {
  unary(op, x, z) {
    if (op !== 'relu') return elementwiseKernels.unary(op, x, z);
    touch(z);
    const call = deferredCall(normalise, x);
    if (call === null || !sameLayout(x, z)) return elementwiseKernels.unary(op, x, z);
    const { x: source, scale, offset } = call.inputs!;
    reading([source, scale, offset], () => fusedKernels.batchNormApply(source, scale, offset, z, true));
    origins.set(z.storage, { call, version: z.storage.version });
  },

  binary(op, a, b, y) {
    const origin = op === 'reluGrad' ? originOf(b) : null;
    if (origin !== null && [a, b, y].every((v) => sameLayout(v, origin.y))) defer(rectify, { g: a, y: b }, y);
    else elementwiseKernels.binary(op, a, b, y);
  },
};

export const lazyFusedKernels: Pick<FusedKernels, 'batchNormApply' | 'batchNormGrad'> = {
  batchNormApply(x, scale, offset, y, relu = false) {
    if (relu) fusedKernels.batchNormApply(x, scale, offset, y, relu);
    else defer(normalise, { x, scale, offset }, y);
  },

  batchNormGrad(g, x, norm, dx, dw, db, relu = false) {
    touch(dx, dw, db);
    const gradient = relu ? null : deferredCall(rectify, g);
    const origin = gradient && originOf(gradient.inputs!.y);
    // A batch norm's scale is its own: it tells whether the ReLU came after this one. ∞ − ∞ is not to be told from x·scale and offset.
    if (origin === null || origin.inputs!.scale.storage !== norm.scale.storage || !isFinite(norm.offset))
      return fusedKernels.batchNormGrad(g, x, norm, dx, dw, db, relu);
    const unmasked = gradient!.inputs!.g;
    reading([unmasked, x, norm.mean, norm.invstd, norm.scale, norm.offset], () =>
      fusedKernels.batchNormGrad(unmasked, x, norm, dx, dw, db, true),
    );
  },
};

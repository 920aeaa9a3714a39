/**
 * Arguments of the WebAssembly kernels of fused operations; see assembly/norm.ts, its neighbours, and loss.ts.
 */
import { sizeOf } from '../../core/shape.ts';
import type { FusedKernels } from '../interface.ts';
import { launchSlots, type Split } from './launch.ts';
import { allocate } from '../memory/allocator.ts';
import { addressOf, type View } from '../view.ts';

/** Channels whose partial sums are combined as one chunk. */
const COMBINE_CHUNK = 64;
/** About how many nanoseconds an element takes in a pass over memory, and where it takes an exponential. */
const PASS = 0.25;
const EXPONENTIAL = 2;

function suffix(v: View): string {
  return v.dtype === 'float64' ? '_f64' : '_f32';
}

function addressOr0(v: View | null): number {
  return v === null ? 0 : addressOf(v);
}

/** The view as a matrix: M rows of C channels, cut into chunks of `rows`; how a pass over it splits, and how joining C sums of chunks. */
function channelRows(x: View): { M: number; C: number; rows: number; chunks: number; pass: Split; combination: Split } {
  const C = x.shape[1]!;
  const M = C === 0 ? 0 : sizeOf(x.shape) / C;
  const rows = Math.max(32, Math.min(512, Math.floor(32768 / Math.max(C, 1))));
  const chunks = Math.ceil(M / rows);
  const combination = { chunks: Math.ceil(C / COMBINE_CHUNK), work: chunks * C * PASS };
  return { M, C, rows, chunks, pass: { chunks, work: M * C * PASS }, combination };
}

/** Rows of K elements that make a chunk of a softmax. */
function softmaxRows(K: number): number {
  return Math.max(1, Math.floor(8192 / Math.max(K, 1)));
}

/** How M such rows split. */
function softmaxSplit(M: number, K: number): Split {
  return { chunks: Math.ceil(M / softmaxRows(K)), work: M * K * EXPONENTIAL };
}

/** Runs `run` with a workspace of n float64 numbers. */
function withWorkspace(n: number, run: (address: number) => void): void {
  const block = allocate(n * 8);
  try {
    run(block.ptr);
  } finally {
    block.free();
  }
}

export const fusedKernels: FusedKernels = {
  batchNormStats(x, eps, w, b, variance, { mean, invstd, scale, offset }) {
    const { M, C, rows, chunks, pass, combination } = channelRows(x);
    const s = suffix(x);
    withWorkspace(chunks * C * 3, (partial) => {
      launchSlots(`batchNormMoments${s}`, pass, addressOf(x), partial, M, C, rows);
      const results = [mean, variance, invstd, scale, offset].map(addressOf);
      launchSlots(`combineMoments${s}`, combination, partial, M, C, rows, eps, addressOr0(w), addressOr0(b), ...results, COMBINE_CHUNK);
    });
  },

  batchNormApply(x, scale, offset, y, relu = false) {
    const { M, C, rows, pass } = channelRows(x);
    launchSlots(`batchNormApply${suffix(x)}`, pass, ...[x, scale, offset, y].map(addressOf), M, C, rows, relu ? 0 : -Infinity);
  },

  batchNormGrad(g, x, { mean, invstd, scale, offset }, dx, dw, db, relu = false) {
    const { M, C, rows, chunks, pass, combination } = channelRows(x);
    const s = suffix(x);
    const kind = `${relu ? 'Relu' : ''}${s}`;
    const inputs = [g, x, scale, offset].map(addressOf);
    withWorkspace((chunks + 1) * C * 2, (partial) => {
      const line = partial + chunks * C * 16;
      launchSlots(`batchNormGradSums${kind}`, pass, ...inputs, addressOf(mean), partial, M, C, rows);
      const results = [mean, invstd, scale, dw, db].map(addressOf);
      launchSlots(`combineGradSums${s}`, combination, partial, M, C, chunks, ...results, line, COMBINE_CHUNK);
      if (dx !== null) launchSlots(`batchNormGradX${kind}`, pass, ...inputs, line, addressOf(dx), M, C, rows);
    });
  },

  scaleChannelsGrad(g, x, s, dx, ds) {
    const [N, C, H, W] = x.shape as [number, number, number, number];
    withWorkspace(N * C, (partial) => {
      const views = [addressOf(g), addressOf(x), addressOr0(dx), addressOf(s), addressOf(ds)];
      launchSlots(`scaleChannelsGrad${suffix(x)}`, { chunks: N, work: N * C * H * W * PASS }, ...views, partial, H * W, C);
    });
  },

  softmax(log, x, y) {
    const [M, K] = x.shape as [number, number];
    const rows = softmaxRows(K);
    const name = `${log ? 'logSoftmax' : 'softmax'}${suffix(x)}`;
    launchSlots(name, softmaxSplit(M, K), addressOf(x), addressOf(y), M, K, x.strides[0]!, y.strides[0]!, rows);
  },

  softmaxGrad(log, g, y, dx) {
    const [M, K] = g.shape as [number, number];
    const rows = softmaxRows(K);
    const name = `${log ? 'logSoftmaxGrad' : 'softmaxGrad'}${suffix(g)}`;
    launchSlots(name, softmaxSplit(M, K), addressOf(g), addressOf(y), addressOf(dx), M, K, rows);
  },

  crossEntropy(x, target, loss, logp) {
    const [M, K] = x.shape as [number, number];
    const rows = softmaxRows(K);
    const addresses = [addressOf(x), addressOf(target), addressOf(loss), addressOf(logp)];
    launchSlots(`crossEntropy${suffix(x)}`, softmaxSplit(M, K), ...addresses, M, K, target.strides[0]!, loss.strides[0]!, rows);
  },

  crossEntropyGrad(scale, logp, target, dx) {
    const [M, K] = logp.shape as [number, number];
    const rows = softmaxRows(K);
    const addresses = [addressOf(scale), addressOf(logp), addressOf(target), addressOf(dx)];
    launchSlots(`crossEntropyGrad${suffix(logp)}`, softmaxSplit(M, K), ...addresses, M, K, scale.strides[0]!, target.strides[0]!, rows);
  },
};

/**
 * Kernels of fused operations: batch norm, the gradient of scaling channels, softmax and cross entropy.
 */
import { sizeOf } from '../../core/shape.ts';
import type { FusedKernels } from '../interface.ts';
import type { View } from '../view.ts';
import type { MatrixArgs, PlanesArgs, RowsArgs } from './arguments.generated.ts';
import { launch, type Split } from './launch.ts';
import { float64Bytes, NANOSECONDS_PER_ELEMENT, partsPerChunk } from './work-estimates.ts';
import { suffix, withWorkspaces } from './workspace.ts';

/** The number of channels whose partial sums one chunk combines. */
const CHANNELS_PER_CHUNK = 64;
/** An estimate of the nanoseconds per element that takes an exponential. */
const NANOSECONDS_PER_EXPONENTIAL = 2;

/** Images [N,C,…] as M values of each of C channels, in parts that each have partial sums. */
interface ChannelValues {
  /** M, C, and the values of a channel in a part. */
  readonly matrix: MatrixArgs;
  readonly parts: number;
  /** The split of combining the parts' sums, over channels. */
  readonly combination: Split;
  /** The split of a pass over the images. */
  readonly pass: Split;
  /** The planes of row-major images; null if the channels of a pixel are neighbours. */
  readonly planes: PlanesArgs | null;
}

/** Returns whether images [N,C,…] are row-major, of more than one pixel and more than one channel. Others that are dense are channels-last. */
function isRowMajorImages(x: View): boolean {
  return x.shape.length > 2 && x.shape[1]! > 1 && x.strides[1] !== 1;
}

/** Returns the planes of row-major images, and the split of a pass over them. */
function planesOf(x: View): { planes: PlanesArgs; pass: Split } {
  const [N, C] = x.shape as [number, number];
  const planes = N * C;
  const pixels = sizeOf(x.shape.slice(2));
  const planesPerChunk = partsPerChunk(Math.max(pixels, 1));
  const pass = { chunks: Math.ceil(planes / planesPerChunk), work: planes * pixels * NANOSECONDS_PER_ELEMENT };
  return { planes: { planes, C, pixels, planesPerChunk }, pass };
}

function channelValues(x: View): ChannelValues {
  const C = x.shape[1]!;
  const M = C === 0 ? 0 : sizeOf(x.shape) / C;
  const combinationOf = (parts: number): Split => {
    return { chunks: Math.ceil(C / CHANNELS_PER_CHUNK), work: parts * C * NANOSECONDS_PER_ELEMENT };
  };
  if (isRowMajorImages(x)) {
    const { planes, pass } = planesOf(x);
    const parts = x.shape[0]!;
    return { matrix: { M, C, rowsPerChunk: planes.pixels }, parts, combination: combinationOf(parts), pass, planes };
  }
  const rowsPerChunk = Math.max(32, Math.min(512, Math.floor(32768 / Math.max(C, 1))));
  const parts = Math.ceil(M / rowsPerChunk);
  const pass = { chunks: parts, work: M * C * NANOSECONDS_PER_ELEMENT };
  return { matrix: { M, C, rowsPerChunk }, parts, combination: combinationOf(parts), pass, planes: null };
}

/** Returns M rows of K elements, divided into chunks, and the split of a softmax over them. */
function softmaxRows(x: View): { rows: RowsArgs; split: Split } {
  const [M, K] = x.shape as [number, number];
  const rowsPerChunk = Math.max(1, Math.floor(8192 / Math.max(K, 1)));
  return { rows: { M, K, rowsPerChunk }, split: { chunks: Math.ceil(M / rowsPerChunk), work: M * K * NANOSECONDS_PER_EXPONENTIAL } };
}

export const fusedKernels: FusedKernels = {
  batchNormStats(x, eps, w, b, variance, { mean, invstd, scale, offset }) {
    const { matrix, parts, combination, pass, planes } = channelValues(x);
    withWorkspaces((workspace) => {
      const partials = workspace(float64Bytes(parts * matrix.C * 3)).ptr;
      if (planes === null) launch(`batchNormMoments${suffix(x)}`, pass, { ...matrix, x, partials });
      else launch(`planeMoments${suffix(x)}`, pass, { ...planes, x, partials });
      launch(`combineMoments${suffix(x)}`, combination, {
        ...matrix,
        partials,
        channelsPerChunk: CHANNELS_PER_CHUNK,
        eps,
        w,
        b,
        mean,
        variance,
        invstd,
        scale,
        offset,
      });
    });
  },

  batchNormApply(x, scale, offset, y, relu = false) {
    const { matrix, pass, planes } = channelValues(x);
    const floor = relu ? 0 : -Infinity;
    if (planes === null) launch(`batchNormApply${suffix(x)}`, pass, { ...matrix, x, scale, offset, y, floor });
    else launch(`planeNorm${suffix(x)}`, pass, { ...planes, x, scale, offset, y, floor });
  },

  batchNormGrad(g, x, { mean, invstd, scale, offset }, dx, dw, db, relu = false) {
    const { matrix, parts, combination, pass, planes } = channelValues(x);
    const { M, C } = matrix;
    const kind = relu ? 'Relu' : '';
    withWorkspaces((workspace) => {
      const partials = workspace(float64Bytes((parts + 1) * C * 2)).ptr;
      const line = partials + float64Bytes(parts * C * 2);
      const sums = { g, x, scale, offset, mean, partials };
      if (planes === null) launch(`batchNormGradSums${kind}${suffix(x)}`, pass, { ...matrix, ...sums });
      else launch(`planeGradSums${kind}${suffix(x)}`, pass, { ...planes, ...sums });
      launch(`combineGradSums${suffix(x)}`, combination, {
        partials,
        rows: parts,
        M,
        C,
        channelsPerChunk: CHANNELS_PER_CHUNK,
        mean,
        invstd,
        scale,
        dw,
        db,
        line,
      });
      if (dx === null) return;
      const images = { g, x, scale, offset, line, dx };
      if (planes === null) launch(`batchNormGradX${kind}${suffix(x)}`, pass, { ...matrix, ...images });
      else launch(`planeGradX${kind}${suffix(x)}`, pass, { ...planes, ...images });
    });
  },

  scaleChannelsGrad(g, x, s, dx, ds) {
    if (isRowMajorImages(x)) {
      const { planes, pass } = planesOf(x);
      launch(`planeScaleGrad${suffix(x)}`, pass, { ...planes, g, x, dx, s, ds });
      return;
    }
    const [N, C, H, W] = x.shape as [number, number, number, number];
    const split = { chunks: N, work: N * C * H * W * NANOSECONDS_PER_ELEMENT };
    withWorkspaces((workspace) => {
      const sums = workspace(float64Bytes(N * C)).ptr;
      launch(`scaleChannelsGrad${suffix(x)}`, split, { g, x, dx, s, ds, sums, pixels: H * W, C });
    });
  },

  softmax(log, x, y) {
    const { rows, split } = softmaxRows(x);
    const { M, K, rowsPerChunk } = rows;
    const args = { M, K, rowsPerChunk, x, y, xStride: x.strides[0]!, yStride: y.strides[0]! };
    launch(`${log ? 'logSoftmax' : 'softmax'}${suffix(x)}`, split, args);
  },

  softmaxGrad(log, g, y, dx) {
    const { rows, split } = softmaxRows(g);
    const { M, K, rowsPerChunk } = rows;
    launch(`${log ? 'logSoftmaxGrad' : 'softmaxGrad'}${suffix(g)}`, split, { M, K, rowsPerChunk, g, y, dx });
  },

  crossEntropy(x, target, loss, logp) {
    const { rows, split } = softmaxRows(x);
    const { M, K, rowsPerChunk } = rows;
    const targetStride = target.strides[0]!;
    const lossStride = loss.strides[0]!;
    launch(`crossEntropy${suffix(x)}`, split, { M, K, rowsPerChunk, x, target, loss, logp, targetStride, lossStride });
  },

  crossEntropyGrad(scale, logp, target, dx) {
    const { rows, split } = softmaxRows(logp);
    const { M, K, rowsPerChunk } = rows;
    const scaleStride = scale.strides[0]!;
    const targetStride = target.strides[0]!;
    launch(`crossEntropyGrad${suffix(logp)}`, split, { M, K, rowsPerChunk, scale, logp, target, dx, scaleStride, targetStride });
  },
};

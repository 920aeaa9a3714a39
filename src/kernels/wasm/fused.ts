/**
 * Kernels of fused operations: batch norm, the gradient of scaling channels, softmax and cross entropy.
 */
import { sizeOf } from '../../core/shape.ts';
import type { FusedKernels } from '../interface.ts';
import type { View } from '../view.ts';
import type { MatrixArgs, RowsArgs } from './arguments.generated.ts';
import { launch, type Split } from './launch.ts';
import { float64Bytes, NANOSECONDS_PER_ELEMENT } from './work-estimates.ts';
import { suffix, withWorkspaces } from './workspace.ts';

/** The number of channels whose partial sums one chunk combines. */
const CHANNELS_PER_CHUNK = 64;
/** An estimate of the nanoseconds per element that takes an exponential. */
const NANOSECONDS_PER_EXPONENTIAL = 2;

/** A view as a matrix of M rows of C channels, divided into chunks of rows. */
interface ChannelRows {
  readonly matrix: MatrixArgs;
  readonly chunks: number;
  /** The split of a pass over the matrix. */
  readonly pass: Split;
  /** The split of combining the chunks' sums, over channels. */
  readonly combination: Split;
}

function channelRows(x: View): ChannelRows {
  const C = x.shape[1]!;
  const M = C === 0 ? 0 : sizeOf(x.shape) / C;
  const rowsPerChunk = Math.max(32, Math.min(512, Math.floor(32768 / Math.max(C, 1))));
  const chunks = Math.ceil(M / rowsPerChunk);
  const combination = { chunks: Math.ceil(C / CHANNELS_PER_CHUNK), work: chunks * C * NANOSECONDS_PER_ELEMENT };
  return { matrix: { M, C, rowsPerChunk }, chunks, pass: { chunks, work: M * C * NANOSECONDS_PER_ELEMENT }, combination };
}

/** Returns M rows of K elements, divided into chunks, and the split of a softmax over them. */
function softmaxRows(x: View): { rows: RowsArgs; split: Split } {
  const [M, K] = x.shape as [number, number];
  const rowsPerChunk = Math.max(1, Math.floor(8192 / Math.max(K, 1)));
  return { rows: { M, K, rowsPerChunk }, split: { chunks: Math.ceil(M / rowsPerChunk), work: M * K * NANOSECONDS_PER_EXPONENTIAL } };
}

export const fusedKernels: FusedKernels = {
  batchNormStats(x, eps, w, b, variance, { mean, invstd, scale, offset }) {
    const { matrix, chunks, pass, combination } = channelRows(x);
    const { M, C, rowsPerChunk } = matrix;
    withWorkspaces((workspace) => {
      const partials = workspace(float64Bytes(chunks * C * 3)).ptr;
      launch(`batchNormMoments${suffix(x)}`, pass, { M, C, rowsPerChunk, x, partials });
      launch(`combineMoments${suffix(x)}`, combination, {
        M,
        C,
        rowsPerChunk,
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
    const { matrix, pass } = channelRows(x);
    const { M, C, rowsPerChunk } = matrix;
    launch(`batchNormApply${suffix(x)}`, pass, { M, C, rowsPerChunk, x, scale, offset, y, floor: relu ? 0 : -Infinity });
  },

  batchNormGrad(g, x, { mean, invstd, scale, offset }, dx, dw, db, relu = false) {
    const { matrix, chunks, pass, combination } = channelRows(x);
    const { M, C, rowsPerChunk } = matrix;
    const kind = relu ? 'Relu' : '';
    withWorkspaces((workspace) => {
      const partials = workspace(float64Bytes((chunks + 1) * C * 2)).ptr;
      const line = partials + float64Bytes(chunks * C * 2);
      launch(`batchNormGradSums${kind}${suffix(x)}`, pass, { M, C, rowsPerChunk, g, x, scale, offset, mean, partials });
      launch(`combineGradSums${suffix(x)}`, combination, {
        partials,
        rows: chunks,
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
      if (dx !== null) launch(`batchNormGradX${kind}${suffix(x)}`, pass, { M, C, rowsPerChunk, g, x, scale, offset, line, dx });
    });
  },

  scaleChannelsGrad(g, x, s, dx, ds) {
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

/**
 * Matrix product kernels, and the convolutions of wasm-conv.ts: packs operands, lays out workspaces and launches assembly/.
 */
import { ITEM_SIZE } from '../../core/dtype.ts';
import { rowMajorStrides, sizeOf } from '../../core/shape.ts';
import type { Kernels } from '../interface.ts';
import { launchSlots } from './launch.ts';
import { addressOf, restride, type View } from '../view.ts';
import { convKernels } from './conv.ts';
import { elementwiseKernels } from './elementwise.ts';
import {
  addressTable,
  CHUNKS,
  divideUp,
  LARGE,
  packingWork,
  productWork,
  suffix,
  VECTOR,
  vectorBytes,
  withWorkspaces,
  type Workspaces,
} from './workspace.ts';

/** Rows and columns of a product that one chunk computes, and the fewest. */
const ROW_BLOCK = { most: 64, least: 16 };
const COLUMN_BLOCK = { most: 256, least: 64 };
/** Rows of a matrix-vector product that one chunk computes; assembly/matmul.ts has the same. */
const VECTOR_ROWS = 64;
/** Multiplications that are no longer worth a chunk of their own. */
const SMALL = 2 ** 18;

/** Element offsets of all batch entries of a and b, the dims before the last two, in row-major order. */
function batchOffsets(a: View, b: View): [number, number][] {
  let offsets: [number, number][] = [[0, 0]];
  for (let d = 0; d < a.shape.length - 2; d++) {
    const next: [number, number][] = [];
    for (const [p, q] of offsets) {
      for (let i = 0; i < a.shape[d]!; i++) next.push([p + i * a.strides[d]!, q + i * b.strides[d]!]);
    }
    offsets = next;
  }
  return offsets;
}

function matmul(a: View, b: View, y: View): void {
  const rank = y.shape.length;
  const M = y.shape[rank - 2]!;
  const N = y.shape[rank - 1]!;
  const K = a.shape[rank - 1]!;
  if (sizeOf(y.shape) === 0) return;
  const size = ITEM_SIZE[y.dtype];
  // Row by column vector: yᵀ = bᵀ·aᵀ is the same memory, so that either operand can be the matrix.
  if (a.strides[rank - 1] === 1 && b.strides[rank - 2] === 1 && (M === 1 || N === 1)) return matvec(a, b, y);
  withWorkspaces((workspace) => {
    const left = contiguousRows(a, workspace);
    const offsets = batchOffsets(left, b);
    const distinct = [...new Set(offsets.map(([, q]) => q))];
    const panelBytes = K * vectorBytes(N, y);
    const panels = workspace(distinct.length * panelBytes).ptr;
    const panelsOf = new Map(distinct.map((q, i) => [q, panels + i * panelBytes]));
    launchSlots(
      `packColumns${suffix(y)}`,
      { chunks: distinct.length * divideUp(N * size, 4 * VECTOR), work: packingWork(distinct.length * N * K) },
      addressTable(
        distinct.map((q) => [addressOf(b) + q * size, panelsOf.get(q)!]),
        workspace,
      ),
      N,
      1,
      0,
      1,
      0,
      K,
      b.strides[rank - 2]! * size,
      b.strides[rank - 1]! * size,
    );
    const { rows, columns, chunks } = productBlocks(offsets.length, M, N, K);
    launchSlots(
      `matmul${suffix(y)}`,
      { chunks, work: productWork(offsets.length * M * N * K, y) },
      addressTable(
        offsets.map(([p, q], i) => [addressOf(left) + p * size, panelsOf.get(q)!, addressOf(y) + i * M * N * size]),
        workspace,
      ),
      M,
      N,
      K,
      left.strides[rank - 2]! * size,
      rows,
      columns,
    );
  });
}

/** The blocks of `entries` products that are one chunk each: smaller ones where there would be too few chunks, or too large. */
function productBlocks(entries: number, M: number, N: number, K: number): { rows: number; columns: number; chunks: number } {
  let rows = ROW_BLOCK.most;
  let columns = COLUMN_BLOCK.most;
  const chunks = (): number => entries * divideUp(M, rows) * divideUp(N, columns);
  const work = (): number => Math.min(M, rows) * Math.min(N, columns) * K;
  while ((chunks() < CHUNKS && work() > SMALL) || work() > LARGE) {
    if (columns > COLUMN_BLOCK.least) columns /= 2;
    else if (rows > ROW_BLOCK.least) rows /= 2;
    else break;
  }
  return { rows, columns, chunks: chunks() };
}

/** The product where b has one column, or a one row; both contiguous along K. */
function matvec(a: View, b: View, y: View): void {
  const rank = y.shape.length;
  const size = ITEM_SIZE[y.dtype];
  const byColumns = y.shape[rank - 1] !== 1;
  const M = byColumns ? y.shape[rank - 1]! : y.shape[rank - 2]!;
  const row = byColumns ? b.strides[rank - 1]! : a.strides[rank - 2]!;
  withWorkspaces((workspace) => {
    const entries = batchOffsets(a, b).map(([p, q], i) => {
      const [left, right] = [addressOf(a) + p * size, addressOf(b) + q * size];
      return [byColumns ? right : left, byColumns ? left : right, addressOf(y) + i * M * size];
    });
    const K = a.shape[rank - 1]!;
    const split = { chunks: entries.length * divideUp(M, VECTOR_ROWS), work: 2 * productWork(entries.length * M * K, y) };
    launchSlots(`matvec${suffix(y)}`, split, addressTable(entries, workspace), M, K, row * size);
  });
}

/** A matrix batch whose rows are contiguous: a itself or a copy, in which broadcast dims still are. */
function contiguousRows(a: View, workspace: Workspaces): View {
  const rank = a.shape.length;
  if (a.strides[rank - 1] === 1 || a.shape[rank - 1]! <= 1) return a;
  const once = (d: number): boolean => d < rank - 2 && a.strides[d] === 0;
  const shape = a.shape.map((n, d) => (once(d) ? 1 : n));
  const strides = rowMajorStrides(shape);
  const copy: View = { storage: workspace(sizeOf(shape) * ITEM_SIZE[a.dtype]), offset: 0, shape, strides, dtype: a.dtype };
  elementwiseKernels.copy(restride(a, shape, a.strides), copy);
  return restride(
    copy,
    a.shape,
    strides.map((s, d) => (once(d) ? 0 : s)),
  );
}

export const productKernels: Pick<Kernels, 'matmul' | 'conv2d' | 'conv2dGradX' | 'conv2dGradW'> = { matmul, ...convKernels };

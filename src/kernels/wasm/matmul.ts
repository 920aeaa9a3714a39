/**
 * Matrix product kernels: packs operands, lays out workspaces and launches assembly/matmul/.
 */
import { ITEM_SIZE } from '../../core/dtype.ts';
import { rowMajorStrides, sizeOf } from '../../core/shape.ts';
import { MATVEC_ROWS } from '../assembly/constants.ts';
import type { Kernels } from '../interface.ts';
import { materializedAddressOf, materialize, restride, type View } from '../view.ts';
import { BYTES, writeMatmulEntry, writeMatvecEntry, writePackingEntry } from './arguments.generated.ts';
import { convKernels } from './conv.ts';
import { elementwiseKernels } from './elementwise.ts';
import { launch } from './launch.ts';
import { storeRecords } from './tables.ts';
import { packingWork, productWork } from './work-estimates.ts';
import { CHUNKS, divideUp, LARGE, suffix, VECTOR, vectorBytes, withWorkspaces, type Workspaces } from './workspace.ts';

/** The most and the fewest rows of a product that one chunk computes. */
const ROW_BLOCK = { most: 64, least: 16 };
/** The most and the fewest columns of a product that one chunk computes. */
const COLUMN_BLOCK = { most: 256, least: 64 };
/** Products of fewer multiplications are not cut into more chunks. */
const SMALL = 2 ** 18;

/** The element offsets of one batch entry of a product's operands. */
interface BatchOffsets {
  readonly a: number;
  readonly b: number;
}

/** The offsets of all batch entries, along the dims before the last two, in row-major order. */
function batchOffsets(a: View, b: View): BatchOffsets[] {
  let offsets: BatchOffsets[] = [{ a: 0, b: 0 }];
  for (let d = 0; d < a.shape.length - 2; d++) {
    const next: BatchOffsets[] = [];
    for (const o of offsets) {
      for (let i = 0; i < a.shape[d]!; i++) next.push({ a: o.a + i * a.strides[d]!, b: o.b + i * b.strides[d]! });
    }
    offsets = next;
  }
  return offsets;
}

/** y = a · b. Workspaces hold addresses inside the operands, so their deferred calls run first. */
function matmul(a: View, b: View, y: View): void {
  if (sizeOf(y.shape) === 0) return;
  materialize(a, 'read');
  materialize(b, 'read');
  materialize(y, 'write');
  const rank = y.shape.length;
  const isVector = y.shape[rank - 2] === 1 || y.shape[rank - 1] === 1;
  if (isVector && a.strides[rank - 1] === 1 && b.strides[rank - 2] === 1) matvec(a, b, y);
  else withWorkspaces((workspace) => multiplyPacked(contiguousRows(a, workspace), b, y, workspace));
}

/** y = a · b for an a with contiguous rows: packs b into panels and multiplies block by block. */
function multiplyPacked(a: View, b: View, y: View, workspace: Workspaces): void {
  const rank = y.shape.length;
  const M = y.shape[rank - 2]!;
  const N = y.shape[rank - 1]!;
  const K = a.shape[rank - 1]!;
  const size = ITEM_SIZE[y.dtype];
  const offsets = batchOffsets(a, b);
  const panelsOf = packedPanels(b, offsets, workspace);
  const { rows, columns, chunks } = productBlocks(offsets.length, M, N, K);
  const entries = offsets.map((o, i) => ({
    a: materializedAddressOf(a) + o.a * size,
    b: panelsOf.get(o.b)!,
    y: materializedAddressOf(y) + i * M * N * size,
  }));
  launch(
    `matmul${suffix(y)}`,
    { chunks, work: productWork(offsets.length * M * N * K, y) },
    {
      entries: storeRecords(writeMatmulEntry, BYTES.MatmulEntry, entries, workspace),
      M,
      N,
      K,
      aRow: a.strides[rank - 2]! * size,
      blockRows: rows,
      blockColumns: columns,
    },
  );
}

/** Packs the distinct matrices of a batch b. Returns the address of the panels by the matrix's element offset. */
function packedPanels(b: View, offsets: readonly BatchOffsets[], workspace: Workspaces): Map<number, number> {
  const rank = b.shape.length;
  const K = b.shape[rank - 2]!;
  const N = b.shape[rank - 1]!;
  const size = ITEM_SIZE[b.dtype];
  const distinct = [...new Set(offsets.map((o) => o.b))];
  const panelBytes = K * vectorBytes(N, b);
  const panels = workspace(distinct.length * panelBytes).ptr;
  const entries = distinct.map((offset, i) => ({ source: materializedAddressOf(b) + offset * size, panels: panels + i * panelBytes }));
  launch(
    `packPanels${suffix(b)}`,
    { chunks: distinct.length * divideUp(N * size, 4 * VECTOR), work: packingWork(distinct.length * N * K) },
    {
      entries: storeRecords(writePackingEntry, BYTES.PackingEntry, entries, workspace),
      columns: N,
      columnStride: b.strides[rank - 1]! * size,
      n1: 1,
      stride1: 0,
      n2: 1,
      stride2: 0,
      n3: K,
      stride3: b.strides[rank - 2]! * size,
    },
  );
  return new Map(distinct.map((offset, i) => [offset, entries[i]!.panels]));
}

/**
 * Returns the block that one chunk computes, and the number of chunks of `entries` products. Blocks shrink while there are too few chunks or a
 * chunk takes too long.
 */
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

/**
 * The product where b has one column, or a one row, both contiguous along K. Either operand can be the matrix: a row times a matrix is
 * yᵀ = bᵀ · aᵀ in the same memory.
 */
function matvec(a: View, b: View, y: View): void {
  const rank = y.shape.length;
  const K = a.shape[rank - 1]!;
  const size = ITEM_SIZE[y.dtype];
  const aIsMatrix = y.shape[rank - 1] === 1;
  const M = aIsMatrix ? y.shape[rank - 2]! : y.shape[rank - 1]!;
  const row = aIsMatrix ? a.strides[rank - 2]! : b.strides[rank - 1]!;
  withWorkspaces((workspace) => {
    const entries = batchOffsets(a, b).map((o, i) => {
      const left = materializedAddressOf(a) + o.a * size;
      const right = materializedAddressOf(b) + o.b * size;
      return { a: aIsMatrix ? left : right, v: aIsMatrix ? right : left, y: materializedAddressOf(y) + i * M * size };
    });
    const split = { chunks: entries.length * divideUp(M, MATVEC_ROWS), work: 2 * productWork(entries.length * M * K, y) };
    const table = storeRecords(writeMatvecEntry, BYTES.MatvecEntry, entries, workspace);
    launch(`matvec${suffix(y)}`, split, { entries: table, M, K, aRow: row * size });
  });
}

/** A matrix batch with contiguous rows: a itself, or a copy whose broadcast dims have stride 0 too. */
function contiguousRows(a: View, workspace: Workspaces): View {
  const rank = a.shape.length;
  if (a.strides[rank - 1] === 1 || a.shape[rank - 1]! <= 1) return a;
  const isBroadcast = (d: number): boolean => d < rank - 2 && a.strides[d] === 0;
  const shape = a.shape.map((n, d) => (isBroadcast(d) ? 1 : n));
  const strides = rowMajorStrides(shape);
  const copy: View = { storage: workspace(sizeOf(shape) * ITEM_SIZE[a.dtype]), offset: 0, shape, strides, dtype: a.dtype };
  elementwiseKernels.copy(restride(a, shape, a.strides), copy);
  return restride(
    copy,
    a.shape,
    strides.map((s, d) => (isBroadcast(d) ? 0 : s)),
  );
}

export const productKernels: Pick<Kernels, 'matmul' | 'conv2d' | 'conv2dGradX' | 'conv2dGradW'> = { matmul, ...convKernels };

/**
 * Sharding: each rank of a group yields its own rows of every batch.
 */
import { ArgumentError, kindOf, ShapeError, shown } from '../core/errors.ts';
import { peek } from '../core/describe.ts';
import { formatShape } from '../core/shape.ts';
import { toArrayData, type Item } from './dataset.ts';

/** One of several processes that train together, such as the `Group` of chainrule/distributed. */
export interface Shard {
  /** The number of this process, from 0. */
  readonly rank: number;
  /** The number of processes. */
  readonly size: number;
}

/**
 * Returns the rows of a rank, from `start` up to `end`: all rows are divided into contiguous parts whose sizes differ by one at most.
 * With fewer rows than ranks, some ranks have none.
 *   start = ⌊rank · rows / size⌋
 */
export function rowsOfRank(rows: number, { rank, size }: Shard): { readonly start: number; readonly end: number } {
  return { start: Math.floor((rank * rows) / size), end: Math.floor(((rank + 1) * rows) / size) };
}

/** Throws unless `shard` is one, and each of its ranks has rows of every full batch. */
export function checkShard(shard: Shard, batchSize: number): void {
  const rank = peek(shard, 'rank');
  const size = peek(shard, 'size');
  const isWhole = Number.isSafeInteger(rank) && Number.isSafeInteger(size);
  if (!isWhole || (rank as number) < 0 || (rank as number) >= (size as number)) {
    const got = typeof shard === 'object' && shard !== null ? `rank ${shown(rank)} and size ${shown(size)}` : kindOf(shard);
    throw new ArgumentError(`DataLoader: shard must have a rank from 0 to size − 1 and a size, as a group has, got ${got}`);
  }
  if (batchSize >= shard.size) return;
  throw new ArgumentError(
    `DataLoader: batchSize ${batchSize} is below the shard's ${shard.size} ranks, and a rank would have no sample in any step. ` +
      'batchSize counts the samples of all ranks together',
  );
}

/** Returns rows `start` up to `end` of each item [B, …] of a batch. Throws: ShapeError unless all items have as many rows as the first */
export function takeRows(items: readonly Item[], start: number, end: number): Item[] {
  return items.map((item, k) => {
    const { data, shape, dtype } = toArrayData(`DataLoader: item ${k} of the batch`, item);
    const [rows = 0, ...rest] = shape;
    const expected = items[0]!.shape[0];
    if (shape.length === 0 || rows !== expected) {
      throw new ShapeError(
        `DataLoader: with shard, every item of a batch must have a row for each sample: item 0 has shape ${formatShape(items[0]!.shape)}, ` +
          `item ${k} ${formatShape(shape)}`,
      );
    }
    const size = rows === 0 ? 0 : data.length / rows;
    return { data: data.subarray(start * size, end * size), shape: [end - start, ...rest], dtype };
  });
}

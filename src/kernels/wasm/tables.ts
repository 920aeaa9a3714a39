/**
 * Tables of records that kernels read.
 */
import { memoryViews, type MemoryViews } from '../memory/wasm-memory.ts';
import type { Workspaces } from './workspace.ts';

/** Stores records one after another in a workspace, `bytes` apart, with the generated writer of their class. Returns the table's address. */
export function storeRecords<R>(
  write: (record: R, at: number, views: MemoryViews) => void,
  bytes: number,
  records: readonly R[],
  workspace: Workspaces,
): number {
  const table = workspace(records.length * bytes).ptr;
  const views = memoryViews();
  for (let i = 0; i < records.length; i++) write(records[i]!, table + i * bytes, views);
  return table;
}

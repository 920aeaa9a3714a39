/**
 * Tables of records that kernels read.
 */
import { memoryViews, type MemoryViews } from '../memory/wasm-memory.ts';
import type { Workspaces } from './workspace.ts';

/** Stores records side by side in a workspace, `bytes` apart, with the writer of their class; returns the table's address. */
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

/**
 * chainrule/distributed: training on several processes, on one machine or many, over MPI.
 */
export type { ReduceOp } from './collectives.ts';
export type { BroadcastOptions, Group, Pending, ReduceOptions, ShardOptions } from './group.ts';
export { init } from './init.ts';
export type { InitOptions } from './init.ts';
export type { Member } from './members.ts';
export type { Koffi, KoffiLibrary, NativeFunction } from './native.ts';
export { broadcastState, checkReplicas } from './broadcast-state.ts';
export { DataParallel } from './data-parallel.ts';
export type { DataParallelOptions } from './data-parallel.ts';
export { globalMetric } from './global-metric.ts';
export { convertSyncBatchNorm, SyncBatchNorm } from './sync-batch-norm.ts';

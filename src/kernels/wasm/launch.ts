/**
 * Launches kernels: stores their arguments in the memory and runs their chunks. The calling convention is in assembly/runtime/abi.ts.
 */
import type { KernelArguments } from './arguments.generated.ts';
import { kernelModule, kernelOf, type KernelEntry } from './module.ts';
import { ARGS, memoryViews } from '../memory/wasm-memory.ts';
import { isWorthSharing, runShared } from '../threads/pool.ts';

/** How a kernel call's work is divided. Both numbers depend on the problem alone, never on the number of threads. */
export interface Split {
  /** The number of chunks, of about equal work: about 16 for a large problem, none of more than 50 milliseconds. */
  readonly chunks: number;
  /** An estimate of the nanoseconds one thread takes for all chunks. Calls with little work are not shared among threads. */
  readonly work: number;
}

/** A kernel that `launch` can run: a key of `KernelArguments`. */
export type KernelName = keyof KernelArguments;

/**
 * Runs all chunks of a kernel, on all threads if there is enough work. Materializes the tensors among its arguments before it stores them: a
 * deferred call that runs then stores its own arguments at the same address. Callers pass one object literal: V8 takes
 * microseconds to spread objects into a new one, longer than a small kernel.
 *
 * Throws: WorkerError, see threads/pool.ts
 */
export function launch<K extends KernelName>(name: K, split: Split, args: KernelArguments[K]): void {
  const kernel = kernelOf(name);
  const { materialize, write } = kernel.args!;
  materialize?.(args);
  write(args, ARGS, memoryViews());
  runChunks(name, kernel, split);
}

/** Runs all chunks of a kernel whose arguments are stored already. */
export function launchStored(name: KernelName, split: Split): void {
  runChunks(name, kernelOf(name), split);
}

function runChunks(name: string, { id, run }: KernelEntry, { chunks, work }: Split): void {
  if (chunks > 1 && isWorthSharing(work)) runShared(kernelModule, name, id, run, chunks, work);
  else run(ARGS, 0, chunks);
}

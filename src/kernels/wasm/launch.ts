/**
 * Loads the WebAssembly kernels and runs them. The one place that knows the kernel ABI; see assembly/abi.ts.
 */
import { argumentClasses, type KernelArguments, kernelsByClass } from './arguments.generated.ts';
import { KERNELS_HEX } from './binary.generated.ts';
import { bytesOfHex } from './hex.ts';
import { setHeapBase } from '../memory/allocator.ts';
import {
  ARGS,
  ARGS_BYTES,
  isShared,
  memoryViews,
  wasmMemory,
  type CompiledKernels,
  type MemoryViews,
  WIDE,
} from '../memory/wasm-memory.ts';
import { runShared, tuning, type Kernel } from '../threads/pool.ts';

/** How a kernel call's work is divided. Both numbers may depend on the problem alone, never on the threads there are. */
export interface Split {
  /** How many chunks the problem has, of about equal work: a good dozen where it is large, none of more than 50 milliseconds. */
  readonly chunks: number;
  /** About how many nanoseconds one thread takes for all of it: too few are not worth sharing. */
  readonly work: number;
}

/** What stores a kernel's arguments and prepares the tensors among them. */
interface ArgumentClass {
  readonly write: (args: never, at: number, views: MemoryViews) => void;
  readonly materialize: ((args: never) => void) | null;
}

/** What stores a kernel's arguments, for arguments of any class: launch's own type holds them to the kernel's class. */
interface AnyArgumentClass {
  readonly write: (args: unknown, at: number, views: MemoryViews) => void;
  readonly materialize: ((args: unknown) => void) | null;
}

interface KernelEntry {
  /** The number by which workers call it. */
  readonly id: number;
  readonly run: Kernel;
  readonly args: AnyArgumentClass | null;
}

/** Kernels by name. */
type Table = Readonly<Record<string, KernelEntry>>;

/** The class of the arguments by kernel, the element type left out. */
const classOf = new Map<string, AnyArgumentClass>();
for (const [name, kernels] of Object.entries(kernelsByClass)) {
  const argumentClass: ArgumentClass = argumentClasses[name as keyof typeof argumentClasses];
  for (const kernel of kernels.split(' ')) classOf.set(kernel, argumentClass as AnyArgumentClass);
}

const ELEMENT_TYPE = /_(f32|f64|i32|u8|8|32|64)$/;

/** The compiled kernels. */
export let kernelModule: CompiledKernels;
let table: Table;
useKernels(new WebAssembly.Module(kernelBytes()));
setHeapBase((table!.heapBase!.run as unknown as () => number)());

/** Puts the kernels of another compilation of the same binary in the place of those in use. */
export function useKernels(module: CompiledKernels): void {
  const env = { memory: wasmMemory as WebAssembly.Memory, abort, wide: WebAssembly.Module.customSections(module, WIDE).length };
  const { exports } = new WebAssembly.Instance(module, { env });
  kernelModule = module;
  table = Object.fromEntries(
    Object.entries(exports).map(([name, run], id) => [
      name,
      { id, run: run as Kernel, args: classOf.get(name.replace(ELEMENT_TYPE, '')) ?? null },
    ]),
  );
}

/** The binary; compiled for shared memory, its import is relabelled where the memory is not. */
export function kernelBytes(): Uint8Array<ArrayBuffer> {
  const bytes = bytesOfHex(KERNELS_HEX);
  if (!isShared) unshareImport(bytes);
  return bytes;
}

/** Changes the limits flag of the import env.memory from 3 (shared, maximum) to 1 (maximum). */
function unshareImport(bytes: Uint8Array): void {
  const pattern = [3, 101, 110, 118, 6, 109, 101, 109, 111, 114, 121, 2, 3]; // "env" "memory" memory-import flags
  for (let i = 0; i < bytes.length - pattern.length; i++) {
    if (pattern.every((b, j) => bytes[i + j] === b)) {
      bytes[i + pattern.length - 1] = 1;
      return;
    }
  }
  throw new Error('the kernels import no shared memory');
}

function abort(): never {
  throw new Error('a kernel aborted');
}

/** A kernel that launch can run: the exports of `KernelArguments`. */
export type KernelName = keyof KernelArguments;

/**
 * Runs all chunks of a kernel, on all threads where that pays. First materializes the tensors among its arguments, then stores the
 * arguments where the kernel reads them: a deferred call that runs now stores its own there before.
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

/** Runs all chunks of a kernel whose arguments the caller has stored. */
export function launchStored(name: KernelName, split: Split): void {
  runChunks(name, kernelOf(name), split);
}

function kernelOf(name: string): KernelEntry {
  const kernel = table[name];
  if (kernel === undefined) throw new Error(`there is no kernel ${name}`);
  return kernel;
}

function runChunks(name: string, { id, run }: KernelEntry, { chunks, work }: Split): void {
  if (chunks > 1 && work >= tuning.leastWork) runShared(kernelModule, name, id, run, chunks, work);
  else run(ARGS, 0, chunks);
}

/** As launch, for kernels whose arguments are still float64 slots. */
export function launchSlots(name: string, split: Split, ...args: number[]): void {
  if (args.length * 8 > ARGS_BYTES) throw new Error(`${name}: ${args.length} arguments do not fit`);
  const { f64 } = memoryViews();
  for (let i = 0; i < args.length; i++) f64[ARGS / 8 + i] = args[i]!;
  runChunks(name, kernelOf(name), split);
}

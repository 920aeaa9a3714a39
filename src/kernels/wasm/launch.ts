/**
 * Loads the WebAssembly kernels and runs them. The one place that knows the kernel ABI; see assembly/abi.ts.
 */
import { KERNELS_HEX } from './binary.generated.ts';
import { bytesOfHex } from './hex.ts';
import { setHeapBase } from '../memory/allocator.ts';
import { ARGS, ARGS_BYTES, isShared, memoryViews, wasmMemory, type CompiledKernels, WIDE } from '../memory/wasm-memory.ts';
import { runShared, tuning, type Kernel } from '../threads/pool.ts';

/** How a kernel call's work is divided. Both numbers may depend on the problem alone, never on the threads there are. */
export interface Split {
  /** How many chunks the problem has, of about equal work: a good dozen where it is large, none of more than 50 milliseconds. */
  readonly chunks: number;
  /** About how many nanoseconds one thread takes for all of it: too few are not worth sharing. */
  readonly work: number;
}

/** Kernels by name; workers know them by their number. */
type Table = Readonly<Record<string, { readonly id: number; readonly run: Kernel }>>;

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
  table = Object.fromEntries(Object.entries(exports).map(([name, run], id) => [name, { id, run: run as Kernel }]));
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

/**
 * Runs all chunks of a kernel, on all threads where that is worth it. Arguments are whole numbers or floats, see abi.ts.
 * @param name the kernel's export
 *
 * Throws: WorkerError, see threads.ts
 */
export function launch(name: string, { chunks, work }: Split, ...args: number[]): void {
  if (args.length * 8 > ARGS_BYTES) throw new Error(`${name}: ${args.length} arguments do not fit`);
  const { f64 } = memoryViews();
  for (let i = 0; i < args.length; i++) f64[ARGS / 8 + i] = args[i]!;
  const kernel = table[name];
  if (kernel === undefined) throw new Error(`there is no kernel ${name}`);
  if (chunks > 1 && work >= tuning.leastWork) runShared(kernelModule, name, kernel.id, kernel.run, chunks, work);
  else kernel.run(ARGS, 0, chunks);
}

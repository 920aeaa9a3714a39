/**
 * Loads the WebAssembly kernels and runs them. The one place that knows the kernel ABI; see assembly/abi.ts.
 */
import { KERNELS_BASE64 } from './binary.generated.ts';
import { ARGS, ARGS_BYTES, isShared, memoryViews, setHeapBase, wasmMemory } from './memory.ts';

type Kernel = (args: number, first: number, last: number) => void;

const instance = new WebAssembly.Instance(new WebAssembly.Module(kernelBytes()), { env: { memory: wasmMemory, abort } });
const table = instance.exports as unknown as Record<string, Kernel>;
setHeapBase((instance.exports.heapBase as () => number)());

/** The binary; compiled for shared memory, its import is relabelled where the memory is not. */
function kernelBytes(): Uint8Array<ArrayBuffer> {
  const text = atob(KERNELS_BASE64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
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
 * Runs all chunks of a kernel. Arguments are whole numbers or floats, see abi.ts.
 * @param name the kernel's export · @param chunks how many chunks the problem has
 */
export function launch(name: string, chunks: number, ...args: number[]): void {
  if (args.length * 8 > ARGS_BYTES) throw new Error(`${name}: ${args.length} arguments do not fit`);
  const { f64 } = memoryViews();
  for (let i = 0; i < args.length; i++) f64[ARGS / 8 + i] = args[i]!;
  const kernel = table[name];
  if (kernel === undefined) throw new Error(`there is no kernel ${name}`);
  kernel(ARGS, 0, chunks);
}

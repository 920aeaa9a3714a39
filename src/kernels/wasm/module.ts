/**
 * Compiles and instantiates the WebAssembly kernels, and finds them by name.
 */
import { ChainruleError } from '../../core/errors.ts';
import { argumentClasses, kernelsByClass } from './arguments.generated.ts';
import { KERNELS_HEX } from './binary.generated.ts';
import { bytesOfHex } from './hex.ts';
import { setHeapBase } from '../memory/allocator.ts';
import { isShared, TURBO_SECTIONS, wasmMemory, type CompiledKernels, type MemoryViews } from '../memory/wasm-memory.ts';
import type { Kernel } from '../threads/pool.ts';

/** The functions generated for one class of arguments. */
interface ArgumentClass {
  /** Stores the fields. */
  readonly write: (args: never, at: number, views: MemoryViews) => void;
  /** Materializes the tensors among the fields; null for a class without tensors. */
  readonly materialize: ((args: never) => void) | null;
}

/** An ArgumentClass that accepts arguments of any class: the type of `launch` ensures that they fit the kernel. */
interface AnyArgumentClass {
  readonly write: (args: unknown, at: number, views: MemoryViews) => void;
  readonly materialize: ((args: unknown) => void) | null;
}

export interface KernelEntry {
  /** The number by which workers call the kernel. */
  readonly id: number;
  readonly run: Kernel;
  /** Null for heapBase and the scalars, which are no kernels. */
  readonly args: AnyArgumentClass | null;
}

/** The element type at the end of a kernel's name. */
const ELEMENT_TYPE = /_(f32|f64|i32|u8|8|32|64)$/;

/** Maps a kernel's name, without its element type, to the class of its arguments. */
const classOf = new Map<string, AnyArgumentClass>();
for (const [name, kernels] of Object.entries(kernelsByClass)) {
  const argumentClass: ArgumentClass = argumentClasses[name as keyof typeof argumentClasses];
  for (const kernel of kernels.split(' ')) classOf.set(kernel, argumentClass as AnyArgumentClass);
}

/** The compiled kernels in use. */
export let kernelModule: CompiledKernels;
let kernelsByName: ReadonlyMap<string, KernelEntry>;
useKernels(compileKernels(kernelBytes()));
setHeapBase((kernelOf('heapBase').run as unknown as () => number)());

/** Throws: ChainruleError that says what is missing where the platform cannot compile the kernels, or may not */
function compileKernels(bytes: Uint8Array<ArrayBuffer>): CompiledKernels {
  try {
    return new WebAssembly.Module(bytes);
  } catch (cause) {
    const problem = WebAssembly.validate(bytes)
      ? "this page may not compile WebAssembly: its Content-Security-Policy must allow 'wasm-unsafe-eval' in script-src"
      : 'this platform has no WebAssembly SIMD, which Chrome and Edge have from 91 on, Firefox from 89, Safari from 16.4, Node from 16.4';
    throw new ChainruleError(`chainrule: ${problem}`, { cause });
  }
}

/** Replaces the kernels in use by those of another compilation of the same binary. */
export function useKernels(module: CompiledKernels): void {
  const [wide, fused] = TURBO_SECTIONS.map((name) => WebAssembly.Module.customSections(module, name).length);
  const env = { memory: wasmMemory as WebAssembly.Memory, abort, wide: wide!, fused: fused! };
  const { exports } = new WebAssembly.Instance(module, { env });
  kernelModule = module;
  kernelsByName = new Map(
    Object.entries(exports).map(([name, run], id) => [
      name,
      { id, run: run as Kernel, args: classOf.get(name.replace(ELEMENT_TYPE, '')) ?? null },
    ]),
  );
}

/** Returns the kernel with this name. */
export function kernelOf(name: string): KernelEntry {
  const kernel = kernelsByName.get(name);
  if (kernel === undefined) throw new Error(`there is no kernel ${name}`);
  return kernel;
}

/** Returns the binary. It imports a shared memory; where the memory in use is not shared, the import is changed to match. */
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

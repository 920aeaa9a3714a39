/**
 * The WebAssembly memory that all tensors live in, and typed views of it.
 */
import { ITEM_SIZE, newArray, type DType, type ElementArray } from '../../core/dtype.ts';

/** Bytes of a WebAssembly page. */
export const PAGE = 65536;
/** One page short of 4 GiB, so that `pointer + size` still fits 32 bits; then what a browser with less address space grants. */
const MAXIMA = [65535, 32768, 16384];
const INITIAL_PAGES = 64;
/** Kernel arguments are written here: between the null page guard and the kernels' static data (asc `--memoryBase`). */
export const ARGS = 64;
/** Bytes there are for arguments. */
export const ARGS_BYTES = 4096 - ARGS;
/** First byte of the kernels' static data; the heap starts after it, see `setHeapBase`. */
export const STATIC_BASE = 4096;

/** The typed views of the whole memory; replaced when it grows, so never keep one across an allocation. */
export interface MemoryViews {
  readonly u8: Uint8Array;
  readonly i32: Int32Array;
  readonly u32: Uint32Array;
  readonly f32: Float32Array;
  readonly f64: Float64Array;
}

/** Whether the memory can be shared with worker threads. */
export const isShared = typeof SharedArrayBuffer === 'function';

/** The memory the kernels import, and the most pages it can have. */
const { memory: wasmMemory, maximum: MAX_PAGES } = makeMemory();
export { wasmMemory, MAX_PAGES };

/** A compiled module of kernels: WebAssembly's own types are unknown to programs without 'dom' among their libraries. */
export type CompiledKernels = object;

/** The name of the custom section that marks kernels compiled into 256-bit operations; see wasm/turbo.ts. */
export const TURBO_SECTION = 'turbo';

/** What is used of a WebAssembly.Memory. */
export interface WasmMemory {
  readonly buffer: ArrayBuffer;
  grow(pages: number): number;
}

function makeMemory(): { memory: WasmMemory; maximum: number } {
  let refusal: unknown;
  for (const maximum of MAXIMA) {
    try {
      return { memory: new WebAssembly.Memory({ initial: INITIAL_PAGES, maximum, shared: isShared }), maximum };
    } catch (error) {
      refusal = error;
    }
  }
  throw refusal;
}

let views = makeViews();

function makeViews(): MemoryViews {
  const b = wasmMemory.buffer;
  return { u8: new Uint8Array(b), i32: new Int32Array(b), u32: new Uint32Array(b), f32: new Float32Array(b), f64: new Float64Array(b) };
}

/** The views in use: every access to the memory's contents goes through them. */
export function memoryViews(): MemoryViews {
  return views;
}

/** The memory's size in pages. */
export function memoryPages(): number {
  return wasmMemory.buffer.byteLength / PAGE;
}

/** Grows the memory by `pages` and renews the views; false where it cannot grow that far. */
export function growMemory(pages: number): boolean {
  try {
    wasmMemory.grow(pages);
  } catch (e) {
    if (e instanceof RangeError) return false;
    throw e;
  }
  views = makeViews();
  return true;
}

/** Copies `n` elements that lie one after another from byte `ptr` on out of the memory. */
export function readElements(ptr: number, dtype: DType, n: number): ElementArray {
  const out = newArray(dtype, n);
  out.set(elementView(ptr, dtype, n));
  return out;
}

/** A typed array over `n` elements of the memory itself; invalid after the next allocation. */
export function elementView(ptr: number, dtype: DType, n: number): ElementArray {
  const all = viewOf(dtype);
  const start = ptr / ITEM_SIZE[dtype];
  return all.subarray(start, start + n);
}

/** The view of the whole memory that indexes elements of `dtype`. */
export function viewOf(dtype: DType): ElementArray {
  switch (dtype) {
    case 'float32':
      return views.f32;
    case 'float64':
      return views.f64;
    case 'int32':
      return views.i32;
    case 'bool':
      return views.u8;
  }
}

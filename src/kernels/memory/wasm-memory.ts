/**
 * The WebAssembly memory that holds all tensors, and typed views of it.
 */
import { ChainruleError } from '../../core/errors.ts';
import { ITEM_SIZE, newArray, type DType, type ElementArray } from '../../core/dtype.ts';

/** Bytes of a WebAssembly page. */
export const PAGE = 65536;
/**
 * Maximum sizes in pages, tried in turn. The first is one page short of 4 GiB, so that `pointer + size` fits 32 bits; the others are for
 * browsers with less address space.
 */
const MAXIMA = [65535, 32768, 16384];
const INITIAL_PAGES = 64;
/** The address of kernel arguments: between address 0 and the kernels' static data (asc `--memoryBase`). */
export const ARGS = 64;
/** Bytes available for arguments. */
export const ARGS_BYTES = 4096 - ARGS;
/** First byte of the kernels' static data; the heap starts after it, see `setHeapBase`. */
export const STATIC_BASE = 4096;

/** The typed views of the whole memory. They are replaced when it grows, so never hold one across an allocation. */
export interface MemoryViews {
  readonly u8: Uint8Array;
  readonly i32: Int32Array;
  readonly u32: Uint32Array;
  readonly f32: Float32Array;
  readonly f64: Float64Array;
}

/** Whether the memory can be shared with worker threads. */
export const isShared = typeof SharedArrayBuffer === 'function';

/** The memory that the kernels import, and its maximum size in pages. */
const { memory: wasmMemory, maximum: MAX_PAGES } = makeMemory();
export { wasmMemory, MAX_PAGES };

/** A compiled module of kernels. Its type is `object`, as programs whose TypeScript libraries exclude 'dom' lack WebAssembly's types. */
export type CompiledKernels = object;

/** The names of the custom sections that mark kernels compiled into 256-bit operations or with fused multiply-adds; see wasm/compilations.ts. */
export const TURBO_SECTIONS = ['wide', 'fused'] as const;

/** The members of WebAssembly.Memory that are used. */
export interface WasmMemory {
  readonly buffer: ArrayBuffer;
  grow(pages: number): number;
}

function makeMemory(): { memory: WasmMemory; maximum: number } {
  if (typeof WebAssembly === 'undefined')
    throw new ChainruleError('chainrule: there is no WebAssembly: Node has none with --jitless, nor has Safari in Lockdown Mode');
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

/** Returns the current views. Every access to the memory's contents goes through them. */
export function memoryViews(): MemoryViews {
  return views;
}

/** Returns the memory's size in pages. */
export function memoryPages(): number {
  return wasmMemory.buffer.byteLength / PAGE;
}

/** Grows the memory by `pages` and replaces the views; returns false if it cannot grow that far. */
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

/** Copies `n` consecutive elements, beginning at byte `ptr`, out of the memory. */
export function readElements(ptr: number, dtype: DType, n: number): ElementArray {
  const out = newArray(dtype, n);
  out.set(elementView(ptr, dtype, n));
  return out;
}

/** Returns a typed array over `n` elements of the memory itself; it is invalid after the next allocation. */
export function elementView(ptr: number, dtype: DType, n: number): ElementArray {
  const all = viewOf(dtype);
  const start = ptr / ITEM_SIZE[dtype];
  return all.subarray(start, start + n);
}

/** Returns the view of the whole memory that indexes elements of `dtype`. */
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

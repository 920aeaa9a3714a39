/**
 * The WebAssembly memory all tensors live in, its allocator, and reference-counted storages.
 *
 * Small blocks come from free lists by size class (4 per octave) and are never split; large ones from an address-ordered
 * list, best fit, coalesced when freed. A step that repeats finds the blocks that the step before gave back.
 */
import { ITEM_SIZE, newArray, type DType, type ElementArray } from '../../core/dtype.ts';
import { OutOfMemoryError } from '../../core/errors.ts';

/** Bytes of a WebAssembly page. */
const PAGE = 65536;
/** One page short of 4 GiB, so that `pointer + size` still fits 32 bits; then what a browser with less address space grants. */
const MAXIMA = [65535, 32768, 16384];
const INITIAL_PAGES = 64;
/** Blocks start on cache lines. */
const ALIGN = 64;
/** From this size on, blocks are split and coalesced. */
const LARGE = 65536;
/** Small blocks are cut from slabs of this size. */
const SLAB = 262144;

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
export { wasmMemory };

/** A compiled module of kernels: WebAssembly's own types are unknown to programs without 'dom' among their libraries. */
export type CompiledKernels = object;

/** The name of the custom section of a module of kernels that V8 has compiled into 256-bit operations: see turbo.ts. */
export const WIDE = 'turbo';

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

/** The one way to the memory's contents. */
export function memoryViews(): MemoryViews {
  return views;
}

/** A kernel call that has not run yet; see deferred.ts. */
export interface Waiting {
  /** What it will write. */
  readonly output: Storage;
  /** Runs it now. */
  run(): void;
  /** Gives it up. */
  drop(): void;
}

const NOTHING: readonly Waiting[] = [];
let rawAddresses = false;

/** Runs `fn`, for which addresses are mere numbers: asking for one runs nothing. */
export function withRawAddresses(fn: () => void): void {
  const before = rawAddresses;
  rawAddresses = true;
  try {
    fn();
  } finally {
    rawAddresses = before;
  }
}

/** A block of memory that tensors share. Freed when the last reference is released. */
export class Storage {
  readonly #ptr: number;
  readonly bytes: number;
  /** The operation that made it, for out-of-memory reports. */
  readonly op: string;
  /** Tensors and saved values that hold it. A new storage has none: whoever adopts it retains it. */
  refs = 0;
  /** Counts writes, so that backward can tell that a saved value has changed. */
  version = 0;
  /** Live tensors on this storage that require a gradient: while there are any, writing in place is refused. */
  gradRefs = 0;
  /** Calls that will write to it or read it. */
  waiting = NOTHING;
  #freed = false;

  constructor(ptr: number, bytes: number, op: string) {
    this.#ptr = ptr;
    this.bytes = bytes;
    this.op = op;
  }

  /** The address. Whoever asks may read or write: what waits here runs first. */
  get ptr(): number {
    if (!rawAddresses) for (const call of this.waiting) call.run();
    return this.#ptr;
  }

  get freed(): boolean {
    return this.#freed;
  }

  retain(): void {
    this.refs++;
  }

  release(): void {
    if (--this.refs <= 0) this.free();
  }

  /** Gives the block back, whoever still counts on it; twice is once. */
  free(): void {
    if (this.#freed) return;
    this.#freed = true;
    for (const call of this.waiting) if (call.output === this) call.drop();
    giveBack(this, this.#ptr);
  }
}

interface Block {
  ptr: number;
  size: number;
}

let heapBase = STATIC_BASE;
let heapEnd = STATIC_BASE;
let slabPtr = 0;
let slabEnd = 0;
let bytes = 0;
let peakBytes = 0;
const freeSmall: number[][] = [];
/** Free large blocks by address; no two touch. */
const freeLarge: Block[] = [];
/** Live large storages, for the out-of-memory report. */
const liveLarge = new Set<Storage>();
let currentOp = 'tensor';
/** Storages made in the nurseries that are open, innermost last. */
const nursery: Storage[] = [];
let nurseries = 0;

/** Bytes in live storages, as requested; their peak; and the memory's size in pages of 64 KiB. */
export function memoryUse(): { bytes: number; peakBytes: number; pages: number } {
  return { bytes, peakBytes, pages: wasmMemory.buffer.byteLength / PAGE };
}

/** Restarts the measurement of `peakBytes` from what is live now. */
export function resetPeak(): void {
  peakBytes = bytes;
}

/** Moves the heap's start behind the kernels' static data; only before the first allocation. */
export function setHeapBase(end: number): void {
  if (heapEnd !== heapBase) return;
  heapBase = heapEnd = align(end);
}

function align(n: number): number {
  return Math.ceil(n / ALIGN) * ALIGN;
}

/** The size class of a small block: 4 per octave from 64 bytes on. */
function sizeClass(n: number): number {
  if (n <= 64) return 0;
  const octave = 31 - Math.clz32(n - 1);
  const quarter = (n - 1 - 2 ** octave) >>> (octave - 2);
  return (octave - 6) * 4 + quarter + 1;
}

function classSize(c: number): number {
  if (c === 0) return 64;
  const octave = 2 ** (6 + ((c - 1) >> 2));
  return octave + (octave / 4) * (((c - 1) & 3) + 1);
}

/**
 * A new block of at least `n` bytes, contents undefined, held by nobody yet.
 * Throws OutOfMemoryError, which lists the operations that hold most.
 */
export function allocate(n: number): Storage {
  // NaN would be counted, and no later count would be a number.
  if (!(n >= 0)) throw new RangeError(`allocate: expected a number of bytes ≥ 0, got ${n}`);
  const ptr = n < LARGE ? takeSmall(n) : takeLarge(align(n));
  const s = new Storage(ptr, n, currentOp);
  bytes += n;
  if (bytes > peakBytes) peakBytes = bytes;
  if (n >= LARGE) liveLarge.add(s);
  if (nurseries > 0) nursery.push(s);
  return s;
}

function giveBack(s: Storage, ptr: number): void {
  bytes -= s.bytes;
  if (s.bytes < LARGE) {
    const c = sizeClass(s.bytes);
    (freeSmall[c] ??= []).push(ptr);
  } else {
    liveLarge.delete(s);
    putLarge(ptr, align(s.bytes));
  }
}

function takeSmall(n: number): number {
  const c = sizeClass(n);
  const ptr = freeSmall[c]?.pop();
  if (ptr !== undefined) return ptr;
  const size = align(classSize(c));
  if (slabPtr + size > slabEnd) {
    slabPtr = takeLarge(SLAB);
    slabEnd = slabPtr + SLAB;
  }
  slabPtr += size;
  return slabPtr - size;
}

function takeLarge(size: number): number {
  let best = -1;
  for (let i = 0; i < freeLarge.length; i++) {
    const s = freeLarge[i]!.size;
    if (s >= size && (best < 0 || s < freeLarge[best]!.size)) best = i;
  }
  if (best >= 0) {
    const b = freeLarge[best]!;
    const ptr = b.ptr;
    b.ptr += size;
    b.size -= size;
    if (b.size === 0) freeLarge.splice(best, 1);
    return ptr;
  }
  return extend(size);
}

/** Takes `size` bytes at the end of the heap, starting in its last free block, and grows the memory where needed. */
function extend(size: number): number {
  const last = freeLarge.at(-1);
  const start = last !== undefined && last.ptr + last.size === heapEnd ? last.ptr : heapEnd;
  const need = start + size;
  const have = wasmMemory.buffer.byteLength;
  if (need > have) grow(Math.ceil((need - have) / PAGE), size);
  if (start !== heapEnd) freeLarge.pop();
  heapEnd = need;
  return start;
}

function grow(pages: number, size: number): void {
  // An eighth more than asked for, so that a model that is still warming up does not grow the memory at every tensor.
  const generous = Math.min(pages + ((wasmMemory.buffer.byteLength / PAGE) >> 3), MAX_PAGES - wasmMemory.buffer.byteLength / PAGE);
  for (const n of generous > pages ? [generous, pages] : [pages]) {
    try {
      wasmMemory.grow(n);
      views = makeViews();
      return;
    } catch (e) {
      if (!(e instanceof RangeError)) throw e;
    }
  }
  throw new OutOfMemoryError(outOfMemoryText(size));
}

function outOfMemoryText(size: number): string {
  const byOp = new Map<string, { count: number; bytes: number }>();
  for (const s of liveLarge) {
    const e = byOp.get(s.op) ?? { count: 0, bytes: 0 };
    e.count++;
    e.bytes += s.bytes;
    byOp.set(s.op, e);
  }
  const top = [...byOp].sort((a, b) => b[1].bytes - a[1].bytes).slice(0, 5);
  const lines = top.map(([op, e]) => `  ${op}: ${e.count} tensors, ${mib(e.bytes)}`);
  const head = `${currentOp}: no room for ${mib(size)} more; ${mib(bytes)} are live (at most ${mib(MAX_PAGES * PAGE)} fit).`;
  return [head, 'The largest live results:', ...lines, 'Use a smaller batch, noGrad for evaluation, or dispose what is not needed.'].join(
    '\n',
  );
}

function mib(n: number): string {
  return `${(n / 2 ** 20).toFixed(1)} MiB`;
}

function putLarge(ptr: number, size: number): void {
  let lo = 0;
  let hi = freeLarge.length;
  while (lo < hi) {
    const mid = (lo + hi) >> 1;
    if (freeLarge[mid]!.ptr < ptr) lo = mid + 1;
    else hi = mid;
  }
  const next = freeLarge[lo];
  const prev = freeLarge[lo - 1];
  const joinsNext = next !== undefined && ptr + size === next.ptr;
  if (prev !== undefined && prev.ptr + prev.size === ptr) {
    prev.size += size;
    if (joinsNext) {
      prev.size += next.size;
      freeLarge.splice(lo, 1);
    }
  } else if (joinsNext) {
    next.ptr = ptr;
    next.size += size;
  } else {
    freeLarge.splice(lo, 0, { ptr, size });
  }
}

/**
 * Runs `fn` for operation `op`; every storage made inside that nobody has retained by its end is freed: workspaces always,
 * results when `fn` throws. Nests.
 */
export function withNursery<T>(op: string, fn: () => T): T {
  const outerOp = currentOp;
  const first = nursery.length;
  nurseries++;
  currentOp = op;
  try {
    return fn();
  } finally {
    nurseries--;
    currentOp = outerOp;
    while (nursery.length > first) {
      const s = nursery.pop()!;
      if (s.refs === 0) s.free();
    }
  }
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

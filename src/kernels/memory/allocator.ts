/**
 * The allocator of the WebAssembly memory.
 *
 * Small blocks come from free lists by size class (4 per octave) and are never split; large ones from an address-ordered
 * list, best fit, coalesced when freed. A step that repeats finds the blocks that the step before gave back.
 */
import { OutOfMemoryError } from '../../core/errors.ts';
import { Storage } from './storage.ts';
import { growMemory, MAX_PAGES, memoryPages, PAGE, STATIC_BASE } from './wasm-memory.ts';

/** Blocks start on cache lines. */
const ALIGN = 64;
/** From this size on, blocks are split and coalesced. */
const LARGE = 65536;
/** Small blocks are cut from slabs of this size. */
const SLAB = 262144;

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
/** Storages allocated in the calls of withTemporaries that are running, innermost last. */
const temporaries: Storage[] = [];
let openCalls = 0;

/** Bytes in live storages, as requested; their peak; and the memory's size in pages of 64 KiB. */
export function memoryUse(): { bytes: number; peakBytes: number; pages: number } {
  return { bytes, peakBytes, pages: memoryPages() };
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
  const s = new Storage(ptr, n, currentOp, giveBack);
  bytes += n;
  if (bytes > peakBytes) peakBytes = bytes;
  if (n >= LARGE) liveLarge.add(s);
  if (openCalls > 0) {
    temporaries.push(s);
    s.isTemporary = true;
  }
  return s;
}

function giveBack(s: Storage): void {
  bytes -= s.bytes;
  if (s.bytes < LARGE) {
    const c = sizeClass(s.bytes);
    (freeSmall[c] ??= []).push(s.ptr);
  } else {
    liveLarge.delete(s);
    putLarge(s.ptr, align(s.bytes));
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
  const have = memoryPages() * PAGE;
  if (need > have) grow(Math.ceil((need - have) / PAGE), size);
  if (start !== heapEnd) freeLarge.pop();
  heapEnd = need;
  return start;
}

function grow(pages: number, size: number): void {
  // An eighth more than needed, so that a model that is still warming up does not grow the memory at every tensor.
  const present = memoryPages();
  const generous = Math.min(pages + (present >> 3), MAX_PAGES - present);
  if (generous > pages && growMemory(generous)) return;
  if (!growMemory(pages)) throw new OutOfMemoryError(outOfMemoryText(size));
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
 * Runs `fn` on behalf of operation `op`, then frees every storage that `fn` allocated and nobody retained: temporaries always,
 * results too where `fn` throws. Calls nest.
 */
export function withTemporaries<T>(op: string, fn: () => T): T {
  const outerOp = currentOp;
  const first = temporaries.length;
  openCalls++;
  currentOp = op;
  try {
    return fn();
  } finally {
    openCalls--;
    currentOp = outerOp;
    while (temporaries.length > first) {
      const s = temporaries.pop()!;
      s.isTemporary = false;
      if (s.refs <= 0) s.free();
    }
  }
}

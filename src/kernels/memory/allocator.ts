/**
 * The allocator of the WebAssembly memory.
 *
 * Small blocks come from free lists, one per size class (4 per octave), and are never split. Large blocks come from an address-ordered
 * list, best fit, and are coalesced when freed. A training step reuses the blocks that the previous step freed.
 */
import { OutOfMemoryError } from '../../core/errors.ts';
import { CheckedMemory, isMemoryChecked } from './checked-memory.ts';
import { Storage } from './storage.ts';
import { growMemory, MAX_PAGES, memoryPages, PAGE, STATIC_BASE } from './wasm-memory.ts';

/** Blocks start on cache lines. */
const ALIGNMENT = 64;
/** From this size on, blocks are split and coalesced. */
const LARGE_BYTES = 65536;
/** Small blocks are cut from slabs of this size. */
const SLAB_BYTES = 262144;

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
/** Whether a storage was allocated since the start, apart from those of selfTesting. */
let used = false;
const freeSmall: number[][] = [];
/** Free large blocks in order of their addresses; no two are adjacent. */
const freeLarge: Block[] = [];
/** Live large storages, for the out-of-memory report. */
const liveLarge = new Set<Storage>();
let currentOp = 'tensor';
/** Storages allocated by the calls of withTemporaries that are running, innermost last. */
const temporaries: Storage[] = [];
let openCalls = 0;
/** Redzones and poison around all blocks; null unless CHAINRULE_CHECKED_MEMORY=1. */
const checked = isMemoryChecked ? new CheckedMemory({ take: takeBlock, put: putBlock }) : null;

/** Returns the bytes requested for live storages, their peak, and the memory's size in pages of 64 KiB. */
export function memoryUse(): { bytes: number; peakBytes: number; pages: number } {
  return { bytes, peakBytes, pages: memoryPages() };
}

/** Resets `peakBytes` to the bytes that are live now. */
export function resetPeak(): void {
  peakBytes = bytes;
}

/** Returns whether memory has been allocated since the start, apart from what selfTesting allocated. */
export function isHeapUsed(): boolean {
  return used;
}

/** Runs a self-test, which frees what it allocates. It leaves no trace: `isHeapUsed` and the peak are as before. */
export function selfTesting<T>(test: () => T): T {
  const before = { used, peakBytes };
  try {
    return test();
  } finally {
    ({ used, peakBytes } = before);
  }
}

/**
 * Moves the heap's start behind the kernels' static data, to an odd multiple of ALIGNMENT: at six places measured in turns, a step of SE-ResNet-20
 * took 4 % longer where the heap, and so most large blocks, began at an even one. Has no effect after the first allocation.
 */
export function setHeapBase(end: number): void {
  if (heapEnd !== heapBase) return;
  heapBase = align(end - ALIGNMENT, 2 * ALIGNMENT) + ALIGNMENT;
  heapEnd = heapBase;
}

function align(n: number, to = ALIGNMENT): number {
  return Math.ceil(n / to) * to;
}

/** Returns the size class of a small block: 4 per octave from 64 bytes on. */
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
 * Allocates a block of at least `n` bytes with undefined contents and no references.
 * Throws OutOfMemoryError, which lists the operations whose results take most memory.
 */
export function allocate(n: number): Storage {
  // NaN would make every later count NaN.
  if (!(n >= 0)) throw new RangeError(`allocate: expected a number of bytes ≥ 0, got ${n}`);
  const ptr = checked === null ? takeBlock(n) : checked.take(n, currentOp);
  used = true;
  const s = new Storage(ptr, n, currentOp, giveBack);
  checked?.watch(s, operationInProgress);
  bytes += n;
  if (bytes > peakBytes) peakBytes = bytes;
  if (n >= LARGE_BYTES) liveLarge.add(s);
  if (openCalls > 0) {
    temporaries.push(s);
    s.isTemporary = true;
  }
  return s;
}

function giveBack(s: Storage): void {
  bytes -= s.bytes;
  if (s.bytes >= LARGE_BYTES) liveLarge.delete(s);
  if (checked === null) putBlock(s.ptr, s.bytes);
  else putChecked(checked, s);
}

/** Frees a block in checked memory. If an operation is running, its end reports what this finds. */
function putChecked(memory: CheckedMemory, s: Storage): void {
  memory.put(s, currentOp);
  if (openCalls === 0) memory.report();
}

function operationInProgress(): string {
  return currentOp;
}

/** With CHAINRULE_CHECKED_MEMORY=1: checks the memory around all blocks, live or freed. Throws CheckedMemoryError. */
export function checkMemory(): void {
  checked?.checkAll(currentOp);
  checked?.report();
}

/** Returns the address of a block of at least `n` bytes. */
function takeBlock(n: number): number {
  return n < LARGE_BYTES ? takeSmall(n) : takeLarge(align(n));
}

/** Returns a block of `n` bytes to the list that `takeBlock` takes it from. */
function putBlock(ptr: number, n: number): void {
  if (n < LARGE_BYTES) (freeSmall[sizeClass(n)] ??= []).push(ptr);
  else putLarge(ptr, align(n));
}

function takeSmall(n: number): number {
  const c = sizeClass(n);
  const ptr = freeSmall[c]?.pop();
  if (ptr !== undefined) return ptr;
  const size = align(classSize(c));
  if (slabPtr + size > slabEnd) {
    slabPtr = takeLarge(SLAB_BYTES);
    slabEnd = slabPtr + SLAB_BYTES;
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

/** Takes `size` bytes at the end of the heap, beginning in its last free block if that is at the end. Grows the memory if needed. */
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
  // Growing by an eighth more than needed saves a model's first steps from growing the memory at every tensor.
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
 * Runs `fn` for operation `op`, then frees every storage that `fn` allocated and that has no references: temporaries, and also the
 * results if `fn` throws. Calls nest.
 */
export function withTemporaries<T>(op: string, fn: () => T): T {
  const outerOp = currentOp;
  const first = temporaries.length;
  openCalls++;
  currentOp = op;
  try {
    return fn();
  } finally {
    checked?.checkLive(op);
    while (temporaries.length > first) {
      const s = temporaries.pop()!;
      s.isTemporary = false;
      if (s.refs <= 0) s.free();
    }
    openCalls--;
    currentOp = outerOp;
    if (openCalls === 0) checked?.report();
  }
}

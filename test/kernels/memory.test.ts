/** The allocator: blocks never overlap, counts are exact, freed memory is reused and joined, and running out has a clear error. */
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { OutOfMemoryError } from '../../src/core/errors.ts';
import { allocate, memoryUse, resetPeak, withTemporaries } from '../../src/kernels/memory/allocator.ts';
import { type Storage } from '../../src/kernels/memory/storage.ts';
import { memoryViews } from '../../src/kernels/memory/wasm-memory.ts';

/** Loads another copy of the allocator, whose memory is empty. */
async function emptyHeap(): Promise<typeof import('../../src/kernels/memory/allocator.ts')> {
  vi.resetModules();
  return import('../../src/kernels/memory/allocator.ts');
}

const MIB = 2 ** 20;

describe('allocate', () => {
  it('returns aligned blocks that never overlap, and counts bytes exactly, over random allocations and frees', () => {
    const start = memoryUse().bytes;
    const action = fc.oneof(
      fc.record({ size: fc.oneof(fc.nat(300), fc.nat(70_000), fc.nat(3_000_000)) }),
      fc.record({ free: fc.nat(100) }),
    );
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
        const live: Storage[] = [];
        let bytes = start;
        for (const a of actions) {
          if ('size' in a) {
            const s = allocate(a.size);
            if (s.ptr % 64 !== 0) throw new Error(`block at ${s.ptr} is not on a cache line`);
            for (const o of live) {
              if (s.ptr < o.ptr + o.bytes && o.ptr < s.ptr + s.bytes)
                throw new Error(`[${s.ptr}, +${s.bytes}) overlaps [${o.ptr}, +${o.bytes})`);
            }
            if (s.ptr + s.bytes > memoryViews().u8.length) throw new Error('a block ends beyond the memory');
            live.push(s);
            bytes += a.size;
          } else if (live.length > 0) {
            const [s] = live.splice(a.free % live.length, 1);
            s!.free();
            s!.free();
            bytes -= s!.bytes;
          }
          if (memoryUse().bytes !== bytes) throw new Error(`${memoryUse().bytes} bytes are reported, ${bytes} are live`);
        }
        for (const s of live) s.free();
      }),
      { numRuns: 300, seed: 20261124 },
    );
    expect(memoryUse().bytes).toBe(start);
  });

  it('reuses freed memory: repeated requests get the same addresses and take no more pages', () => {
    const sizes = [10, 100, 5000, 80_000, 1_000_000, 64, 250_000];
    const round = (): number[] => {
      const blocks = sizes.map(allocate);
      for (const b of blocks.toReversed()) b.free();
      return blocks.map((b) => b.ptr);
    };
    round();
    const pages = memoryUse().pages;
    const first = round();
    for (let i = 0; i < 100; i++) expect(round()).toEqual(first);
    expect(memoryUse().pages).toBe(pages);
  });

  // Each step between two size classes, and between small and large blocks, with its neighbours.
  const borders = [64, 80, 96, 112, 128, 160, 1024, 1280, 57_344, 65_536, 131_072, 262_144].flatMap((n) => [n - 1, n, n + 1]);

  it.each([0, 1, ...borders])('reuses blocks of %i bytes', (n) => {
    const first = allocate(n);
    const { ptr } = first;
    first.free();
    const { bytes, pages } = memoryUse();
    for (let i = 0; i < 2000; i++) {
      const s = allocate(n);
      if (s.ptr !== ptr) throw new Error(`the block after ${i} others is at ${s.ptr}, not at ${ptr}`);
      s.free();
    }
    expect(memoryUse()).toMatchObject({ bytes, pages });
  });

  it('never lets blocks of neighbouring sizes overlap', () => {
    const made = borders.flatMap((n) => [allocate(n), allocate(n)]);
    const byAddress = made.toSorted((a, b) => a.ptr - b.ptr);
    byAddress.forEach((s, i) => expect(s.ptr + s.bytes).toBeLessThanOrEqual(byAddress[i + 1]?.ptr ?? Infinity));
    for (const s of made) s.free();
  });

  it('retains contents when the memory grows, and returns views of the new memory', () => {
    const s = allocate(8);
    memoryViews().f64[s.ptr / 8] = 42;
    const before = memoryUse().pages;
    const big = allocate(before * 65536);
    expect(memoryUse().pages).toBeGreaterThan(before);
    expect(memoryViews().f64[s.ptr / 8]).toBe(42);
    expect(memoryViews().u8.length).toBe(memoryUse().pages * 65536);
    big.free();
    s.free();
  });

  it.each([1, 40, 65_535, 65_536, 1_000_000])('stores the peak until it is reset, with blocks of %i bytes', (n) => {
    resetPeak();
    const before = memoryUse().bytes;
    const [a, b] = [allocate(n), allocate(n)];
    a.free();
    const c = allocate(n);
    expect(memoryUse()).toMatchObject({ bytes: before + 2 * n, peakBytes: before + 2 * n });
    for (const s of [b, c]) s.free();
    expect(memoryUse()).toMatchObject({ bytes: before, peakBytes: before + 2 * n });
    const d = allocate(1);
    expect(memoryUse()).toMatchObject({ bytes: before + 1, peakBytes: before + 2 * n });
    d.free();
    resetPeak();
    expect(memoryUse().peakBytes).toBe(before);
  });

  it.each([NaN, -1])('refuses %d bytes, and counts nothing', (n) => {
    const before = memoryUse();
    expect(() => allocate(n)).toThrow(new RangeError(`allocate: expected a number of bytes ≥ 0, got ${n}`));
    expect(memoryUse()).toEqual(before);
  });
});

describe('the memory that live blocks take', () => {
  it('is at most a quarter more than their size, and nothing more at the size of a class', async () => {
    const { allocate } = await emptyHeap();
    const classes = [1024, 1280, 1536, 1792, 2048, 5120, 14_336, 32_768, 65_536].flatMap((size) => [
      [size - 63, size],
      [size, size],
    ]);
    let end = 0;
    for (const [bytes, size] of [[0, 64], [1, 64], [64, 64], [65, 128], [129, 192], ...classes] as [number, number][]) {
      const first = end;
      for (let i = 0; i < 1000; i++) {
        const s = allocate(bytes);
        end = Math.max(end, s.ptr + size);
      }
      // Slabs of 256 KiB hold whole blocks, and the last one is not full.
      const perSlab = Math.floor(262_144 / size);
      expect(end - first, `1000 blocks of ${bytes} bytes`).toBeLessThanOrEqual(Math.ceil(1000 / perSlab + 1) * 262_144);
    }
  });

  it('is no new memory where that of freed blocks fits: the smallest that does', async () => {
    const { allocate, memoryUse } = await emptyHeap();
    const [large, , small, , exact] = [3, 1, 2, 1, 1, 1].map((mib) => allocate(mib * MIB));
    for (const s of [small!, large!, exact!]) s.free();
    const { pages } = memoryUse();
    expect(allocate(MIB).ptr).toBe(exact!.ptr);
    const parts = [0.5, 0.75, 1].map((mib) => allocate(mib * MIB).ptr - small!.ptr);
    expect(parts).toEqual([0, 0.5 * MIB, large!.ptr - small!.ptr]);
    expect(allocate(2 * MIB).ptr).toBe(large!.ptr + MIB);
    expect(memoryUse().pages).toBe(pages);
  });

  it('joins when neighbours are freed, in whatever order', async () => {
    for (const order of [
      [1, 3, 5, 7, 0, 2, 6, 4],
      [0, 1, 2, 3, 4, 5, 6, 7],
      [7, 6, 5, 4, 3, 2, 1, 0],
      [2, 0, 1, 5, 7, 6, 4, 3],
    ]) {
      const { allocate } = await emptyHeap();
      const parts = Array.from({ length: 8 }, () => allocate(MIB));
      allocate(MIB);
      for (const i of order) parts[i]!.free();
      expect(allocate(8 * MIB).ptr, `freed in the order ${order.join(' ')}`).toBe(parts[0]!.ptr);
    }
  });

  it('is extended from a free block at the end, and leaves the free blocks before it', async () => {
    const { allocate } = await emptyHeap();
    const last = allocate(MIB);
    last.free();
    const extended = allocate(2 * MIB);
    expect(extended.ptr).toBe(last.ptr);
    const gap = allocate(MIB);
    const end = allocate(MIB);
    gap.free();
    expect(allocate(4 * MIB).ptr).toBe(end.ptr + MIB);
    expect(allocate(MIB).ptr).toBe(gap.ptr);
  });

  it('fills the pages there are before it grows, and then grows seldom', async () => {
    const { allocate, memoryUse } = await emptyHeap();
    const { pages } = memoryUse();
    const first = allocate(MIB);
    allocate(pages * 65_536 - MIB - first.ptr);
    expect(memoryUse().pages).toBe(pages);
    const sizes = new Set<number>();
    for (let i = 0; i < 1000; i++) {
      allocate(MIB / 4);
      sizes.add(memoryUse().pages);
    }
    expect(sizes.size).toBeLessThan(40);
  });
});

describe('withTemporaries', () => {
  it('frees what has not been retained, also if the function throws', () => {
    const before = memoryUse().bytes;
    const kept = withTemporaries('test', () => {
      allocate(100);
      const s = allocate(200);
      s.retain();
      withTemporaries('inner', () => allocate(400));
      return s;
    });
    expect(memoryUse().bytes).toBe(before + 200);
    kept.release();
    const fail = (): void => {
      allocate(100);
      throw new Error('no');
    };
    expect(() => withTemporaries('test', fail)).toThrow('no');
    expect(memoryUse().bytes).toBe(before);
  });

  it('keeps what the function releases readable until it ends', () => {
    withTemporaries('test', () => {
      const s = allocate(100);
      s.retain();
      s.release();
      expect(s.freed).toBe(false);
      expect(allocate(100).ptr).not.toBe(s.ptr);
    });
    const before = memoryUse().bytes;
    const s = allocate(100);
    s.retain();
    s.release();
    expect([s.freed, memoryUse().bytes]).toEqual([true, before]);
  });
});

describe('running out', () => {
  it('reports the request, the live bytes and the operations that hold most, and changes nothing', () => {
    const held = withTemporaries('conv2d', () => {
      const s = [allocate(2 ** 30), allocate(2 ** 30)];
      for (const x of s) x.retain();
      return s;
    });
    const before = memoryUse();
    let message = '';
    try {
      withTemporaries('matmul', () => allocate(2 ** 31));
    } catch (e) {
      expect(e).toBeInstanceOf(OutOfMemoryError);
      message = (e as Error).message;
    }
    expect(message).toBe(
      'matmul: no room for 2048.0 MiB more; 2048.0 MiB are live (at most 4095.9 MiB fit).\n' +
        'The largest live results:\n' +
        '  conv2d: 2 tensors, 2048.0 MiB\n' +
        'Use a smaller batch, noGrad for evaluation, or dispose what is not needed.',
    );
    expect(memoryUse()).toEqual(before);
    for (const s of held) s.release();
    expect(memoryUse().bytes).toBe(before.bytes - 2 ** 31);
  });

  it('lists the five operations that hold most, the largest first', async () => {
    const { allocate, withTemporaries } = await emptyHeap();
    const sizes = { relu: 1, conv2d: 7, add: 3, batchNorm: 5, mul: 0.0625, matmul: 4, freed: 9 };
    for (const [op, mib] of Object.entries(sizes)) {
      const s = withTemporaries(op, () => {
        const made = allocate(mib * MIB);
        made.retain();
        return made;
      });
      if (op === 'freed') s.release();
    }
    const largest = [
      'conv2d: 1 tensors, 7.0',
      'batchNorm: 1 tensors, 5.0',
      'matmul: 1 tensors, 4.0',
      'add: 1 tensors, 3.0',
      'relu: 1 tensors, 1.0',
    ];
    const message = `The largest live results:\n${largest.map((line) => `  ${line} MiB\n`).join('')}Use`;
    expect(() => allocate(2 ** 32)).toThrow(message);
  });

  it('leaves the last page to be used', async () => {
    const { allocate, memoryUse } = await emptyHeap();
    const first = allocate(MIB);
    const rest = 65_535 * 65_536 - first.ptr - MIB;
    expect(allocate(rest).bytes).toBe(rest);
    expect(memoryUse().pages).toBe(65_535);
    expect(() => allocate(65_536)).toThrow('tensor: no room for 0.1 MiB more; 4095.9 MiB are live (at most 4095.9 MiB fit).');
  });
});

describe('on platforms with less address space', () => {
  afterEach(() => vi.resetModules());

  /** Loads the memory module while memories of more than `limit` pages are refused. Returns it with the maxima that it requested. */
  async function granting(
    limit: number,
  ): Promise<{ memory: Promise<typeof import('../../src/kernels/memory/allocator.ts')>; asked: number[] }> {
    const { Memory } = WebAssembly;
    const asked: number[] = [];
    WebAssembly.Memory = class extends Memory {
      constructor(d: WebAssembly.MemoryDescriptor) {
        asked.push(d.maximum!);
        if (d.maximum! > limit) throw new RangeError('could not allocate memory');
        super(d);
      }
    };
    vi.resetModules();
    const memory = import('../../src/kernels/memory/allocator.ts');
    await memory.catch(() => null);
    WebAssembly.Memory = Memory;
    return { memory, asked };
  }

  it('uses 2 GiB or 1 GiB, and the report names the limit', async () => {
    const { memory, asked } = await granting(16384);
    expect(asked).toEqual([65535, 32768, 16384]);
    const { allocate } = await memory;
    expect(() => allocate(2 ** 30)).toThrow('tensor: no room for 1024.0 MiB more; 0.0 MiB are live (at most 1024.0 MiB fit).');
  });

  it('passes on the error if no size is granted', async () => {
    const { memory, asked } = await granting(1000);
    expect(asked).toEqual([65535, 32768, 16384]);
    await expect(memory).rejects.toThrow(new RangeError('could not allocate memory'));
  });
});

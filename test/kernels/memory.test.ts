/** The allocator: blocks never overlap, counts are exact, freed memory is reused and joined, and running out has a clear error. */
import fc from 'fast-check';
import { describe, expect, it, vi } from 'vitest';
import { OutOfMemoryError } from '../../src/core/errors.ts';
import { allocate, memoryUse, resetPeak, withTemporaries } from '../../src/kernels/memory/allocator.ts';
import { type Storage } from '../../src/kernels/memory/storage.ts';
import { memoryViews } from '../../src/kernels/memory/wasm-memory.ts';

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

  it('joins neighbouring large blocks, whatever the order in which they are freed', () => {
    const parts = Array.from({ length: 8 }, () => allocate(1_000_000));
    for (const i of [1, 3, 5, 7, 0, 2, 6, 4]) parts[i]!.free();
    const pages = memoryUse().pages;
    const whole = allocate(8_000_000);
    expect(memoryUse().pages).toBe(pages);
    whole.free();
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
    resetPeak();
    expect(memoryUse().peakBytes).toBe(before);
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
});

describe('on platforms with less address space', () => {
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

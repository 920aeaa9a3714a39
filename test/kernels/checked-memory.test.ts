import type { Tensor } from 'chainrule';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { Storage } from '../../src/kernels/memory/storage.ts';
import type { View } from '../../src/kernels/view.ts';

// CHAINRULE_CHECKED_MEMORY=1 detects each kind of wrong access. A copy of the library is loaded with it.

async function loadChecked() {
  vi.stubEnv('CHAINRULE_CHECKED_MEMORY', '1');
  vi.stubEnv('CHAINRULE_KERNELS', 'wasm');
  vi.resetModules();
  const [allocator, wasmMemory, views, deferred, errors, chainrule] = await Promise.all([
    import('../../src/kernels/memory/allocator.ts'),
    import('../../src/kernels/memory/wasm-memory.ts'),
    import('../../src/kernels/view.ts'),
    import('../../src/kernels/wasm/fusion/deferred-call.ts'),
    import('../../src/core/errors.ts'),
    import('chainrule'),
  ]);
  return { ...allocator, ...wasmMemory, ...views, ...deferred, ...errors, ...chainrule };
}

let lib: Awaited<ReturnType<typeof loadChecked>>;

beforeAll(async () => {
  lib = await loadChecked();
});

afterAll(() => {
  vi.unstubAllEnvs();
  vi.resetModules();
});

/** Returns the message of the CheckedMemoryError that `fn` throws. */
function found(fn: () => void): string {
  try {
    fn();
  } catch (error) {
    expect(error).toBeInstanceOf(lib.CheckedMemoryError);
    return (error as Error).message;
  }
  throw new Error('nothing was found');
}

/** Allocates a block for operation `op`, retained. */
function block(op: string, bytes: number): Storage {
  return lib.withTemporaries(op, () => {
    const s = lib.allocate(bytes);
    s.retain();
    return s;
  });
}

function floats(n: number): View {
  return { storage: block('add', 4 * n), offset: 0, shape: [n], strides: [1], dtype: 'float32' };
}

describe('a write outside a block', () => {
  test('one element behind the result of a kernel is found when the operation ends', () => {
    const tooFar = lib.defineOp({
      name: 'tooFar',
      forward: (k, x: Tensor) => {
        const y = lib.emptyLike(x);
        k.copy(x, y);
        lib.elementView(lib.addressOf(y), y.dtype, x.numel + 1)[x.numel] = 1;
        return y;
      },
    });
    const x = lib.tensor([1, 2, 3]);
    expect(found(() => tooFar(x))).toBe(
      'tooFar: byte 0 behind a block of 12 bytes that tooFar allocated was overwritten. ' +
        'Found in tooFar: it, or code before it, writes outside its own memory',
    );
    expect(x.toArray()).toEqual([1, 2, 3]);
  });

  test('before a block of another operation, in a later one', () => {
    const s = block('add', 40);
    const message = found(() => lib.withTemporaries('mul', () => (lib.memoryViews().f32[s.ptr / 4 - 1] = 0)));
    expect(message).toBe(
      'mul: byte 4 before a block of 40 bytes that add allocated was overwritten. ' +
        'Found in mul: it, or code before it, writes outside its own memory',
    );
    // It is reported once.
    lib.checkMemory();
    s.release();
  });

  test('among more blocks than one operation checks: of the newest at once, of another within a few operations', () => {
    const blocks = Array.from({ length: 500 }, (_, i) => block(`op${i}`, 8));
    const operation = (): void => lib.withTemporaries('mul', () => {});
    const damage = (s: Storage): void => void (lib.memoryViews().u8[s.ptr + 8] = 0);
    damage(blocks[499]!);
    expect(found(operation)).toMatch('mul: byte 0 behind a block of 8 bytes that op499 allocated was overwritten.');
    for (const i of [0, 100, 250, 400]) {
      damage(blocks[i]!);
      const message = found(() => {
        for (let n = 0; n < 5; n++) operation();
      });
      expect(message).toMatch(`mul: byte 0 behind a block of 8 bytes that op${i} allocated was overwritten.`);
    }
    for (const s of blocks) s.release();
    lib.checkMemory();
  });

  test('between operations, when all memory is checked', () => {
    const s = block('add', 40);
    lib.memoryViews().u8[s.ptr + 40] = 0;
    expect(found(() => lib.checkMemory())).toMatch('tensor: byte 0 behind a block of 40 bytes that add allocated was overwritten.');
    lib.checkMemory();
    s.release();
  });

  test.each([1, 5, 63, 64, 65, 65_536, 65_537])('of one byte behind a block of %i bytes, which is freed', (bytes) => {
    const s = block('gt', bytes);
    const { ptr } = s;
    expect(lib.memoryViews().u8[ptr + bytes - 1]).not.toBe(0);
    lib.memoryViews().u8[ptr + bytes - 1] = 0;
    lib.checkMemory();
    lib.memoryViews().u8[ptr + bytes] = 0;
    expect(found(() => s.release())).toMatch(`tensor: byte 0 behind a block of ${bytes} bytes that gt allocated was overwritten.`);
    expect(s.freed).toBe(true);
    lib.checkMemory();
  });
});

describe('a freed block', () => {
  test('is NaN at once, as is a new one, and negative as an index', () => {
    const s = block('add', 64);
    const { ptr } = s;
    const values = () => [lib.memoryViews().f32[ptr / 4]!, lib.memoryViews().f64[ptr / 8]!];
    expect(values()).toEqual([NaN, NaN]);
    expect(lib.memoryViews().i32[ptr / 4]).toBeLessThan(0);
    lib.memoryViews().f64.fill(1, ptr / 8, ptr / 8 + 8);
    s.release();
    expect(values()).toEqual([NaN, NaN]);
    expect(lib.memoryViews().i32[ptr / 4]).toBeLessThan(0);
  });

  test('is not reused at once, and a write to it is found before it is', () => {
    const s = block('add', 100);
    const { ptr } = s;
    lib.withTemporaries('mul', () => s.release());
    expect(block('sub', 100).ptr).not.toBe(ptr);
    lib.memoryViews().u8[ptr + 17] = 0;
    const message = found(() => {
      for (let i = 0; i < 1000; i++) lib.withTemporaries('exp', () => lib.allocate(2 ** 20));
    });
    expect(message).toBe(
      'exp: byte 17 of a block of 100 bytes that add allocated and mul freed was written to after that. ' +
        'Found in exp: it, or code before it, writes outside its own memory',
    );
  });

  test('has no address', () => {
    const v = floats(4);
    v.storage.release();
    const message = 'exp: the address of a block of 16 bytes that add allocated was read after the block was freed';
    expect(found(() => lib.withTemporaries('exp', () => lib.addressOf(v)))).toBe(message);
  });

  test('is reused when the memory is full', () => {
    const last = block('add', 2 ** 25);
    const { ptr } = last;
    last.release();
    const all = lib.allocate(lib.MAX_PAGES * lib.PAGE - ptr - 2 ** 20);
    expect(all.ptr).toBeLessThanOrEqual(ptr);
    all.free();
  });
});

describe('a deferred call', () => {
  const double = ({ x }: { readonly x: View }, y: View): void => {
    const [from, to] = [x, y].map((v) => lib.elementView(lib.materializedAddressOf(v), 'float32', 2));
    to!.set(from!.map((value) => 2 * value));
  };

  test('has to run before the address of its output is read', () => {
    const [x, y] = [floats(2), floats(2)];
    lib.deferCall(double, { x }, y);
    const message =
      'the address of a block of 8 bytes that add allocated was read while the call that writes it is deferred: use addressOf';
    expect(found(() => y.storage.ptr)).toBe(`tensor: ${message}`);
    expect(lib.addressOf(y)).toBe(y.storage.ptr);
  });

  test('has to run before its input is written to', () => {
    const [x, y] = [floats(2), floats(2)];
    lib.deferCall(double, { x }, y);
    lib.memoryViews().f32[x.storage.ptr / 4] = 1;
    const message = 'add: an input of its deferred call was written to without materialize';
    expect(found(() => lib.addressOf(y))).toBe(message);
  });
});

test('the counts of bytes are those of the requests', () => {
  const before = lib.memory().bytes;
  const s = block('add', 1000);
  expect(lib.memory().bytes).toBe(before + 1000);
  s.release();
  expect(lib.memory().bytes).toBe(before);
});

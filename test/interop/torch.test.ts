import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FileError, Tensor, memory, scope } from 'chainrule';
import { loadTorch, loadTorchStateDict, type TorchValue } from 'chainrule/interop';
import { loadSafetensors } from 'chainrule/io';
import * as nn from 'chainrule/nn';
import fc from 'fast-check';
import { describe, expect, test, vi } from 'vitest';

// The files of torch.save: those that PyTorch 1.13 wrote (make-torch-files.py), and damaged ones.

interface Expected {
  readonly shape: number[];
  readonly values: string[];
}

interface Fixtures {
  readonly files: Readonly<Record<string, { readonly file: string; readonly tensors?: Readonly<Record<string, Expected>> }>>;
  readonly refused: Readonly<Record<string, string>>;
}

const { files, refused } = JSON.parse(readFileSync(new URL('../fixtures/torch-files.json', import.meta.url), 'utf8')) as Fixtures;
const bytesOf = (base64: string): Uint8Array => new Uint8Array(Buffer.from(base64, 'base64'));
const fileOf = (name: string): Uint8Array => bytesOf(files[name]!.file);
/** Python prints `inf`. */
const number = (text: string): number => Number(text.replace('inf', 'Infinity'));

function expectTensors(read: Readonly<Record<string, TorchValue>>, expected: Readonly<Record<string, Expected>>): void {
  expect(Object.keys(read)).toEqual(Object.keys(expected));
  for (const [name, { shape, values }] of Object.entries(expected)) {
    const t = read[name] as Tensor;
    expect(t.shape, name).toEqual(shape);
    expect(Array.from(t.data()), name).toEqual(values.map(number));
    expect([t.requiresGrad, t.isContiguous()], name).toEqual([false, true]);
  }
}

/** Replaces tensors by their nested arrays. */
function plain(value: TorchValue): unknown {
  if (value instanceof Tensor) return value.toArray();
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, v]) => [key, plain(v as TorchValue)]));
}

describe('files that PyTorch wrote', () => {
  test('tensors of every dtype and layout', () => {
    const read = loadTorch(fileOf('tensors')) as Record<string, Tensor>;
    expectTensors(read, files.tensors!.tensors!);
    expect(Object.fromEntries(Object.entries(read).map(([name, t]) => [name, t.dtype]))).toMatchObject({
      float16: 'float32',
      bfloat16: 'float32',
      float64: 'float64',
      int64: 'int32',
      uint8: 'int32',
      bool: 'bool',
    });
  });

  test('a state dict, into the same model', () => {
    const model = new nn.Sequential(new nn.Conv2d(2, 3, 3), new nn.BatchNorm2d(3), new nn.Flatten(), new nn.Linear(12, 2));
    const read = loadTorchStateDict(fileOf('state dict'));
    expectTensors(read, files['state dict']!.tensors!);
    model.loadStateDict(read);
    expect(plain(model.stateDict())).toEqual(plain(read));
  });

  test('a nested checkpoint with numbers, texts, lists and an optimizer’s state', () => {
    const read = loadTorch(fileOf('checkpoint')) as Readonly<Record<string, TorchValue>>;
    expectTensors(read.model as Record<string, TorchValue>, files.checkpoint!.tensors!);
    const { model: _, optimizer, ...rest } = read;
    expect(rest).toEqual({ epoch: 3, best: 0.75, name: 'ä', done: false, none: null, seed: 2n ** 70n, list: [1, [2, 3]] });
    const { state, param_groups: groups } = optimizer as { state: Record<string, { momentum_buffer: Tensor }>; param_groups: object[] };
    expect(Object.keys(state)).toEqual(['0', '1', '2', '3', '4', '5']);
    expect(state['0']!.momentum_buffer.shape).toEqual([3, 2, 3, 3]);
    expect(groups[0]).toMatchObject({ lr: 0.1, momentum: 0.9, params: [0, 1, 2, 3, 4, 5] });
  });

  test('a state dict within a checkpoint is reached by its keys', () => {
    expectTensors(loadTorchStateDict(fileOf('checkpoint'), { at: ['model'] }), files.checkpoint!.tensors!);
    const wrong =
      (at: string[]): (() => unknown) =>
      () =>
        loadTorchStateDict(fileOf('checkpoint'), { at });
    expect(wrong([])).toThrow("'model' is no tensor, so this is no state dict; name it with at: it has model, optimizer, epoch, best");
    expect(wrong(['net'])).toThrow("there is no 'net'; it has model, optimizer");
    expect(wrong(['epoch'])).toThrow('expected a record of tensors, got a number');
    expect(wrong(['__proto__'])).toThrow("there is no '__proto__'");
  });

  test('tensors that share a storage are copies; what is saved twice is one tensor', () => {
    const [whole, grid, tail, again] = loadTorch(fileOf('shared')) as readonly Tensor[];
    expect([whole, grid, tail].map((t) => t!.shape)).toEqual([[6], [2, 3], [4]]);
    expect(tail!.toArray()).toEqual([2, 3, 4, 5]);
    whole!.fill_(9);
    expect(tail!.toArray()).toEqual([2, 3, 4, 5]);
    expect(again!.shape).toEqual([6]);
  });

  test('pickle protocol 4, a tensor alone, and the byte order of big-endian machines', () => {
    expect((loadTorch(fileOf('protocol 4')) as { w: Tensor }).w.shape).toEqual([2, 3, 4]);
    expect((loadTorch(fileOf('one tensor')) as Tensor).toArray()).toEqual([1, 1]);
    expect(plain(loadTorch(fileOf('big-endian')))).toEqual({ w: [1.5, -2], i: [7] });
  });

  test('integers beyond int32 are left out with a warning', () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
    expect(plain(loadTorch(fileOf('large integers')))).toEqual({ a: [1], list: [null] });
    expect(warn.mock.calls).toEqual([
      [
        'loadTorch: bytes: left out big (element 0: I64 1099511627776 does not fit int32), ' +
          'list.0 (element 0: I64 1099511627776 does not fit int32)',
      ],
    ]);
    warn.mockRestore();
  });

  test('integers that lie between those of a tensor do not matter', () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
    expect(plain(loadTorch(fileOf('column')))).toEqual({ x: [1, 3] });
    expect(warn).not.toHaveBeenCalled();
    warn.mockRestore();
  });

  test('two keys of the same text are refused, as a record has one of them', () => {
    expect(() => loadTorch(fileOf('equal keys'))).toThrow("loadTorch: bytes: state: two keys have the text '1'");
  });

  test('by path', () => {
    const folder = mkdtempSync(join(tmpdir(), 'torch-'));
    const path = join(folder, 'w.pt');
    writeFileSync(path, fileOf('one tensor'));
    expect((loadTorch(path) as Tensor).toArray()).toEqual([1, 1]);
    expect(() => loadSafetensors(path)).toThrow(/it is a zip file, .* loadTorch of chainrule\/interop reads those of torch\.save/);
    expect(() => loadTorch(join(folder, 'none.pt'))).toThrow(`folder ${folder} has no file none.pt`);
    rmSync(folder, { recursive: true });
  });
});

describe('what is not read is refused by name', () => {
  test.each([
    ['legacy', 'it has the format of PyTorch before 1.6, or is another pickle; load it with PyTorch and save it again'],
    ['TorchScript', 'it is TorchScript, which holds a program; save the weights alone'],
    ['whole model', 'it holds torch.nn.modules.container.Sequential, which is not read: no code of a file runs. Save tensors alone'],
    ['torch.Size', 'it holds torch.Size, which is not read'],
    ['complex', 'it holds torch.ComplexFloatStorage, which is not read'],
    ['code', 'it holds posix.system, which is not read: no code of a file runs'],
  ])('%s', (name, message) => {
    expect(() => loadTorch(bytesOf(refused[name]!))).toThrow(`loadTorch: bytes: ${message}`);
    expect(() => loadTorch(bytesOf(refused[name]!))).toThrow(FileError);
    expect(existsSync('/tmp/must-not-exist')).toBe(false);
  });

  test('tar files, other files and nothing', () => {
    const tar = new Uint8Array(1024);
    tar.set(new TextEncoder().encode('ustar'), 257);
    expect(() => loadTorch(tar)).toThrow('it has the tar format of PyTorch 0.1');
    expect(() => loadTorch(new Uint8Array(0))).toThrow('it has no zip directory; the file is truncated or no zip file');
  });
});

describe('damaged files', () => {
  const source = fileOf('checkpoint');
  const small = fileOf('protocol 4');

  /** Reads the bytes; returns whether they could be read. Throws if that fails by anything other than a FileError. */
  function reads(bytes: Uint8Array): boolean {
    const before = memory();
    let isRead = true;
    scope(() => {
      try {
        loadTorch(bytes);
      } catch (error) {
        if (!(error instanceof FileError)) throw error;
        isRead = false;
      }
    });
    expect(memory()).toMatchObject({ bytes: before.bytes, tensors: before.tensors });
    return isRead;
  }

  test('a changed byte is read or gives a FileError, and leaves no memory', () => {
    fc.assert(
      fc.property(fc.nat(source.length - 1), fc.nat(255), (at, value) => {
        reads(Object.assign(source.slice(), { [at]: value }));
      }),
      { seed: 1, numRuns: 600 },
    );
  });

  test('a cut file gives a FileError', () => {
    for (let length = 0; length < small.length; length += 7) expect(reads(small.slice(0, length))).toBe(false);
  });

  test('a pickle of which bytes are changed, with a right check sum, never crashes or takes more memory than its file allows', () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
    const [start, end] = pickleIn(small);
    let count = 0;
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(end - start - 1), fc.nat(255)), { minLength: 1, maxLength: 3 }), (changes) => {
        const bytes = small.slice();
        for (const [at, value] of changes) bytes[start + at] = value;
        const peak = memory().bytes;
        if (reads(repaired(bytes))) count++;
        expect(memory().peakBytes - peak).toBeLessThan(40_000_000);
      }),
      { seed: 4, numRuns: 3000 },
    );
    expect(count).toBeGreaterThan(100);
    warn.mockRestore();
  });

  test.each([
    ['an expanded tensor', [2 ** 40], [0], 0, 'has more elements than a file of its size should hold'],
    ['a tensor beyond its storage', [3], [1], 23, 'reaches element 25 of a storage of 24'],
    ['a shape without strides', [3], [], 0, 'reaches element NaN'],
  ])('%s is refused before memory is taken', (_, shape, strides, offset, message) => {
    expect(() => loadTorch(withTensor(small, shape, strides, offset))).toThrow(message);
  });
});

/** Returns where the bytes of data.pkl begin and end in a stored zip file. */
function pickleIn(file: Uint8Array): [number, number] {
  const text = Buffer.from(file).toString('latin1');
  const header = text.indexOf('archive/data.pkl') - 30;
  const view = new DataView(file.buffer, file.byteOffset);
  const start = header + 30 + view.getUint16(header + 26, true) + view.getUint16(header + 28, true);
  const directory = text.lastIndexOf('archive/data.pkl') - 46;
  return [start, start + view.getUint32(directory + 24, true)];
}

/** Sets the check sum of data.pkl in the directory to that of its bytes. */
function repaired(file: Uint8Array): Uint8Array {
  const [start, end] = pickleIn(file);
  const directory = Buffer.from(file).toString('latin1').lastIndexOf('archive/data.pkl') - 46;
  new DataView(file.buffer, file.byteOffset).setUint32(directory + 16, checkSum(file.subarray(start, end)), true);
  return file;
}

/** CRC-32, bit by bit. */
function checkSum(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return ~crc >>> 0;
}

/** Returns the file with its pickle replaced by one of a single tensor with these fields, padded to the same length. */
function withTensor(file: Uint8Array, shape: readonly number[], strides: readonly number[], offset: number): Uint8Array {
  const [start, end] = pickleIn(file);
  const integer = (n: number): number[] => [0x8a, 6, ...new Uint8Array(BigInt64Array.of(BigInt(n)).buffer, 0, 6)];
  const text = (s: string): number[] => [0x58, s.length, 0, 0, 0, ...Buffer.from(s)];
  const tuple = (items: readonly number[]): number[] => [0x28, ...items.flatMap(integer), 0x74];
  const name = (s: string): number[] => [0x63, ...Buffer.from(s)];
  const storage = [0x28, ...text('storage'), ...name('torch\nFloatStorage\n'), ...text('0'), ...text('cpu'), ...integer(24), 0x74, 0x51];
  const args = [
    0x28,
    ...storage,
    ...integer(offset),
    ...tuple(shape),
    ...tuple(strides),
    0x89,
    ...name('collections\nOrderedDict\n'),
    0x29,
    0x52,
    0x74,
  ];
  const pickle = [0x80, 2, ...name('torch._utils\n_rebuild_tensor_v2\n'), ...args, 0x52, 0x2e];
  expect(pickle.length).toBeLessThanOrEqual(end - start);
  const bytes = file.slice();
  bytes.set(pickle, start);
  return repaired(bytes);
}

test('a whole tensor of that kind is read', () => {
  const grid = (loadTorch(fileOf('protocol 4')) as { w: Tensor }).w.flatten().toArray() as number[];
  const read = loadTorch(withTensor(fileOf('protocol 4'), [2, 3], [1, 2], 1)) as Tensor;
  expect(read.toArray()).toEqual([
    [grid[1], grid[3], grid[5]],
    [grid[2], grid[4], grid[6]],
  ]);
});

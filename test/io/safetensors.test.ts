import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { ArgumentError, arange, type DType, FileError, memory, randn, scope, type Tensor, tensor, zeros } from 'chainrule';
import { decodeSafetensors, loadSafetensors, readBytes, saveSafetensors, tensorsFromBytes, tensorsToBytes } from 'chainrule/io';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';

let dir: string;
let file: string;
beforeEach(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), 'chainrule-safetensors-'));
  file = path.join(dir, 'm.safetensors');
});
afterEach(() => {
  fs.rmSync(dir, { recursive: true });
});

/** Returns everything that a file stores of a tensor, with bits instead of values. */
function bits(t: Tensor) {
  const data = t.data();
  return { dtype: t.dtype, shape: t.shape, bytes: [...new Uint8Array(data.buffer, data.byteOffset, data.byteLength)] };
}

const bitsOf = (record: Record<string, Tensor>) => Object.entries(record).map(([name, t]) => [name, bits(t)]);

test('a round trip is bitwise identical for every dtype, shape and strides', () => {
  const x = arange(24, undefined, 1, { dtype: 'float32' }).reshape([2, 3, 4]);
  const tensors = {
    'layers.0.weight': x,
    transposed: x.transpose(0, 2),
    channelsLast: x.permute([0, 2, 1]).contiguous().permute([0, 2, 1]),
    sliced: x.slice(2, 1, 4, 2),
    expanded: tensor([1, 2]).unsqueeze(1).expand([2, 3]),
    scalar: tensor(0.1, { dtype: 'float64' }),
    empty: zeros([0, 3]),
    special: tensor([NaN, Infinity, -Infinity, -0, 1e-45, 3.4028234663852886e38]),
    double: tensor([Number.MIN_VALUE, Number.MAX_VALUE, -0, 0.1], { dtype: 'float64' }),
    labels: tensor([-(2 ** 31), 2 ** 31 - 1], { dtype: 'int32' }),
    mask: tensor([true, false]),
    ['__proto__']: tensor([5]),
    '7': tensor([7]),
    '': tensor([8]),
  };
  saveSafetensors(file, tensors, { metadata: { format: 'pt', ключ: '€\n' } });
  const loaded = loadSafetensors(file);
  expect(bitsOf(loaded)).toEqual(bitsOf(tensors));
  expect(Object.keys(loaded)).toContain('__proto__');
  expect(Object.values(loaded).every((t) => t.isContiguous() && !t.requiresGrad)).toBe(true);
  expect([...decodeSafetensors(readBytes(file), file).metadata]).toEqual([
    ['format', 'pt'],
    ['ключ', '€\n'],
  ]);
  expect(fs.readdirSync(dir)).toEqual(['m.safetensors']);
});

test('any tensors survive a round trip', () => {
  const dims = fc.array(fc.nat(3), { maxLength: 4 });
  const dtype = fc.constantFrom<DType>('float32', 'float64', 'int32', 'bool');
  const entry = fc.tuple(fc.string({ unit: 'grapheme', maxLength: 8 }), dims, dtype, fc.boolean());
  const named = fc.uniqueArray(entry, { selector: ([name]) => name, maxLength: 5 });
  fc.assert(
    fc.property(
      named.filter((list) => list.every(([name]) => name !== '__metadata__')),
      (list) =>
        scope(() => {
          const tensors = Object.fromEntries(
            list.map(([name, shape, type, flip]) => {
              const x = randn(shape).mul(9).to(type);
              return [name, flip && shape.length > 1 ? x.transpose(0, 1) : x];
            }),
          );
          expect(bitsOf(tensorsFromBytes(tensorsToBytes(tensors)))).toEqual(bitsOf(tensors));
        }),
    ),
    { numRuns: 50 },
  );
});

test('num_batches_tracked is I64 in the file and int32 here', () => {
  const bytes = tensorsToBytes({
    'features.1.num_batches_tracked': tensor(41, { dtype: 'int32' }),
    num_batches_tracked: tensor(-1, { dtype: 'int32' }),
    my_num_batches_tracked: tensor(3, { dtype: 'int32' }),
    'odd.num_batches_tracked': tensor(1.5),
  });
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + new DataView(bytes.buffer).getUint32(0, true))));
  expect(Object.entries<{ dtype: string }>(header).map(([name, { dtype }]) => [name, dtype])).toEqual([
    ['features.1.num_batches_tracked', 'I64'],
    ['num_batches_tracked', 'I64'],
    ['my_num_batches_tracked', 'I32'],
    ['odd.num_batches_tracked', 'F32'],
  ]);
  const loaded = tensorsFromBytes(bytes);
  expect(Object.values(loaded).map((t) => [t.dtype, t.item()])).toEqual([
    ['int32', 41],
    ['int32', -1],
    ['int32', 3],
    ['float32', 1.5],
  ]);
});

describe('tensors that no dtype can represent', () => {
  const header = JSON.stringify({
    a: { dtype: 'F8_E4M3', shape: [1], data_offsets: [12, 13] },
    w: { dtype: 'F32', shape: [], data_offsets: [8, 12] },
    'n\n': { dtype: 'I64', shape: [], data_offsets: [0, 8] },
  });
  const bytes = new Uint8Array(8 + header.length + 13);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(header.length), true);
  bytes.set(new TextEncoder().encode(header), 8);
  new DataView(bytes.buffer).setBigInt64(8 + header.length, 2n ** 40n, true);

  test('are left out, and a warning names them and the reasons', () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
    fs.writeFileSync(file, bytes);
    expect(Object.keys(loadSafetensors(file))).toEqual(['w']);
    expect(warn.mock.calls).toEqual([
      [
        `loadSafetensors: ${file}: left out a (dtype F8_E4M3 is not supported (expected F32, F64, I32, BOOL, F16, BF16, U8, I8, U16, ` +
          'I16, U32, I64, U64)), n\\n (element 0: I64 1099511627776 does not fit int32)',
      ],
    ]);
    warn.mockClear();
    expect(Object.keys(loadSafetensors(file, { names: ['w'] }))).toEqual(['w']);
    expect(warn).not.toHaveBeenCalled();
    warn.mockRestore();
  });

  test('throw if they are asked for by name', () => {
    const load = (...names: unknown[]) => tensorsFromBytes(bytes, 'm', { names: names as string[] });
    expect(() => load('w', 'n\n')).toThrow(new FileError('decodeSafetensors: m: n\n: element 0: I64 1099511627776 does not fit int32'));
    expect(() => load('v')).toThrow(new FileError('decodeSafetensors: m: it does not have v; it has a, w, n\n'));
    expect(() => tensorsFromBytes(bytes, { names: ['w'] } as never)).toThrow(
      new ArgumentError("decodeSafetensors: the file's name must be a text, got an object"),
    );
    expect(() => load(5)).toThrow(new ArgumentError('tensorsFromBytes: names must be an array of texts, got a number'));
    expect(() => tensorsFromBytes(bytes, 'm', { name: ['w'] } as object)).toThrow(
      new ArgumentError("tensorsFromBytes: unknown option 'name'; the options are names"),
    );
  });
});

test('metadata must be a record of texts', () => {
  const save = (metadata: unknown) => () => saveSafetensors(file, { w: tensor([1]) }, { metadata: metadata as Record<string, string> });
  expect(save({ step: 5 })).toThrow(
    new ArgumentError('encodeSafetensors: metadata "step" must be a text, got a number; write String(value)'),
  );
  expect(save('pt')).toThrow(new ArgumentError('saveSafetensors: metadata must be a record of texts, got a string'));
  expect(save(new Map([['a', 'b']]))).toThrow(new ArgumentError('saveSafetensors: metadata must be a record of texts, got an object'));
  expect(() => saveSafetensors(file, { 'a\n': 5 as never })).toThrow(/^saveSafetensors: a\\n must be a tensor, got a number$/);
  expect(save(null)).toThrow(new ArgumentError('saveSafetensors: metadata must be a record of texts, got null'));
  expect(fs.existsSync(file)).toBe(false);
});

test.skipIf(process.env.CHAINRULE_LONG !== '1')('a file of more than 2 GiB is written and read', { timeout: 300_000 }, () => {
  // float64 elements are stored before float32, so `last` lies beyond 2 GiB.
  const large = zeros([2 ** 28 + 8], { dtype: 'float64' });
  saveSafetensors(file, { large, last: tensor([1, 2, 3]) });
  large.dispose();
  expect(fs.statSync(file).size).toBeGreaterThan(2 ** 31);
  expect(loadSafetensors(file, { names: ['last'] }).last!.toArray()).toEqual([1, 2, 3]);
});

describe('memory', () => {
  test('loaded tensors belong to the enclosing scope; kept ones survive it; saving makes none', () => {
    const w = randn([3, 4], { requiresGrad: true }).keep();
    const before = memory().tensors;
    const kept = scope(() => {
      saveSafetensors(file, { w, v: w.transpose(0, 1).detach() });
      const loaded = loadSafetensors(file);
      loadSafetensors(file);
      return loaded.w!.keep();
    });
    expect(memory().tensors).toBe(before + 1);
    expect(bits(kept)).toEqual(bits(w));
    for (const t of [w, kept]) t.dispose();
  });
});

describe('errors', () => {
  test('a missing file and a damaged one', () => {
    expect(() => loadSafetensors(file)).toThrow(new FileError(`loadSafetensors: folder ${dir} has no file m.safetensors`));
    saveSafetensors(file, { w: tensor([1, 2]) });
    const bytes = fs.readFileSync(file);
    fs.writeFileSync(file, bytes.subarray(0, -1));
    expect(() => loadSafetensors(file)).toThrow(
      new FileError(`decodeSafetensors: ${file}: data: expected 8 bytes, got 7; the file is truncated`),
    );
    expect(() => tensorsFromBytes(bytes.subarray(0, 4))).toThrow(
      new FileError('decodeSafetensors: bytes: expected at least 8 bytes, got 4; the file is truncated'),
    );
  });

  test('a missing folder, and a released tensor: the old file stays', () => {
    const old = { w: tensor([1]) };
    const there = path.join(dir, 'no', 'm.safetensors');
    expect(() => saveSafetensors(there, old)).toThrow(new FileError(`saveSafetensors: there is no folder ${dir}/no; make it first`));
    saveSafetensors(file, old);
    const gone = tensor([1, 2]);
    gone.dispose();
    expect(() => saveSafetensors(file, { gone })).toThrow('a tensor [2] was freed by dispose()');
    expect(bitsOf(loadSafetensors(file))).toEqual(bitsOf(old));
  });
});

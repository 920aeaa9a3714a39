import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import vm from 'node:vm';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ArgumentError, FileError } from '../../src/core/errors.ts';
import { loadCifar10, parseCifar10 } from '../../src/data/cifar.ts';

/** A record in the format of CIFAR-10: label, then 1,024 bytes each of red, green, blue. */
function record(label: number, first = 0): Uint8Array {
  return Uint8Array.from({ length: 3073 }, (_, i) => (i === 0 ? label : (first + i - 1) % 256));
}

const join = (...parts: Uint8Array[]) => Uint8Array.from(parts.flatMap((part) => [...part]));

describe('parseCifar10', () => {
  test('decodes labels and images', () => {
    const data = parseCifar10(join(record(3), record(9, 7)), 'f');
    expect(data.length).toBe(2);
    expect(data.getBatch([1])).toEqual([
      { data: Float32Array.from({ length: 3072 }, (_, i) => ((7 + i) % 256) / 255), shape: [1, 3, 32, 32], dtype: 'float32' },
      { data: Int32Array.of(9), shape: [1], dtype: 'int32' },
    ]);
  });

  test.each([
    [
      new Uint8Array(0),
      'expected a multiple of 3073 bytes (label and 32×32×3 image), got 0; the file is truncated or no binary version of CIFAR-10',
    ],
    [
      join(record(1), record(2)).subarray(0, 6145),
      'expected a multiple of 3073 bytes (label and 32×32×3 image), got 6145; the file is truncated or no binary version of CIFAR-10',
    ],
    [join(record(1), record(10)), 'label of record 1: expected 0 to 9, got 10; the file is damaged or no binary version of CIFAR-10'],
  ])('refuses, case %#', (bytes, message) => {
    expect(() => parseCifar10(bytes, 'data_batch_1.bin')).toThrow(new FileError(`parseCifar10: data_batch_1.bin: ${message}`));
  });

  test('names the damaged one of several files, and one without a name by its number', () => {
    const damaged = 'label of record 0: expected 0 to 9, got 10; the file is damaged or no binary version of CIFAR-10';
    const batches = [record(1), record(10)];
    expect(() => parseCifar10(batches, ['one.bin', 'two.bin'])).toThrow(new FileError(`parseCifar10: two.bin: ${damaged}`));
    expect(() => parseCifar10(batches, 'one.bin')).toThrow(new FileError(`parseCifar10: batch 1: ${damaged}`));
    expect(parseCifar10([record(1), record(2)], ['one.bin', 'two.bin']).getBatch([0, 1])[1].data).toEqual(Int32Array.of(1, 2));
  });
});

test('parseCifar10 takes bytes of another realm, as Jest’s Buffers are, and refuses what is no bytes', () => {
  const foreign: Uint8Array = vm.runInNewContext('n => new Uint8Array(n)')(3073);
  foreign.set(record(4));
  for (const given of [foreign, [foreign]]) expect(parseCifar10(given, 'f').getBatch([0])[1].data).toEqual(Int32Array.of(4));
  expect(() => parseCifar10(foreign.buffer as unknown as Uint8Array, 'f')).toThrow(
    new ArgumentError('parseCifar10: batch 0 must be a Uint8Array, got an ArrayBuffer; write new Uint8Array(buffer)'),
  );
});

describe('loadCifar10', () => {
  let dir: string;
  beforeEach(() => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), 'chainrule-cifar-'));
  });
  afterEach(() => fs.rmSync(dir, { recursive: true }));

  const hint = 'unpack cifar-10-binary.tar.gz and give the folder it makes, or the one around it';

  test.each(['', 'cifar-10-batches-bin'])("reads both splits from '%s'", (folder) => {
    const at = path.join(dir, folder);
    fs.mkdirSync(at, { recursive: true });
    for (let n = 1; n <= 5; n++) fs.writeFileSync(path.join(at, `data_batch_${n}.bin`), join(record(n, n), record(n - 1, 10 * n)));
    fs.writeFileSync(path.join(at, 'test_batch.bin'), record(8, 1));
    const train = loadCifar10(dir);
    expect(train.length).toBe(10);
    const [images, labels] = train.getBatch([0, 5, 9]);
    expect(labels.data).toEqual(Int32Array.of(1, 2, 4));
    expect([0, 1, 2].map((b) => Math.round(images.data[b * 3072]! * 255))).toEqual([1, 30, 50]);
    expect(loadCifar10(dir, { split: 'test' }).getBatch([0])[1].data).toEqual(Int32Array.of(8));
  });

  test('names the missing or damaged file', () => {
    expect(() => loadCifar10(dir)).toThrow(new FileError(`loadCifar10: folder ${dir} has no file data_batch_1.bin; ${hint}`));
    expect(() => loadCifar10(`${dir}/no`)).toThrow(new FileError(`loadCifar10: there is no folder ${dir}/no; ${hint}`));
    fs.writeFileSync(path.join(dir, 'test_batch.bin'), record(8).subarray(1));
    expect(() => loadCifar10(dir, { split: 'test' })).toThrow(
      new FileError(
        `parseCifar10: ${dir}/test_batch.bin: expected a multiple of 3073 bytes (label and 32×32×3 image), got 3072; ` +
          'the file is truncated or no binary version of CIFAR-10',
      ),
    );
  });

  test('rejects an unknown split, and what is no path', () => {
    expect(() => loadCifar10(undefined as unknown as string)).toThrow(
      new ArgumentError("loadCifar10: dir must be a folder's path, got undefined"),
    );
    expect(() => loadCifar10(dir, { split: 'valid' as 'test' })).toThrow(
      new ArgumentError("loadCifar10: split must be 'train' or 'test', got 'valid'"),
    );
  });
});

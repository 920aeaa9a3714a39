/**
 * A folder of pictures as a dataset: one folder for each class.
 *
 * Letters: C = channels, H and W = height and width in pixels.
 */
import { ArgumentError, FileError, kindOf, shown } from '../core/errors.ts';
import { isIterable, peek } from '../core/describe.ts';
import { checkOptions } from '../core/options.ts';
import { checkPath, errorCode, fileSystem } from '../platform/files.ts';
import { BYTE_TO_UNIT, checkIndex, type AsyncItemDataset, type ImageAndLabel } from './dataset.ts';

/** The part of the package sharp that decodes pictures. Its default export is one. */
export type Sharp = (picture: Uint8Array) => SharpPipeline;

/** What a call of sharp returns. */
export interface SharpPipeline {
  /** Turns the picture as its EXIF orientation tells. */
  autoOrient(): SharpPipeline;
  /** Converts to a colour space. */
  toColourspace(space: string): SharpPipeline;
  /** Drops the alpha channel. */
  removeAlpha(): SharpPipeline;
  /** Gives the values of pixels instead of a file. */
  raw(options: { readonly depth: 'uchar' }): SharpPipeline;
  /** Runs the steps. */
  toBuffer(options: { readonly resolveWithObject: true }): Promise<{
    readonly data: Uint8Array;
    readonly info: { readonly width: number; readonly height: number; readonly channels: number };
  }>;
}

/** Options of imageFolder. */
export interface ImageFolderOptions {
  /** 3 for red, green and blue, or 1 for grey. Default 3. */
  readonly channels?: 1 | 3;
  /**
   * The package sharp. Default: `import('sharp')` where the first picture is decoded, which finds it if it is installed next to chainrule.
   * Not used in a browser.
   */
  readonly sharp?: Sharp;
}

/** A File, as a page gives it: the library's declarations need no types of a page. */
export interface PictureFile {
  readonly name: string;
  /** The path from a folder that the user has chosen; default: none, and `name` is the path. */
  readonly webkitRelativePath?: string;
  /** Its content. */
  arrayBuffer(): Promise<ArrayBuffer>;
}

/** The endings of pictures' names. */
const PICTURE = /\.(png|jpe?g|webp)$/i;

/** The weights of red, green and blue in grey (ITU-R BT.601). */
const GREY = [0.299, 0.587, 0.114] as const;

/** One picture: where its bytes are, and its class. */
interface Picture {
  /** Its path from the folder, for messages and `files`. */
  readonly path: string;
  readonly className: string;
  read(): Promise<Uint8Array>;
}

/**
 * Returns the pictures below a folder as a dataset, decoded when they are read. Each folder in it is a class; classes and files are sorted by
 * name. PNG, JPEG and WebP; other files, and names that begin with a dot, are left out.
 *
 * In Node the package sharp decodes: `npm install sharp`. In a browser the page does; give it the files of an `<input webkitdirectory>`, or
 * `new File([blob], 'cat/1.png')`. Pictures stand as their EXIF orientation tells; an alpha channel is dropped.
 *
 * `get` is asynchronous, so a loop over its loader is a `for await`.
 * Shape:  get returns an image [C,H,W] float32 in [0, 1], of the picture's own size, and a label [] int32
 * Throws: FileError if the folder or its classes are missing, or a class has no picture; later, for a picture that cannot be decoded
 * @param source a folder's path, or files
 * @example const data = withTransform(imageFolder('pictures'), compose(resize(36), centerCrop(32)));
 */
export function imageFolder(
  source: string | Iterable<PictureFile> | ArrayLike<PictureFile>,
  options: ImageFolderOptions = {},
): ImageFolder {
  return new ImageFolder(source, options);
}

/** The dataset that imageFolder returns. */
export class ImageFolder implements AsyncItemDataset<ImageAndLabel> {
  /** The number of images. */
  readonly length: number;
  /** The names of the classes; a label is an index of them. */
  readonly classes: readonly string[];
  /** The pictures' paths from the folder. */
  readonly files: readonly string[];
  readonly #pictures: readonly Picture[];
  readonly #labels: Int32Array;
  readonly #channels: 1 | 3;
  #sharp: Sharp | null;

  /** As imageFolder. */
  constructor(source: string | Iterable<PictureFile> | ArrayLike<PictureFile>, options: ImageFolderOptions = {}) {
    checkOptions('imageFolder', options, ['channels', 'sharp']);
    const { channels = 3, sharp = null } = options;
    if (channels !== 1 && channels !== 3) throw new ArgumentError(`imageFolder: channels must be 1 or 3, got ${shown(channels)}`);
    if (sharp !== null && typeof sharp !== 'function')
      throw new ArgumentError(`imageFolder: sharp must be the default export of the package sharp, got ${kindOf(sharp)}`);
    this.#pictures = typeof source === 'string' ? scan(source) : fromFiles(source);
    this.classes = [...new Set(this.#pictures.map(({ className }) => className))];
    this.files = this.#pictures.map(({ path }) => path);
    this.length = this.#pictures.length;
    const labelOf = new Map(this.classes.map((name, label) => [name, label]));
    this.#labels = Int32Array.from(this.#pictures, ({ className }) => labelOf.get(className)!);
    this.#channels = channels;
    this.#sharp = sharp;
  }

  /** A copy of the labels, as classBalancedSampler takes them. */
  get labels(): Int32Array {
    return this.#labels.slice();
  }

  async get(index: number): Promise<ImageAndLabel> {
    const picture = this.#pictures[checkIndex('imageFolder', index, this.length)]!;
    const pixels = await this.#decode(picture);
    return [toImage(pixels, this.#channels), { data: Int32Array.of(this.#labels[index]!), shape: [], dtype: 'int32' }];
  }

  async #decode(picture: Picture): Promise<Pixels> {
    const isBrowser = typeof createImageBitmap === 'function' && typeof OffscreenCanvas === 'function';
    // Not in the try block: it is no fault of the picture if sharp is missing.
    const sharp = isBrowser ? null : (this.#sharp ??= await importSharp());
    try {
      const content = await picture.read();
      if (sharp === null) return await decodeInBrowser(new Blob([content as Uint8Array<ArrayBuffer>]));
      return await decodeBySharp(sharp, content);
    } catch (error) {
      const why = error instanceof Error ? error.message : errorCode(error);
      throw new FileError(`imageFolder: ${picture.path} cannot be decoded as a picture (${why})`, { cause: error });
    }
  }
}

// — the list of pictures —

const byName = (a: string, b: string): number => (a < b ? -1 : Number(a > b));
const isVisible = (name: string): boolean => !name.startsWith('.');

function scan(folder: string): Picture[] {
  const { fs, path } = fileSystem('imageFolder');
  checkPath('imageFolder', folder);
  const list = (relative: string): { readonly name: string; readonly isFolder: boolean }[] => {
    const names = fs.readdirSync(path.join(folder, relative)).filter(isVisible).sort(byName);
    // Of a link, what it leads to counts.
    return names.map((name) => ({ name, isFolder: fs.statSync(path.join(folder, relative, name)).isDirectory() }));
  };
  const filesBelow = (relative: string): string[] =>
    list(relative).flatMap(({ name, isFolder }) => {
      const below = `${relative}/${name}`;
      if (isFolder) return filesBelow(below);
      return PICTURE.test(name) ? [below] : [];
    });
  try {
    const classes = list('').filter(({ isFolder }) => isFolder);
    if (classes.length === 0) throw new FileError(`imageFolder: ${folder} has no folders; put the pictures of each class into one`);
    return classes.flatMap(({ name: className }) => {
      const files = filesBelow(className);
      if (files.length === 0) throw new FileError(`imageFolder: ${path.join(folder, className)} has no .png, .jpg, .jpeg or .webp file`);
      return files.map((file) => ({ path: file, className, read: () => fs.promises.readFile(path.join(folder, file)) }));
    });
  } catch (error) {
    if (error instanceof FileError) throw error;
    throw new FileError(`imageFolder: cannot read the folder ${folder} (${errorCode(error)})`, { cause: error });
  }
}

function fromFiles(source: Iterable<PictureFile> | ArrayLike<PictureFile>): Picture[] {
  const isList = isIterable(source) || Number.isSafeInteger(peek(source, 'length'));
  const list: readonly PictureFile[] = isList ? Array.from(source) : [];
  if (list.length === 0) throw new ArgumentError(`imageFolder: expected a folder's path, or files, got ${kindOf(source)}`);
  const pictures = list.map((file) => {
    if (typeof peek(file, 'arrayBuffer') !== 'function' || typeof peek(file, 'name') !== 'string')
      throw new ArgumentError(`imageFolder: expected files, got ${kindOf(file)}`);
    const { name, webkitRelativePath } = file;
    // The first folder is the one that the user has chosen.
    const path = webkitRelativePath ? webkitRelativePath.slice(webkitRelativePath.indexOf('/') + 1) : name;
    const [className, ...rest] = path.split('/');
    return { path, className: className!, isPicture: PICTURE.test(path) && path.split('/').every(isVisible), depth: rest.length, file };
  });
  const chosen = pictures.filter(({ isPicture }) => isPicture);
  const loose = chosen.find(({ depth }) => depth === 0);
  if (loose !== undefined) throw new FileError(`imageFolder: ${loose.path} is in no folder of a class, such as cat/${loose.path}`);
  if (chosen.length === 0) throw new FileError('imageFolder: none of the files is a .png, .jpg, .jpeg or .webp file');
  chosen.sort((a, b) => byName(a.className, b.className) || byName(a.path, b.path));
  return chosen.map(({ path, className, file }) => ({ path, className, read: async () => new Uint8Array(await file.arrayBuffer()) }));
}

// — decoding —

/** The pixels of a picture, row by row, with the channels of a pixel side by side. */
interface Pixels {
  readonly data: Uint8Array | Uint8ClampedArray;
  readonly width: number;
  readonly height: number;
  /** 3, or 4 with alpha. */
  readonly channels: number;
}

async function importSharp(): Promise<Sharp> {
  // Not a literal: bundlers would look for the package in programs that decode no pictures.
  const name = 'sharp';
  try {
    const { default: sharp } = (await import(/* @vite-ignore */ name)) as { readonly default: Sharp };
    return sharp;
  } catch (error) {
    throw new FileError(
      `imageFolder: pictures are decoded by the package sharp, which cannot be imported (${errorCode(error)}); ` +
        'npm install sharp, or give { sharp } where it is installed elsewhere',
      { cause: error },
    );
  }
}

async function decodeBySharp(sharp: Sharp, bytes: Uint8Array): Promise<Pixels> {
  const pipeline = sharp(bytes).autoOrient().toColourspace('srgb').removeAlpha().raw({ depth: 'uchar' });
  const { data, info } = await pipeline.toBuffer({ resolveWithObject: true });
  return { data, ...info };
}

async function decodeInBrowser(picture: Blob): Promise<Pixels> {
  const bitmap = await createImageBitmap(picture, { premultiplyAlpha: 'none' });
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext('2d', { willReadFrequently: true });
  if (context === null) throw new Error('this browser has no 2d canvas');
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return { data: context.getImageData(0, 0, width, height).data, width, height, channels: 4 };
}

/** Returns the image [C,H,W] in [0, 1]. */
function toImage({ data, width, height, channels }: Pixels, wanted: 1 | 3): ImageAndLabel[0] {
  const area = width * height;
  const image = new Float32Array(wanted * area);
  for (let i = 0; i < area; i++) {
    const at = i * channels;
    if (wanted === 1) image[i] = (GREY[0] * data[at]! + GREY[1] * data[at + 1]! + GREY[2] * data[at + 2]!) / 255;
    else for (let c = 0; c < 3; c++) image[c * area + i] = BYTE_TO_UNIT[data[at + c]!]!;
  }
  return { data: image, shape: [wanted, height, width], dtype: 'float32' };
}

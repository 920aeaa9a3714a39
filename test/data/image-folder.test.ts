import { existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { ArgumentError, FileError } from 'chainrule';
import { type ArrayData, DataLoader, type ImageAndLabel, imageFolder, type Sharp, transforms, withTransform } from 'chainrule/data';
import { PNG } from 'pngjs';
import { afterAll, describe, expect, test } from 'vitest';

// Folders of pictures. sharp decodes them where `npm ci --prefix examples/pictures` has installed it.

const folder = mkdtempSync(join(tmpdir(), 'chainrule-pictures-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const sharpFile = new URL('../../examples/pictures/node_modules/sharp/dist/index.mjs', import.meta.url);
/** More of sharp than imageFolder needs: the encoders that make the pictures. */
interface Encoder {
  withMetadata(options: { readonly orientation: number }): Encoder;
  jpeg(options: object): Encoder;
  webp(options: object): Encoder;
  png(options: object): Encoder;
  toBuffer(): Promise<Uint8Array>;
}
type FullSharp = (picture: Uint8Array, options?: object) => Encoder & ReturnType<Sharp>;
const sharp: FullSharp | null = existsSync(sharpFile)
  ? ((await import(/* @vite-ignore */ sharpFile.href)) as { default: FullSharp }).default
  : null;

/** A PNG of the colours, in rows of two. */
function png(colors: readonly (readonly number[])[], options: object = {}): Uint8Array {
  const picture = new PNG({ width: 2, height: colors.length / 2 });
  picture.data.set(colors.flatMap(([r = 0, g = 0, b = 0, a = 255]) => [r, g, b, a]));
  return PNG.sync.write(picture, { colorType: 2, ...options });
}

const COLORS = [
  [255, 0, 0],
  [10, 20, 30],
  [0, 255, 0],
  [200, 100, 50],
] as const;

function tree(name: string, files: Readonly<Record<string, Uint8Array | string>>): string {
  const root = join(folder, name);
  mkdirSync(root, { recursive: true });
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content);
  }
  return root;
}

/** The values of an image, pixel by pixel, as bytes. */
const bytesOf = ({ data, shape: [channels, h, w] }: ArrayData): number[][] =>
  Array.from({ length: h! * w! }, (_, i) => Array.from({ length: channels! }, (_c, c) => data[c * h! * w! + i]! * 255));

describe('the list of pictures', () => {
  test('has a class for each folder, sorted, with files of folders inside, and without what is no picture', () => {
    const root = tree('list', {
      'dog/b.png': '',
      'dog/a.JPG': '',
      'dog/deep/c.webp': '',
      'dog/notes.txt': '',
      'dog/.hidden.png': '',
      'cat/10.jpeg': '',
      'cat/9.png': '',
      '.cache/x.png': '',
      'readme.png': '',
    });
    symlinkSync(join(root, 'cat'), join(root, 'Eel'));
    const data = imageFolder(root);
    expect(data.classes).toEqual(['Eel', 'cat', 'dog']);
    expect(data.files).toEqual(['Eel/10.jpeg', 'Eel/9.png', 'cat/10.jpeg', 'cat/9.png', 'dog/a.JPG', 'dog/b.png', 'dog/deep/c.webp']);
    expect(data.labels).toEqual(Int32Array.of(0, 0, 1, 1, 2, 2, 2));
    expect(data.length).toBe(7);
    data.labels[0] = 9;
    expect(data.labels[0]).toBe(0);
  });

  test('of the files that a page gives is the same', () => {
    const file = (name: string, path = ''): File => Object.defineProperty(new File([], name), 'webkitRelativePath', { value: path });
    const chosen = [file('2.png', 'pictures/dog/2.png'), file('1.png', 'pictures/cat/1.png'), file('.DS_Store', 'pictures/.DS_Store')];
    expect(imageFolder(chosen).files).toEqual(['cat/1.png', 'dog/2.png']);
    expect(imageFolder([file('b/1.png'), file('a/2.png')]).classes).toEqual(['a', 'b']);
    const unsorted = ['b/1.png', 'a/3.png', 'a/.2.png', '.a/4.png', 'a/1.png', 'a/2.png'].map((name) => file(name));
    expect(imageFolder(unsorted).files).toEqual(['a/1.png', 'a/2.png', 'a/3.png', 'b/1.png']);
    // As a FileList without an iterator.
    expect(imageFolder({ length: 1, 0: file('a/1.png') }).files).toEqual(['a/1.png']);
    expect(() => imageFolder([file('1.png')])).toThrow(new FileError('imageFolder: 1.png is in no folder of a class, such as cat/1.png'));
    expect(() => imageFolder([file('a/1.txt')])).toThrow(
      new FileError('imageFolder: none of the files is a .png, .jpg, .jpeg or .webp file'),
    );
    const { name, arrayBuffer } = { name: 'a/1.png', arrayBuffer: async () => new ArrayBuffer(0) };
    for (const [wrong, kind] of [
      [3, 'a number'],
      [{ name }, 'an object'],
      [{ arrayBuffer }, 'an object'],
    ] as const)
      expect(() => imageFolder([wrong as never])).toThrow(new ArgumentError(`imageFolder: expected files, got ${kind}`));
    expect(() => imageFolder(3 as never)).toThrow(new ArgumentError("imageFolder: expected a folder's path, or files, got a number"));
    expect(() => imageFolder([])).toThrow(new ArgumentError("imageFolder: expected a folder's path, or files, got an array"));
  });

  test('without pictures is refused', () => {
    const fails = (path: string, message: string): void =>
      expect(() => imageFolder(path)).toThrow(new FileError(`imageFolder: ${message}`));
    fails(join(folder, 'none'), `cannot read the folder ${join(folder, 'none')} (ENOENT)`);
    const flat = tree('flat', { '1.png': '' });
    fails(flat, `${flat} has no folders; put the pictures of each class into one`);
    const empty = tree('empty', { 'cat/1.png': '', 'dog/1.gif': '' });
    fails(empty, `${join(empty, 'dog')} has no .png, .jpg, .jpeg or .webp file`);
  });

  test('takes only the options it has', () => {
    const root = tree('options', { 'a/1.png': '' });
    expect(() => imageFolder(root, { channels: 4 as never })).toThrow(new ArgumentError('imageFolder: channels must be 1 or 3, got 4'));
    expect(() => imageFolder(root, { chanels: 1 } as never)).toThrow(/^imageFolder: unknown option 'chanels'/);
    expect(() => imageFolder(root, { sharp: {} as never })).toThrow(
      new ArgumentError('imageFolder: sharp must be the default export of the package sharp, got an object'),
    );
  });
});

test('without sharp, an error names the package and the picture’s sample', async () => {
  const data = imageFolder(tree('without', { 'a/1.png': png(COLORS) }));
  const run = async (): Promise<void> => {
    for await (const _ of new DataLoader(data)) expect.unreachable();
  };
  await expect(run()).rejects.toThrow(
    /^DataLoader: sample 0: imageFolder: pictures are decoded by the package sharp, which cannot be imported \(.+\); npm install sharp, or give { sharp } where it is installed elsewhere$/,
  );
});

describe.skipIf(sharp === null)('pictures decoded by sharp', () => {
  const options = { sharp: sharp! };
  const one = async (name: string, content: Uint8Array, more: object = {}): Promise<ImageAndLabel> =>
    imageFolder(tree(name, { 'a/1.png': content }), { ...options, ...more }).get(0);

  test('have the bytes of the file over 255, channel by channel', async () => {
    const [image, label] = await one('plain', png(COLORS));
    expect([image.shape, image.dtype, label.shape, label.dtype]).toEqual([[3, 2, 2], 'float32', [], 'int32']);
    expect(Array.from(image.data)).toEqual([255, 10, 0, 200, 0, 20, 255, 100, 0, 30, 0, 50].map((b) => Math.fround(b / 255)));
  });

  test('of other kinds have three channels too: grey, with alpha, of 16 bits, with a palette', async () => {
    const rounded = ([image]: ImageAndLabel): number[][] => bytesOf(image).map((pixel) => pixel.map(Math.round));
    const grey = COLORS.map(([r]) => [r, r, r]);
    expect(rounded(await one('grey', png(grey, { colorType: 0 })))).toEqual(grey);
    expect(
      rounded(
        await one(
          'alpha',
          png(
            COLORS.map((c) => [...c, 128]),
            { colorType: 6 },
          ),
        ),
      ),
    ).toEqual(COLORS);
    expect(rounded(await one('palette', await sharp!(png(COLORS)).png({ palette: true }).toBuffer()))).toEqual(COLORS);
    const deep = Uint16Array.from(
      COLORS.flatMap((color) => [...color, 255]),
      (b) => b * 257,
    );
    const bits16 = PNG.sync.write({ width: 2, height: 2, data: Buffer.from(deep.buffer) } as PNG, { bitDepth: 16, colorType: 2 });
    expect(bits16[24]).toBe(16);
    expect(rounded(await one('deep', bits16))).toEqual(COLORS);
  });

  test('in grey are weighted sums', async () => {
    const [image] = await one('weights', png(COLORS), { channels: 1 });
    expect(image.shape).toEqual([1, 2, 2]);
    COLORS.forEach(([r, g, b], i) => expect(image.data[i]! * 255).toBeCloseTo(0.299 * r + 0.587 * g + 0.114 * b, 4));
  });

  test('stand as their orientation tells', async () => {
    const turned = await sharp!(png(COLORS.slice(0, 2)))
      .withMetadata({ orientation: 6 })
      .jpeg({ quality: 100 })
      .toBuffer();
    expect((await one('turned', turned))[0].shape).toEqual([3, 2, 1]);
  });

  test('of JPEG and WebP, of several sizes, train after a transform', async () => {
    const wide = png([...COLORS, ...COLORS]);
    const root = tree('formats', {
      'a/1.jpg': await sharp!(wide).jpeg({ quality: 100 }).toBuffer(),
      'a/2.webp': await sharp!(wide).webp({ lossless: true }).toBuffer(),
      'b/3.png': png(COLORS),
    });
    const data = withTransform(imageFolder(root, options), transforms.resize([2, 2]));
    const seen: unknown[] = [];
    for await (const [x, y] of new DataLoader(data, { batchSize: 3 })) seen.push(x.shape, y.toArray());
    expect(seen).toEqual([
      [3, 3, 2, 2],
      [0, 0, 1],
    ]);
    const [lossless] = await imageFolder(root, options).get(1);
    expect(bytesOf(lossless).map((pixel) => pixel.map(Math.round))).toEqual([...COLORS, ...COLORS]);
    const [jpeg] = await imageFolder(root, options).get(0);
    expect(jpeg.shape).toEqual([3, 4, 2]);
  });

  test('and files as a page gives them are the same', async () => {
    const file = new File([png(COLORS) as Uint8Array<ArrayBuffer>], 'a/1.png');
    expect(await imageFolder([file], options).get(0)).toEqual(await one('file', png(COLORS)));
  });

  test('that are damaged, or gone, are named', async () => {
    await expect(one('damaged', Uint8Array.of(1, 2, 3))).rejects.toThrow(/^imageFolder: a\/1\.png cannot be decoded as a picture \(.+\)$/);
    await expect(one('cut', png(COLORS).subarray(0, 50))).rejects.toThrow(FileError);
    const root = tree('gone', { 'a/1.png': png(COLORS) });
    const data = imageFolder(root, options);
    rmSync(join(root, 'a/1.png'));
    await expect(data.get(0)).rejects.toThrow(/^imageFolder: a\/1\.png cannot be decoded as a picture \(ENOENT/);
    await expect(data.get(0)).rejects.toMatchObject({ cause: { code: 'ENOENT' } });
    await expect(data.get(1)).rejects.toThrow(new ArgumentError('imageFolder: index 1 is out of range for 1 samples'));
  });
});

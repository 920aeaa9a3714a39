/**
 * The images: a square or a frame, and a warm or a cool band at the opposite edge. A warm band exchanges the two classes, so neither
 * the shape nor the band alone tells the class.
 */
import { tensor, type Tensor } from 'chainrule';
import { syntheticCifar } from 'chainrule/data';

/** The classes, which a warm band exchanges. */
export const CLASSES = ['A: square on cool, frame on warm', 'B: frame on cool, square on warm'] as const;

export interface Picture {
  /** The index in the data set. */
  readonly index: number;
  readonly shape: 'square' | 'frame';
  readonly band: 'warm' | 'cool';
  /** 0 or 1. */
  readonly label: number;
}

const SQUARE = 2;
const FRAME = 3;

/** How many images of the data set are looked through for squares and frames. */
const SEARCHED = 6000;
const data = syntheticCifar({ length: SEARCHED });

/** The squares and frames among the images, in the order of the data set. */
function* pictures(): Generator<Picture> {
  for (let index = 0; index < SEARCHED; index++) {
    const { shape, context, label } = data.describe(index);
    if (shape !== SQUARE && shape !== FRAME) continue;
    yield { index, shape: shape === SQUARE ? 'square' : 'frame', band: context === 1 ? 'warm' : 'cool', label: label - SQUARE };
  }
}

const KINDS = ['square warm', 'frame warm', 'square cool', 'frame cool'] as const;
const kindOf = ({ shape, band }: Picture): string => `${shape} ${band}`;

/** Returns `count` pictures of each of the four kinds, those behind the first `skipped` of each. */
function balanced(skipped: number, count: number): Picture[] {
  const found = new Map<string, Picture[]>(KINDS.map((kind) => [kind, []]));
  for (const picture of pictures()) {
    found.get(kindOf(picture))!.push(picture);
    if (KINDS.every((kind) => found.get(kind)!.length >= skipped + count)) break;
  }
  const each = KINDS.map((kind) => found.get(kind)!.slice(skipped, skipped + count));
  // One of each kind after the other, so that every batch has all of them.
  return Array.from({ length: count }, (_, i) => each.map((list) => list[i]!)).flat();
}

const SHOWN = 2;
const TESTED = 10;
const TRAINED = 140;

/** The pictures to choose from: two of each kind. The page looks for these, so they are the first. */
export const shownPictures = (): Picture[] => balanced(0, SHOWN);
/** Others, for the accuracy. */
export const testPictures = (): Picture[] => balanced(SHOWN, TESTED);
/** The pictures that training uses. */
export const trainingPictures = (): Picture[] => balanced(SHOWN + TESTED, TRAINED);

/** Returns the images of the pictures, [N,3,32,32], normalized to about zero mean and unit deviation. */
export function imagesOf(list: readonly Picture[]): Tensor {
  const [images] = data.getBatch(list.map((p) => p.index));
  return tensor(images.data).reshape([list.length, 3, SIZE, SIZE]).sub(0.5).div(0.22);
}

/** Returns the labels of the pictures, [N]. */
export function labelsOf(list: readonly Picture[]): Tensor {
  return tensor(
    list.map((p) => p.label),
    { dtype: 'int32' },
  );
}

/** Height and width of the images. */
export const SIZE = 32;

/** Returns the colours of a picture as bytes: red, green, blue and opacity of each pixel. */
export function pixelsOf({ index }: Picture): Uint8ClampedArray<ArrayBuffer> {
  const [{ data: values }] = data.getBatch([index]);
  const area = SIZE * SIZE;
  const pixels = new Uint8ClampedArray(4 * area).fill(255);
  for (let i = 0; i < area; i++) {
    for (let c = 0; c < 3; c++) pixels[4 * i + c] = Math.round(255 * (values[c * area + i] as number));
  }
  return pixels;
}

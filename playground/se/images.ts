/**
 * The pictures, from the library's synthetic data set.
 */
import { tensor, type Tensor } from 'chainrule';
import { syntheticCifar } from 'chainrule/data';
import { type Kind, KINDS, SHOWN, SIZE } from './pictures.ts';

export interface Picture extends Kind {
  /** The index in the data set. */
  readonly index: number;
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

/** Returns `count` pictures of each of the four kinds, those behind the first `skipped` of each. */
function balanced(skipped: number, count: number): Picture[] {
  const found = KINDS.map((): Picture[] => []);
  for (const picture of pictures()) {
    found[KINDS.findIndex(({ shape, band }) => shape === picture.shape && band === picture.band)]!.push(picture);
    if (found.every((list) => list.length >= skipped + count)) break;
  }
  const each = found.map((list) => list.slice(skipped, skipped + count));
  // One of each kind after the other, so that every batch has all of them.
  return Array.from({ length: count }, (_, i) => each.map((list) => list[i]!)).flat();
}

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

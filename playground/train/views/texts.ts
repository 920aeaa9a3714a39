/**
 * Sentences that depend on the settings.
 */
import { withMinus } from '../../ui/numbers.ts';
import type { Placement, TrainSettings } from '../settings.ts';

export const PLACEMENT_TITLES: Readonly<Record<Placement, string>> = {
  standard: 'after each ReLU',
  inner: 'before each ReLU',
  pre: 'before each convolution',
  first: 'after the first ReLU only',
  last: 'after the last ReLU only',
};

/** Returns the settings in one line. */
export function summaryOf({ data, context, placement, reduction, squeeze, gate, batchSize, seed }: TrainSettings): string {
  const images = data === 'mnist' ? 'MNIST' : `synthetic images, label by ${context === 'distant' ? 'shape and band' : 'shape alone'}`;
  return `${images}; SE ${PLACEMENT_TITLES[placement]}, r = ${reduction}, ${squeeze}, ${gate}; batch ${batchSize}; seed ${seed}`;
}

/** Says what determines the label of an image. */
export function ruleOf({ data, context }: TrainSettings): string {
  if (data === 'mnist')
    return 'Handwritten digits. Nothing in the rest of the image changes what a stroke means, so SE has little to gain.';
  const places = 'A shape is at one edge, a colour band at the opposite one.';
  if (context === 'none') return `${places} The label is the shape; the band means nothing.`;
  return `${places} A warm band turns disc ↔ ring, square ↔ frame, plus ↔ X. No filter sees both.`;
}

/** Says how to read the heat maps. */
export function gatesNoteOf({ data, gate }: TrainSettings): string {
  const negative = gate === 'tanh' ? ' The other colour is a negative scale.' : '';
  const reading = `A column is a channel, a row a class; the stronger the colour, the wider the gate is open.${negative}`;
  if (data === 'mnist') return reading;
  return (
    `${reading} SE has to detect the band: its gates must differ between warm and cool images of one shape. The strip below shows this ` +
    'difference; channels are sorted by it, from those that a warm band closes to those that it opens.'
  );
}

/** Returns what stands below the number of threads. */
export function threadsCaption(threads: number): string {
  if (!crossOriginIsolated) return 'thread; a cross-origin isolated page has more';
  return threads === 1 ? 'thread' : 'threads';
}

/** The difference that two digits can show. */
const VISIBLE = 0.005;

/** Says which channel's mean scale a warm band changes most. */
export function findingOf(cool: readonly number[], warm: readonly number[]): string {
  if (![...cool, ...warm].every(Number.isFinite)) return 'The gates are not finite numbers.';
  const changes = cool.map((x, c) => Math.abs(warm[c]! - x));
  const most = Math.max(...changes);
  if ([...cool, ...warm].every((x) => Math.abs(x) < VISIBLE)) return 'All gates are closed, for both bands.';
  if (most < VISIBLE) return 'No channel differs between the bands.';
  const channel = changes.indexOf(most);
  return `Channel ${channel + 1} differs most: ${scaleText(cool[channel]!)} for a cool band, ${scaleText(warm[channel]!)} for a warm one.`;
}

function scaleText(x: number): string {
  return withMinus(x.toFixed(2));
}

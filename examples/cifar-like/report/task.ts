/**
 * The picture of the synthetic task: two images with the same shape, one under a cool and one under a warm band.
 */
import { SHAPES, type SyntheticCifar } from 'chainrule/data';
import type { Data } from '../data.ts';
import type { Settings } from '../options.ts';
import { type Html, html } from './html.ts';
import { imageUrl } from './samples.ts';
import { svg, text } from './svg.ts';

/** Units of the drawing for a pixel of the image. */
const SCALE = 8;
const SIZE = 32 * SCALE;
const TOP = 30;
/** Pixels that the band is deep, that the shape is wide, and that the last convolution of the tiny net sees. */
const BAND = 10;
const SHAPE = 9;
const FIELD = 18;
/** The shape of the picture: a square, which a warm band turns into a frame. */
const SQUARE = SHAPES.indexOf('square');
const PARTNERS = [0, 2, 4].map((s) => `${SHAPES[s]!} and ${SHAPES[s + 1]!}`).join(', ');

/** Returns a section that shows the task; null for real images, which need no picture. */
export function taskSection({ synthetic, bands }: Data, { model, context }: Settings): Html | null {
  if (synthetic === null || bands === null) return null;
  const isNarrow = model === 'tiny' && context === 'distant';
  const field = isNarrow
    ? html`<p>The dashed square is all that the last convolution sees at once: ${FIELD}×${FIELD} pixels, never shape and band together.
  Only a gate that depends on the whole image can carry the band to the shape.</p>`
    : wideField(context);
  const rule =
    context === 'distant'
      ? html`<p>Both images show the same shape. Under a <b class="cool">cool</b> band the label is the shape. A <b class="warm">warm</b> band at the
  opposite edge flips it: ${PARTNERS} change places. Stripes, checker and triangle keep their names under any band.</p>`
      : html`<p>Both images show the same shape, and have the same label: this is the control, where the band means nothing and SE should gain nothing.</p>`;
  const cards = bands.map((band, number) => example(synthetic, number, `${band} band`, isNarrow));
  return html`<section>
  <h2>The task</h2>
  <div class="task">${cards}<div class="rule">${rule}${field}</div></div>
</section>`;
}

/** What a residual net sees; null for the control, where it does not matter. */
function wideField(context: Settings['context']): Html | null {
  if (context !== 'distant') return null;
  return html`<p>The last convolutions of a residual net see all of the image, shape and band at once, and need no SE for it.</p>`;
}

/** Draws the first test image with a square at the left edge and the given band. */
function example(images: SyntheticCifar, band: number, bandName: string, showField: boolean): Html {
  const index = Array.from({ length: images.length }, (_, i) => i).find((i) => {
    const { shape, context, side } = images.describe(i);
    return shape === SQUARE && context === band && side === 'left';
  })!;
  const { shape, label, corner } = images.describe(index);
  const [x, y] = corner;
  const frame = (left: number, top: number, width: number, height: number, kind: string) =>
    html`<rect class="${kind}" x="${SCALE * left}" y="${TOP + SCALE * top}" width="${SCALE * width}" height="${SCALE * height}" rx="3"/>`;
  const shapeName = SHAPES[shape]!;
  const labelName = SHAPES[label]!;
  // Around the shape, as far as the image goes.
  const fieldTop = Math.min(Math.max(y + Math.floor((SHAPE - FIELD) / 2), 0), 32 - FIELD);
  const kind = band === 0 ? 'cool' : 'warm';
  const parts = [
    text(0, 13, `shape: ${shapeName}`, { anchor: 'start' }),
    text(SIZE, 13, bandName, { anchor: 'end', kind: `name ${kind}` }),
    html`<image href="${imageUrl(images, index)}" y="${TOP}" width="${SIZE}" height="${SIZE}"/>`,
    ...(showField ? [frame(0, fieldTop, FIELD, FIELD, 'field')] : []),
    frame(x, y, SHAPE, SHAPE, 'mark'),
    frame(32 - BAND, 0, BAND, 32, `mark ${kind}`),
  ];
  return html`<figure>
  ${svg(SIZE, TOP + SIZE, `An image with a ${shapeName} at the left edge and a ${bandName} at the right one; its label is ${labelName}.`, parts)}
  <figcaption>label: <b>${labelName}</b>${label === shape ? '' : ', flipped'}</figcaption>
</figure>`;
}

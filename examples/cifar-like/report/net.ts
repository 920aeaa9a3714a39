/**
 * Drawings of the nets of a run: the layers, a residual block, and the SE block, with the sizes that the settings give.
 */
import type { Data } from '../data.ts';
import { depthOf, titleOf, WIDTHS } from '../model.ts';
import type { Settings } from '../options.ts';
import { type Html, html } from './html.ts';
import { arrow, box, svg, text } from './svg.ts';

const WIDTH = 340;
/** The column of the layers. */
const COLUMN = { x: 0, width: 212 };
const MIDDLE = COLUMN.x + COLUMN.width / 2;

/** Parts of a drawing, and how high it is so far. */
class Drawing {
  readonly parts: Html[] = [];
  y = 2;

  /** Adds a box to the column, with a note at its right. */
  box(label: string, { height = 30, kind = 'layer', note = '' } = {}): void {
    this.parts.push(box({ ...COLUMN, y: this.y, height }, label, kind));
    if (note !== '') this.parts.push(text(WIDTH, this.y + height / 2, note, { anchor: 'end', kind: 'muted' }));
    this.y += height;
  }

  /** Adds an arrow down, with a note beside it. */
  arrow(note = ''): void {
    const length = note === '' ? 18 : 26;
    this.parts.push(arrow([MIDDLE, this.y], [MIDDLE, this.y + length]));
    if (note !== '') this.parts.push(text(MIDDLE + 12, this.y + length / 2, note, { anchor: 'start', kind: 'muted' }));
    this.y += length;
  }

  finish(title: string): Html {
    return svg(WIDTH, this.y + 2, title, this.parts);
  }
}

/** Returns the section that shows the nets. */
export function netSection(settings: Settings, data: Data): Html {
  const { se, model } = settings;
  const withSE = se !== false;
  const title = titleOf(model, withSE);
  const difference = html`<p class="note">The net without SE is the same without the <b class="se">blue</b> blocks. Both start from the same weights in
  all other layers, and get the same batches.</p>`;
  const figures = [html`<figure><figcaption>${withSE ? title : 'The net without SE'}</figcaption>${layers(settings, data)}</figure>`];
  if (model !== 'tiny') figures.push(html`<figure><figcaption>A residual block</figcaption>${residualBlock(settings)}</figure>`);
  if (withSE) figures.push(html`<figure><figcaption>An SE block</figcaption>${seBlock(settings)}</figure>`);
  return html`<section>
  <h2>${se === null ? 'The nets' : 'The net'}</h2>
  ${se === null ? difference : null}
  <div class="nets">${figures}</div>
</section>`;
}

/** Returns the channels of an SE block and of its hidden layer: `16 → 4 → 16`. */
function widthsOf(channels: number, { reduction }: Settings): string {
  return `${channels} → ${Math.max(1, Math.floor(channels / reduction))} → ${channels}`;
}

function layers(settings: Settings, { shape, classes }: Data): Html {
  const { model, se } = settings;
  const [inChannels, height, width] = shape as [number, number, number];
  const drawing = new Drawing();
  const blocks = model === 'tiny' ? null : (depthOf(model) - 2) / 6;
  const sizeAt = (stage: number, size: number): number => (blocks === null ? Math.floor(size / 2 ** stage) : Math.ceil(size / 2 ** stage));
  const size = (channels: number, stage: number): string => `${channels} × ${sizeAt(stage, height)}×${sizeAt(stage, width)}`;
  drawing.box('image', { height: 26, kind: 'data', note: size(inChannels, 0) });
  if (blocks !== null) {
    drawing.arrow();
    drawing.box('3×3 conv, batch norm, ReLU', { note: size(WIDTHS[0], 0) });
  }
  WIDTHS.forEach((channels, stage) => {
    drawing.arrow(blocks === null && stage > 0 ? '2×2 max pool' : '');
    const label = blocks === null ? '3×3 conv, batch norm, ReLU' : `${blocks} residual blocks`;
    drawing.box(label, { note: size(channels, stage) });
    if (se !== false) {
      const first = settings.placement === 'pre' && blocks !== null && stage > 0 ? `${WIDTHS[stage - 1]}, ` : '';
      const each = blocks === null ? `SE  ${widthsOf(channels, settings)}` : `each with SE, r = ${settings.reduction}`;
      drawing.box(each, { height: 24, kind: 'attention', note: blocks === null ? '' : `SE: ${first}${channels} channels` });
    }
  });
  drawing.arrow('mean of each channel');
  drawing.box(`linear  ${WIDTHS[2]} → ${classes.length}`, { note: `${classes.length} classes` });
  const gates = se === false ? 'without SE' : `with SE, reduction ${settings.reduction}`;
  return drawing.finish(`The layers from the image to the classes, ${WIDTHS.join(', ')} channels, ${gates}.`);
}

/** The block of the residual nets, with SE in its place. */
function residualBlock({ placement, se }: Settings): Html {
  const drawing = new Drawing();
  const has = (place: Settings['placement']): boolean => se !== false && placement === place;
  const attention = (): void => {
    drawing.arrow();
    drawing.box('SE', { height: 26, kind: 'attention' });
  };
  const shortcut = 300;
  drawing.box('x', { height: 24, kind: 'data' });
  const start = drawing.y - 12;
  if (has('pre')) attention();
  drawing.arrow();
  drawing.box('3×3 conv, batch norm, ReLU');
  if (has('conv3x3')) attention();
  drawing.arrow();
  drawing.box('3×3 conv, batch norm');
  if (has('standard')) attention();
  drawing.arrow();
  const sum = drawing.y + 14;
  drawing.parts.push(
    html`<circle class="node" cx="${MIDDLE}" cy="${sum}" r="14"/>`,
    text(MIDDLE, sum, '+'),
    arrow([COLUMN.width, start], [shortcut, start], [shortcut, sum], [MIDDLE + 14, sum]),
    text(shortcut - 8, (start + sum) / 2 - 30, 'shortcut', { anchor: 'end', kind: 'muted' }),
  );
  if (has('identity')) drawing.parts.push(box({ x: shortcut - 32, y: (start + sum) / 2 - 13, width: 64, height: 26 }, 'SE', 'attention'));
  drawing.y = sum + 14;
  drawing.arrow();
  drawing.box('ReLU', { height: 26 });
  if (has('post')) attention();
  drawing.arrow();
  drawing.box('y', { height: 24, kind: 'data' });
  const place = se === false ? 'without SE' : `with SE in the placement ${placement}`;
  return drawing.finish(`A residual block of two 3×3 convolutions and a shortcut, ${place}.`);
}

const SQUEEZES = { avg: 'mean over H×W', max: 'maximum over H×W', 'avg+max': 'mean + maximum over H×W' } as const;

/** One SE block: the path through the squeeze, and x itself, which the scales multiply. */
function seBlock(settings: Settings): Html {
  const { squeeze, gate, reduction } = settings;
  const drawing = new Drawing();
  const direct = 300;
  drawing.box('x   C × H×W', { height: 26, kind: 'data' });
  const start = drawing.y - 13;
  drawing.arrow();
  drawing.box(SQUEEZES[squeeze], { kind: 'attention' });
  drawing.arrow('z: C numbers');
  drawing.box(`linear  C → C/${reduction}, ReLU`, { kind: 'attention' });
  drawing.arrow();
  drawing.box(`linear  C/${reduction} → C, ${gate}`, { kind: 'attention' });
  drawing.arrow('s: C scales');
  const product = drawing.y + 14;
  drawing.parts.push(
    html`<circle class="node" cx="${MIDDLE}" cy="${product}" r="14"/>`,
    text(MIDDLE, product, '×'),
    arrow([COLUMN.width, start], [direct, start], [direct, product], [MIDDLE + 14, product]),
    text(direct - 8, (start + product) / 2, 'x itself', { anchor: 'end', kind: 'muted' }),
  );
  drawing.y = product + 14;
  drawing.arrow();
  drawing.box('y = x · s   C × H×W', { height: 26, kind: 'data' });
  drawing.y += 22;
  drawing.parts.push(
    text(0, drawing.y - 6, `C → C/r → C: ${WIDTHS.map((c) => widthsOf(c, settings)).join(', ')}`, { anchor: 'start', kind: 'muted' }),
  );
  const title = `Squeeze-and-excitation: the ${SQUEEZES[squeeze]} of each channel, two linear layers and a ${gate} give one scale for each channel.`;
  return drawing.finish(title);
}

/**
 * The test images: one in large with its shape and its band marked, others to choose from, and those that a net gets wrong.
 */
import { fill, h, svg } from '../../ui/dom.ts';
import type { Pictures } from '../messages.ts';
import type { Views } from '../observe.ts';
import { NETS, type NetName, type PerNet, perNet, TITLES } from '../nets.ts';
import { drawImage, pictureCanvas } from './pixels.ts';

/** How many images can be chosen, and how many mistakes of each net are shown. */
const CHOICES = 24;
const MISTAKES = 8;

/** The extent of a shape and of a band in pixels. */
const SHAPE_SIZE = 9;
const BAND_WIDTH = 10;

export interface ImagesView {
  /** The chosen image. */
  readonly chosen: HTMLElement;
  /** The images to choose from. */
  readonly choices: HTMLElement;
  readonly mistakes: HTMLElement;
  /** Shows the images of a new run. */
  readonly setPictures: (pictures: Pictures) => void;
  readonly choose: (image: number) => void;
  readonly update: (evaluation: Views['evaluation']) => void;
}

export function imagesView(onChoose: (image: number) => void): ImagesView {
  let pictures: Pictures | null = null;
  let image = 0;
  let predictions: PerNet<Uint8Array> | null = null;
  const choices = h('div', { class: 'choices', role: 'group', 'aria-label': 'Test images to choose from' });
  const chosen = chosenView();
  const mistakes = perNet(mistakesView);
  const showChosen = (): void => {
    if (pictures === null) return;
    chosen.show(pictures, image, predictions);
    [...choices.children].forEach((button, i) => button.setAttribute('aria-pressed', String(i === image)));
  };
  return {
    chosen: chosen.element,
    choices,
    mistakes: h('div', { class: 'pair' }, ...NETS.map((name) => mistakes[name].element)),
    setPictures: (given) => {
      pictures = given;
      predictions = null;
      const count = Math.min(CHOICES, given.labels.length);
      fill(choices, ...Array.from({ length: count }, (_, i) => choiceButton(given, i, () => onChoose(i))));
      showChosen();
    },
    choose: (index) => {
      image = index;
      showChosen();
    },
    update: (evaluation) => {
      predictions = perNet((name) => evaluation[name].predictions);
      showChosen();
      if (pictures !== null) for (const name of NETS) mistakes[name].show(pictures, evaluation[name].predictions);
    },
  };
}

function choiceButton(pictures: Pictures, index: number, onClick: () => void): HTMLElement {
  const label = `image ${index + 1}: ${pictures.classes[pictures.labels[index]!]!}`;
  const canvas = pictureCanvas();
  drawImage(canvas, pictures, index, label);
  return h('button', { type: 'button', class: 'choice', 'aria-pressed': 'false', title: label, onclick: onClick }, canvas);
}

interface ChosenView {
  readonly element: HTMLElement;
  readonly show: (pictures: Pictures, image: number, predictions: PerNet<Uint8Array> | null) => void;
}

function chosenView(): ChosenView {
  const canvas = pictureCanvas();
  const marks = svg('svg', { viewBox: '0 0 32 32', class: 'marks', 'aria-hidden': 'true' });
  const facts = h('dl', { class: 'facts' });
  return {
    element: h('div', { class: 'chosen' }, h('div', { class: 'marked' }, canvas, marks), facts),
    show: (pictures, image, predictions) => {
      const { labels, samples, classes } = pictures;
      const label = classes[labels[image]!]!;
      const sample = samples?.[image] ?? null;
      drawImage(canvas, pictures, image, `the chosen test image, ${label}`);
      fill(marks, ...(sample === null ? [] : [shapeMark(sample.corner), bandMark(sample.side)]));
      const fact = (term: string, value: string, kind = ''): HTMLElement[] => [h('dt', {}, term), h('dd', { class: kind }, value)];
      const verdict = (name: NetName): HTMLElement[] => {
        const prediction = predictions?.[name][image];
        if (prediction === undefined) return fact(TITLES[name], '–');
        const isRight = prediction === labels[image];
        return fact(TITLES[name], `${classes[prediction]!} ${isRight ? '✓' : '✗'}`, isRight ? 'yes' : 'no');
      };
      const rule =
        sample === null ? [] : [...fact('Shape', classes[sample.shape]!), ...fact('Band', sample.context === 1 ? 'warm' : 'cool')];
      fill(facts, ...rule, ...fact('Label', label), ...NETS.flatMap(verdict));
    },
  };
}

function shapeMark([x, y]: readonly [number, number]): SVGElement {
  return svg('rect', { x: x - 0.5, y: y - 0.5, width: SHAPE_SIZE + 1, height: SHAPE_SIZE + 1, rx: 1 });
}

/** Marks the band, which is opposite to the side of the shape. */
function bandMark(side: string): SVGElement {
  const start = side === 'left' || side === 'top' ? 32 - BAND_WIDTH : 0;
  const across = { width: BAND_WIDTH - 0.6, height: 31.4 };
  return side === 'left' || side === 'right'
    ? svg('rect', { x: start + 0.3, y: 0.3, ...across, 'stroke-dasharray': '1.2 1' })
    : svg('rect', { x: 0.3, y: start + 0.3, width: across.height, height: across.width, 'stroke-dasharray': '1.2 1' });
}

/** Returns the class that a warm band swaps with this one; null for a shape without a partner. */
function partnerOf(label: number): number | null {
  return label < 6 ? label ^ 1 : null;
}

interface MistakesView {
  readonly element: HTMLElement;
  readonly show: (pictures: Pictures, predictions: Uint8Array) => void;
}

function mistakesView(name: NetName): MistakesView {
  const summary = h('p', {}, '–');
  const tiles = Array.from({ length: MISTAKES }, () => {
    const canvas = pictureCanvas();
    const caption = h('figcaption', {});
    return { canvas, caption, element: h('figure', { class: 'mistake', hidden: true }, canvas, caption) };
  });
  return {
    element: h(
      'div',
      {},
      h('h4', { class: `of-${name}` }, TITLES[name]),
      summary,
      h('div', { class: 'mistakes' }, ...tiles.map((t) => t.element)),
    ),
    show: (pictures, predictions) => {
      const { labels, samples, classes } = pictures;
      const wrong = [...labels.keys()].filter((i) => predictions[i] !== labels[i]);
      const partners = wrong.filter((i) => predictions[i] === partnerOf(labels[i]!)).length;
      summary.textContent = `${wrong.length} of ${labels.length} wrong${samples === null ? '' : `; for ${partners} of them the net names the partner`}`;
      tiles.forEach(({ canvas, caption, element }, at) => {
        const i = wrong[at];
        element.hidden = i === undefined;
        if (i === undefined) return;
        const label = `${classes[labels[i]!]!}, not ${classes[predictions[i]!]!}`;
        drawImage(canvas, pictures, i, label);
        caption.textContent = label;
      });
    },
  };
}

/**
 * The pictures to choose from, by band.
 */
import { h } from '../ui/dom.ts';
import { SIZE, pixelsOf, type Picture } from './images.ts';

export interface Chooser {
  readonly element: HTMLElement;
  readonly show: (picture: number) => void;
}

export function chooser(pictures: readonly Picture[], onChoose: (picture: number) => void): Chooser {
  const inputs = pictures.map((_, i) => h('input', { type: 'radio', name: 'se-picture', onchange: () => onChoose(i) }));
  const group = (band: Picture['band']): HTMLElement => {
    const members = pictures.flatMap((p, i) => (p.band === band ? [option(p, inputs[i]!)] : []));
    return h('div', { class: 'se-band' }, h('span', {}, `${band} band`), h('div', {}, members));
  };
  return {
    element: h('fieldset', { class: 'chooser' }, h('legend', { class: 'hidden-text' }, 'picture'), group('warm'), group('cool')),
    show: (picture) => inputs.forEach((input, i) => (input.checked = i === picture)),
  };
}

function option(picture: Picture, input: HTMLInputElement): HTMLElement {
  const label = `${picture.shape}, ${picture.band} band`;
  const canvas = h('canvas', { width: SIZE, height: SIZE, role: 'img', 'aria-label': label });
  canvas.getContext('2d')!.putImageData(new ImageData(pixelsOf(picture), SIZE, SIZE), 0, 0);
  return h('label', { class: 'se-picture', title: label }, input, canvas);
}

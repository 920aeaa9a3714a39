/**
 * The pictures to choose from, by band.
 */
import { h } from '../ui/dom.ts';
import { type Kind, SHOWN_KINDS, SIZE } from './pictures.ts';

export interface Chooser {
  readonly element: HTMLElement;
  readonly show: (picture: number) => void;
  /** Draws the pictures: red, green, blue and opacity of each pixel. */
  readonly draw: (pixels: readonly Uint8ClampedArray<ArrayBuffer>[]) => void;
}

export function chooser(onChoose: (picture: number) => void): Chooser {
  const inputs = SHOWN_KINDS.map((_, i) => h('input', { type: 'radio', name: 'se-picture', onchange: () => onChoose(i) }));
  const canvases = SHOWN_KINDS.map((kind) => h('canvas', { width: SIZE, height: SIZE, role: 'img', 'aria-label': labelOf(kind) }));
  const options = SHOWN_KINDS.map((kind, i) => h('label', { class: 'se-picture', title: labelOf(kind) }, inputs[i]!, canvases[i]!));
  const group = (band: Kind['band']): HTMLElement =>
    h(
      'div',
      { class: 'se-band' },
      h('span', {}, `${band} band`),
      h(
        'div',
        {},
        options.filter((_, i) => SHOWN_KINDS[i]!.band === band),
      ),
    );
  return {
    element: h('fieldset', { class: 'chooser' }, h('legend', { class: 'hidden-text' }, 'picture'), group('warm'), group('cool')),
    show: (picture) => inputs.forEach((input, i) => (input.checked = i === picture)),
    draw: (pixels) => canvases.forEach((canvas, i) => canvas.getContext('2d')!.putImageData(new ImageData(pixels[i]!, SIZE, SIZE), 0, 0)),
  };
}

function labelOf({ shape, band }: Kind): string {
  return `${shape}, ${band} band`;
}

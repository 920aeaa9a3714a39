/**
 * The length of the gradient of each layer, as bars on a logarithmic scale.
 */
import { fill, h, styled } from '../../ui/dom.ts';
import type { LayerNorm } from '../observe.ts';
import { NETS, TITLES } from '../nets.ts';

/** The two ends of the scale. */
const LOW = 1e-4;
const HIGH = 10;

export interface NormsView {
  readonly element: HTMLElement;
  readonly update: (norms: readonly LayerNorm[]) => void;
}

export function normsView(): NormsView {
  const body = h('tbody', {});
  const head = h('tr', {}, h('th', { scope: 'col' }, 'Layer'), ...NETS.map((name) => h('th', { scope: 'col' }, TITLES[name])));
  const element = h('table', { class: 'norms' }, h('thead', {}, head), body);
  let layers = '';
  let cells: { readonly bar: HTMLElement; readonly text: HTMLElement }[] = [];
  const build = (norms: readonly LayerNorm[]): void => {
    cells = [];
    const cell = (color: string): HTMLElement => {
      const parts = { bar: h('span', { class: `bar is-${color}` }), text: h('span', { class: 'number' }) };
      cells.push(parts);
      return h('td', {}, parts.bar, parts.text);
    };
    fill(body, ...norms.map(({ layer }) => h('tr', {}, h('th', { scope: 'row' }, layer), cell('plain'), cell('se'))));
  };
  return {
    element,
    update: (norms) => {
      const key = norms.map((n) => n.layer).join();
      if (key !== layers) {
        layers = key;
        build(norms);
      }
      norms
        .flatMap(({ norms }) => NETS.map((name) => norms[name]))
        .forEach((norm, i) => {
          cells[i]!.text.textContent = norm === null ? '–' : norm.toPrecision(2);
          styled(cells[i]!.bar, { width: `${norm === null ? 0 : 100 * shareOf(norm)}%` });
        });
    },
  };
}

/** Returns the place of a norm on the scale, 0 … 1. */
function shareOf(norm: number): number {
  const share = Math.log(norm / LOW) / Math.log(HIGH / LOW);
  return Math.max(0, Math.min(1, share));
}

/**
 * The equations of the block, as Hu et al. number them.
 */
import { h, type Child } from '../ui/dom.ts';

const sub = (text: string): HTMLElement => h('sub', {}, text);
const italic = (text: string): HTMLElement => h('i', {}, text);

/** The three steps with their equations. */
export function equations(): HTMLElement {
  const step = (name: string, equation: readonly Child[], number: number, about: string): HTMLElement =>
    h(
      'div',
      {},
      h('dt', {}, name),
      h('dd', { class: 'equation' }, h('span', {}, equation), h('span', {}, `(${number})`)),
      h('dd', {}, about),
    );
  return h(
    'section',
    { class: 'box equations', 'aria-label': 'Equations' },
    h(
      'dl',
      {},
      step(
        'Squeeze',
        [italic('z'), sub('c'), ' = 1/HW · Σ', sub('i,j'), ' ', italic('u'), sub('c'), '(i, j)'],
        2,
        'Each channel becomes one number, its mean.',
      ),
      step(
        'Excitation',
        [italic('s'), ' = σ(W', sub('2'), ' δ(W', sub('1'), ' ', italic('z'), '))'],
        3,
        'Two small layers look at all means; δ is ReLU, σ bounds the gates. Lines: what each weight contributes, blue up, orange down.',
      ),
      step('Scale', ['x̃', sub('c'), ' = ', italic('s'), sub('c'), ' · ', italic('u'), sub('c')], 4, 'Each map is multiplied by its gate.'),
    ),
    h(
      'p',
      { class: 'note' },
      'Hu et al. 2017, arXiv:1709.01507. A value that you set by hand is a constant: no gradient flows through it. Delete releases it.',
    ),
  );
}

/**
 * What the network answers for the picture.
 */
import { fill, h, styled } from '../ui/dom.ts';
import type { Forward } from './block.ts';
import { CLASSES, type Kind } from './pictures.ts';

export interface Prediction {
  readonly element: HTMLElement;
  readonly update: (forward: Forward, kind: Kind) => void;
}

export function prediction(): Prediction {
  const element = h('section', { class: 'box prediction', 'aria-label': 'What the network answers' });
  return {
    element,
    update: ({ probabilities, loss }, { label, shape, band }) => {
      const answers = CLASSES.map((name, i) => {
        const share = `${Math.round(100 * probabilities[i]!)} %`;
        return h(
          'div',
          { class: i === label ? 'answer se-label' : 'answer' },
          h('span', {}, name, i === label && h('b', {}, ' ← this one')),
          styled(h('i', { 'aria-hidden': 'true' }), { '--share': share.replace(' ', '') }),
          h('output', {}, share),
        );
      });
      const isRight = probabilities[label]! > 0.5;
      fill(
        element,
        h('h3', {}, 'What follows'),
        h(
          'p',
          {},
          `A ${shape}, a ${band} band: the network is `,
          h('b', { class: isRight ? 'se-yes' : 'se-no' }, isRight ? 'right' : 'wrong'),
          '.',
        ),
        answers,
        h('p', { class: 'note' }, `cross-entropy L = ${loss.toPrecision(3)}`),
      );
    },
  };
}

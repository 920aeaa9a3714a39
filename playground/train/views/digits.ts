/**
 * The first losses with all their digits, and how to get the same numbers in Node.
 */
import { fill, h } from '../../ui/dom.ts';
import type { StepsReport } from '../messages.ts';

/** How many losses are shown. */
const STEPS = 20;

export interface DigitsView {
  readonly element: HTMLElement;
  readonly add: (report: Pick<StepsReport, 'step' | 'losses'>) => void;
  readonly clear: () => void;
  /** Shows the command that repeats the run in Node, with MNIST's files if it has any. */
  readonly setLink: (link: string, files: readonly string[]) => void;
}

export function digitsView(): DigitsView {
  const body = h('tbody', {});
  const command = h('code', {});
  const heads = ['Step', 'Without SE', 'With SE'].map((text) => h('th', { scope: 'col' }, text));
  const element = h(
    'details',
    { class: 'box digits' },
    h('summary', {}, 'The first losses, digit by digit'),
    h('p', { class: 'note' }, 'Node prints the same numbers, on any number of threads: ', command),
    h('div', { class: 'scroll' }, h('table', {}, h('thead', {}, h('tr', {}, ...heads)), body)),
  );
  return {
    element,
    add: ({ step, losses }) => {
      const first = step - losses.plain.length + 1;
      for (let i = body.childElementCount + 1 - first; i < losses.plain.length && first + i <= STEPS; i++) {
        const cells = [losses.plain[i]!, losses.se[i]!].map((loss) => h('td', {}, String(loss)));
        body.append(h('tr', {}, h('th', { scope: 'row' }, first + i), ...cells));
      }
    },
    clear: () => fill(body),
    setLink: (link, files) => {
      command.textContent = ['npx tsx playground/train/run.ts', `'${link}'`, STEPS, ...files].join(' ');
    },
  };
}

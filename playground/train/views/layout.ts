/**
 * The order of the panel's parts, and what receives files.
 */
import { type Child, h } from '../../ui/dom.ts';

type Parts = readonly HTMLElement[];

export interface LayoutParts {
  readonly actions: Parts;
  readonly experiments: Parts;
  readonly messages: Parts;
  /** The summary of the settings, then what it opens. */
  readonly settings: Parts;
  readonly changes: HTMLElement;
  readonly stats: Parts;
  readonly charts: Parts;
  readonly task: Parts;
  readonly gates: Parts;
  readonly maps: HTMLElement;
  readonly filters: HTMLElement;
  readonly norms: HTMLElement;
  readonly mistakes: HTMLElement;
  readonly footer: Parts;
}

/** Returns the panel's elements from top to bottom. */
export function layout(parts: LayoutParts): HTMLElement[] {
  const box = (title: string, ...children: readonly Child[]): HTMLElement =>
    h('section', { class: 'box' }, h('h3', {}, title), ...children);
  return [
    h('div', { class: 'toolbar', role: 'group', 'aria-label': 'Training' }, ...parts.actions),
    h(
      'nav',
      { class: 'experiments', 'aria-label': 'Experiments' },
      h('span', {}, 'Try:'),
      ...parts.experiments,
      h('span', { class: 'note' }, 'or drop MNIST’s files on this page'),
    ),
    ...parts.messages,
    h('details', { class: 'net-and-data' }, ...parts.settings),
    parts.changes,
    h('div', { class: 'stats' }, ...parts.stats),
    h('div', { class: 'train-charts' }, ...parts.charts, box('The task', ...parts.task)),
    h('section', {}, h('h3', {}, 'What the gates detect'), ...parts.gates),
    box('The chosen image inside the nets', parts.maps),
    h(
      'div',
      { class: 'train-details' },
      h(
        'section',
        { class: 'box' },
        h('h3', {}, 'Filters of the first layer'),
        parts.filters,
        h('h3', { class: 'second' }, 'Length of the gradient, layer by layer'),
        h('div', { class: 'scroll' }, parts.norms),
      ),
      box('Images that the nets get wrong', parts.mistakes),
    ),
    ...parts.footer,
  ];
}

/** A control to choose MNIST's files. */
export function fileInput(onFiles: (files: Iterable<File>) => void): HTMLElement {
  const input = h('input', { type: 'file', multiple: true, onchange: () => onFiles(input.files ?? []) });
  return h(
    'label',
    { class: 'control' },
    h('span', {}, 'MNIST: choose its files (IDX, plain or .gz), or drop them here. They stay on this machine.'),
    input,
  );
}

/** Lets the visitor drop files anywhere on the page: a browser would leave the page for a file that nothing accepts. */
export function acceptDrops(onFiles: (files: Iterable<File>) => void): void {
  document.addEventListener('dragover', (event) => event.preventDefault());
  document.addEventListener('drop', (event) => {
    event.preventDefault();
    onFiles(event.dataTransfer?.files ?? []);
  });
}

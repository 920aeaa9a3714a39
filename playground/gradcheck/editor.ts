/**
 * A text of a few lines with line numbers, and an error at its line.
 */
import { fill, h } from '../ui/dom.ts';

export interface Editor {
  readonly element: HTMLElement;
  readonly value: () => string;
  /** Changes the text without calling `onChange`. */
  readonly set: (text: string) => void;
  /** Marks a line, counted from 1, and shows the message; null: none is wrong. */
  readonly showError: (error: { readonly line: number; readonly message: string } | null) => void;
}

/** Makes an editor. `help` says what to write in it. */
export function editor(id: string, label: string, help: string, onChange: () => void): Editor {
  const message = h('p', { id: `${id}-error`, class: 'error', role: 'alert', hidden: true });
  const gutter = h('div', { class: 'gradcheck-lines', 'aria-hidden': 'true' });
  const described = { 'aria-describedby': `${id}-help ${id}-error` };
  const plain = { spellcheck: 'false', autocomplete: 'off', autocapitalize: 'off', wrap: 'off' };
  const text = h('textarea', { id, rows: 1, ...described, ...plain });
  let wrongLine = 0;
  const number = (): void => {
    const lines = text.value.split('\n').length;
    text.rows = lines;
    const numbers = Array.from({ length: lines }, (_, i) => h('span', { class: i + 1 === wrongLine ? 'is-wrong' : null }, i + 1));
    fill(gutter, numbers);
  };
  text.addEventListener('input', () => {
    number();
    onChange();
  });
  number();
  return {
    element: h(
      'div',
      { class: 'gradcheck-editor' },
      h('label', { for: id }, label),
      h('p', { id: `${id}-help`, class: 'note' }, help),
      h('div', { class: 'gradcheck-text' }, gutter, text),
      message,
    ),
    value: () => text.value,
    set: (value) => {
      text.value = value;
      number();
    },
    showError: (error) => {
      wrongLine = error?.line ?? 0;
      message.hidden = error === null;
      message.textContent = error === null ? '' : `line ${error.line}: ${error.message}`;
      text.setAttribute('aria-invalid', String(error !== null));
      number();
    },
  };
}

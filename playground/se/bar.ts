/**
 * A slider drawn as a bar: its length is the value. It can be set by hand, and released again.
 */
import { h, styled } from '../ui/dom.ts';
import { withMinus } from '../ui/numbers.ts';

export interface Bar {
  readonly element: HTMLElement;
  /** Shows a value; `own` is what the bar has when nobody sets it. */
  readonly show: (value: number, own: number, isSet: boolean) => void;
}

export interface BarOptions {
  /** Says in words what the value is. */
  readonly label: string;
  readonly range: readonly [low: number, high: number];
  /** A colour of the style sheet. */
  readonly color: string;
  /** Values to compare with, as thin lines with the colours of the style sheet. */
  readonly marks: readonly { readonly value: number; readonly color: string }[];
  /** Called with the value that was set, or with null when it was released. */
  readonly onSet: (value: number | null) => void;
}

/** Formats a value with two digits, without the sign of a small negative number that rounds to 0. */
const format = (value: number): string => withMinus(value.toFixed(2).replace(/^-(0\.00)$/, '$1'));

export function bar({ label, range: [low, high], color, marks, onSet }: BarOptions): Bar {
  const input = h('input', { type: 'range', class: 'se-bar', min: low, max: high, step: 0.01, 'aria-label': label });
  const percent = (value: number): string => `${(100 * (Math.min(high, Math.max(low, value)) - low)) / (high - low)}%`;
  const own = h('span', { class: 'bar-own', hidden: true });
  const lines = marks.map((m) => styled(h('span', { class: 'bar-mark' }), { left: percent(m.value), background: `var(--${m.color})` }));
  const output = h('output', {});
  const release = h('button', { type: 'button', class: 'release', 'aria-label': `Release ${label}`, title: 'Compute it again' }, '↺');
  release.addEventListener('click', () => {
    input.focus();
    onSet(null);
  });
  input.addEventListener('input', () => onSet(Number(input.value)));
  input.addEventListener('keydown', (event) => {
    if (event.key !== 'Delete' && event.key !== 'Backspace') return;
    event.preventDefault();
    onSet(null);
  });
  styled(input, { '--bar': `var(--${color})` });
  return {
    element: h('div', { class: 'bar-cell' }, h('div', { class: 'bar-track' }, input, lines, own), output, release),
    show: (value, ownValue, isSet) => {
      const zero = Math.max(low, 0);
      input.value = String(value);
      styled(input, { '--from': percent(Math.min(zero, value)), '--to': percent(Math.max(zero, value)) });
      styled(own, { left: percent(ownValue) });
      own.hidden = !isSet;
      release.hidden = !isSet;
      input.classList.toggle('set', isSet);
      output.textContent = format(value);
      input.setAttribute('aria-valuetext', `${format(value)}${isSet ? ', set by hand' : ''}`);
    },
  };
}

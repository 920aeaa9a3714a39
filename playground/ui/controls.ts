/**
 * Labelled controls. Each calls `onChange` with the new value when the user changes it.
 */
import { h } from './dom.ts';

/** A control and its label. `set` changes the value without calling `onChange`. */
export interface Control<T> {
  readonly element: HTMLElement;
  readonly value: () => T;
  readonly set: (value: T) => void;
}

/** A button; `primary` for the main action of a panel. */
export function button(text: string, onClick: () => void, { primary = false, title = null as string | null } = {}): HTMLButtonElement {
  return h('button', { type: 'button', class: primary ? 'button primary' : 'button', title, onclick: onClick }, text);
}

/** A choice among texts. `choices` maps each value to what the user reads. */
export function select<T extends string>(
  label: string,
  choices: Readonly<Record<T, string>>,
  initial: T,
  onChange: (value: T) => void,
): Control<T> {
  const options = Object.entries<string>(choices).map(([value, text]) => h('option', { value, selected: value === initial }, text));
  const input = h('select', { onchange: () => onChange(input.value as T) }, options);
  return {
    element: h('label', { class: 'control' }, h('span', {}, label), input),
    value: () => input.value as T,
    set: (value) => (input.value = value),
  };
}

/** How many sliders there are. */
let sliders = 0;

/** A slider over a range of numbers. `format` gives the text beside it. */
export function slider(
  label: string,
  range: { readonly min: number; readonly max: number; readonly step: number },
  initial: number,
  onChange: (value: number) => void,
  format: (value: number) => string = String,
): Control<number> {
  const output = h('output', {}, format(initial));
  // By its id: otherwise the label would be that of the output, the first element in it that can have one.
  const id = `slider-${++sliders}`;
  const input = h('input', { id, type: 'range', ...range, value: initial, oninput: () => show(true) });
  const show = (byUser: boolean): void => {
    const value = Number(input.value);
    output.textContent = format(value);
    input.setAttribute('aria-valuetext', format(value));
    if (byUser) onChange(value);
  };
  show(false);
  return {
    element: h('label', { class: 'control', for: id }, h('span', {}, label, ' ', output), input),
    value: () => Number(input.value),
    set: (value) => {
      input.value = String(value);
      show(false);
    },
  };
}

/** A check box. */
export function checkbox(label: string, initial: boolean, onChange: (value: boolean) => void): Control<boolean> {
  const input = h('input', { type: 'checkbox', checked: initial, onchange: () => onChange(input.checked) });
  return {
    element: h('label', { class: 'control check' }, input, h('span', {}, label)),
    value: () => input.checked,
    set: (value) => (input.checked = value),
  };
}

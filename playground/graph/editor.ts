/**
 * The editor of the graph panel: the program with the numbers of its lines, its error at the line, and the numbers of small leaves.
 */
import { fill, h, styled } from '../ui/dom.ts';
import { formatShape, formatValue, gridOf } from './format.ts';
import { showsNumbers } from './boxes.ts';
import { withValues } from './literal.ts';
import type { GraphModel, LeafView, NodeView, Values } from './walk.ts';
import type { ProgramFault } from './worker.ts';

export interface Editor {
  readonly element: HTMLElement;
  /** Replaces the text, without calling `onChange`. */
  readonly setProgram: (program: string) => void;
  /** Shows what is wrong with the text; null: nothing. */
  readonly showError: (fault: ProgramFault | null) => void;
  /** Shows the leaves of the model. */
  readonly showLeaves: (model: GraphModel) => void;
}

/** How long a typing user must pause before the program is computed, in milliseconds. */
const PAUSE = 250;

/** `onChange` receives the text when the user has changed it or a number of a leaf. */
export function programEditor(onChange: (program: string) => void): Editor {
  const error = h('p', { class: 'error', id: 'graph-error', role: 'alert' });
  const gutter = h('ol', { class: 'gutter', 'aria-hidden': 'true' });
  const attributes = {
    spellcheck: 'false',
    autocapitalize: 'off',
    autocomplete: 'off',
    wrap: 'off',
    'aria-label': 'Expression',
    'aria-describedby': 'graph-error',
  };
  const area = h('textarea', attributes);
  let timer = 0;
  const changed = (program: string): void => {
    clearTimeout(timer);
    timer = setTimeout(() => onChange(program), PAUSE) as unknown as number;
  };
  const showLines = (wrong: number | null): void => {
    const count = area.value.split('\n').length;
    area.rows = Math.max(4, count);
    fill(gutter, ...Array.from({ length: count }, (_, i) => h('li', { class: i + 1 === wrong ? 'wrong' : null }, String(i + 1))));
  };
  area.addEventListener('input', () => {
    showLines(null);
    changed(area.value);
  });
  const setProgram = (program: string): void => {
    clearTimeout(timer);
    area.value = program;
    showLines(null);
  };
  const leaves = leafInputs((leaf, shape, values) => {
    setProgram(withValues(area.value, leaf, shape, values));
    changed(area.value);
  });
  return {
    element: h('div', { class: 'editor' }, h('div', {}, error, h('div', { class: 'program' }, gutter, area)), leaves.element),
    setProgram,
    showError: (wrong) => {
      error.textContent = wrong === null ? '' : wrong.message;
      area.setAttribute('aria-invalid', String(wrong !== null));
      showLines(wrong?.line ?? null);
      if (wrong !== null) leaves.keep(area.value);
    },
    showLeaves: leaves.show,
  };
}

// — the numbers of leaves —

type LeafChange = (leaf: LeafView, shape: readonly number[], values: Values) => void;

function leafInputs(onChange: LeafChange) {
  const element = h('div', { class: 'leaf-inputs' });
  let inputs: HTMLInputElement[] = [];
  let fields: { readonly leaf: LeafView; readonly element: HTMLElement }[] = [];
  let structure = '';
  const show = ({ leaves, nodes }: GraphModel): void => {
    const editable = leaves.filter((leaf) => leaf.isLiteral && showsNumbers(gridOf(nodes[leaf.node]!.shape)));
    // Inputs stay while only numbers change, so that the one being edited keeps the focus.
    const now = editable.map(({ name, line, node }) => `${name} ${line} ${formatShape(nodes[node]!.shape)}`).join(';');
    if (now !== structure) {
      const made = editable.map((leaf) => leafField(leaf, nodes[leaf.node]!, onChange));
      inputs = made.flatMap((m) => m.inputs);
      fields = made.map((m, i) => ({ leaf: editable[i]!, element: m.element }));
      fill(element, ...made.map((m) => m.element));
      structure = now;
    }
    const values = editable.flatMap((leaf) => [...nodes[leaf.node]!.value]);
    inputs.forEach((input, i) => {
      if (input !== document.activeElement) showNumber(input, values[i]!);
    });
  };
  /** Removes the fields of leaves that the program no longer has at their lines. */
  const keep = (program: string): void => {
    const lines = program.split('\n');
    for (const { leaf, element: field } of fields) {
      if (new RegExp(`^\\s*${leaf.name}\\s*=(?!=)`).test(lines[leaf.line - 1] ?? '')) continue;
      field.remove();
      structure = '';
    }
  };
  return { element, show, keep };
}

function leafField(leaf: LeafView, { shape, value }: NodeView, onChange: LeafChange) {
  const inputs = value.map((_, i) => {
    const label = value.length === 1 ? leaf.name : `${leaf.name}, number ${i + 1} of ${value.length}`;
    return h('input', { type: 'number', step: 'any', 'aria-label': label, oninput: () => report() });
  });
  const report = (): void => {
    const values = inputs.map((input) => numberIn(input));
    if (!values.some(Number.isNaN)) onChange(leaf, shape, values);
  };
  const grid = styled(h('div', { class: 'leaf-grid' }, ...inputs), { '--columns': String(gridOf(shape).columns) });
  return { inputs, element: h('fieldset', {}, h('legend', {}, `${leaf.name} ${shape.length === 0 ? '' : formatShape(shape)}`), grid) };
}

/** Shows a number. An input for numbers takes no infinity, so that is its placeholder. */
function showNumber(input: HTMLInputElement, value: number): void {
  const isFinite = Number.isFinite(value);
  input.value = isFinite ? String(value) : '';
  input.placeholder = isFinite ? '' : formatValue(value);
}

/** Returns the number that an input shows; NaN: none. */
function numberIn({ value, placeholder, valueAsNumber }: HTMLInputElement): number {
  if (value !== '' || placeholder === '') return valueAsNumber;
  return placeholder === '∞' ? Infinity : -Infinity;
}

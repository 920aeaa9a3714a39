/**
 * The panel "Gradient check": an operation to edit, and what gradcheck says about it.
 */
import type { LinkState } from '../link.ts';
import type { MountedPanel, Panel, PanelContext } from '../panel.ts';
import { Requests } from '../requests.ts';
import { button, select, slider, type Control } from '../ui/controls.ts';
import { fill, h } from '../ui/dom.ts';
import { editor, type Editor } from './editor.ts';
import { findings } from './findings.ts';
import type { CheckFailure, CheckOutcome, CheckRequest } from './model.ts';
import { PRESETS, type PresetName } from './presets.ts';
import type { Program } from './program.ts';
import { rounded } from './results.ts';
import { isUnchanged, readState, requestOf, stateOf, writeState, type GradcheckState } from './state.ts';
import { STEPS } from './steps.ts';

export const gradcheckPanel: Panel = {
  id: 'gradcheck',
  title: 'Gradient check',
  about:
    'Write an operation and its backward. The check compares every element of every gradient with the difference quotient ' +
    '(p(x + h) − p(x − h)) / 2h, and says which mistake the error looks like.',
  mount: (host, context) => mount(host, context),
};

/** What the list offers: the presets, and the last program that was changed. */
type Choice = PresetName | 'own';

/** After this time a check is given up, in milliseconds. */
const LIMIT = 20_000;

/** How long after a change of a text the check starts, in milliseconds. */
const PAUSE = 250;

/** How long after a change the address follows, in milliseconds: a browser limits how often it may change. */
const LINK_PAUSE = 300;

const HELP: Readonly<Record<keyof Program, readonly [label: string, help: string]>> = {
  inputs: ['Inputs', 'One name and its values per line, at most 64 numbers in all.'],
  forward: ['Forward', 'Assigns y from the inputs. An operation with kinks may assign branch: which piece each element took.'],
  backward: ['Backward', 'Assigns dx for an input x, and so on, from the incoming gradient g, the inputs and y.'],
};

function mount(host: HTMLElement, { state: link, writeState: writeLink }: PanelContext): MountedPanel {
  let state = readState(link).state;
  let timer = 0;
  let linkTimer = 0;
  const texts = editors(() => {
    state = { ...state, program: texts.value() };
    problems.textContent = '';
    examples.show(state);
    window.clearTimeout(timer);
    timer = window.setTimeout(check, PAUSE);
  });
  const step = stepSlider(state.step, (i) => {
    state = { ...state, step: i };
    check();
  });
  const found = findings(step.element);
  const checks = checksInWorker((outcome) => {
    texts.showError('failure' in outcome ? outcome.failure : null);
    found.show(outcome, state.step);
  });
  const examples = exampleList((chosen) => change({ ...chosen, step: state.step }));
  const reset = button('Reset', () => change(stateOf(state.preset, state.step)), { title: 'Take the example as it was' });
  const problems = h('p', { class: 'note problems', role: 'status' });
  const lesson = h('p', {});
  const hint = h('details', { class: 'box lesson' }, h('summary', {}, 'What is wrong, and what would be right?'), lesson);
  fill(
    host,
    problems,
    h('div', { class: 'toolbar' }, examples.element, reset),
    h('div', { class: 'gradcheck' }, h('div', { class: 'editors' }, texts.elements, hint), found.element),
  );

  const check = (): void => {
    found.wait();
    window.clearTimeout(linkTimer);
    linkTimer = window.setTimeout(() => writeLink(writeState(state)), LINK_PAUSE);
    reset.disabled = isUnchanged(state);
    checks.ask(requestOf(state));
  };
  const change = (next: GradcheckState): void => {
    window.clearTimeout(timer);
    state = next;
    problems.textContent = '';
    examples.show(state);
    step.set(state.step);
    texts.set(state.program);
    lesson.textContent = PRESETS[state.preset].lesson;
    hint.open = false;
    check();
  };
  const applyState = (next: LinkState): void => {
    const read = readState(next);
    change(read.state);
    problems.textContent = read.problems.join(' ');
  };
  applyState(link);
  return { applyState };
}

/** Runs checks in a worker. A check that is given up has an outcome too. */
function checksInWorker(onOutcome: (outcome: CheckOutcome) => void): Requests<CheckRequest, CheckOutcome> {
  const onFailure = (reason: string): void =>
    onOutcome({ failure: { message: `The check was given up: ${reason}.`, editor: null, line: 1 } });
  return new Requests('gradcheck', { onAnswer: onOutcome, onFailure }, LIMIT);
}

/** A slider over the steps: the largest is on the left, as in the chart. */
function stepSlider(initial: number, onChange: (step: number) => void): Control<number> {
  const last = STEPS.length - 1;
  const range = { min: 0, max: last, step: 1 };
  const format = (place: number): string => rounded(STEPS[last - place]!, 2);
  const control = slider('Step h of the check', range, last - initial, (place) => onChange(last - place), format);
  return { element: control.element, value: () => last - control.value(), set: (step) => control.set(last - step) };
}

/** The list of the presets, and of the last program that was changed. */
function exampleList(onChoose: (state: GradcheckState) => void) {
  let own: GradcheckState | null = null;
  const titles = Object.fromEntries(Object.entries(PRESETS).map(([name, p]) => [name, p.title])) as Record<PresetName, string>;
  const list = select<Choice>('Example', { ...titles, own: 'Your own' }, 'factor', (name) => {
    if (name !== 'own') onChoose(stateOf(name));
    else if (own !== null) onChoose(own);
  });
  const option = list.element.querySelector<HTMLOptionElement>('option[value=own]')!;
  return {
    element: list.element,
    /** Keeps a changed program, and says whether the shown one is that. */
    show: (state: GradcheckState): void => {
      const isOwn = !isUnchanged(state);
      if (isOwn) own = state;
      option.hidden = own === null;
      list.set(isOwn ? 'own' : state.preset);
    },
  };
}

/** The three editors. */
function editors(onChange: () => void) {
  const make = (name: keyof Program): Editor => editor(`gradcheck-${name}`, ...HELP[name], onChange);
  const all = { inputs: make('inputs'), forward: make('forward'), backward: make('backward') };
  return {
    elements: Object.values(all).map((e) => e.element),
    value: (): Program => ({ inputs: all.inputs.value(), forward: all.forward.value(), backward: all.backward.value() }),
    set: (program: Program): void => {
      for (const name of ['inputs', 'forward', 'backward'] as const) all[name].set(program[name]);
    },
    showError: (failure: CheckFailure | null): void => {
      for (const [name, text] of Object.entries(all)) text.showError(failure?.editor === name ? failure : null);
    },
  };
}

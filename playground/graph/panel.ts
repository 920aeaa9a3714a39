/**
 * The panel "Graph": the backward pass of a small program, a step at a time.
 */
import type { LinkReader, LinkState } from '../link.ts';
import type { MountedPanel, Panel, PanelContext } from '../panel.ts';
import { Requests } from '../requests.ts';
import { checkbox, select } from '../ui/controls.ts';
import { fill, h } from '../ui/dom.ts';
import { withScrollHint } from '../ui/scroller.ts';
import { onThemeChange } from '../ui/theme.ts';
import { type Drawing, drawGraph } from './drawing.ts';
import { programEditor } from './editor.ts';
import { type WalkOrder, comparisonOf, explain, leafTable, sentenceOf } from './explain.ts';
import { HELP } from './help.ts';
import { PRESETS, type PresetName } from './presets.ts';
import { type Choice, OWN, readState } from './state.ts';
import { Transport } from './transport.ts';
import type { GraphModel, Step, Walk } from './walk.ts';
import type { Computed, GraphAnswer } from './worker.ts';

export const graphPanel: Panel = {
  id: 'graph',
  title: 'Graph',
  about: 'Step through a backward pass, one node at a time. Every node shows its data and its gradient.',
  mount: (host, context) => new GraphView(host, context),
};

const TITLES: Readonly<Record<Choice, string>> = {
  ...(Object.fromEntries(Object.entries(PRESETS).map(([name, { title }]) => [name, title])) as Record<PresetName, string>),
  own: 'An expression of your own',
};

/** After this time a computation is given up, in milliseconds. */
const LIMIT = 20_000;

/** A program that is being computed. */
interface Wanted {
  readonly program: string;
  /** The step to show it at. */
  readonly step: number;
  /** The link that names the step; null: none does. */
  readonly reader: LinkReader | null;
}

/** The parts of the panel, the program, and what is shown of it. */
class GraphView implements MountedPanel {
  readonly #write: PanelContext['writeState'];
  readonly #choice = select<Choice>('Expression', TITLES, 'small', (name) => this.#load(this.#textOf(name), 0));
  readonly #compare = checkbox('Compare with the naive order, depth first', false, () => this.#start(this.#steps.step));
  readonly #problems = h('p', { class: 'note problems', role: 'status' });
  readonly #about = h('p', { class: 'preset-about' });
  readonly #steps: Transport = new Transport(() => this.#show());
  readonly #live = h('p', { class: 'visually-hidden', 'aria-live': 'polite' });
  readonly #newestFirst = new WalkView('newestFirst', (step) => this.#steps.go(step));
  readonly #depthFirst = new WalkView('depthFirst', (step) => this.#steps.go(step));
  readonly #walks = h('div', { class: 'walks', hidden: true }, this.#newestFirst.element, this.#depthFirst.element);
  readonly #waiting = h('p', { class: 'note', role: 'status' }, 'The graph is being computed …');
  /** What a link to a wrong expression shows in place of a graph. */
  readonly #nothing = h(
    'p',
    { class: 'error', hidden: true },
    'There is no graph to show yet. What is wrong is said above the expression.',
  );
  readonly #results = h('div', { class: 'results' });
  readonly #editor = programEditor((text) => this.#load(text, this.#steps.step));
  readonly #requests = new Requests<string, GraphAnswer>(
    'graph',
    { onAnswer: (answer) => this.#receive(answer), onFailure: (reason) => this.#giveUp(reason) },
    LIMIT,
  );
  #wanted: Wanted = { program: '', step: 0, reader: null };
  /** The program that is shown. */
  #program = '';
  /** The last program that is none of the presets. */
  #own = '// your own expression\nx = 0.5\nw = -2\ny = (w * x).tanh() + x';
  /** Whether the program cannot be computed; the model is then that of an earlier one. */
  #isWrong = false;
  #computed: Computed | null = null;

  constructor(host: HTMLElement, { state, writeState }: PanelContext) {
    this.#write = writeState;
    const options = h('div', { class: 'toolbar' }, this.#choice.element, this.#compare.element);
    const keys = h('p', { class: 'note keys' }, 'Keys: ', ...keyList(), '. Or press a node to go to its step.');
    const editor = h('div', { class: 'box' }, this.#editor.element, helpText());
    const change = h('section', { class: 'change' }, h('h2', {}, 'Change it'), editor);
    host.append(
      options,
      this.#problems,
      this.#about,
      this.#steps.element,
      keys,
      this.#live,
      this.#waiting,
      this.#nothing,
      this.#walks,
      this.#results,
      change,
    );
    listen(host, (key) => this.#steps.onKey(key));
    onThemeChange(() => {
      this.#newestFirst.repaint();
      this.#depthFirst.repaint();
      this.#show();
    });
    this.#steps.restart(0, 0);
    this.applyState(state);
  }

  applyState(state: LinkState): void {
    const { name, program, step, both, reader } = readState(state);
    this.#compare.set(both);
    this.#load(program ?? this.#textOf(name), step, reader);
  }

  setVisible(visible: boolean): void {
    if (visible) this.#show();
    else this.#steps.pause();
  }

  /** The text of a preset, or the last own one. */
  #textOf(name: Choice): string {
    return name === OWN ? this.#own : PRESETS[name].program;
  }

  /** Has a program computed, to show it at a step. Until then the last graph stays. */
  #load(program: string, step: number, reader: LinkReader | null = null): void {
    this.#problems.textContent = reader?.problems.join(' ') ?? '';
    const name = presetOf(program);
    if (name === OWN) this.#own = program;
    this.#editor.setProgram(program);
    this.#choice.set(name);
    this.#about.textContent = aboutOf(name);
    this.#wanted = { program, step, reader };
    this.#requests.ask(program);
  }

  /** Shows what was computed. What cannot be computed is said at its line; the last graph stays. */
  #receive(answer: GraphAnswer): void {
    const { program, step, reader } = this.#wanted;
    const isWrong = 'fault' in answer;
    if (!isWrong) this.#computed = answer;
    this.#program = program;
    this.#waiting.hidden = true;
    this.#nothing.hidden = this.#computed !== null;
    this.#walks.hidden = this.#computed === null;
    this.#setWrong(isWrong);
    this.#editor.showError(isWrong ? answer.fault : null);
    if (isWrong) return this.#writeLink();
    this.#editor.showLeaves(answer.model);
    this.#start(step);
    const taken = this.#steps.step;
    if (reader === null || taken === step) return;
    reader.replaced('step', String(step), `at most ${taken}, the number of steps`, String(taken));
    this.#problems.textContent = reader.problems.join(' ');
  }

  #giveUp(reason: string): void {
    this.#waiting.hidden = true;
    this.#problems.textContent = `The graph was not computed: ${reason}.`;
  }

  /** Marks what is shown as that of an earlier program, whose steps cannot be taken. */
  #setWrong(isWrong: boolean): void {
    this.#isWrong = isWrong;
    this.#steps.setEnabled(!isWrong);
    for (const part of [this.#walks, this.#results]) part.classList.toggle('is-stale', isWrong);
  }

  /** Shows the model at a step, with or without the naive walk. */
  #start(step: number): void {
    if (this.#computed === null) return;
    const both = this.#compare.value();
    this.#depthFirst.element.hidden = !both;
    this.#walks.classList.toggle('both', both);
    const { newestFirst, depthFirst } = this.#computed.model;
    this.#steps.restart(Math.max(newestFirst.steps.length, both ? depthFirst.steps.length : 0), step);
    this.#show();
  }

  #show(): void {
    if (this.#computed === null) return;
    const { model } = this.#computed;
    const both = this.#compare.value();
    const { step, isAtEnd, isRunning } = this.#steps;
    this.#newestFirst.show(this.#computed, step);
    if (both) this.#depthFirst.show(this.#computed, step);
    fill(this.#results, isAtEnd && resultOf(model, both));
    this.#live.textContent = sentenceOf(model, stepAt(model.newestFirst, step), 'newestFirst');
    // While it runs, a link would change several times a second.
    if (!isRunning) this.#writeLink();
  }

  #writeLink(): void {
    const preset = presetOf(this.#program);
    const { step } = this.#steps;
    this.#write({
      preset,
      ...(preset === OWN && { program: this.#program }),
      ...(step > 0 && !this.#isWrong && { step: String(step) }),
      ...(this.#compare.value() && { order: 'both' }),
    });
  }
}

/** Says how a program is written. */
function helpText(): HTMLElement {
  return h('p', { class: 'note' }, ...HELP.map((part) => (typeof part === 'string' ? part : h('code', {}, part.code))));
}

function presetOf(program: string): Choice {
  const found = Object.entries(PRESETS).find(([, preset]) => preset.program === program);
  return found === undefined ? OWN : (found[0] as PresetName);
}

function aboutOf(name: Choice): string {
  return name === OWN
    ? 'Write any expression below. Nothing of it runs as code: it is parsed, and computed with the library’s operations.'
    : PRESETS[name].about;
}

function keyList(): (HTMLElement | string)[] {
  const keys = [
    ['→', 'next'],
    ['←', 'back'],
    ['Space', 'run or pause'],
    ['Home', 'start'],
    ['End', 'end'],
  ] as const;
  return keys.flatMap(([key, does], i) => [h('kbd', {}, key), ` ${does}${i < keys.length - 1 ? ', ' : ''}`]);
}

/** Listens for the panel's keys wherever they mean nothing else. */
function listen(host: HTMLElement, onKey: (key: string) => boolean): void {
  document.addEventListener('keydown', (event) => {
    const { target, key } = event;
    const isShown = host.offsetParent !== null;
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || !isShown || !(target instanceof Element)) return;
    const isHere = target === document.body || host.contains(target);
    const ownKeys = key === ' ' ? 'button, input, select, textarea' : 'input:not([type="checkbox"]), select, textarea';
    if (isHere && target.closest(ownKeys) === null && onKey(key)) event.preventDefault();
  });
}

/** Returns the gradients of the leaves when the walks have ended. */
function resultOf(model: GraphModel, both: boolean): HTMLElement {
  return h(
    'section',
    { class: 'box' },
    h('h2', {}, 'The result'),
    h('p', {}, both ? comparisonOf(model) : 'Backward is done. These are the gradients of the leaves.'),
    leafTable(model, both ? model.depthFirst.states.at(-1)! : null),
  );
}

/** Returns the step that led to the state `k`; null for the first state. A walk that has ended stays at its end. */
function stepAt({ steps }: Walk, k: number): Step | null {
  return steps[Math.min(k, steps.length) - 1] ?? null;
}

// — one walk —

const HEADINGS: Readonly<Record<WalkOrder, readonly [title: string, says: string]>> = {
  newestFirst: ['Newest first', 'the engine’s order: a node passes on its gradient when all parts have arrived'],
  depthFirst: ['Depth first', 'naive: a node passes on its gradient as soon as the first part arrives'],
};

/** One walk: the graph and what its step does. */
class WalkView {
  readonly element: HTMLElement;
  readonly #order: WalkOrder;
  readonly #go: (step: number) => void;
  readonly #scroll = h('div', { class: 'graph-scroll' });
  readonly #explanation = h('div', {});
  #drawn: { readonly model: GraphModel; readonly drawing: Drawing } | null = null;

  /** `go` is called with a node's step when the user presses the node. */
  constructor(order: WalkOrder, go: (step: number) => void) {
    const [title, says] = HEADINGS[order];
    this.#order = order;
    this.#go = go;
    const heading = h('h2', { class: 'walk-title' }, title, ' ', h('small', {}, says));
    this.element = h(
      'section',
      { class: `walk box ${order}` },
      heading,
      withScrollHint(this.#scroll, '← scroll sideways for more →'),
      this.#explanation,
    );
    new ResizeObserver(() => this.#drawn?.drawing.fit()).observe(this.#scroll);
  }

  show(computed: Computed, k: number): void {
    const { model } = computed;
    const { states } = model[this.#order];
    const state = states[Math.min(k, states.length - 1)]!;
    const step = stepAt(model[this.#order], k);
    this.#drawingOf(computed).show(state, step);
    fill(this.#explanation, explain(model, step, state, this.#order));
  }

  repaint(): void {
    this.#drawn?.drawing.repaint();
  }

  #drawingOf({ model, placed }: Computed): Drawing {
    if (this.#drawn?.model === model) return this.#drawn.drawing;
    const drawing = drawGraph(this.#scroll, model, placed, (node) => {
      const at = model[this.#order].steps.findIndex((step) => step.node === node);
      if (at >= 0) this.#go(at + 1);
    });
    this.#drawn = { model, drawing };
    return drawing;
  }
}

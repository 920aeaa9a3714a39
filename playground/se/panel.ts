/**
 * The panel "SE": one picture through one squeeze-and-excitation block, forward and backward.
 */
import type { LinkState } from '../link.ts';
import type { MountedPanel, Panel, PanelContext } from '../panel.ts';
import { Requests } from '../requests.ts';
import { button, select } from '../ui/controls.ts';
import { fill, h } from '../ui/dom.ts';
import { later } from '../ui/later.ts';
import { onThemeChange } from '../ui/theme.ts';
import { aboutTraining } from './about.ts';
import { chooser } from './chooser.ts';
import { equations } from './equations.ts';
import { figure, type Figure } from './figure.ts';
import { paths } from './paths.ts';
import { prediction } from './prediction.ts';
import { type Gate, isSame, type NetworkSettings, type Reduction } from './settings.ts';
import { GATES, NO_EDITS, REDUCTIONS, readState, withEdit, writeState, type SeState } from './state.ts';
import { SHOWN_KINDS } from './pictures.ts';
import type { SeAnswer, SePixels, SeRequest } from './worker.ts';

export const sePanel: Panel = {
  id: 'se',
  title: 'SE',
  about:
    'One picture through one squeeze-and-excitation block. Drag a mean or a gate and see what follows: the hidden units, the scaled maps, ' +
    'what the network answers, and the gradient along its two paths.',
  mount: (host, context) => new SePanel(host, context),
};

/** How long after a change the address follows, in milliseconds: a browser limits how often it may change. */
const LINK_PAUSE = 300;

const CAPTION =
  'Drag a bar, or focus it and press the arrow keys. The short lines below a gate are its means over other warm (orange) and cool (blue) ' +
  'pictures. All maps have one scale.';

/** What was computed for a state. */
interface Shown {
  readonly state: SeState;
  readonly answer: SeAnswer;
  readonly figure: Figure;
}

class SePanel implements MountedPanel {
  readonly #writeLink: PanelContext['writeState'];
  readonly #controls = controls(
    (settings) => this.#change({ ...this.#state, edits: NO_EDITS, settings: { ...this.#state.settings, ...settings } }),
    () => this.#change({ ...this.#state, edits: NO_EDITS }),
  );
  readonly #chooser = chooser((picture) => this.#change({ ...this.#state, picture, edits: NO_EDITS }));
  readonly #prediction = prediction();
  readonly #paths = paths((channel) => this.#change({ ...this.#state, channel }));
  readonly #figureHolder = h('div', { class: 'se-holder' });
  readonly #about = h('p', { class: 'note', role: 'status' });
  readonly #problems = h('p', { class: 'note problems', role: 'status' });
  #state: SeState;
  readonly #requests = new Requests<SeRequest, SeAnswer, SePixels>('se', {
    onNotice: (pixels) => this.#chooser.draw(pixels),
    onAnswer: (answer) => this.#receive(answer),
    onFailure: (reason) => (this.#about.textContent = `The network was not computed: ${reason}.`),
  });
  #shown: Shown | null = null;
  #timer = 0;

  constructor(host: HTMLElement, { state, writeState: writeLink }: PanelContext) {
    this.#writeLink = writeLink;
    this.#state = readState(state).state;
    fill(
      host,
      this.#problems,
      h('div', { class: 'toolbar' }, this.#chooser.element, this.#controls.elements),
      this.#about,
      h(
        'div',
        { class: 'se-forward' },
        h('div', { class: 'box' }, this.#figureHolder, h('p', { class: 'note' }, CAPTION)),
        h('div', { class: 'se-side' }, equations(), this.#prediction.element),
      ),
      h('h2', { class: 'se-backward' }, 'Backward: one gradient, two paths'),
      this.#paths.element,
    );
    onThemeChange(() => this.#draw());
    this.applyState(state);
  }

  applyState(link: LinkState): void {
    const { state, problems } = readState(link);
    this.#change(state);
    this.#problems.textContent = problems.join(' ');
  }

  /** Has the block computed for a state, to show it. Its network is trained first, if it is another one. */
  #change(state: SeState): void {
    const { settings, picture, edits } = state;
    this.#state = state;
    this.#problems.textContent = '';
    this.#controls.show(state);
    this.#chooser.show(picture);
    window.clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => this.#writeLink(writeState(this.#state)), LINK_PAUSE);
    if (this.#shown === null || !isSame(this.#shown.state.settings, settings))
      this.#about.textContent = 'A small network with this block is being trained …';
    this.#requests.ask({ settings, picture, edits });
  }

  #receive(answer: SeAnswer): void {
    const state = this.#state;
    const isKnown = this.#shown !== null && isSame(this.#shown.state.settings, state.settings);
    const view = isKnown ? this.#shown!.figure : this.#newFigure(answer);
    this.#shown = { state, answer, figure: view };
    this.#draw();
  }

  #newFigure({ trained }: SeAnswer): Figure {
    const view = figure(trained, (part, channel, value) =>
      this.#change({ ...this.#state, edits: withEdit(this.#state.edits, part, channel, value) }),
    );
    fill(this.#figureHolder, view.element);
    this.#about.textContent = aboutTraining(trained, this.#state.settings.seed);
    return view;
  }

  /** Draws what is shown by then: the figure in a frame, the gradients in the next. */
  #draw(): void {
    const draw = (target: unknown, action: (shown: Shown) => void): void =>
      later(target, () => void (this.#shown !== null && action(this.#shown)));
    draw(this.#figureHolder, ({ state, answer: { result }, figure: view }) => {
      view.update(result, state.edits);
      this.#prediction.update(result.forward, SHOWN_KINDS[state.picture]!);
    });
    draw(this.#paths, ({ state, answer: { result } }) => this.#paths.update(result, state.edits, state.channel));
  }
}

/** The controls of the network. */
function controls(onSettings: (settings: Partial<NetworkSettings>) => void, onRelease: () => void) {
  let seed = 0;
  const gate = select<Gate>('Gate σ', GATES, 'sigmoid', (value) => onSettings({ gate: value }));
  const reduction = select<`${Reduction}`>('Reduction r', REDUCTIONS, '2', (value) =>
    onSettings({ reduction: Number(value) as Reduction }),
  );
  const another = button('Other weights', () => onSettings({ seed: seed + 1 }), { title: 'Train from the next seed' });
  const release = button('Release all', onRelease, { title: 'Compute every mean and gate again' });
  return {
    elements: [gate.element, reduction.element, another, release],
    show: ({ settings, edits }: SeState): void => {
      seed = settings.seed;
      gate.set(settings.gate);
      reduction.set(String(settings.reduction) as `${Reduction}`);
      release.disabled = [...edits.means, ...edits.gates].every((v) => v === null);
    },
  };
}

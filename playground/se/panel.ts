/**
 * The panel "SE": one picture through one squeeze-and-excitation block, forward and backward.
 */
import type { LinkState } from '../link.ts';
import type { MountedPanel, Panel, PanelContext } from '../panel.ts';
import { button, select } from '../ui/controls.ts';
import { fill, h } from '../ui/dom.ts';
import { onThemeChange } from '../ui/theme.ts';
import { aboutTraining } from './about.ts';
import { computeBlock, type BlockResult } from './block.ts';
import { chooser } from './chooser.ts';
import { equations } from './equations.ts';
import { figure, type Figure } from './figure.ts';
import { shownPictures } from './images.ts';
import type { Gate, NetworkSettings, Reduction, SmallNetwork } from './network.ts';
import { paths } from './paths.ts';
import { prediction } from './prediction.ts';
import { GATES, NO_EDITS, REDUCTIONS, readState, withEdit, writeState, type SeState } from './state.ts';
import { networkOf, type Trained } from './training.ts';
import { trainInWorker } from './worker.ts';

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

/** A trained network and its figure. */
interface Shown {
  readonly network: SmallNetwork;
  readonly trained: Trained;
  readonly figure: Figure;
}

class SePanel implements MountedPanel {
  readonly #writeLink: PanelContext['writeState'];
  readonly #pictures = shownPictures();
  readonly #controls = controls(
    (settings) => this.#change({ ...this.#state, edits: NO_EDITS, settings: { ...this.#state.settings, ...settings } }),
    () => this.#change({ ...this.#state, edits: NO_EDITS }),
  );
  readonly #chooser = chooser(this.#pictures, (picture) => this.#change({ ...this.#state, picture, edits: NO_EDITS }));
  readonly #prediction = prediction();
  readonly #paths = paths((channel) => this.#change({ ...this.#state, channel }));
  readonly #figureHolder = h('div', { class: 'se-holder' });
  readonly #about = h('p', { class: 'note', role: 'status' });
  readonly #problems = h('p', { class: 'note problems', role: 'status' });
  #state: SeState;
  #shown: Shown | null = null;
  /** The settings of the network that is shown or being trained. */
  #wanted = '';
  #isDrawing = false;
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

  /** Shows a state; trains its network first, if it is another one. */
  #change(state: SeState): void {
    this.#state = state;
    this.#problems.textContent = '';
    this.#controls.show(state);
    this.#chooser.show(state.picture);
    window.clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => this.#writeLink(writeState(this.#state)), LINK_PAUSE);
    if (this.#wanted === keyOf(state.settings)) this.#draw();
    else void this.#train(state.settings);
  }

  async #train(settings: NetworkSettings): Promise<void> {
    const key = keyOf(settings);
    this.#wanted = key;
    this.#about.textContent = 'A small network with this block is being trained …';
    try {
      const trained = await trainInWorker(settings);
      // Another choice was made meanwhile.
      if (key !== this.#wanted) return;
      this.#shown?.network.dispose();
      const view = figure(trained, (part, channel, value) =>
        this.#change({ ...this.#state, edits: withEdit(this.#state.edits, part, channel, value) }),
      );
      this.#shown = { network: networkOf(trained), trained, figure: view };
      fill(this.#figureHolder, view.element);
      this.#about.textContent = aboutTraining(trained, settings.seed);
      this.#draw();
    } catch (e) {
      if (key !== this.#wanted) return;
      this.#wanted = '';
      this.#about.textContent = `The network could not be trained: ${e instanceof Error ? e.message : String(e)}`;
    }
  }

  /** Draws in the next frame, once for all changes until then. */
  #draw(): void {
    if (this.#isDrawing) return;
    this.#isDrawing = true;
    requestAnimationFrame(() => {
      this.#isDrawing = false;
      this.#drawNow();
    });
  }

  #drawNow(): void {
    if (this.#shown === null) return;
    const { picture, edits, channel } = this.#state;
    const shown = this.#pictures[picture]!;
    const result: BlockResult = computeBlock(this.#shown.network, shown, edits);
    this.#shown.figure.update(result, edits);
    this.#prediction.update(result.forward, shown);
    this.#paths.update(result, edits, channel);
  }
}

function keyOf({ gate, reduction, seed }: NetworkSettings): string {
  return `${gate} ${reduction} ${seed}`;
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

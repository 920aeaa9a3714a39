/**
 * The panel "Train": the tiny CNN with and without squeeze-and-excitation, trained in a worker while the visitor watches.
 */
import { formatLink, type LinkState } from '../link.ts';
import type { MountedPanel, Panel, PanelContext } from '../panel.ts';
import { button } from '../ui/controls.ts';
import { fill, h } from '../ui/dom.ts';
import { later } from '../ui/later.ts';
import { onThemeChange } from '../ui/theme.ts';
import { TrainWorker } from './client.ts';
import { EXPERIMENTS, experimentOf } from './experiments.ts';
import type { Cause, Reply, StepsReport, ViewsReport } from './messages.ts';
import { NETS, TITLES } from './nets.ts';
import { type Change, readSettings, type TrainSettings, type Update, writeSettings } from './settings.ts';
import { curves, stat } from './views/curves.ts';
import { digitsView } from './views/digits.ts';
import { gatesView } from './views/gates.ts';
import { imagesView } from './views/images.ts';
import { mapsView } from './views/maps.ts';
import { normsView } from './views/norms.ts';
import { acceptDrops, fileInput, layout, type LayoutParts } from './views/layout.ts';
import { runControls, updateControls } from './views/settings.ts';
import { gatesNoteOf, ruleOf, summaryOf, threadsCaption } from './views/texts.ts';

export const trainPanel: Panel = {
  id: 'train',
  title: 'Train',
  about: 'Two small CNNs learn the same images from the same weights. They differ in one thing: Squeeze-and-Excitation (SE).',
  mount: (host, context) => new TrainPanel(host, context),
};

/** What follows the message about a run that cannot go on. */
const REMEDIES: Readonly<Record<Cause, string>> = {
  loss: ' Lower it, then press Reset.',
  'missing file': '',
  'bad file': ' Then choose all files again.',
  other: ' Press Reset to begin again.',
};

class TrainPanel implements MountedPanel {
  readonly #context: PanelContext;
  #settings: TrainSettings;
  #image: number;
  /** The number of the run. Replies of older runs are dropped. */
  #run = 0;
  /** True from the request to begin this run on, unless it has failed. */
  #started = false;
  /** True once the worker has made the nets of this run. */
  #ready = false;
  /** Whether the visitor wants the run to go on. */
  #playing = false;
  /** What the worker was told last. */
  #told = false;
  #visible = true;
  #update: Update;
  /** True while the worker has not confirmed a change. */
  #awaiting = false;
  /** The last views of this run. */
  #views: ViewsReport | null = null;
  /** MNIST's files by name. */
  readonly #files = new Map<string, File>();

  readonly #worker = new TrainWorker({ onReply: (reply) => this.#receive(reply), onEnd: (message) => this.#fail(message) });
  readonly #curves = curves();
  readonly #gates = gatesView();
  readonly #maps = mapsView();
  readonly #norms = normsView();
  readonly #digits = digitsView();
  readonly #images = imagesView((image) => this.#choose(image));
  readonly #updateControls: ReturnType<typeof updateControls>;
  readonly #runControls: ReturnType<typeof runControls>;
  readonly #stats = {
    step: stat('steps'),
    speed: stat('steps per second'),
    threads: stat('threads'),
    plain: stat('right without SE', 'plain'),
    se: stat('right with SE', 'se'),
  };
  readonly #play = button('Play', () => this.#setPlaying(!this.#playing), { primary: true });
  readonly #problems = h('p', { class: 'note problems', role: 'status' });
  readonly #error = h('p', { class: 'error', role: 'alert' });
  readonly #expect = h('p', { class: 'expect' });
  readonly #changes = h('p', { class: 'note changes' });
  readonly #summary = h('summary', {});
  readonly #rule = h('p', { class: 'rule' });
  readonly #gatesNote = h('p', { class: 'note' });
  readonly #memory = h('span', {});
  readonly #copied = h('span', { class: 'note', role: 'status' });
  readonly #experiments = EXPERIMENTS.map(({ title, settings }) => {
    const begin = (event: Event): void => {
      event.preventDefault();
      this.#launch(settings, true);
    };
    return h('a', { class: 'experiment', href: linkOf(settings), onclick: begin }, title);
  });

  constructor(host: HTMLElement, context: PanelContext) {
    const { settings, image, problems } = readSettings(context.state);
    this.#context = context;
    this.#settings = settings;
    this.#image = image;
    this.#update = settings.start;
    this.#updateControls = updateControls(settings.start, (update) => this.#change(update));
    this.#runControls = runControls(settings, (changed) => this.#launch({ ...this.#restarted(), ...changed }, true));
    fill(host, ...layout(this.#parts()));
    acceptDrops((files) => this.#addFiles(files));
    this.#images.choose(image);
    document.addEventListener('visibilitychange', () => this.#sync());
    onThemeChange(() => this.#views !== null && this.#showViews(this.#views));
    // The panel is drawn first: on few cores a worker that starts would delay it.
    later(this, () => {
      if (this.#run > 0) return;
      this.#launch(settings, startsAlone());
      this.#problems.textContent = problems.join(' ');
    });
  }

  applyState(state: LinkState): void {
    const { settings, image, problems } = readSettings(state);
    this.#image = image;
    this.#images.choose(image);
    this.#launch(settings, this.#playing || startsAlone());
    this.#problems.textContent = problems.join(' ');
  }

  setVisible(visible: boolean): void {
    this.#visible = visible;
    if (visible) this.#writeLink();
    this.#sync();
  }

  // — the run —

  /** Begins a run. */
  #launch(settings: TrainSettings, play: boolean): void {
    this.#settings = settings;
    this.#update = settings.start;
    this.#run++;
    this.#ready = false;
    this.#awaiting = false;
    this.#views = null;
    this.#problems.textContent = '';
    this.#error.textContent = '';
    this.#runControls.set(settings);
    this.#updateControls.set(settings.start);
    this.#showSettings();
    this.#curves.clear(settings.data === 'synthetic' && settings.context === 'distant');
    this.#digits.clear();
    for (const s of Object.values(this.#stats)) s.set('–');
    this.#writeLink();
    if (settings.data === 'mnist' && this.#files.size === 0) {
      if (this.#told) this.#worker.tell({ kind: 'pause' });
      return this.#fail('This run trains on MNIST. Drop its files on this page, or choose them under “Net and data”.');
    }
    this.#started = true;
    this.#playing = play;
    this.#told = this.#shouldRun();
    this.#showPlaying();
    const files = [...this.#files.values()];
    this.#worker.tell({ kind: 'start', run: this.#run, settings, files, image: this.#image, play: this.#told });
  }

  /** Returns the settings of a run that begins with the current update. */
  #restarted(): TrainSettings {
    return { ...this.#settings, start: this.#update, changes: [] };
  }

  #setPlaying(playing: boolean): void {
    if (playing && !this.#started) return this.#launch(this.#settings, true);
    this.#playing = playing;
    this.#showPlaying();
    this.#sync();
  }

  #shouldRun(): boolean {
    return this.#playing && this.#visible && !document.hidden;
  }

  /** Tells the worker whether to train: it pauses while nobody can see the panel. */
  #sync(): void {
    if (this.#told === this.#shouldRun()) return;
    this.#told = !this.#told;
    this.#worker.tell({ kind: this.#told ? 'play' : 'pause' });
  }

  #step(): void {
    if (!this.#started) return this.#launch(this.#settings, false);
    this.#playing = false;
    this.#told = false;
    this.#showPlaying();
    this.#worker.tell({ kind: 'step' });
  }

  #change(update: Update): void {
    this.#update = update;
    if (!this.#ready) return this.#launch(this.#restarted(), this.#playing);
    this.#awaiting = true;
    this.#worker.tell({ kind: 'change', update });
  }

  #choose(image: number): void {
    this.#image = image;
    this.#images.choose(image);
    this.#writeLink();
    this.#worker.tell({ kind: 'image', image });
  }

  #addFiles(files: Iterable<File>): void {
    if (!this.#visible) return;
    for (const file of files) this.#files.set(file.name, file);
    if (this.#files.size > 0) this.#launch({ ...this.#restarted(), data: 'mnist' }, true);
  }

  /** Shows why the run cannot go on. `kept`: its nets are still in the worker. */
  #fail(message: string, kept = false): void {
    this.#error.textContent = message;
    this.#started = kept;
    this.#ready = kept;
    this.#playing = false;
    this.#told = false;
    this.#showPlaying();
  }

  // — what the worker reports —

  #receive(reply: Reply): void {
    if (reply.run !== this.#run) return;
    switch (reply.kind) {
      case 'pictures':
        this.#ready = true;
        this.#image = Math.min(this.#image, reply.labels.length - 1);
        later(this.#images.choices, () => {
          if (reply.run !== this.#run) return;
          this.#images.setPictures(reply);
          this.#images.choose(this.#image);
        });
        break;
      case 'steps':
        this.#showSteps(reply);
        break;
      case 'views':
        this.#curves.addAccuracy(reply.step, { plain: reply.evaluation.plain.accuracy, se: reply.evaluation.se.accuracy });
        this.#views = reply;
        this.#showViews(reply);
        break;
      case 'schedule':
        this.#awaiting = false;
        this.#settings = { ...this.#settings, ...reply.schedule };
        this.#showSettings();
        this.#writeLink();
        break;
      case 'failed':
        if (reply.cause === 'bad file') this.#files.clear();
        this.#fail(`${reply.message}${REMEDIES[reply.cause]}`, reply.cause === 'loss');
        break;
    }
  }

  /** Draws the views one after the other, so that the page stays responsive on a slow machine too. */
  #showViews(views: ViewsReport): void {
    const { evaluation, gates, classes, image } = views;
    const draw = (target: unknown, action: () => void): void => later(target, () => void (views === this.#views && action()));
    draw(this.#gates, () => this.#gates.update(gates, classes, this.#settings.gate));
    draw(this.#images, () => {
      for (const name of NETS)
        this.#stats[name].set(`${(100 * evaluation[name].accuracy).toFixed(1)} %`, `right ${TITLES[name]}, step ${views.step}`);
      this.#images.update(evaluation);
    });
    if (image === this.#image) for (const name of NETS) draw(this.#stats[name], () => this.#maps.update(name, views));
  }

  #showSteps(report: StepsReport): void {
    const { step, stepTime, threads, bytes, update, norms } = report;
    this.#stats.step.set(step.toLocaleString('en'));
    this.#stats.speed.set(stepTime === null ? '–' : (1000 / stepTime).toFixed(1));
    this.#stats.threads.set(String(threads), threadsCaption(threads));
    this.#memory.textContent = `${(bytes / 1e6).toFixed(1)} MB of tensors.`;
    if (report.losses.plain.length > 0) {
      this.#curves.addSteps(report);
      this.#digits.add(report);
    }
    this.#norms.update(norms);
    if (this.#awaiting || (update.lr === this.#update.lr && update.optimizer === this.#update.optimizer)) return;
    // A change of the link took effect.
    this.#update = update;
    this.#updateControls.set(update);
  }

  #showPlaying(): void {
    this.#play.textContent = this.#playing ? 'Pause' : 'Play';
  }

  #showSettings(): void {
    const { changes } = this.#settings;
    const experiment = experimentOf(this.#settings);
    this.#experiments.forEach((link, i) => link.setAttribute('aria-current', String(EXPERIMENTS[i] === experiment)));
    this.#expect.textContent = experiment?.expect ?? '';
    this.#digits.setLink(linkOf(this.#settings), this.#settings.data === 'mnist' ? [...this.#files.keys()] : []);
    this.#summary.textContent = `Net and data: ${summaryOf(this.#settings)}`;
    this.#rule.textContent = ruleOf(this.#settings);
    this.#gatesNote.textContent = gatesNoteOf(this.#settings);
    fill(this.#changes, ...(changes.length > 0 ? this.#changeList(changes) : []));
  }

  #changeList(changes: readonly Change[]): (string | HTMLElement)[] {
    const texts = changes.map(({ step, optimizer, lr }) => `${optimizer} ${lr} after step ${step}`);
    const replay = button('Replay', () => this.#launch(this.#settings, true), {
      title: 'Begin again, with the same changes at the same steps',
    });
    return [`Changed while it ran: ${texts.join(', ')}. The link carries this. `, replay];
  }

  #writeLink(): void {
    this.#context.writeState(writeSettings(this.#settings, this.#image));
  }

  /** Returns what the visitor sees, for the layout. */
  #parts(): LayoutParts {
    const { step, speed, threads, plain, se } = this.#stats;
    return {
      actions: [
        this.#play,
        button('Step', () => this.#step(), { title: 'Do one step' }),
        button('Reset', () => this.#launch(this.#restarted(), this.#playing), { title: 'Begin again from the first step' }),
        this.#updateControls.element,
        button('Copy link', () => void this.#copyLink(), { title: 'A link to this run, with all settings and changes' }),
        this.#copied,
      ],
      experiments: this.#experiments,
      messages: [this.#expect, this.#problems, this.#error],
      settings: [this.#summary, this.#runControls.element, fileInput((files) => this.#addFiles(files))],
      changes: this.#changes,
      stats: [step, speed, threads, plain, se].map((s) => s.element),
      charts: [this.#curves.loss, this.#curves.accuracy],
      task: [this.#rule, this.#images.chosen, this.#images.choices],
      gates: [this.#gatesNote, this.#gates.element],
      maps: this.#maps.maps,
      filters: this.#maps.filters,
      norms: this.#norms.element,
      mistakes: this.#images.mistakes,
      footer: [this.#digits.element, h('p', { class: 'note' }, this.#memory, ' Training pauses while this page or tab is hidden.')],
    };
  }

  async #copyLink(): Promise<void> {
    this.#writeLink();
    try {
      await navigator.clipboard.writeText(location.href);
      this.#copied.textContent = 'Copied.';
    } catch {
      // A browser may refuse the clipboard, for instance to a file.
      this.#copied.textContent = 'The link is in the address bar.';
    }
  }
}

/** Whether training starts before the visitor presses Play. */
function startsAlone(): boolean {
  return !matchMedia('(prefers-reduced-motion: reduce)').matches;
}

function linkOf(settings: TrainSettings): string {
  return formatLink({ panel: 'train', state: writeSettings(settings) });
}

/**
 * The controls that move through the steps: buttons, a slider, keys, and a clock that goes on by itself.
 */
import { button, select } from '../ui/controls.ts';
import { h } from '../ui/dom.ts';

/** Milliseconds between two steps. */
const SPEEDS = { slow: 2400, normal: 1200, fast: 400 } as const;
type Speed = keyof typeof SPEEDS;

export class Transport {
  readonly element: HTMLElement;
  readonly #onStep: () => void;
  readonly #back = button('Back', () => this.go(this.step - 1), { title: 'One step back (arrow left)' });
  readonly #next = button('Next', () => this.go(this.step + 1), { primary: true, title: 'One step on (arrow right)' });
  readonly #run = button('Run', () => this.#toggle(), { title: 'Run or pause (space)' });
  readonly #reset = button('Reset', () => this.go(0), { title: 'To the start (Home)' });
  // Its own name: the label is that of the counter, the first element in it that can have one.
  readonly #slider = h('input', {
    type: 'range',
    'aria-label': 'Step',
    min: 0,
    max: 0,
    step: 1,
    value: 0,
    oninput: () => this.go(this.#slider.valueAsNumber),
  });
  readonly #counter = h('output', {}, '');
  readonly #speed = select<Speed>('Speed', { slow: 'Slow', normal: 'Normal', fast: 'Fast' }, 'normal', () => this.#restart());
  #steps = 0;
  #isEnabled = true;
  #at = 0;
  #timer: number | null = null;

  /** `onStep` is called after each step, and when it stops running. */
  constructor(onStep: () => void) {
    this.#onStep = onStep;
    this.element = h(
      'div',
      { class: 'toolbar transport' },
      h('div', { class: 'buttons' }, this.#back, this.#next, this.#run, this.#reset),
      h('label', { class: 'control step' }, h('span', {}, 'Step ', this.#counter), this.#slider),
      this.#speed.element,
    );
  }

  /** The number of steps taken. */
  get step(): number {
    return this.#at;
  }

  get isRunning(): boolean {
    return this.#timer !== null;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#steps;
  }

  /** Stops running and goes to a step, within the range. */
  go(step: number): void {
    if (!this.#isEnabled) return;
    this.#stop();
    this.#jump(step);
  }

  /** Sets the number of steps, and goes to one of them without calling `onStep`. */
  restart(steps: number, at: number): void {
    this.#stop();
    this.#steps = steps;
    this.#at = Math.max(0, Math.min(steps, at));
    this.#show();
  }

  /** Allows steps, or stops and refuses them. */
  setEnabled(isEnabled: boolean): void {
    if (!isEnabled) this.#stop();
    this.#isEnabled = isEnabled;
    this.#show();
  }

  pause(): void {
    if (this.isRunning) this.go(this.#at);
  }

  /** Handles a key; returns whether it is one of the panel's. */
  onKey(key: string): boolean {
    const keys: Readonly<Record<string, () => void>> = {
      ArrowRight: () => this.go(this.#at + 1),
      ArrowLeft: () => this.go(this.#at - 1),
      Home: () => this.go(0),
      End: () => this.go(this.#steps),
      ' ': () => this.#toggle(),
    };
    if (!Object.hasOwn(keys, key)) return false;
    keys[key]!();
    return true;
  }

  #toggle(): void {
    if (!this.#isEnabled) return;
    if (this.isRunning) return this.pause();
    this.#start();
    this.#jump(this.isAtEnd ? 0 : this.#at + 1);
  }

  #start(): void {
    this.#timer = setInterval(() => this.#jump(this.#at + 1), SPEEDS[this.#speed.value()]) as unknown as number;
  }

  #stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  /** Goes on at another speed. */
  #restart(): void {
    if (!this.isRunning) return;
    this.#stop();
    this.#start();
  }

  #jump(to: number): void {
    this.#at = Math.max(0, Math.min(this.#steps, to));
    if (this.isAtEnd) this.#stop();
    this.#show();
    this.#onStep();
  }

  #show(): void {
    this.#slider.max = String(this.#steps);
    this.#slider.value = String(this.#at);
    this.#counter.textContent = `${this.#at} of ${this.#steps}`;
    // Not `disabled`, as a button with the focus that becomes disabled would take the keys away from the panel.
    const disable = (of: HTMLButtonElement, isAtLimit: boolean): void =>
      of.setAttribute('aria-disabled', String(isAtLimit || !this.#isEnabled));
    disable(this.#back, this.#at === 0);
    disable(this.#reset, this.#at === 0);
    disable(this.#next, this.isAtEnd);
    disable(this.#run, false);
    this.#slider.disabled = !this.#isEnabled;
    this.#run.textContent = this.isRunning ? 'Pause' : 'Run';
  }
}

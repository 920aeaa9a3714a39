/**
 * The controls of a run: those that take effect while it goes on, and those that begin a new one.
 */
import { h } from '../../ui/dom.ts';
import { PLACEMENT_TITLES } from './texts.ts';
import { select, slider } from '../../ui/controls.ts';
import {
  BATCH_SIZES,
  CONTEXTS,
  DATA,
  GATES,
  type OptimizerName,
  PLACEMENTS,
  REDUCTIONS,
  SQUEEZES,
  type TrainSettings,
  type Update,
} from '../settings.ts';

/** The learning rates of the slider. */
const RATES = [1e-4, 1e-3, 0.01, 0.1, 1]
  .flatMap((decade) => [1, 1.5, 2, 3, 5, 7].map((n) => Number((n * decade).toPrecision(2))))
  .concat(10);

const OPTIMIZER_TITLES: Readonly<Record<OptimizerName, string>> = { sgd: 'SGD, momentum 0.9', adam: 'Adam', adamw: 'AdamW' };

/** Waiting time after the last move of the slider, in milliseconds, so that a drag is one change. */
const SETTLE = 200;

export interface UpdateControls {
  readonly element: HTMLElement;
  readonly set: (update: Update) => void;
}

/** Controls for optimizer and learning rate. */
export function updateControls(initial: Update, onChange: (update: Update) => void): UpdateControls {
  let { lr } = initial;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const send = (): void => {
    clearTimeout(timer);
    onChange({ optimizer: optimizer.value(), lr });
  };
  const optimizer = select('Optimizer', OPTIMIZER_TITLES, initial.optimizer, send);
  const rate = slider(
    'Learning rate',
    { min: 0, max: RATES.length - 1, step: 1 },
    nearest(lr),
    (i) => {
      lr = RATES[i]!;
      clearTimeout(timer);
      timer = setTimeout(send, SETTLE);
    },
    // A link may give a rate between those of the slider.
    (i) => String(nearest(lr) === i ? lr : RATES[i]!),
  );
  return {
    element: h('div', { class: 'group' }, optimizer.element, rate.element),
    set: (update) => {
      clearTimeout(timer);
      lr = update.lr;
      optimizer.set(update.optimizer);
      rate.set(nearest(lr));
    },
  };
}

/** Returns the index of the rate that is nearest on the logarithmic scale. */
function nearest(lr: number): number {
  const distances = RATES.map((rate) => Math.abs(Math.log(rate / lr)));
  return distances.indexOf(Math.min(...distances));
}

export interface RunControls {
  readonly element: HTMLElement;
  readonly set: (settings: TrainSettings) => void;
}

type OnChange = (changed: Partial<TrainSettings>) => void;

/** Makes a choice among the values of one setting. */
function choice<K extends Exclude<keyof TrainSettings, 'seed' | 'start' | 'changes'>>(
  label: string,
  key: K,
  titles: Readonly<Record<string, string>>,
  values: readonly TrainSettings[K][],
  initial: TrainSettings,
  onChange: OnChange,
): RunControls {
  const valueOf = (text: string): TrainSettings[K] => values.find((v) => String(v) === text)!;
  const control = select<string>(label, titles, String(initial[key]), (text) => onChange({ [key]: valueOf(text) }));
  return { element: control.element, set: (settings) => control.set(String(settings[key])) };
}

/** Controls for what begins a new run. `onChange` receives the settings that differ. */
export function runControls(initial: TrainSettings, onChange: OnChange): RunControls {
  const own = (values: readonly (string | number)[], prefix = ''): Record<string, string> =>
    Object.fromEntries(values.map((v) => [String(v), `${prefix}${v}`]));
  const images = { synthetic: 'synthetic', mnist: 'MNIST (your files)' };
  const labels = { distant: 'shape and band', none: 'shape alone (control)' };
  const controls = [
    choice('Images', 'data', images, DATA, initial, onChange),
    choice('Label', 'context', labels, CONTEXTS, initial, onChange),
    choice('SE', 'placement', PLACEMENT_TITLES, PLACEMENTS, initial, onChange),
    choice('Reduction', 'reduction', own(REDUCTIONS, 'r = '), REDUCTIONS, initial, onChange),
    choice('Squeeze', 'squeeze', own(SQUEEZES), SQUEEZES, initial, onChange),
    choice('Gate', 'gate', own(GATES), GATES, initial, onChange),
    choice('Batch', 'batchSize', own(BATCH_SIZES), BATCH_SIZES, initial, onChange),
    seedControl(initial, onChange),
  ];
  return {
    element: h('div', { class: 'toolbar' }, ...controls.map((c) => c.element)),
    set: (settings) => controls.forEach((c) => c.set(settings)),
  };
}

function seedControl(initial: TrainSettings, onChange: OnChange): RunControls {
  const input = h('input', { type: 'number', min: 0, max: 2 ** 32 - 1, step: 1, value: initial.seed, class: 'seed' });
  input.addEventListener('change', () => {
    if (input.checkValidity() && input.value !== '') onChange({ seed: Number(input.value) });
    else input.reportValidity();
  });
  return {
    element: h('label', { class: 'control' }, h('span', {}, 'Seed'), input),
    set: ({ seed }) => (input.value = String(seed)),
  };
}

/**
 * Callbacks for fit. Each is a function that a loop over the run could contain as well.
 */
import { peek } from '../core/describe.ts';
import { ArgumentError, FileError, kindOf, shown } from '../core/errors.ts';
import { checkFunction, checkText, refuseOptions, withDefaults } from '../core/options.ts';
import { saveCheckpoint, saveSafetensors } from '../io/index.ts';
import { cloneStateDict, disposeStateDict, type StateDict } from '../nn/index.ts';
import { appendWhole, errorCode, fileSystem, type FileSystem } from '../platform/files.ts';
import type { Callback, EvaluationEvent, FitEvent, FitRun } from './events.ts';

/** Options of callbacks that look for the best evaluation. */
export interface MonitorOptions {
  /** 'loss', or the name of a metric. Default 'loss'. */
  readonly monitor?: string;
  /** Whether lower or higher is better. Default 'min'. */
  readonly mode?: 'min' | 'max';
}

/** Options of earlyStopping. */
export interface EarlyStoppingOptions extends MonitorOptions {
  /** Evaluations without a better value before the run stops. Default 3. */
  readonly patience?: number;
  /** Only a value better by more than this counts. Default 0. */
  readonly minDelta?: number;
  /** Whether the model gets the weights of the best evaluation (with an EMA: their averages) when the run ends. Default false. */
  readonly restoreBest?: boolean;
}

/** Options of saveBest. */
export type SaveBestOptions = MonitorOptions;

/** Options of saveCheckpoints. */
export interface SaveCheckpointsOptions {
  /** After each epoch, or after so many steps; also at a pause and at the end. Default 'epoch'. */
  readonly every?: 'epoch' | number;
  /** How many of the latest checkpoints stay. Default 1. */
  readonly keep?: number;
}

/** Takes scalars, as SummaryWriter does. */
export interface ScalarWriter {
  addScalar(tag: string, value: number, step: number): void;
}

/** Options of logProgress. */
export interface LogProgressOptions {
  /** Receives the text. Default: writes it to the standard error. */
  readonly write?: (text: string) => void;
  /** Steps between two updates of the line. Default 10. */
  readonly every?: number;
}

/**
 * Stops the run when evaluations no longer improve. Its state, with `restoreBest` the best weights too, is saved with the run.
 *
 * Throws: ArgumentError at an evaluation without the metric `monitor`
 * @example callbacks: [earlyStopping({ monitor: 'accuracy', mode: 'max', patience: 5, restoreBest: true })]
 */
export function earlyStopping(options: EarlyStoppingOptions = {}): Callback {
  const defaults: Required<EarlyStoppingOptions> = { monitor: 'loss', mode: 'min', patience: 3, minDelta: 0, restoreBest: false };
  const { monitor, mode, patience, minDelta, restoreBest } = withDefaults('earlyStopping', options, defaults);
  checkMode('earlyStopping', mode);
  checkCount('earlyStopping', 'patience', patience);
  if (!(typeof minDelta === 'number' && minDelta >= 0))
    throw new ArgumentError(`earlyStopping: minDelta must be a number from 0 on, got ${shown(minDelta)}`);
  let best: number | null = null;
  let waited = 0;
  let weights: StateDict | null = null;

  const takeBest = (run: FitRun, value: number): void => {
    // Before the first change, as memory may run out.
    if (restoreBest) replaceWeights(run.useEvaluated(() => cloneStateDict(run.model.stateDict())));
    best = value;
    waited = 0;
  };
  const replaceWeights = (next: StateDict | null): void => {
    if (weights !== null) disposeStateDict(weights);
    weights = next;
  };
  const onEvent = (event: FitEvent, run: FitRun): void => {
    if (event.type === 'evaluation') {
      const value = valueOf('earlyStopping', event, monitor);
      if (isBetter(value, best, mode, minDelta)) takeBest(run, value);
      else if (++waited >= patience)
        run.stop(`no ${best === null ? `${monitor} that is a number` : `better ${monitor} than ${best}`} in ${patience} evaluations`);
    }
    if (event.type !== 'end' || weights === null) return;
    run.model.loadStateDict(weights);
    replaceWeights(null);
  };
  return Object.assign(onEvent, {
    stateDict: () => ({ best, waited, weights }),
    loadStateDict: (state: { best: number | null; waited: number; weights: StateDict | null }) => {
      replaceWeights(state.weights === null ? null : cloneStateDict(state.weights));
      ({ best, waited } = state);
    },
  });
}

/**
 * Saves the weights that were evaluated (with an EMA: their averages) as safetensors after each evaluation that is better than all before.
 * @example callbacks: [saveBest('best.safetensors', { monitor: 'accuracy', mode: 'max' })]
 */
export function saveBest(path: string, options: SaveBestOptions = {}): Callback {
  checkText('saveBest', 'the path', path);
  const { monitor, mode } = withDefaults<SaveBestOptions>('saveBest', options, { monitor: 'loss', mode: 'min' });
  checkMode('saveBest', mode);
  let best: number | null = null;
  const onEvent = (event: FitEvent, run: FitRun): void => {
    if (event.type !== 'evaluation') return;
    const value = valueOf('saveBest', event, monitor);
    if (!isBetter(value, best, mode, 0)) return;
    run.useEvaluated(() => saveSafetensors(path, run.model.stateDict()));
    best = value;
  };
  return Object.assign(onEvent, {
    stateDict: () => ({ best }),
    loadStateDict: (state: { best: number | null }) => void ({ best } = state),
  });
}

/** The names of checkpoints: the step, in digits that sort. */
const NAME = /^step-(\d{9})\.safetensors$/;

/**
 * Saves the whole run as `dir/step-000000120.safetensors`, and removes all but the latest `keep` of these files up to this step; those of
 * later steps stay.
 *
 * Continue with `loadCheckpoint(latestCheckpoint(dir), { run })`. The folder must exist.
 * @example callbacks: [saveCheckpoints('runs/1', { every: 500, keep: 2 })]
 */
export function saveCheckpoints(dir: string, options: SaveCheckpointsOptions = {}): Callback {
  checkText('saveCheckpoints', 'the path', dir);
  const { every, keep } = withDefaults<SaveCheckpointsOptions>('saveCheckpoints', options, { every: 'epoch', keep: 1 });
  checkCount('saveCheckpoints', 'keep', keep);
  if (every !== 'epoch') checkCount('saveCheckpoints', 'every', every);
  const node = fileSystem('saveCheckpoints');
  return (event, run) => {
    const isDue = every === 'epoch' ? event.type === 'epoch' : event.type === 'step' && event.step % every === 0;
    if (!isDue && event.type !== 'pause' && event.type !== 'end') return;
    const path = node.path.join(dir, `step-${String(event.step).padStart(9, '0')}.safetensors`);
    saveCheckpoint(path, { run });
    const all = checkpointsIn(node, dir);
    // What sorts behind it is of another run, or of one that was restored to a step before.
    for (const old of all.slice(0, Math.max(0, all.indexOf(path) + 1 - keep))) node.fs.rmSync(old, { force: true });
  };
}

/** Returns the path of the latest checkpoint that saveCheckpoints wrote into the folder; null if there is none. */
export function latestCheckpoint(dir: string): string | null {
  refuseOptions('latestCheckpoint', arguments[1]);
  checkText('latestCheckpoint', 'the path', dir);
  return checkpointsIn(fileSystem('latestCheckpoint'), dir).at(-1) ?? null;
}

/** Returns the paths of the folder's checkpoints, the oldest first. */
function checkpointsIn({ fs, path }: FileSystem, dir: string): string[] {
  if (!fs.existsSync(dir)) return [];
  const names = fs.readdirSync(dir).filter((name) => NAME.test(name));
  return names.sort().map((name) => path.join(dir, name));
}

/**
 * Appends each event as a line of JSON to a file. With the run its length is saved: when a run is restored, the lines of the steps that
 * will be repeated are removed, also one that was cut.
 * @example callbacks: [logJsonLines('runs/1/events.jsonl')]
 */
export function logJsonLines(path: string): Callback {
  refuseOptions('logJsonLines', arguments[1]);
  // JSON has no NaN and no infinity; null stands for them, as JSON.stringify has it.
  return lineLog('logJsonLines', path, null, (event) => JSON.stringify(event));
}

/** The columns of logCsv before those of the metrics. */
const COLUMNS = ['type', 'step', 'epoch', 'loss', 'lr', 'gradNorm', 'samples'];

/**
 * Appends each event as a row to a file of comma-separated values (RFC 4180), with a header and a column for each metric. See logJsonLines.
 * @example callbacks: [logCsv('runs/1/events.csv')]
 */
export function logCsv(path: string): Callback {
  refuseOptions('logCsv', arguments[1]);
  const header = (run: FitRun): string => [...COLUMNS, ...run.metricNames.map(csvField)].join(',');
  return lineLog('logCsv', path, header, (event, run) => {
    const values = { ...event } as Readonly<Record<string, string | number | null | undefined>>;
    const metrics: Readonly<Record<string, number>> = 'metrics' in event ? event.metrics : {};
    const fields = [...COLUMNS.map((column) => values[column]), ...run.metricNames.map((name) => metrics[name])];
    return fields.map((field) => (field == null ? '' : csvField(String(field)))).join(',');
  });
}

function csvField(text: string): string {
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Appends a line for each event to a file. */
function lineLog(
  op: string,
  path: string,
  header: ((run: FitRun) => string) | null,
  line: (event: FitEvent, run: FitRun) => string,
): Callback {
  checkText(op, 'the path', path);
  const { fs } = fileSystem(op);
  const attempt = <T>(step: () => T): T => {
    try {
      return step();
    } catch (cause) {
      throw new FileError(`${op}: cannot write ${path} (${errorCode(cause)})`, { cause });
    }
  };
  const lengthOf = (): number => attempt(() => fs.statSync(path, { throwIfNoEntry: false })?.size ?? 0);
  const onEvent = (event: FitEvent, run: FitRun): void => {
    const start = header !== null && lengthOf() === 0 ? `${header(run)}\n` : '';
    const bytes = new TextEncoder().encode(`${start}${line(event, run)}\n`);
    attempt(() => {
      const file = fs.openSync(path, 'a');
      try {
        appendWhole(fs, file, bytes);
      } finally {
        fs.closeSync(file);
      }
    });
  };
  return Object.assign(onEvent, {
    stateDict: () => ({ length: lengthOf() }),
    loadStateDict: ({ length }: { length: number }) => {
      const current = lengthOf();
      if (current < length)
        throw new FileError(`${op}: ${path} has ${current} bytes, the restored run had written ${length}; give the file of that run`);
      if (current > length) attempt(() => fs.truncateSync(path, length));
    },
  });
}

/**
 * Passes losses, learning rates and metrics to a writer such as SummaryWriter.
 * @example callbacks: [logScalars(new SummaryWriter('runs/1'))]
 */
export function logScalars(writer: ScalarWriter): Callback {
  refuseOptions('logScalars', arguments[1]);
  if (typeof peek(writer, 'addScalar') !== 'function')
    throw new ArgumentError(`logScalars: expected a writer with addScalar, got ${kindOf(writer)}`);
  return (event) => {
    if (event.type === 'step') {
      writer.addScalar('train/loss', event.loss, event.step);
      writer.addScalar('train/lr', event.lr, event.step);
      if (event.gradNorm !== null) writer.addScalar('train/gradNorm', event.gradNorm, event.step);
    }
    if (event.type === 'evaluation') writer.addScalar('evaluation/loss', event.loss, event.step);
    if (!('metrics' in event)) return;
    const group = event.type === 'step' ? 'train' : event.type;
    for (const [name, value] of Object.entries(event.metrics)) writer.addScalar(`${group}/${name}`, value, event.step);
  };
}

const BAR_LENGTH = 24;

/**
 * Shows the progress in one line, and a line of its own for each evaluation.
 * @example callbacks: [logProgress()]
 */
export function logProgress(options: LogProgressOptions = {}): Callback {
  const defaults: Required<LogProgressOptions> = { write: (text) => void process.stderr.write(text), every: 10 };
  const { write, every } = withDefaults('logProgress', options, defaults);
  checkFunction('logProgress', 'write', write);
  checkCount('logProgress', 'every', every);
  return (event, run) => {
    const { step } = event;
    if (event.type === 'step' && step % every !== 0 && step !== run.totalSteps) return;
    const numbers = 'metrics' in event ? Object.entries({ loss: event.loss, ...event.metrics }) : [];
    const figures = numbers.map(([name, value]) => `  ${name} ${value.toPrecision(4)}`).join('');
    if (event.type === 'step') write(`\r${bar(step / run.totalSteps)} ${step}/${run.totalSteps}${figures}`);
    if (event.type === 'evaluation') write(`\rstep ${step}, epoch ${event.epoch}:${figures}\n`);
    if (event.type === 'pause') write(`\npaused at step ${step}\n`);
    if (event.type === 'end') write(event.reason === null ? '\n' : `\nstopped at step ${step}: ${event.reason}\n`);
  };
}

function bar(share: number): string {
  const full = Math.min(BAR_LENGTH, Math.floor(share * BAR_LENGTH));
  return '█'.repeat(full) + '░'.repeat(BAR_LENGTH - full);
}

// — checks —

function isBetter(value: number, best: number | null, mode: 'min' | 'max', minDelta: number): boolean {
  if (Number.isNaN(value)) return false;
  if (best === null) return true;
  return mode === 'min' ? value < best - minDelta : value > best + minDelta;
}

function valueOf(op: string, event: EvaluationEvent, monitor: string): number {
  if (monitor === 'loss') return event.loss;
  if (Object.hasOwn(event.metrics, monitor)) return event.metrics[monitor]!;
  throw new ArgumentError(`${op}: the evaluation has no metric '${monitor}'; it has ${['loss', ...Object.keys(event.metrics)].join(', ')}`);
}

function checkMode(op: string, mode: unknown): void {
  if (mode !== 'min' && mode !== 'max') throw new ArgumentError(`${op}: mode must be 'min' or 'max', got ${shown(mode)}`);
}

function checkCount(op: string, name: string, value: number): void {
  if (!(Number.isSafeInteger(value) && value >= 1))
    throw new ArgumentError(`${op}: ${name} must be an integer from 1 on, got ${shown(value)}`);
}

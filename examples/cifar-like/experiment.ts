/**
 * A run: trains and tests one net after the other, records metrics, and saves checkpoints from which a stopped run resumes.
 */
import type { Stateful } from 'chainrule';
import { extraOf, netsOf, type Saved } from './checkpoint.ts';
import type { Data } from './data.ts';
import type { Display } from './display.ts';
import { RunError } from './errors.ts';
import { evaluate } from './evaluate.ts';
import { NotFinite, type Observer, prepare, type Progress, totalSteps, train, type Training } from './loop.ts';
import { gatesOf } from './excitations.ts';
import { makeModel, parameterCount, titleOf } from './model.ts';
import type { Metric } from './metrics.ts';
import type { RunFolder } from './run-folder.ts';
import type { Result } from './table.ts';

/** Is told what a run does, as it happens. */
export interface Watcher {
  /** Training of a net starts, or resumes after `step` steps; metrics.jsonl has what was recorded before. */
  begin(net: Result['net'], step: number): void;
  /** A metric was written. */
  record(metric: Metric): void;
}

/** The watcher of a run without one. */
export const NOBODY: Watcher = { begin() {}, record() {} };

/** Time between two checkpoints within an epoch, in milliseconds. The end of every epoch has one as well. */
const SAVE_INTERVAL_MS = 10_000;

/**
 * Trains the nets that the run in `folder` has not finished, and returns the results of all. Returns null if it was stopped; its
 * state is saved then.
 *
 * Throws: RunError or an error of the library, with a one-line message
 */
export async function runExperiment(
  folder: RunFolder,
  data: Data,
  display: Display,
  stopRequested: () => boolean,
  watcher: Watcher,
): Promise<Result[] | null> {
  const { settings } = folder;
  const saved = folder.readCheckpoint();
  const results = [...(saved?.results ?? [])];
  const nets = netsOf(settings);
  for (let phase = saved?.phase ?? 0; phase < nets.length; phase++) {
    const net = nets[phase]!;
    const training = prepare(makeModel(settings, net === 'se', data.shape[0]!), data, settings);
    const resumed = saved?.phase === phase ? saved : null;
    const progress: Progress = resumed?.progress ?? { step: 0, seconds: 0, evaluatedAt: 0 };
    const save = (): void => {
      checkFinite(training, progress.step);
      folder.save(statesOf(training), extraOf(settings, phase, progress, results));
    };
    try {
      begin(training, resumed, folder);
      // Before the first metric: from here on, metrics without a checkpoint mean that the checkpoint was lost.
      if (saved === null) save();
      // A net is skipped if the checkpoint was written after it had been tested.
      const isFinished =
        results.length > phase ||
        (await finishNet(net, { training, progress, data, folder, display, save, stopRequested, watcher }, results));
      if (!isFinished) return null;
    } catch (error) {
      throw error instanceof NotFinite ? runErrorFor(error, titleOf(settings.model, net === 'se'), folder) : error;
    }
    training.model.dispose();
    training.optimizer.dispose();
  }
  return results;
}

/** Trains and tests one net, saves it, and adds its result; returns false if it was stopped, after saving too. */
async function finishNet(net: Result['net'], run: NetRun, results: Result[]): Promise<boolean> {
  const result = await trainNet(net, run);
  if (result !== null) {
    results.push(result);
    run.folder.saveWeights(net, run.training.model.stateDict());
  }
  run.save();
  return result !== null;
}

/** Puts the training back to its checkpoint, if there is one. Metrics are cut only when the checkpoint has proved to fit. */
function begin(training: Training, saved: Saved | null, folder: RunFolder): void {
  if (saved === null) return;
  folder.restore(statesOf(training));
  folder.cutMetrics(saved.metricsBytes);
}

function statesOf({ model, optimizer, scheduler, loader }: Training): Record<string, Stateful> {
  return { model, optimizer, scheduler, loader };
}

interface NetRun {
  readonly training: Training;
  readonly progress: Progress;
  readonly data: Data;
  readonly folder: RunFolder;
  readonly display: Display;
  /** Writes a checkpoint. */
  readonly save: () => void;
  readonly stopRequested: () => boolean;
  readonly watcher: Watcher;
}

/** Trains one net to its last step and tests it; returns null if it was stopped. */
async function trainNet(
  net: Result['net'],
  { training, progress, data, folder, display, save, stopRequested, watcher }: NetRun,
): Promise<Result | null> {
  const { settings } = folder;
  const title = titleOf(settings.model, net === 'se');
  let savedAt = performance.now();
  const record = (metric: Metric): void => {
    folder.append(metric);
    watcher.record(metric);
  };
  const observer: Observer = {
    onStep: (report) => {
      record({ net, ...report });
      display.step(report);
    },
    onInterimEvaluation: (step, { loss, accuracy, labels }) =>
      record({ net, step, images: labels.length, testLoss: loss, testAccuracy: accuracy }),
    onSafePoint: (epochEnd) => {
      if (!epochEnd && performance.now() - savedAt < SAVE_INTERVAL_MS) return;
      save();
      savedAt = performance.now();
    },
    stopRequested,
  };
  watcher.begin(net, progress.step);
  display.begin(title, progress.step, totalSteps(data, settings), settings.batchSize);
  try {
    if (!(await train(training, data, settings, progress, observer))) return null;
  } finally {
    display.end();
  }
  const { batchSize } = settings;
  const tested = await evaluate(training.model, data.test, { batchSize, transform: data.testTransform, stopRequested });
  if (tested === null) return null;
  record({ net, step: progress.step, images: tested.labels.length, testLoss: tested.loss, testAccuracy: tested.accuracy });
  display.note(`${title}: ${(100 * tested.accuracy).toFixed(2)} % of ${tested.labels.length} test images`);
  return {
    net,
    title,
    parameters: parameterCount(training.model),
    steps: progress.step,
    seconds: progress.seconds,
    imagesPerSecond: (progress.step * batchSize) / progress.seconds,
    testLoss: tested.loss,
    testAccuracy: tested.accuracy,
    labels: tested.labels.join(''),
    predictions: tested.predictions.join(''),
    gates: net === 'se' ? gatesOf(training.model, data, settings) : [],
  };
}

/** Throws NotFinite for a weight that is NaN or infinite: an update can break the weights before the next loss shows it. */
function checkFinite({ model }: Training, step: number): void {
  for (const [name, p] of model.namedParameters()) {
    const bad = p.data().find((v) => !Number.isFinite(v));
    if (bad !== undefined) throw new NotFinite(step, `weight ${name} is ${bad}`);
  }
}

/** Returns the error for the user: where the number appeared, which checkpoint is left, and what to change. */
function runErrorFor({ step, message }: NotFinite, title: string, folder: RunFolder): RunError {
  const kept = folder.hasProgress ? `the last good checkpoint is kept in ${folder.dir}` : 'there was no checkpoint yet';
  return new RunError(
    `${title}, step ${step}: ${message}, expected a finite number; ${kept}; start again with a --lr below ${folder.settings.lr}`,
  );
}

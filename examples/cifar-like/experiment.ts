/**
 * A run: trains and tests one net after the other, records metrics, and saves checkpoints from which a stopped run resumes.
 */
import { broadcastState, DataParallel, type Group } from 'chainrule/distributed';
import type { Module } from 'chainrule/nn';
import { type EvaluationEvent, NonFiniteLossError } from 'chainrule/train';
import { netsOf } from './checkpoint.ts';
import type { Data } from './data.ts';
import type { Display } from './display.ts';
import { RunError } from './errors.ts';
import { gatesOf } from './excitations.ts';
import { prepare, type Training } from './loop.ts';
import type { Metric } from './metrics.ts';
import { makeModel, parameterCount, titleOf } from './model.ts';
import { fromRank0, type RunFiles, sharedError, together } from './ranks.ts';
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

/** The training of a net has so many parts, with an interim evaluation between two of them. */
const PARTS = 10;
/** Time between two checkpoints within an epoch, in milliseconds. The end of every epoch has one as well. */
const SAVE_INTERVAL_MS = 10_000;

/**
 * Trains the nets that the run in `folder` has not finished, and returns the results of all. Returns null if `signal` was aborted; the
 * run's state is saved then. All ranks of the group call it; rank 0 alone has files, and a signal of any rank ends all.
 *
 * Throws: RunError or an error of the library, with a one-line message
 */
export async function runExperiment(
  folder: RunFiles,
  data: Data,
  display: Display,
  signal: AbortSignal,
  watcher: Watcher,
  group: Group,
): Promise<Result[] | null> {
  const { settings } = folder;
  const saved = fromRank0(group, () => folder.readCheckpoint());
  const results = [...(saved?.results ?? [])];
  const nets = netsOf(settings);
  for (let phase = saved?.phase ?? 0; phase < nets.length; phase++) {
    const net = nets[phase]!;
    const model = makeModel(settings, net === 'se', data.shape[0]!);
    const parallel = group.size === 1 ? null : new DataParallel(model, { group });
    const ranks = parallel && { shard: group, parallel };
    const training = prepare(model, data, settings, { parts: PARTS, signal, ranks });
    const { run } = training;
    const save = (): void => {
      if (group.rank > 0) return;
      const bad = badWeight(run.model);
      if (bad !== null) throw notFinite(folder, net, run.step, bad);
      folder.save(run, { phase, step: run.step, results });
    };
    if (saved?.phase === phase) {
      together(group, () => folder.restore(run, saved));
      broadcastState(group, run);
    }
    // Before the first metric: from here on, metrics without a checkpoint mean that the checkpoint was lost.
    if (saved === null) save();
    // A net is skipped if the checkpoint was written after it had been tested.
    if (results.length === phase) {
      const result = await trainNet(net, training, { folder, data, display, watcher, save, group });
      if (result !== null) {
        results.push(result);
        folder.saveWeights(net, run.model.stateDict());
      }
      save();
      if (result === null) return null;
    }
    parallel?.dispose();
    run.model.dispose();
    run.optimizer.dispose();
  }
  return results;
}

interface Surroundings {
  readonly folder: RunFiles;
  readonly data: Data;
  readonly display: Display;
  readonly watcher: Watcher;
  /** Writes a checkpoint. */
  readonly save: () => void;
  readonly group: Group;
}

/** Trains one net to its last step and tests it; returns null if it was stopped. */
async function trainNet(net: Result['net'], training: Training, around: Surroundings): Promise<Result | null> {
  const { folder, data, display, watcher, save, group } = around;
  const { run, answers } = training;
  const { settings } = folder;
  const title = titleOf(settings.model, net === 'se');
  const record = (metric: Metric): void => {
    folder.append(metric);
    watcher.record(metric);
  };
  let tested: EvaluationEvent | null = null;
  let savedAt = performance.now();
  watcher.begin(net, run.step);
  display.begin(title, run.step, run.totalSteps, settings.batchSize);
  try {
    for await (const event of run) {
      const { step, epoch } = event;
      if (event.type === 'pause') return null;
      if (event.type === 'evaluation') {
        tested = event;
        record({ net, step, images: event.samples, testLoss: event.loss, testAccuracy: event.metrics.accuracy! });
      }
      if (event.type !== 'step') continue;
      const report = { step, epoch, loss: event.loss, accuracy: event.metrics.accuracy!, lr: event.lr };
      record({ net, ...report });
      display.step(report);
      const isEpochEnd = step % run.batches === 0 || step === run.totalSteps;
      if (!isEpochEnd && performance.now() - savedAt < SAVE_INTERVAL_MS) continue;
      save();
      savedAt = performance.now();
    }
  } catch (error) {
    // The loss is that of all ranks.
    throw error instanceof NonFiniteLossError ? sharedError(group, notFinite(folder, net, error.step, `the loss is ${error.loss}`)) : error;
  } finally {
    display.end();
  }
  if (tested === null) throw folder.checkpointError(`results: expected that of the net ${net}, which has ended, got none`);
  const testAccuracy = answers.compute();
  display.note(`${title}: ${(100 * testAccuracy).toFixed(2)} % of ${tested.samples} test images`);
  return {
    net,
    title,
    parameters: parameterCount(run.model),
    steps: run.step,
    ranks: group.size,
    seconds: run.seconds,
    imagesPerSecond: (run.step * settings.batchSize) / run.seconds,
    testLoss: tested.loss,
    testAccuracy,
    labels: answers.labels.join(''),
    predictions: answers.predictions.join(''),
    gates: net === 'se' && group.rank === 0 ? gatesOf(run.model, data, settings) : [],
  };
}

/** Names a weight that is NaN or infinite; null if there is none. An update can break the weights before the next loss shows it. */
function badWeight(model: Module): string | null {
  for (const [name, p] of model.namedParameters()) {
    const bad = p.data().find((v) => !Number.isFinite(v));
    if (bad !== undefined) return `weight ${name} is ${bad}`;
  }
  return null;
}

/** Returns the error for the user: where the number appeared, which checkpoint is left, and what to change. */
function notFinite({ dir, hasProgress, settings }: RunFiles, net: Result['net'], step: number, what: string): RunError {
  const kept = hasProgress ? `the last good checkpoint is kept in ${dir}` : 'there was no checkpoint yet';
  const title = titleOf(settings.model, net === 'se');
  return new RunError(`${title}, step ${step}: ${what}, expected a finite number; ${kept}; start again with a --lr below ${settings.lr}`);
}

/**
 * A run: one net after the other trained, tested and recorded, and saved so that it can go on after anything.
 */
import type { Stateful } from 'chainrule';
import type { Data } from './data.ts';
import type { Display } from './display.ts';
import { RunError } from './errors.ts';
import { evaluate } from './evaluate.ts';
import { NotFinite, type Observer, prepare, type Progress, totalSteps, train, type Training } from './loop.ts';
import { excitationsOf } from './excitations.ts';
import { makeModel, parameterCount, titleOf } from './model.ts';
import type { Settings } from './options.ts';
import type { RunFolder } from './run-folder.ts';
import type { Result } from './table.ts';

/** What a checkpoint says beside the states. */
interface Extra extends Progress {
  /** Index of the net being trained, in the order of `netsOf`. */
  readonly phase: number;
  /** Nets that are done. */
  readonly results: readonly Result[];
}

/** Between checkpoints, in milliseconds, beside those at the end of every epoch. */
const SAVE_MS = 10_000;

/** The nets of a run, in the order they are trained. */
function netsOf({ se }: Settings): Result['net'][] {
  return se === null ? ['plain', 'se'] : [se ? 'se' : 'plain'];
}

/**
 * Trains what is left of the run in `folder`; null if it was asked to stop before the end, all being saved.
 *
 * Throws: RunError or an error of the library, in one line
 */
export async function runExperiment(
  folder: RunFolder,
  data: Data,
  display: Display,
  stopRequested: () => boolean,
): Promise<Result[] | null> {
  const { settings } = folder;
  const saved = folder.rewind() as Extra | null;
  const results = [...(saved?.results ?? [])];
  const nets = netsOf(settings);
  for (let phase = saved?.phase ?? 0; phase < nets.length; phase++) {
    const net = nets[phase]!;
    const training = prepare(makeModel(settings, net === 'se', data.shape[0]!), data, settings);
    const resumed = saved?.phase === phase;
    if (resumed) folder.restore(states(training));
    const progress: Progress = resumed
      ? { step: saved.step, seconds: saved.seconds, glancedAt: saved.glancedAt }
      : { step: 0, seconds: 0, glancedAt: 0 };
    const save = (): void => {
      checkFinite(training, progress.step);
      folder.save(states(training), { phase, ...progress, results } satisfies Extra);
    };
    try {
      if (results.length === phase) {
        const result = await trainNet(net, { training, progress, data, folder, display, save, stopRequested });
        if (result === null) {
          save();
          return null;
        }
        results.push(result);
        folder.saveWeights(net, training.model.stateDict());
        save();
      }
    } catch (error) {
      throw error instanceof NotFinite ? inOneLine(error, titleOf(settings.model, net === 'se'), folder) : error;
    }
    training.model.dispose();
    training.optimizer.dispose();
  }
  return results;
}

function states({ model, optimizer, scheduler, loader }: Training): Record<string, Stateful> {
  return { model, optimizer, scheduler, loader };
}

interface Net {
  readonly training: Training;
  readonly progress: Progress;
  readonly data: Data;
  readonly folder: RunFolder;
  readonly display: Display;
  readonly save: () => void;
  readonly stopRequested: () => boolean;
}

/** Trains one net to its last step and tests it; null if it was asked to stop. */
async function trainNet(
  net: Result['net'],
  { training, progress, data, folder, display, save, stopRequested }: Net,
): Promise<Result | null> {
  const { settings } = folder;
  const title = titleOf(settings.model, net === 'se');
  let savedAt = performance.now();
  const observer: Observer = {
    onStep: (report) => {
      folder.append({ net, ...report });
      display.step(report);
    },
    onGlance: (step, { loss, accuracy, labels }) =>
      folder.append({ net, step, images: labels.length, testLoss: loss, testAccuracy: accuracy }),
    onSafePoint: (epochEnd) => {
      if (!epochEnd && performance.now() - savedAt < SAVE_MS) return;
      save();
      savedAt = performance.now();
    },
    stopRequested,
  };
  display.begin(title, progress.step, totalSteps(data, settings), settings.batchSize);
  try {
    if (!(await train(training, data, settings, progress, observer))) return null;
  } finally {
    display.end();
  }
  const { batchSize } = settings;
  const tested = await evaluate(training.model, data.test, { batchSize, transform: data.testTransform, stopRequested });
  if (tested === null) return null;
  folder.append({ net, step: progress.step, images: tested.labels.length, testLoss: tested.loss, testAccuracy: tested.accuracy });
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
    excitations: net === 'se' ? excitationsOf(training.model, data, settings) : [],
  };
}

/** A checkpoint must be worth going back to: an update can break the weights before the next loss shows it. */
function checkFinite({ model }: Training, step: number): void {
  for (const [name, p] of model.namedParameters()) {
    const bad = p.data().find((v) => !Number.isFinite(v));
    if (bad !== undefined) throw new NotFinite(step, `weight ${name} is ${bad}`);
  }
}

function inOneLine({ step, message }: NotFinite, title: string, folder: RunFolder): RunError {
  const kept = folder.hasCheckpoint ? `the last good checkpoint is kept in ${folder.dir}` : 'there was no checkpoint yet';
  return new RunError(
    `${title}, step ${step}: ${message}, expected a finite number; ${kept}; start again with a --lr below ${folder.settings.lr}`,
  );
}

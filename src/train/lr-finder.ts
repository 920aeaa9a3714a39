/**
 * The range test for learning rates.
 */
import { defaultGenerator, scope } from '../autograd/index.ts';
import { isInstance, peek } from '../core/describe.ts';
import { ArgumentError, kindOf, shown } from '../core/errors.ts';
import { checkFunction, checkOptions } from '../core/options.ts';
import { log, pow } from '../kernels/scalars.ts';
import { cloneStateDict, disposeStateDict } from '../nn/index.ts';
import { rememberModes } from '../nn/modes.ts';
import { Optimizer } from '../optim/index.ts';
import { checkLoader, checkLoss, checkModel, type LossFunction, type Model, readBatch } from './evaluate.ts';
import type { TrainingLoader } from './fit-options.ts';

/** Options of lrFinder. */
export interface LrFinderOptions {
  readonly loader: TrainingLoader;
  readonly optimizer: Optimizer;
  readonly loss: LossFunction;
  /** The first rate. Default 1e-6. */
  readonly minLr?: number;
  /** The last rate. Default 10. */
  readonly maxLr?: number;
  /** Default 100. */
  readonly steps?: number;
  /** The share of the old average in the smoothed loss, below 1. Default 0.9. */
  readonly smoothing?: number;
  /** The test ends when the smoothed loss is more than so many times its minimum, if that is above 0. Default 4. */
  readonly divergence?: number;
}

/** The curve of a range test. */
export interface LrCurve {
  readonly lrs: readonly number[];
  /** The loss at each rate. */
  readonly losses: readonly number[];
  /** The moving average of the losses, corrected for its start. */
  readonly smoothed: readonly number[];
  /**
   * The rate where the smoothed loss falls most steeply over the logarithm of the rate. The first 1 / (1 − smoothing) rates are left out, 10
   * by default: their average is that of few losses, and follows single batches. Null for a curve that is not longer, or never falls.
   */
  readonly suggestion: number | null;
}

/**
 * Trains for some steps with a learning rate that grows exponentially, and returns the curve of the loss. Then restores the model, the
 * optimizer, the loader and the default generator, also if it throws.
 *
 * Throws: ArgumentError for a loader without batches
 * Source: Smith 2017, arXiv:1506.01186, section 3.3; the smoothing and the end as in fastai, the suggestion as PyTorch Lightning's
 * @example const { suggestion } = await lrFinder(model, { loader, optimizer, loss: F.crossEntropy })
 */
export async function lrFinder(model: Model, options: LrFinderOptions): Promise<LrCurve> {
  checkModel('lrFinder', model);
  checkOptions('lrFinder', options, ['loader', 'optimizer', 'loss', 'minLr', 'maxLr', 'steps', 'smoothing', 'divergence']);
  const { minLr = 1e-6, maxLr = 10, steps = 100, smoothing = 0.9, divergence = 4 } = options;
  const test = { ...options, minLr, maxLr, steps, smoothing, divergence };
  checkTest(test);
  const { loader, optimizer } = test;
  const parts = { model, optimizer, loader, generator: defaultGenerator };
  const saved = Object.entries(parts).map(([, part]) => [part, cloneStateDict(part.stateDict())] as const);
  const restoreModes = rememberModes(model);
  try {
    return await rangeTest(model, test);
  } finally {
    optimizer.zeroGrad();
    for (const [part, state] of saved) {
      part.loadStateDict(state as never);
      disposeStateDict(state);
    }
    restoreModes();
  }
}

function checkTest({ loader, optimizer, loss, minLr, maxLr, steps, smoothing, divergence }: Required<LrFinderOptions>): void {
  checkLoader('lrFinder', 'loader', loader);
  for (const name of ['stateDict', 'loadStateDict'] as const) checkFunction('lrFinder', `loader.${name}`, peek(loader, name));
  if (!isInstance(optimizer, Optimizer))
    throw new ArgumentError(`lrFinder: optimizer must be an optimizer, such as new SGD(model.parameters(), …), got ${kindOf(optimizer)}`);
  checkFunction('lrFinder', 'loss', loss);
  if (!(Number.isFinite(minLr) && Number.isFinite(maxLr) && minLr > 0 && minLr < maxLr))
    throw new ArgumentError(`lrFinder: expected 0 < minLr < maxLr, got ${shown(minLr)} and ${shown(maxLr)}`);
  if (!Number.isSafeInteger(steps) || steps < 2)
    throw new ArgumentError(`lrFinder: steps must be an integer from 2 on, got ${shown(steps)}`);
  if (!(typeof smoothing === 'number' && smoothing >= 0 && smoothing < 1))
    throw new ArgumentError(`lrFinder: smoothing must be a number from 0 to below 1, got ${shown(smoothing)}`);
  if (!(typeof divergence === 'number' && divergence > 1))
    throw new ArgumentError(`lrFinder: divergence must be a number above 1, got ${shown(divergence)}`);
}

async function rangeTest(model: Model, options: Required<LrFinderOptions>): Promise<LrCurve> {
  const { loader, optimizer, loss: lossOf, minLr, maxLr, steps, smoothing, divergence } = options;
  const [lrs, losses, smoothed]: [number[], number[], number[]] = [[], [], []];
  const curve = (): LrCurve => ({ lrs, losses, smoothed, suggestion: suggested(lrs, smoothed, smoothing) });
  let average = 0;
  let lowest = Infinity;
  model.train();
  for (;;) {
    const before = lrs.length;
    for await (const batch of loader) {
      const lr = minLr * pow(maxLr / minLr, lrs.length / (steps - 1));
      for (const group of optimizer.paramGroups) group.lr = lr;
      const loss = scope(() => step(model, optimizer, lossOf, batch));
      // A loss that is not finite ends the curve before it.
      if (!Number.isFinite(loss)) return curve();
      average = smoothing * average + (1 - smoothing) * loss;
      lrs.push(lr);
      losses.push(loss);
      const current = average / (1 - pow(smoothing, lrs.length));
      smoothed.push(current);
      lowest = Math.min(lowest, current);
      // A multiple of a minimum below 0 is lower still.
      const diverges = lowest > 0 && current > divergence * lowest;
      if (lrs.length === steps || diverges) return curve();
    }
    if (lrs.length === before) throw new ArgumentError('lrFinder: the loader has no batch');
  }
}

function step(model: Model, optimizer: Optimizer, lossOf: LossFunction, batch: Parameters<typeof readBatch>[1]): number {
  const { input, target } = readBatch('lrFinder', batch);
  optimizer.zeroGrad();
  const loss = checkLoss('lrFinder', lossOf(model.forward(input), target));
  const value = loss.item();
  if (!Number.isFinite(value)) return value;
  loss.backward();
  optimizer.step();
  return value;
}

/** Returns the rate where the average falls most steeply, once it is one of as many losses as its smoothing reaches back. */
function suggested(lrs: readonly number[], smoothed: readonly number[], smoothing: number): number | null {
  let suggestion: number | null = null;
  let steepest = 0;
  for (let i = Math.round(1 / (1 - smoothing)); i < lrs.length; i++) {
    const slope = (smoothed[i]! - smoothed[i - 1]!) / log(lrs[i]! / lrs[i - 1]!);
    if (slope < steepest) [steepest, suggestion] = [slope, lrs[i]!];
  }
  return suggestion;
}

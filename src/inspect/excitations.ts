/**
 * nn.recordExcitations: statistics of the scales that channel gates compute, by class.
 */
import { arange, checkTensors, isTensor, noGrad, tensor, type Tensor } from '../autograd/index.ts';
import { foreignKind } from '../core/copies.ts';
import { isIterable, peek } from '../core/describe.ts';
import { ArgumentError, isArray, kindOf } from '../core/errors.ts';
import { checkCount, withDefaults } from '../core/options.ts';
import { type ObservedModule, withForwardHooks } from './summary.ts';

/** Statistics of one gate's scales, by class. */
export interface Excitation {
  /** The gate's path in the model. */
  readonly block: string;
  /** Mean scale of each channel over the images of a class, [classes, C], float64; NaN for a class without images. */
  readonly mean: Tensor;
  /** Population standard deviation of the scales over those images (no Bessel correction), [classes, C]. */
  readonly std: Tensor;
}

/** Options of recordExcitations. */
export interface RecordExcitationsOptions {
  /** Default: the largest label plus one. */
  readonly numClasses?: number | null;
}

/**
 * Runs the model on all batches in evaluation mode; returns, for each channel gate, the mean and spread of its scales by class.
 * Source: Hu et al. 2017, arXiv:1709.01507, fig. 6 (means of classes) and 7 (spread within a class)
 * Throws: ArgumentError if the model has no ChannelGate (SqueezeExcite, ECA, EffectiveSE or your own), if the loader yields no
 *         batch, or if a label is not a class
 * @example for (const { block, mean } of recordExcitations(model, loader)) console.log(block, mean.toArray());
 */
export function recordExcitations(
  model: ObservedModule & { forward(x: Tensor): Tensor },
  loader: Iterable<readonly [x: Tensor, labels: Tensor]>,
  options: RecordExcitationsOptions = {},
): Excitation[] {
  const { numClasses } = withDefaults('recordExcitations', options, { numClasses: null });
  if (numClasses !== null) checkCount('recordExcitations', 'numClasses', numClasses);
  if (typeof peek(model, 'namedModules') !== 'function')
    throw new ArgumentError(`recordExcitations: model must be a module, got ${kindOf(model)}`);
  if (foreignKind(model) !== null) throw new ArgumentError(`recordExcitations: model must be a module, got ${kindOf(model)}`);
  if (!isIterable(loader))
    throw new ArgumentError(`recordExcitations: loader must be an iterable of [images, labels], got ${kindOf(loader)}`);
  const modules = model.namedModules();
  const gates = modules.flatMap(([block, module]) => (isGate(module) ? [{ block, gate: module, scales: [] as number[] }] : []));
  if (gates.length === 0) throw new ArgumentError(`recordExcitations: ${model.constructor.name} has no ChannelGate, such as SqueezeExcite`);
  const labels: number[] = [];
  const run = (): void => {
    for (const batch of loader) {
      if (!isArray(batch)) throw new ArgumentError(`recordExcitations: the loader must give [images, labels], got ${kindOf(batch)}`);
      const [x, y] = batch;
      checkTensors('recordExcitations', { images: x, labels: y });
      noGrad(() => void model.forward(x));
      for (const label of y.data()) labels.push(label);
    }
  };
  const recordScales = (module: ObservedModule, [x]: readonly unknown[]): void => {
    const found = gates.find(({ gate }) => gate === module);
    if (found === undefined || !isTensor(x)) return;
    for (const scale of found.gate.excite(x).data()) found.scales.push(scale);
  };
  withForwardHooks(modules, recordScales, run);
  if (labels.length === 0) throw new ArgumentError('recordExcitations: the loader gave no batch');
  const classes = numClasses ?? labels.reduce((most, label) => Math.max(most, label), -Infinity) + 1;
  const invalid = labels.find((label) => !(Number.isInteger(label) && label >= 0 && label < classes));
  if (invalid !== undefined) throw new ArgumentError(`recordExcitations: labels must be classes 0 … ${classes - 1}, got ${invalid}`);
  return noGrad(() => {
    // One row a class, with 1 for each image of that class.
    const members = arange(classes).unsqueeze(1).eq(tensor(labels)).to('float64');
    const average = (values: Tensor): Tensor => members.matmul(values).div(members.sum(1, { keepdim: true }));
    return gates.map(({ block, scales }) => {
      const values = tensor(scales, { dtype: 'float64' }).reshape([labels.length, -1]);
      const mean = average(values);
      return { block, mean, std: average(values.square()).sub(mean.square()).clamp(0).sqrt() };
    });
  });
}

/** Recognises an nn.ChannelGate by its method: inspect must not import nn. */
function isGate(module: ObservedModule): module is ObservedModule & { excite(x: Tensor): Tensor } {
  return 'excite' in module && typeof module.excite === 'function';
}

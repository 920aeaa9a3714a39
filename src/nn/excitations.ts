import { noGrad, tensor, type Tensor } from '../autograd/index.ts';
import { ArgumentError } from '../core/errors.ts';
import { watched } from '../inspect/index.ts';
import { ChannelGate } from './channel-gate.ts';
import { oneHot } from './functional.ts';
import type { ForwardHook, Layer } from './module.ts';

/** What the gates of one block did, class by class. */
export interface Excitation {
  /** The gate's path in the model. */
  readonly block: string;
  /** Mean scale of each channel over the images of each class, [classes, C], float64; NaN for a class without images. */
  readonly mean: Tensor;
  /** Its standard deviation over those images (of the images themselves, not an estimate), [classes, C]. */
  readonly std: Tensor;
}

/** Options of recordExcitations. */
export interface RecordExcitationsOptions {
  /** Default: as many as the largest label needs. */
  readonly numClasses?: number;
}

/**
 * Runs the model on all batches in evaluation mode, and says how each channel gate scaled the channels of each class.
 * Source: Hu et al. 2017, arXiv:1709.01507, fig. 6 (means of classes) and 7 (spread within a class)
 * Throws: ArgumentError for a model without any ChannelGate (SqueezeExcite, ECA, EffectiveSE or your own), or without batches
 * @example for (const { block, mean } of recordExcitations(model, loader)) console.log(block, mean.toArray());
 */
export function recordExcitations(
  model: Layer,
  loader: Iterable<readonly [x: Tensor, labels: Tensor]>,
  { numClasses }: RecordExcitationsOptions = {},
): Excitation[] {
  const modules = model.namedModules();
  const gates = modules.flatMap(([block, m]) => (m instanceof ChannelGate ? [{ block, gate: m, scales: [] as number[] }] : []));
  if (gates.length === 0) throw new ArgumentError(`recordExcitations: ${model.constructor.name} has no ChannelGate, such as SqueezeExcite`);
  const labels: number[] = [];
  const hook: ForwardHook = (m, [x]) => {
    const found = gates.find(({ gate }) => gate === m);
    for (const s of found?.gate.excite(x as Tensor).data() ?? []) found!.scales.push(s);
  };
  watched(modules, hook, () => {
    for (const [x, y] of loader) {
      noGrad(() => void model.forward(x));
      labels.push(...y.data());
    }
  });
  if (labels.length === 0) throw new ArgumentError('recordExcitations: the loader gave no batch');
  return noGrad(() => {
    const members = oneHot(tensor(labels, { dtype: 'int32' }), numClasses)
      .to('float64')
      .transpose(0, 1);
    const average = (values: Tensor): Tensor => members.matmul(values).div(members.sum(1, { keepdim: true }));
    return gates.map(({ block, gate, scales }) => {
      const values = tensor(scales, { dtype: 'float64' }).reshape([labels.length, gate.channels]);
      const mean = average(values);
      return { block, mean, std: average(values.square()).sub(mean.square()).clamp(0).sqrt() };
    });
  });
}

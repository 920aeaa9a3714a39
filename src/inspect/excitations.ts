/**
 * What channel gates do: nn.recordExcitations.
 */
import { arange, isTensor, noGrad, tensor, type Tensor } from '../autograd/index.ts';
import { ArgumentError } from '../core/errors.ts';
import { type Observed, watched } from './summary.ts';

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
 * Throws: ArgumentError for a model without any ChannelGate (SqueezeExcite, ECA, EffectiveSE or your own), without batches, or for
 *         labels that are no classes
 * @example for (const { block, mean } of recordExcitations(model, loader)) console.log(block, mean.toArray());
 */
export function recordExcitations(
  model: Observed & { forward(x: Tensor): Tensor },
  loader: Iterable<readonly [x: Tensor, labels: Tensor]>,
  { numClasses }: RecordExcitationsOptions = {},
): Excitation[] {
  const modules = model.namedModules();
  const gates = modules.flatMap(([block, m]) => (isGate(m) ? [{ block, gate: m, scales: [] as number[] }] : []));
  if (gates.length === 0) throw new ArgumentError(`recordExcitations: ${model.constructor.name} has no ChannelGate, such as SqueezeExcite`);
  const labels: number[] = [];
  const run = (): void => {
    for (const [x, y] of loader) {
      noGrad(() => void model.forward(x));
      labels.push(...y.data());
    }
  };
  const hook = (m: Observed, [x]: readonly unknown[]): void => {
    const found = gates.find(({ gate }) => gate === m);
    if (found !== undefined && isTensor(x)) for (const s of found.gate.excite(x).data()) found.scales.push(s);
  };
  watched(modules, hook, run);
  if (labels.length === 0) throw new ArgumentError('recordExcitations: the loader gave no batch');
  const classes = numClasses ?? Math.max(...labels) + 1;
  const stray = labels.find((label) => !(Number.isInteger(label) && label >= 0 && label < classes));
  if (stray !== undefined) throw new ArgumentError(`recordExcitations: labels must be classes 0 … ${classes - 1}, got ${stray}`);
  return noGrad(() => {
    const members = arange(classes).unsqueeze(1).eq(tensor(labels)).to('float64');
    const average = (values: Tensor): Tensor => members.matmul(values).div(members.sum(1, { keepdim: true }));
    return gates.map(({ block, scales }) => {
      const values = tensor(scales, { dtype: 'float64' }).reshape([labels.length, -1]);
      const mean = average(values);
      return { block, mean, std: average(values.square()).sub(mean.square()).clamp(0).sqrt() };
    });
  });
}

/** An nn.ChannelGate. */
function isGate(m: Observed): m is Observed & { excite(x: Tensor): Tensor } {
  return 'excite' in m && typeof m.excite === 'function';
}

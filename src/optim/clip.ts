/**
 * Gradient clipping, called between backward and the optimizer's step.
 */
import { checkTensors, copyAll_, isTensor, noGrad, type Tensor } from '../autograd/index.ts';
import { isIterable } from '../core/describe.ts';
import { ArgumentError } from '../core/errors.ts';
import { checkNotNegative, checkNumber, refuseOptions, withDefaults } from '../core/options.ts';
import { kernels } from '../kernels/index.ts';
import { pow } from '../kernels/scalars.ts';

/** Options of clipGradNorm. */
export interface ClipOptions {
  /** p of the p-norm; Infinity takes the largest absolute value. Default 2. */
  readonly normType?: number;
  /** Whether a total norm that is NaN or infinite throws. Default false. */
  readonly errorIfNonfinite?: boolean;
}

/** Returns the gradients of one tensor or of several. */
function gradientsOf(op: string, params: Iterable<Tensor> | Tensor): Tensor[] {
  const isList = !isTensor(params) && isIterable(params);
  const tensors = isList ? [...params] : [params];
  tensors.forEach((p, i) => checkTensors(op, { [`parameter ${i}`]: p }));
  return tensors.flatMap((p) => p.grad ?? []);
}

/** Returns the norm of all elements of the gradients together. */
function totalNorm(grads: readonly Tensor[], normType: number): number {
  if (normType === 2) return Math.sqrt(kernels.sumSquares(grads));
  if (normType === Infinity) return grads.reduce((m, g) => (g.numel === 0 ? m : Math.max(m, g.abs().amax().item())), 0);
  // In float64, as the powers of float32 numbers may overflow.
  const sum = grads.reduce((s, g) => s + g.to('float64').abs().pow(normType).sum().item(), 0);
  return pow(sum, 1 / normType);
}

/**
 * Scales all gradients in place so that their total norm is at most `maxNorm`. Returns the norm before scaling.
 * Source: Pascanu et al. 2013, arXiv:1211.5063, algorithm 1
 */
export function clipGradNorm(params: Iterable<Tensor> | Tensor, maxNorm: number, options: ClipOptions = {}): number {
  const { normType, errorIfNonfinite } = withDefaults('clipGradNorm', options, { normType: 2, errorIfNonfinite: false });
  checkNotNegative('clipGradNorm', 'maxNorm', maxNorm);
  checkNumber('clipGradNorm', 'normType', normType);
  if (!(normType > 0)) throw new ArgumentError(`clipGradNorm: normType must be > 0, got ${normType}`);
  const grads = gradientsOf('clipGradNorm', params);
  const total = noGrad(() => totalNorm(grads, normType));
  if (errorIfNonfinite && !Number.isFinite(total)) throw new ArgumentError(`clipGradNorm: the total norm of the gradients is ${total}`);
  const scale = maxNorm / (total + 1e-6);
  // Not `scale < 1`: with a NaN norm the gradients must become NaN, as in PyTorch.
  if (!(scale >= 1)) {
    kernels.blend(grads.map((x) => ({ x, y: null, keep: scale, take: 0 })));
    for (const g of grads) g.storage.version++;
  }
  return total;
}

/** Clamps every element of the gradients to [−value, value] in place; all gradients, or if memory runs out none. */
export function clipGradValue(params: Iterable<Tensor> | Tensor, value: number): void {
  refuseOptions('clipGradValue', arguments[2]);
  checkNotNegative('clipGradValue', 'value', value);
  noGrad(() => {
    const grads = gradientsOf('clipGradValue', params);
    copyAll_(
      'clipGradValue',
      grads.map((g) => [g, g.clamp(-value, value)]),
    );
  });
}

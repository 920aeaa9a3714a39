/**
 * Gradient clipping: between backward and the optimizer's step.
 */
import { checkTensors, isTensor, noGrad, type Tensor } from '../autograd/index.ts';
import { ArgumentError } from '../core/errors.ts';
import { checkNotNegative, withDefaults } from '../core/options.ts';
import { kernels } from '../kernels/index.ts';

/** Options of clipGradNorm. */
export interface ClipOptions {
  /** Which norm: 2 by default; Infinity for the largest absolute value. */
  readonly normType?: number;
  /** Whether a total norm that is NaN or infinite throws. Default false. */
  readonly errorIfNonfinite?: boolean;
}

function gradients(op: string, params: Iterable<Tensor> | Tensor): Tensor[] {
  const all = !isTensor(params) && Symbol.iterator in Object(params) ? [...params] : [params as Tensor];
  all.forEach((p, i) => checkTensors(op, { [`parameter ${i}`]: p }));
  return all.flatMap((p) => p.grad ?? []);
}

/**
 * Scales all gradients, in place, so that their common norm is at most `maxNorm`. Returns the norm before.
 * Source: Pascanu et al. 2013, arXiv:1211.5063, algorithm 1
 */
export function clipGradNorm(params: Iterable<Tensor> | Tensor, maxNorm: number, options: ClipOptions = {}): number {
  const { normType, errorIfNonfinite } = withDefaults('clipGradNorm', options, { normType: 2, errorIfNonfinite: false });
  checkNotNegative('clipGradNorm', 'maxNorm', maxNorm);
  if (!(normType > 0)) throw new ArgumentError(`clipGradNorm: normType must be > 0, got ${normType}`);
  const grads = gradients('clipGradNorm', params);
  const total = noGrad(() => {
    if (normType === 2) return Math.sqrt(kernels.sumSquares(grads));
    if (normType === Infinity) return grads.reduce((m, g) => (g.numel === 0 ? m : Math.max(m, g.abs().amax().item())), 0);
    return grads.reduce((s, g) => s + g.abs().pow(normType).sum().item(), 0) ** (1 / normType);
  });
  if (errorIfNonfinite && !Number.isFinite(total)) throw new ArgumentError(`clipGradNorm: the total norm of the gradients is ${total}`);
  const scale = maxNorm / (total + 1e-6);
  // Not `scale < 1`: a NaN norm must reach the gradients, as in PyTorch.
  if (!(scale >= 1)) {
    kernels.blend(grads.map((x) => ({ x, y: null, keep: scale, take: 0 })));
    for (const g of grads) g.storage.version++;
  }
  return total;
}

/** Clamps every element of the gradients to −value … value, in place. */
export function clipGradValue(params: Iterable<Tensor> | Tensor, value: number): void {
  checkNotNegative('clipGradValue', 'value', value);
  noGrad(() => gradients('clipGradValue', params).forEach((g) => g.copy_(g.clamp(-value, value))));
}

import type { Tensor } from '../autograd/index.ts';
import { ArgumentError } from '../core/errors.ts';
import { kernels } from '../kernels/index.ts';
import { checkEither, checkNotNegative } from './check.ts';
import { Optimizer, type ParamGroup, type Params, type Ready } from './optimizer.ts';

/** Options of Adam and AdamW, for all parameters or for a group. */
export interface AdamOptions {
  /** Learning rate. Default 1e-3. */
  lr?: number;
  /** How much of the averages of g and g² stays at each step. Default [0.9, 0.999]. */
  betas?: readonly [number, number];
  /** Keeps the divisor from 0. Default 1e-8. */
  eps?: number;
  /** Adam: L2 penalty, adds weightDecay·p to the gradient; default 0. AdamW: shrinks p by lr·weightDecay·p; default 0.01. */
  weightDecay?: number;
  /** Divides by the largest average of g² so far. Default false. */
  amsgrad?: boolean;
  /** Climbs instead of descending. Default false. */
  maximize?: boolean;
}

/** A group with all options of Adam. */
export type AdamGroup = ParamGroup & Required<AdamOptions>;

/**
 * Adam, as PyTorch's, at step t with β = betas:
 *   g ← g + weightDecay·p
 *   m ← β₁·m + (1 − β₁)·g,   v ← β₂·v + (1 − β₂)·g²,   with amsgrad v̂ ← max(v̂, v) in place of v below
 *   p ← p − lr / (1 − β₁ᵗ) · m / (√(v / (1 − β₂ᵗ)) + eps)
 * Source: Kingma & Ba 2015, arXiv:1412.6980, algorithm 1; amsgrad: Reddi et al. 2018, arXiv:1904.09237, algorithm 2
 * @example new Adam(model.parameters(), { lr: 3e-4, betas: [0.9, 0.99] })
 */
export class Adam extends Optimizer<AdamGroup> {
  /** Whether weight decay shrinks the parameter instead of adding to the gradient. */
  protected readonly decoupled: boolean = false;

  constructor(params: Params<AdamOptions>, options: AdamOptions = {}, weightDecay = 0) {
    const defaults = { lr: 1e-3, betas: [0.9, 0.999] as const, eps: 1e-8, weightDecay, amsgrad: false, maximize: false };
    super(params as Params<Omit<AdamGroup, 'params'>>, defaults, options);
  }

  protected override checkGroup(g: AdamGroup): void {
    const name = this.constructor.name;
    for (const option of ['lr', 'eps', 'weightDecay']) checkNotNegative(name, option, g[option]);
    for (const option of ['amsgrad', 'maximize']) checkEither(true, false)(name, option, g[option]);
    const valid = Array.isArray(g.betas) && g.betas.length === 2 && g.betas.every((b) => typeof b === 'number' && b >= 0 && b < 1);
    if (!valid) throw new ArgumentError(`${name}: betas must be two numbers from 0 to below 1, got ${JSON.stringify(g.betas)}`);
  }

  protected override update(ready: readonly Ready<AdamGroup>[]): void {
    const entries = ready.map(({ group, param, grad }) => {
      const state = (name: string): Tensor => this.stateOf(param, name).tensor;
      const [count, options] = [state('step'), { ...group, decoupled: this.decoupled }];
      const averages = { expAvg: state('expAvg'), expAvgSq: state('expAvgSq') };
      const maxExpAvgSq = group.amsgrad ? state('maxExpAvgSq') : null;
      return { param, grad, ...averages, maxExpAvgSq, count, step: count.item() + 1, options };
    });
    kernels.adam(entries);
    for (const { count, step } of entries) kernels.fill(step, count);
  }
}

/**
 * Adam with weight decay apart from the gradient, as PyTorch's: first p ← p − lr·weightDecay·p, then Adam's step without a penalty.
 * Source: Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2
 * @example new AdamW(model.parameters(), { lr: 3e-4, weightDecay: 0.05 })
 */
export class AdamW extends Adam {
  protected override readonly decoupled = true;

  constructor(params: Params<AdamOptions>, options: AdamOptions = {}) {
    super(params, options, 0.01);
  }
}

import type { Tensor } from '../autograd/index.ts';
import type { FloatDType } from '../core/dtype.ts';
import { ArgumentError, isArray, shown } from '../core/errors.ts';
import { kernels } from '../kernels/index.ts';
import { checkEither, checkEps, checkFiniteIn, checkNotNegative } from './check.ts';
import { Optimizer, type ParamGroup, type Params, type Ready } from './optimizer.ts';

/** Options of Adam and AdamW, for all parameters or for a group. */
export interface AdamOptions {
  /** The learning rate. Default 1e-3. */
  lr?: number;
  /** The decay rates of the averages of g and g². Default [0.9, 0.999]. */
  betas?: readonly [number, number];
  /** Added to the divisor, so that it is not 0. Default 1e-8. */
  eps?: number;
  /** Adam: L2 penalty, adds weightDecay·p to the gradient; default 0. AdamW: shrinks p by lr·weightDecay·p; default 0.01. */
  weightDecay?: number;
  /** Divides by the largest average of g² so far instead of the current one. Default false. */
  amsgrad?: boolean;
  /** Maximizes instead of minimizing. Default false. */
  maximize?: boolean;
}

/** A parameter group with all options of Adam. */
export type AdamGroup = ParamGroup & Required<AdamOptions>;

/**
 * Adam as in PyTorch, at step t with β = betas:
 *   g ← g + weightDecay·p
 *   m ← β₁·m + (1 − β₁)·g,   v ← β₂·v + (1 − β₂)·g²,   with amsgrad v̂ ← max(v̂, v) in place of v below
 *   p ← p − lr / (1 − β₁ᵗ) · m / (√(v / (1 − β₂ᵗ)) + eps)
 * Source: Kingma & Ba 2015, arXiv:1412.6980, algorithm 1; amsgrad: Reddi et al. 2018, arXiv:1904.09237, algorithm 2
 * @example new Adam(model.parameters(), { lr: 3e-4, betas: [0.9, 0.99] })
 */
export class Adam extends Optimizer<AdamGroup> {
  /** Whether weight decay shrinks the parameter (AdamW) instead of adding to the gradient. */
  protected readonly decoupled: boolean = false;

  /** @param weightDecay The default of the option, which differs in AdamW. */
  constructor(params: Params<AdamOptions>, options: AdamOptions = {}, weightDecay = 0) {
    const defaults = { lr: 1e-3, betas: [0.9, 0.999] as const, eps: 1e-8, weightDecay, amsgrad: false, maximize: false };
    super(params as Params<Omit<AdamGroup, 'params'>>, defaults, options);
  }

  protected override checkGroup(g: AdamGroup): void {
    const name = this.constructor.name;
    for (const option of ['lr', 'eps', 'weightDecay']) checkNotNegative(name, option, g[option]);
    for (const option of ['amsgrad', 'maximize']) checkEither(true, false)(name, option, g[option]);
    const isDecayRate = (b: unknown): boolean => typeof b === 'number' && b >= 0 && b < 1;
    const areValid = isArray(g.betas) && g.betas.length === 2 && g.betas.every(isDecayRate);
    if (!areValid) throw new ArgumentError(`${name}: betas must be two numbers from 0 to below 1, got ${shown(g.betas)}`);
  }

  protected override checkDerived({ lr, betas, eps }: AdamGroup, dtype: FloatDType): void {
    const name = this.constructor.name;
    // The first step has the largest factor.
    checkFiniteIn(dtype, name, 'lr / (1 − betas[0])', lr / (1 - betas[0]));
    // Where all gradients so far are 0, the step would be 0 / 0.
    checkEps(dtype, name, eps);
  }

  protected override update(ready: readonly Ready<AdamGroup>[]): void {
    const entries = ready.map(({ group, param, grad }) => {
      const state = (name: string): Tensor => this.stateOf(param, name).tensor;
      const count = state('step');
      return {
        param,
        grad,
        expAvg: state('expAvg'),
        expAvgSq: state('expAvgSq'),
        maxExpAvgSq: group.amsgrad ? state('maxExpAvgSq') : null,
        count,
        step: count.item() + 1,
        options: { ...group, decoupled: this.decoupled },
      };
    });
    // The kernel computes the whole step, bias correction included: kernels/wasm/optimizers.ts.
    kernels.adam(entries);
    for (const { count, step } of entries) kernels.fill(step, count);
  }
}

/**
 * Adam with decoupled weight decay as in PyTorch: first p ← p − lr·weightDecay·p, then Adam's step without an L2 penalty.
 * Source: Loshchilov & Hutter 2019, arXiv:1711.05101, algorithm 2
 * @example new AdamW(model.parameters(), { lr: 3e-4, weightDecay: 0.05 })
 */
export class AdamW extends Adam {
  protected override readonly decoupled = true;

  constructor(params: Params<AdamOptions>, options: AdamOptions = {}) {
    super(params, options, 0.01);
  }

  protected override checkDerived(group: AdamGroup, dtype: FloatDType): void {
    super.checkDerived(group, dtype);
    checkFiniteIn(dtype, this.constructor.name, 'lr · weightDecay', group.lr * group.weightDecay);
  }
}

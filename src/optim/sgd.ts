import { ArgumentError, shown } from '../core/errors.ts';
import { kernels } from '../kernels/index.ts';
import { checkEither, checkNotNegative } from './check.ts';
import { Optimizer, type ParamGroup, type Params, type Ready } from './optimizer.ts';

/** Options of SGD, for all parameters or for a group. */
export interface SGDOptions {
  /** The learning rate. */
  lr: number;
  /** The factor of the old velocity in the new one. Default 0. */
  momentum?: number;
  /** Reduces the gradient's share of the velocity to 1 − dampening. Default 0. */
  dampening?: number;
  /** Applies Nesterov's momentum; needs momentum > 0 and dampening 0. Default false. */
  nesterov?: boolean;
  /** L2 penalty: adds weightDecay·p to the gradient. Default 0. */
  weightDecay?: number;
  /** Maximizes instead of minimizing. Default false. */
  maximize?: boolean;
}

/** A parameter group with all options of SGD. */
export interface SGDGroup extends ParamGroup, Required<SGDOptions> {
  lr: number;
}

/**
 * Stochastic gradient descent as in PyTorch:
 *   g ← g + weightDecay·p
 *   v ← momentum·v + (1 − dampening)·g, at the first step v ← g
 *   p ← p − lr·v, with nesterov p ← p − lr·(g + momentum·v)
 * Source: Sutskever et al. 2013, "On the importance of initialization and momentum in deep learning"
 * @example new SGD(model.parameters(), { lr: 0.1, momentum: 0.9, nesterov: true, weightDecay: 5e-4 })
 */
export class SGD extends Optimizer<SGDGroup> {
  constructor(params: Params<SGDOptions>, options: SGDOptions) {
    const defaults = { momentum: 0, dampening: 0, nesterov: false, weightDecay: 0, maximize: false };
    super(params as Params<Omit<SGDGroup, 'params'>>, defaults, options);
  }

  protected override checkGroup(g: SGDGroup): void {
    for (const option of ['lr', 'momentum', 'weightDecay']) checkNotNegative('SGD', option, g[option]);
    for (const option of ['nesterov', 'maximize']) checkEither(true, false)('SGD', option, g[option]);
    if (typeof g.dampening !== 'number' || Number.isNaN(g.dampening))
      throw new ArgumentError(`SGD: dampening must be a number, got ${shown(g.dampening)}`);
    if (g.nesterov && (g.momentum === 0 || g.dampening !== 0)) {
      throw new ArgumentError(`SGD: nesterov needs momentum > 0 and dampening 0, got momentum ${g.momentum} and dampening ${g.dampening}`);
    }
  }

  protected override update(ready: readonly Ready<SGDGroup>[]): void {
    const entries = ready.map(({ group, param, grad }) => {
      const velocity = group.momentum === 0 ? null : this.stateOf(param, 'momentumBuffer');
      return { param, grad, velocity: velocity?.tensor ?? null, first: velocity?.fresh ?? false, options: group };
    });
    kernels.sgd(entries);
  }
}

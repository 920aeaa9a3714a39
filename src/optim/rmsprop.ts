import { copyAll_, type Tensor } from '../autograd/index.ts';
import type { FloatDType } from '../core/dtype.ts';
import { checkEither, checkEps, checkNotNegative } from './check.ts';
import { Optimizer, type ParamGroup, type Params, type Ready } from './optimizer.ts';

/** Options of RMSprop, for all parameters or for a group. */
export interface RMSpropOptions {
  /** The learning rate. Default 0.01. */
  lr?: number;
  /** The decay rate of the average of g². Default 0.99. */
  alpha?: number;
  /** Added to the divisor, so that it is not 0. Default 1e-8. */
  eps?: number;
  /** L2 penalty: adds weightDecay·p to the gradient. Default 0. */
  weightDecay?: number;
  /** The factor of the old velocity in the new one. Default 0. */
  momentum?: number;
  /** Divides by the standard deviation of g instead of the root of its mean square. Default false. */
  centered?: boolean;
  /** Maximizes instead of minimizing. Default false. */
  maximize?: boolean;
}

/** A parameter group with all options of RMSprop. */
export type RMSpropGroup = ParamGroup & Required<RMSpropOptions>;

/** What a step writes. */
type Writes = (readonly [target: Tensor, value: Tensor])[];

/**
 * RMSprop as in PyTorch:
 *   g ← g + weightDecay·p
 *   v ← alpha·v + (1 − alpha)·g²,   with centered a ← alpha·a + (1 − alpha)·g and v − a² in place of v below
 *   b ← momentum·b + g / (√v + eps)
 *   p ← p − lr·b
 * Source: Tieleman & Hinton 2012, lecture 6.5; centered: Graves 2013, arXiv:1308.0850, eq. 38–45
 * @example new RMSprop(model.parameters(), { lr: 1e-3, momentum: 0.9 })
 */
export class RMSprop extends Optimizer<RMSpropGroup> {
  constructor(params: Params<RMSpropOptions>, options: RMSpropOptions = {}) {
    const defaults = { lr: 0.01, alpha: 0.99, eps: 1e-8, weightDecay: 0, momentum: 0, centered: false, maximize: false };
    super(params as Params<Omit<RMSpropGroup, 'params'>>, defaults, options);
  }

  protected override checkGroup(g: RMSpropGroup): void {
    for (const option of ['lr', 'alpha', 'eps', 'weightDecay', 'momentum']) checkNotNegative('RMSprop', option, g[option]);
    for (const option of ['centered', 'maximize']) checkEither(true, false)('RMSprop', option, g[option]);
  }

  protected override checkDerived({ eps }: RMSpropGroup, dtype: FloatDType): void {
    checkEps(dtype, 'RMSprop', eps);
  }

  protected override update(ready: readonly Ready<RMSpropGroup>[]): void {
    // All values are computed before the first is written, so that running out of memory changes nothing.
    copyAll_(
      'RMSprop',
      ready.flatMap((r) => this.#writesOf(r)),
    );
  }

  #writesOf({ group, param, grad }: Ready<RMSpropGroup>): Writes {
    const { lr, alpha, eps, weightDecay, momentum, centered, maximize } = group;
    const writes: Writes = [];
    const average = (name: string, value: Tensor): Tensor => {
      const { tensor: old } = this.stateOf(param, name);
      const next = old.mul(alpha).add(value.mul(1 - alpha));
      writes.push([old, next]);
      return next;
    };
    const signed = maximize ? grad.neg() : grad;
    const g = weightDecay === 0 ? signed : signed.add(param.mul(weightDecay));
    const meanSquare = average('squareAvg', g.square());
    const variance = centered ? meanSquare.sub(average('gradAvg', g).square()) : meanSquare;
    let step = g.div(variance.sqrt().add(eps));
    if (momentum > 0) {
      const { tensor: velocity } = this.stateOf(param, 'momentumBuffer');
      step = velocity.mul(momentum).add(step);
      writes.push([velocity, step]);
    }
    writes.push([param, param.sub(step.mul(lr))]);
    return writes;
  }
}

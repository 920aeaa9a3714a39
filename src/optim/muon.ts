import { copyAll_, type Tensor } from '../autograd/index.ts';
import type { FloatDType } from '../core/dtype.ts';
import { ArgumentError } from '../core/errors.ts';
import { checkCount } from '../core/options.ts';
import { formatShape } from '../core/shape.ts';
import { checkEither, checkEps, checkNotNegative } from './check.ts';
import { Optimizer, type ParamGroup, type Params, type Ready } from './optimizer.ts';

/** Options of Muon, for all parameters or for a group. */
export interface MuonOptions {
  /** The learning rate. Default 1e-3. */
  lr?: number;
  /** Shrinks p by lr·weightDecay·p. Default 0.1. */
  weightDecay?: number;
  /** The share of the old average in the new one. Default 0.95. */
  momentum?: number;
  /** Applies Nesterov's momentum. Default true. */
  nesterov?: boolean;
  /** Added to the norm before it divides. Default 1e-7. */
  eps?: number;
  /** Newton–Schulz iterations. Default 5. */
  nsSteps?: number;
  /**
   * The factor of lr for a matrix [A,B]: 'original' √max(1, A/B); 'matchRmsAdamw' 0.2·√max(A, B), for a learning rate tuned for AdamW.
   * Default 'original'.
   */
  adjustLr?: 'original' | 'matchRmsAdamw';
}

/** A parameter group with all options of Muon. */
export type MuonGroup = ParamGroup & Required<MuonOptions>;

/** The coefficients of the quintic iteration, chosen for steep growth of small singular values. */
const [A, B, C] = [3.4445, -4.775, 2.0315] as const;

/**
 * Muon, for weight matrices: a momentum step whose matrix is made nearly orthogonal, so that all its directions are as long.
 *   m ← momentum·m + (1 − momentum)·g,   u ← with nesterov momentum·m + (1 − momentum)·g, otherwise m
 *   p ← (1 − lr·weightDecay)·p − lr·factor·orthogonal(u)
 * Give biases, gains and the first and last layers to AdamW. A convolution's weight [O,I,KH,KW] counts as a matrix [O, I·KH·KW]; PyTorch's
 * Muon takes matrices alone.
 * Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks"; adjustLr: Liu et al. 2025, arXiv:2502.16982, eq. 4;
 * the options are those of PyTorch 2.9
 * Throws: ArgumentError for a parameter of fewer than 2 dims
 * @example new Muon([model.fc1.weight, model.fc2.weight], { lr: 0.02 })
 */
export class Muon extends Optimizer<MuonGroup> {
  constructor(params: Params<MuonOptions>, options: MuonOptions = {}) {
    const adjustLr = 'original' as const;
    const defaults = { lr: 1e-3, weightDecay: 0.1, momentum: 0.95, nesterov: true, eps: 1e-7, nsSteps: 5, adjustLr };
    super(params as Params<Omit<MuonGroup, 'params'>>, defaults, options);
  }

  protected override checkGroup(g: MuonGroup): void {
    for (const option of ['lr', 'weightDecay', 'momentum', 'eps']) checkNotNegative('Muon', option, g[option]);
    checkEither(true, false)('Muon', 'nesterov', g.nesterov);
    checkEither('original', 'matchRmsAdamw')('Muon', 'adjustLr', g.adjustLr);
    checkCount('Muon', 'nsSteps', g.nsSteps);
    for (const { shape } of g.params) {
      if (shape.length < 2)
        throw new ArgumentError(`Muon: expected parameters of 2 or more dims, got ${formatShape(shape)}; give it to AdamW`);
    }
  }

  protected override checkDerived({ eps }: MuonGroup, dtype: FloatDType): void {
    checkEps(dtype, 'Muon', eps);
  }

  protected override update(ready: readonly Ready<MuonGroup>[]): void {
    // All values are computed before the first is written, so that running out of memory changes nothing.
    copyAll_(
      'Muon',
      ready.flatMap((r) => this.#writesOf(r)),
    );
  }

  #writesOf({ group, param, grad }: Ready<MuonGroup>): (readonly [target: Tensor, value: Tensor])[] {
    const { lr, weightDecay, momentum, nesterov, eps, nsSteps, adjustLr } = group;
    const { tensor: average } = this.stateOf(param, 'momentumBuffer');
    const blend = (old: Tensor): Tensor => old.mul(momentum).add(grad.mul(1 - momentum));
    const next = blend(average);
    const step = nesterov ? blend(next) : next;
    const matrix = step.flatten(1);
    const [rows, columns] = matrix.shape as readonly [number, number];
    const factor = adjustLr === 'original' ? Math.sqrt(Math.max(1, rows / columns)) : 0.2 * Math.sqrt(Math.max(rows, columns));
    const direction = orthogonal(matrix, nsSteps, eps).reshape(param.shape);
    return [
      [average, next],
      [param, param.mul(1 - lr * weightDecay).sub(direction.mul(lr * factor))],
    ];
  }
}

/**
 * Brings the singular values of a matrix near 1 (between about 0.7 and 1.2) by Newton–Schulz iterations:
 *   X ← a·X + (b·X Xᵀ + c·(X Xᵀ)²) X,   starting from X / ‖X‖
 */
function orthogonal(matrix: Tensor, steps: number, eps: number): Tensor {
  const isTall = matrix.shape[0]! > matrix.shape[1]!;
  // X Xᵀ is smaller for a wide matrix.
  let x = isTall ? matrix.transpose(0, 1) : matrix;
  x = x.div(x.norm().add(eps));
  for (let i = 0; i < steps; i++) {
    const square = x.matmul(x.transpose(0, 1));
    const polynomial = square.mul(B).add(square.matmul(square).mul(C));
    x = x.mul(A).add(polynomial.matmul(x));
  }
  return isTall ? x.transpose(0, 1) : x;
}

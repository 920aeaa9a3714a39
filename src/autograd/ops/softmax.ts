/**
 * Softmax and its logarithm: fused kernels for first-order gradients, definitions for higher orders.
 */
import { isFloat } from '../../core/dtype.ts';
import { refuseOptions } from '../../core/options.ts';
import { normalizeDim } from '../../core/shape.ts';
import { empty } from '../../kernels/view.ts';
import { defineOp, withoutBranches } from '../op.ts';
import { checkTensor, type Tensor } from '../tensor.ts';
import { composed } from '../scope-stack.ts';
import { toRows } from './dense-layouts.ts';
import { div, exp, log, sub } from './elementwise.ts';
import { cast } from './operands.ts';
import { amax, sum } from './reduce.ts';
import { clone, detach, reshape, transpose } from './views.ts';

const softmaxOp = (name: 'softmax' | 'logSoftmax') => {
  const isLog = name === 'logSoftmax';
  return defineOp({
    name,
    forward: (k, x: Tensor) => {
      const y = empty(x.shape, x.dtype);
      k.softmax(isLog, toRows(k, x), toRows(k, y));
      return y;
    },
    save: (_needs, _args, [y]) => ({ y }),
    gradKernel: (k, g, { y }) => {
      const dx = empty(y.shape, y.dtype);
      k.softmaxGrad(isLog, toRows(k, g), toRows(k, y), toRows(k, dx));
      return [dx];
    },
    definition: (x) => {
      // The shift does not affect the result, so a change of the largest element is no kink.
      const shifted = sub(x, detach(withoutBranches(() => amax(x, -1, { keepdim: true }))));
      const e = exp(shifted);
      const total = sum(e, -1, { keepdim: true });
      return isLog ? sub(shifted, log(total)) : div(e, total);
    },
  });
};

const softmaxRows = softmaxOp('softmax');
const logSoftmaxRows = softmaxOp('logSoftmax');

const alongLast = composed(function alongLast(name: string, op: (x: Tensor) => Tensor, x: Tensor, dim: number, surplus: unknown): Tensor {
  checkTensor(name, 'x', x);
  refuseOptions(name, surplus);
  const d = normalizeDim(name, dim, x.ndim);
  const t = isFloat(x.dtype) ? x : cast(x, 'float32');
  if (x.numel === 0) return clone(t);
  if (x.ndim === 0) return reshape(op(reshape(t, [1])), []);
  return d === x.ndim - 1 ? op(t) : transpose(op(transpose(t, d, -1)), d, -1);
});

/** yᵢ = exp xᵢ / Σⱼ exp xⱼ along `dim`.   ∂x = y ⊙ (g − Σ g ⊙ y) */
export function softmax(x: Tensor, dim: number): Tensor {
  return alongLast('softmax', softmaxRows, x, dim, arguments[2]);
}

/** yᵢ = xᵢ − ln Σⱼ exp xⱼ along `dim`.   ∂x = g − exp y ⊙ Σ g */
export function logSoftmax(x: Tensor, dim: number): Tensor {
  return alongLast('logSoftmax', logSoftmaxRows, x, dim, arguments[2]);
}

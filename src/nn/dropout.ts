import { checkProbability, dropout, type Generator, type Tensor } from '../autograd/index.ts';
import { Module } from './module.ts';

/**
 * In training, zeroes each element with probability p and scales the rest by 1 / (1 − p); in evaluation, y = x.
 * Source: Srivastava et al. 2014, JMLR 15
 */
export class Dropout extends Module {
  readonly p: number;
  readonly generator: Generator | null;

  constructor(p = 0.5, { generator }: { readonly generator?: Generator } = {}) {
    super();
    checkProbability('Dropout', p);
    this.p = p;
    this.generator = generator ?? null;
  }

  forward(x: Tensor): Tensor {
    const { training, generator } = this;
    return dropout(x, this.p, generator === null ? { training } : { training, generator });
  }
}

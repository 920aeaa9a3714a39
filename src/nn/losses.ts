import * as f from '../autograd/index.ts';
import { Module } from './module.ts';
import { buffer } from './parameter.ts';

/** A module that maps an input and a target to a loss. */
export type Criterion<O> = Module & { readonly options: Readonly<O>; forward(x: f.Tensor, target: f.Tensor): f.Tensor };

/** The module of a loss: takes the options of the function, and keeps the tensors among them as buffers. */
/* @__NO_SIDE_EFFECTS__ */
function criterion<O extends object>(loss: (x: f.Tensor, target: f.Tensor, options?: O) => f.Tensor): new (options?: O) => Criterion<O> {
  return class extends Module {
    readonly options: Readonly<O>;
    constructor(options?: O) {
      super();
      const kept = Object.entries(options ?? {}).map(([name, v]: [string, unknown]) => [name, f.isTensor(v) ? buffer(v) : v] as const);
      this.options = Object.fromEntries(kept) as O;
      // PyTorch's keys in the state dict: pos_weight, not options.posWeight.
      const named = kept.map(([name, v]) => [name.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`), v] as const);
      Object.assign(this, Object.fromEntries(named.filter(([, v]) => f.isTensor(v))));
    }
    forward(x: f.Tensor, target: f.Tensor): f.Tensor {
      return loss(x, target, this.options);
    }
  };
}

/** −w[t] log softmax(x)[t]; see F.crossEntropy. */
export class CrossEntropyLoss extends criterion(f.crossEntropy) {}

/** −w[t] x[t] for log-probabilities x; see F.nllLoss. */
export class NLLLoss extends criterion(f.nllLoss) {}

/** −w (t ln x + (1 − t) ln(1 − x)) for probabilities x; see F.binaryCrossEntropy. */
export class BCELoss extends criterion(f.binaryCrossEntropy) {}

/** −w (p t ln σ(x) + (1 − t) ln(1 − σ(x))) for logits x; see F.binaryCrossEntropyWithLogits. */
export class BCEWithLogitsLoss extends criterion(f.binaryCrossEntropyWithLogits) {}

/** (x − target)²; see F.mseLoss. */
export class MSELoss extends criterion(f.mseLoss) {}

/** |x − target|; see F.l1Loss. */
export class L1Loss extends criterion(f.l1Loss) {}

/** A parabola for small differences, lines for large ones; see F.smoothL1Loss. */
export class SmoothL1Loss extends criterion(f.smoothL1Loss) {}

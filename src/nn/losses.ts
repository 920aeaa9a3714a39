import * as f from '../autograd/index.ts';
import { Module } from './module.ts';
import { buffer } from './parameter.ts';

/** A module that computes a loss from an input and a target. */
export type Criterion<O> = Module & { readonly options: Readonly<O>; forward(x: f.Tensor, target: f.Tensor): f.Tensor };

/** Makes the module of a loss function. It takes the function's options and registers the tensors among them as buffers. */
/* @__NO_SIDE_EFFECTS__ */
function criterion<O extends object>(loss: (x: f.Tensor, target: f.Tensor, options?: O) => f.Tensor): new (options?: O) => Criterion<O> {
  return class extends Module {
    readonly options: Readonly<O>;

    constructor(options?: O) {
      super();
      const stored: Record<string, unknown> = {};
      const buffers: Record<string, f.Tensor> = {};
      for (const [name, value] of Object.entries<unknown>({ ...options })) {
        if (!f.isTensor(value)) {
          stored[name] = value;
          continue;
        }
        const copy = buffer(value);
        stored[name] = copy;
        // PyTorch's key in the state dict: pos_weight, not options.posWeight.
        buffers[snakeCase(name)] = copy;
      }
      this.options = stored as O;
      Object.assign(this, buffers);
    }

    forward(x: f.Tensor, target: f.Tensor): f.Tensor {
      return loss(x, target, this.options);
    }
  };
}

/** `posWeight` → `pos_weight` */
function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
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

/** Quadratic in small differences x − target, linear in large ones; see F.smoothL1Loss. */
export class SmoothL1Loss extends criterion(f.smoothL1Loss) {}

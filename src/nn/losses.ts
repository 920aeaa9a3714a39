import * as f from '../autograd/index.ts';
import { checkOptions, refuseSurplus } from '../core/options.ts';
import { Module } from './module.ts';
import { buffer } from './parameter.ts';

/** A module that computes a loss from an input and a target. */
export type Criterion<O> = Module & { readonly options: Readonly<O>; forward(x: f.Tensor, target: f.Tensor): f.Tensor };

/** Makes the module of a loss function. It takes the function's options and registers the tensors among them as buffers. */
/* @__NO_SIDE_EFFECTS__ */
function criterion<O extends object>(
  name: string,
  loss: (x: f.Tensor, target: f.Tensor, options?: O) => f.Tensor,
  defaults: Required<O>,
): new (
  options?: O,
) => Criterion<O> {
  return class extends Module {
    readonly options: Readonly<O>;

    constructor(options?: O) {
      super();
      // Already here, not only at the first forward. The names are those in the path of an error of forward.
      if (options !== undefined) checkOptions(`${this.constructor.name}: ${name}`, options, Object.keys(defaults));
      const stored: Record<string, unknown> = {};
      const buffers: Record<string, f.Tensor> = {};
      for (const [option, value] of Object.entries<unknown>({ ...options })) {
        if (option.toLowerCase().endsWith('weight') && value != null) f.checkTensor(this.constructor.name, option, value);
        if (!f.isTensor(value)) {
          stored[option] = value;
          continue;
        }
        const copy = buffer(value);
        stored[option] = copy;
        // PyTorch's key in the state dict: pos_weight, not options.posWeight.
        buffers[snakeCase(option)] = copy;
      }
      this.options = stored as O;
      Object.assign(this, buffers);
    }

    forward(x: f.Tensor, target: f.Tensor): f.Tensor {
      refuseSurplus('forward', arguments, 2);
      return loss(x, target, this.options);
    }
  };
}

/** `posWeight` → `pos_weight` */
function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** −w[t] log softmax(x)[t]; see F.crossEntropy. */
export class CrossEntropyLoss extends criterion('crossEntropy', f.crossEntropy, f.CROSS_ENTROPY_DEFAULTS) {}

/** −w[t] x[t] for log-probabilities x; see F.nllLoss. */
export class NLLLoss extends criterion('nllLoss', f.nllLoss, f.NLL_DEFAULTS) {}

/** −w (t ln x + (1 − t) ln(1 − x)) for probabilities x; see F.binaryCrossEntropy. */
export class BCELoss extends criterion('binaryCrossEntropy', f.binaryCrossEntropy, f.WEIGHTED_DEFAULTS) {}

/** −w (p t ln σ(x) + (1 − t) ln(1 − σ(x))) for logits x; see F.binaryCrossEntropyWithLogits. */
export class BCEWithLogitsLoss extends criterion('binaryCrossEntropyWithLogits', f.binaryCrossEntropyWithLogits, f.LOGITS_DEFAULTS) {}

/** (x − target)²; see F.mseLoss. */
export class MSELoss extends criterion('mseLoss', f.mseLoss, f.LOSS_DEFAULTS) {}

/** |x − target|; see F.l1Loss. */
export class L1Loss extends criterion('l1Loss', f.l1Loss, f.LOSS_DEFAULTS) {}

/** Quadratic in small differences x − target, linear in large ones; see F.huberLoss. */
export class HuberLoss extends criterion('huberLoss', f.huberLoss, f.HUBER_DEFAULTS) {}

/** Quadratic in small differences x − target, linear in large ones; see F.smoothL1Loss. */
export class SmoothL1Loss extends criterion('smoothL1Loss', f.smoothL1Loss, f.SMOOTH_L1_DEFAULTS) {}

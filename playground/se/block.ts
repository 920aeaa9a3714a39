/**
 * One picture through one SE block: every number of the forward, and the gradient of the loss along its two paths.
 */
import { grad, noGrad, scope, tensor, vjp, where, type Tensor } from 'chainrule';
import * as F from 'chainrule/nn/functional';
import { imagesOf, labelsOf, type Picture } from './images.ts';
import type { SmallNetwork } from './network.ts';

/** Means and gates set by hand, by channel; null: computed. */
export interface Edits {
  readonly means: readonly (number | null)[];
  readonly gates: readonly (number | null)[];
}

/** One map of H × W numbers for each channel, row-major. */
export type Maps = readonly Float64Array[];

/** The forward of the block, and what the network makes of it. */
export interface Forward {
  /** The block's input u. */
  readonly maps: Maps;
  /** Squeeze, eq. 2: the mean of each channel, or what was set by hand. */
  readonly means: readonly number[];
  /** The means of the maps, whatever was set by hand. */
  readonly ownMeans: readonly number[];
  /** δ(W₁ z) of eq. 3: the hidden units. */
  readonly hidden: readonly number[];
  /** Excitation, eq. 3: the gate of each channel, or what was set by hand. */
  readonly gates: readonly number[];
  /** The gates that follow from the means, whatever was set by hand. */
  readonly ownGates: readonly number[];
  /** Scale, eq. 4: s · u. */
  readonly scaled: Maps;
  /** The probability of each class. */
  readonly probabilities: readonly number[];
  /** The cross-entropy of the picture's class. */
  readonly loss: number;
}

/** The gradient of the loss with respect to the parts of the block. */
export interface Backward {
  /** g: that of the output s · u. */
  readonly output: Maps;
  /** Of each gate: Σ g · u over the channel's map. */
  readonly gates: readonly number[];
  readonly hidden: readonly number[];
  /** Of each mean. */
  readonly means: readonly number[];
  /** Of the input, with the gates held fixed: g · s. */
  readonly direct: Maps;
  /** Of the input, through the squeeze alone. */
  readonly squeeze: Maps;
  /** Of the input, both paths at once. */
  readonly full: Maps;
}

export interface BlockResult {
  readonly forward: Forward;
  readonly backward: Backward;
  readonly weights: {
    /** W₁ [hidden units, C], row-major. */
    readonly first: Float64Array;
    /** W₂ [C, hidden units]. */
    readonly second: Float64Array;
  };
}

/** Computes the block for one picture. */
export function computeBlock(network: SmallNetwork, picture: Picture, edits: Edits): BlockResult {
  return scope(() => {
    const u = noGrad(() => network.before.forward(imagesOf([picture]).to('float64')));
    const label = labelsOf([picture]);
    const forward = forwardOf(network, u, label, edits);
    const backward = backwardOf(network, u, label, edits);
    const fc = network.se.fc.stateDict();
    return { forward, backward, weights: { first: numbers(fc['0.weight']!), second: numbers(fc['2.weight']!) } };
  });
}

/** The block's parts as tensors, for an image u [1,C,H,W]. */
interface Parts {
  readonly means: Tensor;
  readonly hidden: Tensor;
  readonly gates: Tensor;
  readonly ownGates: Tensor;
}

/** Computes the gates of u. What was set by hand replaces what was computed, so that no gradient flows through it. */
function partsOf({ se }: SmallNetwork, u: Tensor, edits: Edits): Parts {
  const means = edited(u.mean([2, 3]), edits.means);
  const [first, activation, second, gate] = [...se.fc];
  const hidden = activation!.forward(first!.forward(means));
  const ownGates = gate!.forward(second!.forward(hidden));
  return { means, hidden, ownGates, gates: edited(ownGates, edits.gates) };
}

/** Replaces the elements of a row [1,C] that are set. */
function edited(row: Tensor, values: readonly (number | null)[]): Tensor {
  if (values.every((v) => v === null)) return row;
  const isSet = tensor([values.map((v) => v !== null)]);
  const set = tensor([values.map((v) => v ?? 0)], { dtype: row.dtype });
  return where(isSet, set, row);
}

/** Returns s · u, eq. 4. */
function scale(u: Tensor, gates: Tensor): Tensor {
  return u.mul(gates.reshape([1, -1, 1, 1]));
}

function forwardOf(network: SmallNetwork, u: Tensor, label: Tensor, edits: Edits): Forward {
  return noGrad(() => {
    const { means, hidden, gates, ownGates } = partsOf(network, u, edits);
    const y = scale(u, gates);
    const scores = network.after.forward(y);
    return {
      maps: mapsOf(u),
      means: [...numbers(means)],
      ownMeans: [...numbers(u.mean([2, 3]))],
      hidden: [...numbers(hidden)],
      gates: [...numbers(gates)],
      ownGates: [...numbers(ownGates)],
      scaled: mapsOf(y),
      probabilities: [...numbers(F.softmax(scores, 1))],
      loss: F.crossEntropy(scores, label).item(),
    };
  });
}

function backwardOf(network: SmallNetwork, u: Tensor, label: Tensor, edits: Edits): Backward {
  const x = u.detach().requiresGrad_();
  const { means, hidden, gates } = partsOf(network, x, edits);
  const y = scale(x, gates);
  const loss = F.crossEntropy(network.after.forward(y), label);
  // Where everything is set by hand, no path leads from the loss to the parts before.
  const found = grad(loss, [y, gates, hidden, means], { allowUnused: true });
  const [g, ofGates, ofHidden, ofMeans] = found.map((t, i) => t ?? zerosFor([y, gates, hidden, means][i]!)) as [
    Tensor,
    Tensor,
    Tensor,
    Tensor,
  ];
  const gatesOf = (t: Tensor): Tensor => partsOf(network, t, edits).gates;
  const [, direct] = vjp((t) => scale(t, gatesOf(t.detach())), u, g);
  const [, squeeze] = vjp((t) => scale(t.detach(), gatesOf(t)), u, g);
  const [, full] = vjp((t) => scale(t, gatesOf(t)), u, g);
  return {
    output: mapsOf(g),
    gates: [...numbers(ofGates)],
    hidden: [...numbers(ofHidden)],
    means: [...numbers(ofMeans)],
    direct: mapsOf(direct),
    squeeze: mapsOf(squeeze),
    full: mapsOf(full),
  };
}

function zerosFor(t: Tensor): Tensor {
  return t.detach().mul(0);
}

function numbers(t: Tensor): Float64Array {
  return Float64Array.from(t.data());
}

/** The maps of a tensor [1,C,H,W]. */
function mapsOf(t: Tensor): Maps {
  const all = numbers(t);
  const area = t.size(2) * t.size(3);
  return Array.from({ length: t.size(1) }, (_, c) => all.slice(c * area, (c + 1) * area));
}

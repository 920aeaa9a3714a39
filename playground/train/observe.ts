/**
 * What the page shows of two nets in training. Nothing here changes the training.
 */
import { noGrad, type Tensor } from 'chainrule';
import type * as nn from 'chainrule/nn';
import { type GateStatistics, recordGates } from '../../examples/cifar-like/gates.ts';
import type { TinyCnn } from '../../examples/cifar-like/model.ts';
import { NETS, type PerNet, perNet } from './nets.ts';
import type { Session } from './session.ts';
import { oneImage, type Task } from './task.ts';

/** The result of a net on the test images. */
export interface Evaluation {
  /** Share of images classified correctly. */
  readonly accuracy: number;
  /** The predicted class of each image. */
  readonly predictions: Uint8Array;
}

/** The length of a layer's gradient, over all its parameters. */
export interface LayerNorm {
  /** The block's number and the layer, such as `1 convolution`; `linear`. */
  readonly layer: string;
  /** Null: this net has no such layer, or no step was done. */
  readonly norms: PerNet<number | null>;
}

/** The output of a block for one image: 255 times the square root of a number's share of the largest, as most numbers are small. */
export interface FeatureMaps {
  /** [C,H,W]. */
  readonly shape: readonly [number, number, number];
  readonly values: Uint8Array;
}

/** The weights of the first convolution, [O,C,K,K]. */
export interface Filters {
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

/** What takes as long as several steps to compute. */
export interface Views {
  readonly evaluation: PerNet<Evaluation>;
  /** Of the net with SE. */
  readonly gates: readonly GateStatistics[];
  readonly filters: PerNet<Filters>;
  /** Of one image, for each block. */
  readonly maps: PerNet<readonly FeatureMaps[]>;
}

/** Computes all views; the feature maps are those of test image `image`. */
export function observe({ nets, task }: Session, image: number): Views {
  return noGrad(() => {
    for (const name of NETS) nets[name].eval();
    return {
      evaluation: perNet((name) => evaluate(nets[name], task)),
      gates: gatesOf(nets.se, task),
      filters: perNet((name) => filtersOf(nets[name])),
      maps: perNet((name) => nets[name].featureMaps(oneImage(task, image)).map(mapsOf)),
    };
  });
}

/** Returns the scales of the gates by band and class, over the test images. */
function gatesOf(net: TinyCnn, { test, classes }: Task): readonly GateStatistics[] {
  const { samples } = test;
  return recordGates(net, test.batches, {
    classes: classes.length,
    bands: samples === null ? 1 : 2,
    bandOf: (i) => samples?.[i]!.context ?? 0,
  });
}

function evaluate(net: TinyCnn, { test }: Task): Evaluation {
  const predictions = new Uint8Array(test.labels.length);
  let at = 0;
  for (const [x] of test.batches) {
    const classes = noGrad(() => net.forward(x).argmax(1)).data();
    predictions.set(classes, at);
    at += classes.length;
  }
  const correct = predictions.reduce((n, p, i) => n + Number(p === test.labels[i]), 0);
  return { accuracy: correct / predictions.length, predictions };
}

function filtersOf(net: TinyCnn): Filters {
  const { weight } = net.blocks[0]!.conv;
  return { shape: [...weight.shape], values: Float32Array.from(weight.data()) };
}

/** Scales the maps of one image by their common maximum; what a tanh gate made negative is 0. */
function mapsOf(maps: Tensor): FeatureMaps {
  const [, C, H, W] = maps.shape as [number, number, number, number];
  const values = maps.data();
  let most = 0;
  for (const value of values) most = Math.max(most, value);
  const bytes = new Uint8Array(values.length);
  if (most > 0) for (let i = 0; i < bytes.length; i++) bytes[i] = Math.round(255 * Math.sqrt(Math.max(0, values[i]!) / most));
  return { shape: [C, H, W], values: bytes };
}

/** Returns the lengths of the gradients of the last step, layer by layer. */
export function gradientNorms({ nets }: Session): LayerNorm[] {
  const squares = perNet((name) => squaresByLayer(nets[name]));
  return [...squares.se.keys()].map((layer) => ({
    layer,
    norms: perNet((name) => {
      const square = squares[name].get(layer);
      return square == null ? null : Math.sqrt(square);
    }),
  }));
}

/** Returns Σ g² over the parameters of each layer; null before the first step. */
function squaresByLayer(net: nn.Module): Map<string, number | null> {
  const layers = new Map<string, number | null>();
  for (const [path, { grad }] of net.namedParameters()) {
    const layer = layerOf(path);
    layers.set(layer, grad === null ? null : (layers.get(layer) ?? 0) + squareOf(grad));
  }
  return layers;
}

/** Returns Σ g². */
function squareOf(grad: Tensor): number {
  let sum = 0;
  for (const g of grad.data()) sum += g * g;
  return sum;
}

/** Returns `1 convolution` for `blocks.0.conv.weight`, `1 SE` for `blocks.0.se.fc.0.weight`, and `linear` for `fc.bias`. */
function layerOf(path: string): string {
  const [, block, layer] = /^blocks\.(\d+)\.(\w+)/.exec(path) ?? [];
  if (block === undefined) return 'linear';
  const names: Readonly<Record<string, string>> = { conv: 'convolution', bn: 'batch norm', se: 'SE' };
  return `${Number(block) + 1} ${names[layer!]!}`;
}

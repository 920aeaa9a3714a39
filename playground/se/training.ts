/**
 * Trains the network of the panel: less than a second of computing on one thread. The same settings give the same weights.
 */
import { manualSeed, noGrad, scope, scoped, tensor, type Tensor } from 'chainrule';
import * as F from 'chainrule/nn/functional';
import * as optim from 'chainrule/optim';
import { imagesOf, labelsOf, testPictures, trainingPictures, type Picture } from './images.ts';
import { SmallNetwork } from './network.ts';
import type { NetworkSettings } from './settings.ts';

/** A tensor of a state dict as plain data. */
export interface StoredTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: ArrayLike<number>;
}

/** The trained weights as plain data, and what they achieve. */
export interface Trained {
  /** With the seed of the start that learnt the task. */
  readonly settings: NetworkSettings;
  readonly weights: readonly StoredTensor[];
  /** Share of the test pictures that are classified correctly. */
  readonly accuracy: number;
  /** Mean gate of each channel over the test pictures of each band. */
  readonly meanGates: Readonly<Record<Picture['band'], readonly number[]>>;
}

const STEPS = 320;
const BATCH = 28;
const RATE = 0.03;
/** Keeps the network from being so sure that the gradients to look at are almost 0. */
const SMOOTHING = 0.1;

/** A start whose share of correct training pictures is below this has not learnt the task. */
const LEARNT = 0.85;
const MOST_STARTS = 5;

/**
 * Trains a network. The hidden units can die early, the more easily the fewer there are: then the training starts again with the next
 * seed, at most five times.
 */
export function train(settings: NetworkSettings): Trained {
  return scope(() => {
    const pictures = trainingPictures();
    const images = imagesOf(pictures);
    const labels = labelsOf(pictures);
    for (let start = 0; ; start++) {
      const seed = settings.seed + start;
      const network = trainedNetwork({ ...settings, seed }, images, labels);
      if (correctShare(network, images, labels) >= LEARNT || start + 1 === MOST_STARTS) return stored({ ...settings, seed }, network);
    }
  });
}

function trainedNetwork(settings: NetworkSettings, images: Tensor, labels: Tensor): SmallNetwork {
  manualSeed(settings.seed);
  const network = new SmallNetwork(settings);
  const optimizer = new optim.AdamW(network.parameters(), { lr: RATE });
  for (const step of scoped(STEPS)) {
    const first = (step * BATCH) % images.size(0);
    const scores = network.forward(images.slice(0, first, first + BATCH));
    const loss = F.crossEntropy(scores, labels.slice(0, first, first + BATCH), { labelSmoothing: SMOOTHING });
    optimizer.zeroGrad();
    loss.backward();
    optimizer.step();
  }
  optimizer.dispose();
  noGrad(() => network.forward(images));
  return network.eval();
}

function correctShare(network: SmallNetwork, images: Tensor, labels: Tensor): number {
  return noGrad(() => network.forward(images).argmax(1).eq(labels).to('float32').mean().item());
}

/** Evaluates a network, and returns it as plain data. Frees it. */
function stored(settings: NetworkSettings, network: SmallNetwork): Trained {
  const pictures = testPictures();
  const images = imagesOf(pictures);
  const gates = noGrad(() => network.se.excite(network.before.forward(images)));
  const meanOf = (band: Picture['band']): number[] => {
    const members = pictures.flatMap((p, i) => (p.band === band ? [i] : []));
    return Array.from(
      gates
        .indexSelect(0, tensor(members, { dtype: 'int32' }))
        .mean(0)
        .data(),
    );
  };
  const weights = Object.entries(network.stateDict()).map(([name, t]) => ({ name, shape: [...t.shape], values: t.data() }));
  const accuracy = correctShare(network, images, labelsOf(pictures));
  const trained = { settings, weights, accuracy, meanGates: { warm: meanOf('warm'), cool: meanOf('cool') } };
  network.dispose();
  return trained;
}

/** Returns the trained network in float64 and evaluation mode. */
export function networkOf({ settings, weights }: Trained): SmallNetwork {
  const network = new SmallNetwork(settings);
  const types = network.stateDict();
  const state = weights.map(({ name, shape, values }): [string, Tensor] => {
    const flat = tensor(Array.from(values), { dtype: types[name]!.dtype });
    return [name, flat.reshape(shape)];
  });
  scope(() => network.loadStateDict(Object.fromEntries(state)));
  return network.to('float64').eval();
}

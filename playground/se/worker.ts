/**
 * The worker's program: trains the panel's networks, and computes the block.
 */
import { answering } from '../requests.ts';
import type { WorkerProgram } from '../workers.ts';
import { type BlockResult, computeBlock, type Edits } from './block.ts';
import { pixelsOf, shownPictures } from './images.ts';
import type { SmallNetwork } from './network.ts';
import { isSame, type NetworkSettings } from './settings.ts';
import { networkOf, train, type Trained } from './training.ts';

export interface SeRequest {
  readonly settings: NetworkSettings;
  /** An index among the shown pictures. */
  readonly picture: number;
  readonly edits: Edits;
}

export interface SeAnswer {
  readonly trained: Omit<Trained, 'weights'>;
  readonly result: BlockResult;
}

/** The pictures to choose from: red, green, blue and opacity of each pixel. */
export type SePixels = readonly Uint8ClampedArray<ArrayBuffer>[];

/** The trained network of some settings. */
interface Held {
  readonly settings: NetworkSettings;
  readonly trained: SeAnswer['trained'];
  readonly network: SmallNetwork;
}

/** Answers each request with its block. The network of the last request is kept. */
export const seProgram: WorkerProgram = (scope) => {
  const pictures = shownPictures();
  let held: Held | null = null;
  const answer = ({ settings, picture, edits }: SeRequest): SeAnswer => {
    if (held === null || !isSame(held.settings, settings)) {
      held?.network.dispose();
      held = hold(settings);
    }
    return { trained: held.trained, result: computeBlock(held.network, pictures[picture]!, edits) };
  };
  answering(answer, (): SePixels => pictures.map(pixelsOf))(scope);
};

function hold(settings: NetworkSettings): Held {
  const { weights, ...trained } = train(settings);
  return { settings, trained, network: networkOf({ ...trained, weights }) };
}

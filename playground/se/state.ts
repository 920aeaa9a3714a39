/**
 * What the panel keeps in the address: the picture, the network's settings, and what was set by hand.
 */
import type { LinkState } from '../link.ts';
import type { Edits } from './block.ts';
import { CHANNELS, type Gate, type NetworkSettings, type Reduction } from './network.ts';

export interface SeState {
  /** An index among the shown pictures. */
  readonly picture: number;
  readonly settings: NetworkSettings;
  readonly edits: Edits;
  /** The channel whose gradient is shown. */
  readonly channel: number;
}

export const GATES: Readonly<Record<Gate, string>> = { sigmoid: 'sigmoid', hardsigmoid: 'hard sigmoid', tanh: 'tanh', relu: 'ReLU' };
export const REDUCTIONS: Readonly<Record<`${Reduction}`, string>> = { 2: '2: four units', 4: '4: two units', 8: '8: one unit' };

/** The range of a gate function's values, as far as a slider shows it. */
export const GATE_RANGE: Readonly<Record<Gate, readonly [low: number, high: number]>> = {
  sigmoid: [0, 1],
  hardsigmoid: [0, 1],
  tanh: [-1, 1],
  relu: [0, 2],
};

/** The range of a mean's slider. */
export const MEAN_RANGE: readonly [low: number, high: number] = [0, 2];

/** Nothing is set by hand. */
export const NO_EDITS: Edits = { means: new Array<null>(CHANNELS).fill(null), gates: new Array<null>(CHANNELS).fill(null) };

/** Of its hidden units one notices warm bands and another cool ones. */
const USUAL_SEED = 4;

/** In the usual network its map shows the shape, and both paths to it are long. */
const USUAL_CHANNEL = 7;

/** How many pictures there are to choose from. */
export const PICTURES = 8;

/** The highest seed that a link can carry. */
const MAX_SEED = 9999;

/** Writes what `readState` reads; defaults are left out, apart from the picture. */
export function writeState({ picture, settings, edits, channel }: SeState): LinkState {
  const { gate, reduction, seed } = settings;
  return {
    picture: String(picture),
    ...(gate === 'sigmoid' ? {} : { gate }),
    ...(reduction === 2 ? {} : { reduction: String(reduction) }),
    ...(seed === USUAL_SEED ? {} : { seed: String(seed) }),
    ...listed('means', edits.means),
    ...listed('gates', edits.gates),
    ...(channel === USUAL_CHANNEL ? {} : { channel: String(channel) }),
  };
}

/** Writes what is set as `channel:value` pairs. */
function listed(name: string, values: readonly (number | null)[]): LinkState {
  const pairs = values.flatMap((v, c) => (v === null ? [] : [`${c}:${v}`]));
  return pairs.length === 0 ? {} : { [name]: pairs.join(',') };
}

/** Reads a state from the address. What is missing or invalid gets its default. */
export function readState(link: LinkState): SeState {
  const gate = link['gate'] ?? '';
  const reduction = Number(link['reduction']);
  return {
    picture: whole(link['picture'], PICTURES - 1, 0),
    settings: {
      gate: Object.hasOwn(GATES, gate) ? (gate as Gate) : 'sigmoid',
      reduction: reduction === 4 || reduction === 8 ? reduction : 2,
      seed: whole(link['seed'], MAX_SEED, USUAL_SEED),
    },
    edits: { means: readList(link['means']), gates: readList(link['gates']) },
    channel: whole(link['channel'], CHANNELS - 1, USUAL_CHANNEL),
  };
}

function whole(text: string | undefined, most: number, fallback: number): number {
  const value = Number(text);
  return text !== undefined && Number.isInteger(value) && value >= 0 && value <= most ? value : fallback;
}

function readList(text: string | undefined): (number | null)[] {
  const values: (number | null)[] = [...NO_EDITS.means];
  for (const pair of text?.split(',') ?? []) {
    const [channel, value] = pair.split(':').map(Number);
    if (channel === undefined || !Object.hasOwn(values, channel) || !Number.isFinite(value)) continue;
    values[channel] = value!;
  }
  return values;
}

/** Returns the edits with one value set, or with null released. */
export function withEdit(edits: Edits, part: keyof Edits, channel: number, value: number | null): Edits {
  return { ...edits, [part]: edits[part].map((old, c) => (c === channel ? value : old)) };
}

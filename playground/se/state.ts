/**
 * What the panel keeps in the address: the picture, the network's settings, and what was set by hand.
 */
import { type Field, LinkReader, type LinkState, oneOf, wholeNumber } from '../link.ts';
import type { Edits } from './block.ts';
import { SHOWN_KINDS } from './pictures.ts';
import { CHANNELS, type Gate, type NetworkSettings, type Reduction } from './settings.ts';

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

const NAMES = ['picture', 'gate', 'reduction', 'seed', 'means', 'gates', 'channel'];

/** Reads a state from the address. What is missing or invalid gets its default; `problems` has a sentence for each invalid value. */
export function readState(link: LinkState): { readonly state: SeState; readonly problems: readonly string[] } {
  const reader = new LinkReader(link, NAMES);
  const listOf = (name: keyof Edits): readonly (number | null)[] => reader.read(name, LIST, NO_EDITS[name], 'none');
  const state: SeState = {
    picture: reader.read('picture', wholeNumber(SHOWN_KINDS.length - 1), 0),
    settings: {
      gate: reader.read('gate', oneOf(Object.keys(GATES) as Gate[]), 'sigmoid'),
      reduction: reader.read('reduction', oneOf<Reduction>([2, 4, 8]), 2),
      seed: reader.read('seed', wholeNumber(MAX_SEED), USUAL_SEED),
    },
    edits: { means: listOf('means'), gates: listOf('gates') },
    channel: reader.read('channel', wholeNumber(CHANNELS - 1), USUAL_CHANNEL),
  };
  return { state, problems: reader.problems };
}

const LIST: Field<readonly (number | null)[]> = {
  expected: `channel:value pairs with channels from 0 to ${CHANNELS - 1}, such as 0:0.5,3:1`,
  parse: (text) => {
    const values: (number | null)[] = [...NO_EDITS.means];
    for (const pair of text.split(',')) {
      const [channel = '', value = '', ...rest] = pair.split(':');
      const isPair = /^\d+$/.test(channel) && Number(channel) < CHANNELS && value.trim() !== '' && rest.length === 0;
      if (!isPair || !Number.isFinite(Number(value))) return undefined;
      values[Number(channel)] = Number(value);
    }
    return values;
  },
};

/** Returns the edits with one value set, or with null released. */
export function withEdit(edits: Edits, part: keyof Edits, channel: number, value: number | null): Edits {
  return { ...edits, [part]: edits[part].map((old, c) => (c === channel ? value : old)) };
}

/**
 * What the panel keeps in the address: the preset or an own program, the step, and whether both orders are shown.
 */
import { type Field, LinkReader, type LinkState, oneOf } from '../link.ts';
import { PRESETS, type PresetName } from './presets.ts';

export const OWN = 'own';
export type Choice = PresetName | typeof OWN;

export interface ReadState {
  readonly name: Choice;
  /** The text of an own program; null where the link has none. */
  readonly program: string | null;
  readonly step: number;
  readonly both: boolean;
  readonly reader: LinkReader;
}

const NAMES = ['preset', 'program', 'step', 'order'];

const PRESET = oneOf<Choice>([...(Object.keys(PRESETS) as PresetName[]), OWN]);
const STEP: Field<number> = {
  expected: 'a whole number, 0 or more',
  parse: (text) => (/^\d{1,9}$/.test(text) ? Number(text) : undefined),
};
const ORDER = oneOf(['both']);

/** Reads a state from the address. What is missing or invalid gets its default. */
export function readState(link: LinkState): ReadState {
  const reader = new LinkReader(link, NAMES);
  const name = reader.read('preset', PRESET, 'small');
  return {
    name,
    program: name === OWN ? (link['program'] ?? null) : null,
    step: reader.read('step', STEP, 0),
    both: reader.read('order', ORDER, '', 'the engine’s order alone') === 'both',
    reader,
  };
}

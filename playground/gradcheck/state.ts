/**
 * What the panel keeps in the address: the name of an unchanged preset or the three texts, and the step.
 */
import { type Field, LinkReader, type LinkState, oneOf } from '../link.ts';
import type { CheckRequest } from './model.ts';
import { PRESETS, type PresetName } from './presets.ts';
import type { Program } from './program.ts';
import { STEPS } from './steps.ts';

export interface GradcheckState {
  /** The preset that the program started from. */
  readonly preset: PresetName;
  readonly program: Program;
  /** The index of the step in STEPS. */
  readonly step: number;
}

const USUAL_STEP = STEPS.findIndex((h) => h > 0.9e-6);

/** The state of a preset, with the usual step. */
export function stateOf(preset: PresetName, step = USUAL_STEP): GradcheckState {
  const { inputs, forward, backward } = PRESETS[preset];
  return { preset, program: { inputs, forward, backward }, step };
}

/** Returns whether the program is that of its preset. */
export function isUnchanged({ preset, program }: GradcheckState): boolean {
  const own = PRESETS[preset];
  return own.inputs === program.inputs && own.forward === program.forward && own.backward === program.backward;
}

export function requestOf({ program, step }: GradcheckState): CheckRequest {
  return { program, eps: STEPS[step]! };
}

/** Writes what `readState` reads. */
export function writeState(state: GradcheckState): LinkState {
  const step = { preset: state.preset, h: STEPS[state.step]!.toExponential(1) };
  return isUnchanged(state) ? step : { ...step, ...state.program };
}

const NAMES = ['preset', 'inputs', 'forward', 'backward', 'h'];

/** Reads a state from the address. What is missing or invalid gets its default; `problems` has a sentence for each invalid value. */
export function readState(link: LinkState): { readonly state: GradcheckState; readonly problems: readonly string[] } {
  const reader = new LinkReader(link, NAMES);
  const name = reader.read('preset', oneOf(Object.keys(PRESETS) as PresetName[]), 'factor');
  const { preset, program } = stateOf(name);
  const { inputs = program.inputs, forward = program.forward, backward = program.backward } = link;
  const step = reader.read('h', STEP, USUAL_STEP, STEPS[USUAL_STEP]!.toExponential(1));
  return { state: { preset, program: { inputs, forward, backward }, step }, problems: reader.problems };
}

/** The index of the nearest step. */
const STEP: Field<number> = {
  expected: `a step from ${STEPS[0]!.toExponential(0)} to ${STEPS.at(-1)!}`,
  parse: (text) => {
    const h = Number(text);
    if (!(h >= 0.9 * STEPS[0]! && h <= 1.1 * STEPS.at(-1)!)) return undefined;
    const distances = STEPS.map((step) => Math.abs(Math.log(step / h)));
    return distances.indexOf(Math.min(...distances));
  },
};

/**
 * What the panel keeps in the address: the name of an unchanged preset or the three texts, and the step.
 */
import type { LinkState } from '../link.ts';
import { STEPS, type CheckRequest } from './model.ts';
import { PRESETS, presetNamed, type PresetName } from './presets.ts';
import type { Program } from './program.ts';

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

/** Reads a state from the address. What is missing or invalid gets its default. */
export function readState(link: LinkState): GradcheckState {
  const name = link['preset'] ?? '';
  const { preset, program } = stateOf(presetNamed(name) === null ? 'factor' : (name as PresetName));
  const { inputs = program.inputs, forward = program.forward, backward = program.backward } = link;
  return { preset, program: { inputs, forward, backward }, step: nearestStep(Number(link['h'])) };
}

function nearestStep(h: number): number {
  if (!(h > 0)) return USUAL_STEP;
  const distances = STEPS.map((step) => Math.abs(Math.log(step / h)));
  return distances.indexOf(Math.min(...distances));
}

/**
 * Runs that the page proposes. Each says what the visitor will see.
 */
import { DEFAULTS, type TrainSettings, writeSettings } from './settings.ts';

export interface Experiment {
  readonly title: string;
  readonly settings: TrainSettings;
  /** What happens, and why. */
  readonly expect: string;
}

export const EXPERIMENTS: readonly Experiment[] = [
  {
    title: 'SE detects the band',
    settings: DEFAULTS,
    expect:
      'Both nets first learn the shapes. Then the net without SE stays below 80 %: it sees shape and band, but cannot combine them. The net ' +
      'with SE passes 90 % within 400 steps, while its gates in block 2 begin to differ between warm and cool images.',
  },
  {
    title: 'Control: nothing to detect',
    settings: { ...DEFAULTS, context: 'none' },
    expect:
      'The same images, but the label is the shape alone. Now both nets pass 90 % within 400 steps: without context to detect, SE gains little.',
  },
  {
    title: 'One gate is enough',
    settings: { ...DEFAULTS, placement: 'first' },
    expect: 'SE in the first block only. It finds the band too, but later: about 80 % after 500 steps, beyond 90 % after 1,000.',
  },
  {
    title: 'Gates that close for good',
    settings: { ...DEFAULTS, gate: 'relu', seed: 1 },
    expect:
      'ReLU in the place of sigmoid. Within 50 steps all gates of block 3 are 0 for every image. A ReLU at 0 passes no gradient, so they never ' +
      'open again, and the net with SE guesses: 10 % right.',
  },
  {
    title: 'Learning rate too high',
    settings: { ...DEFAULTS, start: { optimizer: 'sgd', lr: 5 } },
    expect:
      'The first steps throw the weights so far that both nets guess: about 10 % right. Lower the rate to 0.05 while it runs: they do not come ' +
      'back. Press Reset: now they learn.',
  },
];

/** Returns the experiment with these settings; null if there is none. */
export function experimentOf(settings: TrainSettings): Experiment | null {
  const text = (s: TrainSettings): string => JSON.stringify(writeSettings(s));
  return EXPERIMENTS.find((e) => text(e.settings) === text(settings)) ?? null;
}

/**
 * Random numbers of each part of a batch.
 */
import { defaultGenerator } from '../autograd/index.ts';
import { Random } from '../core/random.ts';

/**
 * Runs `fn` with draws of the default generator that depend on its state and on `part` alone, so that parts of a batch have numbers of their own.
 * Afterwards the generator has its state back; `advanceDraws` ends the batch.
 */
export function withDrawsOf<T>(part: number, fn: () => T): T {
  const before = defaultGenerator.stateDict();
  const own = new Random(before.seed).split(before.draws, part).uniform();
  defaultGenerator.loadStateDict({ seed: Math.floor(own * Number.MAX_SAFE_INTEGER), draws: 0 });
  try {
    return fn();
  } finally {
    defaultGenerator.loadStateDict(before);
  }
}

/** Advances the default generator by one draw: on all ranks, after all parts of a batch. */
export function advanceDraws(): void {
  defaultGenerator.draw();
}

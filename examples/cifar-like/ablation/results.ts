/**
 * The cells that are done: a line of results.jsonl for each, so that a run killed at any moment loses only the one it was at.
 */
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { RunError } from '../errors.ts';
import type { Cell } from '../measure.ts';
import { matters, type Settings } from '../options.ts';
import type { Plan, Variant } from './plan.ts';

/** What came of one cell: how well it did, or the step at which its loss was no number any more. */
export type Outcome = Cell | { readonly divergedAt: number };

export interface Row {
  readonly variant: Variant;
  /** Of the seeds that are done, in their order. */
  readonly outcomes: readonly Outcome[];
}

/** The settings of one cell: a seed fixes weights, order and images. */
export function settingsOf(variant: Variant, seed: number): Settings {
  return { ...variant.settings, seed, dataSeed: seed };
}

interface Entry {
  readonly cell: string;
  readonly outcome: Outcome;
}

function entryIn(line: string): Entry | null {
  try {
    const entry = JSON.parse(line) as Partial<Entry> | null;
    return typeof entry?.cell === 'string' && typeof entry.outcome === 'object' ? (entry as Entry) : null;
  } catch {
    return null;
  }
}

export class Results {
  readonly #file: string;
  readonly #outcomes = new Map<string, Outcome>();

  constructor(dir: string) {
    mkdirSync(dir, { recursive: true });
    this.#file = join(dir, 'results.jsonl');
    const text = existsSync(this.#file) ? readFileSync(this.#file, 'utf8') : '';
    // A line that was cut off counts as not written.
    const whole = text.slice(0, text.lastIndexOf('\n') + 1);
    if (whole !== text) writeFileSync(this.#file, whole);
    for (const [i, line] of whole.split('\n').slice(0, -1).entries()) {
      const entry = entryIn(line);
      if (entry === null) {
        throw new RunError(
          `${this.#file}: line ${i + 1}: expected a cell and its outcome, got '${line}'; take the line out to run that cell again`,
        );
      }
      this.#outcomes.set(entry.cell, entry.outcome);
    }
  }

  get(variant: Variant, seed: number): Outcome | undefined {
    return this.#outcomes.get(nameOf(variant, seed));
  }

  add(variant: Variant, seed: number, outcome: Outcome): void {
    const cell = nameOf(variant, seed);
    this.#outcomes.set(cell, outcome);
    const file = openSync(this.#file, 'a');
    try {
      writeSync(file, `${JSON.stringify({ cell, outcome } satisfies Entry)}\n`);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
  }

  rows({ variants, seeds }: Plan): Row[] {
    return variants.map((variant) => ({ variant, outcomes: seeds.flatMap((seed) => this.get(variant, seed) ?? []) }));
  }
}

/** All that decides a cell's outcome, and nothing else: equal cells of two plans are run once. */
function nameOf(variant: Variant, seed: number): string {
  const settings = settingsOf(variant, seed);
  const without = ['se', ...(variant.se ? [] : ['reduction', 'placement', 'squeeze', 'gate'])];
  const meant = (Object.keys(settings) as (keyof Settings)[]).filter((key) => !without.includes(key) && matters(key, settings));
  return [`se=${variant.se}`, ...meant.map((key) => `${key}=${settings[key]}`)].join(' ');
}

/**
 * The results of finished cells, a line of results.jsonl for each. A run killed at any moment loses only the cell it was training.
 */
import { closeSync, existsSync, fsyncSync, mkdirSync, openSync, readFileSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { RunError } from '../errors.ts';
import type { Cell } from '../measure.ts';
import { matters, type Settings } from '../options.ts';
import type { Plan, Variant } from './plan.ts';

/** The outcome of one cell: its result, or the step at which its loss became NaN or infinite. */
export type Outcome = Cell | { readonly divergedAt: number };

export interface Row {
  readonly variant: Variant;
  /** Outcomes of the finished seeds, in the order of the seeds. */
  readonly outcomes: readonly Outcome[];
}

/** Returns the settings of one cell. Its seed determines weights, order and images. */
export function settingsOf(variant: Variant, seed: number): Settings {
  return { ...variant.settings, seed, dataSeed: seed };
}

/** A line of results.jsonl. */
interface Entry {
  readonly cell: string;
  readonly outcome: Outcome;
}

/** Parses a line of results.jsonl; returns null if it is no entry. */
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
    // An incomplete last line, left by a killed run, is removed.
    const complete = text.slice(0, text.lastIndexOf('\n') + 1);
    if (complete !== text) writeFileSync(this.#file, complete);
    for (const [i, line] of complete.split('\n').slice(0, -1).entries()) {
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

  /** Stores an outcome and appends it to results.jsonl. */
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

/** Returns the name of a cell: exactly the settings that determine its outcome. Equal cells of two plans are trained once. */
function nameOf(variant: Variant, seed: number): string {
  const settings = settingsOf(variant, seed);
  const ignored: string[] = ['se'];
  if (!variant.se) ignored.push('reduction', 'placement', 'squeeze', 'gate');
  const keys = (Object.keys(settings) as (keyof Settings)[]).filter((key) => !ignored.includes(key) && matters(key, settings));
  return [`se=${variant.se}`, ...keys.map((key) => `${key}=${settings[key]}`)].join(' ');
}

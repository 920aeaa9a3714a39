/**
 * The results of finished cells, a line of results.jsonl for each. A run killed at any moment loses only the cell it was training.
 */
import { join, resolve } from 'node:path';
import { RunError, withFile } from '../errors.ts';
import { makeFolders, removeTemporaries } from '../folders.ts';
import { LineFile } from '../line-file.ts';
import { FolderLock } from '../lock.ts';
import type { Cell } from '../measure.ts';
import { matters, type Settings } from '../options.ts';
import { excerpt } from '../text.ts';
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
    return typeof entry?.cell === 'string' && isOutcome(entry.outcome) ? (entry as Entry) : null;
  } catch {
    return null;
  }
}

function isOutcome(value: unknown): value is Outcome {
  if (typeof value !== 'object' || value === null) return false;
  const outcome: Readonly<Record<string, unknown>> = { ...value };
  const areNumbers = (keys: readonly string[]): boolean => keys.every((key) => typeof outcome[key] === 'number');
  return areNumbers('divergedAt' in outcome ? ['divergedAt'] : ['parameters', 'steps', 'testAccuracy']);
}

/** The names of the files that an ablation replaces. */
export const REPLACED = ['ablation.md', 'ablation.svg'];

export class Results {
  readonly #file: LineFile;
  readonly #lock: FolderLock;
  /** SHA-256 of real images; null for generated ones. */
  readonly #dataDigest: string | null;
  readonly #outcomes = new Map<string, Outcome>();
  #isClosed = false;

  /**
   * Makes or opens the folder of an ablation, locks it, and reads the outcomes in it.
   *
   * Throws: RunError if the folder cannot be made or written, another process uses it, or a line is damaged
   */
  constructor(dir: string, dataDigest: string | null = null) {
    this.#dataDigest = dataDigest;
    withFile(dir, 'make the folder', 'choose another with --out DIR', () => makeFolders(dir));
    this.#lock = FolderLock.acquire(resolve(dir), dir);
    let file: LineFile | null = null;
    try {
      file = new LineFile(join(dir, 'results.jsonl'), 'put that right and repeat the command');
      this.#read(file);
      withFile(dir, 'remove temporary files', 'the folder must be writable', () => removeTemporaries(dir, REPLACED));
    } catch (error) {
      file?.close();
      this.#lock.release();
      throw error;
    }
    this.#file = file;
  }

  #read(file: LineFile): void {
    let complete = 0;
    for (const { text, number, end } of file.lines()) {
      const entry = entryIn(text);
      if (entry === null) {
        throw new RunError(
          `${file.path}: line ${number}: expected a cell and its outcome, got '${excerpt(text)}'; take the line out to run that cell again`,
        );
      }
      this.#outcomes.set(entry.cell, entry.outcome);
      complete = end;
    }
    // An incomplete last line, left by a killed run, is removed.
    file.cut(complete);
  }

  /** Closes the file and releases the lock. Has no effect the second time. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#file.close();
    this.#lock.release();
  }

  get(variant: Variant, seed: number): Outcome | undefined {
    return this.#outcomes.get(nameOf(variant, seed, this.#dataDigest));
  }

  /** Stores an outcome and appends it to results.jsonl. */
  add(variant: Variant, seed: number, outcome: Outcome): void {
    const cell = nameOf(variant, seed, this.#dataDigest);
    this.#file.append(JSON.stringify({ cell, outcome } satisfies Entry));
    this.#file.sync();
    this.#outcomes.set(cell, outcome);
  }

  rows({ variants, seeds }: Plan): Row[] {
    return variants.map((variant) => ({ variant, outcomes: seeds.flatMap((seed) => this.get(variant, seed) ?? []) }));
  }
}

/** Returns the name of a cell: exactly the settings that determine its outcome. Equal cells of two plans are trained once. */
function nameOf(variant: Variant, seed: number, dataDigest: string | null): string {
  const settings = settingsOf(variant, seed);
  const ignored: string[] = ['se'];
  // The images count, not the folder that they are in.
  if (dataDigest !== null) ignored.push('dataDir');
  const images = dataDigest === null ? [] : [`images=${dataDigest}`];
  if (!variant.se) ignored.push('reduction', 'placement', 'squeeze', 'gate');
  const keys = (Object.keys(settings) as (keyof Settings)[]).filter((key) => !ignored.includes(key) && matters(key, settings));
  return [`se=${variant.se}`, ...images, ...keys.map((key) => `${key}=${settings[key]}`)].join(' ');
}

/**
 * The folder of one run: config.json, metrics.jsonl, checkpoint.safetensors, and what a finished run adds.
 *
 * A process killed at any moment leaves a folder that `--resume` can go on with: config.json is there from the folder's first
 * moment, checkpoints replace each other at once, and metrics after the last checkpoint are cut off.
 */
import {
  closeSync,
  existsSync,
  fsyncSync,
  ftruncateSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import type { Stateful, Tensor } from 'chainrule';
import { loadCheckpoint, saveCheckpoint, saveSafetensors, writeFileAtomic } from 'chainrule/io';
import { RunError } from './errors.ts';
import { type Settings, settingsFrom } from './options.ts';

/** A line of metrics.jsonl: a step, or an evaluation on test images. */
export type Metric =
  | { net: string; step: number; epoch: number; loss: number; accuracy: number; lr: number }
  | { net: string; step: number; images: number; testLoss: number; testAccuracy: number };

const CONFIG = 'config.json';
const METRICS = 'metrics.jsonl';
const CHECKPOINT = 'checkpoint.safetensors';

export class RunFolder {
  readonly dir: string;
  readonly settings: Settings;
  readonly #metrics: number;

  private constructor(dir: string, settings: Settings) {
    this.dir = dir;
    this.settings = settings;
    this.#metrics = openSync(join(dir, METRICS), 'a+');
  }

  /** Throws: RunError if there is something at `dir` already */
  static checkNew(dir: string): void {
    if (!existsSync(dir) || isEmptyFolder(dir)) return;
    throw new RunError(`${dir}: expected a new folder, got one that exists; go on with --resume ${dir}, or choose another with --out DIR`);
  }

  /** `dir`, or the first of dir-2, dir-3, … that is not there yet. */
  static nextFree(dir: string): string {
    for (let n = 1; ; n++) {
      const candidate = n === 1 ? dir : `${dir}-${n}`;
      if (!existsSync(candidate)) return candidate;
    }
  }

  /** Throws: RunError as checkNew does, or if the folder cannot be made */
  static create(dir: string, settings: Settings): RunFolder {
    RunFolder.checkNew(dir);
    // The folder appears with its config.json in it, or not at all.
    const fresh = join(dirname(dir), `.${basename(dir)}.${crypto.randomUUID()}.tmp`);
    try {
      mkdirSync(fresh, { recursive: true });
      writeFileSync(join(fresh, CONFIG), `${JSON.stringify(settings, null, 2)}\n`);
      renameSync(fresh, dir);
    } catch (error) {
      rmSync(fresh, { recursive: true, force: true });
      throw new RunError(`${dir}: expected a folder that can be made, got ${messageOf(error)}; choose another with --out DIR`);
    }
    return new RunFolder(dir, settings);
  }

  /** Throws: RunError if `dir` holds no run */
  static open(dir: string): RunFolder {
    if (!existsSync(dir))
      throw new RunError(`--resume ${dir}: expected the folder of a run, got no such folder; leave --resume out to start one`);
    const file = join(dir, CONFIG);
    if (!existsSync(file))
      throw new RunError(`--resume ${dir}: expected the folder of a run, got one without ${CONFIG}; give the run's own folder`);
    const fail = (what: string) => new RunError(`${file}: ${what}; put back what the run was started with`);
    for (const name of readdirSync(dir)) if (name.startsWith('.') && name.endsWith('.tmp')) rmSync(join(dir, name));
    return new RunFolder(dir, settingsFrom(parseJson(readFileSync(file, 'utf8'), fail), fail));
  }

  /** The path of a file in this folder. */
  path(name: string): string {
    return join(this.dir, name);
  }

  get hasCheckpoint(): boolean {
    return existsSync(this.path(CHECKPOINT));
  }

  append(metric: Metric): void {
    writeSync(this.#metrics, `${JSON.stringify(metric)}\n`);
  }

  metrics(): Metric[] {
    const lines = readFileSync(this.path(METRICS), 'utf8').split('\n').slice(0, -1);
    return lines.map((line) => JSON.parse(line) as Metric);
  }

  /** Saves all of `states` and `extra`, and how many metrics belong to them. */
  save(states: Readonly<Record<string, Stateful>>, extra: object): void {
    // Metrics first: a checkpoint never counts lines that a power cut could take.
    fsyncSync(this.#metrics);
    saveCheckpoint(this.path(CHECKPOINT), states, { ...extra, metricsBytes: fstatSync(this.#metrics).size });
  }

  /** What `save` was given as `extra`; null before the first checkpoint. Cuts off the metrics that came after it. */
  rewind(): unknown {
    const extra = this.hasCheckpoint ? loadCheckpoint(this.path(CHECKPOINT), {}, { strict: false }) : null;
    const { metricsBytes = 0 } = (extra ?? {}) as { metricsBytes?: number };
    const { size } = fstatSync(this.#metrics);
    if (size < metricsBytes) {
      throw new RunError(
        `${this.path(METRICS)}: expected at least ${metricsBytes} bytes, which the checkpoint counts on, got ${size}; put the file back`,
      );
    }
    ftruncateSync(this.#metrics, metricsBytes);
    return extra;
  }

  /** Restores the states of the last checkpoint. */
  restore(states: Readonly<Record<string, Stateful>>): void {
    loadCheckpoint(this.path(CHECKPOINT), states);
  }

  saveWeights(name: string, weights: Readonly<Record<string, Tensor>>): void {
    saveSafetensors(this.path(`${name}.safetensors`), weights);
  }

  /** @returns the file's path */
  writeText(name: string, text: string): string {
    writeFileAtomic(this.path(name), new TextEncoder().encode(text));
    return this.path(name);
  }

  close(): void {
    closeSync(this.#metrics);
  }
}

function isEmptyFolder(dir: string): boolean {
  try {
    return readdirSync(dir).length === 0;
  } catch {
    return false;
  }
}

function parseJson(text: string, fail: (what: string) => Error): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw fail(`expected JSON, got ${messageOf(error)}`);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

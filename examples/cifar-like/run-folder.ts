/**
 * The folder of one run: config.json, metrics.jsonl, checkpoint.safetensors, and the weights and report of a finished run.
 *
 * A process killed at any moment leaves a folder that `--resume` can continue. The folder is created together with its
 * config.json, a checkpoint replaces the one before atomically, and metrics after the last checkpoint are cut off.
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

/** A line of metrics.jsonl: a training step, or an evaluation on test images. */
export type Metric =
  | { net: string; step: number; epoch: number; loss: number; accuracy: number; lr: number }
  | { net: string; step: number; images: number; testLoss: number; testAccuracy: number };

const CONFIG = 'config.json';
const METRICS = 'metrics.jsonl';
const CHECKPOINT = 'checkpoint.safetensors';

export class RunFolder {
  readonly dir: string;
  readonly settings: Settings;
  /** File descriptor of metrics.jsonl. */
  readonly #metrics: number;

  private constructor(dir: string, settings: Settings) {
    this.dir = dir;
    this.settings = settings;
    this.#metrics = openSync(join(dir, METRICS), 'a+');
  }

  /** Throws: RunError if `dir` exists and is not an empty folder */
  static checkNew(dir: string): void {
    if (!existsSync(dir) || isEmptyFolder(dir)) return;
    throw new RunError(`${dir}: expected a new folder, got one that exists; go on with --resume ${dir}, or choose another with --out DIR`);
  }

  /** Returns `dir`, or the first of dir-2, dir-3, … that does not exist. */
  static nextFree(dir: string): string {
    for (let n = 1; ; n++) {
      const candidate = n === 1 ? dir : `${dir}-${n}`;
      if (!existsSync(candidate)) return candidate;
    }
  }

  /**
   * Creates the folder of a new run.
   *
   * Throws: RunError as checkNew does, or if the folder cannot be made
   */
  static create(dir: string, settings: Settings): RunFolder {
    RunFolder.checkNew(dir);
    // Renaming is atomic: the folder appears with its config.json in it, or not at all.
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

  /**
   * Opens the folder of an earlier run, and removes the temporary files of an interrupted save.
   *
   * Throws: RunError if `dir` holds no run
   */
  static open(dir: string): RunFolder {
    if (!existsSync(dir)) {
      throw new RunError(`--resume ${dir}: expected the folder of a run, got no such folder; leave --resume out to start one`);
    }
    const file = join(dir, CONFIG);
    if (!existsSync(file)) {
      throw new RunError(`--resume ${dir}: expected the folder of a run, got one without ${CONFIG}; give the run's own folder`);
    }
    const fail = (what: string) => new RunError(`${file}: ${what}; put back what the run was started with`);
    for (const name of readdirSync(dir)) {
      if (name.startsWith('.') && name.endsWith('.tmp')) rmSync(join(dir, name));
    }
    return new RunFolder(dir, settingsFrom(parseJson(readFileSync(file, 'utf8'), fail), fail));
  }

  /** Returns the path of a file in this folder. */
  path(name: string): string {
    return join(this.dir, name);
  }

  get hasCheckpoint(): boolean {
    return existsSync(this.path(CHECKPOINT));
  }

  /** Appends a line to metrics.jsonl. */
  append(metric: Metric): void {
    writeSync(this.#metrics, `${JSON.stringify(metric)}\n`);
  }

  /** Reads all lines of metrics.jsonl. */
  metrics(): Metric[] {
    const lines = readFileSync(this.path(METRICS), 'utf8').split('\n').slice(0, -1);
    return lines.map((line) => JSON.parse(line) as Metric);
  }

  /** Writes a checkpoint of `states` and `extra`, with the current size of metrics.jsonl. */
  save(states: Readonly<Record<string, Stateful>>, extra: object): void {
    // Metrics are flushed first, so that a power cut cannot lose lines that the checkpoint counts.
    fsyncSync(this.#metrics);
    saveCheckpoint(this.path(CHECKPOINT), states, { ...extra, metricsBytes: fstatSync(this.#metrics).size });
  }

  /** Returns the `extra` of the last checkpoint, null if there is none. Cuts off the metrics that were written after it. */
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

  /** Writes a text file and returns its path. */
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

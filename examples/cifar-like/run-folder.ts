/**
 * The folder of one run: config.json, metrics.jsonl, checkpoint.safetensors, and the weights and report of a finished run.
 *
 * A process killed at any moment leaves a folder that `--resume` can continue. A new folder appears together with its
 * config.json, a checkpoint replaces the one before atomically, and metrics after the last checkpoint are cut off. A lock keeps
 * a second process out.
 */
import { createHash, randomUUID } from 'node:crypto';
import { lstatSync, mkdirSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { Stateful, Tensor } from 'chainrule';
import { decodeSafetensors, loadCheckpoint, readBytes, saveCheckpoint, tensorsToBytes, writeFileAtomic } from 'chainrule/io';
import { extraOf, isDigest, type Saved, savedIn } from './checkpoint.ts';
import { RunError, systemProblem, withFile } from './errors.ts';
import { isUnused, makeFolders, readText, removeEmpty, removeFolder, removeTemporaries, replacingFile } from './folders.ts';
import { FolderLock } from './lock.ts';
import { LineFile } from './line-file.ts';
import { type Metric, readMetrics } from './metrics.ts';
import type { RunFiles } from './ranks.ts';
import { type Settings, settingsFrom } from './options.ts';
import { shellWord } from './text.ts';

const CONFIG = 'config.json';
const METRICS = 'metrics.jsonl';
const CHECKPOINT = 'checkpoint.safetensors';
const REPORT = 'report.html';
/** Files that a run writes after a checkpoint. */
const LATER = ['plain.safetensors', 'se.safetensors', REPORT];
/** Files that a run replaces atomically; a killed process may leave a temporary file of each. */
const REPLACED = [CONFIG, CHECKPOINT, ...LATER];

const PUT_BACK = 'put back what the run was started with';

/** A new run cannot use a folder, because something is in its place. */
class FolderTakenError extends RunError {}

/** What config.json holds beside the settings. */
interface Config {
  readonly settings: Settings;
  /** SHA-256 of the images and labels; null if the settings alone determine them. */
  readonly dataDigest: string | null;
}

export class RunFolder implements RunFiles {
  /** The folder as the user wrote it. */
  readonly dir: string;
  readonly settings: Settings;
  readonly dataDigest: string | null;
  readonly #metrics: LineFile;
  readonly #lock: FolderLock;
  #isClosed = false;
  #hasCheckpoint = false;
  #hasProgress = false;
  /** SHA-256 of the file with the weights of each finished net. */
  #weights: Saved['weights'] = {};

  private constructor(dir: string, { settings, dataDigest }: Config, lock: FolderLock) {
    this.dir = dir;
    this.settings = settings;
    this.dataDigest = dataDigest;
    this.#lock = lock;
    this.#metrics = new LineFile(join(dir, METRICS), goOn(dir));
  }

  /** Throws: FolderTakenError if `dir` exists and is not an empty folder */
  static checkNew(dir: string): void {
    withFile(dir, 'make the folder', 'choose another with --out DIR', () => {
      if (!exists(dir) || isUnused(dir, [CONFIG])) return;
      const isFolder = statSync(dir, { throwIfNoEntry: false })?.isDirectory() ?? false;
      const expected = `${dir}: expected a new folder, got`;
      if (!isFolder) throw new FolderTakenError(`${expected} something else; choose another with --out DIR`);
      if (!exists(join(dir, CONFIG))) throw new FolderTakenError(`${expected} one with other files in it; choose another with --out DIR`);
      throw new FolderTakenError(`${expected} one that exists; go on with --resume ${shellWord(dir)}, or choose another with --out DIR`);
    });
  }

  /** Returns `dir`, or the first of dir-2, dir-3, … that does not exist. */
  static nextFree(dir: string): string {
    for (let n = 1; ; n++) {
      const candidate = n === 1 ? dir : `${dir}-${n}`;
      if (!exists(candidate)) return candidate;
    }
  }

  /**
   * Creates the folder of a new run. An empty folder is used as it is, because it may be a mount point or a link.
   *
   * Throws: RunError as checkNew does, or if the folder cannot be made
   */
  static create(dir: string, settings: Settings, dataDigest: string | null = null): RunFolder {
    RunFolder.checkNew(dir);
    const config = { settings, dataDigest };
    return exists(dir) ? RunFolder.#fill(dir, config) : RunFolder.#make(dir, config);
  }

  /** Creates the folder of a new run at `dir`, or the first of dir-2, dir-3, … that is free. */
  static createFree(dir: string, settings: Settings, dataDigest: string | null = null): RunFolder {
    for (;;) {
      try {
        return RunFolder.create(RunFolder.nextFree(dir), settings, dataDigest);
      } catch (error) {
        // Another run has just taken this name.
        if (!(error instanceof FolderTakenError)) throw error;
      }
    }
  }

  /** Makes a new folder. Renaming is atomic: it appears with its config.json in it, or not at all. */
  static #make(dir: string, config: Config): RunFolder {
    const target = resolve(dir);
    let made: string[] = [];
    let fresh: string | null = null;
    try {
      made = makeFolders(dirname(target));
      const path = join(dirname(target), `.run.${randomUUID()}.tmp`);
      mkdirSync(path);
      fresh = path;
      const lock = FolderLock.acquire(fresh, dir);
      writeFileSync(join(fresh, CONFIG), configText(config));
      renameSync(fresh, target);
      return RunFolder.#opened(dir, config, lock.movedTo(target));
    } catch (error) {
      if (fresh !== null) removeFolder(fresh);
      removeEmpty(made);
      const problem = systemProblem(error);
      if (problem === null) throw error;
      // Another run may have made it since it was checked.
      RunFolder.checkNew(dir);
      throw new RunError(`${dir}: expected a folder that can be made, got ${problem}; choose another with --out DIR`, { cause: error });
    }
  }

  /** Starts a run in an empty folder. */
  static #fill(dir: string, config: Config): RunFolder {
    const lock = FolderLock.acquire(resolve(dir), dir);
    try {
      // Checked again, because another process may have used the folder until now.
      RunFolder.checkNew(dir);
      removeTemporaries(dir, REPLACED);
      writeFileAtomic(join(dir, CONFIG), new TextEncoder().encode(configText(config)));
    } catch (error) {
      lock.release();
      throw error;
    }
    return RunFolder.#opened(dir, config, lock);
  }

  /** Opens the files of a locked folder; releases the lock if that fails. */
  static #opened(dir: string, config: Config, lock: FolderLock): RunFolder {
    try {
      return new RunFolder(dir, config, lock);
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  /**
   * Opens and locks the folder of an earlier run, and removes the temporary files of an interrupted save.
   *
   * Throws: RunError if `dir` holds no run, or if another process uses it
   */
  static open(dir: string): RunFolder {
    const config = withFile(dir, 'read the folder', 'it must be readable and writable', () => configIn(dir));
    const lock = FolderLock.acquire(resolve(dir), dir);
    const folder = RunFolder.#opened(dir, config, lock);
    try {
      withFile(dir, 'remove temporary files', 'the folder must be writable', () => removeTemporaries(dir, REPLACED));
    } catch (error) {
      folder.close();
      throw error;
    }
    return folder;
  }

  /** Returns the path of a file in this folder. */
  path(name: string): string {
    return join(this.dir, name);
  }

  /** Whether the last checkpoint that was read or written is one of a finished step. */
  get hasProgress(): boolean {
    return this.#hasProgress;
  }

  /** Throws: RunError unless `digest` is that of the data with which the run was started */
  checkData(digest: string | null): void {
    if (this.dataDigest === null || this.dataDigest === digest) return;
    const short = (sum: string | null): string => sum?.slice(0, 12) ?? 'none';
    throw new RunError(
      `${this.path(CONFIG)}: expected the images that the run was started with (SHA-256 ${short(this.dataDigest)}…), got others ` +
        `(${short(digest)}…); put them back, or give their folder with --data-dir DIR`,
    );
  }

  /** Appends a line to metrics.jsonl. */
  append(metric: Metric): void {
    this.#metrics.append(JSON.stringify(metric));
  }

  /** Reads all lines of metrics.jsonl. Throws: RunError that names a damaged line */
  metrics(): Metric[] {
    return readMetrics(this.#metrics);
  }

  /** Writes a checkpoint of `run`, with the current size of metrics.jsonl. */
  save(run: Stateful, saved: Omit<Saved, 'metricsBytes' | 'weights' | 'dataDigest'>): void {
    // Metrics are flushed first, so that a power cut cannot lose lines that the checkpoint counts.
    this.#metrics.sync();
    const extra = extraOf(
      { ...saved, metricsBytes: this.#metrics.bytes, weights: this.#weights, dataDigest: this.dataDigest },
      this.settings,
    );
    this.#write(() => saveCheckpoint(this.path(CHECKPOINT), { run }, extra));
    this.#hasCheckpoint = true;
    this.#hasProgress = saved.phase > 0 || saved.step > 0;
  }

  /**
   * Returns what the last checkpoint stores beside the run; null if the run has none because it did not begin. Changes no file.
   *
   * Throws: RunError if the checkpoint, a metric that it counts, or the weights of a finished net are missing, damaged or of other settings
   */
  readCheckpoint(): Saved | null {
    const path = this.path(CHECKPOINT);
    const { bytes } = this.#metrics;
    if (!exists(path)) {
      if (bytes === 0) return null;
      throw checkpointLost(path, `${METRICS} (${bytes} bytes)`);
    }
    if (!isFile(path)) throw new RunError(`${path}: expected a file, got something else; put the checkpoint back`);
    const saved = savedIn(loadCheckpoint(path, {}, { strict: false }), this.settings, {
      field: (what) => this.checkpointError(what),
      settings: (what) => new RunError(`${this.path(CONFIG)}: ${what}; put it back to go on`),
      version: (what) => new RunError(`${path}: ${what}; finish the run with the program that wrote it, or start a new one with --out DIR`),
    });
    if (bytes < saved.metricsBytes) {
      throw new RunError(
        `${this.#metrics.path}: expected at least ${saved.metricsBytes} bytes, which the checkpoint counts on, got ${bytes}; put the file back`,
      );
    }
    if (saved.dataDigest !== undefined && saved.dataDigest !== this.dataDigest) {
      const [expected, got] = [saved.dataDigest, this.dataDigest].map((digest) => JSON.stringify(digest));
      throw new RunError(
        `${this.path(CONFIG)}: dataDigest: expected ${expected}, with which the run was trained so far, got ${got}; put it back to go on`,
      );
    }
    for (const { net } of saved.results) this.#checkWeights(net, saved.weights[net]);
    this.#weights = saved.weights;
    this.#hasCheckpoint = true;
    this.#hasProgress = saved.phase > 0 || saved.step > 0;
    return saved;
  }

  /** Throws: RunError unless the weights of a finished net are in their file, with this SHA-256 if it is known */
  #checkWeights(net: string, digest: string | undefined): void {
    const path = this.path(`${net}.safetensors`);
    const fail = (got: string) =>
      new RunError(`${path}: expected the weights of the trained net, got ${got}; put the file back as the run left it`);
    const stats = lstatSync(path, { throwIfNoEntry: false });
    if (stats === undefined) throw fail('no file');
    if (!stats.isFile()) throw fail('something else than a file');
    const bytes = readBytes(path);
    if (digest === undefined) decodeSafetensors(bytes, path);
    else if (digestOf(bytes) !== digest) throw fail('other bytes');
  }

  /** Returns the error for a checkpoint of which something is wrong. */
  checkpointError(what: string): RunError {
    return new RunError(`${this.path(CHECKPOINT)}: ${what}; put the file back as the run left it`);
  }

  /** Puts `run` back to the last checkpoint, checks the metrics that it counts, and cuts off the rest. */
  restore(run: Stateful, { metricsBytes }: Saved): void {
    loadCheckpoint(this.path(CHECKPOINT), { run });
    readMetrics(this.#metrics, metricsBytes);
    this.#metrics.cut(metricsBytes);
  }

  saveWeights(net: 'plain' | 'se', weights: Readonly<Record<string, Tensor>>): void {
    const bytes = tensorsToBytes(weights);
    this.#write(() => writeFileAtomic(this.path(`${net}.safetensors`), bytes));
    this.#weights = { ...this.#weights, [net]: digestOf(bytes) };
  }

  /** Writes the report and returns its path. */
  writeReport(text: string): string {
    this.#write(() => writeFileAtomic(this.path(REPORT), new TextEncoder().encode(text)));
    return this.path(REPORT);
  }

  /**
   * Replaces a file of the run.
   *
   * Throws: RunError that says what is left and how to go on if the file cannot be written, as on a full disk
   */
  #write(replace: () => void): void {
    replacingFile(() => this.#remedy(), replace);
  }

  /** Says what is left after an error. The library writes a new file beside the old one, so an error leaves the old one as it was. */
  #remedy(): string {
    if (!exists(this.dir)) return `it was moved or deleted while the run went on: put it back and go on with ${resumeCommand(this.dir)}`;
    const left = this.#hasCheckpoint ? 'the last checkpoint is whole' : 'there is no checkpoint yet';
    return `${left}; ${goOn(this.dir)}`;
  }

  /** Closes the files and releases the lock. Has no effect the second time. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#metrics.close();
    this.#lock.release();
  }
}

function digestOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** Returns the command that continues the run in `dir`. */
export function resumeCommand(dir: string): string {
  return `npm start -- --resume ${shellWord(dir)}`;
}

/** What to do after an error that leaves the run as it was at its last checkpoint. */
function goOn(dir: string): string {
  return `put that right and go on with ${resumeCommand(dir)}`;
}

/** Returns whether the path exists, a link without a target included. Throws if a folder above it cannot be searched. */
function exists(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

/** Returns whether there is a regular file, or a link that leads to one. */
function isFile(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isFile() ?? false;
}

function configText({ settings, dataDigest }: Config): string {
  return `${JSON.stringify(dataDigest === null ? settings : { ...settings, dataDigest }, null, 2)}\n`;
}

/** Reads config.json of a run to resume, and checks that the files beside it are complete. */
function configIn(dir: string): Config {
  const expected = `--resume ${dir}: expected the folder of a run`;
  if (!exists(dir)) throw new RunError(`${expected}, got no such folder; leave --resume out to start one`);
  const file = join(dir, CONFIG);
  if (!exists(file)) throw new RunError(`${expected}, got one without ${CONFIG}; give the run's own folder`);
  const config = readConfig(file);
  const [metrics, checkpoint] = [join(dir, METRICS), join(dir, CHECKPOINT)];
  if (exists(checkpoint) && !exists(metrics)) {
    throw new RunError(`${metrics}: expected the file that the checkpoint counts on, got none; put the file back`);
  }
  const later = LATER.find((name) => exists(join(dir, name)));
  if (later !== undefined && !exists(checkpoint) && !exists(metrics)) throw checkpointLost(checkpoint, later);
  return config;
}

/** Returns the error for a run without checkpoint, although it has files that are written after one. */
function checkpointLost(path: string, owner: string): RunError {
  return new RunError(
    `${path}: expected the checkpoint that belongs to ${owner}, got none; put it back, or start a new run with --out DIR`,
  );
}

function readConfig(file: string): Config {
  const fail = (what: string) => new RunError(`${file}: ${what}; ${PUT_BACK}`);
  const json = parseJson(readText(file, PUT_BACK), fail);
  if (typeof json !== 'object' || json === null) throw fail('expected a record of settings');
  const { dataDigest = null, ...settings } = json as { dataDigest?: unknown };
  if (dataDigest !== null && !isDigest(dataDigest)) {
    throw fail(`dataDigest: expected a SHA-256, got ${JSON.stringify(dataDigest)}`);
  }
  return { settings: settingsFrom(settings, fail), dataDigest };
}

function parseJson(text: string, fail: (what: string) => Error): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw fail(`expected JSON, got ${error instanceof Error ? error.message : String(error)}`);
  }
}

/**
 * A lock on a folder, so that two processes never write to one run.
 *
 * `run.lock` holds the process that uses the folder. After a SIGKILL or a power cut it stays behind; the next process sees that
 * its owner has ended, by process id and start time, and takes the lock.
 */
import { randomUUID } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  constants,
  closeSync,
  lstatSync,
  openSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { RunError, withFile } from './errors.ts';
import { shellWord } from './text.ts';

export const LOCK = 'run.lock';

/** Identifies a process, also among those that get the same id later. A field is null where the platform does not tell. */
interface Owner {
  readonly pid: number;
  readonly started: string | null;
  /** The machine, since its last start. */
  readonly boot: string | null;
  readonly host: string;
  /** Process ids count in a namespace, such as that of a container. */
  readonly namespace: string | null;
}

/** How often to look again at a lock that is empty, because its owner is about to write it. */
const LOOKS = 5;
const PAUSE_MS = 20;

export class FolderLock {
  readonly #path: string;
  readonly #text: string;

  private constructor(path: string, text: string) {
    this.#path = path;
    this.#text = text;
  }

  /**
   * Locks `dir`, which errors call `shown`.
   *
   * Throws: RunError if a process that may still run has locked it, or if it is not writable
   */
  static acquire(dir: string, shown = dir): FolderLock {
    const path = join(dir, LOCK);
    const text = `${JSON.stringify(thisProcess())}\n`;
    return withFile(shown, 'lock the folder', 'the folder must be writable', () => {
      while (!create(path, text)) {
        const found = readLock(path);
        // Its owner has released it in the meantime.
        if (found === null) continue;
        checkEnded(shown, path, found);
        removeStale(path, found);
      }
      return new FolderLock(path, text);
    });
  }

  /** Returns this lock for a folder that was renamed to `dir`. */
  movedTo(dir: string): FolderLock {
    return new FolderLock(join(dir, LOCK), this.#text);
  }

  /** Removes the lock, unless another process has taken it since. */
  release(): void {
    if (readLock(this.#path) === this.#text) rmSync(this.#path, { force: true });
  }
}

/** Creates the lock; returns false if there is one. */
function create(path: string, text: string): boolean {
  let file: number;
  try {
    file = openSync(path, 'wx');
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false;
    throw error;
  }
  try {
    writeSync(file, text);
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  } finally {
    closeSync(file);
  }
  return true;
}

/** Returns the text of the lock; null if there is none. */
function readLock(path: string): string | null {
  try {
    if (!lstatSync(path).isFile()) throw new RunError(`${path}: expected a file or nothing, got something else; delete it`);
    for (let look = 0; ; look++) {
      const text = readFileSync(path, 'utf8');
      if (text !== '' || look === LOOKS) return text;
      // Blocks: nothing notifies this array.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS);
    }
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null;
    throw error;
  }
}

/** Throws a RunError unless the owner of the lock has ended for certain. */
function checkEnded(dir: string, path: string, text: string): void {
  // Its owner was killed between creating the file and writing it.
  if (text === '') return;
  const owner = ownerIn(text);
  const expected = `${dir}: expected a folder that no other process uses`;
  if (owner === null) {
    throw new RunError(`${expected}, got one with an unreadable ${LOCK}; if no process uses it, rm ${shellWord(path)}`);
  }
  const self = thisProcess();
  if (owner.host !== self.host || owner.namespace !== self.namespace) {
    const got = `got one locked by process ${owner.pid} on ${owner.host}, which cannot be checked from here`;
    throw new RunError(`${expected}, ${got}; if that process has ended, rm ${shellWord(path)}`);
  }
  if (!isRunning(owner, self.boot)) return;
  throw new RunError(`${expected}, got one that process ${owner.pid} uses; wait until it ends, or stop it with kill ${owner.pid}`);
}

/** Removes the lock whose text is `stale`; puts back another one that has taken its place. */
function removeStale(path: string, stale: string): void {
  const aside = join(dirname(path), `.${LOCK}.${randomUUID()}.tmp`);
  try {
    renameSync(path, aside);
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return;
    throw error;
  }
  try {
    if (readLock(aside) !== stale) copyFileSync(aside, path, constants.COPYFILE_EXCL);
  } finally {
    rmSync(aside, { force: true });
  }
}

function ownerIn(text: string): Owner | null {
  try {
    const owner = JSON.parse(text) as Partial<Owner> | null;
    const isOwner = Number.isSafeInteger(owner?.pid) && owner!.pid! > 0 && typeof owner!.host === 'string';
    return isOwner ? (owner as Owner) : null;
  } catch {
    return null;
  }
}

function thisProcess(): Owner {
  return {
    pid: process.pid,
    started: startOf(process.pid),
    boot: tryTo(() => readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()),
    host: hostname(),
    namespace: tryTo(() => readlinkSync('/proc/self/ns/pid')),
  };
}

function isRunning({ pid, started, boot }: Owner, bootNow: string | null): boolean {
  if (boot !== null && bootNow !== null && boot !== bootNow) return false;
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: a process of another user.
    if (codeOf(error) === 'ESRCH') return false;
  }
  if (stateOf(pid) === 'Z') return false;
  const startedNow = startOf(pid);
  return started === null || startedNow === null || started === startedNow;
}

/** Returns when a process started, as a text to compare: clock ticks on Linux, a date elsewhere. */
function startOf(pid: number): string | null {
  return statFields(pid)?.[19] ?? tryTo(() => psStart(pid));
}

/** Returns the state of a process: `Z` if it has ended and its parent has not noticed. */
function stateOf(pid: number): string | null {
  return statFields(pid)?.[0] ?? null;
}

/** Returns the fields of /proc/PID/stat from the state on. The name before them may hold spaces and brackets. */
function statFields(pid: number): string[] | null {
  const text = tryTo(() => readFileSync(`/proc/${pid}/stat`, 'utf8'));
  return text === null ? null : text.slice(text.lastIndexOf(')') + 2).split(' ');
}

function psStart(pid: number): string | null {
  if (process.platform === 'win32') return null;
  const env = { ...process.env, LC_ALL: 'C', TZ: 'UTC' };
  return execFileSync('ps', ['-o', 'lstart=', '-p', String(pid)], { encoding: 'utf8', env, stdio: 'pipe' }).trim() || null;
}

/** Returns null where the platform lacks what `fn` reads. */
function tryTo<T>(fn: () => T): T | null {
  try {
    return fn();
  } catch {
    return null;
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}

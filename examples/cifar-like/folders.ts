/**
 * Folders, and the temporary files that an interrupted run leaves in them.
 */
import {
  closeSync,
  constants,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
} from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { FileError } from 'chainrule';
import { RunError, withFile } from './errors.ts';
import { LOCK } from './lock.ts';

/**
 * Makes a folder and those above it; returns the ones that it made, outermost first.
 *
 * Node's recursive mkdirSync does not return for a path below /proc (Node 20).
 * Throws: RunError if there is a file in its place, and errors of the operating system
 */
export function makeFolders(dir: string): string[] {
  const missing: string[] = [];
  for (let at = resolve(dir); !existsSync(at); at = dirname(at)) missing.push(at);
  missing.reverse();
  const made: string[] = [];
  try {
    for (const folder of missing) {
      mkdirSync(folder);
      made.push(folder);
    }
  } catch (error) {
    removeEmpty(made);
    throw error;
  }
  if (!statSync(dir).isDirectory()) throw new RunError(`${dir}: expected a folder, got a file; choose another with --out DIR`);
  return made;
}

/** Removes folders that `makeFolders` made, as far as they are empty. */
export function removeEmpty(folders: readonly string[]): void {
  for (const folder of folders.toReversed()) {
    try {
      rmdirSync(folder);
    } catch {
      // Another process has put something in; the error that led here is the one to report.
      return;
    }
  }
}

/** Removes a folder with its contents after an error, which is the one to report, whatever becomes of the folder. */
export function removeFolder(dir: string): void {
  try {
    rmSync(dir, { recursive: true, force: true });
  } catch {
    // What is left is a hidden folder of a run that has not begun.
  }
}

/** Matches the temporary files of writeFileAtomic for a file of the given name. */
const TEMPORARY = /^\.(.+)\.[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}\.tmp$/;

/** Returns whether `dir` is a folder that is empty but for what a run leaves that was killed while it began. */
export function isUnused(dir: string, begins: readonly string[]): boolean {
  if (!statSync(dir, { throwIfNoEntry: false })?.isDirectory()) return false;
  return readdirSync(dir).every((name) => name === LOCK || isTemporaryOf(name, [LOCK, ...begins]));
}

function isTemporaryOf(name: string, files: readonly string[]): boolean {
  const file = TEMPORARY.exec(name)?.[1];
  return file !== undefined && files.includes(file);
}

/** Removes temporary files of interrupted saves of `files`. Only the owner of the folder's lock may do this. */
export function removeTemporaries(dir: string, files: readonly string[]): void {
  for (const entry of readdirSync(dir, { withFileTypes: true })) {
    if (entry.isFile() && isTemporaryOf(entry.name, files)) rmSync(join(dir, entry.name), { force: true });
  }
}

/** Reads a text file. Throws a RunError for anything but a regular file, such as a pipe, which could block. */
export function readText(path: string, remedy: string): string {
  return withFile(path, 'read the file', remedy, () => {
    const file = openSync(path, constants.O_RDONLY | ((constants.O_NONBLOCK as number | undefined) ?? 0));
    try {
      if (!fstatSync(file).isFile()) throw new RunError(`${path}: expected a file, got something else; ${remedy}`);
      return readFileSync(file, 'utf8');
    } finally {
      closeSync(file);
    }
  });
}

/**
 * Runs a function of the library that replaces a file.
 *
 * Throws: RunError that ends with what `remedy` returns if the file cannot be written, as on a full disk
 */
export function replacingFile(remedy: () => string, replace: () => void): void {
  try {
    replace();
  } catch (error) {
    if (!(error instanceof FileError)) throw error;
    throw new RunError(`${error.message}; ${remedy()}`, { cause: error });
  }
}

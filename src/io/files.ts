/**
 * Whole files in and out: read at once, replaced at once.
 */
import { FileError } from '../core/errors.ts';
import { errorCode, fileSystem, readFile } from '../platform/files.ts';

/** Reads a whole file. Throws a FileError that says whether the file, its folder or the permission is missing. */
export function readBytes(path: string): Uint8Array {
  return readFile('readBytes', path);
}

/** Node's limit for one write is 2³¹ − 1 bytes. */
const MAX_WRITE = 2 ** 30;

/** Pauses in ms before renaming again; together 1.5 s, longer than a virus scanner or an indexer holds a small file. */
const RENAME_PAUSES = [10, 20, 40, 80, 150, 300, 400, 500] as const;

/**
 * Replaces the file at `path` by `content`: whoever reads it, also after a crash or loss of power, finds the old file or the new
 * one, whole.
 *
 * The content goes to a temporary file in the same folder (`.name.random.tmp`), is flushed to the disk, and renamed over `path`. A
 * process killed meanwhile leaves the temporary file behind. The folder must exist; a symbolic link at `path` is replaced, not followed.
 * @param content bytes, or several pieces that are written one after the other
 * Throws: FileError if the folder is missing or cannot be written to; the old file is as it was and the temporary one removed
 */
export function writeFileAtomic(path: string, content: Uint8Array | readonly Uint8Array[]): void {
  const { fs, path: paths } = fileSystem('writeFileAtomic');
  const folder = paths.dirname(path);
  const temporary = paths.join(folder, `.${paths.basename(path)}.${crypto.randomUUID()}.tmp`);
  try {
    const file = fs.openSync(temporary, 'wx');
    try {
      for (const piece of content instanceof Uint8Array ? [content] : content) {
        for (let at = 0; at < piece.length; at += MAX_WRITE) fs.writeFileSync(file, piece.subarray(at, at + MAX_WRITE));
      }
      fs.fsyncSync(file);
    } finally {
      fs.closeSync(file);
    }
    rename(fs, temporary, path);
    syncFolder(fs, folder);
  } catch (error) {
    fs.rmSync(temporary, { force: true });
    const code = errorCode(error);
    const what = code === 'ENOENT' ? `there is no folder ${folder}; make it first` : `cannot write ${path} (${code})`;
    throw new FileError(`writeFileAtomic: ${what}`, { cause: error });
  }
}

/** Renames; where another program holds one of the files open, as Windows then answers, tries again a bounded number of times. */
function rename(fs: typeof import('node:fs'), from: string, to: string): void {
  for (const pause of RENAME_PAUSES) {
    try {
      return fs.renameSync(from, to);
    } catch (error) {
      if (!['EPERM', 'EACCES', 'EBUSY'].includes(errorCode(error))) throw error;
    }
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, pause);
  }
  fs.renameSync(from, to);
}

/** Makes the rename itself survive a loss of power. Not every platform opens or flushes folders: then it does what it can anyway. */
function syncFolder(fs: typeof import('node:fs'), folder: string): void {
  try {
    const handle = fs.openSync(folder, 'r');
    try {
      fs.fsyncSync(handle);
    } finally {
      fs.closeSync(handle);
    }
  } catch (error) {
    if (!['EISDIR', 'EPERM', 'EACCES', 'EINVAL', 'ENOTSUP', 'EBADF'].includes(errorCode(error))) throw error;
  }
}

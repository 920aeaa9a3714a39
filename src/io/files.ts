/**
 * Reads whole files and replaces them atomically.
 */
import { FileError } from '../core/errors.ts';
import { errorCode, fileSystem, readFile } from '../platform/files.ts';

/** Reads a whole file. Throws a FileError that names what is missing: the file, its folder or the permission. */
export function readBytes(path: string): Uint8Array {
  return readFile('readBytes', path);
}

/** Bytes per write; Node's limit is 2³¹ − 1. */
const MAX_WRITE = 2 ** 30;

/** Pauses in ms between attempts to rename; 1.5 s in total, longer than a virus scanner or an indexer keeps a small file open. */
const RENAME_PAUSES = [10, 20, 40, 80, 150, 300, 400, 500] as const;

/**
 * Replaces the file at `path` by `content` atomically: also after a crash or a power loss, a reader gets the complete old or new file.
 *
 * Writes to a temporary file in the same folder (`.name.random.tmp`), flushes it to the disk, and renames it to `path`. A process
 * killed before the rename leaves the temporary file behind. The folder must exist; a symbolic link at `path` is replaced, not followed.
 * @param content bytes, or several pieces that are written one after the other
 * Throws: FileError if the folder is missing or not writable; the old file stays and the temporary one is removed
 */
export function writeFileAtomic(path: string, content: Uint8Array | readonly Uint8Array[]): void {
  const { fs, path: paths } = fileSystem('writeFileAtomic');
  const folder = paths.dirname(path);
  const pieces = content instanceof Uint8Array ? [content] : content;
  const temporary = paths.join(folder, `.${paths.basename(path)}.${crypto.randomUUID()}.tmp`);
  try {
    const file = fs.openSync(temporary, 'wx');
    try {
      for (const piece of pieces) writeAll(fs, file, piece);
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

function writeAll(fs: typeof import('node:fs'), file: number, bytes: Uint8Array): void {
  for (let start = 0; start < bytes.length; start += MAX_WRITE) {
    fs.writeFileSync(file, bytes.subarray(start, start + MAX_WRITE));
  }
}

/** Renames a file. Retries a bounded number of times, as Windows fails while another program has one of the files open. */
function rename(fs: typeof import('node:fs'), from: string, to: string): void {
  for (const pause of RENAME_PAUSES) {
    try {
      return fs.renameSync(from, to);
    } catch (error) {
      if (!['EPERM', 'EACCES', 'EBUSY'].includes(errorCode(error))) throw error;
    }
    // Blocks for `pause` ms: nothing notifies this array.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, pause);
  }
  fs.renameSync(from, to);
}

/** Flushes the folder, so that the rename survives a power loss. Does nothing on platforms that cannot open or flush folders. */
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

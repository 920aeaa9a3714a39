/**
 * Reads whole files and replaces them atomically.
 */
import { bytesOf } from '../core/bytes.ts';
import { FileError } from '../core/errors.ts';
import { attempt, checkPath, errorCode, fileSystem, MAX_TRANSFER, readFile, syncFlag, type FileSystem } from '../platform/files.ts';

type Fs = FileSystem['fs'];

/** Reads a whole file. Throws a FileError that names what is missing: the file, its folder or the permission. */
export function readBytes(path: string): Uint8Array {
  return readFile('readBytes', path);
}

/** Pauses in ms between attempts to rename; 1.5 s in total, longer than a virus scanner or an indexer keeps a small file open. */
const RENAME_PAUSES = [10, 20, 40, 80, 150, 300, 400, 500] as const;

/**
 * Characters of the file's name in the name of the temporary file. File systems limit a name to 255 bytes, some to 143: at up to 4
 * bytes each, these and a random part of 42 bytes fit wherever the file's own name does or is short.
 */
const NAME_IN_TEMPORARY = 24;

/**
 * Replaces the file at `path` by `content` atomically: also after a crash or a power loss, a reader gets the complete old or new file.
 *
 * Writes to a temporary file in the same folder (`.name.random.tmp`), flushes it to the disk, and renames it to `path`. A process
 * killed before the rename leaves the temporary file behind. The folder must exist. A symbolic link to a file is replaced, not
 * followed. The new file has the permissions of the one that it replaces, and its owner where the process may set it.
 * @param content bytes, or several pieces that are written one after the other
 * Throws: FileError if the folder is missing or not writable, or if there is something other than a file at `path`; then the old
 * file stays and the temporary one is removed. ArgumentError if `content` is not bytes
 */
export function writeFileAtomic(path: string, content: Uint8Array | readonly Uint8Array[]): void {
  replaceFile('writeFileAtomic', path, content);
}

/** As writeFileAtomic. `op` begins an error. */
export function replaceFile(op: string, path: string, content: Uint8Array | readonly Uint8Array[]): void {
  const { fs, path: paths, crypto } = fileSystem(op);
  checkPath(op, path);
  const pieces = piecesOf(op, content);
  const folder = paths.dirname(path);
  const name = Array.from(paths.basename(path)).slice(0, NAME_IN_TEMPORARY).join('');
  const temporary = paths.join(folder, `.${name}.${crypto.randomUUID()}.tmp`);
  try {
    const replaced = replacedFile(op, fs, path);
    writeTemporary(fs, temporary, pieces, replaced);
    rename(fs, temporary, path);
  } catch (error) {
    // Whatever becomes of the temporary file, the first error is the one to report.
    attempt(() => fs.unlinkSync(temporary));
    if (error instanceof FileError) throw error;
    throw new FileError(`${op}: ${describeWriteError(path, folder, errorCode(error))}`, { cause: error });
  }
  syncFolder(op, fs, folder, path);
}

function piecesOf(op: string, content: unknown): Uint8Array[] {
  const isList = Array.isArray(content) && content.every((piece) => typeof piece !== 'number');
  if (!isList) return [bytesOf(op, 'content', content)];
  return content.map((piece, i) => bytesOf(op, `piece ${i} of content`, piece));
}

/** Node's code where its permission model forbids a call. */
const DENIED = 'ERR_ACCESS_DENIED';

function describeWriteError(path: string, folder: string, code: string): string {
  if (code === 'ENOENT') return `there is no folder ${folder}; make it first`;
  if (code === 'ENOTDIR') return `cannot write ${path} (ENOTDIR): a part of the path is a file, not a folder`;
  if (code === 'ENAMETOOLONG') return `cannot write ${path} (ENAMETOOLONG): the name is too long for the file system`;
  if (code === DENIED) return `cannot write ${path} (${code}): allow both --allow-fs-read and --allow-fs-write for ${folder}`;
  return `cannot write ${path} (${code})`;
}

/** What the new file takes from the old one. */
interface Replaced {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** Kinds of files that a rename would destroy, for messages. */
const SPECIAL_FILES = [
  ['isDirectory', 'a folder'],
  ['isCharacterDevice', 'a character device'],
  ['isBlockDevice', 'a block device'],
  ['isFIFO', 'a pipe'],
  ['isSocket', 'a socket'],
] as const;

/**
 * Returns permissions and owner of the file at `path`, or of the one that a link there leads to; null if there is none.
 * Throws: FileError for anything other than a file, such as a device
 */
function replacedFile(op: string, fs: Fs, path: string): Replaced | null {
  let stats: import('node:fs').Stats;
  try {
    stats = fs.statSync(path);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return null;
    throw error;
  }
  const special = SPECIAL_FILES.find(([is]) => stats[is]());
  if (special !== undefined) throw new FileError(`${op}: ${path} is ${special[1]}, expected a file or nothing`);
  return { mode: stats.mode & 0o777, uid: stats.uid, gid: stats.gid };
}

/** Writes a new file and flushes it. Until it has its final permissions, nobody else can read what replaces a private file. */
function writeTemporary(fs: Fs, temporary: string, pieces: readonly Uint8Array[], replaced: Replaced | null): void {
  const { O_WRONLY, O_CREAT, O_EXCL } = fs.constants;
  const sync = syncFlag(fs);
  const file = fs.openSync(temporary, O_WRONLY | O_CREAT | O_EXCL | sync, replaced === null ? 0o666 : replaced.mode & 0o600);
  try {
    for (const piece of pieces) writeAll(fs, file, piece);
    if (replaced !== null) copyPermissions(fs, temporary, replaced);
    if (sync === 0) fs.fsyncSync(file);
  } catch (error) {
    attempt(() => fs.closeSync(file));
    throw error;
  }
  fs.closeSync(file);
}

/** Gives the file owner and permissions of the old one. By path: Node's permission model forbids both on an open file. */
function copyPermissions(fs: Fs, file: string, old: Replaced): void {
  const { uid, gid } = fs.statSync(file);
  const isForeign = uid !== old.uid || gid !== old.gid;
  const chown = (user: number): boolean => attempt(() => fs.chownSync(file, user, old.gid));
  const hasGroup = !isForeign || chown(old.uid) || chown(uid);
  // The old group's permissions must not pass to another group.
  fs.chmodSync(file, hasGroup ? old.mode : old.mode & ~0o070);
}

function writeAll(fs: Fs, file: number, bytes: Uint8Array): void {
  for (let start = 0; start < bytes.length; start += MAX_TRANSFER) {
    fs.writeFileSync(file, bytes.subarray(start, start + MAX_TRANSFER));
  }
}

/** Renames a file. Retries a bounded number of times, as Windows fails while another program has one of the files open. */
function rename(fs: Fs, from: string, to: string): void {
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

/** Codes of platforms, file systems and permissions that do not let folders be opened or flushed. */
const CANNOT_FLUSH = [DENIED, 'EISDIR', 'EPERM', 'EACCES', 'EINVAL', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EBADF'];

/** Flushes the folder, so that the rename survives a power loss. Does nothing where folders cannot be opened or flushed. */
function syncFolder(op: string, fs: Fs, folder: string, path: string): void {
  try {
    const handle = fs.openSync(folder, 'r');
    try {
      fs.fsyncSync(handle);
    } finally {
      attempt(() => fs.closeSync(handle));
    }
  } catch (error) {
    const code = errorCode(error);
    // Deno's error has no code.
    if (CANNOT_FLUSH.includes(code) || code.startsWith('NotCapable')) return;
    throw new FileError(`${op}: ${path} is written, but its folder could not be flushed (${code}): a power loss may undo it`, {
      cause: error,
    });
  }
}

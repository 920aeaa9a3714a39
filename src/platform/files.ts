/**
 * Reads files through Node's file system. Errors name the missing file or folder.
 */
import { FileError } from '../core/errors.ts';
import { checkText } from '../core/options.ts';
import { nodeModules } from './node.ts';

/** The modules of Node that read and write files. */
export interface FileSystem {
  readonly fs: typeof import('node:fs');
  readonly path: typeof import('node:path');
  readonly zlib: typeof import('node:zlib');
  readonly crypto: typeof import('node:crypto');
}

/** Returns Node's file system. Throws: FileError that names `op` where there is none, as in a browser */
export function fileSystem(op: string): FileSystem {
  const load = nodeModules();
  if (load === undefined) throw new FileError(`${op}: this platform has no file system; fetch the bytes and decode them instead`);
  return { fs: load('node:fs'), path: load('node:path'), zlib: load('node:zlib'), crypto: load('node:crypto') };
}

/**
 * Returns Node's code of a failed system call (`ENOENT`), or the whole text of another error. The error may come from another
 * realm, as Node's do in Jest's environment: there, `instanceof Error` fails.
 */
export function errorCode(error: unknown): string {
  const code: unknown = Object(error).code;
  return typeof code === 'string' ? code : String(error);
}

/** Throws unless `path` is a text. Node would take a number for an open file, 0 for its standard input. */
export function checkPath(op: string, path: unknown): void {
  checkText(op, 'the path', path);
}

/**
 * Reads a whole file.
 *
 * Throws: FileError that begins with `op`, names the missing or unreadable file or folder, and ends with `hint`
 */
export function readFile(op: string, path: string, hint = ''): Uint8Array {
  const node = fileSystem(op);
  checkPath(op, path);
  try {
    const bytes = readWhole(node.fs, path);
    // Not a Buffer: in Jest's environment that is of another realm.
    return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  } catch (error) {
    throw readError(op, path, hint, node, error);
  }
}

/**
 * Returns the flag with which a file must be opened so that its content reaches the disk: O_SYNC where Node's permission model
 * forbids fsync, so that each write waits, and 0 where the file is to be flushed by fsync.
 */
export function syncFlag(fs: FileSystem['fs']): number {
  const { O_SYNC = 0 } = fs.constants as { O_SYNC?: number };
  return process.permission === undefined ? 0 : O_SYNC;
}

/** Bytes per read and per write; Node's limit is 2³¹ − 1. */
export const MAX_TRANSFER = 2 ** 30;

/** The code of the error with which Node's readFileSync refuses files from 2 GiB on. */
const TOO_LARGE = 'ERR_FS_FILE_TOO_LARGE';

function readWhole(fs: FileSystem['fs'], path: string): Uint8Array {
  try {
    return fs.readFileSync(path);
  } catch (error) {
    if (errorCode(error) !== TOO_LARGE) throw error;
    return readLarge(fs, path);
  }
}

/** Reads a file of any size that one array can hold, piece by piece. */
function readLarge(fs: FileSystem['fs'], path: string): Uint8Array {
  const file = fs.openSync(path, 'r');
  try {
    const bytes = new Uint8Array(fs.fstatSync(file).size);
    let length = 0;
    while (length < bytes.length) {
      const count = fs.readSync(file, bytes, length, Math.min(MAX_TRANSFER, bytes.length - length), null);
      if (count === 0) break;
      length += count;
    }
    return bytes.subarray(0, length);
  } finally {
    attempt(() => fs.closeSync(file));
  }
}

/** Runs a step of the clean-up, whose error must not hide an earlier one; returns whether it succeeded. */
export function attempt(step: () => void): boolean {
  try {
    step();
    return true;
  } catch {
    return false;
  }
}

/**
 * Appends `bytes` to an open file, all of them, or if the disk is full none: what was written of them is removed. In one call of the system where
 * it takes them at once, so that a kill cannot cut them.
 */
export function appendWhole(fs: FileSystem['fs'], file: number, bytes: Uint8Array): void {
  const { size } = fs.fstatSync(file);
  try {
    for (let at = 0; at < bytes.length; ) at += fs.writeSync(file, bytes, at);
  } catch (error) {
    attempt(() => fs.ftruncateSync(file, size));
    throw error;
  }
}

/**
 * Reads the first of `names`, or unpacks the first of `names` with `.gz`, from the first of `folders` that has one. Returns the bytes and
 * the path of the file read.
 *
 * Throws: FileError as readFile; if no folder has a file, it names the first ones
 */
export function readFileIn(
  op: string,
  folders: readonly string[],
  names: readonly [string, ...string[]],
  hint: string,
): { bytes: Uint8Array; file: string } {
  const node = fileSystem(op);
  checkPath(op, folders[0]);
  for (const path of folders.flatMap((folder) => names.map((name) => node.path.join(folder, name)))) {
    if (node.fs.existsSync(path)) return { bytes: readFile(op, path, hint), file: path };
    const packed = `${path}.gz`;
    if (!node.fs.existsSync(packed)) continue;
    const bytes = readFile(op, packed, hint);
    try {
      return { bytes: node.zlib.gunzipSync(bytes), file: packed };
    } catch (error) {
      throw new FileError(`${op}: ${packed} is damaged: it does not unpack as gzip (${errorCode(error)}); ${hint}`, { cause: error });
    }
  }
  const [name] = names;
  return { bytes: readFile(op, node.path.join(folders[0]!, name), hint), file: name };
}

function readError(op: string, path: string, hint: string, node: FileSystem, cause: unknown): FileError {
  const problem = describeReadError(path, errorCode(cause), node);
  const remedy = hint === '' ? '' : `; ${hint}`;
  return new FileError(`${op}: ${problem}${remedy}`, { cause });
}

function describeReadError(path: string, code: string, node: FileSystem): string {
  if (code === 'ENOTDIR') return `${node.path.dirname(path)} is not a folder, so there is no file ${path}`;
  if (code === 'EISDIR') return `${path} is a folder, expected a file`;
  if (code !== 'ENOENT') return `cannot read ${path} (${code})`;
  const folder = node.path.dirname(path);
  if (!node.fs.existsSync(folder)) return `there is no folder ${folder}`;
  return `folder ${folder} has no file ${node.path.basename(path)}`;
}

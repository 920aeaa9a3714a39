/**
 * Reads files through Node's file system. Errors name the missing file or folder.
 */
import { FileError } from '../core/errors.ts';
import { nodeModules } from './node.ts';

/** The modules of Node that read and write files. */
export interface FileSystem {
  readonly fs: typeof import('node:fs');
  readonly path: typeof import('node:path');
  readonly zlib: typeof import('node:zlib');
}

/** Returns Node's file system. Throws: FileError that names `op` where there is none, as in a browser */
export function fileSystem(op: string): FileSystem {
  const load = nodeModules();
  if (load === undefined) throw new FileError(`${op}: this platform has no file system; fetch the bytes and decode them instead`);
  return { fs: load('node:fs'), path: load('node:path'), zlib: load('node:zlib') };
}

/** Returns Node's code of a failed system call (`ENOENT`), or the whole message of another error. */
export function errorCode(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error);
}

/**
 * Reads a whole file.
 *
 * Throws: FileError that begins with `op`, names the missing or unreadable file or folder, and ends with `hint`
 */
export function readFile(op: string, path: string, hint = ''): Uint8Array {
  const node = fileSystem(op);
  try {
    return node.fs.readFileSync(path);
  } catch (error) {
    throw readError(op, path, hint, node, error);
  }
}

/**
 * Reads `name`, or unpacks `name.gz`, from the first of `folders` that has it. Returns the bytes and the path of the file read.
 *
 * Throws: FileError as readFile; if no folder has the file, it names the first one
 */
export function readFileIn(op: string, folders: readonly string[], name: string, hint: string): { bytes: Uint8Array; file: string } {
  const node = fileSystem(op);
  for (const folder of folders) {
    const file = node.path.join(folder, name);
    if (node.fs.existsSync(file)) return { bytes: readFile(op, file, hint), file };
    const packed = `${file}.gz`;
    if (!node.fs.existsSync(packed)) continue;
    const bytes = readFile(op, packed, hint);
    try {
      return { bytes: node.zlib.gunzipSync(bytes), file: packed };
    } catch (error) {
      throw new FileError(`${op}: ${packed} is damaged: it does not unpack as gzip (${errorCode(error)}); ${hint}`, { cause: error });
    }
  }
  return { bytes: readFile(op, node.path.join(folders[0]!, name), hint), file: name };
}

function readError(op: string, path: string, hint: string, node: FileSystem, cause: unknown): FileError {
  const problem = describeReadError(path, errorCode(cause), node);
  const remedy = hint === '' ? '' : `; ${hint}`;
  return new FileError(`${op}: ${problem}${remedy}`, { cause });
}

function describeReadError(path: string, code: string, node: FileSystem): string {
  if (code === 'EISDIR') return `${path} is a folder, expected a file`;
  if (code !== 'ENOENT') return `cannot read ${path} (${code})`;
  const folder = node.path.dirname(path);
  if (!node.fs.existsSync(folder)) return `there is no folder ${folder}`;
  return `folder ${folder} has no file ${node.path.basename(path)}`;
}

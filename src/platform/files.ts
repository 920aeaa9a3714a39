/**
 * The one door to Node's file system.
 */
import { FileError } from '../core/errors.ts';
import { nodeModules } from './node.ts';

/** The parts of Node that reading and writing files needs. */
export interface FileSystem {
  readonly fs: typeof import('node:fs');
  readonly path: typeof import('node:path');
  readonly zlib: typeof import('node:zlib');
}

/** Node's file system; throws a FileError that names `op` where there is none, as in a browser. */
export function fileSystem(op: string): FileSystem {
  const load = nodeModules();
  if (load === undefined) throw new FileError(`${op}: this platform has no file system; fetch the bytes and decode them instead`);
  return { fs: load('node:fs'), path: load('node:path'), zlib: load('node:zlib') };
}

/** Node's name of a failed system call (`ENOENT`), or the whole message where there is none. */
export function errorCode(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error);
}

/**
 * Reads a whole file.
 *
 * Throws: FileError that begins with `op`, says which file or folder is missing or unreadable, and ends with `hint`.
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
 * Reads `name`, or `name.gz` unpacked, from the first of `folders` that has it.
 *
 * Throws: FileError as readFile; if no folder has the file, about the first one.
 * @returns the bytes and the path they came from, for messages
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

function readError(op: string, path: string, hint: string, { fs, path: paths }: FileSystem, cause: unknown): FileError {
  const folder = paths.dirname(path);
  const code = errorCode(cause);
  let what = `cannot read ${path} (${code})`;
  if (code === 'EISDIR') what = `${path} is a folder, expected a file`;
  else if (code === 'ENOENT') {
    what = fs.existsSync(folder) ? `folder ${folder} has no file ${paths.basename(path)}` : `there is no folder ${folder}`;
  }
  return new FileError(`${op}: ${what}${hint && `; ${hint}`}`, { cause });
}

/**
 * Reads and writes NumPy's .npz files: a zip file with one .npy file for each array.
 *
 * The functions return a promise, as the platforms' own decompression does. A wrong argument throws at once. The tensors are made when
 * all is read, so that a damaged file leaves none.
 */
import { checkTensorRecord, scope, type Tensor } from '../autograd/index.ts';
import { bytesOf, joinBytes } from '../core/bytes.ts';
import { ArgumentError, isArray, kindOf } from '../core/errors.ts';
import { checkOptions, withDefaults } from '../core/options.ts';
import { oneLine } from '../core/text.ts';
import { replaceFile } from '../io/files.ts';
import { readFile } from '../platform/files.ts';
import { decodeNpy, encodeNpy, failIn, type StoredArray, toTensor } from './npy.ts';
import { MAX_NAME, readZip, unpack, writeZip, type ZipMember } from './zip.ts';

/** Options of loadNpz and npzFromBytes. */
export interface LoadNpzOptions {
  /** The names of the arrays to load. Default: all that can be represented. */
  readonly names?: readonly string[];
}

/** Options of saveNpz and npzToBytes. */
export interface NpzOptions {
  /** Whether the arrays are deflated, as by NumPy's `savez_compressed`. Default false. */
  readonly compressed?: boolean;
}

/** The end of each member's name. */
const SUFFIX = '.npy';

/**
 * Reads the arrays of a .npz file by name, compressed or not, without gradient. They belong to no scope: `dispose()` frees one, otherwise
 * the garbage collector does.
 *
 * An array that no dtype can represent (texts, objects, integers beyond int32) is left out, with a warning that names it; so is a file
 * whose name does not end in .npy.
 * Throws: FileError if the file is missing or damaged, or if one of `names` is not in it or cannot be represented
 * @example const { images, labels } = await loadNpz('mnist.npz')
 */
export function loadNpz(path: string, options: LoadNpzOptions = {}): Promise<Record<string, Tensor>> {
  const names = readNames('loadNpz', options);
  return read('loadNpz', readFile('loadNpz', path), path, names);
}

/** Returns the arrays of a .npz file from its bytes, as loadNpz does from a path. `file` is its name, for error messages. */
export function npzFromBytes(bytes: Uint8Array, file = 'bytes', options: LoadNpzOptions = {}): Promise<Record<string, Tensor>> {
  if (typeof file !== 'string') throw new ArgumentError(`npzFromBytes: the file's name must be a text, got ${kindOf(file)}`);
  const names = readNames('npzFromBytes', options);
  return read('npzFromBytes', bytesOf('npzFromBytes', 'bytes', bytes), file, names);
}

/**
 * Writes tensors as a .npz file, row-major whatever their strides. The file is replaced atomically, as by writeFileAtomic. Equal tensors
 * give equal bytes.
 *
 * Throws: FileError if the folder is missing or not writable; ArgumentError if `tensors` is not a record of tensors. The old file stays
 * @example await saveNpz('features.npz', { train, test }, { compressed: true })
 */
export function saveNpz(path: string, tensors: Readonly<Record<string, Tensor>>, options: NpzOptions = {}): Promise<void> {
  return write('saveNpz', tensors, options).then((pieces) => replaceFile('saveNpz', path, pieces));
}

/** Returns the bytes of the file that saveNpz writes. */
export function npzToBytes(tensors: Readonly<Record<string, Tensor>>, options: NpzOptions = {}): Promise<Uint8Array> {
  return write('npzToBytes', tensors, options).then(joinBytes);
}

function readNames(op: string, options: LoadNpzOptions): readonly string[] | null {
  checkOptions(op, options, ['names']);
  const { names } = options;
  if (names === undefined) return null;
  const wrong = isArray(names) ? names.find((name) => typeof name !== 'string') : names;
  if (wrong !== undefined) throw new ArgumentError(`${op}: names must be an array of texts, got ${kindOf(wrong)}`);
  return names;
}

async function read(op: string, bytes: Uint8Array, file: string, names: readonly string[] | null): Promise<Record<string, Tensor>> {
  const fail = failIn(op, file);
  const all = readZip(bytes, fail);
  const members = new Map(all.filter(isArrayFile).map((member) => [member.name.slice(0, -SUFFIX.length), member]));
  const missing = names?.filter((name) => !members.has(name)) ?? [];
  if (missing.length > 0) fail(`it does not have ${missing.join(', ')}; it has ${[...members.keys()].join(', ')}`);
  const arrays = new Map<string, StoredArray>();
  const others = names === null ? all.filter((member) => !isArrayFile(member)) : [];
  const leftOut = others.map(({ name }) => `${name} (no .npy file)`);
  for (const [name, member] of members) {
    if (names !== null && !names.includes(name)) continue;
    const content = await unpack(member, fail);
    const array = decodeNpy(content, (what) => fail(`${name}: ${what}`));
    if (typeof array !== 'string') arrays.set(name, array);
    else if (names === null) leftOut.push(`${name} (${array})`);
    else fail(`${name}: ${array}`);
  }
  if (leftOut.length > 0) console.warn(oneLine(`${op}: ${file}: left out ${leftOut.join(', ')}`));
  // A tensor may be called __proto__, which an assignment would lose.
  return scope(() => Object.fromEntries(Array.from(arrays, ([name, array]) => [name, toTensor(array)])));
}

function isArrayFile({ name }: ZipMember): boolean {
  return name.endsWith(SUFFIX);
}

/** Returns the bytes of a member's name. */
function storedLength(name: string): number {
  return new TextEncoder().encode(`${name}${SUFFIX}`).length;
}

function write(op: string, tensors: Readonly<Record<string, Tensor>>, options: NpzOptions): Promise<Uint8Array[]> {
  const { compressed } = withDefaults(op, options, { compressed: false });
  checkTensorRecord(op, tensors);
  const long = Object.keys(tensors).find((name) => storedLength(name) > MAX_NAME);
  if (long !== undefined)
    throw new ArgumentError(`${op}: a name has ${storedLength(long)} bytes with ${SUFFIX}, at most ${MAX_NAME} fit a zip file`);
  // All elements are copied now: the caller may change or free the tensors while the file is compressed.
  const inputs = Object.entries(tensors).map(([name, t]) => ({ name: `${name}${SUFFIX}`, content: encodeNpy(op, t) }));
  return writeZip(inputs, compressed);
}

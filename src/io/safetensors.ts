/**
 * Reads and writes named tensors in safetensors files, the format that PyTorch's and other tools share.
 */
import { checkTensorRecord, scope, tensor, type Tensor } from '../autograd/index.ts';
import type { ArrayData } from '../core/array-data.ts';
import { isIterable, isReadable } from '../core/describe.ts';
import { ArgumentError, isArray, kindOf } from '../core/errors.ts';
import { checkOptions, withDefaults } from '../core/options.ts';
import { oneLine } from '../core/text.ts';
import { readFile } from '../platform/files.ts';
import { replaceFile } from './files.ts';
import { decodeSafetensors, encodePieces, encodeSafetensors, type SafetensorsEntry } from './safetensors-format.ts';

/** Options of saveSafetensors and tensorsToBytes. */
export interface SafetensorsOptions {
  /** Texts for the file's header, such as `{ format: 'pt' }`; none by default. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/** Matches names of batch norm's counters, which PyTorch stores as 64-bit integers. */
const BATCH_COUNTER = /(^|\.)num_batches_tracked$/;

/**
 * Writes tensors to a file, row-major whatever their strides. Values are stored bitwise exactly.
 *
 * The file is replaced atomically, as by writeFileAtomic. int32 tensors named `num_batches_tracked` become I64, PyTorch's type.
 * Throws: FileError if the folder is missing or not writable; ArgumentError if `tensors` is not a record of tensors. The old
 * file stays
 * @example saveSafetensors('model.safetensors', model.stateDict())
 */
export function saveSafetensors(path: string, tensors: Readonly<Record<string, Tensor>>, options: SafetensorsOptions = {}): void {
  replaceFile('saveSafetensors', path, encodePieces(...contentOf('saveSafetensors', tensors, options)));
}

/** Options of loadSafetensors and tensorsFromBytes. */
export interface LoadSafetensorsOptions {
  /** The names of the tensors to load, as `safe_open(…).get_tensor(name)` does in PyTorch. Default: all that can be represented. */
  readonly names?: readonly string[];
}

/**
 * Reads the tensors of a file, without gradient. The enclosing scope owns them; `keep()` makes the user their owner.
 *
 * F16 and BF16 become float32, integers range-checked int32. A tensor that no dtype can represent (8-bit floats, integers beyond
 * int32) is left out, with a warning that names it. For metadata, use `decodeSafetensors(readBytes(path), path).metadata`.
 * Throws: FileError if the file is missing or damaged, or if one of `names` is not in it or cannot be represented
 * @example model.loadStateDict(loadSafetensors('model.safetensors'))
 */
export function loadSafetensors(path: string, options: LoadSafetensorsOptions = {}): Record<string, Tensor> {
  const { names } = readOptions('loadSafetensors', options);
  return tensorsOf('loadSafetensors', readFile('loadSafetensors', path), path, names);
}

/** Returns the bytes of the file that saveSafetensors writes, for platforms without files. */
export function tensorsToBytes(tensors: Readonly<Record<string, Tensor>>, options: SafetensorsOptions = {}): Uint8Array {
  return encodeSafetensors(...contentOf('tensorsToBytes', tensors, options));
}

function contentOf(
  op: string,
  tensors: Readonly<Record<string, Tensor>>,
  options: SafetensorsOptions,
): [entries: [string, SafetensorsEntry][], metadata: [string, string][]] {
  const { metadata } = withDefaults(op, options, { metadata: {} });
  if (!isReadable(metadata) || isIterable(metadata)) {
    throw new ArgumentError(`${op}: metadata must be a record of texts, got ${kindOf(metadata)}`);
  }
  // An array, a Map or a number would write a file with wrong names or none.
  checkTensorRecord(op, tensors);
  const entries = Object.entries(tensors).map(([name, t]): [string, SafetensorsEntry] => [
    name,
    asStored(name, { data: t.data(), shape: t.shape, dtype: t.dtype }),
  ]);
  return [entries, Object.entries(metadata)];
}

/**
 * Returns the tensors of a safetensors file from its bytes, as loadSafetensors does from a path.
 *
 * @param file the file's name, for error messages
 */
export function tensorsFromBytes(bytes: Uint8Array, file = 'bytes', options: LoadSafetensorsOptions = {}): Record<string, Tensor> {
  const { names } = readOptions('tensorsFromBytes', options);
  return tensorsOf('tensorsFromBytes', bytes, file, names);
}

function readOptions(op: string, options: LoadSafetensorsOptions): { readonly names: readonly string[] | undefined } {
  checkOptions(op, options, ['names']);
  const { names } = options;
  if (names === undefined) return { names };
  const wrong = isArray(names) ? names.find((name) => typeof name !== 'string') : names;
  if (wrong !== undefined) throw new ArgumentError(`${op}: names must be an array of texts, got ${kindOf(wrong)}`);
  return { names };
}

function tensorsOf(op: string, bytes: Uint8Array, file: string, names: readonly string[] | undefined): Record<string, Tensor> {
  const { entries, skipped } = decodeSafetensors(bytes, file, { names });
  if (skipped.size > 0) {
    const list = Array.from(skipped, ([name, reason]) => `${name} (${reason})`).join(', ');
    console.warn(oneLine(`${op}: ${file}: left out ${list}`));
  }
  // Frees the tensors already made if memory runs out. A tensor may be called __proto__, which an assignment would lose.
  return scope(() => Object.fromEntries(Array.from(entries, ([name, array]) => [name, toTensor(array)])));
}

/** Copies the array into a new tensor. */
export function toTensor({ data, shape, dtype }: ArrayData): Tensor {
  return tensor(data, { shape, dtype });
}

/** Returns the entry to write for the array: batch norm's counters as I64, everything else unchanged. */
export function asStored(name: string, array: ArrayData): SafetensorsEntry {
  return array.dtype === 'int32' && BATCH_COUNTER.test(name) ? { ...array, storeAs: 'I64' } : array;
}

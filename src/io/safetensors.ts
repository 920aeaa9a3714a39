/**
 * Reads and writes named tensors in safetensors files, the format that PyTorch's and other tools share.
 */
import { checkTensors, isTensor, tensor, type Tensor } from '../autograd/index.ts';
import type { ArrayData } from '../core/array-data.ts';
import { ArgumentError, kindOf } from '../core/errors.ts';
import { withDefaults } from '../core/options.ts';
import { readBytes, writeFileAtomic } from './files.ts';
import { decodeSafetensors, encodeSafetensors, type SafetensorsEntry } from './safetensors-format.ts';

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
  writeFileAtomic(path, bytesOf('saveSafetensors', tensors, options));
}

/**
 * Reads the tensors of a file, without gradient. The enclosing scope owns them; `keep()` makes the user their owner.
 *
 * F16 and BF16 become float32, integers range-checked int32. For metadata, use `decodeSafetensors(readBytes(path), path).metadata`.
 * Throws: FileError if the file is missing or damaged, or has a type that no dtype can represent
 * @example model.loadStateDict(loadSafetensors('model.safetensors'))
 */
export function loadSafetensors(path: string): Record<string, Tensor> {
  return tensorsFromBytes(readBytes(path), path);
}

/** Returns the bytes of the file that saveSafetensors writes, for platforms without files. */
export function tensorsToBytes(tensors: Readonly<Record<string, Tensor>>, options: SafetensorsOptions = {}): Uint8Array {
  return bytesOf('tensorsToBytes', tensors, options);
}

function bytesOf(op: string, tensors: Readonly<Record<string, Tensor>>, options: SafetensorsOptions): Uint8Array {
  const { metadata } = withDefaults(op, options, { metadata: {} });
  // An array, a Map or a number would write a file with wrong names or none.
  if (Object(tensors) !== tensors || isTensor(tensors) || Symbol.iterator in tensors) {
    throw new ArgumentError(`${op}: expected a record of tensors, got ${isTensor(tensors) ? 'one tensor' : kindOf(tensors)}`);
  }
  checkTensors(op, tensors);
  const entries = Object.entries(tensors).map(([name, t]): [string, SafetensorsEntry] => [
    name,
    asStored(name, { data: t.data(), shape: t.shape, dtype: t.dtype }),
  ]);
  return encodeSafetensors(entries, Object.entries(metadata));
}

/**
 * Returns the tensors of a safetensors file from its bytes, as loadSafetensors does from a path.
 *
 * @param file the file's name, for error messages
 */
export function tensorsFromBytes(bytes: Uint8Array, file = 'bytes'): Record<string, Tensor> {
  const { entries } = decodeSafetensors(bytes, file);
  // A tensor may be called __proto__, which an assignment would lose; Object.fromEntries does not.
  return Object.fromEntries(Array.from(entries, ([name, array]) => [name, toTensor(array)]));
}

/** Copies the array into a new tensor. */
export function toTensor({ data, shape, dtype }: ArrayData): Tensor {
  return tensor(data, { shape, dtype });
}

/** Returns the entry to write for the array: batch norm's counters as I64, everything else unchanged. */
export function asStored(name: string, array: ArrayData): SafetensorsEntry {
  return array.dtype === 'int32' && BATCH_COUNTER.test(name) ? { ...array, storeAs: 'I64' } : array;
}

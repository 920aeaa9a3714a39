/**
 * Named tensors in safetensors files, which PyTorch and others read and write.
 */
import { checkTensors, isTensor, tensor, type Tensor } from '../autograd/index.ts';
import type { ArrayData } from '../core/array-data.ts';
import { ArgumentError, kindOf } from '../core/errors.ts';
import { withDefaults } from '../core/options.ts';
import { readBytes, writeFileAtomic } from './files.ts';
import { decodeSafetensors, encodeSafetensors, type SafetensorsEntry } from './safetensors-format.ts';

/** What goes into a file beside its tensors. */
export interface SafetensorsOptions {
  /** Texts for the file's header, such as `{ format: 'pt' }`; none by default. */
  readonly metadata?: Readonly<Record<string, string>>;
}

/** What PyTorch counts in 64 bits, at the end of a name. */
const COUNTER = /(^|\.)num_batches_tracked$/;

/**
 * Writes tensors to a file, row-major whatever their strides; reading gives the same bits.
 *
 * The file is replaced at once, as by writeFileAtomic. int32 tensors named `num_batches_tracked` are written as I64, as PyTorch has them.
 * Throws: FileError if the folder is missing or cannot be written to; ArgumentError for what is no record of tensors. The old
 * file is as it was
 * @example saveSafetensors('model.safetensors', model.stateDict())
 */
export function saveSafetensors(path: string, tensors: Readonly<Record<string, Tensor>>, options: SafetensorsOptions = {}): void {
  writeFileAtomic(path, bytesOf('saveSafetensors', tensors, options));
}

/**
 * Reads the tensors of a file, without gradient. They are as any others: the scope around owns them, `keep()` makes them yours.
 *
 * F16 and BF16 become float32, integers int32 (range-checked). The header's texts: `decodeSafetensors(readBytes(path), path).metadata`.
 * Throws: FileError on a missing or damaged file, and on types that no dtype here can hold
 * @example model.loadStateDict(loadSafetensors('model.safetensors'))
 */
export function loadSafetensors(path: string): Record<string, Tensor> {
  return tensorsFromBytes(readBytes(path), path);
}

/** The bytes of the file that saveSafetensors writes, for platforms without files. */
export function tensorsToBytes(tensors: Readonly<Record<string, Tensor>>, options: SafetensorsOptions = {}): Uint8Array {
  return bytesOf('tensorsToBytes', tensors, options);
}

function bytesOf(op: string, tensors: Readonly<Record<string, Tensor>>, options: SafetensorsOptions): Uint8Array {
  const { metadata } = withDefaults(op, options, { metadata: {} });
  // An array, a Map or a number would make a file of other names, or of none.
  if (Object(tensors) !== tensors || isTensor(tensors) || Symbol.iterator in tensors)
    throw new ArgumentError(`${op}: expected a record of tensors, got ${isTensor(tensors) ? 'one tensor' : kindOf(tensors)}`);
  checkTensors(op, tensors);
  const entries = Object.entries(tensors).map(([name, t]): [string, SafetensorsEntry] => [
    name,
    storedAs(name, { data: t.data(), shape: t.shape, dtype: t.dtype }),
  ]);
  return encodeSafetensors(entries, Object.entries(metadata));
}

/**
 * The tensors of a safetensors file whose bytes came from elsewhere, as loadSafetensors gives them.
 *
 * @param file name for messages
 */
export function tensorsFromBytes(bytes: Uint8Array, file = 'bytes'): Record<string, Tensor> {
  const { entries } = decodeSafetensors(bytes, file);
  // fromEntries and not assignment: a tensor may be called __proto__.
  return Object.fromEntries(Array.from(entries, ([name, array]) => [name, toTensor(array)]));
}

/** A copy of the array as a tensor. */
export function toTensor({ data, shape, dtype }: ArrayData): Tensor {
  return tensor(data, { shape, dtype });
}

/** The array as a file holds it under this name. */
export function storedAs(name: string, array: ArrayData): SafetensorsEntry {
  return array.dtype === 'int32' && COUNTER.test(name) ? { ...array, storeAs: 'I64' } : array;
}

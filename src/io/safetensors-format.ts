/**
 * Encodes and decodes the safetensors format: https://github.com/huggingface/safetensors#format
 *
 *   8 bytes   N, the length of the header, little-endian
 *   N bytes   JSON {"name": {"dtype": "F32", "shape": [2,3], "data_offsets": [begin, end]}, …, "__metadata__": {"key": "text"}}
 *   the rest  the elements, row-major, little-endian; the offsets are relative to its start and cover it without hole or overlap
 *
 * Reading is strict: it rejects any file that two readers could interpret differently.
 */
import type { ArrayData } from '../core/array-data.ts';
import { type DType, type ElementArray, newArray } from '../core/dtype.ts';
import { ArgumentError, FileError } from '../core/errors.ts';
import { formatShape, MAX_ELEMENTS, sizeOf } from '../core/shape.ts';
import { hasLoneSurrogate, METADATA, parseHeader, type StoredEntry } from './safetensors-header.ts';

/** An array to write. `storeAs: 'I64'` writes int32 elements as 64-bit integers, PyTorch's type of `num_batches_tracked`. */
export interface SafetensorsEntry extends ArrayData {
  readonly storeAs?: 'I64';
}

/** The contents of a file, in the order of its header. */
export interface SafetensorsFile {
  readonly entries: Map<string, ArrayData>;
  readonly metadata: Map<string, string>;
}

/** Maximum header length in bytes, as in the reference implementation. */
const MAX_HEADER = 100_000_000;

/** The character that pads the header to a multiple of 8 bytes. */
const SPACE = 0x20;

/** The stored type of each dtype. */
const STORED_TYPES: Record<DType, string> = { float32: 'F32', float64: 'F64', int32: 'I32', bool: 'BOOL' };

/** How to read a stored type: bytes per element, the resulting dtype, and a function for one element. Without it, bytes are copied. */
interface Reader {
  readonly size: number;
  readonly dtype: DType;
  readonly read?: (view: DataView, at: number) => number;
}

const READERS = new Map<string, Reader>([
  ['F32', { size: 4, dtype: 'float32' }],
  ['F64', { size: 8, dtype: 'float64' }],
  ['I32', { size: 4, dtype: 'int32' }],
  ['BOOL', { size: 1, dtype: 'bool' }],
  ['F16', { size: 2, dtype: 'float32', read: (view, at) => fromHalf(view.getUint16(at, true)) }],
  ['BF16', { size: 2, dtype: 'float32', read: (view, at) => fromBits(view.getUint16(at, true) << 16) }],
  ['U8', { size: 1, dtype: 'int32', read: (view, at) => view.getUint8(at) }],
  ['I8', { size: 1, dtype: 'int32', read: (view, at) => view.getInt8(at) }],
  ['U16', { size: 2, dtype: 'int32', read: (view, at) => view.getUint16(at, true) }],
  ['I16', { size: 2, dtype: 'int32', read: (view, at) => view.getInt16(at, true) }],
  ['U32', { size: 4, dtype: 'int32', read: (view, at) => view.getUint32(at, true) }],
  ['I64', { size: 8, dtype: 'int32', read: (view, at) => view.getInt32(at + 4, true) * 2 ** 32 + view.getUint32(at, true) }],
  ['U64', { size: 8, dtype: 'int32', read: (view, at) => view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true) }],
]);

/**
 * Encodes named arrays as a safetensors file.
 *
 * float32, float64, int32 and bool become F32, F64, I32 and BOOL. The header retains the given order. The elements are stored
 * widest type first, so that all are aligned. Equal input gives equal bytes.
 * Throws: ArgumentError on a duplicate name, the name `__metadata__`, a lone surrogate, or data that does not fit shape and dtype
 */
export function encodeSafetensors(
  entries: Iterable<readonly [string, SafetensorsEntry]>,
  metadata: Iterable<readonly [string, string]> = [],
): Uint8Array {
  const texts = [...metadata];
  const tensors = Array.from(entries, ([name, entry]) => ({ name, begin: 0, ...encodeEntry(name, entry) }));
  checkNames(texts.map(([key]) => key));
  checkNames([METADATA, ...tensors.map(({ name }) => name)]);
  let dataLength = 0;
  for (const tensor of [...tensors].sort((a, b) => b.itemSize - a.itemSize)) {
    tensor.begin = dataLength;
    dataLength += tensor.bytes.length;
  }

  const members = tensors.map(({ name, dtype, shape, begin, bytes }): [string, string] => [
    name,
    JSON.stringify({ dtype, shape, data_offsets: [begin, begin + bytes.length] }),
  ]);
  if (texts.length > 0) members.unshift([METADATA, jsonObject(texts.map(([key, text]) => [key, jsonText(text)]))]);
  const header = new TextEncoder().encode(jsonObject(members));
  const headerLength = Math.ceil(header.length / 8) * 8;
  if (headerLength > MAX_HEADER)
    throw new ArgumentError(`encodeSafetensors: the header has ${headerLength} bytes, at most ${MAX_HEADER} fit`);

  const dataStart = 8 + headerLength;
  const file = new Uint8Array(dataStart + dataLength);
  new DataView(file.buffer).setUint32(0, headerLength, true);
  file.fill(SPACE, 8, dataStart);
  file.set(header, 8);
  for (const { begin, bytes } of tensors) file.set(bytes, dataStart + begin);
  return file;
}

/** Checks an entry; returns its bytes as the file stores them, its stored type and shape, and the bytes per element. */
function encodeEntry(name: string, { data, shape, dtype, storeAs }: SafetensorsEntry) {
  const size = sizeOf(shape, 'encodeSafetensors');
  if (data.length !== size || data.constructor !== newArray(dtype, 0).constructor) {
    throw new ArgumentError(
      `encodeSafetensors: ${name}: ${dtype} ${formatShape(shape)} needs ${size} elements in ` +
        `${newArray(dtype, 0).constructor.name}, got ${data.length} in ${data.constructor.name}`,
    );
  }
  if (storeAs !== undefined && dtype !== 'int32') {
    throw new ArgumentError(`encodeSafetensors: ${name}: only int32 can be stored as ${storeAs}, got ${dtype}`);
  }
  const array = storeAs === undefined ? data : BigInt64Array.from(data as Int32Array, BigInt);
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  return { dtype: storeAs ?? STORED_TYPES[dtype], shape, bytes, itemSize: array.BYTES_PER_ELEMENT };
}

function checkNames(names: readonly string[]): void {
  const seen = new Set<string>();
  for (const name of names) {
    if (seen.has(name)) {
      const why = name === METADATA ? 'is reserved' : 'appears twice';
      throw new ArgumentError(`encodeSafetensors: name ${JSON.stringify(name)} ${why}`);
    }
    seen.add(name);
  }
}

/** Writes a JSON object member by member: a JavaScript object would move names like "0" to the front and lose "__proto__". */
function jsonObject(members: readonly (readonly [key: string, json: string])[]): string {
  return `{${members.map(([key, json]) => `${jsonText(key)}:${json}`).join(',')}}`;
}

function jsonText(text: string): string {
  if (hasLoneSurrogate(text)) throw new ArgumentError(`encodeSafetensors: ${JSON.stringify(text)} is no Unicode text`);
  return JSON.stringify(text);
}

/**
 * Decodes a safetensors file.
 *
 * F32, F64, I32 and BOOL keep their type. F16 and BF16 become float32. All other integers become range-checked int32, U8 too:
 * bool would lose its values. The result shares no memory with `bytes`.
 * @param file the file's name, for error messages
 * Throws: FileError if the file is not strictly valid, or has a type that no dtype can represent
 */
export function decodeSafetensors(bytes: Uint8Array, file: string): SafetensorsFile {
  const fail = (what: string): never => {
    throw new FileError(`decodeSafetensors: ${file}: ${what}`);
  };
  const { text, start } = headerText(bytes, fail);
  const header = parseHeader(text, (what) => fail(`header: ${what}`));
  checkOffsets(header.entries, bytes.length - start, fail);
  const entries = new Map<string, ArrayData>();
  for (const [name, entry] of header.entries) {
    const [begin, end] = entry.offsets;
    entries.set(
      name,
      decodeEntry(entry, bytes.subarray(start + begin, start + end), (what) => fail(`${name}: ${what}`)),
    );
  }
  return { entries, metadata: header.metadata };
}

/** Throws a FileError about what is wrong with the file. */
type Fail = (what: string) => never;

/** Returns the header's text and the start of the data. */
function headerText(bytes: Uint8Array, fail: Fail): { text: string; start: number } {
  if (bytes.length < 8) fail(`expected at least 8 bytes, got ${bytes.length}; the file is truncated`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = view.getUint32(4, true) * 2 ** 32 + view.getUint32(0, true);
  if (length > MAX_HEADER) fail(`header length: expected at most ${MAX_HEADER} bytes, got ${length}; this is no safetensors file`);
  if (length > bytes.length - 8) fail(`header: expected ${length} bytes, got ${bytes.length - 8}; the file is truncated`);
  try {
    // Without ignoreBOM the decoder would drop a byte order mark silently; with it, parseHeader rejects it.
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes.subarray(8, 8 + length));
    return { text, start: 8 + length };
  } catch {
    return fail('header: it is no UTF-8 text; the file is damaged');
  }
}

/** Checks that each tensor begins where the previous one ends, the first at 0, and that the last ends with the file. */
function checkOffsets(entries: Map<string, StoredEntry>, length: number, fail: Fail): void {
  let end = 0;
  const inOrder = [...entries].sort(([, { offsets: a }], [, { offsets: b }]) => a[0] - b[0] || a[1] - b[1]);
  for (const [name, { offsets }] of inOrder) {
    const [begin, next] = offsets;
    if (begin !== end || next < begin) fail(`${name}: data_offsets [${begin},${next}] must begin at ${end}, without hole or overlap`);
    end = next;
  }
  if (end !== length) {
    const state = length < end ? 'is truncated' : 'has bytes too many';
    fail(`data: expected ${end} bytes, got ${length}; the file ${state}`);
  }
}

function decodeEntry({ dtype: type, shape, offsets: [begin, end] }: StoredEntry, bytes: Uint8Array, fail: Fail): ArrayData {
  const reader = READERS.get(type) ?? fail(`dtype ${type} is not supported (expected ${[...READERS.keys()].join(', ')})`);
  const { size, dtype, read } = reader;
  const count = shape.includes(0) ? 0 : shape.reduce((a, b) => a * b, 1);
  if (count > MAX_ELEMENTS) fail(`shape ${formatShape(shape)} has ${count} elements, at most ${MAX_ELEMENTS} fit`);
  if (count * size !== end - begin) {
    fail(`${type} ${formatShape(shape)} needs ${count * size} bytes, data_offsets [${begin},${end}] span ${end - begin}`);
  }
  const data = newArray(dtype, count);
  if (read) readElements(bytes, type, size, read, data, fail);
  else new Uint8Array(data.buffer).set(bytes);
  const notBool = dtype === 'bool' ? data.findIndex((v) => v > 1) : -1;
  if (notBool >= 0) fail(`element ${notBool}: expected 0 or 1, got ${data[notBool]}`);
  return { data, shape, dtype };
}

/** Reads every element with `read`; calls `fail` if a value does not fit int32. */
function readElements(
  bytes: Uint8Array,
  type: string,
  size: number,
  read: (view: DataView, at: number) => number,
  out: ElementArray,
  fail: Fail,
): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let i = 0; i < out.length; i++) {
    const value = read(view, i * size);
    out[i] = value;
    if (out instanceof Int32Array && out[i] !== value) fail(`element ${i}: ${type} ${value} does not fit int32`);
  }
}

const bits = new DataView(new ArrayBuffer(4));

/** Returns the float32 with these 32 bits. */
function fromBits(word: number): number {
  bits.setInt32(0, word);
  return bits.getFloat32(0);
}

/** Returns the value of an IEEE 754 half: sign, 5 bits of exponent, 10 of fraction. */
function fromHalf(half: number): number {
  const sign = half & 0x8000 ? -1 : 1;
  const exponent = (half >> 10) & 31;
  const fraction = half & 1023;
  if (exponent === 31) return fraction ? NaN : sign * Infinity;
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25));
}

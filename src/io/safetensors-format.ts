/**
 * Encodes and decodes the safetensors format: https://github.com/huggingface/safetensors#format
 *
 *   8 bytes   N, the length of the header, little-endian
 *   N bytes   JSON {"name": {"dtype": "F32", "shape": [2,3], "data_offsets": [begin, end]}, …, "__metadata__": {"key": "text"}}
 *   the rest  the elements, row-major, little-endian; the offsets are relative to its start and cover it without hole or overlap
 *
 * Reading is strict: it rejects any file that two readers could interpret differently, and accepts what the reference implementation
 * writes and reads.
 */
import type { ArrayData } from '../core/array-data.ts';
import { bytesOf } from '../core/bytes.ts';
import { checkDType, type DType, newArray } from '../core/dtype.ts';
import { ArgumentError, FileError, isArray, kindOf } from '../core/errors.ts';
import { checkOptions } from '../core/options.ts';
import { formatShape, MAX_DIMS, MAX_ELEMENTS, type Shape, sizeOf } from '../core/shape.ts';
import { brief } from '../core/text.ts';
import { ELEMENT_TYPES, readElements } from './element-types.ts';
import { hasLoneSurrogate, METADATA, parseHeader, type StoredEntry } from './safetensors-header.ts';

/** An array to write. `storeAs: 'I64'` writes int32 elements as 64-bit integers, PyTorch's type of `num_batches_tracked`. */
export interface SafetensorsEntry extends ArrayData {
  /** 'I64' stores int32 elements as 64-bit integers. Default: as the dtype. */
  readonly storeAs?: 'I64';
}

/** The contents of a file, in the order of its header. */
export interface SafetensorsFile {
  readonly entries: Map<string, ArrayData>;
  readonly metadata: Map<string, string>;
  /** The tensors that no dtype can represent, by name, with the reason: an 8-bit float, an integer beyond int32. */
  readonly skipped: Map<string, string>;
}

/** Options of decodeSafetensors. */
export interface DecodeOptions {
  /** The names of the tensors to decode; all by default. The file must have each of them. */
  readonly names?: readonly string[] | undefined;
}

/** Maximum header length in bytes, as in the reference implementation. */
const MAX_HEADER = 100_000_000;

/** The first four bytes of a zip file, PK\x03\x04. */
const ZIP = 0x04034b50;

/** The character that pads the header to a multiple of 8 bytes. */
const SPACE = 0x20;

/** The stored type of each dtype. */
const STORED_TYPES: Record<DType, string> = { float32: 'F32', float64: 'F64', int32: 'I32', bool: 'BOOL' };

/** The stored types that exist, but that no dtype can represent, and their bits per element. */
const UNSUPPORTED_BITS = new Map([
  ['F4', 4],
  ['F6_E2M3', 6],
  ['F6_E3M2', 6],
  ['F8_E4M3', 8],
  ['F8_E5M2', 8],
  ['F8_E8M0', 8],
  ['F8_E4M3FNUZ', 8],
  ['F8_E5M2FNUZ', 8],
  ['C64', 64],
]);

/** One more than the largest count that the reference implementation can compute. */
const COUNT_LIMIT = 2n ** 64n;

/** Maximum length of names and shapes in a message: a damaged file may contain megabytes in one. */
const IN_MESSAGE = 200;

const shapeText = (shape: Shape): string => brief(formatShape(shape), IN_MESSAGE);

/**
 * Encodes named arrays as a safetensors file.
 *
 * float32, float64, int32 and bool become F32, F64, I32 and BOOL. The header retains the given order. The elements are stored
 * widest type first, so that all are aligned. Equal input gives equal bytes.
 * Throws: ArgumentError on a duplicate name, the name `__metadata__`, a lone surrogate, a metadata value that is no text, or data
 * that does not fit shape and dtype
 */
export function encodeSafetensors(
  entries: Iterable<readonly [string, SafetensorsEntry]>,
  metadata: Iterable<readonly [string, string]> = [],
): Uint8Array {
  const pieces = encodePieces(entries, metadata);
  const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const file = allocateFile(length);
  let at = 0;
  for (const piece of pieces) {
    file.set(piece, at);
    at += piece.length;
  }
  return file;
}

function allocateFile(length: number): Uint8Array {
  try {
    return new Uint8Array(length);
  } catch (cause) {
    const remedy = 'saveSafetensors and saveCheckpoint write it without';
    throw new ArgumentError(`encodeSafetensors: the file has ${length} bytes, more than one array can hold; ${remedy}`, { cause });
  }
}

/** Returns the bytes of encodeSafetensors as pieces, the arrays' own memory among them: large files need no second copy. */
export function encodePieces(
  entries: Iterable<readonly [string, SafetensorsEntry]>,
  metadata: Iterable<readonly [string, string]>,
): Uint8Array[] {
  const texts = [...metadata];
  const tensors = Array.from(entries, ([name, entry]) => ({ name, begin: 0, ...encodeEntry(name, entry) }));
  checkNames(texts.map(([key]) => key));
  checkNames([METADATA, ...tensors.map(({ name }) => name)]);
  const inFile = [...tensors].sort((a, b) => b.itemSize - a.itemSize);
  let dataLength = 0;
  for (const tensor of inFile) {
    tensor.begin = dataLength;
    dataLength += tensor.bytes.length;
  }

  const members = tensors.map(({ name, dtype, shape, begin, bytes }): [string, string] => [
    name,
    JSON.stringify({ dtype, shape, data_offsets: [begin, begin + bytes.length] }),
  ]);
  if (texts.length > 0) members.unshift([METADATA, jsonObject(texts.map(([key, text]) => [key, jsonText(text, key)]))]);
  const header = new TextEncoder().encode(jsonObject(members));
  const headerLength = Math.ceil(header.length / 8) * 8;
  if (headerLength > MAX_HEADER)
    throw new ArgumentError(`encodeSafetensors: the header has ${headerLength} bytes, at most ${MAX_HEADER} fit`);

  const start = new Uint8Array(8 + headerLength).fill(SPACE, 8);
  new DataView(start.buffer).setUint32(0, headerLength, true);
  start.set(header, 8);
  return [start, ...inFile.map(({ bytes }) => bytes)];
}

/** Checks an entry; returns its bytes as the file stores them, its stored type and shape, and the bytes per element. */
function encodeEntry(name: string, { data, shape, dtype, storeAs }: SafetensorsEntry) {
  checkText(name, 'a name');
  const fail = (what: string): never => {
    throw new ArgumentError(`encodeSafetensors: ${brief(name, IN_MESSAGE)}: ${what}`);
  };
  checkDType('encodeSafetensors', dtype);
  if (isArray(shape) && shape.length > MAX_DIMS) fail(`it has ${shape.length} dims, at most ${MAX_DIMS} can be read`);
  const size = sizeOf(shape, 'encodeSafetensors');
  const [wanted, given] = [typeName(newArray(dtype, 0)), ArrayBuffer.isView(data) ? typeName(data) : kindOf(data)];
  if (given !== wanted || data.length !== size) {
    fail(`${dtype} ${formatShape(shape)} needs ${size} elements in ${wanted}, got ${data?.length} in ${given}`);
  }
  if (storeAs !== undefined && dtype !== 'int32') fail(`only int32 can be stored as ${storeAs}, got ${dtype}`);
  const notBool = dtype === 'bool' ? data.findIndex((v) => v > 1) : -1;
  if (notBool >= 0) fail(`element ${notBool}: expected 0 or 1, got ${data[notBool]}`);
  const array = storeAs === undefined ? data : BigInt64Array.from(data as Int32Array, BigInt);
  const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
  return { dtype: storeAs ?? STORED_TYPES[dtype], shape, bytes, itemSize: array.BYTES_PER_ELEMENT };
}

/** Returns `Float32Array` for one of any realm, whose constructor is another than this realm's. */
function typeName(array: object): string {
  return Object.prototype.toString.call(array).slice('[object '.length, -1);
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

function checkText(text: unknown, what: string): void {
  if (typeof text === 'string') return;
  throw new ArgumentError(`encodeSafetensors: ${what} must be a text, got ${kindOf(text)}; write String(value)`);
}

/** @param key the key of the text, if it is a metadata value */
function jsonText(text: string, key?: string): string {
  checkText(text, key === undefined ? 'a name' : `metadata ${JSON.stringify(key)}`);
  if (hasLoneSurrogate(text)) throw new ArgumentError(`encodeSafetensors: ${JSON.stringify(text)} is no Unicode text`);
  return JSON.stringify(text);
}

/**
 * Decodes a safetensors file.
 *
 * F32, F64, I32 and BOOL keep their type. F16 and BF16 become float32. All other integers become range-checked int32, U8 too:
 * bool would lose its values. The result shares no memory with `bytes`. Tensors that no dtype can represent are in `skipped`.
 * @param file the file's name, for error messages
 * Throws: FileError if the file is not valid, or if it lacks one of `names`, or no dtype can represent it
 */
export function decodeSafetensors(bytes: Uint8Array, file = 'bytes', options: DecodeOptions = {}): SafetensorsFile {
  // Options in its place would be ignored silently.
  if (typeof file !== 'string') throw new ArgumentError(`decodeSafetensors: the file's name must be a text, got ${kindOf(file)}`);
  checkOptions('decodeSafetensors', options, ['names']);
  const { names } = options;
  const fail = (what: string): never => {
    throw new FileError(`decodeSafetensors: ${file}: ${what}`);
  };
  const content = bytesOf('decodeSafetensors', 'bytes', bytes);
  const { text, start } = headerText(content, fail);
  const header = parseHeader(text, (what) => fail(`header: ${what}`));
  checkOffsets(header.entries, content.length - start, fail);
  const wanted = names === undefined ? null : wantedNames(names, header.entries, fail);
  const entries = new Map<string, ArrayData>();
  const skipped = new Map<string, string>();
  for (const [name, entry] of header.entries) {
    const failEntry = (what: string): never => fail(`${brief(name, IN_MESSAGE)}: ${what}`);
    checkSpan(entry, failEntry);
    if (wanted !== null && !wanted.has(name)) continue;
    const [begin, end] = entry.offsets;
    const decoded = decodeEntry(entry, content.subarray(start + begin, start + end), failEntry);
    if (typeof decoded !== 'string') entries.set(name, decoded);
    else if (wanted === null) skipped.set(name, decoded);
    else failEntry(decoded);
  }
  return { entries, metadata: header.metadata, skipped };
}

function wantedNames(names: readonly string[], entries: ReadonlyMap<string, StoredEntry>, fail: Fail): Set<string> {
  const missing = names.filter((name) => !entries.has(name));
  if (missing.length > 0) fail(`it does not have ${missing.join(', ')}; it has ${brief([...entries.keys()].join(', '), IN_MESSAGE)}`);
  return new Set(names);
}

/** Throws a FileError about what is wrong with the file. */
type Fail = (what: string) => never;

/** Returns the header's text and the start of the data. */
function headerText(bytes: Uint8Array, fail: Fail): { text: string; start: number } {
  if (bytes.length < 8) fail(`expected at least 8 bytes, got ${bytes.length}; the file is truncated`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = view.getUint32(4, true) * 2 ** 32 + view.getUint32(0, true);
  // The length of a header may have these bytes, too, in a file that is as long.
  if (view.getUint32(0, true) === ZIP && length > bytes.length - 8) {
    fail('it is a zip file, no safetensors file; loadTorch of chainrule/interop reads those of torch.save');
  }
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
    if (begin !== end || next < begin)
      fail(`${brief(name, IN_MESSAGE)}: data_offsets [${begin},${next}] must begin at ${end}, without hole or overlap`);
    end = next;
  }
  if (end !== length) {
    const state = length < end ? 'is truncated' : 'has bytes too many';
    fail(`data: expected ${end} bytes, got ${length}; the file ${state}`);
  }
}

/** Checks that the tensor's type exists and that its elements take the bytes that the offsets span. */
function checkSpan({ dtype, shape, offsets: [begin, end] }: StoredEntry, fail: Fail): void {
  const reader = ELEMENT_TYPES.get(dtype);
  const bits = reader === undefined ? UNSUPPORTED_BITS.get(dtype) : 8 * reader.size;
  if (bits === undefined) return fail(`dtype ${brief(dtype)} is unknown (expected ${[...ELEMENT_TYPES.keys()].join(', ')})`);
  let count = 1n;
  for (const size of shape) {
    count *= BigInt(size);
    if (count >= COUNT_LIMIT) fail(`shape ${shapeText(shape)} has more elements than a 64-bit integer can count`);
  }
  const needed = count * BigInt(bits);
  if (needed === 8n * BigInt(end - begin)) return;
  fail(`${dtype} ${shapeText(shape)} needs ${Number(needed) / 8} bytes, data_offsets [${begin},${end}] span ${end - begin}`);
}

/** Decodes a tensor, or returns the reason why no dtype can represent it. */
function decodeEntry({ dtype: type, shape }: StoredEntry, bytes: Uint8Array, fail: Fail): ArrayData | string {
  const reader = ELEMENT_TYPES.get(type);
  if (reader === undefined) return `dtype ${type} is not supported (expected ${[...ELEMENT_TYPES.keys()].join(', ')})`;
  if (shape.length > MAX_DIMS) return `it has ${shape.length} dims, at most ${MAX_DIMS} are supported`;
  const { size, dtype } = reader;
  const count = bytes.length / size;
  if (count > MAX_ELEMENTS) return `shape ${shapeText(shape)} has ${count} elements, at most ${MAX_ELEMENTS} fit`;
  const data = readElements(reader, bytes);
  if (typeof data === 'string') return data;
  const notBool = dtype === 'bool' ? data.findIndex((v) => v > 1) : -1;
  if (notBool >= 0) fail(`element ${notBool}: expected 0 or 1, got ${data[notBool]}`);
  return { data, shape, dtype };
}

/**
 * Encodes and decodes NumPy's .npy format, versions 1 to 3:
 * https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
 *
 *   6 bytes   \x93NUMPY
 *   2 bytes   the version, major and minor
 *   2 or 4    the header's length, little-endian (4 from version 2 on)
 *   header    a Python dict {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }, padded with spaces, ended by a line feed
 *   the rest  the elements in row-major order, or column-major if fortran_order is True
 */
import { checkTensor, scope, tensor, type Tensor } from '../autograd/index.ts';
import { bytesOf } from '../core/bytes.ts';
import type { ArrayData } from '../core/array-data.ts';
import type { DType } from '../core/dtype.ts';
import { ArgumentError, FileError, kindOf } from '../core/errors.ts';
import { refuseOptions } from '../core/options.ts';
import { formatShape, MAX_DIMS, MAX_ELEMENTS, type Shape } from '../core/shape.ts';
import { brief } from '../core/text.ts';
import { ELEMENT_TYPES, readElements } from '../io/element-types.ts';
import { replaceFile } from '../io/files.ts';
import { readFile } from '../platform/files.ts';
import type { Fail } from './zip.ts';

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59] as const;
/** The header ends at a multiple of so many bytes, so that the elements are aligned in memory. */
const ALIGNMENT = 64;
/** NumPy refuses longer headers, as parsing them may take long. */
const MAX_HEADER = 10_000;

/** NumPy's kind and size of an element → the stored type. */
const TYPES: ReadonlyMap<string, string> = new Map([
  ['f2', 'F16'],
  ['f4', 'F32'],
  ['f8', 'F64'],
  ['i1', 'I8'],
  ['i2', 'I16'],
  ['i4', 'I32'],
  ['i8', 'I64'],
  ['u1', 'U8'],
  ['u2', 'U16'],
  ['u4', 'U32'],
  ['u8', 'U64'],
  ['b1', 'BOOL'],
]);

/** How each dtype is written. */
const WRITTEN: Record<DType, string> = { float32: '<f4', float64: '<f8', int32: '<i4', bool: '|b1' };

/**
 * Reads the array of a .npy file, without gradient. The enclosing scope owns it; `keep()` makes the user its owner.
 *
 * float16 becomes float32, integers range-checked int32; either byte order and column-major files are read.
 * Throws: FileError if the file is missing or damaged, or holds what no dtype can represent: texts, objects, complex numbers
 * @example const features = loadNpy('features.npy')
 */
export function loadNpy(path: string): Tensor {
  refuseOptions('loadNpy', arguments[1]);
  return tensorIn(readFile('loadNpy', path), failIn('loadNpy', path));
}

/** Returns the array of a .npy file from its bytes. `file` is its name, for error messages. */
export function npyFromBytes(bytes: Uint8Array, file = 'bytes'): Tensor {
  refuseOptions('npyFromBytes', arguments[2]);
  if (typeof file !== 'string') throw new ArgumentError(`npyFromBytes: the file's name must be a text, got ${kindOf(file)}`);
  return tensorIn(bytesOf('npyFromBytes', 'bytes', bytes), failIn('npyFromBytes', file));
}

/**
 * Writes a tensor as a .npy file, row-major whatever its strides. The file is replaced atomically, as by writeFileAtomic.
 *
 * Throws: FileError if the folder is missing or not writable; the old file stays
 * @example saveNpy('features.npy', features)
 */
export function saveNpy(path: string, t: Tensor): void {
  refuseOptions('saveNpy', arguments[2]);
  replaceFile('saveNpy', path, encodeNpy('saveNpy', t));
}

/** Returns the bytes of the file that saveNpy writes. */
export function npyToBytes(t: Tensor): Uint8Array {
  refuseOptions('npyToBytes', arguments[1]);
  return encodeNpy('npyToBytes', t);
}

function tensorIn(bytes: Uint8Array, fail: Fail): Tensor {
  const array = decodeNpy(bytes, fail);
  return typeof array === 'string' ? fail(array) : toTensor(array);
}

/** Returns a function that throws a FileError which names the operation and the file. */
export function failIn(op: string, file: string): Fail {
  return (what) => {
    throw new FileError(`${op}: ${file}: ${what}`);
  };
}

/** An array as the file has it: `columnMajor` data has the first index run fastest. */
export interface StoredArray extends ArrayData {
  readonly columnMajor: boolean;
}

/** Copies the array into a new tensor, row-major. */
export function toTensor({ data, shape, dtype, columnMajor }: StoredArray): Tensor {
  if (!columnMajor || shape.length < 2) return tensor(data, { shape, dtype });
  return scope(() => {
    const reversed = tensor(data, { shape: shape.toReversed(), dtype });
    return reversed
      .permute(shape.map((_, d) => shape.length - 1 - d))
      .clone()
      .contiguous();
  });
}

/** Decodes a file, or returns the reason why no dtype can represent it. Throws: what `fail` throws if the file is damaged */
export function decodeNpy(bytes: Uint8Array, fail: Fail): StoredArray | string {
  const { text, start } = headerOf(bytes, fail);
  const header = parseHeader(text, fail);
  if (typeof header === 'string') return header;
  const { descr, columnMajor, shape } = header;
  const [, order, kind] = /^([<>|=])(.*)$/.exec(descr) ?? [];
  const type = ELEMENT_TYPES.get(TYPES.get(kind ?? '') ?? '');
  if (type === undefined) return unsupported(descr);
  if (shape.length > MAX_DIMS) return `it has ${shape.length} dims, at most ${MAX_DIMS} are supported`;
  // A size beside a 0 too: a tensor has none above it.
  if (!shape.every((size) => size <= MAX_ELEMENTS)) return `shape ${brief(formatShape(shape))} has a size above ${MAX_ELEMENTS}`;
  const count = shape.reduce((n, size) => n * size, 1);
  if (!(count <= MAX_ELEMENTS)) return `shape ${brief(formatShape(shape))} has ${count} elements, at most ${MAX_ELEMENTS} fit`;
  const [needed, got] = [count * type.size, bytes.length - start];
  if (needed !== got) {
    const state = got < needed ? 'is truncated' : 'has bytes too many';
    fail(`${descr} ${formatShape(shape)} needs ${needed} bytes, got ${got}; the file ${state}`);
  }
  const data = readElements(type, bytes.subarray(start), order !== '>');
  if (typeof data === 'string') return data;
  const notBool = type.dtype === 'bool' ? data.findIndex((v) => v > 1) : -1;
  if (notBool >= 0) fail(`element ${notBool}: expected 0 or 1, got ${data[notBool]}`);
  return { data, shape, dtype: type.dtype, columnMajor };
}

function unsupported(descr: string): string {
  const what = descr.includes('O') ? 'Python objects' : `elements of type '${brief(descr)}'`;
  return `${what} are not supported (expected a number type: ${[...TYPES.keys()].join(', ')})`;
}

function headerOf(bytes: Uint8Array, fail: Fail): { readonly text: string; readonly start: number } {
  if (!MAGIC.every((byte, i) => bytes[i] === byte)) fail('it does not begin with \\x93NUMPY; this is no .npy file');
  const [major, minor] = [bytes[6] ?? 0, bytes[7] ?? 0];
  if (major < 1 || major > 3 || minor !== 0) fail(`version ${major}.${minor} is not supported (expected 1.0, 2.0 or 3.0)`);
  const lengthSize = major === 1 ? 2 : 4;
  const start = 8 + lengthSize;
  if (bytes.length < start) fail('its header is truncated');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = major === 1 ? view.getUint16(8, true) : view.getUint32(8, true);
  if (length > MAX_HEADER) fail(`header: expected at most ${MAX_HEADER} bytes, got ${length}`);
  if (start + length > bytes.length) fail(`header: expected ${length} bytes, got ${bytes.length - start}; the file is truncated`);
  const header = bytes.subarray(start, start + length);
  try {
    // Up to version 2 the encoding is Latin-1, but of the names only structured types have, which are refused.
    return { text: new TextDecoder('utf-8', { fatal: true }).decode(header), start: start + length };
  } catch {
    return fail('header: it is no UTF-8 text; the file is damaged');
  }
}

interface Header {
  readonly descr: string;
  readonly columnMajor: boolean;
  readonly shape: Shape;
}

/** One key of the dict and its value: a quoted text, True or False, a tuple of integers, or a list (a structured type). */
const ENTRY = /\s*(['"])(descr|fortran_order|shape)\1\s*:\s*('[^']*'|"[^"]*"|True|False|\([\d,\sL]*\)|\[.*\])\s*(,|(?=\}))/sy;

/** Parses the dict; returns the reason if the array is a structured one. */
function parseHeader(text: string, fail: Fail): Header | string {
  const damaged = (): never => fail(`header: expected {'descr': …, 'fortran_order': …, 'shape': …}, got ${brief(text.trim(), 100)}`);
  const values = new Map<string, string>();
  if (!text.startsWith('{')) damaged();
  let at = 1;
  ENTRY.lastIndex = at;
  for (let entry = ENTRY.exec(text); entry !== null; entry = ENTRY.exec(text)) {
    values.set(entry[2]!, entry[3]!);
    at = ENTRY.lastIndex;
  }
  if (values.size !== 3 || !/^\s*\}\s*$/.test(text.slice(at))) damaged();
  const [descr, order, shape] = ['descr', 'fortran_order', 'shape'].map((key) => values.get(key)!) as [string, string, string];
  if (descr.startsWith('[')) return 'structured arrays are not supported; save each field as an array of its own';
  if (!/^['"]/.test(descr) || !/^(True|False)$/.test(order) || !shape.startsWith('(')) damaged();
  return { descr: descr.slice(1, -1), columnMajor: order === 'True', shape: parseTuple(shape) ?? damaged() };
}

/** Reads a tuple such as (2, 3), (4,) or (); Python 2 wrote 3 as 3L. Null: it is none. */
function parseTuple(text: string): number[] | null {
  const items = text
    .slice(1, -1)
    .split(',')
    .map((item) => item.trim());
  if (items.at(-1) === '') items.pop();
  if (!items.every((item) => /^\d+L?$/.test(item))) return null;
  return items.map((item) => Number.parseInt(item, 10));
}

/** Returns the bytes of a file with the tensor's elements. */
export function encodeNpy(op: string, t: Tensor): Uint8Array {
  checkTensor(op, 't', t);
  const data = t.data();
  const shape = `(${t.shape.join(', ')}${t.ndim === 1 ? ',' : ''})`;
  const dict = `{'descr': '${WRITTEN[t.dtype]}', 'fortran_order': False, 'shape': ${shape}, }`;
  const start = Math.ceil((MAGIC.length + 4 + dict.length + 1) / ALIGNMENT) * ALIGNMENT;
  const file = new Uint8Array(start + data.byteLength);
  file.set([...MAGIC, 1, 0]);
  new DataView(file.buffer).setUint16(8, start - 10, true);
  file.set(new TextEncoder().encode(`${dict.padEnd(start - 11)}\n`), 10);
  file.set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), start);
  return file;
}

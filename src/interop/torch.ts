/**
 * Reads the files of PyTorch's `torch.save`: a zip file with a pickle, data.pkl, and the bytes of each storage.
 *
 *   archive/data.pkl     the saved object; a tensor in it is a storage's key, an offset, sizes and strides
 *   archive/data/0, …    the storages
 *   archive/byteorder    'little' or 'big'; missing in files before PyTorch 2.1, which are little-endian
 *
 * No code of the file runs: the pickle may name `_rebuild_tensor_v2`, `_rebuild_parameter`, `OrderedDict` and storages, nothing else.
 */
import { isTensor, scope, tensor, type Tensor } from '../autograd/index.ts';
import { bytesOf } from '../core/bytes.ts';
import { type ElementArray, newArray } from '../core/dtype.ts';
import { ArgumentError, isArray, kindOf } from '../core/errors.ts';
import { checkOptions, refuseOptions } from '../core/options.ts';
import { MAX_DIMS } from '../core/shape.ts';
import { brief, oneLine } from '../core/text.ts';
import { ELEMENT_TYPES, type ElementType, readElements } from '../io/element-types.ts';
import { readFile } from '../platform/files.ts';
import { failIn } from './npy.ts';
import { type Pickled, unpickle } from './pickle.ts';
import { checkedContent, type Fail, isZip, readZip, type ZipMember } from './zip.ts';

/** What a file holds: tensors, and Python's numbers, texts, lists and dicts around them. Dicts are records; keys become texts. */
export type TorchValue =
  | Tensor
  | number
  | bigint
  | string
  | boolean
  | null
  | readonly TorchValue[]
  | { readonly [key: string]: TorchValue };

/** Options of loadTorchStateDict. */
export interface LoadTorchStateDictOptions {
  /** The keys that lead to the state dict within what was saved, such as `['model']`. Default: none. */
  readonly at?: readonly string[];
}

/** The storage classes of PyTorch and the types of their elements. */
const STORAGES: ReadonlyMap<string, string> = new Map([
  ['FloatStorage', 'F32'],
  ['DoubleStorage', 'F64'],
  ['HalfStorage', 'F16'],
  ['BFloat16Storage', 'BF16'],
  ['LongStorage', 'I64'],
  ['IntStorage', 'I32'],
  ['ShortStorage', 'I16'],
  ['CharStorage', 'I8'],
  ['ByteStorage', 'U8'],
  ['BoolStorage', 'BOOL'],
]);

/** All tensors together may take so many times the file's bytes: a stride of 0 repeats an element without end. */
const MAX_EXPANSION = 16;
/** And so many bytes more, for small files. */
const SLACK = 1 << 20;
/** Lists in lists; the search for tensors is recursive. */
const MAX_DEPTH = 200;

/**
 * Reads what `torch.save` wrote, from a path or from the file's bytes: dicts become records, lists and tuples arrays. Tensors have no gradient;
 * the enclosing scope owns them. Parameters become tensors.
 *
 * float16 and bfloat16 become float32, integers range-checked int32. Each tensor is a row-major copy, also if tensors shared a storage. An
 * integer tensor beyond int32 is left out of its record (null in a list), with a warning that names it.
 * Throws: FileError if the file is missing or damaged, is TorchScript or of the format before PyTorch 1.6, or holds objects of other
 * classes, such as a whole model: no code of a file runs
 * @example const { model, epoch } = loadTorch('checkpoint.pt') as { model: Record<string, Tensor>; epoch: number }
 */
export function loadTorch(source: string | Uint8Array): TorchValue {
  refuseOptions('loadTorch', arguments[1]);
  return load('loadTorch', source);
}

/**
 * Reads the state dict that `torch.save(model.state_dict(), path)` wrote, or the one at the keys `at` of what was saved. See loadTorch.
 *
 * Throws: FileError as loadTorch, or if there is no record of tensors
 * @example model.loadStateDict(loadTorchStateDict('checkpoint.pt', { at: ['model'] }))
 */
export function loadTorchStateDict(source: string | Uint8Array, options: LoadTorchStateDictOptions = {}): Record<string, Tensor> {
  checkOptions('loadTorchStateDict', options, ['at']);
  const { at = [] } = options;
  if (!isArray(at) || at.some((key) => typeof key !== 'string')) {
    throw new ArgumentError(`loadTorchStateDict: at must be an array of texts, got ${kindOf(at)}`);
  }
  const fail = failIn('loadTorchStateDict', nameOf(source));
  return scope(() => {
    let value = load('loadTorchStateDict', source);
    for (const key of at) {
      if (!isRecord(value) || !Object.hasOwn(value, key)) return fail(`there is no '${key}'; ${describe(value)}`);
      value = value[key]!;
    }
    if (!isRecord(value)) return fail(`expected a record of tensors, got ${describe(value)}`);
    const other = Object.entries(value).find(([, v]) => !isTensor(v));
    if (other !== undefined) return fail(`'${other[0]}' is no tensor, so this is no state dict; name it with at: ${describe(value)}`);
    return value as Record<string, Tensor>;
  });
}

function isRecord(value: TorchValue): value is { readonly [key: string]: TorchValue } {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !isTensor(value);
}

function describe(value: TorchValue): string {
  if (isRecord(value)) return `it has ${brief(Object.keys(value).join(', '), 200)}`;
  return isTensor(value) ? 'one tensor' : kindOf(value);
}

function nameOf(source: string | Uint8Array): string {
  return typeof source === 'string' ? source : 'bytes';
}

function load(op: string, source: string | Uint8Array): TorchValue {
  const bytes = typeof source === 'string' ? readFile(op, source) : bytesOf(op, 'source, if it is no path,', source);
  const file = nameOf(source);
  const fail = failIn(op, file);
  const archive = openArchive(bytes, fail);
  const saved = unpickle(archive.pickle, contextOf(archive, fail));
  const leftOut: string[] = [];
  const value = scope(() => new Converter(bytes.length, archive.littleEndian, leftOut, fail).convert(saved, ''));
  if (leftOut.length > 0) console.warn(oneLine(`${op}: ${file}: left out ${leftOut.join(', ')}`));
  return value;
}

// — the archive —

interface Archive {
  readonly pickle: Uint8Array;
  readonly littleEndian: boolean;
  /** Returns the bytes of a storage; null if there is none of this key. */
  readonly storage: (key: string) => Uint8Array | null;
}

function openArchive(bytes: Uint8Array, fail: Fail): Archive {
  if (!isZip(bytes)) refuseOldFormats(bytes, fail);
  const members = new Map(readZip(bytes, fail).map((member) => [member.name, member]));
  const pickleName = [...members.keys()].find((name) => /^[^/]+\/data\.pkl$/.test(name));
  if (pickleName === undefined) return fail('it has no data.pkl, so torch.save did not write it');
  const folder = pickleName.slice(0, -'data.pkl'.length);
  if (members.has(`${folder}constants.pkl`)) {
    return fail('it is TorchScript, which holds a program; save the weights alone with torch.save(model.state_dict(), path)');
  }
  const read = (name: string): Uint8Array | null => {
    const member = members.get(folder + name);
    return member === undefined ? null : contentOf(member, fail);
  };
  const order = new TextDecoder().decode(read('byteorder') ?? new Uint8Array()) || 'little';
  if (order !== 'little' && order !== 'big') return fail(`its byte order is '${brief(order)}' (expected little or big)`);
  return { pickle: read('data.pkl')!, littleEndian: order === 'little', storage: (key) => read(`data/${key}`) };
}

function contentOf(member: ZipMember, fail: Fail): Uint8Array {
  if (member.isDeflated)
    fail(`${member.name}: it is compressed, which torch.save never does; unpack the file and zip it without compression`);
  return checkedContent(member, member.packed, fail);
}

/** The tag of a tar file, and where it stands. */
const TAR = 'ustar';
const TAR_AT = 257;
/** The first byte of a pickle. */
const PICKLE = 0x80;

function refuseOldFormats(bytes: Uint8Array, fail: Fail): void {
  const again = 'load it with PyTorch and save it again with torch.save(…)';
  if (new TextDecoder('latin1').decode(bytes.subarray(TAR_AT, TAR_AT + TAR.length)) === TAR)
    fail(`it has the tar format of PyTorch 0.1; ${again}`);
  if (bytes[0] === PICKLE) fail(`it has the format of PyTorch before 1.6, or is another pickle; ${again}`);
}

// — the pickle —

/** A name that the pickle may use. */
class Global {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }
}

/** The bytes of a storage. */
class Storage {
  readonly type: ElementType;
  readonly bytes: Uint8Array;

  constructor(type: ElementType, bytes: Uint8Array) {
    this.type = type;
    this.bytes = bytes;
  }
}

/** A tensor of the file: a part of a storage. */
class StoredTensor {
  readonly storage: Storage;
  readonly offset: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];

  constructor(storage: Storage, offset: number, shape: readonly number[], strides: readonly number[]) {
    this.storage = storage;
    this.offset = offset;
    this.shape = shape;
    this.strides = strides;
  }
}

/** The functions and classes that a pickle may name, apart from storages. */
const KNOWN = new Set(['torch._utils._rebuild_tensor_v2', 'torch._utils._rebuild_parameter', 'collections.OrderedDict']);

function contextOf(archive: Archive, fail: Fail): Parameters<typeof unpickle>[1] {
  const storages = new Map<string, Storage>();
  return {
    fail,
    global: (module, name) => {
      const path = `${module}.${name}`;
      if (KNOWN.has(path) || (module === 'torch' && STORAGES.has(name))) return new Global(path);
      return fail(
        `it holds ${brief(path, 100)}, which is not read: no code of a file runs. Save tensors alone, as in torch.save(model.state_dict(), path)`,
      );
    },
    call: (callee, args) => (callee instanceof Global ? call(callee.name, args, fail) : fail('data.pkl: it calls what is no function')),
    persistent: (id) => {
      const [tag, type, key] = Array.isArray(id) ? (id as readonly Pickled[]) : [];
      if (tag !== 'storage' || !(type instanceof Global) || typeof key !== 'string') return fail('data.pkl: a storage is damaged');
      const elementType = ELEMENT_TYPES.get(STORAGES.get(type.name.replace('torch.', '')) ?? '');
      if (elementType === undefined) return fail(`data.pkl: ${type.name} is no storage`);
      const known = storages.get(key);
      if (known !== undefined) return known.type === elementType ? known : fail(`storage ${brief(key)} has two types`);
      const bytes = archive.storage(key) ?? fail(`there is no storage ${brief(key)}; the file is damaged`);
      if (bytes.length % elementType.size !== 0)
        return fail(`storage ${brief(key)}: ${bytes.length} bytes are no elements of ${elementType.name}`);
      const storage = new Storage(elementType, bytes);
      storages.set(key, storage);
      return storage;
    },
  };
}

function call(name: string, args: readonly Pickled[], fail: Fail): Pickled {
  if (name === 'collections.OrderedDict')
    return args.length === 0 ? new Map() : fail('data.pkl: an OrderedDict with arguments is not read');
  const [first, second, third, fourth] = args;
  if (name === 'torch._utils._rebuild_parameter' && first instanceof StoredTensor) return first;
  if (name === 'torch._utils._rebuild_tensor_v2' && first instanceof Storage && isIndex(second) && isShape(third) && isShape(fourth)) {
    return storedTensor(first, second, third, fourth, fail);
  }
  return fail(`data.pkl: ${name} has other arguments than expected; the file is damaged`);
}

function isIndex(value: Pickled | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function isShape(value: Pickled | undefined): value is number[] {
  return Array.isArray(value) && value.length <= MAX_DIMS && value.every(isIndex);
}

function storedTensor(storage: Storage, offset: number, shape: number[], strides: number[], fail: Fail): StoredTensor {
  const available = storage.bytes.length / storage.type.size;
  const isEmpty = shape.includes(0);
  const last = shape.reduce((at, size, d) => at + (size - 1) * (strides[d] ?? NaN), offset);
  if (shape.length !== strides.length || !(isEmpty || last < available)) {
    fail(`a tensor [${brief(shape.join(','))}] reaches element ${last} of a storage of ${available}; the file is damaged`);
  }
  return new StoredTensor(storage, offset, shape, strides);
}

// — values —

/** Turns what the pickle holds into what the caller gets. What appears twice is made once. */
class Converter {
  readonly #made = new Map<object, TorchValue>();
  readonly #littleEndian: boolean;
  readonly #leftOut: string[];
  readonly #fail: Fail;
  #bytesLeft: number;

  constructor(fileLength: number, littleEndian: boolean, leftOut: string[], fail: Fail) {
    this.#bytesLeft = MAX_EXPANSION * fileLength + SLACK;
    this.#littleEndian = littleEndian;
    this.#leftOut = leftOut;
    this.#fail = fail;
  }

  convert(value: Pickled, path: string, depth = 0): TorchValue {
    if (depth > MAX_DEPTH) return this.#fail(`it is nested ${MAX_DEPTH} deep, or holds itself`);
    if (typeof value !== 'object' || value === null) return value;
    const known = this.#made.get(value);
    if (known !== undefined) return known;
    const made = this.#convertObject(value, path, depth + 1);
    this.#made.set(value, made);
    return made;
  }

  #convertObject(value: object, path: string, depth: number): TorchValue {
    if (value instanceof StoredTensor) return this.#tensor(value, path);
    if (Array.isArray(value)) return value.map((item: Pickled, i) => this.convert(item, join(path, String(i)), depth));
    if (value instanceof Map) return this.#record(value as Map<Pickled, Pickled>, path, depth);
    return this.#fail(`${path === '' ? 'the saved object' : path} is neither a tensor nor a number, text, list or dict`);
  }

  #record(dict: Map<Pickled, Pickled>, path: string, depth: number): TorchValue {
    const entries: [string, TorchValue][] = [];
    const keys = new Set<string>();
    const place = path === '' ? 'the saved object' : path;
    for (const [key, item] of dict) {
      if (typeof key === 'object') return this.#fail(`${place}: a key is neither a text nor a number`);
      if (keys.has(String(key))) return this.#fail(`${place}: two keys have the text '${brief(String(key))}', such as 1 and '1'`);
      keys.add(String(key));
      const value = this.convert(item, join(path, String(key)), depth);
      if (value !== null || item === null) entries.push([String(key), value]);
    }
    // A key may be __proto__, which an assignment would lose.
    return Object.fromEntries(entries);
  }

  /** Returns null, and notes it, if no dtype can represent the elements. */
  #tensor(stored: StoredTensor, path: string): Tensor | null {
    const { shape, storage } = stored;
    const { dtype } = storage.type;
    const count = shape.reduce((n, size) => n * size, 1);
    this.#bytesLeft -= count * newArray(dtype, 1).BYTES_PER_ELEMENT;
    if (!(this.#bytesLeft >= 0))
      return this.#fail(`${path}: [${brief(shape.join(','))}] has more elements than a file of its size should hold`);
    const data = elementsOf(stored, count, this.#littleEndian);
    if (typeof data === 'string') {
      this.#leftOut.push(`${path} (${data})`);
      return null;
    }
    const notBool = dtype === 'bool' ? data.findIndex((v) => v > 1) : -1;
    if (notBool >= 0) return this.#fail(`${path}: element ${notBool}: expected 0 or 1, got ${data[notBool]}`);
    return tensor(data, { shape, dtype });
  }
}

function join(path: string, key: string): string {
  return path === '' ? key : `${path}.${key}`;
}

/** Returns the elements in row-major order, or the reason why no dtype can represent them. */
function elementsOf({ storage, offset, shape, strides }: StoredTensor, count: number, littleEndian: boolean): ElementArray | string {
  const { type, bytes } = storage;
  if (count === 0) return newArray(type.dtype, 0);
  const isWhole = isRowMajor(shape, strides);
  const packed = isWhole
    ? bytes.subarray(offset * type.size, (offset + count) * type.size)
    : gathered(bytes, type.size, offset, shape, strides, count);
  return readElements(type, packed, littleEndian);
}

/** Returns the bytes of the elements in row-major order. Those of the storage that the tensor does not have are not read. */
function gathered(
  bytes: Uint8Array,
  size: number,
  offset: number,
  shape: readonly number[],
  strides: readonly number[],
  count: number,
): Uint8Array {
  const out = new Uint8Array(count * size);
  const index = shape.map(() => 0);
  let at = offset;
  for (let i = 0; i < count; i++) {
    for (let byte = 0; byte < size; byte++) out[i * size + byte] = bytes[at * size + byte]!;
    for (let d = shape.length - 1; d >= 0; d--) {
      at += strides[d]!;
      if (++index[d]! < shape[d]!) break;
      at -= shape[d]! * strides[d]!;
      index[d] = 0;
    }
  }
  return out;
}

function isRowMajor(shape: readonly number[], strides: readonly number[]): boolean {
  let expected = 1;
  for (let d = shape.length - 1; d >= 0; d--) {
    if (shape[d] !== 1 && strides[d] !== expected) return false;
    expected *= shape[d]!;
  }
  return true;
}

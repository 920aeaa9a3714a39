/**
 * Reads and writes zip files, the container of .npz and .pt: PKWARE's APPNOTE.TXT 6.3.
 *
 * Stored and deflated members, and the 64-bit extension. Reading is strict: sizes, checks and both copies of each name must agree.
 */
import { joinBytes, lengthOf } from '../core/bytes.ts';
import { crc32 } from './crc.ts';

/** Throws a FileError about what is wrong with the file. */
export type Fail = (what: string) => never;

/** A member of a zip file, as it is stored. */
export interface ZipMember {
  readonly name: string;
  /** The stored bytes, a part of the file's. */
  readonly packed: Uint8Array;
  readonly isDeflated: boolean;
  /** Bytes when unpacked. */
  readonly size: number;
  readonly crc: number;
}

const LOCAL_HEADER = 0x04034b50;
const CENTRAL_HEADER = 0x02014b50;
const END = 0x06054b50;
const END_64 = 0x06064b50;
const END_64_LOCATOR = 0x07064b50;

/** Lengths of the records without their texts. */
const LOCAL_LENGTH = 30;
const CENTRAL_LENGTH = 46;
const END_LENGTH = 22;
const LOCATOR_LENGTH = 20;
const END_64_LENGTH = 56;

const STORED = 0;
const DEFLATED = 8;
/** Values of 32- and 16-bit fields that refer to the 64-bit extension. */
const IN_EXTENSION = 0xffffffff;
const IN_EXTENSION_16 = 0xffff;
/** The tag of the 64-bit extension among a header's extra fields. */
const EXTENSION = 1;
/** Deflate packs at most so many bytes into one. */
const MAX_RATIO = 1032;

/** Returns whether the bytes begin as a zip file does. */
export function isZip(bytes: Uint8Array): boolean {
  return bytes[0] === 0x50 && bytes[1] === 0x4b && ((bytes[2] === 3 && bytes[3] === 4) || (bytes[2] === 5 && bytes[3] === 6));
}

/**
 * Returns the members of a zip file, in its own order. Bytes in front of the first member are ignored if the directory counts them.
 * Throws: what `fail` throws for a file that is damaged, encrypted, split, compressed by another method than deflate, or of which members
 * share bytes: such a file can unpack to any length
 */
export function readZip(bytes: Uint8Array, fail: Fail): ZipMember[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { count, start } = findDirectory(view, fail);
  const members: ZipMember[] = [];
  const names = new Set<string>();
  const spans: Span[] = [];
  let at = start;
  for (let i = 0; i < count; i++) {
    const { member, span, next } = readMember(bytes, view, at, fail);
    if (names.has(member.name)) fail(`it has two members ${member.name}`);
    names.add(member.name);
    members.push(member);
    spans.push(span);
    at = next;
  }
  spans.sort((a, b) => a.start - b.start);
  spans.forEach(({ name, end }, i) => {
    const following = spans[i + 1];
    if (following !== undefined && following.start < end) fail(`${name} and ${following.name} share bytes; the file is damaged`);
  });
  return members;
}

/** Where a member's header and content stand. */
interface Span {
  readonly name: string;
  readonly start: number;
  readonly end: number;
}

/** Unpacks a member. Throws: what `fail` throws if the bytes do not unpack to the size and check that the file states */
export async function unpack(member: ZipMember, fail: Fail): Promise<Uint8Array> {
  const { name, packed, isDeflated, size } = member;
  if (!isDeflated) return checkedContent(member, packed, fail);
  if (size > MAX_RATIO * (packed.length + 1)) fail(`${name}: ${packed.length} bytes cannot unpack to ${size}`);
  let content: Uint8Array;
  try {
    content = await inflate(packed, size);
  } catch {
    return fail(`${name}: it does not unpack; the file is damaged`);
  }
  return checkedContent(member, content, fail);
}

/** Returns the content of a stored member after checking it. */
export function checkedContent({ name, size, crc }: ZipMember, content: Uint8Array, fail: Fail): Uint8Array {
  if (content.length !== size) fail(`${name}: expected ${size} bytes, got ${content.length}; the file is damaged`);
  if (crc32(content) !== crc) fail(`${name}: the check sum is wrong; the file is damaged`);
  return content;
}

async function inflate(packed: Uint8Array, size: number): Promise<Uint8Array> {
  const out = new Uint8Array(size);
  let length = 0;
  for await (const piece of throughStream(packed, new DecompressionStream('deflate-raw'))) {
    if (length + piece.length > size) throw new RangeError('more bytes than the file states');
    out.set(piece, length);
    length += piece.length;
  }
  return out.subarray(0, length);
}

async function* throughStream(bytes: Uint8Array, stream: DecompressionStream | CompressionStream): AsyncGenerator<Uint8Array> {
  const reader = new Blob([bytes as Uint8Array<ArrayBuffer>]).stream().pipeThrough(stream).getReader();
  for (let read = await reader.read(); !read.done; read = await reader.read()) yield read.value;
}

// — the directory —

function findDirectory(view: DataView, fail: Fail): { readonly count: number; readonly start: number } {
  const end = findEnd(view, fail);
  const count = view.getUint16(end + 10, true);
  const start = view.getUint32(end + 16, true);
  if (view.getUint16(end + 4, true) !== 0) fail('it is one part of a split zip file');
  if (start !== IN_EXTENSION && count !== IN_EXTENSION_16) return { count, start };
  const locator = end - LOCATOR_LENGTH;
  if (locator < 0 || view.getUint32(locator, true) !== END_64_LOCATOR) return { count, start };
  const at = Number(view.getBigUint64(locator + 8, true));
  if (at + END_64_LENGTH > view.byteLength || view.getUint32(at, true) !== END_64)
    fail('its 64-bit directory is missing; the file is damaged');
  return { count: Number(view.getBigUint64(at + 32, true)), start: Number(view.getBigUint64(at + 48, true)) };
}

/** Returns the position of the last record, behind which only a comment may stand. */
function findEnd(view: DataView, fail: Fail): number {
  const last = view.byteLength - END_LENGTH;
  for (let at = last; at >= Math.max(0, last - 0xffff); at--) {
    if (view.getUint32(at, true) === END && at + END_LENGTH + view.getUint16(at + 20, true) === view.byteLength) return at;
  }
  return fail('it has no zip directory; the file is truncated or no zip file');
}

interface DirectoryEntry {
  readonly member: ZipMember;
  readonly span: Span;
  /** Where the next entry begins. */
  readonly next: number;
}

function readMember(bytes: Uint8Array, view: DataView, at: number, fail: Fail): DirectoryEntry {
  if (at + CENTRAL_LENGTH > view.byteLength || view.getUint32(at, true) !== CENTRAL_HEADER) fail('its directory is damaged');
  const nameLength = view.getUint16(at + 28, true);
  const extraLength = view.getUint16(at + 30, true);
  const nameEnd = at + CENTRAL_LENGTH + nameLength;
  const next = nameEnd + extraLength + view.getUint16(at + 32, true);
  if (next > view.byteLength) fail('its directory is damaged');
  const name = nameOf(bytes.subarray(at + CENTRAL_LENGTH, nameEnd), fail);
  const method = view.getUint16(at + 10, true);
  if (view.getUint16(at + 8, true) & 1) fail(`${name}: it is encrypted`);
  if (method !== STORED && method !== DEFLATED)
    fail(`${name}: its compression method ${method} is not supported (expected stored or deflated)`);
  const sizes = [24, 20, 42].map((field) => view.getUint32(at + field, true));
  const [size, packedSize, offset] = withExtension(sizes, view, nameEnd, extraLength, () => fail(`${name}: its sizes are damaged`));
  const start = contentStart(bytes, offset!, bytes.subarray(at + CENTRAL_LENGTH, nameEnd), (what) => fail(`${name}: ${what}`));
  const end = start + packedSize!;
  if (end > view.byteLength) fail(`${name}: expected ${packedSize} bytes, got ${view.byteLength - start}; the file is truncated`);
  const member = {
    name,
    packed: bytes.subarray(start, end),
    isDeflated: method === DEFLATED,
    size: size!,
    crc: view.getUint32(at + 16, true),
  };
  return { member, span: { name, start: offset!, end }, next };
}

function nameOf(bytes: Uint8Array, fail: Fail): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return fail('the name of a member is no UTF-8 text');
  }
}

/** Replaces the sizes that refer to the 64-bit extension by those in it. */
function withExtension(sizes: readonly number[], view: DataView, start: number, length: number, fail: () => never): number[] {
  if (!sizes.includes(IN_EXTENSION)) return [...sizes];
  for (let at = start; at + 4 <= start + length; at += 4 + view.getUint16(at + 2, true)) {
    if (view.getUint16(at, true) !== EXTENSION) continue;
    let field = at + 4;
    const fieldsEnd = Math.min(field + view.getUint16(at + 2, true), start + length);
    return sizes.map((size) => {
      if (size !== IN_EXTENSION) return size;
      if (field + 8 > fieldsEnd) return fail();
      field += 8;
      return Number(view.getBigUint64(field - 8, true));
    });
  }
  return fail();
}

/** Returns where a member's bytes begin: behind its local header, which repeats its name. */
function contentStart(bytes: Uint8Array, at: number, name: Uint8Array, fail: Fail): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (at + LOCAL_LENGTH > bytes.length || view.getUint32(at, true) !== LOCAL_HEADER) fail('its header is missing; the file is damaged');
  const isSame = view.getUint16(at + 26, true) === name.length && name.every((byte, i) => byte === bytes[at + LOCAL_LENGTH + i]);
  if (!isSame) fail('its header has another name; the file is damaged');
  return at + LOCAL_LENGTH + name.length + view.getUint16(at + 28, true);
}

// — writing —

/** A file to put into a zip file. */
export interface ZipInput {
  readonly name: string;
  readonly content: Uint8Array;
}

/** Bytes of the longest name. */
export const MAX_NAME = 0xffff;
/** The first day that the format can express, so that equal content gives equal bytes. */
const DATE = 0x21;
/** The version needed to read: 2.0, and 4.5 with the 64-bit extension. */
const VERSION = 20;
const VERSION_64 = 45;
/** Bit 11 of the flags: names are UTF-8. */
const UTF8_NAMES = 0x800;

/** Returns the pieces of a zip file. Members that deflate does not make smaller are stored. */
export async function writeZip(inputs: readonly ZipInput[], compressed: boolean): Promise<Uint8Array[]> {
  const pieces: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let offset = 0;
  for (const { name, content } of inputs) {
    const packed = compressed ? await deflate(content) : content;
    const isSmaller = packed.length < content.length;
    const entry = { name: new TextEncoder().encode(name), stored: isSmaller ? packed : content, isDeflated: isSmaller, content, offset };
    const header = localHeader(entry);
    pieces.push(header, entry.stored);
    directory.push(centralHeader(entry));
    offset += header.length + entry.stored.length;
  }
  return [...pieces, ...directory, endOf(inputs.length, offset, lengthOf(directory))];
}

async function deflate(content: Uint8Array): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const piece of throughStream(content, new CompressionStream('deflate-raw'))) pieces.push(piece);
  return joinBytes(pieces);
}

interface Entry {
  readonly name: Uint8Array;
  readonly stored: Uint8Array;
  readonly isDeflated: boolean;
  readonly content: Uint8Array;
  readonly offset: number;
}

/** Writes little-endian numbers one after the other. */
class Record {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(length: number) {
    this.bytes = new Uint8Array(length);
    this.#view = new DataView(this.bytes.buffer);
  }

  u16(...values: readonly number[]): this {
    for (const value of values) {
      this.#view.setUint16(this.#at, value, true);
      this.#at += 2;
    }
    return this;
  }

  u32(...values: readonly number[]): this {
    for (const value of values) {
      this.#view.setUint32(this.#at, value, true);
      this.#at += 4;
    }
    return this;
  }

  u64(...values: readonly number[]): this {
    for (const value of values) {
      this.#view.setBigUint64(this.#at, BigInt(value), true);
      this.#at += 8;
    }
    return this;
  }

  text(bytes: Uint8Array): this {
    this.bytes.set(bytes, this.#at);
    this.#at += bytes.length;
    return this;
  }
}

/** Whether a number does not fit a 32-bit field of the format. */
const isLarge = (value: number): boolean => value >= IN_EXTENSION;
const field32 = (value: number, inExtension: boolean): number => (inExtension ? IN_EXTENSION : value);

function localHeader({ name, stored, isDeflated, content }: Entry): Uint8Array {
  const large = isLarge(content.length);
  const record = new Record(LOCAL_LENGTH + name.length + (large ? 20 : 0));
  record.u32(LOCAL_HEADER).u16(large ? VERSION_64 : VERSION, UTF8_NAMES, isDeflated ? DEFLATED : STORED, 0, DATE);
  record
    .u32(crc32(content), field32(stored.length, large), field32(content.length, large))
    .u16(name.length, large ? 20 : 0)
    .text(name);
  if (large) record.u16(EXTENSION, 16).u64(content.length, stored.length);
  return record.bytes;
}

function centralHeader({ name, stored, isDeflated, content, offset }: Entry): Uint8Array {
  const large = isLarge(content.length) || isLarge(offset);
  const record = new Record(CENTRAL_LENGTH + name.length + (large ? 28 : 0));
  const version = large ? VERSION_64 : VERSION;
  record.u32(CENTRAL_HEADER).u16(version, version, UTF8_NAMES, isDeflated ? DEFLATED : STORED, 0, DATE);
  record.u32(crc32(content), field32(stored.length, large), field32(content.length, large));
  record
    .u16(name.length, large ? 28 : 0, 0, 0, 0)
    .u32(0, field32(offset, large))
    .text(name);
  if (large) record.u16(EXTENSION, 24).u64(content.length, stored.length, offset);
  return record.bytes;
}

function endOf(count: number, start: number, length: number): Uint8Array {
  const large = isLarge(start) || isLarge(length) || count >= IN_EXTENSION_16;
  const record = new Record((large ? END_64_LENGTH + LOCATOR_LENGTH : 0) + END_LENGTH);
  if (large) {
    record
      .u32(END_64)
      .u64(END_64_LENGTH - 12)
      .u16(VERSION_64, VERSION_64)
      .u32(0, 0)
      .u64(count, count, length, start);
    record
      .u32(END_64_LOCATOR, 0)
      .u64(start + length)
      .u32(1);
  }
  const count16 = large ? IN_EXTENSION_16 : count;
  record.u32(END).u16(0, 0, count16, count16).u32(field32(length, large), field32(start, large)).u16(0);
  return record.bytes;
}

/**
 * Checkpoints: the state of anything Stateful, and of the default random generator, in one safetensors file.
 *
 * Every tensor is an entry, so that other tools can read a model's weights (`model.fc.weight`); the rest is JSON among the header's
 * texts, see state-tree.ts.
 */
import { defaultGenerator, withGradMode } from '../autograd/index.ts';
import type { ArrayData } from '../core/array-data.ts';
import { ArgumentError, FileError } from '../core/errors.ts';
import { formatShape } from '../core/shape.ts';
import type { Stateful } from '../core/stateful.ts';
import { readBytes, writeFileAtomic } from './files.ts';
import { storedAs } from './safetensors.ts';
import { decodeSafetensors, encodeSafetensors } from './safetensors-format.ts';
import { type Json, kindOf, Packer, Unpacker } from './state-tree.ts';

/** How much of a checkpoint is restored. */
export interface LoadCheckpointOptions {
  /**
   * True, the default: `record` must name all that the file holds, and the default generator's random state is restored.
   * False restores what `record` names and nothing else: a model for evaluation.
   */
  readonly strict?: boolean;
}

/** Raised with every change of the format that an older reader would misunderstand. */
const VERSION = '1';

/** Keys of the header's texts. */
const FORMAT_KEY = 'chainrule.checkpoint';
const STATE_KEY = 'chainrule.state';
const CHECKSUM_KEY = 'chainrule.crc32';

/** The name of the default generator among the states. */
const GENERATOR = 'chainrule.generator';

/** What the header says beside the tensors. */
interface Skeleton {
  readonly states: { readonly [name: string]: Json };
  /** Absent where none was given. */
  readonly extra?: Json;
}

/**
 * Saves the state of everything in `record`, the default generator's random state, and `extra`.
 *
 * The file is replaced at once: a crash leaves the old one or the new one, whole. float64 numbers and tensors keep every bit.
 * @param extra a JSON value, NaN and ±Infinity included; loadCheckpoint returns it
 * Throws: ArgumentError on a state or extra that cannot be saved, FileError if the file cannot be written; the old file is as it was
 * @example saveCheckpoint('run.safetensors', { model, optimizer, scheduler, loader }, { step })
 */
export function saveCheckpoint(path: string, record: Readonly<Record<string, Stateful>>, extra?: unknown): void {
  writeFileAtomic(path, checkpointToBytes(record, extra));
}

/**
 * Restores everything in `record`, and the default generator's random state, as saveCheckpoint saved them; returns its `extra`.
 *
 * All or nothing: where one state does not fit, those already restored get back what they had.
 * Throws: FileError on a file that is missing, damaged, no checkpoint, of a newer format, or of other models, optimizers, …
 * @example const { step } = loadCheckpoint('run.safetensors', { model, optimizer, scheduler, loader }) as { step: number }
 */
export function loadCheckpoint(path: string, record: Readonly<Record<string, Stateful>>, options: LoadCheckpointOptions = {}): unknown {
  return checkpointFromBytes(readBytes(path), record, options, path);
}

/** The bytes of the file that saveCheckpoint writes, for platforms without files. */
export function checkpointToBytes(record: Readonly<Record<string, Stateful>>, extra?: unknown): Uint8Array {
  checkStateful('saveCheckpoint', record);
  const arrays = new Map<string, ArrayData>();
  const states = pack({ ...record, [GENERATOR]: defaultGenerator }, arrays);
  const skeleton = extra === undefined ? { states } : { states, extra: new Packer(null).pack(extra, 'extra') };
  const text = JSON.stringify(skeleton);
  return encodeSafetensors(
    Array.from(arrays, ([name, array]) => [name, storedAs(name, array)]),
    [
      [FORMAT_KEY, VERSION],
      [STATE_KEY, text],
      [CHECKSUM_KEY, checksum(text, arrays)],
    ],
  );
}

/**
 * loadCheckpoint on bytes that came from elsewhere.
 *
 * @param file name for messages
 */
export function checkpointFromBytes(
  bytes: Uint8Array,
  record: Readonly<Record<string, Stateful>>,
  { strict = true }: LoadCheckpointOptions = {},
  file = 'bytes',
): unknown {
  const fail = (what: string, cause?: unknown): never => {
    throw new FileError(`loadCheckpoint: ${file}: ${what}`, { cause });
  };
  checkStateful('loadCheckpoint', record);
  const { skeleton, arrays } = parse(bytes, file, fail);
  checkNames(Object.keys(record), Object.keys(skeleton.states), strict, fail);
  const targets = Object.entries<Stateful>(strict ? { ...record, [GENERATOR]: defaultGenerator } : record);
  const found = new Unpacker(arrays, (name) => fail(`${STATE_KEY}: there is no tensor ${name}; the file is damaged`));
  try {
    // Everything is unpacked, and what is there now is copied, before anything changes.
    const extra = skeleton.extra === undefined ? undefined : found.unpack(skeleton.extra);
    const states = new Map(targets.map(([name]) => [name, found.unpack(skeleton.states[name]!)]));
    restore(targets, states, fail);
    return extra;
  } finally {
    found.dispose();
  }
}

type Fail = (what: string, cause?: unknown) => never;

function parse(bytes: Uint8Array, file: string, fail: Fail): { skeleton: Skeleton; arrays: Map<string, ArrayData> } {
  const { entries: arrays, metadata } = decodeSafetensors(bytes, file);
  const version = metadata.get(FORMAT_KEY);
  if (version === undefined) fail(`the header has no ${FORMAT_KEY}: this is no checkpoint; read plain tensors with loadSafetensors`);
  if (version !== VERSION) {
    fail(`${FORMAT_KEY}: expected version ${VERSION}, got ${version}; another version of chainrule wrote it, load it with that one`);
  }
  const text = metadata.get(STATE_KEY) ?? fail(`the header has no ${STATE_KEY}; the file is damaged`);
  const expected = metadata.get(CHECKSUM_KEY);
  const got = checksum(text, arrays);
  if (got !== expected) fail(`checksum: expected ${expected ?? 'one in the header'}, got ${got}; the file is damaged`);
  return { skeleton: JSON.parse(text) as Skeleton, arrays };
}

function checkNames(wanted: readonly string[], saved: readonly string[], strict: boolean, fail: Fail): void {
  const held = saved.filter((name) => name !== GENERATOR);
  const missing = wanted.filter((name) => !held.includes(name));
  const unexpected = strict ? held.filter((name) => !wanted.includes(name)) : [];
  if (missing.length + unexpected.length === 0) return;
  const parts = [
    ...(missing.length > 0 ? [`it does not have ${missing.join(', ')}`] : []),
    ...(unexpected.length > 0 ? [`it also has ${unexpected.join(', ')} (strict: false would leave that out)`] : []),
  ];
  fail(`states: expected ${wanted.join(', ')}, got ${held.join(', ')}: ${parts.join('; ')}`);
}

function checkStateful(op: string, record: Readonly<Record<string, Partial<Stateful> | null | undefined>>): void {
  for (const [name, s] of Object.entries(record)) {
    if (typeof s?.stateDict === 'function' && typeof s.loadStateDict === 'function') continue;
    throw new ArgumentError(`${op}: ${name}: expected something with stateDict() and loadStateDict(), got ${kindOf(s)}`);
  }
}

/** Loads one state after the other; if one refuses, all that were touched get back what they had. */
function restore(targets: readonly (readonly [string, Stateful])[], states: ReadonlyMap<string, unknown>, fail: Fail): void {
  const arrays = new Map<string, ArrayData>();
  const before = pack(Object.fromEntries(targets), arrays);
  for (const [i, [name, target]] of targets.entries()) {
    try {
      load(target, states.get(name));
    } catch (error) {
      const old = new Unpacker(arrays, fail);
      const lost = targets.slice(0, i + 1).filter(([n, t]) => !succeeds(() => load(t, old.unpack(before[n]!))));
      old.dispose();
      const outcome = lost.length === 0 ? 'nothing was changed' : `${lost.map(([n]) => n).join(', ')} could not be put back`;
      fail(`${name}: ${error instanceof Error ? error.message : String(error)} (${outcome})`, error);
    }
  }
}

/** Without recording, so that a state may be copied into parameters. */
function load(target: Stateful, state: unknown): void {
  // What a state holds is for its owner to check: it comes from a file.
  withGradMode(false, () => target.loadStateDict(state as never));
}

function succeeds(fn: () => void): boolean {
  try {
    fn();
    return true;
  } catch {
    return false;
  }
}

function pack(record: Readonly<Record<string, Stateful>>, arrays: Map<string, ArrayData>): Record<string, Json> {
  const packer = new Packer(arrays);
  return Object.fromEntries(Object.entries(record).map(([name, s]) => [name, packer.pack(s.stateDict(), name)]));
}

/** CRC-32 over the state's text and every array with its name and shape: what a flipped bit on a disk would change. */
function checksum(text: string, arrays: ReadonlyMap<string, ArrayData>): string {
  const encoder = new TextEncoder();
  let crc = crc32(encoder.encode(text), -1);
  for (const [name, { data, shape, dtype }] of arrays) {
    crc = crc32(encoder.encode(`${name} ${dtype} ${formatShape(shape)}`), crc);
    crc = crc32(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), crc);
  }
  return (~crc >>> 0).toString(16).padStart(8, '0');
}

/** Remainders of every byte by the reflected polynomial 0xEDB88320. */
const CRC_TABLE = Int32Array.from({ length: 256 }, (_, byte) => {
  let c = byte;
  for (let bit = 0; bit < 8; bit++) c = c & 1 ? (c >>> 1) ^ 0xedb88320 : c >>> 1;
  return c;
});

function crc32(bytes: Uint8Array, crc: number): number {
  for (let i = 0; i < bytes.length; i++) crc = (crc >>> 8) ^ CRC_TABLE[(crc ^ bytes[i]!) & 255]!;
  return crc;
}

/**
 * Checkpoints: one safetensors file with the states of Stateful objects and of the default random generator.
 *
 * Every tensor is an entry of its own, so other tools can read a model's weights (`model.fc.weight`). The rest is JSON in the
 * header's metadata; state-tree.ts defines its form.
 */
import { defaultGenerator, withGradMode } from '../autograd/index.ts';
import type { ArrayData } from '../core/array-data.ts';
import { foreignKind } from '../core/copies.ts';
import { isIterable, isReadable, peek } from '../core/describe.ts';
import { ArgumentError, FileError, kindOf, shown } from '../core/errors.ts';
import { withDefaults } from '../core/options.ts';
import { formatShape } from '../core/shape.ts';
import type { Stateful } from '../core/stateful.ts';
import { brief } from '../core/text.ts';
import { readFile } from '../platform/files.ts';
import { replaceFile } from './files.ts';
import { asStored } from './safetensors.ts';
import { decodeSafetensors, encodePieces, encodeSafetensors, type SafetensorsEntry } from './safetensors-format.ts';
import { type Fail, isRecord, type Json, Packer, typeText, Unpacker } from './state-tree.ts';

/** Options of loadCheckpoint. */
export interface LoadCheckpointOptions {
  /**
   * True, the default: `record` must name every state in the file, and the default generator's random state is restored too.
   * False restores only the states that `record` names, for example a model for evaluation.
   */
  readonly strict?: boolean;
}

/** Version of the format; must be raised with every change that an older reader would misread. */
const VERSION = '1';

/** Keys of the header's metadata. */
const FORMAT_KEY = 'chainrule.checkpoint';
const STATE_KEY = 'chainrule.state';
const CHECKSUM_KEY = 'chainrule.crc32';

/** The name under which the default generator's state is saved. */
const GENERATOR = 'chainrule.generator';

/** The JSON of a checkpoint: its states with references in place of tensors, and the user's extra value. */
interface CheckpointJson {
  readonly states: { readonly [name: string]: Json };
  /** Absent if saveCheckpoint got none. */
  readonly extra?: Json;
}

/**
 * Saves the states of all objects in `record`, the default generator's random state, and `extra`.
 *
 * The file is replaced atomically: after a crash it is the complete old or the complete new one. Numbers and tensors are stored
 * bitwise exactly.
 * @param extra a JSON value, NaN and ±Infinity included; loadCheckpoint returns it
 * Throws: ArgumentError on a state or extra that cannot be saved, FileError if the file cannot be written; the old file stays
 * @example saveCheckpoint('run.safetensors', { model, optimizer, scheduler, loader }, { step })
 */
export function saveCheckpoint(path: string, record: Readonly<Record<string, Stateful>>, extra?: unknown): void {
  replaceFile('saveCheckpoint', path, encodePieces(...checkpointContent(record, extra)));
}

/**
 * Restores the objects in `record` and the default generator's random state from a checkpoint; returns the saved `extra`.
 *
 * All or nothing: if one state does not fit, the states already restored are rolled back.
 * Throws: FileError if the file is missing, damaged, not a checkpoint, of a newer format, or from other models or optimizers
 * @example const { step } = loadCheckpoint('run.safetensors', { model, optimizer, scheduler, loader }) as { step: number }
 */
export function loadCheckpoint(path: string, record: Readonly<Record<string, Stateful>>, options: LoadCheckpointOptions = {}): unknown {
  checkArguments(record, options);
  return checkpointFromBytes(readFile('loadCheckpoint', path), record, options, path);
}

/** Returns the bytes of the file that saveCheckpoint writes, for platforms without files. */
export function checkpointToBytes(record: Readonly<Record<string, Stateful>>, extra?: unknown): Uint8Array {
  return encodeSafetensors(...checkpointContent(record, extra));
}

/** Returns the entries and the metadata of the file. */
function checkpointContent(
  record: Readonly<Record<string, Stateful>>,
  extra: unknown,
): [entries: (readonly [string, SafetensorsEntry])[], metadata: [string, string][]] {
  checkRecord('saveCheckpoint', record);
  const arrays = new Map<string, ArrayData>();
  const states = pack({ ...record, [GENERATOR]: defaultGenerator }, arrays);
  const json: CheckpointJson = extra === undefined ? { states } : { states, extra: new Packer(null).pack(extra, 'extra') };
  const text = JSON.stringify(json);
  const entries = Array.from(arrays, ([name, array]) => [name, asStored(name, array)] as const);
  const metadata: [string, string][] = [
    [FORMAT_KEY, VERSION],
    [STATE_KEY, text],
    [CHECKSUM_KEY, checksum(text, arrays)],
  ];
  return [entries, metadata];
}

/**
 * Restores a checkpoint from its bytes, as loadCheckpoint does from a file.
 *
 * @param file the file's name, for error messages
 */
export function checkpointFromBytes(
  bytes: Uint8Array,
  record: Readonly<Record<string, Stateful>>,
  options: LoadCheckpointOptions = {},
  file = 'bytes',
): unknown {
  const fail: Fail = (what, cause) => {
    throw new FileError(`loadCheckpoint: ${file}: ${what}`, { cause });
  };
  const { strict } = checkArguments(record, options);
  const { json, arrays } = parse(bytes, file, fail);
  checkNames(Object.keys(record), Object.keys(json.states), strict, fail);
  const targets = Object.entries<Stateful>(strict ? { ...record, [GENERATOR]: defaultGenerator } : record);
  const failState: Fail = (what) => fail(`${STATE_KEY}: ${what}`);
  const unpacker = new Unpacker(arrays, failState);
  try {
    // All states are unpacked, and restore copies the present ones, before anything changes.
    const extra = json.extra === undefined ? undefined : new Unpacker(null, failState).unpack(json.extra);
    const states = new Map(targets.map(([name]) => [name, unpacker.unpack(json.states[name]!)]));
    restore(targets, states, unpacker, fail);
    return extra;
  } finally {
    unpacker.dispose();
  }
}

/** Checks the arguments of loadCheckpoint, before it reads a file; returns the options with defaults. */
function checkArguments(record: Readonly<Record<string, Stateful>>, options: LoadCheckpointOptions): Required<LoadCheckpointOptions> {
  checkRecord('loadCheckpoint', record);
  return withDefaults('loadCheckpoint', options, { strict: true });
}

/** Decodes the file; checks that it is a checkpoint, its version and its checksum. */
function parse(bytes: Uint8Array, file: string, fail: Fail): { json: CheckpointJson; arrays: Map<string, ArrayData> } {
  const { entries: arrays, metadata, skipped } = decodeSafetensors(bytes, file);
  const version = metadata.get(FORMAT_KEY);
  if (version === undefined) fail(`the header has no ${FORMAT_KEY}: this is no checkpoint; read plain tensors with loadSafetensors`);
  if (version !== VERSION) {
    fail(`${FORMAT_KEY}: expected version ${VERSION}, got ${brief(version)}; another version of chainrule wrote it, load it with that one`);
  }
  for (const [name, reason] of skipped) fail(`${brief(name)}: ${reason}`);
  const text = metadata.get(STATE_KEY) ?? fail(`the header has no ${STATE_KEY}; the file is damaged`);
  const expected = metadata.get(CHECKSUM_KEY);
  const got = checksum(text, arrays);
  if (got !== expected) fail(`checksum: expected ${brief(expected ?? 'one in the header')}, got ${got}; the file is damaged`);
  return { json: parseState(text, fail), arrays };
}

/** Parses the JSON of a checkpoint, and checks that it holds states by name. */
function parseState(text: string, fail: Fail): CheckpointJson {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    fail(`${STATE_KEY}: it is no JSON; the file is damaged`, error);
  }
  const states: unknown = isPlainRecord(json) && Object.hasOwn(json, 'states') ? (json as { states: unknown }).states : undefined;
  if (!isPlainRecord(states)) return fail(`${STATE_KEY}: expected a record with the record states; the file is damaged`);
  return json as CheckpointJson;
}

function isPlainRecord(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && isRecord(value);
}

function checkNames(wanted: readonly string[], saved: readonly string[], strict: boolean, fail: Fail): void {
  if (strict && !saved.includes(GENERATOR)) fail(`states: there is no ${GENERATOR}; the file is damaged`);
  const available = saved.filter((name) => name !== GENERATOR);
  const missing = wanted.filter((name) => !available.includes(name));
  const unexpected = strict ? available.filter((name) => !wanted.includes(name)) : [];
  if (missing.length + unexpected.length === 0) return;
  const problems: string[] = [];
  if (missing.length > 0) problems.push(`it does not have ${missing.join(', ')}`);
  if (unexpected.length > 0) problems.push(`it also has ${brief(unexpected.join(', '), 200)} (strict: false would leave that out)`);
  fail(`states: expected ${wanted.join(', ')}, got ${brief(available.join(', '), 200)}: ${problems.join('; ')}`);
}

function checkRecord(op: string, record: Readonly<Record<string, Partial<Stateful> | null | undefined>>): void {
  if (!isReadable(record) || isIterable(record)) {
    throw new ArgumentError(`${op}: expected a record such as { model, optimizer }, got ${kindOf(record)}`);
  }
  if (Object.hasOwn(record, GENERATOR)) throw new ArgumentError(`${op}: the name ${GENERATOR} is reserved`);
  for (const [name, object] of Object.entries(record)) {
    if (foreignKind(object) !== null) throw new ArgumentError(`${op}: ${name} is ${foreignKind(object)}`);
    if (typeof peek(object, 'stateDict') === 'function' && typeof peek(object, 'loadStateDict') === 'function') continue;
    throw new ArgumentError(`${op}: ${name}: expected something with stateDict() and loadStateDict(), got ${typeText(object)}`);
  }
}

/** Loads one state after the other; if a load throws, restores the previous state of that object and of all before it. */
function restore(
  targets: readonly (readonly [string, Stateful])[],
  states: ReadonlyMap<string, unknown>,
  unpacker: Unpacker,
  fail: Fail,
): void {
  const arrays = new Map<string, ArrayData>();
  const packed = pack(Object.fromEntries(targets), arrays);
  const copies = new Unpacker(arrays, fail);
  try {
    // Copied now, so that a roll-back takes no more memory than the load has freed.
    const before = new Map(targets.map(([name]) => [name, copies.unpack(packed[name]!)]));
    for (const [i, [name, target]] of targets.entries()) {
      try {
        load(target, states.get(name));
      } catch (error) {
        // Makes room: memory may have run out.
        unpacker.dispose();
        const lost = targets.slice(0, i + 1).filter(([touched, t]) => !succeeds(() => load(t, before.get(touched))));
        const outcome = lost.length === 0 ? 'nothing was changed' : `${lost.map(([n]) => n).join(', ')} could not be put back`;
        // The error may come from another realm, and its message may have several lines, of which the first says what happened.
        const [problem] = errorText(error).split('\n');
        fail(`${name}: ${problem} (${outcome})`, error);
      }
    }
  } finally {
    copies.dispose();
  }
}

function errorText(error: unknown): string {
  const message = peek(error, 'message');
  return typeof message === 'string' ? message : shown(error);
}

/** Loads a state without recording, as it may be copied into parameters in place. */
function load(target: Stateful, state: unknown): void {
  // The state comes from a file; loadStateDict checks its contents.
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

/** Packs the state of every object; stores its tensors in `arrays`. */
function pack(record: Readonly<Record<string, Stateful>>, arrays: Map<string, ArrayData>): Record<string, Json> {
  const packer = new Packer(arrays);
  return Object.fromEntries(Object.entries(record).map(([name, object]) => [name, packer.pack(object.stateDict(), name)]));
}

/** Returns the CRC-32 of the state's text and of every array with its name, dtype and shape; detects bits flipped on a disk. */
function checksum(text: string, arrays: ReadonlyMap<string, ArrayData>): string {
  const encoder = new TextEncoder();
  let crc = crc32(encoder.encode(text), -1);
  for (const [name, { data, shape, dtype }] of arrays) {
    crc = crc32(encoder.encode(`${name} ${dtype} ${formatShape(shape)}`), crc);
    crc = crc32(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), crc);
  }
  return (~crc >>> 0).toString(16).padStart(8, '0');
}

/** The CRC of each byte value, for the reflected polynomial 0xEDB88320. */
const CRC_TABLE = Int32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  return crc;
});

function crc32(bytes: Uint8Array, crc: number): number {
  for (let i = 0; i < bytes.length; i++) crc = (crc >>> 8) ^ CRC_TABLE[(crc ^ bytes[i]!) & 255]!;
  return crc;
}

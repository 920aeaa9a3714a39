/**
 * What a checkpoint stores beside the state of the run of `fit`. A checkpoint is a file that may have been damaged or exchanged, so
 * every field is checked.
 */
import type { GateStatistics } from './gates.ts';
import { titleOf } from './model.ts';
import type { Settings } from './options.ts';
import type { Result } from './table.ts';
import { excerpt } from './text.ts';

/** Version of the extra value. Version 1 had no version, and states of net, optimizer, schedule and loader by name. */
const VERSION = 2;

/** A checkpoint's extra value. */
export interface Saved {
  /** Index of the net being trained, in the order of `netsOf`. */
  readonly phase: number;
  /** Steps of that net that are done. */
  readonly step: number;
  /** Results of the nets that are finished. */
  readonly results: readonly Result[];
  /** Size of metrics.jsonl. */
  readonly metricsBytes: number;
  /** SHA-256 of the file with the weights of each finished net. Runs from before had none. */
  readonly weights: Readonly<Partial<Record<Result['net'], string>>>;
  /** SHA-256 of real images; null for generated ones. Undefined in runs from before. */
  readonly dataDigest: string | null | undefined;
}

/** Returns the nets of a run in the order in which they are trained. */
export function netsOf({ se }: Settings): Result['net'][] {
  if (se === null) return ['plain', 'se'];
  return se ? ['se'] : ['plain'];
}

/** Returns the extra value as it is stored. */
export function extraOf(saved: Saved, settings: Settings): object {
  return { version: VERSION, settings, ...saved };
}

/** Makes an error that names a file. */
type Fail = (what: string) => Error;

/** The errors for a checkpoint: of a field that is bad, of settings other than those in config.json, of another version. */
export interface Failures {
  readonly field: Fail;
  readonly settings: Fail;
  readonly version: Fail;
}

/** Checks and returns a checkpoint's extra value. */
export function savedIn(extra: unknown, settings: Settings, fail: Failures): Saved {
  const nets = netsOf(settings);
  const record = recordIn(extra);
  const got = (value: unknown): string => excerpt(JSON.stringify(value) ?? 'nothing');
  const count = (key: string, most = Number.MAX_SAFE_INTEGER): number => {
    const value = record[key];
    if (Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= most) return value as number;
    throw fail.field(`${key}: expected a whole number from 0 to ${most}, got ${got(value)}`);
  };
  if (record.version !== VERSION) {
    const version = record.version === undefined ? 'one without a version' : got(record.version);
    throw fail.version(`expected a checkpoint of version ${VERSION}, got ${version}`);
  }
  checkSettings(record.settings, settings, fail.settings);
  const phase = count('phase', nets.length - 1);
  const { results } = record;
  const isList = Array.isArray(results) && (results.length === phase || results.length === phase + 1);
  if (!isList) throw fail.field(`results: expected those of ${phase} or ${phase + 1} nets, got ${got(results)}`);
  const bad = results.findIndex((r, i) => !isResult(r, nets[i]!));
  if (bad >= 0) throw fail.field(`results: expected the result of the net ${nets[bad]}, got ${got(results[bad])}`);
  return {
    phase,
    step: count('step'),
    // Titles go to the terminal, so they are those of the settings.
    // Results of runs before there were ranks are those of one process.
    results: (results as Result[]).map((r) => ({ ...r, ranks: r.ranks ?? 1, title: titleOf(settings.model, r.net === 'se') })),
    metricsBytes: count('metricsBytes'),
    weights: digestsIn(record.weights ?? {}, nets, fail.field),
    dataDigest: dataDigestIn(record.dataDigest, fail.field),
  };
}

/** Checks and returns the digests of the files with weights. */
function digestsIn(value: unknown, nets: readonly Result['net'][], fail: Fail): Saved['weights'] {
  const record = recordIn(value);
  const given = nets.filter((net) => record[net] !== undefined);
  const bad = given.find((net) => !isDigest(record[net]));
  if (bad === undefined) return Object.fromEntries(given.map((net) => [net, record[net]]));
  throw fail(`weights: expected a SHA-256 for the net ${bad}, got ${excerpt(JSON.stringify(record[bad]))}`);
}

function dataDigestIn(value: unknown, fail: Fail): Saved['dataDigest'] {
  if (value === undefined || value === null || isDigest(value)) return value;
  throw fail(`dataDigest: expected a SHA-256 or null, got ${excerpt(JSON.stringify(value))}`);
}

/** Returns whether a value is a SHA-256 as text. */
export function isDigest(value: unknown): value is string {
  return typeof value === 'string' && /^[\da-f]{64}$/.test(value);
}

/** Throws if a checkpoint was made with other settings than those in config.json. The folder of the data may have moved. */
function checkSettings(made: unknown, settings: Settings, fail: Fail): void {
  const record = recordIn(made);
  for (const key of Object.keys(settings) as (keyof Settings)[]) {
    if (key === 'dataDir' || record[key] === settings[key]) continue;
    const value = excerpt(JSON.stringify(record[key]) ?? 'nothing');
    throw fail(`${key}: expected ${value}, with which the run was trained so far, got ${JSON.stringify(settings[key])}`);
  }
}

function recordIn(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}

const isNumber = (value: unknown): value is number => typeof value === 'number';

function isResult(value: unknown, net: Result['net']): boolean {
  const r = recordIn(value);
  const keys = ['parameters', 'steps', 'seconds', 'imagesPerSecond', 'testLoss', 'testAccuracy'];
  const { labels, predictions, gates } = r;
  const areDigits = (text: unknown): text is string => typeof text === 'string' && /^\d+$/.test(text);
  if (r.ranks !== undefined && !(Number.isSafeInteger(r.ranks) && (r.ranks as number) >= 1)) return false;
  if (r.net !== net || !keys.every((key) => isNumber(r[key])) || !areDigits(labels) || !areDigits(predictions)) return false;
  return labels.length === predictions.length && Array.isArray(gates) && gates.every(isGate);
}

function isGate(value: unknown): value is GateStatistics {
  const { block, means, deviations } = recordIn(value);
  const isList = (list: unknown, isItem: (item: unknown) => boolean): boolean => Array.isArray(list) && list.every(isItem);
  const isRow = (row: unknown): boolean => row === null || isList(row, isNumber);
  const isByGroup = (bands: unknown): boolean => isList(bands, (rows) => isList(rows, isRow));
  return typeof block === 'string' && isByGroup(means) && isByGroup(deviations);
}

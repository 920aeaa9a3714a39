/**
 * What a checkpoint stores beside the states of net, optimizer, schedule and loader. A checkpoint is a file that may have been
 * damaged or exchanged, so every field is checked.
 */
import type { GateStatistics } from './gates.ts';
import type { Progress } from './loop.ts';
import { titleOf } from './model.ts';
import type { Settings } from './options.ts';
import type { Result } from './table.ts';
import { excerpt } from './text.ts';

/** A checkpoint's extra value. */
export interface Saved {
  /** Index of the net being trained, in the order of `netsOf`. */
  readonly phase: number;
  readonly progress: Progress;
  /** Results of the nets that are finished. */
  readonly results: readonly Result[];
  /** Size of metrics.jsonl. */
  readonly metricsBytes: number;
}

/** Returns the nets of a run in the order in which they are trained. */
export function netsOf({ se }: Settings): Result['net'][] {
  if (se === null) return ['plain', 'se'];
  return se ? ['se'] : ['plain'];
}

/** The extra value as it is stored. */
export interface Extra {
  readonly settings: Settings;
  readonly phase: number;
  readonly step: number;
  readonly seconds: number;
  /** `evaluatedAt` of the Progress. Files have the older name. */
  readonly glancedAt: number;
  readonly results: readonly Result[];
}

/** Returns the extra value to store. */
export function extraOf(settings: Settings, phase: number, { step, seconds, evaluatedAt }: Progress, results: readonly Result[]): Extra {
  return { settings, phase, step, seconds, glancedAt: evaluatedAt, results };
}

/** Makes an error that names the file. */
type Fail = (what: string) => Error;

/**
 * Checks and returns a checkpoint's extra value. Throws the error that `fail` makes for the first bad field, or the one that
 * `failSettings` makes if config.json was edited.
 */
export function savedIn(extra: unknown, settings: Settings, fail: Fail, failSettings: Fail): Saved {
  const nets = netsOf(settings);
  const record = recordIn(extra);
  const got = (value: unknown): string => excerpt(JSON.stringify(value) ?? 'nothing');
  const count = (key: string, most = Number.MAX_SAFE_INTEGER): number => {
    const value = record[key];
    if (Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= most) return value as number;
    throw fail(`${key}: expected a whole number from 0 to ${most}, got ${got(value)}`);
  };
  checkSettings(record.settings, settings, failSettings);
  const phase = count('phase', nets.length - 1);
  const { seconds, results } = record;
  if (!isNumber(seconds)) throw fail(`seconds: expected a number, got ${got(seconds)}`);
  const isList = Array.isArray(results) && (results.length === phase || results.length === phase + 1);
  if (!isList) throw fail(`results: expected those of ${phase} or ${phase + 1} nets, got ${got(results)}`);
  const bad = results.findIndex((r, i) => !isResult(r, nets[i]!));
  if (bad >= 0) throw fail(`results: expected the result of the net ${nets[bad]}, got ${got(results[bad])}`);
  return {
    phase,
    progress: { step: count('step'), seconds, evaluatedAt: count('glancedAt') },
    // Titles go to the terminal, so they are those of the settings.
    results: (results as (Result & { gates?: Result['gates'] })[]).map((r) => ({
      ...r,
      title: titleOf(settings.model, r.net === 'se'),
      gates: r.gates ?? [],
    })),
    metricsBytes: count('metricsBytes'),
  };
}

/** Throws if a checkpoint was made with other settings than those in config.json. The folder of the data may have moved. */
function checkSettings(made: unknown, settings: Settings, fail: Fail): void {
  if (made === undefined) return;
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
  // Older files have no gates by band.
  const { labels, predictions, gates = [] } = r;
  const areDigits = (text: unknown): text is string => typeof text === 'string' && /^\d+$/.test(text);
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

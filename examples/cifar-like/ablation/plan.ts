/**
 * The plan of an ablation: its command-line options, and the variants that they select.
 */
import { parseArgs } from 'node:util';
import { UsageError } from '../errors.ts';
import { checkNpm, GATES, isTooLarge, once, optionNames, parseCommand, type Settings, SQUEEZES } from '../options.ts';
import { PLACEMENTS } from '../resnet.ts';

/** The properties that an ablation varies, and their values. */
const FACTORS = { placement: PLACEMENTS, reduction: [2, 4, 8, 16], squeeze: SQUEEZES, gate: GATES } as const;

type Factor = keyof typeof FACTORS;

/** A row of the table: a net with certain settings, trained once for every seed. */
export interface Variant {
  /** The factor, or combination of factors, that the row varies. */
  readonly group: string;
  readonly label: string;
  readonly se: boolean;
  readonly settings: Settings;
}

export interface Plan {
  readonly dir: string;
  readonly seeds: readonly number[];
  readonly variants: readonly Variant[];
  /** Number of threads; null: number of processors. */
  readonly threads: number | null;
}

/** The options of this command alone. All others are those of `npm start` and apply to every net. */
const OWN_OPTIONS = { factors: 'string', seeds: 'string', out: 'string', full: 'boolean', help: 'boolean' } as const;

/** Options of `npm start` that this command rejects, and what to write instead. */
const REJECTED_OPTIONS: ReadonlyMap<string, string> = new Map(
  Object.entries({
    seed: 'write --seeds 0,1,2',
    'data-seed': 'each seed fixes the images too; write --seeds 0,1,2',
    se: 'the net without SE is a row of its own; leave it out',
    'no-se': 'the net without SE is a row of its own; leave it out',
    resume: 'the same command goes on where it stopped; leave it out',
    'detect-anomaly': 'find the NaN with npm start; leave it out',
    live: 'watch one run with npm start; leave it out',
  }),
);

const DEFAULT_MODEL = ['--model', 'resnet20'];
/** A limit of steps in place of whole epochs, so that the default plan takes a reasonable time. */
const DEFAULT_LENGTH = ['--max-steps', '300'];

/** The values of this command's own options, as text. */
type OwnValues = Partial<Record<keyof typeof OWN_OPTIONS, string>>;

/**
 * Parses the command line; returns null for `--help`.
 *
 * Throws: UsageError with a one-line message: option, expected, got, what to do
 */
export function planOf(args: readonly string[]): Plan | null {
  checkNpm(
    'ablation',
    [...Object.keys(OWN_OPTIONS), ...optionNames()].filter((name) => name !== 'help'),
  );
  const { own, rest } = split(args);
  if (own.help !== undefined) return null;
  const given = (name: string): boolean => rest.some((arg) => arg === name || arg.startsWith(`${name}=`));
  const defaults: string[] = [];
  if (!given('--model')) defaults.push(...DEFAULT_MODEL);
  if (!given('--epochs') && !given('--max-steps')) defaults.push(...DEFAULT_LENGTH);
  const command = parseCommand([...defaults, ...rest]);
  // The short -h, alone or within -hx.
  if (command.kind === 'help') return null;
  if (command.kind !== 'new') throw new TypeError('planOf: what starts no run is refused before');
  const { settings, threads } = command;
  const factors = factorsOf(own.factors, settings);
  const variants = own.full === undefined ? oneAtATime(factors, settings) : combinations(factors, settings);
  const without: Variant = { group: 'no attention', label: 'without SE', se: false, settings };
  return { dir: own.out ?? 'runs/ablation', seeds: seedsOf(own.seeds), variants: [without, ...variants], threads };
}

/** Separates the options of this command from the other arguments. */
function split(args: readonly string[]): { own: OwnValues; rest: string[] } {
  const options = Object.fromEntries(Object.entries(OWN_OPTIONS).map(([name, type]) => [name, { type }]));
  const { tokens } = parseArgs({ args: [...args], strict: false, tokens: true, options });
  const own: OwnValues = {};
  /** Indices of the arguments that belong to own options. */
  const taken = new Set<number>();
  for (const token of tokens) {
    if (token.kind !== 'option') continue;
    const { name, value, index, inlineValue } = token;
    const instead = REJECTED_OPTIONS.get(name);
    if (instead !== undefined) throw new UsageError(`--${name}: expected an option of the ablation, got one of a single run; ${instead}`);
    if (!isOwn(name)) continue;
    if (OWN_OPTIONS[name] === 'string' && (value === undefined || value === '' || value.startsWith('--'))) {
      const got = value === undefined ? 'nothing' : `'${value}'`;
      throw new UsageError(`--${name}: expected a value, got ${got}; --help says what it means`);
    }
    if (OWN_OPTIONS[name] === 'boolean' && value !== undefined) {
      throw new UsageError(`--${name}: expected no value, got '${value}'; write --${name} alone`);
    }
    own[name] = once(name, own[name], value ?? '');
    taken.add(index);
    if (value !== undefined && !inlineValue) taken.add(index + 1);
  }
  return { own, rest: args.filter((_, i) => !taken.has(i)) };
}

function isOwn(name: string): name is keyof typeof OWN_OPTIONS {
  return Object.hasOwn(OWN_OPTIONS, name);
}

/** Parses `--factors`; all factors that the model has if the option is missing. */
function factorsOf(text: string | undefined, { model }: Settings): Factor[] {
  const all = Object.keys(FACTORS) as Factor[];
  if (text === undefined) return all.filter((f) => model !== 'tiny' || f !== 'placement');
  const names = text.split(',');
  const stray = names.find((name) => !Object.hasOwn(FACTORS, name));
  if (stray !== undefined) {
    throw new UsageError(
      `--factors: expected some of ${all.join(', ')}, with commas between, got '${stray}'; for example --factors placement,gate`,
    );
  }
  if (model === 'tiny' && names.includes('placement')) {
    throw new UsageError(
      '--factors: expected --model resnet20, resnet32 or resnet56 beside placement, got --model tiny, which has no residual blocks; ' +
        'leave placement out',
    );
  }
  return all.filter((f) => names.includes(f));
}

/** Parses `--seeds`. */
function seedsOf(text = '0,1,2'): number[] {
  const seeds = text.split(',').map((t) => (/^\d+$/.test(t) ? Number(t) : Number.NaN));
  if (seeds.every((s) => Number.isSafeInteger(s))) return [...new Set(seeds)];
  const range = text.split(',').some(isTooLarge) ? `from 0 to ${Number.MAX_SAFE_INTEGER}` : '≥ 0';
  throw new UsageError(`--seeds: expected whole numbers ${range} with commas between, got '${text}'; for example --seeds 0,1,2`);
}

/** Varies one factor at a time and leaves the others at the standard. */
function oneAtATime(factors: readonly Factor[], standard: Settings): Variant[] {
  const variants: Variant[] = [];
  for (const factor of factors) {
    for (const value of FACTORS[factor]) {
      const isStandard = value === standard[factor];
      // The placement named standard needs no second mark.
      const label = isStandard && value !== 'standard' ? `${value} (standard)` : `${value}`;
      variants.push({ group: factor, label, se: true, settings: { ...standard, [factor]: value } });
    }
  }
  return variants;
}

/** Combines every value of each factor with every value of the others. The last factor varies fastest. */
function combinations(factors: readonly Factor[], standard: Settings): Variant[] {
  let partial: { labels: readonly string[]; settings: Settings }[] = [{ labels: [], settings: standard }];
  for (const factor of factors) {
    partial = partial.flatMap(({ labels, settings }) =>
      FACTORS[factor].map((value) => ({ labels: [...labels, `${value}`], settings: { ...settings, [factor]: value } })),
    );
  }
  const group = factors.join(' × ');
  return partial.map(({ labels, settings }) => ({ group, label: labels.join(' · '), se: true, settings }));
}

export function helpText(): string {
  return [
    'Trains nets that differ in one property of squeeze-and-excitation, over several seeds, and compares their test accuracy.',
    'By default one factor is varied at a time, around the standard net (placement standard, reduction 4, squeeze avg, gate sigmoid).',
    'Finished cells are stored in results.jsonl. To continue a run that was stopped or killed, repeat the command.',
    '',
    '  npm run ablation -- [options]',
    '',
    '  --factors LIST  factors to vary: some of placement,reduction,squeeze,gate (all that the model has)',
    '  --full          train every combination of their values, in place of one factor at a time',
    '  --seeds LIST    seeds; each determines weights, order and images (0,1,2)',
    '  --out DIR       folder of results, table and chart (runs/ablation)',
    '  --help          print this text',
    '',
    'All other options are those of npm start and apply to all nets: --model (resnet20 here), --max-steps (300 here), --epochs, --data, --threads, …',
  ].join('\n');
}

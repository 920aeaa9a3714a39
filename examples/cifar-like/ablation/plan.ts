/**
 * What an ablation compares: its options, and the variants that come of them.
 */
import { parseArgs } from 'node:util';
import { UsageError } from '../errors.ts';
import { GATES, parseCommand, type Settings, SQUEEZES } from '../options.ts';
import { PLACEMENTS } from '../resnet.ts';

/** What is varied, and between what. */
const FACTORS = { placement: PLACEMENTS, reduction: [2, 4, 8, 16], squeeze: SQUEEZES, gate: GATES } as const;

type Factor = keyof typeof FACTORS;

/** A row of the table: one kind of net, trained once for every seed. */
export interface Variant {
  /** Rows of a group stand together. */
  readonly group: string;
  readonly label: string;
  readonly se: boolean;
  readonly settings: Settings;
}

export interface Plan {
  readonly dir: string;
  readonly seeds: readonly number[];
  readonly variants: readonly Variant[];
  /** Null: as many as there are processors. */
  readonly threads: number | null;
}

/** Its own options; all others are those of `npm start` and set what every net has in common. */
const OWN = { factors: 'string', seeds: 'string', out: 'string', full: 'boolean', help: 'boolean' } as const;

/** Options of `npm start` that have no meaning here, and what takes their place. */
const REFUSED: Readonly<Record<string, string>> = {
  seed: 'write --seeds 0,1,2',
  'data-seed': 'each seed fixes the images too; write --seeds 0,1,2',
  se: 'the net without SE is a row of its own; leave it out',
  'no-se': 'the net without SE is a row of its own; leave it out',
  resume: 'the same command goes on where it stopped; leave it out',
  'detect-anomaly': 'find the NaN with npm start; leave it out',
};

/** A step limit in place of whole epochs, so that the default ends in reasonable time. */
const DEFAULTS = ['--model', 'resnet20', '--max-steps', '300'];

/** What the command line asks for; null: for help. Throws: UsageError, one line: option, expected, got, what to do */
export function planOf(args: readonly string[]): Plan | null {
  const { own, rest } = split(args);
  if (own.help !== undefined) return null;
  const given = (name: string): boolean => rest.some((arg) => arg === name || arg.startsWith(`${name}=`));
  const limited = given('--epochs') || given('--max-steps');
  const defaults = [...(given('--model') ? [] : DEFAULTS.slice(0, 2)), ...(limited ? [] : DEFAULTS.slice(2))];
  const command = parseCommand([...defaults, ...rest]);
  if (command.kind !== 'new') throw new TypeError('planOf: what starts no run is refused before');
  const { settings, threads } = command;
  const factors = factorsOf(own.factors, settings);
  const variants = own.full === undefined ? oneAtATime(factors, settings) : combinations(factors, settings);
  const without: Variant = { group: 'no attention', label: 'without SE', se: false, settings };
  return { dir: own.out ?? 'runs/ablation', seeds: seedsOf(own.seeds), variants: [without, ...variants], threads };
}

/** The options of this command, and the arguments that are left. */
function split(args: readonly string[]): { own: Partial<Record<keyof typeof OWN, string>>; rest: string[] } {
  const options = Object.fromEntries(Object.entries(OWN).map(([name, type]) => [name, { type }]));
  const { tokens } = parseArgs({ args: [...args], strict: false, tokens: true, options });
  const own: Partial<Record<keyof typeof OWN, string>> = {};
  const taken = new Set<number>();
  for (const token of tokens) {
    if (token.kind !== 'option') continue;
    const { name, value, index, inlineValue } = token;
    if (REFUSED[name] !== undefined)
      throw new UsageError(`--${name}: expected an option of the ablation, got one of a single run; ${REFUSED[name]}`);
    if (!Object.hasOwn(OWN, name)) continue;
    if (OWN[name as keyof typeof OWN] === 'string' && (value === undefined || value === '' || value.startsWith('--'))) {
      throw new UsageError(`--${name}: expected a value, got ${value === undefined ? 'nothing' : `'${value}'`}; --help says what it means`);
    }
    own[name as keyof typeof OWN] = value ?? '';
    taken.add(index);
    if (value !== undefined && !inlineValue) taken.add(index + 1);
  }
  return { own, rest: args.filter((_, i) => !taken.has(i)) };
}

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

function seedsOf(text = '0,1,2'): number[] {
  const seeds = text.split(',').map((t) => (/^\d+$/.test(t) ? Number(t) : Number.NaN));
  if (seeds.every((s) => Number.isSafeInteger(s))) return [...new Set(seeds)];
  throw new UsageError(`--seeds: expected whole numbers ≥ 0 with commas between, got '${text}'; for example --seeds 0,1,2`);
}

/** Around the standard, each factor by itself. */
function oneAtATime(factors: readonly Factor[], standard: Settings): Variant[] {
  return factors.flatMap((factor) =>
    FACTORS[factor].map((value) => ({
      group: factor,
      label: value === standard[factor] && value !== 'standard' ? `${value} (standard)` : `${value}`,
      se: true,
      settings: { ...standard, [factor]: value },
    })),
  );
}

/** Every value of each factor with every value of the others. */
function combinations(factors: readonly Factor[], standard: Settings): Variant[] {
  const start: { labels: readonly string[]; settings: Settings }[] = [{ labels: [], settings: standard }];
  const all = factors.reduce(
    (found, factor) =>
      found.flatMap(({ labels, settings }) =>
        FACTORS[factor].map((value) => ({ labels: [...labels, `${value}`], settings: { ...settings, [factor]: value } })),
      ),
    start,
  );
  return all.map(({ labels, settings }) => ({ group: factors.join(' × '), label: labels.join(' · '), se: true, settings }));
}

export function helpText(): string {
  return [
    'Trains nets that differ in one property of squeeze-and-excitation, over several seeds, and says how well they do.',
    'By default each factor is varied by itself around the standard net (placement standard, reduction 4, squeeze avg, gate sigmoid).',
    'A run that was stopped or killed goes on with the same command: cells that are done are in results.jsonl.',
    '',
    '  npm run ablation -- [options]',
    '',
    '  --factors LIST  which of placement,reduction,squeeze,gate to vary (all that the model has)',
    '  --full          every combination of them, in place of one at a time',
    '  --seeds LIST    each fixes weights, order and images (0,1,2)',
    '  --out DIR       where results, table and chart are kept (runs/ablation)',
    '  --help          this text',
    '',
    'The other options are those of npm start and hold for all nets: --model (resnet20 here), --max-steps (300 here), --epochs, --data, --threads, …',
  ].join('\n');
}

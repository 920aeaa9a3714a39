/**
 * The command line.
 */
import { parseArgs } from 'node:util';
import { UsageError } from '../cifar-like/errors.ts';
import { once } from '../cifar-like/options.ts';

export interface Options {
  readonly help: boolean;
  /** Fashion-MNIST, with and without squeeze-and-excitation, in place of MNIST. */
  readonly fashion: boolean;
  readonly seeds: readonly number[];
  /** The folder of the files; null: the default one. */
  readonly data: string | null;
  /** Steps of each training; null: the default of the dataset. */
  readonly steps: number | null;
}

export const HELP = `Trains on the 60,000 images of MNIST, from nothing to 99 % of the 10,000 test images.

  npm run mnist -- [options]

  --fashion        Fashion-MNIST, with and without squeeze-and-excitation
  --seeds LIST     for example 0-9, the default, or 3 or 1,4 (with --fashion the default is 0-4)
  --data DIR       the folder of the four IDX files, plain or as .gz
  --steps N        steps of each training: 400 by default, 2340 with --fashion
  --help           prints this

Exit code: 0 finished, 1 a seed is below 99 % or the data are missing, 2 wrong options.`;

/** The options and whether each has a value. */
const OPTIONS = {
  fashion: { type: 'boolean' },
  seeds: { type: 'string' },
  data: { type: 'string' },
  steps: { type: 'string' },
  help: { type: 'boolean' },
} as const;

export const OPTION_NAMES: readonly string[] = Object.keys(OPTIONS);

/** Throws: UsageError */
export function parseOptions(args: readonly string[]): Options {
  const { tokens, values } = parseArgs({ args: [...args], options: OPTIONS, strict: false, tokens: true });
  const given = new Map<string, string>();
  for (const token of tokens) {
    if (token.kind !== 'option')
      throw usage(`'${token.kind === 'positional' ? token.value : '--'}'`, 'options that begin with --', 'another word');
    checkOption(token);
    given.set(token.name, once(token.name, given.get(token.name), token.value ?? ''));
  }
  const { fashion, help, seeds, data, steps } = values;
  return {
    help: help === true,
    fashion: fashion === true,
    seeds: seedsOf(String(seeds ?? (fashion === true ? '0-4' : '0-9'))),
    data: data === undefined ? null : String(data),
    steps: steps === undefined ? null : stepsOf(String(steps)),
  };
}

function checkOption({ name, rawName, value }: { name: string; rawName: string; value: string | undefined }): void {
  if (!OPTION_NAMES.includes(name)) throw usage(rawName, `one of --${OPTION_NAMES.join(' --')}`, 'an unknown option');
  const isFlag = OPTIONS[name as keyof typeof OPTIONS].type === 'boolean';
  if (isFlag && value !== undefined) throw usage(rawName, 'no value', `'${value}'`);
  if (!isFlag && (value ?? '') === '') throw usage(rawName, 'a value', 'none');
}

function usage(option: string, expected: string, got: string): UsageError {
  return new UsageError(`${option}: expected ${expected}, got ${got}; --help lists the options`);
}

/** The seeds of a list such as `0-9` or `1,4,7-8`, each once. */
function seedsOf(text: string): number[] {
  const seeds = text.split(',').flatMap((part) => {
    const [, from, to = from] = /^(\d{1,6})(?:-(\d{1,6}))?$/.exec(part) ?? [];
    const count = Number(to) - Number(from) + 1;
    if (!(count >= 1 && count <= 1000)) throw usage('--seeds', 'a list such as 0-9 or 1,4', `'${text}'`);
    return Array.from({ length: count }, (_, i) => Number(from) + i);
  });
  return [...new Set(seeds)];
}

function stepsOf(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw usage('--steps', 'a whole number from 1 on', `'${text}'`);
}

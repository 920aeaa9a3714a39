/**
 * The same work in several libraries: each measurement is a process of its own, and the libraries take turns.
 *
 * Every process computes with the same operands and returns samples of its result, which are compared with ours. A time of a wrong result would
 * mean nothing.
 */
import { spawnSync } from 'node:child_process';
import { cpus } from 'node:os';
import { fileURLToPath } from 'node:url';
import type { Case } from '../case.ts';
import { kernelCases } from '../kernels.ts';
import { median } from '../measure.ts';
import { stepCases } from '../steps.ts';
import { PYTHONS, TUNED } from './torch.ts';

/** The peers that have a script. */
export const SCRIPTS = ['jax-js', 'onnxruntime-web', 'tfjs', 'numpy-ts'] as const;

/** The cases that are compared. */
const CASES = [
  'matmul 512³',
  'matmul 1024³',
  'conv 16→16 @32² forward',
  'conv 16→16 @32² gradX',
  'conv 16→16 @32² gradW',
  'tiny SE-CNN step, batch 64',
];

/** Exit status of a script whose package is not installed. */
const NOT_INSTALLED = 3;
/** How far results may differ, relative to the largest number of the list. */
const TOLERANCE = 1e-3;
/** A peer that needs more seconds is measured in the first round only. */
const SLOW = 5;

/** The JSON that a script prints. `seconds` is null if the library does not have the case; `how` names the fastest of its ways. */
interface Answer {
  readonly version: string | null;
  readonly how: string;
  readonly seconds: number | null;
  readonly median: number;
  readonly values: readonly (readonly number[])[];
}

/** A library with its settings. */
interface Participant {
  readonly name: string;
  readonly threads: number;
  /** Runs its script with a request as standard input; returns null if the library is not installed. */
  readonly ask: (request: string) => Answer | null;
}

/** What all rounds measured of one participant in one case. */
export interface Comparison {
  readonly case: string;
  readonly participant: string;
  readonly version: string | null;
  readonly how: string;
  readonly seconds: number;
  readonly median: number;
}

const fileOf = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/** Runs a script; returns the lines it prints, or null if the library is not installed. */
function run(command: string, args: readonly string[], input: string, env: Readonly<Record<string, string>>): string[] | null {
  const { status, stdout, stderr, error } = spawnSync(command, args, { input, encoding: 'utf8', env: { ...process.env, ...env } });
  const isMissing = error !== undefined && 'code' in error && error.code === 'ENOENT';
  if (isMissing || status === NOT_INSTALLED) return null;
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`${args.at(-1)} ended with status ${status}:\n${stderr.slice(-2000)}`);
  return stdout.trim().split('\n');
}

function ours(threads: number, isTurbo: boolean): Participant {
  const env = { CHAINRULE_TURBO: isTurbo ? '1' : '0' };
  const ask = (request: string): Answer => {
    const lines = run(process.execPath, ['--import', 'tsx', fileOf('./ours-peer.ts')], request, env);
    return JSON.parse(lines![0]!) as Answer;
  };
  return { name: `ours${isTurbo ? ', turbo' : ''}, ${threads} ${threads === 1 ? 'thread' : 'threads'}`, threads, ask };
}

function script(peer: (typeof SCRIPTS)[number], threads: number): Participant {
  const ask = (request: string): Answer | null => {
    const lines = run(process.execPath, [fileOf(`./${peer}-peer.mjs`)], request, {});
    return lines === null ? null : (JSON.parse(lines.at(-1)!) as Answer);
  };
  return { name: peer, threads, ask };
}

/** PyTorch with tuned malloc, in the faster of its memory formats. */
function torch(threads: number): Participant {
  const ask = (request: string): Answer | null => {
    for (const python of PYTHONS) {
      const lines = run(python, [fileOf('./torch-peer.py')], `${request}\n`, TUNED);
      if (lines === null) continue;
      const { version, blas } = JSON.parse(lines[0]!) as { version: string; blas: string };
      return { how: blas, ...(JSON.parse(lines[1]!) as Omit<Answer, 'how' | 'version'>), version };
    }
    return null;
  };
  return { name: 'torch', threads, ask };
}

/** Throws an error if the samples of a result differ from ours. */
function check(participant: Participant, c: Case, values: Answer['values'], expected: Answer['values']): void {
  expected.forEach((list, i) => {
    const largest = Math.max(...list.map(Math.abs));
    list.forEach((v, j) => {
      const got = values[i]?.[j];
      if (got === undefined || !(Math.abs(got - v) <= TOLERANCE * largest)) {
        throw new Error(`${participant.name}, ${c.name}: sample ${j} of list ${i} is ${got}, ours is ${v} (largest ${largest})`);
      }
    });
  });
}

const text = (s: number): string => `${(s * 1000).toFixed(s < 1 ? 2 : 0)} ms`;

/** Runs a case in all participants, in turns; returns a result for each that has it. Leaves those that are not installed out. */
function compareCase(c: Case, participants: readonly Participant[], seconds: number, rounds: number): Comparison[] {
  const answers = new Map<Participant, Answer[]>(participants.map((p) => [p, []]));
  let expected: Answer['values'] | null = null;
  for (let round = 0; round < rounds; round++) {
    for (const p of participants) {
      const before = answers.get(p)!;
      if (round > 0 && (before.length === 0 || before[0]!.seconds! > SLOW)) continue;
      const answer = p.ask(JSON.stringify({ ...c.peer, name: c.name, threads: p.threads, seconds, check: true }));
      if (answer === null || answer.seconds === null) continue;
      expected ??= answer.values;
      check(p, c, answer.values, expected);
      before.push(answer);
    }
  }
  return participants
    .map((p) => ({ p, all: answers.get(p)!.toSorted((a, b) => a.seconds! - b.seconds!) }))
    .filter(({ all }) => all.length > 0)
    .map(({ p, all }) => ({
      case: c.name,
      participant: p.name,
      version: all[0]!.version,
      how: all[0]!.how,
      seconds: all[0]!.seconds!,
      median: median(all.map((a) => a.median)),
    }));
}

export interface ComparisonOptions {
  /** Names of peers: `torch` and those in SCRIPTS. */
  readonly peers: readonly string[];
  /** Numbers of threads of ours. The peers and turbo have the largest. */
  readonly counts: readonly number[];
  readonly filter: string;
  /** Seconds per measurement. */
  readonly seconds: number;
  /** How often every participant is measured. */
  readonly rounds: number;
}

/** Compares the cases whose name contains `filter`; prints each result as a line, and tables of all in Markdown at the end. */
export function compare({ peers, counts, filter, seconds, rounds }: ComparisonOptions, print: (text: string) => void): Comparison[] {
  const most = Math.max(...counts);
  const participants = [
    ...counts.map((threads) => ours(threads, false)),
    ours(most, true),
    ...(peers.includes('torch') ? [torch(most)] : []),
    ...SCRIPTS.filter((p) => peers.includes(p)).map((p) => script(p, most)),
  ];
  const reference = ours(most, false).name;
  print(`${cpus()[0]!.model}, ${cpus().length} processors, Node ${process.versions.node}; ratios to: ${reference}`);
  const results: Comparison[] = [];
  for (const c of [...kernelCases, ...stepCases].filter(({ name }) => CASES.includes(name) && name.includes(filter))) {
    const ofCase = compareCase(c, participants, seconds, rounds);
    results.push(...ofCase);
    const unit = ofCase.find((r) => r.participant === reference)!.seconds;
    print(`\n| ${c.name} | shortest | median | ratio | |\n|---|---:|---:|---:|---|`);
    for (const r of ofCase) {
      print(
        `| ${r.version === null ? r.participant : `${r.participant} ${r.version}`} | ${text(r.seconds)} | ${text(r.median)} | ${(r.seconds / unit).toFixed(2)} | ${r.how} |`,
      );
    }
  }
  for (const { name } of participants.filter((p) => !results.some((r) => r.participant === p.name))) {
    print(`\n${name}: not installed, or has none of these cases`);
  }
  return results;
}

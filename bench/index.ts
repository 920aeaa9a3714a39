/**
 * npm run bench -- [--filter text] [--group name] [--threads 1,2] [--peers torch,jax-js,…|none] [--seconds per case] [--rounds 3] [--json]
 *
 * Times kernels, operations and training steps. Prints the shortest and the median time, the arithmetic or memory traffic per
 * second, and its share of the machine's limit, which is measured in the same run. The same work in PyTorch is timed in between.
 */
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { getNumThreads, getTurbo, memory, noGrad, randn, setNumThreads } from 'chainrule';
import type { FloatDType } from '../src/core/dtype.ts';
import type { Case } from './case.ts';
import { kernelCases } from './kernels.ts';
import { median, times } from './measure.ts';
import { opCases } from './ops.ts';
import { peakProbe } from './peak.ts';
import { SCRIPTS, compare } from './peers/comparison.ts';
import { TorchPeer } from './peers/torch.ts';
import { stepCases } from './steps.ts';

interface Result {
  readonly group: string;
  readonly name: string;
  readonly threads: number;
  /** Shortest and median time in seconds; for a case of `ops`, the time of one operation. */
  readonly seconds: number;
  readonly median: number;
  /** GFLOP/s, GB/s or images/s; null for `ops`. */
  readonly rate: number | null;
  /** Share of the machine's peak or bandwidth; null for images and `ops`. */
  readonly share: number | null;
  /** Peak of the memory in use, in bytes. */
  readonly peakBytes: number;
  /** PyTorch's shortest time in seconds: with default settings, and with a malloc that reuses freed memory. */
  readonly torch: number | null;
  readonly torchTuned: number | null;
}

/** Limits of the machine on `threads` threads. */
interface Limits {
  readonly threads: number;
  readonly gflops: Readonly<Record<FloatDType, number>>;
  /** Bytes read and written per second while copying an activation of 4 MB, in GB/s. */
  readonly copy: number;
}

const { values: options } = parseArgs({
  options: {
    filter: { type: 'string', default: '' },
    group: { type: 'string', default: '' },
    threads: { type: 'string', default: '1,2' },
    peers: { type: 'string', default: 'torch' },
    seconds: { type: 'string', default: '0.4' },
    rounds: { type: 'string', default: '3' },
    json: { type: 'boolean', default: false },
  },
});
const seconds = Number(options.seconds);
const counts = options.threads.split(',').map(Number);
const rounds = Number(options.rounds);
if (!(seconds > 0) || ![...counts, rounds].every((n) => Number.isInteger(n) && n > 0)) {
  process.stderr.write('--seconds must be a number > 0, --threads counts ≥ 1 such as 1,2, --rounds a count ≥ 1\n');
  process.exit(2);
}

const print = (text: string): void => {
  if (!options.json) process.stdout.write(`${text}\n`);
};

/** Seconds spent on measuring the peak. If it came out too low, every share would look too good. */
const PROBE_SECONDS = 2;

/** Measures the limits of the machine. */
function probe(threads: number): Limits {
  setNumThreads(threads);
  const peak = (dtype: FloatDType): number => {
    const { flops, run, free } = peakProbe(dtype, threads);
    const best = Math.min(...times(run, PROBE_SECONDS));
    free();
    return flops / best / 1e9;
  };
  const x = randn([64, 16, 32, 32]).keep();
  const copySeconds = Math.min(...times(() => noGrad(() => void x.clone()), seconds));
  const copy = (2 * 4 * x.numel) / copySeconds / 1e9;
  x.dispose();
  return { threads, gflops: { float32: peak('float32'), float64: peak('float64') }, copy };
}

/** Returns the rate, and its share of the machine's limit. */
function rateOf(c: Case, best: number, limits: Limits): { rate: number | null; share: number | null } {
  const { kind, amount } = c.work;
  switch (kind) {
    case 'ops':
      return { rate: null, share: null };
    case 'images':
      return { rate: amount / best, share: null };
    case 'flops': {
      const rate = amount / best / 1e9;
      return { rate, share: rate / limits.gflops[c.dtype] };
    }
    case 'bytes': {
      const rate = amount / best / 1e9;
      return { rate, share: rate / limits.copy };
    }
  }
}

/** Times our code, the peers and our code again, so that a slow phase of the machine affects all of them. */
async function measure(c: Case, limits: Limits, peers: readonly TorchPeer[]): Promise<Result> {
  setNumThreads(limits.threads);
  const { run, free } = c.prepare();
  memory({ resetPeak: true });
  const before = times(run, seconds / 2);
  const peerSeconds: (number | null)[] = [];
  for (const p of peers) peerSeconds.push(await p.seconds(c, limits.threads, seconds));
  const all = [...before, ...times(run, seconds / 2)];
  const { peakBytes } = memory();
  free();
  /** How many times a run does what is reported. */
  const repeats = c.work.kind === 'ops' ? c.work.amount : 1;
  const perOperation = (t: number | null | undefined): number | null => (t === null || t === undefined ? null : t / repeats);
  const best = Math.min(...all);
  return {
    group: c.group,
    name: c.name,
    threads: limits.threads,
    seconds: best / repeats,
    median: median(all) / repeats,
    ...rateOf(c, best, limits),
    peakBytes,
    torch: perOperation(peerSeconds[0]),
    torchTuned: perOperation(peerSeconds[1]),
  };
}

/** Returns a time as text: `12.34 µs`, `12.345 ms`, `123 ms`. */
function time(s: number): string {
  if (s < 1e-4) return `${(s * 1e6).toFixed(2)} µs`;
  return `${(s * 1000).toFixed(s < 0.1 ? 3 : 0)} ms`;
}

/** A line of the table. */
interface TableRow {
  readonly name: string;
  readonly threads: string;
  readonly shortest: string;
  readonly median: string;
  readonly rate: string;
  readonly share: string;
  readonly torch: string;
  readonly torchTuned: string;
  readonly ratio: string;
}

/** Returns a line of the table with aligned columns. */
function aligned(row: TableRow): string {
  return [
    row.name.padEnd(49).slice(0, 60),
    row.threads.padStart(2),
    row.shortest.padStart(13),
    row.median.padStart(13),
    row.rate.padStart(9),
    row.share.padStart(7),
    row.torch.padStart(12),
    row.torchTuned.padStart(12),
    row.ratio.padStart(8),
  ].join('');
}

const HEADING: TableRow = {
  name: 'case',
  threads: 'n',
  shortest: 'shortest',
  median: 'median',
  rate: 'rate',
  share: 'share',
  torch: 'PyTorch',
  torchTuned: 'tuned',
  ratio: 'ours/it',
};

function tableRow(r: Result): TableRow {
  const fastestTorch = Math.min(r.torch ?? Infinity, r.torchTuned ?? Infinity);
  return {
    name: r.name,
    threads: String(r.threads),
    shortest: time(r.seconds),
    median: time(r.median),
    rate: rateText(r),
    share: r.share === null ? '' : `${(100 * r.share).toFixed(0)} %`,
    torch: r.torch === null ? '' : time(r.torch),
    torchTuned: r.torchTuned === null ? '' : time(r.torchTuned),
    ratio: fastestTorch === Infinity ? '' : (r.seconds / fastestTorch).toFixed(2),
  };
}

function rateText({ rate, share }: Result): string {
  if (rate === null) return '';
  // Only images have a rate without a share.
  return share === null ? `${rate.toFixed(0)}/s` : rate.toFixed(1);
}

/**
 * Measures the start-up time in milliseconds: a process that imports the package as built in dist and multiplies two matrices,
 * less a process that does nothing. Returns the difference of the shortest times.
 */
function startUp(): number {
  const run = (code: string): number => {
    const start = performance.now();
    const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', code], { encoding: 'utf8' });
    if (status !== 0) throw new Error(stderr);
    return performance.now() - start;
  };
  const entry = new URL('../dist/index.js', import.meta.url).href;
  const code = `const { randn } = await import('${entry}'); randn([64, 64]).matmul(randn([64, 64])).item === undefined && process.exit(1);`;
  const shortest = (program: string): number => Math.min(...Array.from({ length: 7 }, () => run(program)));
  return shortest(code) - shortest('0');
}

/** Describes the kernels in use. */
function kernelsInUse(): string {
  const { vectorBits, fusedMultiplyAdd, declined } = getTurbo();
  const kinds = [`vectors of ${vectorBits} bits`, fusedMultiplyAdd ? 'fused multiply-adds' : 'separate multiplications and additions'];
  return [kinds.join(', '), ...declined].join('; ');
}

function printHead(limits: readonly Limits[], torch: TorchPeer | null): void {
  print(`Node ${process.versions.node}, ${kernelsInUse()}`);
  for (const { threads, gflops, copy } of limits) {
    const { float32, float64 } = gflops;
    const peak = `peak ${float32.toFixed(1)} GFLOP/s in float32, ${float64.toFixed(1)} in float64`;
    print(`${threads} ${threads === 1 ? 'thread' : 'threads'}: ${peak}; copying ${copy.toFixed(1)} GB/s`);
  }
  if (torch === null) print('PyTorch: not measured');
  else print(`PyTorch ${torch.version} (BLAS: ${torch.blas}), the faster of its two memory formats`);
  print(aligned(HEADING));
}

/** Runs the cases that `--filter` and `--group` choose, with PyTorch beside them where `wanted` names it. */
async function measureAll(chosen: readonly Case[], wanted: readonly string[]) {
  const withTorch = wanted.includes('torch');
  const plain = withTorch ? await TorchPeer.start({ tuned: false }) : null;
  const tuned = withTorch ? await TorchPeer.start({ tuned: true }) : null;
  const peers = [plain, tuned].filter((p) => p !== null);
  const initial = getNumThreads();
  const limits = counts.map(probe);
  printHead(limits, plain);
  const results: Result[] = [];
  for (const c of chosen) {
    for (const l of limits) {
      const result = await measure(c, l, peers);
      results.push(result);
      print(aligned(tableRow(result)));
    }
  }
  setNumThreads(initial);
  for (const p of peers) p.stop();
  const isComplete = options.filter === '' && options.group === '';
  const startUpMs = isComplete ? startUp() : null;
  if (startUpMs !== null) print(`from import to the first product of matrices: ${startUpMs.toFixed(0)} ms`);
  const torch = plain === null ? null : { version: plain.version, blas: plain.blas };
  return { limits, torch, results, startUpMs };
}

async function main(): Promise<void> {
  const { filter, group } = options;
  const wanted = options.peers.split(',');
  const chosen = [...kernelCases, ...opCases, ...stepCases].filter((c) => c.name.includes(filter) && c.group.includes(group));
  const measured = chosen.length > 0 ? await measureAll(chosen, wanted) : {};
  const isCompared = 'comparison'.includes(group) && SCRIPTS.some((p) => wanted.includes(p));
  const comparison = isCompared ? compare({ peers: wanted, counts, filter, seconds, rounds }, print) : [];
  if (options.json) {
    process.stdout.write(`${JSON.stringify({ node: process.version, turbo: getTurbo(), ...measured, comparison }, null, 2)}\n`);
  }
}

await main();

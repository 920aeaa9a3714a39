/**
 * npm run bench -- [--filter text] [--group name] [--threads 1,2] [--peers torch,tfjs,jax-js|none] [--seconds per case] [--json]
 *
 * Times kernels, operations and training steps: shortest and median time, arithmetic or traffic per second and its share of
 * what the machine can do, probed in the same run, and the same work in PyTorch, measured in between.
 */
import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { getNumThreads, memory, noGrad, randn, setNumThreads } from 'chainrule';
import type { FloatDType } from '../src/core/dtype.ts';
import type { Case } from './case.ts';
import { kernelCases, peakProbe } from './kernels.ts';
import { median, times } from './measure.ts';
import { opCases } from './ops.ts';
import { SCRIPTS, runScript } from './peers/script.ts';
import { TorchPeer } from './peers/torch.ts';
import { stepCases } from './steps.ts';

interface Result {
  readonly group: string;
  readonly name: string;
  readonly threads: number;
  /** Shortest and median seconds; for `ops`, of one of them. */
  readonly seconds: number;
  readonly median: number;
  /** GFLOP/s, GB/s or images/s; null for `ops`. */
  readonly rate: number | null;
  /** Share of the probed peak or bandwidth; null for what has none. */
  readonly share: number | null;
  /** The most bytes that lived at once. */
  readonly peakBytes: number;
  /** PyTorch's shortest seconds: as it comes, and with malloc told to keep memory. */
  readonly torch: number | null;
  readonly torchTuned: number | null;
}

/** What the machine can do with `threads` threads. */
interface Limits {
  readonly threads: number;
  readonly gflops: Readonly<Record<FloatDType, number>>;
  /** Bytes read and written per second by copying an activation of 4 MB, in GB/s. */
  readonly copy: number;
}

const { values: options } = parseArgs({
  options: {
    filter: { type: 'string', default: '' },
    group: { type: 'string', default: '' },
    threads: { type: 'string', default: '1,2' },
    peers: { type: 'string', default: 'torch' },
    seconds: { type: 'string', default: '0.4' },
    json: { type: 'boolean', default: false },
  },
});
const seconds = Number(options.seconds);
const counts = options.threads.split(',').map(Number);
if (!(seconds > 0) || !counts.every((n) => Number.isInteger(n) && n > 0)) {
  process.stderr.write('--seconds must be a number > 0, --threads counts ≥ 1 such as 1,2\n');
  process.exit(2);
}

const print = (text: string): void => {
  if (!options.json) process.stdout.write(`${text}\n`);
};

/** Seconds to look for the peak: what is too low here flatters every share. */
const PROBE_SECONDS = 2;

function probe(threads: number): Limits {
  setNumThreads(threads);
  const peak = (dtype: FloatDType): number => {
    const { flops, run, free } = peakProbe(dtype, threads);
    const best = Math.min(...times(run, PROBE_SECONDS));
    free();
    return flops / best / 1e9;
  };
  const x = randn([64, 16, 32, 32]).keep();
  const copy = (2 * 4 * x.numel) / Math.min(...times(() => noGrad(() => void x.clone()), seconds)) / 1e9;
  x.dispose();
  return { threads, gflops: { float32: peak('float32'), float64: peak('float64') }, copy };
}

/** Rate, and its share of what the machine can do. */
function yardstick(c: Case, best: number, limits: Limits): { rate: number | null; share: number | null } {
  const { kind, amount } = c.work;
  if (kind === 'ops') return { rate: null, share: null };
  const rate = amount / best / (kind === 'images' ? 1 : 1e9);
  if (kind === 'images') return { rate, share: null };
  return { rate, share: rate / (kind === 'flops' ? limits.gflops[c.dtype] : limits.copy) };
}

/** Ours, the peers, ours again: what slows the machine down for a while slows all of them. */
async function measure(c: Case, limits: Limits, peers: readonly TorchPeer[]): Promise<Result> {
  setNumThreads(limits.threads);
  const { run, free } = c.prepare();
  memory({ resetPeak: true });
  const before = times(run, seconds / 2);
  const theirs: (number | null)[] = [];
  for (const p of peers) theirs.push(await p.seconds(c, limits.threads, seconds));
  const all = [...before, ...times(run, seconds / 2)];
  const { peakBytes } = memory();
  free();
  const per = c.work.kind === 'ops' ? c.work.amount : 1;
  const best = Math.min(...all);
  return {
    group: c.group,
    name: c.name,
    threads: limits.threads,
    seconds: best / per,
    median: median(all) / per,
    ...yardstick(c, best, limits),
    peakBytes,
    torch: theirs[0] === undefined || theirs[0] === null ? null : theirs[0] / per,
    torchTuned: theirs[1] === undefined || theirs[1] === null ? null : theirs[1] / per,
  };
}

function time(s: number): string {
  return s < 1e-4 ? `${(s * 1e6).toFixed(2)} µs` : `${(s * 1000).toFixed(s < 0.1 ? 3 : 0)} ms`;
}

function line(r: Result): string {
  const rate = r.rate === null ? '' : r.share === null ? `${r.rate.toFixed(0)}/s` : r.rate.toFixed(1);
  const share = r.share === null ? '' : `${(100 * r.share).toFixed(0)} %`;
  const torch = [r.torch, r.torchTuned].map((t) => (t === null ? '' : time(t)).padStart(12)).join('');
  const fastest = Math.min(r.torch ?? Infinity, r.torchTuned ?? Infinity);
  const ratio = fastest === Infinity ? '' : (r.seconds / fastest).toFixed(2);
  return `${r.name.padEnd(44).slice(0, 60)}${String(r.threads).padStart(2)}${time(r.seconds).padStart(13)}${time(r.median).padStart(13)}${rate.padStart(9)}${share.padStart(7)}${torch}${ratio.padStart(8)}`;
}

/** Milliseconds from the start of a process to its first product of matrices with the package as built in dist, less those of one that does nothing. */
function startUp(): number {
  const run = (code: string): number => {
    const begun = performance.now();
    const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', code], { encoding: 'utf8' });
    if (status !== 0) throw new Error(stderr);
    return performance.now() - begun;
  };
  const entry = new URL('../dist/index.js', import.meta.url).href;
  const code = `const { randn } = await import('${entry}'); randn([64, 64]).matmul(randn([64, 64])).item === undefined && process.exit(1);`;
  const best = (code: string): number => Math.min(...Array.from({ length: 7 }, () => run(code)));
  return best(code) - best('0');
}

async function main(): Promise<void> {
  const wanted = options.peers.split(',');
  const [plain, tuned] = wanted.includes('torch')
    ? [await TorchPeer.start({ tuned: false }), await TorchPeer.start({ tuned: true })]
    : [null, null];
  const peers = [plain, tuned].filter((p) => p !== null);
  const initial = getNumThreads();
  const limits = counts.map(probe);
  for (const l of limits) {
    print(
      `${l.threads} ${l.threads === 1 ? 'thread' : 'threads'}: peak ${l.gflops.float32.toFixed(1)} GFLOP/s in float32, ${l.gflops.float64.toFixed(1)} in float64; copying ${l.copy.toFixed(1)} GB/s`,
    );
  }
  print(plain === null ? 'PyTorch: not measured' : `PyTorch ${plain.version} (BLAS: ${plain.blas}), the faster of its two memory formats`);
  print(
    `${'case'.padEnd(44)} n${'shortest'.padStart(13)}${'median'.padStart(13)}${'rate'.padStart(9)}${'share'.padStart(7)}${'PyTorch'.padStart(12)}${'tuned'.padStart(12)}${'ours/it'.padStart(8)}`,
  );
  const chosen = [...kernelCases, ...opCases, ...stepCases].filter(
    (c) => c.name.includes(options.filter) && c.group.includes(options.group),
  );
  const results: Result[] = [];
  for (const c of chosen) {
    for (const l of limits) {
      const result = await measure(c, l, peers);
      results.push(result);
      print(line(result));
    }
  }
  setNumThreads(initial);
  for (const p of peers) p.stop();
  const startUpMs = options.filter === '' && options.group === '' ? startUp() : null;
  if (startUpMs !== null) print(`from import to the first product of matrices: ${startUpMs.toFixed(0)} ms`);
  const scripts = SCRIPTS.filter((p) => wanted.includes(p)).map((peer) => ({ peer, result: runScript(peer) }));
  for (const { peer, result } of scripts) {
    print(
      `${peer}, tiny SE-CNN step, batch 64: ${result === null ? 'not installed' : `${time(result.seconds)}${result.version === null ? '' : ` (version ${result.version})`}`}`,
    );
  }
  if (options.json) {
    const torch = plain === null ? null : { version: plain.version, blas: plain.blas };
    process.stdout.write(`${JSON.stringify({ node: process.version, limits, torch, results, startUpMs, scripts }, null, 2)}\n`);
  }
}

await main();

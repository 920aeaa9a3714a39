/**
 * npm run bench -- [--filter text] [--json] [--no-peer] [--seconds per case]
 *
 * Times the kernels on one core: each case's shortest time, its arithmetic per second, its share of the SIMD peak that a
 * multiply-add loop reaches in the same run, and PyTorch's time on one core where python3 has torch.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { FloatDType } from '../src/core/dtype.ts';
import { setNumThreads } from '../src/kernels/threads.ts';
import { kernelCases, peakProbe } from './kernels.ts';
import { fastest } from './measure.ts';

interface Result {
  readonly name: string;
  readonly seconds: number;
  readonly gflops: number;
  /** Share of the probed peak of its dtype. */
  readonly ofPeak: number;
  /** PyTorch's seconds; null where it was not measured. */
  readonly torch: number | null;
}

function probe(dtype: FloatDType): number {
  const { flops, run, free } = peakProbe(dtype);
  const gflops = flops / fastest(run, Number(options.seconds)) / 1e9;
  free();
  return gflops;
}

/** Where to look for PyTorch: $PYTHON, the python3 of the path, that of the system. */
const PYTHONS = [process.env.PYTHON ?? 'python3', '/usr/bin/python3'];

/** What torch-peer.py prints. */
interface Torch {
  readonly version: string;
  readonly blas: string;
  readonly seconds: Record<string, number>;
}

/** PyTorch's times, or why there are none. */
function runTorch(names: readonly string[]): Torch | string {
  const script = fileURLToPath(new URL('./torch-peer.py', import.meta.url));
  for (const python of PYTHONS) {
    const { status, stdout, error } = spawnSync(python, [script, ...names], { encoding: 'utf8' });
    if (status === 0) return JSON.parse(stdout) as Torch;
    // The script ends with status 3 where it cannot import torch.
    if (error === undefined && status !== 3) return `torch-peer.py ended with status ${status}`;
  }
  return `not installed (tried ${PYTHONS.join(' and ')})`;
}

function milliseconds(seconds: number): string {
  return `${(seconds * 1000).toFixed(3)} ms`.padStart(12);
}

function line(r: Result): string {
  const torch = r.torch === null ? '' : `${milliseconds(r.torch)}  ${(r.torch / r.seconds).toFixed(2)}×`;
  const share = `${(100 * r.ofPeak).toFixed(0)} %`;
  return `${r.name.padEnd(34)}${milliseconds(r.seconds)}${r.gflops.toFixed(1).padStart(9)}${share.padStart(9)}${torch}`;
}

const { values: options } = parseArgs({
  options: {
    filter: { type: 'string', default: '' },
    json: { type: 'boolean', default: false },
    'no-peer': { type: 'boolean', default: false },
    seconds: { type: 'string', default: '0.4' },
  },
});
const print = (text: string): void => {
  if (!options.json) process.stdout.write(`${text}\n`);
};

setNumThreads(1);
const cases = kernelCases.filter((c) => c.name.includes(options.filter));
const torch = options['no-peer'] ? 'not asked for' : runTorch(cases.map((c) => c.name));
const peak = { float32: probe('float32'), float64: probe('float64') };
print(`one core's peak: float32 ${peak.float32.toFixed(1)} GFLOP/s, float64 ${peak.float64.toFixed(1)} GFLOP/s`);
print(
  typeof torch === 'string'
    ? `PyTorch: ${torch}`
    : `last columns: the time of PyTorch ${torch.version} (BLAS: ${torch.blas}) on one core, and how many times ours it is`,
);
print(`${' '.repeat(34)}${'time'.padStart(12)}${'GFLOP/s'.padStart(9)}${'of peak'.padStart(9)}`);

const results = cases.map((c): Result => {
  const { run, free } = c.prepare();
  const seconds = fastest(run, Number(options.seconds));
  free();
  const gflops = c.flops / seconds / 1e9;
  const peer = typeof torch === 'string' ? null : (torch.seconds[c.name] ?? null);
  const result = { name: c.name, seconds, gflops, ofPeak: gflops / peak[c.dtype], torch: peer };
  print(line(result));
  return result;
});
if (options.json) process.stdout.write(`${JSON.stringify({ node: process.version, peak, torch, results }, null, 2)}\n`);

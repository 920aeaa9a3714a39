/**
 * npm run bench -- [--filter text] [--json] [--no-peer]
 *
 * Times the kernels on one core: each case's shortest time, its arithmetic per second, its share of the SIMD peak that a
 * multiply-add loop reaches in the same run, and PyTorch's time on one core where python3 has torch.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { FloatDType } from '../src/core/dtype.ts';
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
  const gflops = flops / fastest(run) / 1e9;
  free();
  return gflops;
}

/** PyTorch's seconds by case name, or why there are none. */
function torchTimes(names: readonly string[]): Record<string, number> | string {
  const script = fileURLToPath(new URL('./torch-peer.py', import.meta.url));
  const { status, stdout, error } = spawnSync('python3', [script, ...names], { encoding: 'utf8' });
  if (error !== undefined) return 'python3 is not installed';
  if (status === 3) return 'PyTorch is not installed (no module torch)';
  if (status !== 0) return `torch-peer.py ended with status ${status}`;
  return JSON.parse(stdout) as Record<string, number>;
}

function milliseconds(seconds: number): string {
  return `${(seconds * 1000).toFixed(3)} ms`.padStart(12);
}

function line(r: Result): string {
  const torch = r.torch === null ? '' : `${milliseconds(r.torch)}  ${(r.torch / r.seconds).toFixed(2)}×`;
  return `${r.name.padEnd(34)}${milliseconds(r.seconds)}${r.gflops.toFixed(1).padStart(8)}${`${(100 * r.ofPeak).toFixed(0)} %`.padStart(8)}${torch}`;
}

const { values: options } = parseArgs({
  options: { filter: { type: 'string', default: '' }, json: { type: 'boolean', default: false }, 'no-peer': { type: 'boolean', default: false } },
});
const print = (text: string): void => {
  if (!options.json) process.stdout.write(`${text}\n`);
};

const cases = kernelCases.filter((c) => c.name.includes(options.filter));
const torch = options['no-peer'] ? 'not asked for' : torchTimes(cases.map((c) => c.name));
const peak = { float32: probe('float32'), float64: probe('float64') };
print(`one core's peak: float32 ${peak.float32.toFixed(1)} GFLOP/s, float64 ${peak.float64.toFixed(1)} GFLOP/s`);
print(typeof torch === 'string' ? `PyTorch: ${torch}` : "last columns: PyTorch's time on one core, and how many times ours it is");
print(`${''.padEnd(34)}${'time'.padStart(12)}${'GFLOP/s'.padStart(8)}${'of peak'.padStart(8)}${typeof torch === 'string' ? '' : 'PyTorch'.padStart(12)}`);

const results = cases.map((c): Result => {
  const { run, free } = c.prepare();
  const seconds = fastest(run);
  free();
  const gflops = c.flops / seconds / 1e9;
  const peer = typeof torch === 'string' ? null : (torch[c.name] ?? null);
  const result = { name: c.name, seconds, gflops, ofPeak: gflops / peak[c.dtype], torch: peer };
  print(line(result));
  return result;
});
if (options.json) process.stdout.write(`${JSON.stringify({ node: process.version, peak, results }, null, 2)}\n`);

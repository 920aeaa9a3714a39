/**
 * The SIMD peak of the machine, probed by a module of its own (assembly/peak.ts) with a memory of its own.
 */
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import * as v8 from 'node:v8';
import { getTurbo } from 'chainrule';
import type { FloatDType } from '../src/core/dtype.ts';
import { ARGS } from '../src/kernels/memory/wasm-memory.ts';
import { Pool, type Kernel } from '../src/kernels/threads/pool.ts';
import { fuseMultiplyAdds } from '../src/kernels/wasm/fma.ts';
import { compileWide } from '../src/kernels/wasm/compilations.ts';
import type { Prepared } from './case.ts';

/** Addresses: the factor and the addend, then the results. */
const OPERANDS = 1024;
const OUT = 2048;
/** Few rounds on one thread, so that some run falls between interruptions; more on several threads, which do not start together. */
const rounds = (threads: number): number => (threads === 1 ? 30_000 : 1_000_000);

const compiler = fileURLToPath(new URL('./assembly/compile.mjs', import.meta.url));
const bytes = Uint8Array.from(execFileSync(process.execPath, [compiler]));
// The peak is that of the operations which the library's kernels use.
const { vectorBits, fusedMultiplyAdd } = getTurbo();
if (fusedMultiplyAdd) fuseMultiplyAdds(bytes);
/** Vectors of 128 bits that a round multiplies and adds: 12 registers. */
const vectors = vectorBits === 256 ? 24 : 12;
const peakModule = vectorBits === 256 ? compileWide(v8, bytes) : new WebAssembly.Module(bytes);

/** Runs the multiply-add loop on `threads` threads at once; returns its arithmetic and what is timed. */
export function peakProbe(dtype: FloatDType, threads: number): { flops: number } & Prepared {
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const lanes = dtype === 'float32' ? 4 : 2;
  const operands = new (dtype === 'float32' ? Float32Array : Float64Array)(memory.buffer, OPERANDS, 2);
  // c ← 0.5·c + 1 stays near 2, far from slow subnormal numbers.
  operands.set([0.5, 1]);
  const n = rounds(threads);
  new Int32Array(memory.buffer, ARGS).set([OUT, n, OPERANDS]);

  const name = `peak${vectors}_${dtype === 'float32' ? 'f32' : 'f64'}`;
  const kernels = new WebAssembly.Instance(peakModule, { env: { memory } }).exports;
  const kernel = kernels[name] as Kernel;
  const id = Object.keys(kernels).indexOf(name);
  const pool = threads === 1 ? null : new Pool(peakModule, memory, threads - 1);
  return {
    flops: 2 * n * vectors * lanes * threads,
    run: () => (pool === null ? kernel(ARGS, 0, 1) : pool.run(name, id, kernel, threads, Infinity)),
    free: () => pool?.stop(),
  };
}

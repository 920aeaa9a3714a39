/**
 * Faster compilations of the kernels, which combine. With fused multiply-adds (fma.ts) products round once instead of twice: other bits than the
 * default's. And V8 joins pairs of 128-bit operations into 256-bit ones, with the same bits. Each is self-tested: it is adopted only if the
 * kernels compute the same numbers, up to rounding for the first and in every bit for the second (docs/decisions/0016, 0026 and 0027).
 */
import { nodeModules } from '../../platform/node.ts';
import type { CompiledKernels, TURBO_SECTIONS } from '../memory/wasm-memory.ts';
import { fuseMultiplyAdds } from './fma.ts';
import { kernelBytes, kernelModule, useKernels } from './module.ts';
import { runSelfTest, sameBits, sameUpToRounding } from './self-test.ts';

/**
 * Set while the 256-bit kernels are compiled. Liftoff and lazy compilation are off so that the optimizing compiler compiles everything at
 * once, and the tested code is the code that runs. Inlining is off because in Node 26 it needs what only Liftoff records, and ends the
 * process without it.
 */
const FLAGS = ['experimental-wasm-revectorize', 'no-liftoff', 'no-wasm-lazy-compilation', 'no-wasm-inlining'];
/** V8's settings before and after, in all versions of V8_VERSIONS. */
const DEFAULTS = ['no-experimental-wasm-revectorize', 'liftoff', 'wasm-lazy-compilation', 'wasm-inlining'];

/**
 * The versions of V8 that are known to compile 256-bit kernels, and those of Node that have them. An error in another one could end the
 * process, which no self-test in the same process can prevent. test/runtimes/turbo.test.ts tests the versions of Node that are installed.
 */
const V8_VERSIONS: Readonly<Record<string, number>> = { '13.6': 24, '14.1': 25, '14.6': 26 };

/** Adopts the kernels with fused multiply-adds; returns why not, or null. */
export function tryFused(): string | null {
  const bytes = fusedKernelBytes();
  if (!WebAssembly.validate(bytes)) return 'this platform has no relaxed SIMD, and so no fused multiply-add';
  return adoptUnless(fusedFault, () => new WebAssembly.Module(bytes));
}

/** Adopts this binary compiled into 256-bit operations; returns why not, or null. */
export function tryWide(bytes: Uint8Array<ArrayBuffer>): string | null {
  const load = nodeModules();
  if (load === undefined) return NEEDS_NODE;
  return wideRefusal(process) ?? adoptUnless(wideFault, () => compileWide(load('node:v8'), withTurboSection(bytes, 'wide')));
}

const NEEDS_NODE = '256-bit kernels need Node';

/** Returns why a platform must not compile 256-bit kernels, or null. */
export function wideRefusal({ versions, arch }: Pick<NodeJS.Process, 'versions' | 'arch'>): string | null {
  if (versions.bun !== undefined || versions.deno !== undefined) return NEEDS_NODE;
  if (arch !== 'x64') return `256-bit kernels need an x86-64 processor, this is ${arch}`;
  // Other programs that embed Node, such as Electron, have another suffix, and their V8 has other settings.
  const version = /^(\d+\.\d+)\..*-node\.\d+$/.exec(versions.v8)?.[1] ?? '';
  if (Object.hasOwn(V8_VERSIONS, version)) return null;
  const tested = Object.values(V8_VERSIONS)
    .join(', ')
    .replace(/, (\d+)$/, ' and $1');
  return `256-bit kernels are tested on Node ${tested} only, this is Node ${versions.node} with V8 ${versions.v8}`;
}

/** Returns the binary with fused multiply-adds. */
export function fusedKernelBytes(): Uint8Array<ArrayBuffer> {
  const bytes = kernelBytes();
  fuseMultiplyAdds(bytes);
  return withTurboSection(bytes, 'fused');
}

/**
 * Returns the binary with a custom section, by which kernels choose micro-kernels for 256 bits or for fused multiply-adds. Without one for 256
 * bits V8 would reuse its compilation of the same bytes.
 */
export function withTurboSection(bytes: Uint8Array, section: (typeof TURBO_SECTIONS)[number]): Uint8Array<ArrayBuffer> {
  const name = Array.from(section, (c) => c.charCodeAt(0));
  return Uint8Array.from([...bytes, 0, name.length + 1, name.length, ...name]);
}

/** Compiles a module into 256-bit operations. */
export function compileWide({ setFlagsFromString }: typeof import('node:v8'), bytes: Uint8Array<ArrayBuffer>): WebAssembly.Module {
  for (const flag of FLAGS) setFlagsFromString(`--${flag}`);
  try {
    return new WebAssembly.Module(bytes);
  } finally {
    for (const flag of DEFAULTS) setFlagsFromString(`--${flag}`);
  }
}

/** Returns what is wrong with the results of other kernels, or null. */
type FindFault = (...results: Parameters<typeof sameBits>) => string | null;

export const fusedFault: FindFault = (expected, got) => {
  if (!sameUpToRounding(expected, got)) return 'the kernels with fused multiply-adds computed wrong numbers in their self-test';
  // Relaxed SIMD may round twice, where the processor cannot do better.
  return sameBits(expected, got) ? 'this processor has no fused multiply-add' : null;
};

export const wideFault: FindFault = (expected, got) =>
  sameBits(expected, got) ? null : 'the 256-bit kernels computed other bits than the 128-bit ones in their self-test';

/** Uses the kernels that `compile` returns unless their self-test finds a fault or fails; returns the fault, or null. */
export function adoptUnless(findFault: FindFault, compile: () => CompiledKernels): string | null {
  const before = kernelModule;
  const expected = runSelfTest();
  let fault: string | null;
  try {
    useKernels(compile());
    fault = findFault(expected, runSelfTest());
  } catch (error) {
    fault = `the self-test of other kernels failed (${String(error)})`;
  }
  if (fault !== null) useKernels(before);
  return fault;
}

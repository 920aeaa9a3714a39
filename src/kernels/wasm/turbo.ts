/**
 * Turbo: faster compilations of the kernels, chosen once before the first tensor, by CHAINRULE_TURBO or setTurbo.
 *
 * There are two, which combine. With fused multiply-adds (fma.ts), products round once instead of twice: other bits than the default's. And V8
 * joins pairs of 128-bit operations into 256-bit ones, with the same bits. Each is self-tested: it is used only if the kernels compute the
 * same numbers, up to rounding for the first and in every bit for the second (docs/decisions/0016 and 0026).
 */
import { ArgumentError, ChainruleError, shown } from '../../core/errors.ts';
import { refuseOptions } from '../../core/options.ts';
import { environment, nodeModules } from '../../platform/node.ts';
import { isHeapUsed } from '../memory/allocator.ts';
import { TURBO_SECTION, type CompiledKernels } from '../memory/wasm-memory.ts';
import { fuseMultiplyAdds } from './fma.ts';
import { kernelBytes, kernelModule, useKernels } from './module.ts';
import { runSelfTest, sameBits, sameUpToRounding } from './self-test.ts';

/** The choices of setTurbo. */
export type TurboChoice = boolean | 'identical';

/** Which kernels are in use: the result of getTurbo. */
export interface TurboReport {
  /** What was chosen. */
  readonly choice: TurboChoice;
  /** The width of the vectors that the kernels compute with, in bits; null for the reference kernels. */
  readonly vectorBits: 128 | 256 | null;
  /** Whether products are added without a rounding in between. If not, all results have the default's bits. */
  readonly fusedMultiplyAdd: boolean;
  /** Why the kernels are not the fastest that the choice allows: a sentence for each reason. */
  readonly declined: readonly string[];
}

/** The values of CHAINRULE_TURBO. */
const CHOICES: Readonly<Record<string, TurboChoice>> = { '': false, '0': false, '1': true, identical: 'identical' };

/**
 * Set while the 256-bit kernels are compiled. Liftoff and lazy compilation are off so that the optimizing compiler compiles everything at
 * once, and the tested code is the code that runs. Inlining is off because in Node 26 it needs what only Liftoff records, and ends the
 * process without it.
 */
const FLAGS = ['experimental-wasm-revectorize', 'no-liftoff', 'no-wasm-lazy-compilation', 'no-wasm-inlining'];
/** V8's settings before and after, in all versions of V8_VERSIONS. */
const DEFAULTS = ['no-experimental-wasm-revectorize', 'liftoff', 'wasm-lazy-compilation', 'wasm-inlining'];

/**
 * The versions of V8 that are known to compile 256-bit kernels, and those of Node that have them. An error in another one could end the process, which no self-test in the
 * same process can prevent. test/runtimes/turbo.test.ts tests the versions of Node that are installed.
 */
const V8_VERSIONS: Readonly<Record<string, number>> = { '13.6': 24, '14.1': 25, '14.6': 26 };

const defaultModule = kernelModule;
let isReference = false;
let report: TurboReport = { choice: false, vectorBits: 128, fusedMultiplyAdd: false, declined: [] };

/** Starts with the choice of CHAINRULE_TURBO. Warns if that leaves the default kernels in use. Throws: ArgumentError for any other value */
export function startTurbo(useReference: boolean): void {
  isReference = useReference;
  const text = environment('CHAINRULE_TURBO') ?? '';
  const choice = Object.hasOwn(CHOICES, text) ? CHOICES[text]! : null;
  if (choice === null) throw new ArgumentError(`CHAINRULE_TURBO: expected 1, identical or 0, got '${text}'`);
  report = choose(choice);
  const isDefault = report.vectorBits === 128 && !report.fusedMultiplyAdd;
  if (choice !== false && isDefault) console.warn(`chainrule: CHAINRULE_TURBO has no effect: ${report.declined.join('; ')}`);
}

/**
 * Chooses the fastest kernels that the platform has and that pass a self-test; returns which are in use.
 *   true         with fused multiply-adds where there is relaxed SIMD (Node ≥ 22, current Chrome and Firefox), 256 bits wide on Node 24
 *                to 26 on x86-64. Results differ from the default's by rounding, and between processors and platforms may do so too. On one
 *                machine they are the same in every run, for any number of threads.
 *   'identical'  without fused multiply-adds: the bits of the default
 *   false        128 bits wide, without fused multiply-adds: the same bits on every platform
 * Call it before the first tensor is made. The environment variable CHAINRULE_TURBO (1, identical or 0) chooses at the import. The test takes
 * some 50 ms, and half a second more for 256 bits.
 *
 * Default: `CHAINRULE_TURBO`, else false
 * Throws: ArgumentError on anything else · ChainruleError if the choice changes after a tensor was made
 */
export function setTurbo(choice: TurboChoice): TurboReport {
  refuseOptions('setTurbo', arguments[1]);
  if (typeof choice !== 'boolean' && choice !== 'identical') {
    throw new ArgumentError(`setTurbo: expected true, 'identical' or false, got ${shown(choice)}`);
  }
  if (choice === report.choice) return report;
  if (isHeapUsed()) {
    throw new ChainruleError(
      `setTurbo: tensors have been made already, with turbo ${shown(report.choice)}. Call setTurbo(${shown(choice)}) before the first one is ` +
        'made, or set CHAINRULE_TURBO',
    );
  }
  report = choose(choice);
  return report;
}

/** Returns which kernels are in use, and why not faster ones. See setTurbo. */
export function getTurbo(): TurboReport {
  refuseOptions('getTurbo', arguments[0]);
  return report;
}

function choose(choice: TurboChoice): TurboReport {
  if (isReference) {
    const declined = choice === false ? [] : ['CHAINRULE_KERNELS=reference computes in plain TypeScript'];
    return { choice, vectorBits: null, fusedMultiplyAdd: false, declined };
  }
  useKernels(defaultModule);
  const declined: string[] = [];
  const adopts = (refusal: string | null): boolean => {
    if (refusal !== null) declined.push(refusal);
    return refusal === null;
  };
  const fusedMultiplyAdd = choice === true && adopts(tryFused());
  const isWide = choice !== false && adopts(tryWide(fusedMultiplyAdd ? fusedKernelBytes() : kernelBytes()));
  return { choice, vectorBits: isWide ? 256 : 128, fusedMultiplyAdd, declined };
}

/** Adopts the kernels with fused multiply-adds; returns why not, or null. */
function tryFused(): string | null {
  const bytes = fusedKernelBytes();
  if (!WebAssembly.validate(bytes)) return 'this platform has no relaxed SIMD, and so no fused multiply-add';
  return adoptUnless(fusedFault, () => new WebAssembly.Module(bytes));
}

/** Adopts this binary compiled into 256-bit operations; returns why not, or null. */
function tryWide(bytes: Uint8Array<ArrayBuffer>): string | null {
  const load = nodeModules();
  if (load === undefined) return NEEDS_NODE;
  return wideRefusal(process) ?? adoptUnless(wideFault, () => compileWide(load('node:v8'), withTurboSection(bytes)));
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
  return bytes;
}

/**
 * Returns the binary with a custom section, by which kernels choose micro-kernels for 256 bits. Without it V8 would reuse its compilation
 * of the same bytes.
 */
export function withTurboSection(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  const name = Array.from(TURBO_SECTION, (c) => c.charCodeAt(0));
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

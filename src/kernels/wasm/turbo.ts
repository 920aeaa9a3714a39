/**
 * Turbo: the choice of faster kernels, made once before the first tensor, by CHAINRULE_TURBO or setTurbo. compilations.ts has the kernels.
 */
import { ArgumentError, ChainruleError, shown } from '../../core/errors.ts';
import { refuseOptions } from '../../core/options.ts';
import { environment } from '../../platform/node.ts';
import { isHeapUsed } from '../memory/allocator.ts';
import { fusedKernelBytes, tryFused, tryWide } from './compilations.ts';
import { kernelBytes, kernelModule, useKernels } from './module.ts';

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
 * Call it before the first tensor is made. The environment variable CHAINRULE_TURBO (1, identical or 0) chooses at the import. This
 * takes about 0.1 s, and 0.3 s for 256 bits.
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

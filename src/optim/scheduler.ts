/**
 * What all learning rate schedulers share. A scheduler writes `lr` (and perhaps momentum) into the optimizer's groups, once at
 * its birth and once per `step`; several may act on one optimizer, each on what the last has left.
 */
import { ArgumentError, kindOf, stateDictMismatch } from '../core/errors.ts';
import type { Stateful } from '../core/stateful.ts';
import { readOptions, type Spec } from './check.ts';
import { Optimizer, type ParamGroup } from './optimizer.ts';

/** What a scheduler's stateDict gives. */
export interface SchedulerState {
  /** How often `step` was called. */
  readonly lastEpoch: number;
  readonly baseLrs: readonly number[];
  readonly lastLr: readonly number[];
}

/** The groups of what must be an optimizer. */
export function groupsOf(name: string, optimizer: Optimizer): ParamGroup[] {
  if (!(optimizer instanceof Optimizer)) throw new ArgumentError(`${name}: expected an optimizer, got ${kindOf(optimizer)}`);
  return optimizer.paramGroups;
}

/** The base of all schedulers: a subclass computes the learning rate of a group after each step. */
export abstract class Scheduler implements Stateful {
  readonly optimizer: Optimizer;
  /** How often `step` was called. */
  lastEpoch = 0;
  /** The learning rate each group started from. */
  baseLrs: readonly number[];
  #lastLr: readonly number[];

  constructor(optimizer: Optimizer) {
    this.baseLrs = groupsOf(new.target.name, optimizer).map((g) => (g.initialLr ??= g.lr));
    this.optimizer = optimizer;
    this.#lastLr = optimizer.paramGroups.map((g) => g.lr);
  }

  /** The learning rate of group `i` after `lastEpoch` steps, at 0 from its base; may write other options of the group. */
  protected abstract next(group: ParamGroup, i: number): number;

  /** The learning rates set last, by group. */
  get lastLr(): readonly number[] {
    return this.#lastLr;
  }

  /** Goes one step on: after each epoch or batch, as the schedule counts. Call it after the optimizer's step. */
  step(): void {
    this.lastEpoch++;
    try {
      this.write();
    } catch (error) {
      this.lastEpoch--;
      throw error;
    }
  }

  /** Begins again from the base learning rates, as SequentialLR does when it hands over. */
  restart(): void {
    this.lastEpoch = 0;
    this.optimizer.paramGroups.forEach((g, i) => (g.lr = this.baseLrs[i]!));
    this.write();
  }

  /** Sets the learning rates for `lastEpoch`. */
  protected write(): void {
    const groups = this.optimizer.paramGroups;
    // All before any is set: a function of the user's may throw.
    groups.map((g, i) => this.next(g, i)).forEach((lr, i) => (groups[i]!.lr = lr));
    this.#lastLr = groups.map((g) => g.lr);
  }

  stateDict(): SchedulerState {
    const { lastEpoch, baseLrs, lastLr } = this;
    return { lastEpoch, baseLrs: [...baseLrs], lastLr: [...lastLr] };
  }

  /** Continues where `stateDict` was taken; the groups' own options come back with the optimizer's state. */
  loadStateDict(state: SchedulerState): void {
    const groups = this.optimizer.paramGroups.length;
    const { lastEpoch, baseLrs, lastLr } = (state ?? {}) as Partial<SchedulerState>;
    if (!Number.isSafeInteger(lastEpoch) || lastEpoch! < 0 || baseLrs?.length !== groups || lastLr?.length !== groups) {
      const got = `got ${lastEpoch} and ${baseLrs?.length}`;
      throw stateDictMismatch(this.constructor.name, `expected lastEpoch ≥ 0 and ${groups} learning rates, ${got}`);
    }
    this.lastEpoch = lastEpoch!;
    this.baseLrs = [...baseLrs];
    this.#lastLr = [...lastLr];
  }
}

/** A schedule that is a formula over options: `next` reads them, and is asked at birth too. */
export abstract class FormulaLR<Options extends object> extends Scheduler {
  /** The options, their checks and their defaults. */
  static readonly spec: Spec = {};
  readonly options: Readonly<Required<Options>>;

  constructor(optimizer: Optimizer, ...[options = {} as Options]: object extends Options ? [options?: Options] : [options: Options]) {
    const read = readOptions(new.target.name, options, new.target.spec, groupsOf(new.target.name, optimizer).length) as Required<Options>;
    super(optimizer);
    this.options = read;
    this.write();
  }
}

/**
 * The base of all learning rate schedulers. A scheduler writes `lr` (and perhaps momentum) into the optimizer's groups, once in
 * its constructor and once per `step`. Several may act on one optimizer, each on the values that the previous one wrote.
 */
import { brand } from '../core/copies.ts';
import { isInstance } from '../core/describe.ts';
import { ArgumentError, isArray, kindOf, shown, stateDictMismatch } from '../core/errors.ts';
import { refuseSurplus } from '../core/options.ts';
import type { Stateful } from '../core/stateful.ts';
import { checkFiniteIn, narrowest, readOptions, type OptionSpec } from './check.ts';
import { Optimizer, type ParamGroup } from './optimizer.ts';

/** The state of a scheduler. */
export interface SchedulerState {
  /** The number of calls of `step`. */
  readonly lastEpoch: number;
  readonly baseLrs: readonly number[];
  readonly lastLr: readonly number[];
}

/** Returns the groups of an optimizer. Throws: ArgumentError for another value */
export function groupsOf(name: string, optimizer: Optimizer): ParamGroup[] {
  if (!isInstance(optimizer, Optimizer)) throw new ArgumentError(`${name}: expected an optimizer, got ${kindOf(optimizer)}`);
  return optimizer.paramGroups;
}

/** Returns the initial learning rate of a group, and sets it if no scheduler has. */
function baseLrOf(group: ParamGroup): number {
  group.initialLr ??= group.lr;
  return group.initialLr;
}

/** Returns whether a group has a momentum that a schedule can change: SGD's, or the first of Adam's betas. */
export function hasMomentum(group: ParamGroup): boolean {
  return 'momentum' in group || 'betas' in group;
}

/** Writes a group's momentum. */
export function setMomentum(group: ParamGroup, value: number): void {
  if ('momentum' in group) group.momentum = value;
  else group.betas = [value, ...(group.betas as readonly number[]).slice(1)];
}

/** The base of all schedulers. A subclass computes the learning rate of a group after each step. */
export abstract class Scheduler implements Stateful {
  static {
    brand(Scheduler.prototype, 'a scheduler');
  }

  /** The optimizer whose learning rates it writes. */
  readonly optimizer: Optimizer;
  /** The number of calls of `step`. */
  lastEpoch = 0;
  /** The initial learning rate of each group. */
  baseLrs: readonly number[];
  #lastLr: readonly number[];

  constructor(optimizer: Optimizer) {
    this.baseLrs = groupsOf(new.target.name, optimizer).map(baseLrOf);
    this.optimizer = optimizer;
    this.#lastLr = optimizer.paramGroups.map((g) => g.lr);
  }

  /** Computes the learning rate of group `i` after `lastEpoch` steps, at 0 the first one. May write other options of the group. */
  protected abstract next(group: ParamGroup, i: number): number;

  /** The learning rates written last, by group. */
  get lastLr(): readonly number[] {
    return this.#lastLr;
  }

  /** Advances the schedule by one step, an epoch or a batch. Call it after the optimizer's step. */
  step(): void {
    refuseSurplus('step', arguments, 0);
    this.lastEpoch++;
    try {
      this.write();
    } catch (error) {
      this.lastEpoch--;
      throw error;
    }
  }

  /** Restarts from the base learning rates. SequentialLR calls it when it switches to this scheduler. */
  restart(): void {
    this.lastEpoch = 0;
    this.#includeNewGroups();
    this.optimizer.paramGroups.forEach((g, i) => {
      g.lr = this.baseLrs[i]!;
    });
    this.write();
  }

  /**
   * Writes the learning rates for `lastEpoch`. A group that was added after the scheduler was made joins the schedule from its own rate.
   * Throws: ArgumentError, and writes no rate, if one is not finite in the parameters' dtype
   */
  protected write(): void {
    this.#includeNewGroups();
    const groups = this.optimizer.paramGroups;
    // Computes all rates before the first write, as a user's function may throw.
    const lrs = groups.map((g, i) => this.next(g, i));
    for (const [i, { params }] of groups.entries()) {
      const what = `the learning rate of group ${i} after ${this.lastEpoch} steps`;
      checkFiniteIn(narrowest(params), this.constructor.name, what, lrs[i]);
    }
    groups.forEach((g, i) => {
      g.lr = lrs[i]!;
    });
    this.#lastLr = groups.map((g) => g.lr);
  }

  #includeNewGroups(): void {
    const added = this.optimizer.paramGroups.slice(this.baseLrs.length);
    this.baseLrs = [...this.baseLrs, ...added.map(baseLrOf)];
  }

  stateDict(): SchedulerState {
    refuseSurplus('stateDict', arguments, 0);
    const { lastEpoch, baseLrs, lastLr } = this;
    return { lastEpoch, baseLrs: [...baseLrs], lastLr: [...lastLr] };
  }

  /** Restores a state of `stateDict`. The optimizer's state restores the groups' options. Throws: StateDictError */
  loadStateDict(state: SchedulerState): void {
    refuseSurplus('loadStateDict', arguments, 1);
    const groups = this.optimizer.paramGroups.length;
    const { lastEpoch, baseLrs, lastLr } = (state ?? {}) as Partial<SchedulerState>;
    const isComplete = (lrs: unknown): lrs is readonly number[] => isArray(lrs) && lrs.length === groups;
    if (!Number.isSafeInteger(lastEpoch) || lastEpoch! < 0 || !isComplete(baseLrs) || !isComplete(lastLr)) {
      const count = (lrs: unknown): string => (isArray(lrs) ? String(lrs.length) : kindOf(lrs));
      throw stateDictMismatch(
        this.constructor.name,
        `expected lastEpoch ≥ 0, ${groups} baseLrs and ${groups} lastLr, got ${shown(lastEpoch)}, ${count(baseLrs)} and ${count(lastLr)}`,
      );
    }
    const wrong = [...baseLrs, ...lastLr].find((lr) => !Number.isFinite(lr));
    if (wrong !== undefined) throw stateDictMismatch(this.constructor.name, `a learning rate is ${shown(wrong)}, no finite number`);
    this.lastEpoch = lastEpoch!;
    this.baseLrs = [...baseLrs];
    this.#lastLr = [...lastLr];
  }
}

/** The last argument of FormulaLR's constructor: optional if every option has a default. */
type OptionsArgument<Options> = object extends Options ? [options?: Options] : [options: Options];

/** A schedule that `next` computes from options by a formula. The constructor already writes the first learning rates. */
export abstract class FormulaLR<Options extends object> extends Scheduler {
  /** The check of each option, and its default if it has one. */
  static readonly spec: OptionSpec = {};
  /** The options, with their defaults. */
  readonly options: Readonly<Required<Options>>;

  constructor(optimizer: Optimizer, ...[options]: OptionsArgument<Options>) {
    const { name, spec } = new.target;
    const groups = groupsOf(name, optimizer).length;
    const complete = readOptions(name, options === undefined ? {} : options, spec, groups) as Required<Options>;
    super(optimizer);
    this.options = complete;
    this.write();
  }
}

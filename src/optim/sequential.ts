import { ArgumentError, StateDictError } from '../core/errors.ts';
import type { Optimizer } from './optimizer.ts';
import { FormulaLR, Scheduler, type SchedulerState } from './scheduler.ts';
import { checkMilestones } from './simple-schedules.ts';

/** Options of SequentialLR: `milestones`, one fewer than schedulers and rising, are the steps at which the next one takes over. */
export type SequentialOptions = { readonly schedulers: readonly Scheduler[]; readonly milestones: readonly number[] };

/** What SequentialLR's stateDict gives. */
export type SequentialState = SchedulerState & { readonly schedulers: readonly SchedulerState[] };

function checkSchedulers(name: string, option: string, value: unknown): void {
  if (!Array.isArray(value) || value.length === 0 || !value.every((s) => s instanceof Scheduler))
    throw new ArgumentError(`${name}: ${option} must be an array of schedulers that step without a metric`);
}

/**
 * One schedule after the other; each begins at its own first learning rate.
 * @example new SequentialLR(o, { schedulers: [new LinearLR(o), new CosineAnnealingLR(o, { tMax: 95 })], milestones: [5] })
 */
export class SequentialLR extends FormulaLR<SequentialOptions> {
  static override readonly spec = { schedulers: [checkSchedulers], milestones: [checkMilestones] } as const;

  constructor(optimizer: Optimizer, options: SequentialOptions) {
    const all = [options?.schedulers].flat().filter((s) => s instanceof Scheduler);
    const milestones = [options?.milestones].flat();
    if (all.some((s) => s.optimizer !== optimizer)) throw new ArgumentError('SequentialLR: all schedulers must be of its own optimizer');
    if (all.length > 0 && (milestones.length !== all.length - 1 || milestones.some((m, i) => m <= milestones[i - 1]!)))
      throw new ArgumentError(
        `SequentialLR: milestones of ${all.length} schedulers must be ${all.length - 1} rising steps, got [${milestones}]`,
      );
    super(optimizer, options);
  }

  protected override write(): void {
    const { schedulers, milestones } = this.options;
    const at = milestones.filter((m) => m <= this.lastEpoch).length;
    if (this.lastEpoch === (milestones[at - 1] ?? 0)) schedulers[at]!.restart();
    else schedulers[at]!.step();
    super.write();
  }

  /** What the schedule in charge has written. */
  protected override next({ lr }: { lr: number }): number {
    return lr;
  }

  override stateDict(): SequentialState {
    return { ...super.stateDict(), schedulers: this.options.schedulers.map((s) => s.stateDict()) };
  }

  override loadStateDict(state: SequentialState): void {
    const [own, saved] = [this.options.schedulers, state?.schedulers ?? []];
    if (own.length !== saved.length)
      throw new StateDictError(
        `loadStateDict: the state does not fit SequentialLR: expected ${own.length} schedulers, got ${saved.length}`,
      );
    super.loadStateDict(state);
    own.forEach((s, i) => s.loadStateDict(saved[i]!));
  }
}

/**
 * An average of the weights over the course of training. It often generalises better than the final weights.
 */
import { copyAll_, isTensor, noGrad, runScoped, type Tensor } from '../autograd/index.ts';
import { brand, brandedKind, foreignKind } from '../core/copies.ts';
import { isIterable } from '../core/describe.ts';
import { ArgumentError, kindOf, stateDictMismatch } from '../core/errors.ts';
import { checkFunction, refuseSurplus } from '../core/options.ts';
import { formatShape } from '../core/shape.ts';
import type { Stateful } from '../core/stateful.ts';
import { checkRange, readOptions } from './check.ts';

/** Options of EMA. */
export interface EMAOptions {
  /** The share of the old average in an update. Default 0.999. */
  readonly decay?: number;
}

/** Frees a tensor for another in its place; returns that one. */
function replaced(old: Tensor, value: Tensor): Tensor {
  old.dispose();
  return value.keep();
}

/** The state of EMA: one average for each parameter, in order. */
export interface EMAState {
  readonly averages: readonly Tensor[];
}

/**
 * The exponential moving average of parameters, starting from their current values:
 *   a ← decay·a + (1 − decay)·p   at each `update`
 * Source: Polyak & Juditsky 1992; PyTorch's AveragedModel with get_ema_avg_fn
 * @example
 * const ema = new EMA(model.parameters());
 * // after each optimizer.step(): ema.update()
 * const accuracy = ema.use(() => evaluate(model));
 */
export class EMA implements Stateful {
  static {
    brand(EMA.prototype, 'an EMA');
  }

  /** The share of the old average at an update. */
  readonly decay: number;
  readonly #params: readonly Tensor[];
  #averages: readonly Tensor[];

  constructor(params: Iterable<Tensor>, options: EMAOptions = {}) {
    const spec = { decay: [checkRange('from 0 to 1', (v) => v >= 0 && v <= 1), 0.999] } as const;
    this.decay = (readOptions('EMA', options, spec) as Required<EMAOptions>).decay;
    const isList = !isTensor(params) && isIterable(params);
    this.#params = isList ? [...params] : [];
    const other = this.#params.findIndex((p) => !isTensor(p));
    const wrong: unknown = isList ? this.#params[other] : params;
    if (this.#params.length === 0 || other >= 0) {
      const got = isList && other < 0 ? 'none' : (foreignKind(wrong) ?? brandedKind(wrong) ?? kindOf(wrong));
      throw new ArgumentError(`EMA: expected parameters, such as model.parameters(), got ${got}`);
    }
    // Kept only when all exist: if memory runs out on the way, the scope frees those already made.
    this.#averages = noGrad(() => this.#params.map((p) => p.clone())).map((a) => a.keep());
  }

  /**
   * Updates the averages with the parameters' current values, all or, if memory runs out, none. Call it after each step of the
   * optimizer. An average of a parameter whose dtype has changed since takes the new one, as an optimizer's state does.
   */
  update(): void {
    refuseSurplus('update', arguments, 0);
    noGrad(() => {
      const next = this.#averages.map((a, i) => {
        const p = this.#params[i]!;
        const old = a.to(p.dtype);
        return old.add(p.sub(old).mul(1 - this.decay));
      });
      this.#averages.forEach((a, i) => a.dtype === next[i]!.dtype && a.copy_(next[i]!));
      this.#averages = this.#averages.map((a, i) => (a.dtype === next[i]!.dtype ? a : replaced(a, next[i]!)));
    });
  }

  /** Runs a synchronous `fn` with the averages as the parameters' values. Then restores the weights, also if `fn` throws. */
  use<T>(fn: () => T): T {
    refuseSurplus('use', arguments, 1);
    checkFunction('EMA.use', 'fn', fn);
    return runScoped('EMA.use', () => {
      const weights = noGrad(() => this.#params.map((p) => p.clone()));
      this.copyTo();
      try {
        return fn();
      } finally {
        this.#write(weights);
        for (const w of weights) w.dispose();
      }
    });
  }

  /** Copies the averages into the parameters permanently. */
  copyTo(): void {
    refuseSurplus('copyTo', arguments, 0);
    this.#write(this.#averages);
  }

  #write(values: readonly Tensor[]): void {
    noGrad(() =>
      copyAll_(
        'EMA',
        this.#params.map((p, i) => [p, values[i]!]),
      ),
    );
  }

  /** Returns the averages themselves, not copies. */
  stateDict(): EMAState {
    refuseSurplus('stateDict', arguments, 0);
    return { averages: this.#averages };
  }

  /** Copies a state of `stateDict`, all or nothing. Throws: StateDictError if number or shapes differ */
  loadStateDict(state: EMAState): void {
    refuseSurplus('loadStateDict', arguments, 1);
    const own = this.#averages;
    const saved = state?.averages;
    if (!Array.isArray(saved) || saved.length !== own.length)
      throw stateDictMismatch('EMA', `expected ${own.length} averages, got ${Array.isArray(saved) ? saved.length : kindOf(saved)}`);
    own.forEach(({ shape }, i) => {
      const got = isTensor(saved[i]) ? formatShape(saved[i].shape) : kindOf(saved[i]);
      const expected = formatShape(shape);
      if (got !== expected) throw stateDictMismatch('EMA', `average ${i} is ${got}, expected ${expected}`);
    });
    noGrad(() =>
      copyAll_(
        'EMA',
        own.map((a, i) => [a, saved[i]]),
      ),
    );
  }

  /** Frees the averages. The parameters stay. */
  dispose(): void {
    refuseSurplus('dispose', arguments, 0);
    for (const a of this.#averages) a.dispose();
  }
}

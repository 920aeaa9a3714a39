/**
 * The state of a run of fit.
 */
import { isReadable, peek } from '../core/describe.ts';
import { isArray, shown, StateDictError } from '../core/errors.ts';
import type { FitEvent } from './events.ts';

/** How far the run has come. */
export interface Progress {
  step: number;
  /** The current epoch, from 0. */
  epoch: number;
  /** The sum of the losses of the epoch's samples so far, and their number. */
  lossSum: number;
  samples: number;
  /** Seconds spent on steps and their batches. */
  seconds: number;
  /** The step of the last evaluation; −1: none. */
  evaluatedAt: number;
  reason: string | null;
  ended: boolean;
}

/** Returns the progress of a run that has not begun. */
export function noProgress(): Progress {
  return { step: 0, epoch: 0, lossSum: 0, samples: 0, seconds: 0, evaluatedAt: -1, reason: null, ended: false };
}

/** The state of a run. */
export interface FitState {
  readonly model: object;
  readonly optimizer: object;
  readonly loader: object;
  /** Null for a loader without state, and without evaluations. */
  readonly evaluationLoader: object | null;
  readonly scheduler: object | null;
  readonly ema: object | null;
  /** Null for a callback without state. */
  readonly callbacks: readonly (object | null)[];
  readonly progress: Readonly<Progress>;
  /** An event that the callbacks from number `next` on have not received; null: none. */
  readonly pending: { readonly event: FitEvent; readonly next: number } | null;
}

type Check = readonly [expected: string, test: (value: unknown) => boolean];

const isAtLeast = (least: number, value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= least;
const RECORD: Check = ['a record', isReadable];
const COUNT: Check = ['a whole number ≥ 0', (v) => isAtLeast(0, v)];

const PROGRESS: Readonly<Record<keyof Progress, Check>> = {
  step: COUNT,
  epoch: COUNT,
  lossSum: ['a number', (v) => typeof v === 'number'],
  samples: COUNT,
  seconds: ['a number ≥ 0', (v) => typeof v === 'number' && v >= 0],
  evaluatedAt: ['a whole number ≥ -1', (v) => isAtLeast(-1, v)],
  reason: ['a text or null', (v) => v === null || typeof v === 'string'],
  ended: ['true or false', (v) => typeof v === 'boolean'],
};

const TYPES: readonly FitEvent['type'][] = ['step', 'epoch', 'evaluation', 'end'];

/** Throws: StateDictError unless the state has the form of one of a run with so many callbacks. The run's parts check their own states */
export function checkState(state: FitState, callbackCount: number): void {
  check('the state', state, RECORD);
  const { progress, callbacks, pending } = state;
  check('progress', progress, RECORD);
  for (const [name, expected] of Object.entries(PROGRESS)) check(`progress.${name}`, progress[name as keyof Progress], expected);
  check('callbacks', callbacks, ['an array', isArray]);
  if (callbacks.length !== callbackCount)
    throw new StateDictError(`fit.loadStateDict: the state has ${callbacks.length} callbacks, the run ${callbackCount}`);
  check('pending', pending, ["null or an event and a callback's number", (v) => v === null || isPending(v, callbackCount)]);
}

function isPending(value: unknown, callbackCount: number): boolean {
  const event = peek(value, 'event');
  const next = peek(value, 'next');
  const isEvent =
    TYPES.some((type) => type === peek(event, 'type')) && isAtLeast(0, peek(event, 'step')) && isAtLeast(0, peek(event, 'epoch'));
  return isEvent && isAtLeast(0, next) && (next as number) <= callbackCount;
}

function check(name: string, value: unknown, [expected, test]: Check): void {
  if (test(value)) return;
  throw new StateDictError(`fit.loadStateDict: ${name}: expected ${expected}, got ${shown(value)}`);
}

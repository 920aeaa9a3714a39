/**
 * The default random generator and random tensors.
 *
 * Each draw uses the next stream of a counter-based generator: element i of draw d is a pure function of (seed, d, i).
 */
import { brand } from '../core/copies.ts';
import { fits, isFloat, type FloatDType } from '../core/dtype.ts';
import { ArgumentError, DTypeError, kindOf, shown } from '../core/errors.ts';
import { Random, seedKey, STREAMS } from '../core/random.ts';
import { isPlainObject, refuseOptions, refuseSurplus, withDefaults } from '../core/options.ts';
import { sizeOf, type Shape } from '../core/shape.ts';
import type { Stateful } from '../core/stateful.ts';
import { kernels } from '../kernels/index.ts';
import { cos, log, sin } from '../kernels/scalars.ts';
import { empty } from '../kernels/view.ts';
import { fromElements, untracked, type Tensor } from './tensor.ts';

/** The whole state of a generator. */
export interface GeneratorState {
  readonly seed: number;
  readonly draws: number;
}

interface Draw {
  readonly key: readonly [number, number];
  readonly stream: number;
}

/** Counts the draws from one seed. Its state is two numbers. */
export class Generator implements Stateful {
  static {
    brand(Generator.prototype, 'a generator');
  }

  #seed: number;
  #draws = 0;

  constructor(seed = 0) {
    refuseOptions('Generator', arguments[1]);
    seedKey(seed);
    this.#seed = seed;
  }

  /** The seed from which it draws. */
  get seed(): number {
    return this.#seed;
  }

  /** Restarts from `seed`; returns the generator. */
  manualSeed(seed: number): this {
    refuseSurplus('manualSeed', arguments, 1);
    seedKey(seed);
    this.#beforeChange();
    this.#seed = seed;
    this.#draws = 0;
    return this;
  }

  /**
   * Returns the key and stream of the next draw.
   * Throws: ArgumentError after 2³² draws, as the next would repeat the first
   */
  draw(): Draw {
    const draw: Draw = replayed?.draws.next().value ?? this.#next();
    recorded?.push(draw);
    return draw;
  }

  #next(): Draw {
    if (this.#draws >= STREAMS)
      throw new ArgumentError(`generator: seed ${this.#seed} has no draws left after 2^32; call manualSeed with another seed`);
    return { key: seedKey(this.#seed), stream: this.#draws++ };
  }

  /** In a replay, notes the state to which the generator returns at the end of it. */
  #beforeChange(): void {
    if (replayed === null || replayed.undo.has(this)) return;
    const [seed, draws] = [this.#seed, this.#draws];
    replayed.undo.set(this, () => {
      this.#seed = seed;
      this.#draws = draws;
    });
  }

  stateDict(): GeneratorState {
    refuseSurplus('stateDict', arguments, 0);
    return { seed: this.#seed, draws: this.#draws };
  }

  loadStateDict(state: GeneratorState): void {
    refuseSurplus('loadStateDict', arguments, 1);
    if (!isPlainObject(state)) throw new ArgumentError(`generator: expected a state of stateDict(), got ${kindOf(state)}`);
    seedKey(state.seed);
    if (!Number.isSafeInteger(state.draws) || state.draws < 0 || state.draws > STREAMS) {
      throw new ArgumentError(`generator: draws must be a whole number from 0 to 2^32, got ${shown(state.draws)}`);
    }
    this.#beforeChange();
    this.#seed = state.seed;
    this.#draws = state.draws;
  }
}

/** The list that draws are recorded to; null while no call is to be replayed. */
let recorded: Draw[] | null = null;
/** A replay: the recorded draws that it takes, and for each generator that it has seeded a function that undoes this. */
interface Replay {
  readonly draws: Iterator<Draw>;
  readonly undo: Map<Generator, () => void>;
}

/** The current replay; null outside of replays. */
let replayed: Replay | null = null;

/**
 * Calls `fn`; returns its result, and a function that calls `fn` again with the same draws, independent of later draws. A generator that the
 * second call seeds has its state back afterwards: the first call has seeded it, and others may have drawn from it since.
 */
export function replayable<I, T>(fn: (inputs: I) => T, inputs: I): [T, (inputs: I) => T] {
  const list = recorded ?? [];
  const first = list.length;
  const result = withDraws(list, replayed, () => fn(inputs));
  const draws = list.slice(first);
  return [result, (other) => replay(draws, () => fn(other))];
}

function replay<T>(draws: readonly Draw[], fn: () => T): T {
  const undo = new Map<Generator, () => void>();
  try {
    return withDraws(null, { draws: draws.values(), undo }, fn);
  } finally {
    for (const restore of undo.values()) restore();
  }
}

/** Runs `fn` while draws are recorded to one list and taken from another. */
function withDraws<T>(record: typeof recorded, replay: typeof replayed, fn: () => T): T {
  const recordedBefore = recorded;
  const replayedBefore = replayed;
  recorded = record;
  replayed = replay;
  try {
    return fn();
  } finally {
    recorded = recordedBefore;
    replayed = replayedBefore;
  }
}

/** The generator that initialisers, dropout and the functions below use by default. */
export const defaultGenerator: Generator = new Generator();

/** Restarts the default generator from `seed` (a whole number from 0 to 2⁵³ − 1). */
export function manualSeed(seed: number): void {
  refuseOptions('manualSeed', arguments[1]);
  defaultGenerator.manualSeed(seed);
}

/** Options of random tensors. */
export interface RandomOptions {
  /** Default float32. */
  readonly dtype?: FloatDType;
  /** Whether the tensor is a leaf that gets a gradient. Default false. */
  readonly requiresGrad?: boolean;
  /** The source of the numbers. Default: the generator that manualSeed seeds. */
  readonly generator?: Generator;
}

/** Returns uniform numbers in [0, 1). */
export function rand(shape: Shape, options: RandomOptions = {}): Tensor {
  const { dtype, requiresGrad, generator } = readOptions('rand', options);
  sizeOf(shape, 'rand');
  const y = empty([...shape], dtype);
  const { key, stream } = generator.draw();
  kernels.uniform(key, stream, y);
  return untracked(y).requiresGrad_(requiresGrad);
}

/** Returns standard normal numbers (Box–Muller in float64, then rounded). */
export function randn(shape: Shape, options: RandomOptions = {}): Tensor {
  const { dtype, requiresGrad, generator } = readOptions('randn', options);
  const n = sizeOf(shape, 'randn');
  const uniforms = rand([n + (n % 2)], { dtype: 'float64', generator });
  const values = uniforms.data();
  uniforms.dispose();
  for (let i = 0; i < n; i += 2) {
    // Both branches of Box–Muller: two normals from two uniforms.
    const r = Math.sqrt(-2 * log(1 - values[i]!));
    const a = 2 * Math.PI * values[i + 1]!;
    values[i] = r * cos(a);
    values[i + 1] = r * sin(a);
  }
  return fromElements(values.subarray(0, n), [...shape], dtype).requiresGrad_(requiresGrad);
}

/** Returns whole numbers in [low, high), int32; −2³¹ ≤ low < high ≤ 2³¹. */
export function randint(low: number, high: number, shape: Shape, options: { generator?: Generator } = {}): Tensor {
  const { generator } = withDefaults('randint', options, { generator: defaultGenerator });
  if (!fits(low, 'int32') || typeof high !== 'number' || !fits(high - 1, 'int32') || low >= high) {
    throw new ArgumentError(
      `randint: expected whole numbers low < high from ${-(2 ** 31)} to ${2 ** 31}, got ${shown(low)} and ${shown(high)}`,
    );
  }
  const random = drawRandom(generator);
  const values = Int32Array.from({ length: sizeOf(shape, 'randint') }, () => low + random.integer(high - low));
  return fromElements(values, [...shape], 'int32');
}

/** Returns a random permutation of 0 … n−1, int32 [n]. */
export function randperm(n: number, options: { generator?: Generator } = {}): Tensor {
  const { generator } = withDefaults('randperm', options, { generator: defaultGenerator });
  return fromElements(drawRandom(generator).permutation(sizeOf([n], 'randperm')), [n], 'int32');
}

function drawRandom(generator: Generator): Random {
  const { key, stream } = generator.draw();
  return new Random(key, stream);
}

function readOptions(op: string, options: RandomOptions): Required<RandomOptions> {
  const read = withDefaults(op, options, { dtype: 'float32', requiresGrad: false, generator: defaultGenerator });
  if (!isFloat(read.dtype)) throw new DTypeError(`${op}: dtype must be float32 or float64, got ${shown(read.dtype)}`);
  return read;
}

/**
 * Counter-based random numbers: Threefry-2x32 with 20 rounds (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
 *
 * A number depends only on (seed, stream, counter). The order of draws, the batch size and the number of threads cannot change
 * it. The `uniform` kernel draws the same numbers in bulk.
 */
import { ArgumentError, shown } from './errors.ts';

const ROTATIONS = [13, 15, 26, 6, 17, 29, 16, 24] as const;

/** Returns the two output words of Threefry-2x32-20 for key (k0, k1) and counter (c0, c1), as signed 32-bit integers. */
export function threefry(k0: number, k1: number, c0: number, c1: number): [number, number] {
  const k2 = k0 ^ k1 ^ 0x1bd11bda;
  const keys = [k0 | 0, k1 | 0, k2];
  let x = (c0 + k0) | 0;
  let y = (c1 + k1) | 0;
  for (let round = 0; round < 20; round++) {
    const r = ROTATIONS[round & 7]!;
    x = (x + y) | 0;
    y = ((y << r) | (y >>> (32 - r))) ^ x;
    if ((round & 3) === 3) {
      const i = (round >> 2) + 1;
      x = (x + keys[i % 3]!) | 0;
      y = (y + keys[(i + 1) % 3]! + i) | 0;
    }
  }
  return [x, y];
}

/** Returns a uniform float64 in [0, 1) with 53 random bits from two words: (a >>> 5) · 2²⁶ + (b >>> 6), times 2⁻⁵³. */
export function uniform53(a: number, b: number): number {
  return ((a >>> 5) * 67108864 + (b >>> 6)) / 9007199254740992;
}

/** Returns a uniform float32 in [0, 1) with 24 random bits from one word: (a >>> 8) · 2⁻²⁴. */
export function uniform24(a: number): number {
  return (a >>> 8) / 16777216;
}

/** Returns the two key words of a seed, which may be any safe integer ≥ 0. */
export function seedKey(seed: number): readonly [number, number] {
  if (!Number.isSafeInteger(seed) || seed < 0)
    throw new ArgumentError(`seed must be a whole number from 0 to 2^53 − 1, got ${shown(seed)}`);
  return [seed | 0, Math.floor(seed / 2 ** 32)];
}

/** So many streams a seed has, and numbers a stream: the words of a counter have 32 bits, beyond which they would repeat. */
export const STREAMS = 2 ** 32;

/** A stream of random numbers. Its whole state is (key, stream, counter). */
export class Random {
  readonly #key: readonly [number, number];
  readonly #stream: number;
  #counter = 0;

  /**
   * @param seed Any safe integer ≥ 0, or two key words.
   * @param stream The number of one of the seed's 2³² independent streams.
   */
  constructor(seed: number | readonly [number, number], stream = 0) {
    if (!(stream >= 0 && stream < STREAMS))
      throw new ArgumentError(`random: stream must be a whole number from 0 to 2^32 − 1, got ${stream}`);
    this.#key = typeof seed === 'number' ? seedKey(seed) : seed;
    this.#stream = stream | 0;
  }

  /** Returns a generator of an independent stream. Its key is a hash of this one's key and stream, and of `words`. */
  split(...words: number[]): Random {
    let key: readonly [number, number] = threefry(this.#key[0], this.#key[1], this.#stream, -1);
    for (const w of words) key = threefry(key[0], key[1], w | 0, Math.floor(w / 2 ** 32));
    return new Random(key);
  }

  /** Draws the next uniform number in [0, 1). */
  uniform(): number {
    if (this.#counter === STREAMS) throw new ArgumentError('random: the stream has no numbers left after 2^32; take another stream');
    const [a, b] = threefry(this.#key[0], this.#key[1], this.#counter++, this.#stream);
    return uniform53(a, b);
  }

  /** Draws the next standard normal number (Box–Muller, the cosine branch). */
  normal(): number {
    const u = 1 - this.uniform();
    return Math.sqrt(-2 * logarithm(u)) * cosineOfTurns(this.uniform());
  }

  /** Draws the next whole number in [0, n). */
  integer(n: number): number {
    return Math.floor(this.uniform() * n);
  }

  /** Draws a uniformly random permutation of 0 … n−1 (Fisher–Yates). */
  permutation(n: number): Int32Array {
    const out = Int32Array.from({ length: n }, (_, i) => i);
    for (let i = n - 1; i > 0; i--) {
      const j = this.integer(i + 1);
      const swapped = out[i]!;
      out[i] = out[j]!;
      out[j] = swapped;
    }
    return out;
  }
}

// Both are summed as series, as Math.log and Math.cos differ between engines in their last bits.

/** Returns log(u) for u from 2⁻⁵³ to 1: log(m·2ᵉ) = e·log 2 + 2·artanh(s) with s = (m − 1) / (m + 1). */
function logarithm(u: number): number {
  let m = u;
  let exponent = 0;
  for (; m < Math.SQRT1_2; m *= 2) exponent--;
  const s = (m - 1) / (m + 1);
  // artanh(s) = s·(1 + s²/3 + s⁴/5 + …), |s| ≤ 0.172
  let sum = 0;
  for (let k = 21; k > 1; k -= 2) sum = (sum + 1 / k) * s * s;
  return exponent * Math.LN2 + 2 * s * (1 + sum);
}

/** Returns cos(2πu) for u from 0 to 1, from the sine or cosine of the angle r to the nearest quarter turn. */
function cosineOfTurns(u: number): number {
  const quarter = Math.round(4 * u);
  const r = (4 * u - quarter) * (Math.PI / 2);
  const isSine = quarter % 2 === 1;
  // 1 − r²/(k·(k−1))·(1 − …): with even k the cosine, with odd k the sine divided by r; |r| ≤ π/4
  let sum = 1;
  for (let k = isSine ? 21 : 20; k > 1; k -= 2) sum = 1 - (sum * r * r) / (k * (k - 1));
  const value = isSine ? r * sum : sum;
  return quarter === 1 || quarter === 2 ? -value : value;
}

/**
 * A fast generator for samples that need thousands of random numbers: sfc32 (Chris Doty-Humphrey, PractRand).
 *
 * It uses only operations that IEEE 754 specifies exactly, so every JavaScript engine draws the same bits.
 */
import type { Random } from '../core/random.ts';

const QUANTILE_BITS = 12;

export class FastRandom {
  #a: number;
  #b: number;
  #c: number;
  #counter = 1;

  /** Seeds the state with three draws from `random`. */
  constructor(random: Random) {
    this.#a = random.integer(2 ** 32) | 0;
    this.#b = random.integer(2 ** 32) | 0;
    this.#c = random.integer(2 ** 32) | 0;
    for (let i = 0; i < 12; i++) this.bits();
  }

  /** Returns the next 32 random bits as a signed integer. */
  bits(): number {
    const out = (this.#a + this.#b + this.#counter) | 0;
    this.#counter = (this.#counter + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = (((this.#c << 21) | (this.#c >>> 11)) + out) | 0;
    return out;
  }

  /** Returns the next uniform number in [0, 1), with 32 random bits. */
  uniform(): number {
    return (this.bits() >>> 0) / 2 ** 32;
  }

  /** Returns the next whole number in [0, n). */
  integer(n: number): number {
    return Math.floor(this.uniform() * n);
  }

  /** Fills `out` with normal numbers of mean 0 and the given standard deviation: one of 4,096 quantiles each, at most 3.67 deviations. */
  normals(out: Float32Array, std: number): void {
    const table = normalQuantiles();
    for (let i = 0; i < out.length; i += 2) {
      const bits = this.bits();
      out[i] = std * table[bits >>> (32 - QUANTILE_BITS)]!;
      // A write past the end of a typed array of odd length does nothing.
      out[i + 1] = std * table[(bits >>> 4) & (2 ** QUANTILE_BITS - 1)]!;
    }
  }
}

let quantiles: Float32Array | undefined;

/** Returns the midpoints of 4,096 equally likely slices of the normal distribution, scaled to variance 1; computed on first use. */
export function normalQuantiles(): Float32Array {
  if (quantiles) return quantiles;
  const half = 2 ** QUANTILE_BITS / 2;
  const table = new Float64Array(2 * half);
  let x = 0;
  let squares = 0;
  for (let i = 0; i < half; i++) {
    x = normalQuantile((i + 0.5) / (2 * half), x);
    table[half + i] = x;
    table[half - 1 - i] = -x;
    squares += x * x;
  }
  const scale = Math.sqrt(half / squares);
  quantiles = Float32Array.from(table, (q) => q * scale);
  return quantiles;
}

/**
 * Solves Φ(x) − ½ = p for x ≥ 0 with Newton steps from `start`.
 *   Φ(x) − ½ = φ(x) Σ x^(2k+1) / (2k+1)!!,   1 / φ(x) = √(2π) Σ (x²/2)^k / k!
 * Both are summed as series because Math.exp and Math.log may differ between engines.
 */
function normalQuantile(p: number, start: number): number {
  let x = start;
  for (let step = 0; step < 4; step++) {
    // oddSum = Σ x^(2k+1) / (2k+1)!!,   expSum = Σ (x²/2)^k / k! = exp(x²/2)
    let oddSum = x;
    let oddTerm = x;
    let expSum = 1;
    let expTerm = 1;
    for (let k = 1; expTerm > expSum * 2 ** -53 || oddTerm > oddSum * 2 ** -53; k++) {
      oddTerm *= (x * x) / (2 * k + 1);
      oddSum += oddTerm;
      expTerm *= (x * x) / (2 * k);
      expSum += expTerm;
    }
    x += p * Math.sqrt(2 * Math.PI) * expSum - oddSum;
  }
  return x;
}

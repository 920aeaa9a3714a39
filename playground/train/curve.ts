/**
 * The points of a curve that grows without an end: neighbours are merged so that their number stays bounded.
 */

/** The most points of a curve. Even. */
const MAX_POINTS = 400;

/** Means of equal numbers of neighbouring samples. */
export class Curve {
  /** The last position of each point. */
  readonly x: number[] = [];
  /** For each series, a value for each point. */
  readonly series: readonly number[][];
  /** How many samples make a point. */
  #size = 1;
  /** The samples of the point that is not complete yet. */
  #open: (readonly number[])[] = [];

  constructor(series: number) {
    this.series = Array.from({ length: series }, () => []);
  }

  /** Adds a sample: a value for each series at position `x`. */
  add(x: number, values: readonly number[]): void {
    this.#open.push(values);
    if (this.#open.length < this.#size) return;
    this.x.push(x);
    this.series.forEach((points, s) => points.push(mean(this.#open.map((sample) => sample[s]!))));
    this.#open = [];
    if (this.x.length >= MAX_POINTS) this.#halve();
  }

  clear(): void {
    for (const list of [this.x, ...this.series]) list.length = 0;
    this.#open = [];
    this.#size = 1;
  }

  /** Merges every two points. */
  #halve(): void {
    const half = this.x.length / 2;
    for (let i = 0; i < half; i++) {
      this.x[i] = this.x[2 * i + 1]!;
      for (const points of this.series) points[i] = (points[2 * i]! + points[2 * i + 1]!) / 2;
    }
    for (const list of [this.x, ...this.series]) list.length = half;
    this.#size *= 2;
  }
}

function mean(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}

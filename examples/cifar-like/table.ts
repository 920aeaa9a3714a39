/**
 * The table a run ends with.
 */
import { clock } from './display.ts';

/** By class and channel; null for a class without images. */
type ByClass = readonly (readonly (number | null)[])[];

/** How a block's gate scaled its channels: the mean over a class's images, and the standard deviation within the class. */
export interface BlockExcitation {
  readonly block: string;
  readonly means: ByClass;
  readonly deviations: ByClass;
}

/** A net that has been trained and tested. */
export interface Result {
  readonly net: 'plain' | 'se';
  /** For people. */
  readonly title: string;
  readonly parameters: number;
  readonly steps: number;
  /** Seconds of its steps, evaluation left out. */
  readonly seconds: number;
  readonly imagesPerSecond: number;
  readonly testLoss: number;
  /** Share of all test images. */
  readonly testAccuracy: number;
  /** One digit per test image, in order: the class it is, and the class the net chose. */
  readonly labels: string;
  readonly predictions: string;
  /** What its gates did with test images; nothing where it has none. */
  readonly excitations: readonly BlockExcitation[];
}

export const COLUMNS = ['model', 'parameters', 'steps', 'time', 'test accuracy', 'images/s'] as const;

export function cells(r: Result): string[] {
  return [r.title, count(r.parameters), count(r.steps), clock(r.seconds), percent(r.testAccuracy), count(r.imagesPerSecond)];
}

/** What SE brought, in percentage points; null unless both nets were trained. */
export function gain(results: readonly Result[]): number | null {
  const accuracy = (net: Result['net']) => results.find((r) => r.net === net)?.testAccuracy;
  const [se, plain] = [accuracy('se'), accuracy('plain')];
  return se === undefined || plain === undefined ? null : 100 * (se - plain);
}

/** `+16.8 points` */
export function points(x: number): string {
  const text = Math.abs(x).toFixed(Math.abs(x) < 1 ? 2 : 1);
  return `${Number(text) === 0 ? '±' : x > 0 ? '+' : '−'}${text} points`;
}

export function percent(share: number): string {
  return `${(100 * share).toFixed(2)} %`;
}

export function count(n: number): string {
  return Math.round(n).toLocaleString('en-US');
}

/** The results as lines of text, columns aligned. */
export function textTable(results: readonly Result[]): string {
  const rows = [[...COLUMNS], ...results.map(cells)];
  const widths = COLUMNS.map((_, c) => Math.max(...rows.map((row) => row[c]!.length)));
  const line = (row: readonly string[]) => row.map((cell, c) => (c === 0 ? cell.padEnd(widths[c]!) : cell.padStart(widths[c]!))).join('  ');
  const [head, ...body] = rows.map(line);
  const g = gain(results);
  return [head!, '─'.repeat(head!.length), ...body, ...(g === null ? [] : ['', `SE gain: ${points(g)} of test accuracy`])].join('\n');
}

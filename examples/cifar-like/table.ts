/**
 * The table that a run prints at its end, and the numbers in it.
 */
import { clock } from './display.ts';
import type { GateStatistics } from './gates.ts';
import { printable } from './text.ts';

/** The result of a net that has been trained and tested. */
export interface Result {
  readonly net: 'plain' | 'se';
  /** Name of the net in tables and charts. */
  readonly title: string;
  readonly parameters: number;
  readonly steps: number;
  /** The number of processes that have trained it together, at least in the end. */
  readonly ranks: number;
  /** Time of the training steps, without evaluation and saving. */
  readonly seconds: number;
  readonly imagesPerSecond: number;
  readonly testLoss: number;
  /** Share of all test images classified correctly. */
  readonly testAccuracy: number;
  /** The true class of each test image, one digit an image. */
  readonly labels: string;
  /** The predicted class of each test image, one digit an image. */
  readonly predictions: string;
  /** Statistics of its gates on test images; empty for a net without SE. */
  readonly gates: readonly GateStatistics[];
}

export const COLUMNS = ['model', 'parameters', 'steps', 'time', 'test accuracy', 'images/s'] as const;

/** Returns a table row: one text for each of COLUMNS. */
export function cells(r: Result): string[] {
  return [r.title, count(r.parameters), count(r.steps), clock(r.seconds), percent(r.testAccuracy), count(r.imagesPerSecond)];
}

/** Returns the gain in test accuracy by SE, in percentage points; null unless both nets were trained. */
export function gain(results: readonly Result[]): number | null {
  const se = results.find((r) => r.net === 'se');
  const plain = results.find((r) => r.net === 'plain');
  if (se === undefined || plain === undefined) return null;
  return 100 * (se.testAccuracy - plain.testAccuracy);
}

/** Returns a difference as text: `+16.8 points`, `−0.25 points`, `±0.00 points`. */
export function points(difference: number): string {
  const size = Math.abs(difference);
  const text = size.toFixed(size < 1 ? 2 : 1);
  // A difference that is rounded to zero has no sign.
  if (Number(text) === 0) return `±${text} points`;
  return `${difference > 0 ? '+' : '−'}${text} points`;
}

/** Returns a share as text: `99.15 %`. */
export function percent(share: number): string {
  return `${(100 * share).toFixed(2)} %`;
}

/** Returns a count as text: `27,034`. */
export function count(n: number): string {
  return Math.round(n).toLocaleString('en-US');
}

/** Returns over how many processes the nets were trained: `trained over 2 ranks`; null if each had one. */
export function ranksText(results: readonly Result[]): string | null {
  const counts = new Set(results.map((r) => r.ranks));
  if ([...counts].every((ranks) => ranks === 1)) return null;
  const text = (ranks: number): string => `${count(ranks)} ${ranks === 1 ? 'rank' : 'ranks'}`;
  if (counts.size === 1) return `trained over ${text(results[0]!.ranks)}`;
  return `trained over ${results.map((r) => `${text(r.ranks)} (${r.title})`).join(', ')}`;
}

/** Returns the results as lines of text with aligned columns. */
export function textTable(results: readonly Result[]): string {
  const rows = [[...COLUMNS], ...results.map(cells)].map((row) => row.map(printable));
  const widths = COLUMNS.map((_, c) => Math.max(...rows.map((row) => row[c]!.length)));
  // The names are aligned to the left, the numbers to the right.
  const pad = (cell: string, c: number) => (c === 0 ? cell.padEnd(widths[c]!) : cell.padStart(widths[c]!));
  const [head, ...body] = rows.map((row) => row.map(pad).join('  '));
  const lines = [head!, '─'.repeat(head!.length), ...body];
  const difference = gain(results);
  if (difference !== null) lines.push('', `SE gain: ${points(difference)} of test accuracy`);
  const ranks = ranksText(results);
  if (ranks !== null) lines.push('', printable(ranks));
  return lines.join('\n');
}

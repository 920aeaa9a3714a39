/**
 * The report of a gradient check: its types and its text.
 */
import type { ElementArray } from '../../core/dtype.ts';
import { formatShape, type Shape } from '../../core/shape.ts';
import type { Settings } from './settings.ts';

/** One element of one input, and its two gradients. */
export interface GradcheckElement {
  /** Position among the inputs, a module's parameters counted after them. */
  readonly input: number;
  /** The input's name in reports: `input 1 'w'`, or a parameter's path. */
  readonly name: string;
  /** The tensor's label, or the parameter's path. */
  readonly label: string | null;
  /** One number per dim; null for fastMode's projection of all elements. */
  readonly index: readonly number[] | null;
  /** The gradient from backward. */
  readonly analytic: number;
  /** The central difference. */
  readonly numeric: number;
  /** |analytic − numeric|. */
  readonly error: number;
  /** The largest error allowed. */
  readonly tolerance: number;
}

/** One input, or one parameter of a module: a row of the table. */
export interface GradcheckInput {
  /** Position among the inputs, a module's parameters counted after them. */
  readonly input: number;
  /** Its name in reports. */
  readonly name: string;
  /** The tensor's label, or the parameter's path. */
  readonly label: string | null;
  readonly shape: Shape;
  /** Number of elements compared; in fastMode 1, the projection. */
  readonly checked: number;
  /** Number of wrong elements among them. */
  readonly wrong: number;
  /** The element with the largest error relative to its tolerance; null if nothing was compared. */
  readonly worst: GradcheckElement | null;
}

/** The incoming gradient of one output that requires a gradient. */
export interface GradcheckOutput {
  /** Position among the outputs. */
  readonly output: number;
  /** The output's shape. */
  readonly shape: Shape;
  /** The gradient with which backward was called, row-major: 1 if there is one output of one number, else random. */
  readonly g: ElementArray;
}

/** The result of a gradient check. Prints as a table. */
export interface GradcheckReport {
  /** Whether every element was checked away from kinks, and no problem was found. */
  readonly ok: boolean;
  /** Number of elements compared, over all inputs. */
  readonly checked: number;
  /** How often the check moved the point away from a kink. */
  readonly resampled: number;
  /** An element with a kink within the step at the last attempt; null if an attempt met no kink. */
  readonly kink: Pick<GradcheckElement, 'input' | 'name' | 'label' | 'index'> | null;
  /** The element with the largest error relative to its tolerance; null if nothing was compared. */
  readonly worst: GradcheckElement | null;
  /** The elements whose error is above their tolerance. */
  readonly failures: readonly GradcheckElement[];
  /** All compared elements, input by input, row-major. */
  readonly elements: readonly GradcheckElement[];
  /** The incoming gradients g: `analytic` and `numeric` are derivatives of Σ g·y. Empty if backward was rejected. */
  readonly gradOutputs: readonly GradcheckOutput[];
  /** One for each input that requires a gradient. */
  readonly inputs: readonly GradcheckInput[];
  /** Problems other than wrong elements: not deterministic, not linear in the incoming gradient, … */
  readonly problems: readonly string[];
  /** The kinds of error: a sign, a factor, a transposition, …; empty if none is recognised. */
  readonly diagnosis: readonly string[];
  /** Returns the table of inputs and the diagnosis as text. */
  toString(): string;
}

/** A report without its text. */
export type ReportData = Omit<GradcheckReport, 'toString'>;

/** How many wrong elements a report lists. */
const MAX_LISTED = 8;

/** How many numbers of an incoming gradient a report shows. */
const MAX_NUMBERS = 8;

/** Returns the report's text. */
export function reportText(name: string, report: ReportData, settings: Settings): string {
  const { ok, checked, resampled, kink, failures, problems, diagnosis } = report;
  const { eps, atol, rtol, seed } = settings;
  const moved = resampled === 0 ? '' : `, moved away from kinks ${resampled} ${resampled === 1 ? 'time' : 'times'}`;
  if (kink !== null && problems.length === 0) {
    return (
      `${name}: nothing can be said: a kink lies within ${formatRounded(eps)} of every point tried${moved}; the last beside ${locationText(kink)}. ` +
      'Give other values, a smaller eps or a larger maxResamples'
    );
  }
  const fast = settings.fastMode ? ', fastMode' : '';
  const how = `(eps ${formatRounded(eps)}, atol ${formatRounded(atol)}, rtol ${formatRounded(rtol)}, seed ${seed}${fast}${moved})`;
  const lines = [`${name}: ${outcome(ok, failures.length, checked)} ${how}`, ...table(report.inputs)];
  lines.push(...section('incoming gradient g, random: analytic and numeric are derivatives of Σ g·y', gradOutputTexts(report.gradOutputs)));
  lines.push(...section('problems', problems), ...section('diagnosis', diagnosis));
  // A single wrong element is in the table already.
  if (failures.length > 1) lines.push(...section('wrong', failures.slice(0, MAX_LISTED).map(elementText)));
  if (failures.length > MAX_LISTED) lines.push(`  … and ${failures.length - MAX_LISTED} more`);
  return lines.join('\n');
}

/** Returns a line for each random incoming gradient; none for the 1 of a single number. */
function gradOutputTexts(gradOutputs: readonly GradcheckOutput[]): string[] {
  if (gradOutputs.length === 1 && gradOutputs[0]!.g.length === 1) return [];
  return gradOutputs.map(({ output, shape, g }) => {
    const numbers = Array.from(g.subarray(0, MAX_NUMBERS), (x) => formatRounded(x, 7)).join(', ');
    const more = g.length > MAX_NUMBERS ? ` … and ${g.length - MAX_NUMBERS} more` : '';
    return `output ${output} ${formatShape(shape)}: ${numbers}${more}`;
  });
}

function outcome(ok: boolean, failures: number, checked: number): string {
  if (ok) return `all ${checked} gradients are right`;
  return failures > 0 ? `${failures} of ${checked} gradients are wrong` : 'failed';
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [`${title}:`, ...lines.map((l) => `  ${l}`)];
}

/** Returns a header and one row an input in aligned columns: text to the left, numbers to the right. */
function table(inputs: readonly GradcheckInput[]): string[] {
  if (inputs.length === 0) return [];
  const header = ['', 'shape', 'checked', 'wrong', 'worst at', 'analytic', 'numeric', 'error', 'tolerance'];
  const rows = inputs.map(({ name, shape, checked, wrong, worst }) => {
    const worstCells = worst === null ? ['–', '–', '–', '–', '–'] : [indexText(worst), ...numberTexts(worst)];
    return [name, formatShape(shape), String(checked), String(wrong), ...worstCells];
  });
  const widths = header.map((h, c) => Math.max(h.length, ...rows.map((r) => r[c]!.length)));
  const isText = (c: number): boolean => c < 2 || c === 4;
  return [header, ...rows].map((row) =>
    `  ${row.map((cell, c) => (isText(c) ? cell.padEnd(widths[c]!) : cell.padStart(widths[c]!))).join('  ')}`.trimEnd(),
  );
}

function numberTexts({ analytic, numeric, error, tolerance }: GradcheckElement): string[] {
  return [formatRounded(analytic, 7), formatRounded(numeric, 7), formatRounded(error, 2), formatRounded(tolerance, 2)];
}

function indexText({ index }: Pick<GradcheckElement, 'index'>): string {
  return index === null ? 'projection' : formatShape(index);
}

function locationText(at: Pick<GradcheckElement, 'name' | 'index'>): string {
  return `${at.name} ${indexText(at)}`;
}

function elementText(f: GradcheckElement): string {
  return `${locationText(f)}: analytic ${formatRounded(f.analytic, 7)}, numeric ${formatRounded(f.numeric, 7)}`;
}

/** Formats a number with `digits` significant digits, and with an exponent below 1e-3. */
export function formatRounded(x: number, digits = 4): string {
  const rounded = Number(x.toPrecision(digits));
  return rounded !== 0 && Math.abs(rounded) < 1e-3 ? rounded.toExponential() : String(rounded);
}

/**
 * What a gradient check finds, and the table it prints.
 */
import { formatShape, type Shape } from '../../core/shape.ts';

/** One element of one input, and its two gradients. */
export interface GradcheckElement {
  /** Position among the inputs, a module's parameters counted after them. */
  readonly input: number;
  /** How reports call the input: `input 1 'w'`, or a parameter's path. */
  readonly name: string;
  /** The tensor's label, or the parameter's path. */
  readonly label: string | null;
  /** One number per dim; null for the projection of all elements that fastMode compares. */
  readonly index: readonly number[] | null;
  /** What backward gave. */
  readonly analytic: number;
  /** What the central difference gave. */
  readonly numeric: number;
  /** |analytic − numeric|. */
  readonly error: number;
  /** How large the error may be. */
  readonly tolerance: number;
}

/** One input, or one parameter of a module: a row of the table. */
export interface GradcheckInput {
  /** Position among the inputs, a module's parameters counted after them. */
  readonly input: number;
  /** How reports call it. */
  readonly name: string;
  /** The tensor's label, or the parameter's path. */
  readonly label: string | null;
  readonly shape: Shape;
  /** Elements compared; in fastMode the one projection. */
  readonly checked: number;
  /** How many of them are wrong. */
  readonly wrong: number;
  /** The element that used most of its tolerance; null where nothing was compared. */
  readonly worst: GradcheckElement | null;
}

/** What a gradient check found. Prints as a table. */
export interface GradcheckReport {
  /** Whether every element was checked, away from kinks, and all is right. */
  readonly ok: boolean;
  /** Elements compared, of all inputs. */
  readonly checked: number;
  /** How often the point was moved away from a kink. */
  readonly resampled: number;
  /** The element with a kink beside it at the last attempt; null where one attempt found none. */
  readonly kink: Pick<GradcheckElement, 'input' | 'name' | 'label' | 'index'> | null;
  /** The element that used most of its tolerance; null where nothing was compared. */
  readonly worst: GradcheckElement | null;
  readonly failures: readonly GradcheckElement[];
  /** One for each input that requires a gradient. */
  readonly inputs: readonly GradcheckInput[];
  /** What is wrong besides elements: not deterministic, not linear in the incoming gradient, … */
  readonly problems: readonly string[];
  /** What the errors look like: a sign, a factor, a transposition, …; empty where they look like nothing known. */
  readonly diagnosis: readonly string[];
  toString(): string;
}

/** A report before it has its text. */
export type Found = Omit<GradcheckReport, 'toString'>;

/** The options, complete. */
export interface Settings {
  readonly eps: number;
  readonly atol: number;
  readonly rtol: number;
  readonly nondetTol: number;
  readonly fastMode: boolean;
  readonly checkUndefinedGrad: boolean;
  readonly seed: number;
  readonly maxResamples: number;
  readonly raise: boolean;
}

/** How many wrong elements a report spells out. */
const SHOWN = 8;

/** The report's text. */
export function describe(name: string, report: Found, settings: Settings): string {
  const { ok, checked, resampled, kink, failures, problems, diagnosis } = report;
  const { eps, atol, rtol, seed } = settings;
  const moved = resampled === 0 ? '' : `, moved away from kinks ${resampled} ${resampled === 1 ? 'time' : 'times'}`;
  if (kink !== null && problems.length === 0) {
    return (
      `${name}: nothing can be said: a kink lies within ${round(eps)} of every point tried${moved}; the last beside ${where(kink)}. ` +
      'Give other values, a smaller eps or a larger maxResamples'
    );
  }
  const fast = settings.fastMode ? ', fastMode' : '';
  const how = `(eps ${round(eps)}, atol ${round(atol)}, rtol ${round(rtol)}, seed ${seed}${fast}${moved})`;
  const head = ok
    ? `${name}: all ${checked} gradients are right ${how}`
    : failures.length > 0
      ? `${name}: ${failures.length} of ${checked} gradients are wrong ${how}`
      : `${name}: failed ${how}`;
  const lines = [head, ...table(report.inputs)];
  lines.push(...section('problems', problems), ...section('diagnosis', diagnosis));
  // One wrong element stands in the table.
  if (failures.length > 1) lines.push(...section('wrong', failures.slice(0, SHOWN).map(spelt)));
  if (failures.length > SHOWN) lines.push(`  … and ${failures.length - SHOWN} more`);
  return lines.join('\n');
}

function section(title: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [`${title}:`, ...lines.map((l) => `  ${l}`)];
}

/** A row an input, columns aligned: names to the left, numbers to the right. */
function table(inputs: readonly GradcheckInput[]): string[] {
  if (inputs.length === 0) return [];
  const header = ['', 'shape', 'checked', 'wrong', 'worst at', 'analytic', 'numeric', 'error', 'tolerance'];
  const rows = inputs.map(({ name, shape, checked, wrong, worst }) => {
    const at = worst === null ? ['–', '–', '–', '–', '–'] : [place(worst), ...values(worst)];
    return [name, formatShape(shape), String(checked), String(wrong), ...at];
  });
  const widths = header.map((h, c) => Math.max(h.length, ...rows.map((r) => r[c]!.length)));
  const left = (c: number): boolean => c < 2 || c === 4;
  return [header, ...rows].map((row) =>
    `  ${row.map((cell, c) => (left(c) ? cell.padEnd(widths[c]!) : cell.padStart(widths[c]!))).join('  ')}`.trimEnd(),
  );
}

function values({ analytic, numeric, error, tolerance }: GradcheckElement): string[] {
  return [round(analytic, 7), round(numeric, 7), round(error, 2), round(tolerance, 2)];
}

function place({ index }: Pick<GradcheckElement, 'index'>): string {
  return index === null ? 'projection' : formatShape(index);
}

function where(at: Pick<GradcheckElement, 'name' | 'index'>): string {
  return `${at.name} ${place(at)}`;
}

function spelt(f: GradcheckElement): string {
  return `${where(f)}: analytic ${round(f.analytic, 7)}, numeric ${round(f.numeric, 7)}`;
}

/** A number as texts show it: so many digits, small ones with an exponent. */
export function round(x: number, digits = 4): string {
  const rounded = Number(x.toPrecision(digits));
  return rounded !== 0 && Math.abs(rounded) < 1e-3 ? rounded.toExponential() : String(rounded);
}

/**
 * The parts of an outcome: the verdict, the table, and the error over the step.
 */
import { h, type Child } from '../ui/dom.ts';
import { lineChart, type Samples } from '../ui/line-chart.ts';
import { withMinus } from '../ui/numbers.ts';
import { withScrollHint } from '../ui/scroller.ts';
import { headlineOf, movedText } from './headline.ts';
import type { CheckResult, CheckRow, IncomingGradient, StepErrors } from './model.ts';
import { STEPS, armsOf } from './steps.ts';

/** The most numbers of an incoming gradient that are shown. */
const MAX_NUMBERS = 12;

/** Shows what the check found, in words. */
export function verdict(result: CheckResult): readonly Child[] {
  const { ok, diagnosis, problems, kink } = result;
  const moved = movedText(result);
  return [
    h('p', { class: ok ? 'gradcheck-verdict is-right' : 'gradcheck-verdict is-wrong' }, ok ? '✓ ' : '✗ ', headlineOf(result)),
    diagnosis.map((text) => h('p', { class: 'diagnosis' }, text)),
    problems.map((text) => h('p', { class: 'note' }, text)),
    kink !== null &&
      h('p', { class: 'note' }, `A kink lies within the step at every point tried, the last beside ${kink}. Take a smaller step.`),
    !ok && diagnosis.length === 0 && kink === null && h('p', { class: 'note' }, 'The error has no pattern that the check recognises.'),
    moved !== null && h('p', { class: 'note' }, moved),
  ];
}

/** The table of all elements. */
export function table(rows: readonly CheckRow[]): HTMLElement {
  const head = ['Element', 'Backward', 'Difference', 'Error', 'Tolerance', ''];
  const part = h(
    'div',
    { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Gradients by element' },
    h(
      'table',
      { class: 'gradients' },
      h(
        'thead',
        {},
        h(
          'tr',
          {},
          head.map((text) => h('th', { scope: 'col' }, text)),
        ),
      ),
      h('tbody', {}, rows.map(tableRow)),
    ),
  );
  return withScrollHint(part);
}

function tableRow({ element, analytic, numeric, error, tolerance, right }: CheckRow): HTMLElement {
  const numbers = [rounded(analytic, 7), rounded(numeric, 7), rounded(error, 2), rounded(tolerance, 2)];
  return h(
    'tr',
    { class: right ? 'is-right' : 'is-wrong' },
    h('th', { scope: 'row' }, element),
    numbers.map((text) => h('td', {}, text)),
    h('td', { class: 'verdict-cell' }, right ? '✓' : '✗', h('span', { class: 'hidden-text' }, right ? ' right' : ' wrong')),
  );
}

/** Says with which incoming gradient both columns were computed. */
export function incomingText(incoming: IncomingGradient | null): string {
  if (incoming === null) return 'The engine rejected the gradient before anything could be compared.';
  const { shape, values } = incoming;
  if (values.length === 1) return 'y is one number, so g = 1: both columns are ∂y.';
  const shown = values.slice(0, MAX_NUMBERS).map((v) => rounded(v, 3));
  const more = values.length > MAX_NUMBERS ? ', …' : '';
  return `Both columns are derivatives of Σ g·y. The check draws g [${shape.join(',')}] at random: ${shown.join(', ')}${more}.`;
}

export interface ErrorChart {
  readonly element: HTMLElement;
  /** Draws the errors, and marks the step of this index. */
  readonly update: (errors: StepErrors, step: number) => void;
}

/** An error of 0 is drawn here: a logarithmic axis has no 0. */
const FLOOR = 1e-17;

/** The chart of the error over the step. */
export function errorChart(): ErrorChart {
  const chart = lineChart({
    title: 'Largest error over the step h',
    x: 'h, smaller to the right',
    falling: true,
    log: { x: true, y: true },
    height: 300,
    // The same range for most programs, so that the floor of a wrong gradient stands out.
    range: (low, high) => [Math.min(low / 3, 1e-12), Math.max(high * 3, 10)],
    series: [
      { label: 'float64', color: 'se' },
      { label: 'float32', color: 'plain' },
      { label: 'truncation, ∝ h²', color: 'yes', dashed: true },
      { label: 'rounding, ∝ 1/h', color: 'muted', dashed: true },
      { label: 'h of the check', color: 'ink', dots: true },
    ],
  });
  const marks = h(
    'p',
    { class: 'regimes' },
    h('span', {}, '← truncation: the curve bends within h'),
    h('span', {}, 'rounding: p(x + h) − p(x − h) loses its digits →'),
  );
  const text = h('p', { class: 'note' });
  return {
    element: h('div', {}, chart.element, marks, text),
    update: (errors, step) => {
      const { rounding, truncation } = armsOf(errors.float64);
      const float64 = errors.float64.map(atLeastFloor);
      const float32 = STEPS.map((_, i) => atLeastFloor(errors.float32[i] ?? null));
      const highest = Math.max(FLOOR, ...[...float64, ...float32].map((e) => e ?? 0));
      const along = (c: number | null, f: (h: number) => number): Samples =>
        STEPS.map((h) => (c !== null && c * f(h) <= highest && c * f(h) >= FLOOR ? c * f(h) : null));
      const here = float64.map((e, i) => (i === step ? e : null));
      marks.hidden = rounding === null && truncation === null;
      const description = describe(errors.float64);
      const samples = [float64, float32, along(truncation, (h) => h * h), along(rounding, (h) => 1 / h), here];
      chart.update(STEPS, samples, description);
      text.textContent = errors.notInFloat32 === null ? description : `${description} It does not run in float32: ${errors.notInFloat32}`;
    },
  };
}

function atLeastFloor(error: number | null): number | null {
  return error === null ? null : Math.max(error, FLOOR);
}

/** Says in words what the curve of float64 shows. */
function describe(errors: readonly (number | null)[]): string {
  const found = errors.flatMap((error, i) => (error === null ? [] : [{ error, h: STEPS[i]! }]));
  if (found.length === 0) return 'There is no error to show.';
  const best = found.reduce((a, b) => (b.error < a.error ? b : a));
  if (best.error === 0) return 'The difference is exact for some steps: the function is straight there.';
  const { rounding, truncation } = armsOf(errors);
  if (rounding === null && truncation === null)
    return `No step brings the error below ${rounded(best.error, 2)}: the gradient is wrong, or the point lies on a kink. A right gradient gives a V.`;
  return `The error is smallest, ${rounded(best.error, 2)}, at h = ${rounded(best.h, 2)}. To the left, larger steps see the curve bend: truncation. To the right, smaller steps lose digits: rounding.`;
}

/** Formats a number with `digits` significant digits, and with an exponent where it is small or large. */
export function rounded(x: number, digits: number): string {
  if (!Number.isFinite(x) || x === 0) return withMinus(String(x));
  const size = Math.abs(x);
  const isShort = size >= 1e-3 && size < 1e6;
  return withMinus(isShort ? String(Number(x.toPrecision(digits))) : x.toExponential(Math.min(digits - 1, 2)).replace('e', ' e'));
}

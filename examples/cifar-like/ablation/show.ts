/**
 * Shows the rows of an ablation as a Markdown table and as an SVG chart.
 */
import { meanAndDeviation, spread } from '../measure.ts';
import { html, type Html } from '../report/html.ts';
import { count } from '../table.ts';
import type { Plan, Variant } from './plan.ts';
import type { Outcome, Row } from './results.ts';

/** Returns the test accuracies in %; diverged seeds have none. */
function accuraciesOf(outcomes: readonly Outcome[]): number[] {
  return outcomes.flatMap((o) => ('testAccuracy' in o ? [100 * o.testAccuracy] : []));
}

/** Returns the table; rows without any result are left out. */
export function markdownTable(rows: readonly Row[], { seeds }: Plan): string {
  const lines = [`| factor | value | parameters | test accuracy, % | seeds ${seeds.join(', ')} |`, '|---|---|---:|---:|---|'];
  for (const row of rows) {
    if (row.outcomes.length > 0) lines.push(markdownRow(row));
  }
  return lines.join('\n');
}

function markdownRow({ variant, outcomes }: Row): string {
  const accuracies = accuraciesOf(outcomes);
  const diverged = outcomes.length - accuracies.length;
  const summary: string[] = [];
  if (accuracies.length > 0) summary.push(meanAndDeviation(accuracies));
  if (diverged > 0) summary.push(`${diverged} diverged`);
  const finished = outcomes.find((o) => 'parameters' in o);
  const parameters = finished === undefined ? '–' : count(finished.parameters);
  const each = outcomes.map((o) => ('testAccuracy' in o ? (100 * o.testAccuracy).toFixed(1) : `diverged at step ${o.divergedAt}`));
  return `| ${variant.group} | ${variant.label} | ${parameters} | ${summary.join('; ')} | ${each.join(', ')} |`;
}

// Sizes in the chart's own units: width of the labels, the plot and the values, height of the title and of a row.
const LEFT = 250;
const WIDTH = 430;
const RIGHT = 90;
const TOP = 64;
const LINE = 24;

/** Draws mean ± standard deviation of every row, and a dot for each seed. Returns null if there is no result. */
export function chart(rows: readonly Row[], title: string): Html | null {
  const placed = placeRows(rows);
  if (placed.length === 0) return null;
  const axis = axisFor(placed.flatMap(({ accuracies }) => accuracies));
  const bottom = placed.at(-1)!.y + LINE;
  const width = LEFT + WIDTH + RIGHT;
  const height = bottom + 44;
  return html`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">
<title>${title}</title>
<style>
  svg { --page: #ffffff; --ink: #1d1f23; --muted: #63676f; --rule: #e4e4df; --se: #0072b2; --plain: #c8560a; font: 13px system-ui, sans-serif; }
  @media (prefers-color-scheme: dark) {
    svg { --page: #14161a; --ink: #e9eaec; --muted: #a1a7b1; --rule: #30343c; --se: #56b4e9; --plain: #f0a030; }
  }
  text { fill: var(--ink); } .muted { fill: var(--muted); } .head { font-weight: 600; } .rule { stroke: var(--rule); }
  .se { --c: var(--se); } .plain { --c: var(--plain); } .seed { fill: var(--c); opacity: 0.35; } .mean { fill: var(--c); } .bar { stroke: var(--c); stroke-width: 2; }
</style>
<rect width="100%" height="100%" style="fill: var(--page)"/>
<text x="16" y="30" class="head" style="font-size: 15px">${title}</text>
${axis.ticks.map((t) => html`<path d="M${axis.x(t)} ${TOP - 8}V${bottom}" class="rule"/><text x="${axis.x(t)}" y="${bottom + 18}" class="muted" text-anchor="middle">${t}</text>`)}
<text x="${LEFT + WIDTH / 2}" y="${bottom + 36}" class="muted" text-anchor="middle">test accuracy, %: mean ± standard deviation, and each seed</text>
${placed.map((row) => drawRow(row, axis))}
</svg>
`;
}

interface PlacedRow {
  readonly variant: Variant;
  readonly accuracies: readonly number[];
  /** Whether the row is the first of its group. */
  readonly startsGroup: boolean;
  /** Vertical centre of the row. */
  readonly y: number;
}

/** Places the rows that have results below each other, with half a line between two groups. */
function placeRows(rows: readonly Row[]): PlacedRow[] {
  const placed: PlacedRow[] = [];
  let gaps = 0;
  for (const { variant, outcomes } of rows) {
    const accuracies = accuraciesOf(outcomes);
    if (accuracies.length === 0) continue;
    const previous = placed.at(-1);
    const startsGroup = previous?.variant.group !== variant.group;
    if (previous !== undefined && startsGroup) gaps++;
    placed.push({ variant, accuracies, startsGroup, y: TOP + LINE * (placed.length + 0.5 + gaps / 2) });
  }
  return placed;
}

interface Axis {
  readonly from: number;
  readonly to: number;
  readonly ticks: readonly number[];
  /** Returns the horizontal position of a value. */
  readonly x: (value: number) => string;
}

/** Makes an axis of round numbers from 0 to 100 that covers `values`. */
function axisFor(values: readonly number[]): Axis {
  const least = values.reduce((a, b) => Math.min(a, b));
  const greatest = values.reduce((a, b) => Math.max(a, b));
  // The smallest step that gives at most six intervals.
  const step = [1, 2, 5, 10, 20].find((s) => (greatest - least) / s <= 6) ?? 20;
  // 0.3 of a step is the least margin on each side.
  const from = Math.max(0, Math.floor(least / step - 0.3) * step);
  const to = Math.min(100, Math.ceil(greatest / step + 0.3) * step);
  return {
    from,
    to,
    ticks: Array.from({ length: Math.round((to - from) / step) + 1 }, (_, i) => from + i * step),
    x: (value) => (LEFT + ((value - from) / (to - from)) * WIDTH).toFixed(1),
  };
}

function drawRow({ variant, accuracies, startsGroup, y }: PlacedRow, { from, to, x }: Axis): Html {
  const { mean, deviation } = spread(accuracies);
  let bar: Html | null = null;
  if (deviation !== null) {
    const left = x(Math.max(from, mean - deviation));
    const right = x(Math.min(to, mean + deviation));
    bar = html`<path d="M${left} ${y}H${right}" class="bar"/>`;
  }
  return html`<g class="${variant.se ? 'se' : 'plain'}">
${startsGroup && variant.se ? html`<text x="16" y="${y + 4}" class="muted">${variant.group}</text>` : null}
<text x="${LEFT - 14}" y="${y + 4}" text-anchor="end">${variant.label}</text>
${accuracies.map((v) => html`<circle cx="${x(v)}" cy="${y}" r="3" class="seed"/>`)}${bar}<circle cx="${x(mean)}" cy="${y}" r="5" class="mean"/>
<text x="${LEFT + WIDTH + 14}" y="${y + 4}">${meanAndDeviation(accuracies)}</text>
</g>`;
}

/**
 * The rows of an ablation as a Markdown table and as an SVG chart.
 */
import { meanAndDeviation, spread } from '../measure.ts';
import { html, type Html } from '../report/html.ts';
import { count } from '../table.ts';
import type { Plan } from './plan.ts';
import type { Outcome, Row } from './results.ts';

const accuracies = (outcomes: readonly Outcome[]): number[] => outcomes.flatMap((o) => ('testAccuracy' in o ? [100 * o.testAccuracy] : []));

/** Rows without any result are left out. */
export function markdownTable(rows: readonly Row[], { seeds }: Plan): string {
  const lines = rows.flatMap(({ variant, outcomes }) => {
    if (outcomes.length === 0) return [];
    const values = accuracies(outcomes);
    const diverged = outcomes.length - values.length;
    const parameters = outcomes.flatMap((o) => ('parameters' in o ? [count(o.parameters)] : []))[0] ?? '–';
    const summary = [...(values.length > 0 ? [meanAndDeviation(values)] : []), ...(diverged > 0 ? [`${diverged} diverged`] : [])];
    const each = outcomes.map((o) => ('testAccuracy' in o ? (100 * o.testAccuracy).toFixed(1) : `diverged at step ${o.divergedAt}`));
    return [`| ${variant.group} | ${variant.label} | ${parameters} | ${summary.join('; ')} | ${each.join(', ')} |`];
  });
  return [`| factor | value | parameters | test accuracy, % | seeds ${seeds.join(', ')} |`, '|---|---|---:|---:|---|', ...lines].join('\n');
}

/** Sizes in the chart's own units. */
const [LEFT, WIDTH, RIGHT, TOP, LINE] = [250, 430, 90, 64, 24] as const;

/** Mean ± standard deviation of every row, and a dot for each seed. Null without any result. */
export function chart(rows: readonly Row[], title: string): Html | null {
  const shown = rows.flatMap(({ variant, outcomes }) =>
    accuracies(outcomes).length > 0 ? [{ variant, values: accuracies(outcomes) }] : [],
  );
  if (shown.length === 0) return null;
  const all = shown.flatMap(({ values }) => values);
  const step = [1, 2, 5, 10, 20].find((s) => (Math.max(...all) - Math.min(...all)) / s <= 6) ?? 20;
  const [low, high] = [Math.floor(Math.min(...all) / step - 0.3) * step, Math.ceil(Math.max(...all) / step + 0.3) * step];
  const [from, to] = [Math.max(0, low), Math.min(100, high)];
  const x = (v: number): string => (LEFT + ((v - from) / (to - from)) * WIDTH).toFixed(1);
  // A new group leaves half a line free.
  let gaps = 0;
  const placed = shown.map((row, i) => {
    if (i > 0 && shown[i - 1]!.variant.group !== row.variant.group) gaps++;
    return { ...row, first: shown[i - 1]?.variant.group !== row.variant.group, y: TOP + LINE * (i + 0.5 + gaps / 2) };
  });
  const bottom = placed.at(-1)!.y + LINE;
  const ticks = Array.from({ length: Math.round((to - from) / step) + 1 }, (_, i) => from + i * step);
  const [width, height] = [LEFT + WIDTH + RIGHT, bottom + 44];
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
${ticks.map((t) => html`<path d="M${x(t)} ${TOP - 8}V${bottom}" class="rule"/><text x="${x(t)}" y="${bottom + 18}" class="muted" text-anchor="middle">${t}</text>`)}
<text x="${LEFT + WIDTH / 2}" y="${bottom + 36}" class="muted" text-anchor="middle">test accuracy, %: mean ± standard deviation, and each seed</text>
${placed.map(({ variant, values, first, y }) => {
  const { mean, deviation } = spread(values);
  const range =
    deviation === null
      ? null
      : html`<path d="M${x(Math.max(from, mean - deviation))} ${y}H${x(Math.min(to, mean + deviation))}" class="bar"/>`;
  return html`<g class="${variant.se ? 'se' : 'plain'}">
${first && variant.se ? html`<text x="16" y="${y + 4}" class="muted">${variant.group}</text>` : null}
<text x="${LEFT - 14}" y="${y + 4}" text-anchor="end">${variant.label}</text>
${values.map((v) => html`<circle cx="${x(v)}" cy="${y}" r="3" class="seed"/>`)}${range}<circle cx="${x(mean)}" cy="${y}" r="5" class="mean"/>
<text x="${LEFT + WIDTH + 14}" y="${y + 4}">${meanAndDeviation(values)}</text>
</g>`;
})}
</svg>
`;
}

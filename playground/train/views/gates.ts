/**
 * The gates of each SE block: a heat map of channels by class, once for images with a cool band and once for those with a warm one.
 */
import type { GateStatistics } from '../../../examples/cifar-like/gates.ts';
import { fill, h } from '../../ui/dom.ts';
import { blankHeatMap, drawHeatMap } from '../../ui/heat-map.ts';
import type { TrainSettings } from '../settings.ts';
import { findingOf } from './texts.ts';

type Rows = readonly (readonly number[] | null)[];

interface BlockView {
  readonly element: HTMLElement;
  readonly update: (gate: GateStatistics) => void;
}

export interface GatesView {
  readonly element: HTMLElement;
  readonly update: (gates: readonly GateStatistics[], classes: readonly string[], gate: TrainSettings['gate']) => void;
}

/** Returns the range of the scales: that of the gate's function, or from 0 to the largest mean for ReLU, which has no bound. */
function rangeOf(gate: TrainSettings['gate'], { means }: GateStatistics): readonly [number, number] {
  if (gate === 'tanh') return [-1, 1];
  if (gate !== 'relu') return [0, 1];
  const most = means.flat().reduce((a, row) => Math.max(a, ...(row ?? [])), 0);
  return [0, most > 0 ? most : 1];
}

export function gatesView(): GatesView {
  const element = h('div', { class: 'gates' });
  let blocks: readonly BlockView[] = [];
  let shown = '';
  return {
    element,
    update: (gates, classes, gate) => {
      const key = JSON.stringify([gate, classes, gates.map((g) => [g.block, g.means.length])]);
      if (key !== shown) {
        shown = key;
        blocks = gates.map((g) => blockView(g, classes, gate));
        fill(element, ...blocks.map((b) => b.element));
      }
      gates.forEach((g, i) => blocks[i]!.update(g));
    },
  };
}

function blockView({ block, means }: GateStatistics, classes: readonly string[], gate: TrainSettings['gate']): BlockView {
  const hasBands = means.length === 2;
  const channels = means[0]!.at(-1)?.length ?? means[1]!.at(-1)!.length;
  const title = `Block ${Number(/\d+/.exec(block)![0]) + 1}: ${channels} channels`;
  const names = hasBands ? ['cool band', 'warm band'] : ['all images'];
  const maps = names.map((name) => blankHeatMap(`${title}, ${name}`));
  const difference = blankHeatMap(`${title}, warm − cool`);
  const strip = h('div', { class: 'band' }, h('div', { class: 'strip-name' }, 'warm − cool, all classes'), difference);
  strip.hidden = !hasBands;
  const finding = h('p', { class: 'finding' });
  const groups = names.map((name, b) =>
    h(
      'div',
      { class: `band band-${hasBands ? b : 'none'}` },
      h('div', { class: 'band-name' }, name),
      h('ul', { class: 'classes', 'aria-hidden': 'true' }, ...classes.map((c) => h('li', {}, c))),
      maps[b]!,
    ),
  );
  return {
    element: h('figure', { class: 'panel-figure gate-block' }, h('figcaption', {}, title), ...groups, strip, finding),
    update: (statistics) => {
      const order = orderOf(statistics, channels);
      const range = rangeOf(gate, statistics);
      statistics.means.forEach((rows, b) =>
        drawHeatMap(maps[b]!, matrixOf(rows.slice(0, classes.length), order), {
          label: `${title}, ${names[b]!}: mean scale of each channel, class by class`,
          range,
          diverging: gate === 'tanh',
        }),
      );
      if (!hasBands) return;
      const { values, text } = differenceOf(statistics, order);
      const label = `${title}: mean scale for a warm band minus that for a cool band`;
      drawHeatMap(difference, { values, rows: 1, columns: channels }, { label, range: [-0.5, 0.5], diverging: true });
      finding.textContent = text;
    },
  };
}

/** Returns the channels by what a warm band changes: from the channel that it closes most to the one that it opens most. */
function orderOf({ means }: GateStatistics, channels: number): number[] {
  const order = Array.from({ length: channels }, (_, c) => c);
  const [cool, warm] = means.map((rows) => rows.at(-1));
  if (cool == null || warm == null) return order;
  return order.sort((a, b) => warm[a]! - cool[a]! - (warm[b]! - cool[b]!));
}

/** Returns the rows with their columns in this order. A class without images is a row of NaN. */
function matrixOf(rows: Rows, order: readonly number[]): { values: number[]; rows: number; columns: number } {
  return { values: rows.flatMap((row) => order.map((c) => row?.[c] ?? NaN)), rows: rows.length, columns: order.length };
}

/** Returns by how much the scales of warm images are larger, and says which channel a warm band changes most. */
function differenceOf({ means }: GateStatistics, order: readonly number[]): { values: number[]; text: string } {
  const [cool, warm] = means.map((rows) => rows.at(-1));
  if (cool == null || warm == null) return { values: order.map(() => NaN), text: 'All test images have the same band.' };
  const change = (c: number): number => warm[c]! - cool[c]!;
  return { values: order.map(change), text: findingOf(cool, warm) };
}

/**
 * The forward as a picture: a row for each channel, from its map over its mean, the hidden units and its gate to the scaled map.
 */
import { h, styled, svg } from '../ui/dom.ts';
import { blankHeatMap, drawHeatMap } from '../ui/heat-map.ts';
import { bar, type Bar } from './bar.ts';
import type { BlockResult, Edits, Maps } from './block.ts';
import { CHANNELS } from './settings.ts';
import { GATE_RANGE, MEAN_RANGE } from './state.ts';
import type { Trained } from './training.ts';

/** Height and width of the maps. */
const SIDE = 16;

export interface Figure {
  readonly element: HTMLElement;
  readonly update: (result: BlockResult, edits: Edits) => void;
}

/** Called when a value is set by hand, or with null when it is released. */
export type OnEdit = (part: keyof Edits, channel: number, value: number | null) => void;

/** Makes the figure of a trained network. */
export function figure({ settings, meanGates }: Pick<Trained, 'settings' | 'meanGates'>, onEdit: OnEdit): Figure {
  const hidden = CHANNELS / settings.reduction;
  const channels = Array.from({ length: CHANNELS }, (_, c) => c);
  const maps = channels.map((c) => blankHeatMap(mapLabel(c)));
  const scaled = channels.map((c) => blankHeatMap(scaledLabel(c)));
  const means = channels.map((c) =>
    bar({ label: `mean z${c + 1}`, range: MEAN_RANGE, color: 'muted', marks: [], onSet: (v) => onEdit('means', c, v) }),
  );
  const gates = channels.map((c) => {
    const marks = [
      { value: meanGates.warm[c]!, color: 'plain' },
      { value: meanGates.cool[c]!, color: 'se' },
    ];
    return bar({
      label: `gate s${c + 1}`,
      range: GATE_RANGE[settings.gate],
      color: 'yes',
      marks,
      onSet: (v) => onEdit('gates', c, v),
    });
  });
  const units = Array.from({ length: hidden }, () => h('output', { class: 'unit' }));
  const first = edges(CHANNELS, hidden);
  const second = edges(hidden, CHANNELS);
  const element = h(
    'div',
    { class: 'se-figure' },
    heads(),
    channels.map((c) => [cell(c, 1, maps[c]!), cell(c, 2, means[c]!.element), cell(c, 6, gates[c]!.element), cell(c, 7, scaled[c]!)]),
    tall(3, first.element),
    tall(4, h('div', { class: 'units' }, units)),
    tall(5, second.element),
  );
  const focus = (channel: number | null): void => {
    element.classList.toggle('focused', channel !== null);
    first.focus((from) => from === channel);
    second.focus((_, to) => to === channel);
  };
  for (const event of ['pointerover', 'focusin']) element.addEventListener(event, (e) => focus(channelOf(e.target)));
  for (const event of ['pointerleave', 'focusout']) element.addEventListener(event, () => focus(null));
  return { element, update: (result, edits) => update(result, edits, { maps, scaled, means, gates, units, first, second }) };
}

/** The channel in whose row an element stands; null for the hidden units. */
function channelOf(target: EventTarget | null): number | null {
  const row = target instanceof Element ? target.closest<HTMLElement>('.se-cell') : null;
  return row === null ? null : Number(row.dataset['channel']);
}

interface Parts {
  readonly maps: readonly HTMLCanvasElement[];
  readonly scaled: readonly HTMLCanvasElement[];
  readonly means: readonly Bar[];
  readonly gates: readonly Bar[];
  readonly units: readonly HTMLElement[];
  readonly first: Edges;
  readonly second: Edges;
}

function update({ forward, weights }: BlockResult, edits: Edits, parts: Parts): void {
  // One scale for all maps, so that a closed gate makes its map faint. Its end is a high quantile: few numbers are much larger.
  const most = quantile(forward.maps, 0.985);
  const signed = forward.gates.some((s) => s < 0);
  const options = signed ? { range: [-most, most] as const, diverging: true } : { range: [0, most] as const };
  const draw = (canvas: HTMLCanvasElement, values: Float64Array, label: string): void =>
    drawHeatMap(canvas, { values, rows: SIDE, columns: SIDE }, { label, ...options });
  forward.maps.forEach((map, c) => draw(parts.maps[c]!, map, mapLabel(c)));
  forward.scaled.forEach((map, c) => draw(parts.scaled[c]!, map, scaledLabel(c)));
  parts.means.forEach((b, c) => b.show(forward.means[c]!, forward.ownMeans[c]!, edits.means[c] !== null));
  parts.gates.forEach((b, c) => b.show(forward.gates[c]!, forward.ownGates[c]!, edits.gates[c] !== null));
  const largest = Math.max(...forward.hidden, 1e-9);
  parts.units.forEach((unit, j) => {
    const value = forward.hidden[j]!;
    unit.textContent = value.toFixed(2);
    unit.title = `hidden unit ${j + 1}`;
    styled(unit, { '--share': `${(100 * value) / largest}%` });
  });
  const H = forward.hidden.length;
  parts.first.update((c, j) => weights.first[j * CHANNELS + c]! * forward.means[c]!);
  parts.second.update((j, c) => weights.second[c * H + j]! * forward.hidden[j]!);
}

/** Returns the number that a share of all numbers of the maps does not exceed. */
function quantile(maps: Maps, share: number): number {
  const sorted = Float64Array.from(maps.flatMap((map) => [...map])).sort();
  return sorted[Math.floor(share * (sorted.length - 1))]!;
}

const mapLabel = (c: number): string => `channel ${c + 1}: map u${c + 1}`;
const scaledLabel = (c: number): string => `channel ${c + 1}: scaled map s${c + 1} · u${c + 1}`;

/** The names of the columns. */
function heads(): HTMLElement[] {
  const columns: readonly (readonly [column: number, name: string, about: string])[] = [
    [1, 'u', 'maps'],
    [2, 'z', 'squeeze'],
    [4, 'δ(W₁z)', 'hidden'],
    [6, 's', 'gates'],
    [7, 's·u', 'scaled'],
  ];
  return columns.map(([column, name, about]) =>
    styled(h('div', { class: 'se-head' }, h('b', {}, name), h('span', {}, about)), { 'grid-column': String(column), 'grid-row': '1' }),
  );
}

/** Places an element in the row of a channel. */
function cell(channel: number, column: number, content: HTMLElement): HTMLElement {
  return styled(h('div', { class: 'se-cell', 'data-channel': channel }, content), {
    'grid-row': String(channel + 2),
    'grid-column': String(column),
  });
}

/** Places an element beside all channels. */
function tall(column: number, content: HTMLElement | SVGElement): HTMLElement {
  return styled(h('div', { class: 'se-tall' }, content), { 'grid-row': `2 / span ${CHANNELS}`, 'grid-column': String(column) });
}

interface Edges {
  readonly element: SVGElement;
  /** Draws each edge as thick as its contribution, in the colour of its sign. */
  readonly update: (contribution: (from: number, to: number) => number) => void;
  /** Marks the edges that stay visible beside faint ones. */
  readonly focus: (isOn: (from: number, to: number) => boolean) => void;
}

/** Lines from each of `from` points on the left to each of `to` points on the right. */
function edges(from: number, to: number): Edges {
  const endsOf = (k: number): [from: number, to: number] => [Math.floor(k / to), k % to];
  const lines = Array.from({ length: from * to }, (_, k) => {
    const [i, j] = endsOf(k);
    const ends = { x1: 0, y1: (100 * (i + 0.5)) / from, x2: 100, y2: (100 * (j + 0.5)) / to };
    return svg('line', { ...ends, 'vector-effect': 'non-scaling-stroke' });
  });
  return {
    element: svg('svg', { viewBox: '0 0 100 100', preserveAspectRatio: 'none', 'aria-hidden': 'true' }, lines),
    update: (contribution) => {
      const values = lines.map((_, k) => contribution(...endsOf(k)));
      const most = Math.max(...values.map(Math.abs), 1e-9);
      lines.forEach((line, k) => {
        const share = Math.abs(values[k]!) / most;
        line.classList.toggle('minus', values[k]! < 0);
        line.classList.toggle('plus', values[k]! >= 0);
        styled(line, { 'stroke-width': `${0.5 + 5 * share}px`, opacity: String(0.15 + 0.75 * share) });
      });
    },
    focus: (isOn) => lines.forEach((line, k) => line.classList.toggle('on', isOn(...endsOf(k)))),
  };
}

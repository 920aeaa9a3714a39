/**
 * The backward as a picture: the two paths of the gradient to one channel, and their sum; the numbers of all channels.
 */
import { fill, h, svg, type Child } from '../ui/dom.ts';
import { withMinus } from '../ui/numbers.ts';
import { withScrollHint } from '../ui/scroller.ts';
import { heatMap } from '../ui/heat-map.ts';
import type { BlockResult, Edits } from './block.ts';
import { CHANNELS } from './settings.ts';

const SIDE = 16;

export interface Paths {
  readonly element: HTMLElement;
  readonly update: (result: BlockResult, edits: Edits, channel: number) => void;
}

/** Makes the picture. `onChannel` is called with the channel that the visitor chooses. */
export function paths(onChannel: (channel: number) => void): Paths {
  const strips = h('div', { class: 'strips' });
  const body = h('tbody', {});
  const head = ['Channel', 's', '∂L/∂s', '∂L/∂z', '‖direct‖', '‖squeeze‖', '‖sum‖'];
  const rows = Array.from({ length: CHANNELS }, (_, c) => channelRow(c, onChannel));
  fill(
    body,
    rows.map((r) => r.element),
  );
  const note = h(
    'p',
    { class: 'note', hidden: true },
    'The loss is almost 0, and so is its gradient. The maps are drawn on their own scale.',
  );
  const numbers = h(
    'table',
    { class: 'gradients' },
    h(
      'thead',
      {},
      h(
        'tr',
        {},
        head.map((t) => h('th', { scope: 'col' }, t)),
      ),
    ),
    body,
  );
  return {
    element: h(
      'div',
      { class: 'paths' },
      h('div', { class: 'box' }, strips, note),
      h(
        'div',
        { class: 'paths-side' },
        h('div', { class: 'box' }, diagram()),
        withScrollHint(h('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Gradients by channel' }, numbers)),
      ),
    ),
    update: (result, edits, channel) => {
      note.hidden = result.forward.loss > 0.01;
      rows.forEach((row, c) => row.update(result, edits, c === channel));
      fill(strips, stripsOf(result, edits, channel));
    },
  };
}

function channelRow(c: number, onChannel: (channel: number) => void) {
  const input = h('input', { type: 'radio', name: 'se-channel', onchange: () => onChannel(c) });
  const cells = Array.from({ length: 6 }, () => h('td', {}));
  const element = h('tr', {}, h('th', { scope: 'row' }, h('label', {}, input, ` ${c + 1}`)), cells);
  return {
    element,
    update: ({ forward, backward }: BlockResult, edits: Edits, isShown: boolean): void => {
      input.checked = isShown;
      element.classList.toggle('shown', isShown);
      const lengths = [backward.direct, backward.squeeze, backward.full].map((maps) => lengthOf(maps[c]!));
      [forward.gates[c]!, backward.gates[c]!, backward.means[c]!, ...lengths].forEach((value, k) => {
        const isSet = (k === 1 && edits.gates[c] !== null) || (k === 2 && edits.means[c] !== null);
        cells[k]!.textContent = isSet ? '0' : short(value);
      });
    },
  };
}

/** The two paths to a channel's map, step by step, and their sum. */
function stripsOf({ forward, backward }: BlockResult, { means, gates }: Edits, c: number): Child[] {
  const n = subscript(c + 1);
  const area = forward.maps[c]!.length;
  const [g, direct, squeeze, full] = [backward.output[c]!, backward.direct[c]!, backward.squeeze[c]!, backward.full[c]!];
  const common = Math.max(...[direct, squeeze, full].map(largest));
  const step = (formula: string, value: number | null): HTMLElement =>
    h('span', { class: 'path-step' }, h('span', {}, formula), value !== null && h('b', {}, short(value)));
  /** A gradient; none flows through a value that is set by hand. */
  const flowing = (formula: string, value: number, setByHand: number | null): HTMLElement =>
    setByHand === null
      ? step(formula, value)
      : h('span', { class: 'path-step' }, h('span', {}, formula), h('b', {}, '0'), h('span', {}, 'set by hand: no gradient flows'));
  return [
    strip('direct', 'direct path', 'Direct: u is multiplied by s', [
      followed(map(`∂L/∂y${n}`, g), '→'),
      followed(step(`× s${n}`, forward.gates[c]!), '→'),
      map('direct', direct),
    ]),
    strip('squeeze', 'path through the squeeze', 'Through the squeeze: s depends on u', [
      followed(flowing(`Σ ∂L/∂y · u = ∂L/∂s${n}`, backward.gates[c]!, gates[c]!), '→'),
      followed(step('σ′, W₂ᵀ, δ′, W₁ᵀ: all gates add up', null), '→'),
      followed(flowing(`∂L/∂z${n}`, backward.means[c]!, means[c]!), '→'),
      followed(step(`÷ HW = ${area}`, means[c] === null ? backward.means[c]! / area : 0), '→'),
      map('squeeze', squeeze),
    ]),
    strip('sum', 'sum of both paths', `Where the paths meet, gradients add: ∂L/∂u${n}`, [
      followed(map('direct', direct, common), '+'),
      followed(map('squeeze', squeeze, common), '='),
      map(`∂L/∂u${n}`, full, common),
    ]),
  ];
}

function strip(kind: string, label: string, title: string, parts: readonly HTMLElement[]): HTMLElement {
  return h('section', { class: `strip ${kind}`, 'aria-label': label }, h('h3', {}, title), h('div', {}, parts));
}

/** A part with the sign behind it, so that no line begins with a sign. */
function followed(part: HTMLElement, sign: '→' | '+' | '='): HTMLElement {
  return h('span', { class: 'followed' }, part, h('span', { class: 'arrow', 'aria-hidden': sign === '→' ? 'true' : null }, sign));
}

/** A map of a gradient on a scale from −most to most, its largest number by default, and its sum. */
function map(name: string, values: Float64Array, most = largest(values)): HTMLElement {
  const sum = values.reduce((a, b) => a + b, 0);
  const label = `${name}: at most ${short(largest(values))} in size, sum ${short(sum)}`;
  const matrix = { values, rows: SIDE, columns: SIDE };
  return h(
    'figure',
    { class: 'gradient-map' },
    h('figcaption', {}, name),
    heatMap(matrix, { label, diverging: true, range: [-most, most] }),
    h('span', {}, `±${short(most)}`),
    h('span', {}, `Σ ${short(sum)}`),
  );
}

function largest(values: Float64Array): number {
  return values.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
}

/** The block with the two ways of the gradient, from right to left. */
function diagram(): SVGElement {
  const box = (x: number, y: number, width: number, text: string): Child => [
    svg('rect', { x, y: y - 14, width, height: 28, rx: 7 }),
    svg('text', { x: x + width / 2, y: y + 5 }, text),
  ];
  const direct = svg('path', { class: 'direct', d: 'M352 44 L68 44', 'marker-end': 'url(#se-arrow)' });
  const squeeze = svg('path', { class: 'squeeze', d: 'M366 58 L366 118 L54 118 L54 66', 'marker-end': 'url(#se-arrow)' });
  return svg(
    'svg',
    { class: 'se-diagram', viewBox: '0 0 420 150', role: 'img', 'aria-label': 'The gradient flows from y back to u along two paths' },
    svg(
      'defs',
      {},
      svg(
        'marker',
        { id: 'se-arrow', viewBox: '0 0 10 10', refX: 8, refY: 5, markerWidth: 5, markerHeight: 5, orient: 'auto' },
        svg('path', { d: 'M0 0 L10 5 L0 10 z', fill: 'context-stroke' }),
      ),
    ),
    direct,
    squeeze,
    box(36, 44, 32, 'u'),
    box(352, 44, 28, '⊙'),
    svg('text', { x: 400, y: 49 }, '← y'),
    box(90, 118, 54, 'mean'),
    box(170, 118, 60, 'W₁, δ'),
    box(256, 118, 60, 'W₂, σ'),
    svg('text', { class: 'direct', x: 210, y: 36 }, 'direct: ∂L/∂y · s'),
    svg('text', { class: 'squeeze', x: 210, y: 92 }, 'through the squeeze'),
    svg('text', { x: 22, y: 49 }, '+'),
  );
}

function lengthOf(values: Float64Array): number {
  return Math.sqrt(values.reduce((sum, x) => sum + x * x, 0));
}

/** Writes a channel's number as an index. */
function subscript(channel: number): string {
  return '₀₁₂₃₄₅₆₇₈₉'.charAt(channel);
}

/** Formats a number with three significant digits. */
function short(x: number): string {
  if (x === 0) return '0';
  const size = Math.abs(x);
  return withMinus(size < 1e-3 || size >= 1e4 ? x.toExponential(1) : String(Number(x.toPrecision(3))));
}

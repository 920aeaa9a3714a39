/**
 * Draws a graph as SVG: a box for each node with its data and gradient, and what moves in the current step.
 */
import { svg } from '../ui/dom.ts';
import { BOX, type Box, type EdgePath, type Placed, type Point, isBareNumber, pathOf, subtitleOf } from './boxes.ts';
import { formatShape, formatValue, formatValues } from './format.ts';
import { pictureOf } from './picture.ts';
import type { GraphModel, NodeView, State, Step, Values } from './walk.ts';

export interface Drawing {
  /** Shows what is known after a step; null before the first one. */
  readonly show: (state: State, step: Step | null) => void;
  /** Draws pictures again, in other colours. */
  readonly repaint: () => void;
  /** Fits the drawing into its box. */
  readonly fit: () => void;
}

/** The smallest scale at which a graph is fitted into a box of some width; wider ones scroll. */
function smallestScale(width: number): number {
  return width < 600 ? 0.85 : 0.72;
}

/** Draws the graph in `host`, which scrolls where the graph is wider. `onSelect` is called with a node's number when the user presses it. */
export function drawGraph(host: HTMLElement, { nodes }: GraphModel, placed: Placed, onSelect: (node: number) => void): Drawing {
  const edges = placed.edges.map((edge) => edgeElement(edge));
  const shapes = nodes.map((node, i) => nodeElement(node, placed.boxes[i]!, () => onSelect(i)));
  const picture = svg(
    'svg',
    { class: 'graph', viewBox: `0 0 ${placed.width} ${placed.height}`, role: 'group', 'aria-label': `Graph of ${nodes.length} nodes` },
    arrowHeads(),
    svg('g', {}, ...edges.map((e) => e.element)),
    svg('g', {}, ...shapes.map((s) => s.element)),
    svg('g', { class: 'labels', 'aria-hidden': 'true' }, ...edges.map((e) => e.label)),
  );
  host.replaceChildren(picture);
  fit(host, picture, placed);
  let last: readonly [State, Step | null] | null = null;
  const show = (state: State, step: Step | null): void => {
    const isFirst = last === null;
    last = [state, step];
    for (const edge of edges) edge.show(step);
    nodes.forEach((node, i) => shapes[i]!.show(nodeLook(node, i, state, step)));
    scrollTo(host, placed, step, !isFirst && !matchMedia('(prefers-reduced-motion: reduce)').matches);
  };
  return {
    show,
    fit: () => fit(host, picture, placed),
    repaint: () => {
      for (const shape of shapes) shape.repaint();
      if (last !== null) show(...last);
    },
  };
}

/** The space at both sides of the drawing, as the style sheet has it. */
const PADDING = 38;

/** Scales the drawing to the width of its box, within limits. */
function fit(host: HTMLElement, picture: SVGSVGElement, { width, height }: Placed): void {
  const scale = Math.max(smallestScale(host.clientWidth), Math.min(1, (host.clientWidth - PADDING) / width));
  picture.setAttribute('width', String(Math.floor(width * scale)));
  picture.setAttribute('height', String(Math.floor(height * scale)));
}

/** Scrolls the box, not the page, so that the node of the step is in sight with its inputs. */
function scrollTo(host: HTMLElement, { boxes, width }: Placed, step: Step | null, smoothly: boolean): void {
  if (host.scrollWidth <= host.clientWidth) return;
  const scale = host.scrollWidth / width;
  const ends = step === null ? [boxes.length - 1] : [step.node, ...step.passed.map((p) => p.to)];
  const left = Math.min(...ends.map((i) => boxes[i]!.x));
  const right = Math.max(...ends.map((i) => boxes[i]!.x + boxes[i]!.width));
  const isNarrow = (right - left) * scale <= host.clientWidth;
  const current = boxes[ends[0]!]!;
  const middle = isNarrow ? (left + right) / 2 : current.x + current.width / 2;
  host.scrollTo({ left: middle * scale - host.clientWidth / 2, behavior: smoothly ? 'smooth' : 'auto' });
}

function arrowHeads(): SVGElement {
  const head = (id: string): SVGElement =>
    svg(
      'marker',
      {
        id,
        viewBox: '0 0 8 8',
        refX: 7,
        refY: 4,
        markerWidth: 10,
        markerHeight: 10,
        markerUnits: 'userSpaceOnUse',
        orient: 'auto-start-reverse',
      },
      svg('path', { d: 'M0 0 L8 4 L0 8 z', class: id }),
    );
  return svg('defs', {}, head('graph-arrow'), head('graph-arrow-active'));
}

// — edges —

function edgeElement({ from, to, input, points }: EdgePath) {
  const d = pathOf(points);
  const line = svg('path', { d, class: 'edge', 'marker-end': 'url(#graph-arrow)' });
  const element = svg('g', {}, line);
  const label = svg('g', { class: 'edge-label' });
  const middle = points[Math.floor(points.length / 2)] ?? { x: 0, y: 0 };
  const show = (step: Step | null): void => {
    const values = step === null ? undefined : valuesOn({ from, to, input }, step);
    const isActive = values !== undefined;
    line.setAttribute('class', isActive ? 'edge is-active' : 'edge');
    // The arrow turns round: the gradient flows from the result to its input.
    line.setAttribute(isActive ? 'marker-start' : 'marker-end', isActive ? 'url(#graph-arrow-active)' : 'url(#graph-arrow)');
    line.removeAttribute(isActive ? 'marker-end' : 'marker-start');
    label.replaceChildren(...(values?.length === 1 ? pill(middle, formatValue(values[0]!)) : []));
  };
  return { element, label, show };
}

/** Returns the gradient that a step moves along an edge: one that its node passes on, or one that has brought it here. */
function valuesOn({ from, to, input }: Omit<EdgePath, 'points'>, { node, passed, arrivals }: Step): Values | undefined {
  const leaving = node === to ? passed.find((p) => p.input === input && p.to === from)?.values : undefined;
  return leaving ?? arrivals.find((a) => a.from === to && a.input === input && a.node === from)?.added;
}

function pill({ x, y }: Point, text: string): SVGElement[] {
  const width = 12 + 6.8 * text.length;
  return [
    svg('rect', { x: x - width / 2, y: y - 9, width, height: 18, rx: 9, class: 'pill' }),
    svg('text', { x, y: y + 4, 'text-anchor': 'middle', class: 'pill-text' }, text),
  ];
}

// — nodes —

/** How a node looks after a step. */
interface NodeLook {
  readonly grad: Values | null;
  /** Such as `1 of 2`; empty where at most one gradient arrives. */
  readonly arrived: string;
  readonly isCurrent: boolean;
  readonly isVisited: boolean;
  readonly isReceiving: boolean;
  /** Whether its gradient is incomplete. */
  readonly isPartial: boolean;
}

function nodeLook({ uses }: NodeView, i: number, { grads, counts, visited }: State, step: Step | null): NodeLook {
  return {
    grad: grads[i]!,
    arrived: uses > 1 && counts[i]! > 0 ? `${counts[i]!} of ${uses}` : '',
    isCurrent: step?.node === i,
    isVisited: visited[i]!,
    isReceiving: step !== null && step.node !== i && step.passed.some((p) => p.to === i),
    isPartial: counts[i]! > 0 && counts[i]! < uses,
  };
}

function nodeElement(node: NodeView, box: Box, onPress: () => void) {
  const { x, y, width, height } = box;
  const frame = svg('rect', { width, height, rx: isBareNumber(node) ? 14 : 9, class: 'frame' });
  const element = svg('g', { transform: `translate(${x} ${y})`, 'data-node': node.name }, frame);
  if (node.kind !== 'constant') {
    element.setAttribute('tabindex', '0');
    element.setAttribute('role', 'button');
    element.addEventListener('click', onPress);
    element.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' && event.key !== ' ') return;
      event.preventDefault();
      event.stopPropagation();
      onPress();
    });
  }
  if (isBareNumber(node)) {
    element.setAttribute('class', 'node constant');
    element.append(svg('text', { x: width / 2, y: 19, 'text-anchor': 'middle', class: 'value' }, node.name));
    return { element, show: () => {}, repaint: () => {} };
  }
  element.append(
    svg('text', { x: BOX.padding, y: 19, class: 'name' }, node.name),
    svg('text', { x: BOX.padding, y: 33, class: 'kind' }, subtitleOf(node)),
  );
  const data = valuesElement(box, BOX.title, 'data');
  data.show(node.value);
  element.append(data.element);
  const gradTop = BOX.title + box.cell.height * box.grid.rows + BOX.gap;
  const grad = valuesElement(box, gradTop, 'grad');
  const arrived = svg('text', { x: width - BOX.padding, y: 19, 'text-anchor': 'end', class: 'arrived' });
  if (node.kind !== 'constant') element.append(grad.element, arrived);
  let shown: Values | null | undefined;
  const show = (look: NodeLook): void => {
    const classes = ['node', node.kind, look.isCurrent && 'is-current', look.isVisited && 'is-visited', look.isReceiving && 'is-receiving'];
    element.setAttribute('class', [...classes, look.isPartial && 'is-partial'].filter((c) => c !== false).join(' '));
    if (node.kind !== 'constant') element.setAttribute('aria-label', describeNode(node, look));
    arrived.textContent = look.arrived;
    if (look.grad !== shown) grad.show(look.grad);
    shown = look.grad;
  };
  const repaint = (): void => {
    data.show(node.value);
    shown = undefined;
  };
  return { element, show, repaint };
}

function describeNode(node: NodeView, { grad, arrived }: NodeLook): string {
  const gradient = grad === null ? 'no gradient yet' : `gradient ${formatValues(grad)}`;
  const progress = arrived === '' ? '' : `, ${arrived} gradients arrived`;
  return `${node.name}: ${node.op}, shape ${formatShape(node.shape)}, data ${formatValues(node.value)}, ${gradient}${progress}`;
}

/** The data or the gradient of a node: numbers, or a picture where there are many. */
function valuesElement({ grid, cell, hasNumbers, width }: Box, top: number, label: 'data' | 'grad') {
  const left = hasNumbers ? width - BOX.padding - cell.width * grid.columns : BOX.padding + BOX.label;
  const content = svg('g', { transform: `translate(${left} ${top})` });
  const element = svg('g', { class: label }, svg('text', { x: BOX.padding, y: top + 13, class: 'row-label' }, label), content);
  const place = { width: cell.width * grid.columns, height: cell.height * grid.rows };
  const show = (values: Values | null): void => {
    if (values === null) content.replaceChildren(svg('rect', { ...place, rx: 3, class: 'empty' }));
    else if (hasNumbers) content.replaceChildren(...numbers(values, grid.columns, cell));
    else content.replaceChildren(svg('image', { ...place, href: pictureOf(values, grid), class: 'picture', preserveAspectRatio: 'none' }));
  };
  return { element, show };
}

/** Writes a number into a cell, which has room for seven characters. */
function formatCell(x: number): string {
  return formatValue(x, Math.abs(x) < 0.01 ? 2 : 3);
}

function numbers(values: Values, columns: number, cell: { readonly width: number; readonly height: number }): SVGElement[] {
  const most = Math.max(...values.map(Math.abs).filter(Number.isFinite), Number.MIN_VALUE);
  return values.flatMap((value, i) => {
    const [x, y] = [(i % columns) * cell.width, Math.floor(i / columns) * cell.height];
    const isAlone = values.length === 1;
    const place = { x: x + cell.width - 4, y: y + 13, 'text-anchor': 'end', class: isAlone ? 'value' : 'value in-cell' };
    const text = svg('text', place, isAlone ? formatValue(value) : formatCell(value));
    if (isAlone) return [text];
    const share = Number.isFinite(value) ? Math.abs(value) / most : 0;
    const tint = { x, y, width: cell.width - 1, height: cell.height - 1, rx: 2, 'fill-opacity': (0.45 * share).toFixed(3) };
    return [svg('rect', { ...tint, class: value < 0 ? 'tint negative' : 'tint positive' }), text];
  });
}

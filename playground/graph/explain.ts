/**
 * Says what a step does: the gradient received, the local rule, what is passed on, and the sum where paths meet.
 */
import { type Child, h, styled } from '../ui/dom.ts';
import { heatMap } from '../ui/heat-map.ts';
import { formatShape, formatTerm, formatValue, formatValues, gridOf } from './format.ts';
import { showsNumbers } from './boxes.ts';
import { matrixOf } from './picture.ts';
import { backwardOf, fillIn, ruleOf } from './rules.ts';
import type { Arrival, GraphModel, NodeView, Passed, State, Step, Values } from './walk.ts';

/** Returns a step in one sentence, as it is read out. */
export function sentenceOf(model: GraphModel, step: Step | null, order: WalkOrder): string {
  if (step === null) {
    const { name, shape } = model.nodes[model.root]!;
    return `The forward pass has computed all data. Backward starts at ${name} with a gradient of ${shape.length === 0 ? '1' : 'ones'}.`;
  }
  const node = model.nodes[step.node]!;
  const late = lateArrival(model, step);
  if (late !== undefined) {
    const [added, before] = [briefly(late.added, node), briefly(late.before!, node)];
    return `${node.name} receives ${added} too late: it has passed on ${before} before, so this part is lost to the nodes behind it.`;
  }
  if (node.kind === 'leaf') return leafSentence(model, node, step, order);
  const passed = step.passed.map(({ to, values }) => `${briefly(values, model.nodes[to]!)} to ${model.nodes[to]!.name}`);
  return `${node.name} has received ${briefly(step.received, node)} and passes ${passed.length === 0 ? 'nothing' : passed.join(' and ')}.`;
}

/** Returns the numbers, or the shape where there are many. */
function briefly(values: Values, { shape }: NodeView): string {
  return values.length > 4 ? `a tensor ${formatShape(shape)}` : formatValues(values);
}

export type WalkOrder = 'newestFirst' | 'depthFirst';

function leafSentence({ nodes }: GraphModel, leaf: NodeView, { received, arrivals }: Step, order: WalkOrder): string {
  const { name, uses } = leaf;
  const gradient = briefly(received, leaf);
  if (order === 'newestFirst') return `${name} is a leaf. Its gradient is complete: ${name}.grad is ${gradient}.`;
  const [{ count, after, from }] = arrivals as readonly [Arrival];
  const progress = uses > 1 ? ` (${count} of ${uses})` : '';
  const sum = count > 1 ? `, which makes ${briefly(after, leaf)}` : '';
  const sender = from === null ? '' : ` from ${nodes[from]!.name}`;
  return `${name} is a leaf and receives ${gradient}${sender}${progress}${sum}.`;
}

const LEGEND =
  'Arrows show how the data flow. Boxes filled with blue are leaves, those with a faint frame constants. Purple is gradient: a thick frame marks the node ' +
  'of the step, dashed arrows and frames the inputs that it passes gradients to.';

/** Returns the explanation of a step. `state` is what is known after it. */
export function explain(model: GraphModel, step: Step | null, state: State, order: WalkOrder): HTMLElement {
  const isLate = step !== null && lateArrival(model, step) !== undefined;
  const sentence = h('p', { class: isLate ? 'sentence late' : 'sentence' }, sentenceOf(model, step, order));
  if (step === null) return h('div', { class: 'explanation' }, sentence, h('p', { class: 'says' }, LEGEND));
  const node = model.nodes[step.node]!;
  const root = model.nodes[model.root]!.name;
  const rule = ruleOf(node.op);
  const passesOn = step.passed.length > 0;
  const received = h(
    'div',
    { class: 'received' },
    fact(`Received: ∂${root}/∂${asOperand(node.name)}`, receivedSum(step, node)),
    passesOn && fact('Computed', h('code', {}, definition(model, node)), h('span', { class: 'says' }, rule.says ?? '')),
  );
  return h('div', { class: 'explanation' }, sentence, received, passesOn && h('div', { class: 'scroll' }, passedTable(model, step, state)));
}

function fact(title: string, ...content: readonly Child[]): HTMLElement {
  return h('div', { class: 'fact' }, h('span', { class: 'fact-title' }, title), ...content);
}

/** Returns what arrives at the node of a step although it has passed on its gradient before. A leaf passes on nothing. */
function lateArrival({ nodes }: GraphModel, { node, arrivals }: Step): Arrival | undefined {
  return nodes[node]!.kind === 'operation' ? arrivals.find((a) => a.node === node && a.isLate) : undefined;
}

function definition({ nodes }: GraphModel, { op, inputs, name }: NodeView): string {
  const formula = fillIn(ruleOf(op).forward, { g: 'g', y: name, inputs: inputs.map((i) => nodes[i]!.name) });
  return formula === name ? formula : `${name} = ${formula}`;
}

/** Shows a gradient; as a sum where several have arrived at once or before. */
function receivedSum({ received, arrivals, node }: Step, { shape }: NodeView): Child {
  const own = arrivals.find((a) => a.node === node);
  if (own === undefined || own.before === null) return tensorView(received, shape);
  return h('span', { class: 'sum' }, tensorView(own.before, shape), '+', tensorView(own.added, shape), '=', tensorView(own.after, shape));
}

// — what is passed on —

function passedTable(model: GraphModel, step: Step, state: State): HTMLElement {
  const head = ['To', 'Local rule', 'Passed on', 'Sum there'].map((text) => h('th', { scope: 'col' }, text));
  return h(
    'table',
    { class: 'passed' },
    h('thead', {}, h('tr', {}, head)),
    h('tbody', {}, ...step.passed.map((p) => passedRow(model, step, p, state))),
  );
}

/** A cell that carries its column's title, for narrow windows, where a row becomes a list. */
function titledCell(title: string, content: Child): HTMLElement {
  return h('td', { 'data-title': title }, h('div', {}, content));
}

function passedRow(model: GraphModel, step: Step, passed: Passed, state: State): HTMLElement {
  const { nodes } = model;
  const [node, target] = [nodes[step.node]!, nodes[passed.to]!];
  const arrival = step.arrivals.find((a) => a.node === passed.to && a.added === passed.values);
  return h(
    'tr',
    {},
    h('th', { scope: 'row' }, target.name),
    titledCell('Local rule', localRule(nodes, node, step, passed)),
    titledCell('Passed on', tensorView(passed.values, target.shape)),
    titledCell('Sum there', arrival === undefined ? stillToCome(state, passed, target) : sumThere(arrival, target)),
  );
}

/** The formula with names, then with numbers where all of them are numbers; and what broadcasting adds to it. */
function localRule(nodes: readonly NodeView[], node: NodeView, { received }: Step, { to, input }: Passed): Child {
  const rule = ruleOf(node.op);
  const formula = backwardOf(rule, input);
  const inputs = node.inputs.map((i) => nodes[i]!);
  const symbols = fillIn(formula, { g: 'g', y: node.name, inputs: inputs.map((n) => asOperand(n.name)) });
  const areNumbers = rule.elementwise === true && [node, ...inputs].every((n) => n.value.length === 1);
  const numbers = (): string =>
    fillIn(formula, { g: formatTerm(received[0]!), y: formatTerm(node.value[0]!), inputs: inputs.map((n) => formatTerm(n.value[0]!)) });
  return [
    h('code', {}, symbols),
    areNumbers && formula !== '{g}' ? h('code', { class: 'numbers' }, `= ${numbers()}`) : null,
    broadcastNote(nodes[to]!, node, rule.elementwise === true),
  ];
}

function asOperand(name: string): string {
  return / /.test(name) ? `(${name})` : name;
}

/** Says over which dims a gradient is summed because the forward pass repeated the input along them. */
function broadcastNote(target: NodeView, node: NodeView, isElementwise: boolean): Child {
  if (!isElementwise || formatShape(target.shape) === formatShape(node.shape)) return null;
  const copies = node.value.length / target.value.length;
  const shapes = `${target.name} ${formatShape(target.shape)} was repeated to ${formatShape(node.shape)}`;
  return h('span', { class: 'broadcast' }, `${shapes}, so its gradient is the sum over ${copies} copies.`);
}

function sumThere({ before, added, after, count }: Arrival, { uses, shape }: NodeView): Child {
  const progress = uses > 1 ? h('span', { class: 'progress' }, `${count} of ${uses}`) : null;
  if (before === null) return [tensorView(after, shape), progress];
  if (after.length > 1) return [tensorView(after, shape), progress];
  return [
    h('span', { class: 'sum' }, `${formatValue(before[0]!)} + ${formatTerm(added[0]!)} = `, h('b', {}, formatValue(after[0]!))),
    progress,
  ];
}

/** Depth first the gradient is on its way: its arrival is a step of its own. */
function stillToCome({ grads, visited }: State, { to }: Passed, { kind, shape }: NodeView): Child {
  const before = grads[to];
  if (before == null) return h('span', { class: 'progress' }, 'arrives in a later step');
  const isLost = visited[to]! && kind === 'operation';
  return [
    tensorView(before, shape),
    h('span', { class: isLost ? 'progress late' : 'progress' }, isLost ? 'so far, and has been passed on' : 'so far'),
  ];
}

// — tensors —

/** Shows a tensor: a number, a table of numbers, or a picture. All digits of a number are in its title. */
export function tensorView(values: Values, shape: readonly number[]): HTMLElement {
  if (values.length === 1) return h('span', { class: 'number', title: values[0]! }, formatValue(values[0]!));
  const grid = gridOf(shape);
  if (!showsNumbers(grid)) {
    const label = `${formatShape(shape)}: ${formatValues(values)}`;
    const width = Math.min(240, Math.max(60, 6 * grid.columns));
    return h(
      'span',
      { class: 'tensor-picture' },
      styled(heatMap(matrixOf(values, grid), { label, diverging: true }), { width: `${width}px` }),
      rangeText(values),
    );
  }
  const most = Math.max(...values.map(Math.abs).filter(Number.isFinite), Number.MIN_VALUE);
  const cells = values.map((value) => {
    const share = Number.isFinite(value) ? Math.abs(value) / most : 0;
    return styled(h('span', { class: value < 0 ? 'cell negative' : 'cell', title: value }, formatValue(value)), {
      '--share': `${Math.round(45 * share)}%`,
    });
  });
  return styled(h('span', { class: 'tensor' }, ...cells), { '--columns': String(grid.columns) });
}

function rangeText(values: Values): HTMLElement {
  const [low, high] = values.reduce(([a, b], x) => [Math.min(a, x), Math.max(b, x)], [Infinity, -Infinity]);
  return h('span', { class: 'progress' }, `${formatValue(low)} … ${formatValue(high)}`);
}

// — the end —

/** Compares the gradients of the leaves with the library's. `depthFirst` is what the naive walk has, null where it is not shown. */
export function leafTable({ nodes, leaves, newestFirst }: GraphModel, depthFirst: State | null): HTMLElement {
  const head = ['Leaf', ...(depthFirst === null ? ['Gradient'] : ['Newest first', 'Depth first', ''])].map((text) =>
    h('th', { scope: 'col' }, text),
  );
  const final = newestFirst.states.at(-1)!;
  const rows = leaves.map(({ node }) => {
    const { name, shape, grad } = nodes[node]!;
    const cells = [h('th', { scope: 'row' }, `${name}.grad`), cellOf(final.grads[node] ?? null, shape, 'Newest first')];
    if (depthFirst !== null) {
      const naive = depthFirst.grads[node] ?? null;
      const isRight = areClose(naive, grad);
      cells.push(
        cellOf(naive, shape, 'Depth first'),
        h('td', { class: isRight ? 'verdict right' : 'verdict wrong' }, isRight ? 'right' : 'wrong'),
      );
    }
    return h('tr', { 'data-leaf': name }, cells);
  });
  return h('div', { class: 'scroll' }, h('table', { class: 'passed leaves' }, h('thead', {}, h('tr', {}, head)), h('tbody', {}, ...rows)));
}

function cellOf(values: Values | null, shape: readonly number[], title: string): HTMLElement {
  return titledCell(title, values === null ? 'none' : tensorView(values, shape));
}

/** Says whether both walks end with the same gradients, and why. */
export function comparisonOf({ nodes, leaves, depthFirst }: GraphModel): string {
  const naive = depthFirst.states.at(-1)!.grads;
  const agree = leaves.every(({ node }) => areClose(naive[node] ?? null, nodes[node]!.grad));
  const ended = 'Both walks have ended. The first column is what the library stores in .grad.';
  return agree
    ? `${ended} Here the naive order agrees: it goes wrong only where the result of an operation is used twice. A leaf may be: it passes nothing on.`
    : `${ended} The naive order is wrong: the result of an operation is used twice, and passes on its first gradient before the second arrives.`;
}

/** Whether two gradients differ by rounding at most. */
export function areClose(a: Values | null, b: Values | null): boolean {
  if (a === null || b === null) return a === b;
  const most = Math.max(1, ...b.map(Math.abs));
  return a.every((x, i) => Object.is(x, b[i]!) || Math.abs(x - b[i]!) <= 1e-9 * most);
}

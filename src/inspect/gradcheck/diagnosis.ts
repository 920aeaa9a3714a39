/**
 * What wrong gradients look like: hypotheses are tried one after the other, and one is told only where every element agrees
 * with it closely. A gradient that looks like nothing known gets no diagnosis.
 */
import { rowMajorStrides, sameShape, type Shape } from '../../core/shape.ts';
import { AFFORDABLE, broadcastDims, predicts, sumTo, type Evidence } from './evidence.ts';
import { INVOLVED, SIMPLE, type Hypothesis } from './hypotheses.ts';
import { columnsOf, type Analysis, type Row, type Run } from './run.ts';

/** What the errors look like, one line each; inputs with the same error share one. */
export function diagnose(run: Run, here: Analysis, rows: readonly Row[]): string[] {
  const all = rows.flatMap((r): Evidence[] => {
    const k = run.points.findIndex((p) => p.input === r.row.input);
    if (r.numeric === null) return [];
    const { shape } = r.row;
    const strides = rowMajorStrides(shape);
    const wrong = r.failures.map((f) => f.index!.reduce((at, i, d) => at + i * strides[d]!, 0));
    return [{ name: r.row.name, shape, point: run.points[k]!, analytic: here.gradients[k]!, numeric: r.numeric, wrong }];
  });
  const open = all.filter((e) => e.wrong.length > 0);
  const said = new Map<string, string[]>();
  const say = (text: string, name: string): void => void said.set(text, [...(said.get(text) ?? []), name]);
  const simple = open.filter((e) => {
    const found = first(SIMPLE, e, run, here);
    if (found !== null) say(found, e.name);
    return found === null;
  });
  const pairs = exchanged(simple, run, here);
  const lines = [...said].map(([text, names]) => `${names.join(', ')}: ${text}`);
  lines.push(...pairs.map(([a, b]) => `${a.name} and ${b.name}: their gradients are exchanged`));
  said.clear();
  for (const e of simple.filter((x) => !pairs.some((p) => p.includes(x)))) {
    const found = first(INVOLVED, e, run, here);
    if (found !== null) say(found, e.name);
  }
  return [...lines, ...[...said].map(([text, names]) => `${names.join(', ')}: ${text}`)];
}

function first(hypotheses: readonly Hypothesis[], e: Evidence, run: Run, here: Analysis): string | null {
  for (const h of hypotheses) {
    const found = h(e, run, here);
    if (found !== null) return found;
  }
  return null;
}

/** Pairs of inputs, each with the other's gradient. */
function exchanged(open: readonly Evidence[], run: Run, here: Analysis): [Evidence, Evidence][] {
  const pairs: [Evidence, Evidence][] = [];
  const has = (a: Evidence, b: Evidence): boolean => {
    const other = sameShape(a.shape, b.shape) ? b.numeric : summedTo(a.shape, b, run, here);
    return other !== null && predicts(a.analytic, (i) => other[i]!);
  };
  for (const a of open) {
    if (pairs.some((p) => p.includes(a))) continue;
    const b = open.find((x) => x !== a && has(a, x) && has(x, a));
    if (b !== undefined) pairs.push([a, b]);
  }
  return pairs;
}

/** The right gradient of an input of an elementwise function, before broadcasting is undone, summed to another shape. */
function summedTo(shape: Shape, { shape: own, point }: Evidence, run: Run, here: Analysis): Float64Array | null {
  const to = here.shapes[0]!;
  if (here.shapes.length > 1 || broadcastDims(shape, to) === null || broadcastDims(own, to) === null) return null;
  const v = here.projection[0]!;
  if (point.numel * v.length > AFFORDABLE) return null;
  const columns = columnsOf(run, here, point);
  const whole = v.map((x, o) => x * columns.reduce((sum, column) => sum + column[o]!, 0));
  return sumTo(whole, to, shape);
}

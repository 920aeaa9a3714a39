/**
 * Diagnoses wrong gradients: tries hypotheses in order, and reports one only if every element agrees closely with its prediction.
 * A gradient that matches no hypothesis gets no diagnosis.
 */
import { rowMajorStrides, sameShape, type Shape } from '../../core/shape.ts';
import { MAX_JACOBIAN_SIZE, agreesWith, broadcastDims, sumToShape, type Evidence } from './evidence.ts';
import { INVOLVED, SIMPLE, type Hypothesis } from './hypotheses.ts';
import { jacobianColumns, type Analysis, type ComparedInput, type Run } from './run.ts';

/** Returns one line for each kind of error; inputs with the same error share a line. */
export function diagnose(run: Run, analysis: Analysis, compared: readonly ComparedInput[]): string[] {
  const wrong = evidenceOf(run, analysis, compared).filter((e) => e.wrong.length > 0);
  const simple = new Map<string, string[]>();
  const afterSimple = explain(wrong, SIMPLE, simple, run, analysis);
  const pairs = exchangedPairs(afterSimple, run, analysis);
  const unpaired = afterSimple.filter((e) => !pairs.some((pair) => pair.includes(e)));
  const involved = new Map<string, string[]>();
  explain(unpaired, INVOLVED, involved, run, analysis);
  return [...linesOf(simple), ...pairs.map(([a, b]) => `${a.name} and ${b.name}: their gradients are exchanged`), ...linesOf(involved)];
}

/** Collects the evidence for every input that was compared element by element. */
function evidenceOf(run: Run, analysis: Analysis, compared: readonly ComparedInput[]): Evidence[] {
  return compared.flatMap(({ report, numeric, failures }): Evidence[] => {
    if (numeric === null) return [];
    const { name, shape } = report;
    const k = run.perturbed.findIndex((p) => p.index === report.input);
    const strides = rowMajorStrides(shape);
    const wrong = failures.map((f) => f.index!.reduce((position, i, d) => position + i * strides[d]!, 0));
    return [{ name, shape, input: run.perturbed[k]!, analytic: analysis.gradients[k]!, numeric, wrong }];
  });
}

/** Adds each input's name to `namesByText` under its first matching hypothesis; returns the inputs without a match. */
function explain(
  inputs: readonly Evidence[],
  hypotheses: readonly Hypothesis[],
  namesByText: Map<string, string[]>,
  run: Run,
  analysis: Analysis,
): Evidence[] {
  return inputs.filter((e) => {
    const text = firstMatch(hypotheses, e, run, analysis);
    if (text === null) return true;
    namesByText.set(text, [...(namesByText.get(text) ?? []), e.name]);
    return false;
  });
}

function linesOf(namesByText: ReadonlyMap<string, readonly string[]>): string[] {
  return Array.from(namesByText, ([text, names]) => `${names.join(', ')}: ${text}`);
}

function firstMatch(hypotheses: readonly Hypothesis[], e: Evidence, run: Run, analysis: Analysis): string | null {
  for (const hypothesis of hypotheses) {
    const text = hypothesis(e, run, analysis);
    if (text !== null) return text;
  }
  return null;
}

/** Returns pairs of inputs that each have the other's gradient. */
function exchangedPairs(inputs: readonly Evidence[], run: Run, analysis: Analysis): [Evidence, Evidence][] {
  const pairs: [Evidence, Evidence][] = [];
  const hasGradientOf = (a: Evidence, b: Evidence): boolean => {
    const other = sameShape(a.shape, b.shape) ? b.numeric : gradientSummedTo(a.shape, b, run, analysis);
    return other !== null && agreesWith(a.analytic, (i) => other[i]!);
  };
  for (const a of inputs) {
    if (pairs.some((pair) => pair.includes(a))) continue;
    const b = inputs.find((x) => x !== a && hasGradientOf(a, x) && hasGradientOf(x, a));
    if (b !== undefined) pairs.push([a, b]);
  }
  return pairs;
}

/**
 * For an elementwise function: computes an input's numeric gradient at the output's shape, and sums it to `shape` instead of to
 * the input's own shape. Null if there are several outputs, the shapes do not broadcast, or it would cost too much.
 */
function gradientSummedTo(shape: Shape, { shape: ownShape, input }: Evidence, run: Run, analysis: Analysis): Float64Array | null {
  const outputShape = analysis.shapes[0]!;
  if (analysis.shapes.length > 1) return null;
  if (broadcastDims(shape, outputShape) === null || broadcastDims(ownShape, outputShape) === null) return null;
  const v = analysis.projection[0]!;
  if (input.numel * v.length > MAX_JACOBIAN_SIZE) return null;
  const columns = jacobianColumns(run, analysis, input);
  const gradient = v.map((x, o) => x * columns.reduce((sum, column) => sum + column[o]!, 0));
  return sumToShape(gradient, outputShape, shape);
}

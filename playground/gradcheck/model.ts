/**
 * Checks a program's gradients. Returns plain data: a worker computes it for the page.
 */
import { ChainruleError, gradcheck, gradcheckSteps, scope, type GradcheckElement } from 'chainrule';
import { STEPS } from './steps.ts';
import { ProgramError, operationOf, type Editor, type Operation, type Program } from './program.ts';

/** What a worker is asked to check. */
export interface CheckRequest {
  readonly program: Program;
  /** The step h. */
  readonly eps: number;
}

/** A row of the table. */
export interface CheckRow {
  /** The input's name and the element's index: `x[0,1]`. */
  readonly element: string;
  readonly analytic: number;
  readonly numeric: number;
  readonly error: number;
  readonly tolerance: number;
  readonly right: boolean;
}

/** The incoming gradient g of y. */
export interface IncomingGradient {
  readonly shape: readonly number[];
  readonly values: readonly number[];
}

/** The largest error for each step of STEPS, by dtype; null where every element has a kink, or rounding hides the step. */
export interface StepErrors {
  /** Empty if backward was rejected. */
  readonly float64: readonly (number | null)[];
  /** Empty if the program does not run in float32. */
  readonly float32: readonly (number | null)[];
  /** Why the program does not run in float32. */
  readonly notInFloat32: string | null;
}

/** The result of a check that ran. */
export interface CheckResult {
  readonly ok: boolean;
  readonly rows: readonly CheckRow[];
  readonly problems: readonly string[];
  readonly diagnosis: readonly string[];
  /** How often the point was moved away from a kink. */
  readonly moved: number;
  /** The element beside a kink at every point tried, or null. */
  readonly kink: string | null;
  /** Null if backward was rejected. */
  readonly incoming: IncomingGradient | null;
  readonly errors: StepErrors;
}

/** A check that did not run. */
export interface CheckFailure {
  readonly message: string;
  /** Null if no text is to blame alone. */
  readonly editor: Editor | null;
  readonly line: number;
}

export type CheckOutcome = { readonly result: CheckResult } | { readonly failure: CheckFailure };

/** Checks a program. Errors of its author are part of the result; others are thrown. */
export function checkProgram(request: CheckRequest): CheckOutcome {
  try {
    return { result: scope(() => check(request)) };
  } catch (e) {
    if (e instanceof ProgramError) return { failure: { message: e.text, editor: e.editor, line: e.line } };
    if (e instanceof ChainruleError) return { failure: { message: e.message, editor: null, line: 1 } };
    throw e;
  }
}

function check({ program, eps }: CheckRequest): CheckResult {
  const double = operationOf(program, 'float64');
  const report = gradcheck(double.op, double.inputs, { eps, raise: false });
  const [incoming] = report.gradOutputs;
  const withNames = (text: string): string => nameInputs(text, double.names);
  return {
    ok: report.ok,
    rows: report.elements.map(rowOf),
    problems: report.problems.map(withNames),
    diagnosis: report.diagnosis.map(withNames),
    moved: report.resampled,
    kink: report.kink === null ? null : elementText(report.kink),
    incoming: incoming === undefined ? null : { shape: [...incoming.shape], values: [...incoming.g] },
    errors: incoming === undefined ? { float64: [], float32: [], notInFloat32: null } : stepErrors(program, double),
  };
}

function stepErrors(program: Program, double: Operation): StepErrors {
  const float64 = errorsOf(double);
  try {
    return { float64, float32: errorsOf(operationOf(program, 'float32')), notInFloat32: null };
  } catch (e) {
    // An op may refuse operands of two dtypes, such as an input and a constant.
    if (e instanceof ProgramError || e instanceof ChainruleError) return { float64, float32: [], notInFloat32: e.message };
    throw e;
  }
}

function errorsOf({ op, inputs }: Operation): (number | null)[] {
  return gradcheckSteps(op, inputs, STEPS).map(({ error }) => (error !== null && Number.isFinite(error) ? error : null));
}

function rowOf(element: GradcheckElement): CheckRow {
  const { analytic, numeric, error, tolerance } = element;
  return { element: elementText(element), analytic, numeric, error, tolerance, right: error <= tolerance };
}

function elementText({ label, index }: Pick<GradcheckElement, 'label' | 'index'>): string {
  return index === null || index.length === 0 ? label! : `${label}[${index.join(',')}]`;
}

/** Replaces the library's names of the inputs by those of the program: `input 0 'x'` and `argument 0` by `x`. */
function nameInputs(text: string, names: readonly string[]): string {
  return text.replace(/input \d+ '(\w+)'/g, '$1').replace(/argument (\d+)( of op)?/g, (_, i: string) => names[Number(i)]!);
}

/**
 * Gradients checked against finite differences, in float64.
 *
 * With outputs y(x) and a fixed random v, one backward gives the gradient of p(x) = ⟨v, y(x)⟩; each element of it is compared
 * with the central difference (p(x + h) − p(x − h)) / 2h. A kink between x − h and x + h would make the difference
 * meaningless: operations with kinks tell which branch every element took, and where that changes, the point is moved.
 */
import { isFloat } from '../../core/dtype.ts';
import { ArgumentError, AutogradError, DTypeError, GradcheckError } from '../../core/errors.ts';
import { withDefaults } from '../../core/options.ts';
import { Random } from '../../core/random.ts';
import { formatShape } from '../../core/shape.ts';
import { grad } from '../../autograd/backward.ts';
import { scope } from '../../autograd/lifetime.ts';
import { withGradMode } from '../../autograd/scope.ts';
import { isTensor, type Tensor } from '../../autograd/tensor.ts';
import { diagnose } from './diagnosis.ts';
import { pointsOf, withSameState, type Subject } from './point.ts';
import { explainRefusal, probe, probeTie, type Probed } from './probes.ts';
import { describe, type Found, type GradcheckReport, type Settings } from './report.ts';
import {
  analyse,
  compareElements,
  compareProjection,
  randomSigned,
  used,
  type Analysis,
  type Compared,
  type Row,
  type Run,
} from './run.ts';

export type { GradcheckElement, GradcheckInput, GradcheckReport } from './report.ts';

/** A function of tensors to be checked: one result or several. */
export type CheckedFunction = (...inputs: Tensor[]) => Tensor | readonly Tensor[];

/** A module to be checked: anything with parameters and a forward. */
export interface CheckedModule {
  /** The module's function. */
  forward(...inputs: Tensor[]): Tensor | readonly Tensor[];
  /** What is checked, with the names that reports use. */
  namedParameters(): Iterable<readonly [string, Tensor]>;
  /** What forward may write to: put back after every evaluation. */
  namedBuffers?(): Iterable<readonly [string, Tensor]>;
}

/** What gradcheck and gradgradcheck can be told. Names are PyTorch's, in camelCase. */
export interface GradcheckOptions {
  /** The step h of the central difference. Default 1e-6. */
  readonly eps?: number;
  /** A gradient is right if |analytic − numeric| ≤ atol + rtol · |numeric|. Default 1e-5. */
  readonly atol?: number;
  /** See atol. Default 1e-3. */
  readonly rtol?: number;
  /** How much two evaluations, or two backwards, may differ at one point. Default 0. */
  readonly nondetTol?: number;
  /**
   * Compares one random projection of each input instead of every element: two evaluations an input, whatever its size. One
   * wrong element among thousands can hide in it. What fails is then checked in every element. Default false.
   */
  readonly fastMode?: boolean;
  /** Whether backward from each of several outputs alone must work, and add up. Default true. */
  readonly checkUndefinedGrad?: boolean;
  /** Of the projection v, and of the moves away from kinks. Default 0. */
  readonly seed?: number;
  /** How often the point is moved away from a kink before the check gives up. Default 20. */
  readonly maxResamples?: number;
  /** Throws GradcheckError unless all is well. Default true. */
  readonly raise?: boolean;
}

/** In fastMode, inputs with more elements than this are not gone through one by one, even where they fail. */
const FAST_LIMIT = 4096;

/**
 * Compares the gradients of `fn` at `inputs` with central differences, in every element of every input that requires one; of
 * a module also every parameter, by name.
 *
 * Besides: two evaluations and two backwards agree; backward is linear in the incoming gradient; each of several outputs has
 * a backward alone; where inputs tie, the gradients add up. The report's table says how far each input is off, and the
 * diagnosis what the error looks like.
 *
 * Inputs are moved in place and restored to the bit, so `fn` may also reach them by closure. Where elements share memory
 * (expanded inputs, two views of one tensor), and for inputs that are no leaves, a copy takes the input's place. Tensors of
 * int32 and bool are passed on as they are. The default generator and a module's buffers have the same state at every
 * evaluation, so dropout is a fixed function and batch norm's running statistics stay what they were.
 *
 * Throws: GradcheckError with the report's text (unless raise is false); DTypeError for a float32 input or parameter;
 * AutogradError if no input or no output requires a gradient
 * @example gradcheck((x, w) => x.matmul(w).tanh(), [x, w])
 * @example gradcheck(model.to('float64'), images)
 */
export function gradcheck(
  fn: CheckedFunction | CheckedModule,
  inputs: Tensor | readonly Tensor[],
  options: GradcheckOptions = {},
): GradcheckReport {
  const settings = settingsOf('gradcheck', options);
  return check('gradcheck', subjectOf('gradcheck', fn, inputs), settings);
}

/**
 * Checks second derivatives: gradcheck of (inputs, gradOutputs) ↦ the gradients of `fn`, recorded with createGraph.
 * The gradOutputs are random, and checked as further inputs after the given ones. Throws as gradcheck does.
 */
export function gradgradcheck(
  fn: CheckedFunction | CheckedModule,
  inputs: Tensor | readonly Tensor[],
  options: GradcheckOptions = {},
): GradcheckReport {
  const settings = settingsOf('gradgradcheck', options);
  const subject = subjectOf('gradgradcheck', fn, inputs);
  return scope(() => check('gradgradcheck', gradientsOf(subject, settings), settings));
}

/** The gradients of a subject as a function of its inputs and gradOutputs, which stand behind the given inputs. */
function gradientsOf(subject: Subject, { seed }: Settings): Subject {
  const { inputs: xs, given, buffers } = subject;
  const wanted = xs.flatMap((x, i) => (x.requiresGrad ? [i] : []));
  const random = new Random(seed, 1);
  const shapes = withSameState(buffers, () =>
    scope(() => differentiable(withGradMode(true, () => subject.call(xs))).map(({ shape, dtype }) => ({ shape, dtype }))),
  );
  const gradOutputs = shapes.map(({ shape, dtype }, i) => {
    if (dtype !== 'float64') throw new DTypeError(`gradgradcheck: output ${i} is ${dtype}; compute in float64`);
    return randomSigned(random, shape, dtype).requiresGrad_();
  });
  const n = gradOutputs.length;
  const labels = gradOutputs.map((_, i) => `gradOutput ${i}`);
  const insert = <T>(into: readonly T[], middle: readonly T[]): T[] => [...into.slice(0, given), ...middle, ...into.slice(given)];
  return {
    inputs: insert(xs, gradOutputs),
    labels: insert(subject.labels, labels),
    names: insert(
      subject.names,
      labels.map((label, i) => `input ${given + i} '${label}'`),
    ),
    given: given + n,
    buffers,
    call: (all) => {
      const at = [...all.slice(0, given), ...all.slice(given + n)];
      const ys = differentiable(subject.call(at));
      const options = { gradOutputs: all.slice(given, given + n), createGraph: true, allowUnused: true };
      return grad(
        ys,
        wanted.map((i) => at[i]!),
        options,
      ).filter((g) => g !== null);
    },
  };
}

function differentiable(result: Tensor | readonly Tensor[]): Tensor[] {
  return (isTensor(result) ? [result] : result).filter((y) => y.requiresGrad);
}

function settingsOf(name: string, options: GradcheckOptions): Settings {
  const s: Settings = withDefaults(name, options, {
    eps: 1e-6,
    atol: 1e-5,
    rtol: 1e-3,
    nondetTol: 0,
    fastMode: false,
    checkUndefinedGrad: true,
    seed: 0,
    maxResamples: 20,
    raise: true,
  });
  if (!(s.eps > 0) || !(s.atol >= 0) || !(s.rtol >= 0) || !(s.nondetTol >= 0) || !(s.maxResamples >= 0)) {
    throw new ArgumentError(
      `${name}: eps must be > 0, atol, rtol, nondetTol and maxResamples ≥ 0; got ${s.eps}, ${s.atol}, ${s.rtol}, ${s.nondetTol} and ${s.maxResamples}`,
    );
  }
  return s;
}

/** A function or module with its inputs: parameters are reached by closure. */
function subjectOf(name: string, fn: CheckedFunction | CheckedModule, inputs: Tensor | readonly Tensor[]): Subject {
  const xs = isTensor(inputs) ? [inputs] : inputs;
  const module = typeof fn === 'function' ? null : fn;
  const parameters = module === null ? [] : [...module.namedParameters()].filter(([, p]) => !isFloat(p.dtype) || p.requiresGrad);
  xs.forEach((x, i) => requireFloat64(name, x, `input ${i}`, "use .to('float64')"));
  for (const [path, p] of parameters) requireFloat64(name, p, `parameter '${path}'`, "convert the module with .to('float64')");
  if (!xs.some((x) => x.requiresGrad) && parameters.length === 0) {
    throw new AutogradError(`${name}: no input requires a gradient; make one with { requiresGrad: true }`);
  }
  return {
    inputs: [...xs, ...parameters.map(([, p]) => p)],
    labels: [...xs.map((x) => x.label), ...parameters.map(([path]) => path)],
    names: [...xs.map((x, i) => `input ${i}${x.label === null ? '' : ` '${x.label}'`}`), ...parameters.map(([path]) => path)],
    given: xs.length,
    buffers: [...(module?.namedBuffers?.() ?? [])].map(([, b]) => b),
    call: (all) => {
      const args = all.slice(0, xs.length);
      return module === null ? (fn as CheckedFunction)(...args) : module.forward(...args);
    },
  };
}

function requireFloat64(name: string, x: Tensor, what: string, remedy: string): void {
  if (!isFloat(x.dtype) || x.dtype === 'float64') return;
  throw new DTypeError(`${name}: ${what} ${formatShape(x.shape)} is ${x.dtype}; finite differences need float64: ${remedy}`);
}

function check(name: string, subject: Subject, settings: Settings): GradcheckReport {
  const found = scope(() => {
    const points = pointsOf(subject.inputs);
    const inputs = [...subject.inputs];
    for (const p of points) inputs[p.input] = p.tensor;
    try {
      return withGradMode(true, () => attempts(name, { subject, inputs, points, settings }));
    } finally {
      for (const p of points) p.restore();
    }
  });
  const toString = (): string => describe(name, found, settings);
  if (!found.ok && settings.raise) throw new GradcheckError(toString());
  return { ...found, toString };
}

/** Moves the point until no element has a kink beside it. */
function attempts(name: string, run: Run): Found {
  const { seed, eps, maxResamples } = run.settings;
  const random = new Random(seed, 2);
  let tie: Probed = { problems: [], diagnosis: [] };
  for (let resampled = 0; ; resampled++) {
    // Wider every time: many steps, so as to leave the kink, yet near enough to stay in the function's domain.
    if (resampled > 0) for (const p of run.points) p.jitter(random, 100 * eps * resampled);
    const here = analysed(name, run);
    if ('problems' in here) return conclude([], null, resampled, here);
    const rows: Row[] = [];
    let kink: (Compared & { kink: object })['kink'] | null = null;
    for (let k = 0; k < run.points.length && kink === null; k++) {
      const found = compare(run, here, k);
      if (found.kink === null) rows.push(found);
      else kink = found.kink;
    }
    if (kink !== null && resampled === 0) tie = probeTie(run, here, kink);
    if (kink !== null && resampled < maxResamples) continue;
    const probed = kink === null ? probe(run, here) : { problems: [], diagnosis: [] };
    // What differs from call to call, or is not linear in g, has no pattern: one g says nothing about another.
    const patterns = probed.problems.length > 0 ? [] : diagnose(run, here, rows);
    const diagnosis = [...tie.diagnosis, ...probed.diagnosis, ...patterns];
    return conclude(rows, kink, resampled, { problems: [...tie.problems, ...probed.problems], diagnosis });
  }
}

/** The analysis, or what is wrong with a backward that the engine refused. */
function analysed(name: string, run: Run): Analysis | Probed {
  try {
    return analyse(name, run);
  } catch (e) {
    const refusal = explainRefusal(e);
    if (refusal === null) throw e;
    return refusal;
  }
}

/** Element by element; in fastMode only if the projection is wrong and the input not too large. */
function compare(run: Run, here: Analysis, k: number): Compared {
  if (!run.settings.fastMode) return compareElements(run, here, k);
  const fast = compareProjection(run, here, k);
  if (fast.kink !== null || fast.failures.length === 0 || run.points[k]!.numel > FAST_LIMIT) return fast;
  const slow = compareElements(run, here, k);
  // Many errors within tolerance can add up to one beyond: the projection's word stands.
  return slow.kink !== null || slow.failures.length > 0 ? slow : fast;
}

function conclude(rows: readonly Row[], kink: Found['kink'], resampled: number, { problems, diagnosis }: Probed): Found {
  const inputs = rows.map((r) => r.row);
  const failures = rows.flatMap((r) => r.failures);
  return {
    ok: kink === null && failures.length === 0 && problems.length === 0,
    checked: inputs.reduce((n, r) => n + r.checked, 0),
    resampled,
    kink,
    worst: inputs.map((r) => r.worst).reduce((a, b) => (b === null || (a !== null && used(a) >= used(b)) ? a : b), null),
    failures,
    inputs,
    problems,
    diagnosis,
  };
}

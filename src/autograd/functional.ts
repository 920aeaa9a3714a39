/**
 * Derivatives of a function at a point.
 *
 * The inputs are a tensor, an array or a record of tensors; an array is spread over the function's parameters. The derivatives have
 * the structure of the inputs. Inputs need not require a gradient, and no `.grad` changes. An input that the value does not depend
 * on has derivative zero. Without `createGraph` only the results survive the call.
 */
import { foreignKind } from '../core/copies.ts';
import { isReadable } from '../core/describe.ts';
import { ArgumentError, ShapeError, isArray, kindOf } from '../core/errors.ts';
import { checkFunction, isPlainObject, withDefaults } from '../core/options.ts';
import { formatShape, sameShape, sizeOf } from '../core/shape.ts';
import { grad } from './backward.ts';
import { full, zerosLike } from './create.ts';
import { scope } from './scopes.ts';
import { cat } from './ops/joining.ts';
import { detach, identity, reshape } from './ops/views.ts';
import { withGradMode } from './grad-mode.ts';
import { checkTensor, fromElements, isTensor, type Tensor } from './tensor.ts';

/** The point at which a derivative is taken. */
export type FunctionInputs = Tensor | readonly Tensor[] | Readonly<Record<string, Tensor>>;

/** A function of such inputs. */
export type FunctionOf<I extends FunctionInputs> = I extends Tensor
  ? (x: Tensor) => Tensor
  : I extends readonly Tensor[]
    ? (...xs: Tensor[]) => Tensor
    : (x: { [K in keyof I]: Tensor }) => Tensor;

/** The structure of the inputs, with a `T` for each input. */
export type LikeInputs<I extends FunctionInputs, T = Tensor> = I extends Tensor ? T : { -readonly [K in keyof I]: T };

/** Options of the functions below. */
export interface FunctionalOptions {
  /** Records the derivatives, so that they can be differentiated, also with respect to the given inputs. Default false. */
  readonly createGraph?: boolean;
}

/** Returns [value, gradient] of a function with a scalar result. */
export function valueAndGrad<const I extends FunctionInputs>(
  fn: FunctionOf<I>,
  inputs: I,
  options: FunctionalOptions = {},
): [Tensor, LikeInputs<I>] {
  return run('valueAndGrad', fn, inputs, options, (point) => {
    const y = point.scalar();
    return [y, point.like(derivatives([y], point.xs, null, point.createGraph))];
  });
}

/** Returns [value, vᵀ J]: the vector–Jacobian product, in one backward. v has the value's shape; for a scalar it is 1 by default. */
export function vjp<const I extends FunctionInputs>(
  fn: FunctionOf<I>,
  inputs: I,
  v: Tensor | null = null,
  options: FunctionalOptions = {},
): [Tensor, LikeInputs<I>] {
  return run('vjp', fn, inputs, options, (point) => {
    if (v !== null) checkTensor('vjp', 'v', v);
    const y = v === null ? point.scalar() : point.call();
    return [y, point.like(derivatives([y], point.xs, v === null ? null : [v], point.createGraph))];
  });
}

/**
 * Returns [value, J v]: the Jacobian–vector product. v has the structure and shapes of the inputs.
 * The VJP uᵀ J is linear in u; its own VJP with v gives J v (two backwards).
 */
export function jvp<const I extends FunctionInputs>(
  fn: FunctionOf<I>,
  inputs: I,
  v: LikeInputs<I>,
  options: FunctionalOptions = {},
): [Tensor, Tensor] {
  return run('jvp', fn, inputs, options, (point) => {
    const y = point.call();
    const vs = tangents('jvp', inputs, v);
    const u = zerosLike(y).requiresGrad_();
    const pulled = derivatives([y], point.xs, [u], true);
    return [y, derivatives(pulled, [u], vs, point.createGraph)[0]!];
  });
}

/** Returns [value, H v] for a function with a scalar result: the Hessian–vector product. v has the structure and shapes of the inputs. */
export function hvp<const I extends FunctionInputs>(
  fn: FunctionOf<I>,
  inputs: I,
  v: LikeInputs<I>,
  options: FunctionalOptions = {},
): [Tensor, LikeInputs<I>] {
  return run('hvp', fn, inputs, options, (point) => {
    const y = point.scalar();
    const vs = tangents('hvp', inputs, v);
    const first = derivatives([y], point.xs, null, true);
    return [y, point.like(derivatives(first, point.xs, vs, point.createGraph))];
  });
}

/** Returns all first derivatives: for an input x [X…] and a value y [Y…], J [Y…,X…]. One backward per element of y. */
export function jacobian<const I extends FunctionInputs>(fn: FunctionOf<I>, inputs: I, options: FunctionalOptions = {}): LikeInputs<I> {
  return run('jacobian', fn, inputs, options, (point) => point.like(rows(point.call(), point.xs, point.createGraph)));
}

/**
 * Returns all second derivatives of a function with a scalar result: for inputs xᵢ and xⱼ, H [Xᵢ…,Xⱼ…] at [i][j] of the
 * structure. One backward per element of the inputs.
 */
export function hessian<const I extends FunctionInputs>(
  fn: FunctionOf<I>,
  inputs: I,
  options: FunctionalOptions = {},
): LikeInputs<I, LikeInputs<I>> {
  return run('hessian', fn, inputs, options, (point) => {
    const y = point.scalar();
    return point.like(derivatives([y], point.xs, null, true).map((g) => point.like(rows(g, point.xs, point.createGraph))));
  });
}

// — the point —

type Point<I extends FunctionInputs> = ReturnType<typeof pointOf<I>>;

/** Runs `compute` in a scope, with recording on; results keep their history only under createGraph. */
function run<I extends FunctionInputs, R>(
  name: string,
  fn: FunctionOf<I>,
  inputs: I,
  options: FunctionalOptions,
  compute: (point: Point<I>) => R,
): R {
  const { createGraph } = withDefaults(name, options, { createGraph: false });
  checkFunction(name, 'fn', fn);
  return scope(() =>
    withGradMode(true, () => {
      const result = compute(pointOf(name, fn, inputs, createGraph));
      return createGraph ? result : (withoutHistory(result) as R);
    }),
  );
}

/**
 * Returns the point at which derivatives are taken:
 *   - `xs`: the tensors that stand for the inputs;
 *   - `call`: evaluates the function there;
 *   - `scalar`: does too, and checks that the value is a scalar;
 *   - `like`: puts one item for each input into the inputs' structure.
 */
function pointOf<I extends FunctionInputs>(name: string, fn: FunctionOf<I>, inputs: I, createGraph: boolean) {
  const given = tensorsOf(name, inputs);
  // Under createGraph the results depend on the inputs themselves, else on new leaves.
  const xs = given.map((x) => (createGraph && x.requiresGrad ? identity(x) : detach(x).requiresGrad_()));
  const like = <T>(items: readonly T[]): LikeInputs<I, T> => structured(inputs, items) as LikeInputs<I, T>;
  const call = (): Tensor => {
    // The arguments have the structure of the inputs, from which the function's type was derived.
    const y = (fn as (...args: unknown[]) => unknown)(...(Array.isArray(inputs) ? xs : [like(xs)]));
    if (!isTensor(y)) throw new ArgumentError(`${name}: the function must return a tensor, got ${kindOf(y)}`);
    return y;
  };
  const scalar = (): Tensor => {
    const y = call();
    if (y.numel !== 1) throw new ShapeError(`${name}: the function must return a scalar, got shape ${formatShape(y.shape)}`);
    return y;
  };
  return { xs, createGraph, like, call, scalar };
}

function tensorsOf(name: string, inputs: FunctionInputs): readonly Tensor[] {
  const isOne = isTensor(inputs) || foreignKind(inputs) !== null || Object(inputs) !== inputs;
  const found: readonly unknown[] = isOne || !isReadable(inputs) ? [inputs] : Object.values(inputs);
  const other = found.find((x) => !isTensor(x));
  if (found.length > 0 && found.every(isTensor)) return found;
  const foreign = foreignKind(other);
  throw new ArgumentError(
    `${name}: inputs must be a tensor, or an array or record of tensors${foreign === null ? '' : `, got ${foreign}`}`,
  );
}

/** Puts one item for each input into the inputs' structure. */
function structured(inputs: FunctionInputs, items: readonly unknown[]): unknown {
  if (isTensor(inputs)) return items[0];
  if (Array.isArray(inputs)) return [...items];
  return Object.fromEntries(Object.keys(inputs).map((key, i) => [key, items[i]]));
}

/** Detaches all tensors of a result. */
function withoutHistory(value: unknown): unknown {
  if (isTensor(value)) return value.requiresGrad ? detach(value) : value;
  if (Array.isArray(value)) return value.map(withoutHistory);
  return Object.fromEntries(Object.entries(value as object).map(([key, v]) => [key, withoutHistory(v)]));
}

/** Returns the tensors of v in the inputs' order, which may differ from the order of its keys. */
function tangents(name: string, inputs: FunctionInputs, v: FunctionInputs): readonly Tensor[] {
  const foreign = foreignKind(v);
  if (foreign !== null) throw new ArgumentError(`${name}: v must have the structure of the inputs, got ${foreign}`);
  const expected = structureOf(inputs);
  const got = structureOf(v);
  if (expected !== got) throw new ArgumentError(`${name}: v must have the structure of the inputs, ${expected}, got ${got}`);
  const inOrder = isTensor(v) ? v : Object.keys(inputs).map((key) => (v as Record<string, Tensor>)[key]!);
  const xs = tensorsOf(name, inputs);
  const vs = tensorsOf(name, inOrder);
  const shapes = (ts: readonly Tensor[]): string => ts.map((t) => formatShape(t.shape)).join(', ');
  if (vs.some((t, i) => !sameShape(t.shape, xs[i]!.shape))) {
    throw new ShapeError(`${name}: v must have the shapes of the inputs, ${shapes(xs)}, got ${shapes(vs)}`);
  }
  return vs;
}

/** Describes a structure for messages; equal structures have equal descriptions. */
function structureOf(inputs: FunctionInputs): string {
  if (isTensor(inputs)) return 'a tensor';
  if (isArray(inputs)) return `an array of ${inputs.length}`;
  return isPlainObject(inputs) ? `a record of ${Object.keys(inputs).sort().join(', ')}` : kindOf(inputs);
}

// — derivatives —

/** Returns the gradients of ⟨v, ys⟩ at xs, zeros for an x that no y depends on. The graph is retained; the scope frees it. */
function derivatives(ys: readonly Tensor[], xs: readonly Tensor[], v: readonly Tensor[] | null, createGraph: boolean): Tensor[] {
  const connected = ys.flatMap((y, i) => (y.requiresGrad ? [i] : []));
  const of = <T>(ts: readonly T[]): T[] => connected.map((i) => ts[i]!);
  const found = grad(of(ys), xs, { gradOutputs: v && of(v), createGraph, retainGraph: true, allowUnused: true });
  return found.map((g, i) => g ?? zerosLike(xs[i]!));
}

/** Returns the Jacobian of y with respect to each of xs: [Y…,X…]. */
function rows(y: Tensor, xs: readonly Tensor[], createGraph: boolean): Tensor[] {
  const each = Array.from({ length: y.numel }, (_, i) => {
    const one = new Float64Array(y.numel);
    one[i] = 1;
    return derivatives([y], xs, [fromElements(one, y.shape, y.dtype)], createGraph);
  });
  return xs.map((x, k) => {
    const shape = [...y.shape, ...x.shape];
    if (sizeOf(shape) === 0) return full(shape, 0, { dtype: x.dtype });
    return reshape(cat(each.map((row) => reshape(row[k]!, [1, -1]))), shape);
  });
}

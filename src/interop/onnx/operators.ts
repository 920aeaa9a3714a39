/**
 * Translates each operation to ONNX operators: https://onnx.ai/onnx/operators
 */
import { type DType, type ElementArray, newArray } from '../../core/dtype.ts';
import { ArgumentError } from '../../core/errors.ts';
import { sameShape, type Shape } from '../../core/shape.ts';
import type { AvgPoolParams, ConvParams, PoolParams } from '../../kernels/index.ts';
import { type Attribute, ELEMENT_TYPE, type OnnxGraph } from './builder.ts';
import { type Call, isBatchSize, isOperand, type Operand, type Size } from './unify.ts';

/** A parameter or buffer that is in the graph. */
export interface NamedConstant {
  readonly path: string;
  readonly shape: Shape;
  readonly data: ElementArray;
  readonly name: string;
}

/** Adds the operators of one operation to the graph. */
export class Translator {
  readonly graph: OnnxGraph;
  readonly call: Call;
  readonly #names: ReadonlyMap<number, string>;
  readonly #constants: NamedConstant[];

  /** @param names the names of the values so far, @param constants of the parameters so far */
  constructor(graph: OnnxGraph, call: Call, names: ReadonlyMap<number, string>, constants: NamedConstant[]) {
    this.graph = graph;
    this.call = call;
    this.#names = names;
    this.#constants = constants;
  }

  /** Returns argument i, a tensor. */
  operand(i: number): Operand {
    const arg = this.call.args[i];
    return isOperand(arg) ? arg : this.fail(`argument ${i} is no tensor`);
  }

  /** Returns the name of a tensor. A constant that repeats elements along a dim has size 1 there, for operators that broadcast. */
  name(operand: Operand): string {
    if (operand.id !== null) return this.#names.get(operand.id) ?? this.fail('it reads a result that has no counterpart in ONNX');
    const { path, data, compactShape, dtype } = operand.constant!;
    if (path === null) return this.graph.numbers(data, compactShape, dtype);
    // One parameter may be read through several views.
    const known = this.#constants.find(
      (c) => c.path === path && sameShape(c.shape, compactShape) && c.data.every((v, i) => Object.is(v, data[i])),
    );
    if (known !== undefined) return known.name;
    const name = this.graph.initializer(path, data, compactShape, dtype);
    this.#constants.push({ path, shape: compactShape, data, name });
    return name;
  }

  /** Returns the name of argument i. */
  arg(i: number): string {
    return this.name(this.operand(i));
  }

  /** Returns the name of argument i with all of its elements, for operators that do not broadcast. */
  full(i: number): string {
    const operand = this.operand(i);
    const name = this.name(operand);
    const isWhole = operand.constant === null || operand.constant.compactShape.every((size, d) => size === operand.shape[d]);
    if (isWhole) return name;
    return this.node('Expand', [name, this.graph.integers(operand.shape.map((size) => this.fixed(size)))]);
  }

  /** Adds a node with one output and returns its name. */
  node(op: string, inputs: readonly string[], attributes: Readonly<Record<string, Attribute>> = {}): string {
    return this.graph.node(op, inputs, attributes);
  }

  /** Returns the name of one number of the dtype of the result. */
  scalar(value: number, dtype: DType = this.call.results[0]!.dtype): string {
    const data = newArray(dtype, 1);
    data[0] = value;
    return this.graph.numbers(data, [], dtype);
  }

  /** Returns a size that is a number. */
  fixed(size: unknown): number {
    return typeof size === 'number' ? size : this.fail('a size depends on the number of samples in a way that ONNX cannot express');
  }

  fixedAll(sizes: unknown): number[] {
    return (sizes as readonly unknown[]).map((size) => this.fixed(size));
  }

  fail(what: string): never {
    const { op, place } = this.call;
    throw new ArgumentError(`toOnnx: ${place === '' ? '' : `${place}: `}${op}: ${what}`);
  }
}

/** Returns the names of the results; fewer than there are if nothing can read the others. */
type Translate = (t: Translator) => string | readonly string[];

/** An operator of one tensor. */
const unary =
  (op: string): Translate =>
  (t) =>
    t.node(op, [t.arg(0)]);

/** An operator of two tensors that broadcast. */
const binary =
  (op: string): Translate =>
  (t) =>
    t.node(op, [t.arg(0), t.arg(1)]);

/** A comparison of order; ONNX has none of bool. */
const order =
  (op: string): Translate =>
  (t) => {
    const [a, b] = [0, 1].map((i) =>
      t.operand(i).dtype === 'bool' ? t.node('Cast', [t.arg(i)], { to: ELEMENT_TYPE.int32 }) : t.arg(i),
    ) as [string, string];
    return t.node(op, [a, b]);
  };

/** The result is the argument: memory order has no meaning in ONNX. */
const alias: Translate = (t) => t.arg(0);

/**
 * Returns how far the last windows of a pool reach beyond the padding, down and to the right. ONNX's own ceil_mode has other rules for
 * windows that begin in the padding.
 */
function overhang(t: Translator, { kernel, stride, padding, dilation }: PoolParams, shape: readonly Size[]): number[] {
  return [0, 1].map((d) => {
    const end = (t.fixed(shape[d + 2]) - 1) * stride[d]! + dilation[d]! * (kernel[d]! - 1) + 1;
    return Math.max(0, end - t.fixed(t.operand(0).shape[d + 2]) - 2 * padding[d]!);
  });
}

/** Pads rows and columns. */
function padded(t: Translator, before: readonly number[], after: readonly number[], value: number): string {
  const pads = t.graph.integers([0, 0, ...before, 0, 0, ...after]);
  return t.node('Pad', [t.full(0), pads, t.scalar(value)], { mode: 'constant' });
}

const maxPool: Translate = (t) => {
  const p = t.call.args[1] as PoolParams;
  const { kernel, stride, padding, dilation } = p;
  const beyond = overhang(t, p, t.call.args[2] as readonly Size[]);
  const x = beyond.every((n) => n === 0) ? t.full(0) : padded(t, [0, 0], beyond, -Infinity);
  return [t.node('MaxPool', [x], { kernel_shape: kernel, strides: stride, pads: [...padding, ...padding], dilations: dilation })];
};

const avgPool: Translate = (t) => {
  const p = t.call.args[1] as AvgPoolParams;
  const { kernel, stride, padding } = p;
  const beyond = overhang(t, { ...p, dilation: [1, 1] }, t.call.args[2] as readonly Size[]);
  const average = (x: string, before: readonly number[], after: readonly number[]): string =>
    t.node('AveragePool', [x], { kernel_shape: kernel, strides: stride, pads: [...before, ...after], count_include_pad: 0 });
  const reach = padding.map((size, d) => size + beyond[d]!);
  if (p.divisor !== null) {
    // Elements of a padded input count in every window, so that all windows have the same size.
    const y = average(reach.some((n) => n > 0) ? padded(t, padding, reach, 0) : t.full(0), [0, 0], [0, 0]);
    return t.node('Mul', [y, t.scalar((kernel[0] * kernel[1]) / p.divisor)]);
  }
  if (!p.countIncludePad) return average(t.full(0), padding, reach);
  // The padding counts, what is beyond it does not.
  return average(padding.some((n) => n > 0) ? padded(t, padding, padding, 0) : t.full(0), [0, 0], beyond);
};

const adaptivePool: Translate = (t) => {
  const sides = t
    .operand(0)
    .shape.slice(2)
    .map((size) => t.fixed(size));
  const out = (t.call.args[2] as readonly Size[]).slice(2).map((size) => t.fixed(size));
  if (out.every((size) => size === 1)) return t.node('GlobalAveragePool', [t.arg(0)]);
  const kernel = sides.map((size, d) => size / out[d]!);
  if (kernel.every(Number.isInteger)) {
    return t.node('AveragePool', [t.arg(0)], { kernel_shape: kernel, strides: kernel });
  }
  // The means along each side are products with a matrix of shares.
  const rows = t.node('MatMul', [shares(t, sides[0]!, out[0]!, false), t.arg(0)]);
  return t.node('MatMul', [rows, shares(t, sides[1]!, out[1]!, true)]);
};

/** Returns the matrix [out, size] whose row i averages ⌊i·size/out⌋ … ⌈(i+1)·size/out⌉ − 1, or its transpose. */
function shares(t: Translator, size: number, out: number, transposed: boolean): string {
  const { dtype } = t.call.results[0]!;
  const data = newArray(dtype, size * out);
  for (let i = 0; i < out; i++) {
    const start = Math.floor((i * size) / out);
    const end = Math.ceil(((i + 1) * size) / out);
    for (let j = start; j < end; j++) data[transposed ? j * out + i : i * size + j] = 1 / (end - start);
  }
  return t.graph.numbers(data, transposed ? [size, out] : [out, size], dtype);
}

const conv: Translate = (t) => {
  const { stride, padding, dilation, groups } = t.call.args[2] as ConvParams;
  return t.node('Conv', [t.arg(0), t.full(1)], { strides: stride, pads: [...padding, ...padding], dilations: dilation, group: groups });
};

/** The adjoint of a convolution, for a result of a given size. */
const convTranspose: Translate = (t) => {
  const { stride, padding, dilation, groups } = t.call.args[3] as ConvParams;
  const sizes = (t.call.args[2] as readonly Size[]).slice(2).map((size) => t.fixed(size));
  const [from, kernel] = [0, 1].map((i) =>
    t
      .operand(i)
      .shape.slice(2)
      .map((size) => t.fixed(size)),
  ) as [number[], number[]];
  const without = from.map((size, d) => (size - 1) * stride[d]! - 2 * padding[d]! + dilation[d]! * (kernel[d]! - 1) + 1);
  const extra = sizes.map((size, d) => size - without[d]!);
  const attributes = { strides: stride, pads: [...padding, ...padding], dilations: dilation, group: groups, output_padding: extra };
  return t.node('ConvTranspose', [t.arg(0), t.full(1)], attributes);
};

const keep = (t: Translator, i: number): number => (t.call.args[i] === true ? 1 : 0);

/** A reduction whose dims are an attribute; ONNX reduces all dims where it is empty. */
const reduction =
  (op: string): Translate =>
  (t) => {
    const axes = t.fixedAll(t.call.args[1]);
    return axes.length === 0 ? t.arg(0) : t.node(op, [t.full(0)], { axes, keepdims: keep(t, 2) });
  };

const sum: Translate = (t) => {
  const axes = t.graph.integers(t.fixedAll(t.call.args[1]));
  return t.node('ReduceSum', [t.full(0), axes], { keepdims: keep(t, 2), noop_with_empty_axes: 1 });
};

/** Σ (x − x̄)² / (n − correction), and its root. */
const spread =
  (isRoot: boolean): Translate =>
  (t) => {
    const axes = t.fixedAll(t.call.args[1]);
    const x = t.full(0);
    const count = axes.reduce((n, d) => n * t.fixed(t.operand(0).shape[d]), 1);
    const mean = t.node('ReduceMean', [x], { axes, keepdims: 1 });
    const deviation = t.node('Sub', [x, mean]);
    const squares = t.node('Mul', [deviation, deviation]);
    const total = t.node('ReduceSum', [squares, t.graph.integers(axes)], { keepdims: keep(t, 3) });
    const variance = t.node('Div', [total, t.scalar(Math.max(0, count - t.fixed(t.call.args[2])))]);
    return isRoot ? t.node('Sqrt', [variance]) : variance;
  };

const argExtreme =
  (op: string): Translate =>
  (t) =>
    t.node('Cast', [t.node(op, [t.full(0)], { axis: t.fixed(t.call.args[1]), keepdims: keep(t, 2) })], { to: ELEMENT_TYPE.int32 });

/** Equal elements keep their order in TopK too. */
const argsort: Translate = (t) => {
  const axis = t.fixed(t.call.args[1]);
  const { dtype, shape } = t.operand(0);
  const x = dtype === 'bool' ? t.node('Cast', [t.full(0)], { to: ELEMENT_TYPE.int32 }) : t.full(0);
  const count = t.graph.integers([t.fixed(shape[axis])]);
  const order = t.graph.secondOf('TopK', [x, count], { axis, largest: t.call.args[2] === true ? 1 : 0, sorted: 1 });
  return t.node('Cast', [order], { to: ELEMENT_TYPE.int32 });
};

const cumsum: Translate = (t) => {
  const axis = t.graph.integers([t.fixed(t.call.args[1])]);
  return t.node('CumSum', [t.full(0), axis], { reverse: t.call.args[2] === true ? 1 : 0 });
};

/** Returns whether two sizes are equal for every batch. */
function areEqual(a: unknown, b: unknown): boolean {
  return a === b || (isBatchSize(a) && isBatchSize(b) && a.perSample === b.perSample);
}

const slice: Translate = (t) => {
  const [, starts, sizes, steps] = t.call.args as readonly [unknown, readonly unknown[], readonly unknown[], readonly unknown[]];
  const { shape } = t.operand(0);
  const axes = [...shape.keys()].filter((d) => !(starts[d] === 0 && steps[d] === 1 && areEqual(sizes[d], shape[d])));
  if (axes.length === 0) return t.arg(0);
  const from = axes.map((d) => t.fixed(starts[d]));
  const step = axes.map((d) => t.fixed(steps[d]));
  const end = axes.map((d, i) => from[i]! + t.fixed(sizes[d]) * step[i]!);
  return t.node('Slice', [t.full(0), ...[from, end, axes, step].map((list) => t.graph.integers(list))]);
};

const pad: Translate = (t) => {
  const [, shape, starts, steps, value] = t.call.args as readonly [
    unknown,
    readonly unknown[],
    readonly unknown[],
    readonly unknown[],
    number,
  ];
  const from = t.operand(0).shape;
  const after = from.map((size, d) => {
    if (areEqual(shape[d], size)) return 0;
    if (steps[d] !== 1) return t.fail('zeros between elements have no counterpart in ONNX');
    return t.fixed(shape[d]) - t.fixed(size) - t.fixed(starts[d]);
  });
  return t.node('Pad', [t.full(0), t.graph.integers([...t.fixedAll(starts), ...after]), t.scalar(value)], { mode: 'constant' });
};

/** Below the first element of any dim. */
const BEFORE_ALL = -(2 ** 53 - 1);

const flip: Translate = (t) => {
  const axes = t.fixedAll(t.call.args[1]);
  if (axes.length === 0) return t.arg(0);
  const lists = [axes.map(() => -1), axes.map(() => BEFORE_ALL), axes, axes.map(() => -1)];
  return t.node('Slice', [t.full(0), ...lists.map((list) => t.graph.integers(list))]);
};

const gather: Translate = (t) => {
  const axis = t.fixed(t.call.args[1]);
  const index = t.operand(2);
  const { compactShape, data } = index.constant ?? {};
  // The same index for all other dims: rows, columns or images are selected whole.
  const isList = compactShape?.every((size, d) => size === 1 || d === axis) === true;
  const others = index.shape.every((size, d) => d === axis || areEqual(size, t.operand(0).shape[d]));
  if (isList && others) return t.node('Gather', [t.full(0), t.graph.integers([...data!])], { axis });
  return t.node('GatherElements', [t.full(0), t.full(2)], { axis });
};

const cat: Translate = (t) => {
  const names = t.call.args.slice(1).map((_, i) => t.full(i + 1));
  return t.node('Concat', names, { axis: t.fixed(t.call.args[0]) });
};

const reshape: Translate = (t) => {
  const shape = t.call.args[1] as readonly Size[];
  const from = t.operand(0).shape;
  let isInferred = false;
  const target = shape.map((size, d) => {
    if (typeof size === 'number') return size === 0 ? t.fail('a size of 0 has no counterpart in ONNX') : size;
    // 0 copies the size of the same dim of the input.
    if (areEqual(size, from[d])) return 0;
    if (isInferred) return t.fail('two sizes depend on the number of samples');
    isInferred = true;
    return -1;
  });
  return t.node('Reshape', [t.full(0), t.graph.integers(target)]);
};

const permute: Translate = (t) => t.node('Transpose', [t.full(0)], { perm: t.fixedAll(t.call.args[1]) });

const expand: Translate = (t) => {
  const shape = t.call.args[1] as readonly Size[];
  const from = t.operand(0).shape;
  const target = shape.map((size, d) => {
    const own = from[d - (shape.length - from.length)];
    // ONNX broadcasts both ways: 1 keeps the input's size.
    return areEqual(size, own) ? 1 : t.fixed(size);
  });
  return t.node('Expand', [t.arg(0), t.graph.integers(target)]);
};

const scaleChannels: Translate = (t) => t.node('Mul', [t.full(0), t.node('Unsqueeze', [t.full(1), t.graph.integers([2, 3])])]);

const clamp: Translate = (t) => {
  let y = t.arg(0);
  if (t.call.args[1] !== null) y = t.node('Max', [y, t.arg(1)]);
  if (t.call.args[2] !== null) y = t.node('Min', [y, t.arg(2)]);
  return y;
};

/** onnxruntime has no Where of bool. */
const where: Translate = (t) => {
  const [c, a, b] = [t.arg(0), t.arg(1), t.arg(2)];
  if (t.call.results[0]!.dtype !== 'bool') return t.node('Where', [c, a, b]);
  return t.node('Or', [t.node('And', [c, a]), t.node('And', [t.node('Not', [c]), b])]);
};

const logSigmoid: Translate = (t) => t.node('Neg', [t.node('Softplus', [t.node('Neg', [t.full(0)])])]);

const cast: Translate = (t) => t.node('Cast', [t.arg(0)], { to: ELEMENT_TYPE[t.call.args[1] as DType] });

/** The translation of each operation. */
export const OPERATORS: Readonly<Record<string, Translate>> = {
  neg: unary('Neg'),
  abs: unary('Abs'),
  sign: unary('Sign'),
  square: (t) => t.node('Mul', [t.arg(0), t.arg(0)]),
  reciprocal: unary('Reciprocal'),
  sqrt: unary('Sqrt'),
  exp: unary('Exp'),
  expm1: (t) => t.node('Sub', [t.node('Exp', [t.arg(0)]), t.scalar(1)]),
  log: unary('Log'),
  log1p: (t) => t.node('Log', [t.node('Add', [t.arg(0), t.scalar(1)])]),
  sin: unary('Sin'),
  cos: unary('Cos'),
  tanh: unary('Tanh'),
  sigmoid: unary('Sigmoid'),
  erf: unary('Erf'),
  relu: unary('Relu'),
  floor: unary('Floor'),
  ceil: unary('Ceil'),
  round: unary('Round'),
  logSigmoid,
  add: binary('Add'),
  sub: binary('Sub'),
  mul: binary('Mul'),
  div: binary('Div'),
  pow: binary('Pow'),
  maximum: binary('Max'),
  minimum: binary('Min'),
  eq: binary('Equal'),
  ne: (t) => t.node('Not', [t.node('Equal', [t.arg(0), t.arg(1)])]),
  lt: order('Less'),
  le: order('LessOrEqual'),
  gt: order('Greater'),
  ge: order('GreaterOrEqual'),
  where,
  clamp,
  matmul: (t) => t.node('MatMul', [t.full(0), t.full(1)]),
  softmax: (t) => t.node('Softmax', [t.full(0)], { axis: -1 }),
  logSoftmax: (t) => t.node('LogSoftmax', [t.full(0)], { axis: -1 }),
  conv2d: conv,
  conv2dGradX: convTranspose,
  maxPool2d: maxPool,
  avgPool2d: avgPool,
  adaptiveAvgPool2d: adaptivePool,
  scaleChannels,
  sum,
  amax: reduction('ReduceMax'),
  amin: reduction('ReduceMin'),
  norm: reduction('ReduceL2'),
  var: spread(false),
  std: spread(true),
  argmax: argExtreme('ArgMax'),
  argmin: argExtreme('ArgMin'),
  argsort,
  cumsum,
  slice,
  pad,
  flip,
  gather,
  cat,
  reshape,
  permute,
  expand,
  contiguous: alias,
  clone: alias,
  identity: alias,
  to: cast,
};

/**
 * Functions that create tensors from numbers.
 */
import { brandedKind } from '../core/copies.ts';
import { checkDType, fits, isFloat, promote, type DType } from '../core/dtype.ts';
import { ArgumentError, DTypeError, ShapeError, isArray, kindOf, shown } from '../core/errors.ts';
import { checkNumber, checkOptions } from '../core/options.ts';
import { MAX_DIMS, formatShape, sizeOf, type Shape } from '../core/shape.ts';
import { kernels } from '../kernels/index.ts';
import { empty, emptyLike } from '../kernels/view.ts';
import { checkTensor, fromElements, untracked, type Tensor, type TensorOptions } from './tensor.ts';

/** Numbers or booleans, nested to any depth; the arrays of a level have one length. */
export type TensorData = number | boolean | readonly TensorData[] | NumberArray;

/** The typed arrays of numbers: those of every dtype, and those of pixels and other integers, which become int32. */
export type NumberArray =
  | Float32Array
  | Float64Array
  | Int32Array
  | Uint8Array
  | Int8Array
  | Uint8ClampedArray
  | Int16Array
  | Uint16Array
  | Uint32Array;

/** The dtypes of typed arrays by their names, which are the same in every realm. */
const DTYPE_OF_ARRAY: Readonly<Record<string, DType>> = {
  Float16Array: 'float32',
  Float32Array: 'float32',
  Float64Array: 'float64',
  Int32Array: 'int32',
  Uint8Array: 'int32',
  Int8Array: 'int32',
  Uint8ClampedArray: 'int32',
  Int16Array: 'int32',
  Uint16Array: 'int32',
  Uint32Array: 'int32',
};

/** Returns the dtype of a typed array's elements; undefined for another value. */
function dtypeOfArray(data: unknown): DType | undefined {
  if (!ArrayBuffer.isView(data)) return undefined;
  const name = (data as { readonly [Symbol.toStringTag]?: unknown })[Symbol.toStringTag];
  return typeof name === 'string' && Object.hasOwn(DTYPE_OF_ARRAY, name) ? DTYPE_OF_ARRAY[name] : undefined;
}

/** Options of `tensor`. */
export interface FromDataOptions extends TensorOptions {
  /** For flat data: its shape, row-major. Default: that of the nesting. */
  readonly shape?: Shape;
}

/**
 * Returns a tensor with a copy of the given elements: a number, nested arrays, or flat data with a `shape`.
 *
 * dtype: as given, else that of the typed arrays (int32 for all integers), bool for booleans, float32 for numbers.
 * Throws ShapeError for ragged arrays or a count that does not fit; DTypeError for values the dtype cannot hold.
 * @example tensor([[1, 2], [3, 4]], { requiresGrad: true })
 */
export function tensor(data: TensorData, options: FromDataOptions = {}): Tensor {
  const { values, shape: nested, dtype: own } = flattenData(data);
  const dtype = dtypeOf('tensor', options, own, ['shape']);
  const shape = options.shape ?? nested;
  const n = sizeOf(shape, 'tensor');
  if (n !== values.length) throw new ShapeError(`tensor: ${values.length} elements do not fill shape ${formatShape(shape)} (${n})`);
  checkValues('tensor', values, dtype);
  return withOptions(fromElements(values, [...shape], dtype), options);
}

interface Flat {
  readonly values: ArrayLike<number>;
  readonly shape: Shape;
  readonly dtype: DType;
}

function flattenData(data: TensorData): Flat {
  const own = dtypeOfArray(data);
  if (own !== undefined) {
    checkAttached(data as ArrayBufferView);
    return { values: data as NumberArray, shape: [(data as NumberArray).length], dtype: own };
  }
  const values: number[] = [];
  let shape: number[] | null = null;
  let dtype: DType | null = null;
  const here: number[] = [];
  const checkLevel = (): void => {
    shape ??= [...here];
    if (shape.length === here.length) return;
    throw new ShapeError(`tensor: the arrays are ragged: element ${values.length - 1} lies ${here.length} deep, the first ${shape.length}`);
  };
  /** Reads a number, or a list of which `of` is the dtype, if it is a typed array. */
  const visit = (v: TensorData, of: DType | null): void => {
    if (typeof v === 'number' || typeof v === 'boolean') {
      dtype = merged(dtype, of ?? (typeof v === 'boolean' ? 'bool' : 'float32'));
      values.push(Number(v));
      checkLevel();
      return;
    }
    const row = dtypeOfArray(v) ?? null;
    const depth = here.length;
    checkList(v, row, depth);
    const list = v as readonly TensorData[];
    here.push(list.length);
    if (shape !== null && shape[depth] !== list.length) {
      throw new ShapeError(
        `tensor: the arrays are ragged: ${list.length} elements at depth ${depth}, where others have ${shape[depth] ?? 'none'}`,
      );
    }
    if (row !== null) {
      checkAttached(v as unknown as ArrayBufferView);
      dtype = merged(dtype, row);
    }
    // Not forEach, which skips holes.
    for (const element of list) visit(element, row);
    if (list.length === 0) shape ??= [...here];
    here.pop();
  };
  visit(data, null);
  return { values, shape: shape!, dtype: dtype ?? 'float32' };
}

/** Throws unless `v` is a typed array, of which `row` is the dtype, or an array, at a depth that a tensor has dims for. */
function checkList(v: unknown, row: DType | null, depth: number): void {
  if (row === null && !isArray(v)) throw new ArgumentError(`tensor: expected numbers, booleans or arrays of them, got ${dataKind(v)}`);
  // Before the recursion is too deep, as in an array that contains itself.
  if (depth === MAX_DIMS) throw new ShapeError(`tensor: the arrays are nested deeper than ${MAX_DIMS} dims, the most that a tensor has`);
}

/** Throws for a typed array whose memory was transferred, as postMessage does: it has no elements any more. */
function checkAttached(array: ArrayBufferView): void {
  if (array.byteLength > 0) return;
  try {
    void new Uint8Array(array.buffer);
  } catch (cause) {
    throw new ArgumentError('tensor: the memory of the array was transferred to another thread; copy the array first', { cause });
  }
}

/** Returns the dtype of data with elements of both; null stands for no elements. */
function merged(a: DType | null, b: DType): DType {
  return a === null ? b : promote(a, b);
}

/** Describes what is no data of a tensor: `object`, `null`, `a tensor of another copy of chainrule`. */
function dataKind(v: unknown): string {
  if (v === null) return 'null';
  if (ArrayBuffer.isView(v)) return `a ${String((v as { readonly [Symbol.toStringTag]?: unknown })[Symbol.toStringTag])}`;
  return brandedKind(v) ?? typeof v;
}

/** Checks the options; returns the dtype among them, or `own`. */
function dtypeOf(op: string, options: TensorOptions, own: DType, more: readonly string[] = []): DType {
  checkOptions(op, options, ['dtype', 'requiresGrad', 'label', ...more], ['requiresGrad']);
  const { label } = options;
  if (label !== undefined && typeof label !== 'string') throw new ArgumentError(`${op}: label must be a string, got ${kindOf(label)}`);
  const dtype = checkDType(op, options.dtype ?? own);
  if (options.requiresGrad !== true || isFloat(dtype)) return dtype;
  throw new DTypeError(`${op}: only float32 and float64 tensors have gradients, this one is ${dtype}`);
}

function checkValues(op: string, values: ArrayLike<number>, dtype: DType): void {
  if (isFloat(dtype)) return;
  for (let i = 0; i < values.length; i++) {
    const v = values[i]!;
    if (!fits(v, dtype)) throw new DTypeError(`${op}: element ${i} is ${v}, which does not fit ${dtype}`);
  }
}

function withOptions(t: Tensor, { requiresGrad = false, label }: TensorOptions): Tensor {
  if (label !== undefined) t.label = label;
  return requiresGrad ? t.requiresGrad_() : t;
}

/** Returns a tensor of `shape` filled with one value; dtype float32 by default. */
export const full = (shape: Shape, value: number, options: TensorOptions = {}): Tensor => filled('full', shape, value, options);

function filled(op: string, shape: Shape, value: number, options: TensorOptions): Tensor {
  sizeOf(shape, op);
  const dtype = dtypeOf(op, options, 'float32');
  if (typeof value !== 'number') throw new ArgumentError(`${op}: expected a number as value, got ${kindOf(value)}`);
  checkValues(op, [value], dtype);
  const y = empty([...shape], dtype);
  kernels.fill(value, y);
  return withOptions(untracked(y), options);
}

/** Returns a tensor of zeros; dtype float32 by default. */
export const zeros = (shape: Shape, options: TensorOptions = {}): Tensor => filled('zeros', shape, 0, options);

/** Returns a tensor of ones; dtype float32 by default. */
export const ones = (shape: Shape, options: TensorOptions = {}): Tensor => filled('ones', shape, 1, options);

/** Returns zeros in the shape, memory order and (unless given) dtype of `x`. */
export const zerosLike = (x: Tensor, options: TensorOptions = {}): Tensor => like('zerosLike', x, 0, options);

/** Returns ones in the shape, memory order and (unless given) dtype of `x`. */
export const onesLike = (x: Tensor, options: TensorOptions = {}): Tensor => like('onesLike', x, 1, options);

function like(op: string, x: Tensor, value: number, options: TensorOptions): Tensor {
  checkTensor(op, 'x', x);
  const y = emptyLike(x, x.shape, dtypeOf(op, options, x.dtype));
  kernels.fill(value, y);
  return withOptions(untracked(y), options);
}

/** Returns the identity matrix [n,m]; m is n by default. */
export function eye(n: number, m = n, options: TensorOptions = {}): Tensor {
  const values = new Float64Array(sizeOf([n, m], 'eye'));
  for (let i = 0; i < Math.min(n, m); i++) values[i * m + i] = 1;
  return withOptions(fromElements(values, [n, m], dtypeOf('eye', options, 'float32')), options);
}

/** Returns start, start + step, … before end. One argument counts from 0. dtype int32 for whole numbers, else float32. */
export function arange(start: number, end?: number, step = 1, options: TensorOptions = {}): Tensor {
  const from = end === undefined ? 0 : start;
  const to = end === undefined ? start : end;
  if (!Number.isFinite(from) || !Number.isFinite(to) || !Number.isFinite(step) || step === 0) {
    throw new ArgumentError(
      `arange: expected finite numbers and a step ≠ 0, got start ${shown(from)}, end ${shown(to)}, step ${shown(step)}`,
    );
  }
  const range = to - from;
  const n = Math.ceil(Number.isFinite(range) ? range / step : to / step - from / step);
  if (n < 0) throw new ArgumentError(`arange: step ${step} leads from start ${from} away from end ${to}`);
  const whole = Number.isInteger(from) && Number.isInteger(step);
  const values = Float64Array.from({ length: sizeOf([n], 'arange') }, (_, i) => from + i * step);
  const dtype = dtypeOf('arange', options, whole ? 'int32' : 'float32');
  checkValues('arange', values, dtype);
  return withOptions(fromElements(values, [n], dtype), options);
}

/** Returns `steps` evenly spaced numbers from start to end, both included; dtype float32 by default. */
export function linspace(start: number, end: number, steps: number, options: TensorOptions = {}): Tensor {
  checkNumber('linspace', 'start', start);
  checkNumber('linspace', 'end', end);
  sizeOf([steps], 'linspace');
  const intervals = Math.max(steps - 1, 1);
  // Where i · (end − start) overflows, the distance between neighbours comes first, though it rounds.
  const overflows = !Number.isFinite(intervals * (end - start));
  const distance = (i: number): number => (overflows ? i * (end / intervals - start / intervals) : (i * (end - start)) / intervals);
  const values = Float64Array.from({ length: steps }, (_, i) => {
    // From both ends, so that the last is exactly `end`.
    if (i < steps / 2) return start + distance(i);
    return end - distance(steps - 1 - i);
  });
  const dtype = dtypeOf('linspace', options, 'float32');
  checkValues('linspace', values, dtype);
  return withOptions(fromElements(values, [steps], dtype), options);
}

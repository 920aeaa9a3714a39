/**
 * Runs kernels over nests of strided loops. assembly/runtime/strided.ts describes the layout of a nest in memory.
 */
import { ITEM_SIZE } from '../../core/dtype.ts';
import { planIteration, type Plan } from '../../core/iteration-plan.ts';
import { isRowMajor, type Shape } from '../../core/shape.ts';
import { ARGS, ARGS_BYTES, memoryViews } from '../memory/wasm-memory.ts';
import { materialize, materializedAddressOf, type View } from '../view.ts';
import { BYTES, type KernelArguments, type Nest, writeNest, writeNestOperand } from './arguments.generated.ts';
import { launch, type KernelName, launchStored, type Split } from './launch.ts';
import { CHUNK_ELEMENTS, partsPerChunk, NANOSECONDS_PER_ELEMENT, SCALAR_COST } from './work-estimates.ts';

/** The kernels whose arguments are a nest, and those with a nest among other arguments. */
type NestKernel = { [K in KernelName]: KernelArguments[K] extends Nest | { readonly nest: number } ? K : never }[KernelName];

/** The arguments of a kernel whose nest is one of several, with NEST as its address; null if the nest is all. */
export type ArgumentsAroundNest<K extends NestKernel> = KernelArguments[K] extends Nest ? null : KernelArguments[K];

/** The address of a nest that is one of several arguments: behind the longest of the others. */
export const NEST = ARGS + 256;

export interface NestOptions {
  /** The number of elements that the kernel processes per element of the nest. Default 1. */
  readonly weight?: number;
  /** Time per element as a multiple of an addition's. Default 1. */
  readonly cost?: number;
  /** The index of the view that the kernel writes. Default 0. */
  readonly output?: number;
}

/** Runs a kernel over a planned nest of `views`. */
export function launchNest<K extends NestKernel>(
  name: K,
  args: ArgumentsAroundNest<K>,
  views: readonly View[],
  plan: Plan,
  { weight = 1, cost = 1, output = 0 }: NestOptions = {},
): void {
  const { sizes, strides } = plan;
  const last = sizes.length - 1;
  const length = sizes[last]!;
  const longest = Math.max(1, Math.floor(CHUNK_ELEMENTS / weight));
  const pieces = length > longest ? Math.ceil(length / longest) : 1;
  const run = pieces > 1 ? longest : length;
  let rows = pieces;
  for (let d = 0; d < last; d++) rows *= sizes[d]!;
  const rowsPerChunk = partsPerChunk(run * weight);
  // The nest needs at least one loop over rows.
  const cut = pieces > 1 || last === 0;
  const loops = cut ? last + 1 : last;
  const tail = length - (pieces - 1) * run;
  materializeAll(views, output);
  let word = storeNest(args === null ? ARGS : NEST, { rows, rowsPerChunk, run, tail, loops }, views, plan);
  const { i32 } = memoryViews();
  const strideOf = (k: number, d: number): number => strides[k]![d]! * ITEM_SIZE[views[k]!.dtype];
  if (cut) {
    i32[word++] = pieces;
    for (let k = 0; k < views.length; k++) i32[word++] = strideOf(k, last) * run;
  }
  for (let d = last - 1; d >= 0; d--) {
    i32[word++] = sizes[d]!;
    for (let k = 0; k < views.length; k++) i32[word++] = strideOf(k, d);
  }
  runNest(name, args, { chunks: Math.ceil(rows / rowsPerChunk), work: rows * run * weight * cost * NANOSECONDS_PER_ELEMENT });
}

/** Stores a nest and its operands at `at`. Returns the index of the word after them, where the loops begin. */
function storeNest(at: number, nest: Nest, views: readonly View[], { sizes, strides }: Plan): number {
  const words = (views.length + 1) * nest.loops;
  const operands = at + BYTES.Nest;
  const end = operands + views.length * BYTES.NestOperand;
  if (end + words * 4 > ARGS + ARGS_BYTES) throw new Error(`a nest of ${nest.loops} loops does not fit`);
  const memory = memoryViews();
  writeNest(nest, at, memory);
  const last = sizes.length - 1;
  for (let k = 0; k < views.length; k++) {
    const v = views[k]!;
    const runStride = strides[k]![last]! * ITEM_SIZE[v.dtype];
    writeNestOperand({ address: materializedAddressOf(v), runStride }, operands + k * BYTES.NestOperand, memory);
  }
  return end >> 2;
}

function materializeAll(views: readonly View[], output: number): void {
  for (let k = 0; k < views.length; k++) materialize(views[k]!, k === output ? 'write' : 'read');
}

function runNest<K extends NestKernel>(name: K, args: ArgumentsAroundNest<K>, split: Split): void {
  if (args === null) launchStored(name, split);
  else launch(name, split, args as KernelArguments[K]);
}

const ONE_CHUNK: Split = { chunks: 1, work: 0 };

/**
 * Runs a kernel over at most one chunk of elements if each view is row-major or repeats one element; otherwise returns false. Stores the
 * nest of one row that launchNest would store, but without planning, which takes longer than a small kernel.
 */
function launchSmall<K extends NestKernel>(name: K, args: ArgumentsAroundNest<K>, views: readonly View[]): boolean {
  let n = 1;
  for (const size of views[0]!.shape) n *= size;
  if (n === 0 || n > CHUNK_ELEMENTS) return false;
  materializeAll(views, 0);
  const at = args === null ? ARGS : NEST;
  const memory = memoryViews();
  const { i32 } = memory;
  const operands = (at + BYTES.Nest) >> 2;
  const loop = operands + 2 * views.length;
  for (let k = 0; k < views.length; k++) {
    const v = views[k]!;
    const stride = smallStride(v);
    if (stride < 0) return false;
    i32[operands + 2 * k] = materializedAddressOf(v);
    i32[operands + 2 * k + 1] = stride;
    i32[loop + 1 + k] = stride * n;
  }
  i32[loop] = 1;
  writeNest({ rows: 1, rowsPerChunk: partsPerChunk(n), run: n, tail: n, loops: 1 }, at, memory);
  runNest(name, args, ONE_CHUNK);
  return true;
}

/** Returns the bytes from element to element of a row-major view, 0 if the view repeats one element, or −1 if neither holds. */
function smallStride(v: View): number {
  if (isRowMajor(v.shape, v.strides)) return ITEM_SIZE[v.dtype];
  const { shape, strides } = v;
  for (let d = 0; d < shape.length; d++) if (shape[d] !== 1 && strides[d] !== 0) return -1;
  return 0;
}

/** Returns whether a plan has no elements. */
export function isEmpty(plan: Plan): boolean {
  return plan.sizes.includes(0);
}

/** Runs a kernel over whole views of one shape, output first. */
export function launchViews<K extends NestKernel>(name: K, args: ArgumentsAroundNest<K>, views: readonly View[], cost = 1): void {
  if (launchSmall(name, args, views)) return;
  const plan = planIteration(
    views[0]!.shape,
    views.map((v) => v.strides),
  );
  if (!isEmpty(plan)) launchNest(name, args, views, plan, { cost });
}

/** Runs a kernel over the lines of `views` along `dim`. Each element of the nest is one line. */
export function launchLines<K extends NestKernel>(
  name: K,
  args: ArgumentsAroundNest<K>,
  views: readonly View[],
  shape: Shape,
  dim: number,
  output = 0,
): void {
  const plan = planIteration(
    shape.filter((_, d) => d !== dim),
    views.map((v) => v.strides.filter((_, d) => d !== dim)),
  );
  const length = lengthOf(shape, dim);
  if (length === 0 || isEmpty(plan)) return;
  launchNest(name, args, views, plan, { weight: length, cost: SCALAR_COST, output });
}

/** Returns the size of a dim; 1 for dim 0 of a 0-d view. */
export function lengthOf(shape: Shape, dim: number): number {
  return shape[dim] ?? 1;
}

/** Returns the stride of `v` along `dim` in bytes. */
export function byteStride(v: View, dim: number): number {
  return (v.strides[dim] ?? 0) * ITEM_SIZE[v.dtype];
}

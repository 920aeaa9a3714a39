/**
 * The tensor: a strided view of a reference-counted storage, and its node in the autograd graph.
 *
 * Operations are methods too. methods.ts installs them, so that this file imports none of them.
 */
import { brand, foreignKind } from '../core/copies.ts';
import { isIterable, isReadable } from '../core/describe.ts';
import { ITEM_SIZE, isFloat, type DType, type ElementArray } from '../core/dtype.ts';
import { ArgumentError, AutogradError, DTypeError, ReleasedError, ShapeError, kindOf, shown } from '../core/errors.ts';
import { checkBoolean, refuseSurplus } from '../core/options.ts';
import { formatShape, isRowMajor, normalizeDim, rowMajorStrides, sameShape, sizeOf, type Shape } from '../core/shape.ts';
import { kernels } from '../kernels/index.ts';
import { allocate, withTemporaries } from '../kernels/memory/allocator.ts';
import { type Storage } from '../kernels/memory/storage.ts';
import { readElements, viewOf } from '../kernels/memory/wasm-memory.ts';
import { addressOf, empty, type View } from '../kernels/view.ts';
import { StorageClaim, countTensor, registerTensor, unregisterTensor } from './gc-fallback.ts';
import { formatTensor } from './format.ts';
import { currentScope, noteKept, type Scope } from './scope-stack.ts';
import { Node, discard, type FreedBy, type Hook } from './tape.ts';

/** Nested arrays of numbers, as `tensor` accepts them and `toArray` returns them. */
export type NestedArray = number | NestedArray[];

/** Options of the functions that create tensors. */
export interface TensorOptions {
  /** Default float32; in `tensor` that of a typed array, in the …Like functions that of the tensor. */
  readonly dtype?: DType;
  /** Whether operations on the tensor are recorded, and `backward` fills its `grad`. Default false. */
  readonly requiresGrad?: boolean;
  /** A name for graphs and reports. Default: none. */
  readonly label?: string;
}

/**
 * An n-dimensional array of one dtype that operations and `backward` take. `tensor`, `zeros`, `randn`, … create one.
 * Operations return new tensors; views share memory. The document Architecture, section Memory, describes when memory is freed.
 */
export class Tensor implements View {
  static {
    brand(Tensor.prototype, 'a tensor');
  }

  /** The position of its first element in its memory, in elements. */
  readonly offset: number;
  /** The size of each dim; [] for one number. */
  readonly shape: Shape;
  /** The distance between neighbours along each dim, in elements. */
  readonly strides: readonly number[];
  /** The type of its elements. */
  readonly dtype: DType;
  /** A name for graphs and reports. */
  label: string | null = null;

  /** @internal The tensor's node in the graph; null where no gradient is required. */
  node: Node | null = null;
  /** @internal The scope that will free it. */
  scope: Scope | null = null;
  /** @internal Whether its graph is consumed, so that the next recorded operation frees the tensor. */
  isExpiring = false;
  /** @internal Whether it is 0-d and lies in the memory of another tensor. A copy of its value cannot replace it in writes. */
  isScalarView = false;

  #storage: Storage;
  #owned = false;
  #freedBy: FreedBy | null = null;
  /** What freed the memory in whose place a 0-d tensor has a copy of its value. */
  #revivedFrom: FreedBy | null = null;
  #claim: StorageClaim | null = null;
  #grad: Tensor | null = null;
  /** The value of a released 0-d tensor. */
  #value = 0;
  /** Its node as a leaf, retained while gradients are switched off. */
  #leafNode: Node | null = null;

  /** For subclasses only. `tensor`, `zeros`, … and operations create tensors. */
  protected constructor(v: View) {
    this.#storage = v.storage;
    this.offset = v.offset;
    this.shape = v.shape;
    this.strides = v.strides;
    this.dtype = v.dtype;
    v.storage.retain();
    countTensor(1);
  }

  /** @internal Returns a tensor that retains the view's storage and has no owner yet; `adoptIntoScope` gives it one. */
  static fromView(v: View): Tensor {
    return new Tensor(v);
  }

  /** @internal The memory. Throws ReleasedError if it was released, but a 0-d tensor whose graph is consumed is recreated as a constant. */
  get storage(): Storage {
    if (this.#freedBy !== null) this.#revive();
    return this.#storage;
  }

  /** The number of dims. */
  get ndim(): number {
    return this.shape.length;
  }

  /** The number of elements. */
  get numel(): number {
    return sizeOf(this.shape);
  }

  /** Returns the size of one dim; negative dims count from the end. */
  size(dim: number): number {
    refuseSurplus('size', arguments, 1);
    return this.shape[normalizeDim('size', dim, this.ndim)]!;
  }

  /** Returns the shape as a typed tuple of `n` sizes; throws ShapeError for another rank. */
  sizes(n: 1): [number];
  sizes(n: 2): [number, number];
  sizes(n: 3): [number, number, number];
  sizes(n: 4): [number, number, number, number];
  sizes(n: number): number[] {
    refuseSurplus('sizes', arguments, 1);
    if (this.ndim !== n) throw new ShapeError(`sizes: expected ${shown(n)} dims, got shape ${formatShape(this.shape)}`);
    return [...this.shape];
  }

  /** Returns whether the elements are stored row-major, without gaps. */
  isContiguous(): boolean {
    refuseSurplus('isContiguous', arguments, 0);
    return isRowMajor(this.shape, this.strides);
  }

  // — autograd —

  /** Whether this tensor, or one that it was computed from, requires a gradient. */
  get requiresGrad(): boolean {
    return this.node !== null;
  }

  /** Whether it is not the result of a recorded operation. */
  get isLeaf(): boolean {
    return this.node === null || this.node.op === null;
  }

  /** Switches gradients on or off for a leaf; returns the tensor. Throws for int32 and bool, and for results of operations. */
  requiresGrad_(flag = true): this {
    refuseSurplus('requiresGrad_', arguments, 1);
    checkBoolean('requiresGrad_', 'flag', flag);
    if (!this.isLeaf) throw new AutogradError(`requiresGrad_: the result of ${this.node!.name} is no leaf; use detach()`);
    if (flag && !isFloat(this.dtype)) {
      throw new DTypeError(`requiresGrad_: only float32 and float64 tensors have gradients, this one is ${this.dtype}`);
    }
    if (flag === this.requiresGrad) return this;
    this.storage.gradRefs += flag ? 1 : -1;
    if (flag) this.#leafNode ??= new Node(null, [], this);
    this.node = flag ? this.#leafNode : null;
    if (this.#claim !== null) this.#claim.requiresGrad = flag;
    return this;
  }

  /**
   * The gradient that `backward` has accumulated, in this tensor's shape; null where there is none. May be set to null, or
   * to a tensor of the same shape and dtype, which is copied.
   */
  get grad(): Tensor | null {
    return this.#grad === null || this.#grad.isReleased ? null : this.#grad;
  }

  set grad(g: Tensor | null) {
    if (g === null) {
      this.adoptGrad(null);
      return;
    }
    if (g === this.#grad) return;
    checkTensors('grad', { value: g });
    this.checkReadable();
    g.checkReadable();
    if (!sameShape(g.shape, this.shape) || g.dtype !== this.dtype) {
      throw new ShapeError(
        `grad: expected ${this.dtype} ${formatShape(this.shape)}, the tensor's own, got ${g.dtype} ${formatShape(g.shape)}`,
      );
    }
    const copy = empty(this.shape, this.dtype);
    kernels.copy(g, copy);
    this.adoptGrad(owned(copy));
  }

  /** @internal Sets the gradient to an owned tensor that is referenced nowhere else, or to null. */
  adoptGrad(g: Tensor | null): void {
    if (this.#grad !== null && this.#grad !== g) this.#grad.dispose();
    this.#grad = g;
  }

  /**
   * Calls `hook` with this tensor's gradient when backward reaches it. A tensor that the hook returns replaces the gradient.
   * Returns a function that removes the hook.
   */
  registerHook(hook: Hook): () => void {
    refuseSurplus('registerHook', arguments, 1);
    if (this.node === null) throw new AutogradError('registerHook: the tensor does not require a gradient');
    if (typeof hook !== 'function') throw new ArgumentError(`registerHook: expected a function, got ${kindOf(hook)}`);
    const node = this.node;
    // A function of its own, as one hook may be registered several times, and each is removed by itself.
    const registered: Hook = (grad) => hook(grad);
    node.hooks = [...(node.hooks ?? []), registered];
    return () => {
      node.hooks = node.hooks?.filter((h) => h !== registered) ?? null;
    };
  }

  /** Makes backward fill `grad` of this tensor although it is not a leaf; returns the tensor. */
  retainGrad(): this {
    refuseSurplus('retainGrad', arguments, 0);
    if (this.node === null) throw new AutogradError('retainGrad: the tensor does not require a gradient');
    this.node.retainsGrad = true;
    return this;
  }

  // — values —

  /** Returns the value of a tensor with one element; bool gives 0 or 1. A 0-d tensor retains its value after it was freed. */
  item(): number {
    refuseSurplus('item', arguments, 0);
    if (this.numel !== 1) throw new ShapeError(`item: expected one element, got shape ${formatShape(this.shape)}`);
    if (this.#freedBy !== null && this.ndim === 0) return this.#value;
    return viewOf(this.dtype)[addressOf(this) / ITEM_SIZE[this.dtype]]!;
  }

  /** Returns a row-major copy of the elements. */
  data(): ElementArray {
    refuseSurplus('data', arguments, 0);
    return withTemporaries('data', () => {
      const v = this.isContiguous() ? this : empty(this.shape, this.dtype);
      if (v !== this) kernels.copy(this, v);
      return readElements(addressOf(v), this.dtype, this.numel);
    });
  }

  /** Returns the elements as nested arrays, or as a number for a 0-d tensor. */
  toArray(): NestedArray {
    refuseSurplus('toArray', arguments, 0);
    const flat = this.data();
    const nest = (d: number, at: number): NestedArray => {
      if (d === this.ndim) return flat[at]!;
      const n = this.shape[d]!;
      const step = this.shape.slice(d + 1).reduce((a, b) => a * b, 1);
      return Array.from({ length: n }, (_, i) => nest(d + 1, at + i * step));
    };
    return nest(0, 0);
  }

  /** Returns the shape, dtype, operation and values as text. */
  toString(): string {
    return formatTensor(this);
  }

  /** Returns dtype, shape and nested elements, for `JSON.stringify`. */
  toJSON(): { dtype: DType; shape: Shape; data: NestedArray } {
    return { dtype: this.dtype, shape: this.shape, data: this.toArray() };
  }

  [Symbol.for('nodejs.util.inspect.custom')](): string {
    return this.toString();
  }

  /** Prints the tensor in template strings; throws ArgumentError for arithmetic. */
  [Symbol.toPrimitive](hint: string): string {
    if (hint === 'string') return this.toString();
    throw new ArgumentError('a tensor is no number: use .item() for its value, or .add(…), .mul(…) for arithmetic');
  }

  // — lifetime —

  /**
   * Makes the tensor the user's own: neither a scope nor backward frees it. Does not extend the lifetime of its graph.
   * Returns the tensor.
   */
  keep(): this {
    refuseSurplus('keep', arguments, 0);
    if (this.#owned) return this;
    void this.storage;
    this.#owned = true;
    noteKept(this);
    this.scope = null;
    this.isExpiring = false;
    this.#dropTapeClaim();
    this.#registerClaim();
    // No scope consumes its node any more.
    if (this.hasLiveNode) this.node!.tape?.registerForGc();
    return this;
  }

  /** Frees the tensor now, and its graph too if it is the last result of it. A second call has no effect. */
  dispose(): void {
    refuseSurplus('dispose', arguments, 0);
    if (this.hasLiveNode) discard(this.node!, 'dispose');
    this.free('dispose');
  }

  /** @internal Whether it was freed. */
  get isReleased(): boolean {
    return this.#freedBy !== null;
  }

  /** @internal Throws ReleasedError if the memory was released and the tensor cannot be recreated as a constant. */
  checkReadable(): void {
    if (this.#freedBy !== null) this.#revive();
  }

  /** @internal Throws as checkReadable, and for a view of which only a copy is left: a write would not reach the other tensor. */
  checkWritable(): void {
    this.checkReadable();
    const by = this.#revivedFrom;
    if (by !== null && this.isScalarView) throw new ReleasedError(this.#releasedText(by));
  }

  /** @internal Whether the user or a module owns it, so that only `dispose` frees it. */
  get isOwned(): boolean {
    return this.#owned;
  }

  /** @internal Whether it is the output of a node that backward can still walk. */
  get hasLiveNode(): boolean {
    const n = this.node;
    return n !== null && n.op !== null && n.consumedBy === null && n.output === this;
  }

  /** @internal Whether it is the output of a node that has not dropped its saved values. */
  get hasUndroppedNode(): boolean {
    const n = this.node;
    return n !== null && n.op !== null && !n.dropped && n.output === this;
  }

  /** @internal Releases the storage and frees the gradient. A 0-d tensor retains its value. */
  free(by: FreedBy): void {
    if (this.#freedBy !== null) return;
    if (this.shape.length === 0) this.#value = viewOf(this.dtype)[addressOf(this) / ITEM_SIZE[this.dtype]]!;
    this.#freedBy = by;
    this.isExpiring = false;
    this.#dropClaim();
    const s = this.#storage;
    if (this.node !== null) s.gradRefs--;
    this.#dropTapeClaim();
    s.release();
    countTensor(-1);
    this.adoptGrad(null);
  }

  /** @internal Ends the tape's claim on the tensor: its scope or the GC fallback frees it. */
  leaveTape(): void {
    this.node!.claim.output = null;
    this.node!.leaveTape();
    if (this.scope === null) this.#registerClaim();
  }

  /** @internal Gives a new tensor its owner: the innermost scope, else its tape, else the GC fallback. */
  adoptIntoScope(): this {
    const scope = currentScope();
    if (scope !== null) scope.adopt(this);
    else this.leaveScopes();
    if (this.hasLiveNode && !this.#owned) this.node!.claim.output = this.#storage;
    return this;
  }

  /** @internal Takes the tensor out of all scopes: its tape or the GC fallback frees it. */
  leaveScopes(): void {
    this.scope = null;
    if (this.#owned || this.#freedBy !== null) return;
    if (this.hasLiveNode) this.node!.tape?.registerForGc();
    else this.#registerClaim();
  }

  /** @internal Moves the tensor to other memory of the same shape, as when a parameter changes its dtype. Drops the gradient. */
  replace(v: View): void {
    const before = this.storage;
    this.grad = null;
    this.#dropClaim();
    // A graph that saved this tensor would read the new memory through it. The new version makes its backward throw.
    before.version++;
    if (this.node !== null) {
      before.gradRefs--;
      v.storage.gradRefs++;
    }
    v.storage.retain();
    before.release();
    this.#storage = v.storage;
    const { offset, strides, dtype } = v;
    Object.assign(this as object, { offset, strides, dtype });
    if (this.#owned) this.#registerClaim();
  }

  /** @internal Makes the tensor the output of `node`. */
  attach(node: Node): void {
    this.node = node;
    this.#storage.gradRefs++;
  }

  /** Ends the tape's claim on this handle. */
  #dropTapeClaim(): void {
    if (this.node?.output !== this) return;
    this.node.claim.output = null;
    if (this.node.consumedBy !== null) this.node.leaveTape();
  }

  #registerClaim(): void {
    if (this.#claim !== null) return;
    this.#claim = new StorageClaim(this.#storage, this.node !== null);
    registerTensor(this, this.#claim);
  }

  #dropClaim(): void {
    if (this.#claim !== null) unregisterTensor(this.#claim);
    this.#claim = null;
  }

  /** Recreates a freed 0-d tensor from its value, as a constant. Throws ReleasedError for other tensors and for live graphs. */
  #revive(): void {
    const by = this.node?.consumedBy;
    const consumed = this.node === null || by === 'backward' || by === 'dispose';
    if (this.ndim !== 0 || !consumed) throw new ReleasedError(this.#releasedText(this.#freedBy));
    this.#revivedFrom = this.#freedBy;
    this.#storage = allocate(ITEM_SIZE[this.dtype]);
    (this as { offset: number }).offset = 0;
    viewOf(this.dtype)[this.#storage.ptr / ITEM_SIZE[this.dtype]] = this.#value;
    this.#storage.retain();
    if (this.node !== null) this.#storage.gradRefs++;
    countTensor(1);
    this.#freedBy = null;
    this.#owned = false;
    this.adoptIntoScope();
  }

  #releasedText(by: FreedBy | null): string {
    const what = `${this.label === null ? 'a tensor' : `'${this.label}'`} ${formatShape(this.shape)}`;
    switch (by) {
      case 'backward':
        return (
          `${what}${this.node === null ? '' : ` (result of ${this.node.name})`} was freed: backward consumed its graph, and a recorded operation ` +
          'followed. Read it before that, or give backward { retainGraph: true }, or keep() it'
        );
      case 'scope':
        return `${what} was freed when its scope or noGrad ended. Return it from there, or keep() it; for a cache inside a module: nn.buffer(t, { persistent: false })`;
      case 'iteration':
        return (
          `${what} was freed at the end of its iteration of a scoped loop. keep() it, or accumulate in place into a tensor made ` +
          'before the loop (total.add_(x)); for a cache inside a module: nn.buffer(t, { persistent: false })'
        );
      default:
        return `${what} was freed by dispose()`;
    }
  }
}

// `using x = …` disposes where the runtime has explicit resource management.
if (typeof Symbol.dispose === 'symbol') {
  Object.defineProperty(Tensor.prototype, Symbol.dispose, { value: Tensor.prototype.dispose, configurable: true, writable: true });
}

/** Returns whether `v` is a tensor of this copy of the library. `instanceof` throws for a proxy that cannot be read. */
export function isTensor(v: unknown): v is Tensor {
  try {
    return v instanceof Tensor;
  } catch {
    return false;
  }
}

/** Throws unless all of `given`, by name, are tensors: plain JavaScript may pass anything. */
export function checkTensors(op: string, given: Readonly<Record<string, unknown>>): void {
  for (const name of Object.keys(given)) checkTensor(op, name, given[name]);
}

/** Throws unless `tensors` is a record of tensors: an array or a Map would write a file with wrong names or none. */
export function checkTensorRecord(op: string, tensors: unknown): asserts tensors is Readonly<Record<string, Tensor>> {
  if (!isReadable(tensors) || isTensor(tensors) || isIterable(tensors))
    throw new ArgumentError(`${op}: expected a record of tensors, got ${isTensor(tensors) ? 'one tensor' : kindOf(tensors)}`);
  checkTensors(op, tensors as Readonly<Record<string, unknown>>);
}

/** Throws unless `t`, the argument `name`, is a tensor of this copy of the library. */
export function checkTensor(op: string, name: string, t: unknown): asserts t is Tensor {
  if (isTensor(t)) return;
  const remedy = foreignKind(t) === null ? '' : '; load chainrule once, or copy the values by tensor(t.toArray())';
  throw new ArgumentError(`${op}: ${name} must be a tensor, got ${kindOf(t)}${remedy}`);
}

/** @internal Returns a tensor that no scope or tape frees: parameters, buffers, gradients, optimizer state. */
export function owned(v: View): Tensor {
  return Tensor.fromView(v).keep();
}

/** @internal Returns a new handle on the view's memory, without a node. The innermost scope owns it, else the GC fallback. */
export function untracked(v: View): Tensor {
  return Tensor.fromView(v).adoptIntoScope();
}

/** @internal Returns a row-major tensor with the given elements. */
export function fromElements(data: ArrayLike<number>, shape: Shape, dtype: DType): Tensor {
  const v = empty(shape, dtype);
  viewOf(dtype).set(data, v.storage.ptr / ITEM_SIZE[dtype]);
  return untracked({ ...v, strides: rowMajorStrides(shape) });
}

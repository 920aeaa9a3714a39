/**
 * What all optimizers share: parameter groups, state per parameter, and saving both in PyTorch's layout.
 */
import { isTensor, noGrad, zeros, zerosLike, type Tensor } from '../autograd/index.ts';
import { ArgumentError, AutogradError, kindOf, stateDictMismatch, type StateDictError } from '../core/errors.ts';
import { checkOptions } from '../core/options.ts';
import { formatShape, isExpanded, sameShape } from '../core/shape.ts';
import type { Stateful } from '../core/stateful.ts';

/** Parameters that share options. Schedulers write the options; `step` reads them. */
export interface ParamGroup {
  readonly params: Tensor[];
  lr: number;
  /** The learning rate that a scheduler started from. */
  initialLr?: number;
  [option: string]: unknown;
}

/** A group as constructors take it: options it lacks are the optimizer's. */
export type GroupSpec<Options> = Partial<Options> & { readonly params: Iterable<Tensor> };

/** What constructors take: parameters, or groups of them. */
export type Params<Options> = Iterable<Tensor> | Iterable<GroupSpec<Options>>;

/** Named tensors of one parameter, such as its velocity; each has its shape, but `step`, a count, is 0-d. */
export type ParamState = Record<string, Tensor>;

/** PyTorch's layout: parameters are numbered through all groups. */
export interface OptimizerState {
  readonly state: Readonly<Record<string, ParamState>>;
  readonly paramGroups: readonly (Readonly<Record<string, unknown>> & { readonly params: readonly number[] })[];
}

/** A parameter that has a gradient, and its group. */
export interface Ready<Group> {
  readonly group: Group;
  readonly param: Tensor;
  readonly grad: Tensor;
}

/** The base of all optimizers. A subclass gives its defaults, checks them, and updates parameters. */
export abstract class Optimizer<Group extends ParamGroup = ParamGroup> implements Stateful {
  readonly paramGroups: Group[];
  readonly #state = new Map<Tensor, ParamState>();
  /** State that the step under way has made, and what it replaces. */
  readonly #made: { p: Tensor; old: ParamState | undefined; before: Tensor | undefined; tensor: Tensor }[] = [];
  readonly #mismatch = (what: string): StateDictError => stateDictMismatch(this.constructor.name, what);

  /** `options` are the caller's: besides `lr`, only those that have a default. */
  constructor(params: Params<Omit<Group, 'params'>>, defaults: Partial<Omit<Group, 'params'>>, options: object = {}) {
    const name = this.constructor.name;
    const known = [...new Set(['lr', ...Object.keys(defaults)])];
    checkOptions(name, options, known);
    const groups = readGroups(name, params);
    const seen = new Set<Tensor>();
    for (const p of groups.flatMap((g) => g.params)) {
      const parameter = `${name}: the parameter ${formatShape(p.shape)}`;
      if (!p.isLeaf) throw new AutogradError(`${parameter} is the result of an operation; only leaves can be optimized`);
      if (isExpanded(p.shape, p.strides))
        throw new ArgumentError(`${parameter} is expanded: several of its elements share memory. Use clone() first`);
      if (seen.has(p)) throw new ArgumentError(`${parameter} appears twice`);
      const other = [...seen].find((q) => overlap(p, q));
      if (other) throw new ArgumentError(`${parameter} lies in the memory of another, ${formatShape(other.shape)}. Use clone() first`);
      seen.add(p);
    }
    for (const g of groups) checkOptions(name, g, ['params', 'initialLr', ...known]);
    this.paramGroups = groups.map((g) => ({ ...defaults, ...options, ...g }) as unknown as Group);
    for (const g of this.paramGroups) this.checkGroup(g);
  }

  /** Throws ArgumentError for options outside their values. */
  protected abstract checkGroup(group: Group): void;

  /** Updates the parameters that have a gradient. Asks for all state before it writes any. Runs under noGrad. */
  protected abstract update(ready: readonly Ready<Group>[]): void;

  /** Updates every parameter that has a gradient. When memory runs out, none is. */
  step(): void {
    const ready = this.paramGroups.flatMap((group) =>
      group.params.flatMap((param): Ready<Group>[] => (param.grad === null ? [] : [{ group, param, grad: param.grad }])),
    );
    // Throws for one that is gone, before any is touched.
    for (const { param } of ready) void param.storage;
    try {
      noGrad(() => this.update(ready));
    } catch (error) {
      for (const { p, old, tensor } of this.#made.splice(0).reverse()) {
        tensor.dispose();
        if (old === undefined) this.#state.delete(p);
        else this.#state.set(p, old);
      }
      throw error;
    }
    for (const { before } of this.#made.splice(0)) before?.dispose();
    for (const { param } of ready) for (const t of [param, ...Object.values(this.#state.get(param) ?? {})]) t.storage.version++;
  }

  /** Sets the gradient of every parameter to null. */
  zeroGrad(): void {
    for (const p of this.#params()) p.grad = null;
  }

  /** The state tensor `name` of `p`, see ParamState, in p's dtype; `fresh` is true if it was made just now, of zeros. */
  protected stateOf(p: Tensor, name: string): { tensor: Tensor; fresh: boolean } {
    const old = this.#state.get(p);
    const before = old?.[name];
    if (before !== undefined && (name === 'step' || before.dtype === p.dtype)) return { tensor: before, fresh: false };
    const tensor = blank(p, name);
    this.#made.push({ p, old, before, tensor });
    this.#state.set(p, { ...old, [name]: tensor });
    // The model's dtype has changed since.
    if (before !== undefined) tensor.copy_(before);
    return { tensor, fresh: before === undefined };
  }

  #params(): Tensor[] {
    return this.paramGroups.flatMap((g) => g.params);
  }

  /** { state: { index: { name: tensor } }, paramGroups: [{ …options, params: [indices] }] }; its tensors are the live ones. */
  stateDict(): OptimizerState {
    const known = [...this.#params().entries()].filter(([, p]) => this.#state.has(p));
    const state = Object.fromEntries(known.map(([i, p]) => [i, { ...this.#state.get(p) }]));
    let next = 0;
    return { state, paramGroups: this.paramGroups.map((g) => ({ ...g, params: g.params.map(() => next++) })) };
  }

  /**
   * Restores what `stateDict` gave, for the same parameters in the same order, by copying. All or nothing.
   * Throws: StateDictError where groups, parameters or shapes differ
   */
  loadStateDict(saved: OptimizerState): void {
    const groups = this.#readSavedGroups(saved);
    const params = this.#params();
    const numbers = saved.paramGroups.flatMap((g) => g.params);
    const state = new Map<Tensor, ParamState>();
    for (const [index, entries] of Object.entries(saved.state)) {
      const p = params[numbers.indexOf(Number(index))];
      if (p === undefined) throw this.#mismatch(`there is state for parameter ${index}, which is in no group`);
      if (typeof entries !== 'object' || entries === null) {
        throw this.#mismatch(`the state of parameter ${index} is ${kindOf(entries)}, expected a record of tensors`);
      }
      for (const [name, t] of Object.entries(entries)) {
        if (!isTensor(t)) throw this.#mismatch(`${name} of parameter ${index} is ${kindOf(t)}, expected a tensor`);
        const scalar = name === 'step';
        if (sameShape(t.shape, scalar ? [] : p.shape)) continue;
        const expected = scalar ? 'expected []' : `the parameter ${formatShape(p.shape)}`;
        throw this.#mismatch(`${name} of parameter ${index} has shape ${formatShape(t.shape)}, ${expected}`);
      }
      state.set(p, entries);
    }
    const copied = (p: Tensor, entries: ParamState): ParamState =>
      Object.fromEntries(Object.entries(entries).map(([name, t]) => [name, blank(p, name).copy_(t)]));
    const copies = noGrad(() => [...state].map(([p, entries]) => [p, copied(p, entries)] as const));
    this.dispose();
    for (const [p, entries] of copies) this.#state.set(p, entries);
    groups.forEach((g, i) => Object.assign(this.paramGroups[i]!, g));
  }

  #readSavedGroups(saved: OptimizerState): Group[] {
    const [own, theirs] = [this.paramGroups, saved?.paramGroups];
    if (typeof saved?.state !== 'object' || saved.state === null || !Array.isArray(theirs))
      throw this.#mismatch('expected { state, paramGroups }');
    if (theirs.length !== own.length) throw this.#mismatch(`it has ${theirs.length} parameter groups, the optimizer ${own.length}`);
    return own.map((group, i) => {
      const { params, ...options } = theirs[i] ?? {};
      if (params?.length !== group.params.length) {
        throw this.#mismatch(`group ${i} has ${params?.length ?? 'no'} parameters, the optimizer's ${group.params.length}`);
      }
      const foreign = Object.keys(options).find((key) => !(key in group) && key !== 'initialLr');
      if (foreign !== undefined) throw this.#mismatch(`group ${i} has the option '${foreign}', which is another optimizer's`);
      const merged = { ...group, ...options, params: group.params };
      this.checkGroup(merged);
      return merged;
    });
  }

  /** Frees the state. The parameters stay. */
  dispose(): void {
    for (const entries of this.#state.values()) for (const t of Object.values(entries)) t.dispose();
    this.#state.clear();
  }
}

/** Whether the stretches of memory that a and b lie in overlap: kernels update all parameters at once. */
function overlap(a: Tensor, b: Tensor): boolean {
  const end = (t: Tensor): number => t.shape.reduce((at, n, d) => at + (n - 1) * t.strides[d]!, t.offset + 1);
  return a.storage === b.storage && a.offset < end(b) && b.offset < end(a);
}

/** A state tensor of zeros. */
function blank(p: Tensor, name: string): Tensor {
  return (name === 'step' ? zeros([], { dtype: 'float64' }) : zerosLike(p)).keep();
}

/** Checked groups out of what a constructor was given. */
function readGroups<O>(name: string, params: Params<O>): (Partial<O> & { params: Tensor[] })[] {
  if (isTensor(params) || typeof (params as Partial<Iterable<unknown>> | null)?.[Symbol.iterator] !== 'function') {
    throw new ArgumentError(
      `${name}: expected parameters or groups of them, such as model.parameters(), got ${isTensor(params) ? 'one tensor; put it in an array' : typeof params}`,
    );
  }
  const given: (Tensor | GroupSpec<O>)[] = [...params];
  if (given.length === 0) throw new ArgumentError(`${name}: the list of parameters is empty`);
  const isGroup = (g: unknown): g is GroupSpec<O> =>
    !isTensor(g) && typeof (g as { params?: Partial<Iterable<unknown>> })?.params?.[Symbol.iterator] === 'function';
  if (given.every(isTensor)) return [{ params: given } as Partial<O> & { params: Tensor[] }];
  return given.map((g, i) => {
    const list = isGroup(g) ? [...g.params] : [];
    if (list.length === 0 || !list.every(isTensor)) {
      throw new ArgumentError(`${name}: group ${i} must be { params, … } with at least one tensor in params, and nothing else`);
    }
    return { ...(g as GroupSpec<O>), params: list };
  });
}

/**
 * The base of all optimizers: parameter groups, state per parameter, and state dicts in PyTorch's layout.
 */
import { copyAll_, isTensor, noGrad, zeros, zerosLike, type Tensor } from '../autograd/index.ts';
import { brand, foreignKind } from '../core/copies.ts';
import { isIterable, peek } from '../core/describe.ts';
import type { FloatDType } from '../core/dtype.ts';
import { ArgumentError, AutogradError, isArray, kindOf, stateDictMismatch, type StateDictError } from '../core/errors.ts';
import { checkOptions, refuseSurplus } from '../core/options.ts';
import { formatShape, isExpanded, sameShape } from '../core/shape.ts';
import type { Stateful } from '../core/stateful.ts';
import { checkFiniteIn, narrowest } from './check.ts';

/** Parameters that share options. Schedulers write the options, and `step` reads them. */
export interface ParamGroup {
  /** The parameters of the group. */
  readonly params: Tensor[];
  /** The learning rate of the next step. */
  lr: number;
  /** The learning rate that a scheduler started from. Default: none, before there is a scheduler. */
  initialLr?: number;
  [option: string]: unknown;
}

/** A group as constructors take it. Missing options are the optimizer's. */
export type GroupSpec<Options> = Partial<Options> & { readonly params: Iterable<Tensor> };

/** The first argument of constructors: parameters, or groups of them. */
export type Params<Options> = Iterable<Tensor> | Iterable<GroupSpec<Options>>;

/** The named state tensors of one parameter, such as its velocity. They have the parameter's shape; only `step`, a count, is 0-d. */
export type ParamState = Record<string, Tensor>;

/** The state of an optimizer in PyTorch's layout: parameters are numbered across all groups. */
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

/** An entry of the undo log: a state tensor that the current step created, and the state that it replaced. */
interface StateChange {
  readonly param: Tensor;
  readonly previousState: ParamState | undefined;
  readonly previousTensor: Tensor | undefined;
  readonly tensor: Tensor;
}

/** The base of all optimizers. A subclass passes its defaults, checks options and updates parameters. */
export abstract class Optimizer<Group extends ParamGroup = ParamGroup> implements Stateful {
  static {
    brand(Optimizer.prototype, 'an optimizer');
  }

  /** The groups of parameters, with all options of each. */
  readonly paramGroups: Group[];
  /** The options of a group that does not give them. */
  readonly #defaults: Readonly<Record<string, unknown>>;
  readonly #state = new Map<Tensor, ParamState>();
  /** The changes to the state that the current step has made. */
  readonly #undoLog: StateChange[] = [];

  /** @param options The user's options. Allowed are `lr` and those with a default. */
  constructor(params: Params<Omit<Group, 'params'>>, defaults: Partial<Omit<Group, 'params'>>, options: object = {}) {
    const name = this.constructor.name;
    const known = [...new Set(['lr', ...Object.keys(defaults)])];
    checkOptions(name, options, known);
    const groups = readGroups(name, params);
    checkParameters(
      name,
      groups.flatMap((g) => g.params),
    );
    for (const g of groups) checkOptions(name, g, ['params', 'initialLr', ...known]);
    this.#defaults = { ...defaults, ...options };
    this.paramGroups = groups.map((g) => ({ ...this.#defaults, ...g }) as unknown as Group);
    for (const g of this.paramGroups) this.#checkOptions(g);
  }

  /**
   * Adds a group of parameters during training, such as layers that were frozen before. Missing options are the optimizer's.
   * Schedulers that exist apply to it from their next step on.
   * Throws: as the constructor, and leaves the optimizer as it was
   */
  addParamGroup(group: GroupSpec<Omit<Group, 'params'>>): void {
    refuseSurplus('addParamGroup', arguments, 1);
    const name = this.constructor.name;
    const added = readGroups(name, [group])[0]!;
    checkParameters(name, [...this.#params(), ...added.params]);
    checkOptions(name, added, ['params', 'initialLr', 'lr', ...Object.keys(this.#defaults)]);
    const complete = { ...this.#defaults, ...added } as unknown as Group;
    this.#checkOptions(complete);
    this.paramGroups.push(complete);
  }

  /** Throws for invalid options of a group, and for a rate that is not finite. */
  #checkOptions(group: Group): void {
    this.checkGroup(group);
    this.#checkRates(group);
  }

  /** Throws unless all options of a group that have numbers as default, and its learning rate, are finite in its parameters' dtype. */
  #checkRates(group: Group): void {
    const name = this.constructor.name;
    const dtype = narrowest(group.params);
    const isWithLr = this.paramGroups.some((g) => g.lr !== undefined);
    for (const [option, fallback] of Object.entries<unknown>({ lr: isWithLr ? 0 : null, ...this.#defaults })) {
      const value = group[option];
      if (typeof fallback === 'number') checkFiniteIn(dtype, name, option, value);
      else if (isArray(fallback) && fallback.every((v) => typeof v === 'number'))
        for (const [i, v] of (isArray(value) ? value : [value]).entries()) checkFiniteIn(dtype, name, `${option}[${i}]`, v);
    }
    this.checkDerived(group, dtype);
  }

  /** Checks a group's options. Throws: ArgumentError for invalid values */
  protected abstract checkGroup(group: Group): void;

  /**
   * Checks numbers that `update` derives from a group's options, which are finite themselves. Also called by `step`, as schedulers and
   * users change options, and a module's `to` the dtype. Default: no check.
   * Throws: ArgumentError for one that `dtype`, the narrowest dtype of the group's parameters, cannot hold
   */
  protected checkDerived(_group: Group, _dtype: FloatDType): void {}

  /** Updates the parameters that have a gradient. Must call `stateOf` for all state before the first write. Runs under noGrad. */
  protected abstract update(ready: readonly Ready<Group>[]): void;

  /**
   * Updates every parameter that has a gradient, or none if memory runs out.
   * Throws: ArgumentError, and updates nothing, if a group's learning rate or another rate is not a finite number in its parameters' dtype
   */
  step(): void {
    refuseSurplus('step', arguments, 0);
    for (const g of this.paramGroups) this.#checkRates(g);
    const ready = this.#parametersWithGradient();
    // Throws for a released parameter before the first write.
    for (const { param } of ready) void param.storage;
    try {
      noGrad(() => this.update(ready));
    } catch (error) {
      this.#undoStateChanges();
      throw error;
    }
    for (const { previousTensor } of this.#undoLog.splice(0)) previousTensor?.dispose();
    for (const { param } of ready) {
      param.storage.version++;
      for (const t of Object.values(this.#state.get(param) ?? {})) t.storage.version++;
    }
  }

  #parametersWithGradient(): Ready<Group>[] {
    const ready: Ready<Group>[] = [];
    for (const group of this.paramGroups) {
      for (const param of group.params) {
        const { grad } = param;
        if (grad !== null) ready.push({ group, param, grad });
      }
    }
    return ready;
  }

  #undoStateChanges(): void {
    for (const { param, previousState, tensor } of this.#undoLog.splice(0).reverse()) {
      tensor.dispose();
      if (previousState === undefined) this.#state.delete(param);
      else this.#state.set(param, previousState);
    }
  }

  /** Sets the gradient of every parameter to null. */
  zeroGrad(): void {
    refuseSurplus('zeroGrad', arguments, 0);
    for (const p of this.#params()) p.grad = null;
  }

  /** Returns the state tensor `name` of `p` in p's dtype; see ParamState. `fresh` is true if it was just created, as zeros. */
  protected stateOf(p: Tensor, name: string): { tensor: Tensor; fresh: boolean } {
    const previousState = this.#state.get(p);
    const previousTensor = previousState?.[name];
    if (previousTensor !== undefined && (name === 'step' || previousTensor.dtype === p.dtype))
      return { tensor: previousTensor, fresh: false };
    const tensor = zeroState(p, name).keep();
    this.#undoLog.push({ param: p, previousState, previousTensor, tensor });
    this.#state.set(p, { ...previousState, [name]: tensor });
    // The parameter's dtype has changed since the last step: convert the state.
    if (previousTensor !== undefined) tensor.copy_(previousTensor);
    return { tensor, fresh: previousTensor === undefined };
  }

  #params(): Tensor[] {
    return this.paramGroups.flatMap((g) => g.params);
  }

  /**
   * Returns { state: { index: { name: tensor } }, paramGroups: [{ …options, params: [indices] }] }. The tensors are live, not
   * copies.
   */
  stateDict(): OptimizerState {
    refuseSurplus('stateDict', arguments, 0);
    const state: Record<string, ParamState> = {};
    this.#params().forEach((p, i) => {
      const entries = this.#state.get(p);
      if (entries !== undefined) state[i] = { ...entries };
    });
    let nextIndex = 0;
    const paramGroups = this.paramGroups.map((g) => ({ ...g, params: g.params.map(() => nextIndex++) }));
    return { state, paramGroups };
  }

  /**
   * Restores a state of `stateDict` for the same parameters in the same order, by copying into the present state tensors, and new ones where
   * there are none of the parameter's dtype. All or nothing.
   * Throws: StateDictError if groups, parameters or shapes differ
   */
  loadStateDict(saved: OptimizerState): void {
    refuseSurplus('loadStateDict', arguments, 1);
    const groups = this.#readSavedGroups(saved);
    groups.forEach((g, i) => this.#checkOptionTypes(g, i));
    const params = this.#params();
    const numbers = saved.paramGroups.flatMap((g) => g.params.map(String));
    const paramOf = new Map(numbers.map((number, i) => [number, params[i]!]));
    if (paramOf.size < numbers.length) {
      const twice = numbers.find((number, i) => numbers.indexOf(number) < i);
      throw this.#mismatch(`parameter ${twice} appears twice in its groups`);
    }
    const state = new Map<Tensor, ParamState>();
    for (const [index, entries] of Object.entries(saved.state)) {
      const param = paramOf.get(index);
      if (param === undefined) throw this.#mismatch(`there is state for parameter ${index}, which is in no group`);
      this.#checkSavedState(index, param, entries);
      state.set(param, entries);
    }
    this.#copyIntoState(state);
    groups.forEach((g, i) => Object.assign(this.paramGroups[i]!, g));
  }

  /** Makes the state equal to `saved`. Takes memory for new state tensors alone, so that a roll-back to fewer needs none. */
  #copyIntoState(saved: ReadonlyMap<Tensor, ParamState>): void {
    const writes: (readonly [target: Tensor, value: Tensor])[] = [];
    const next = new Map<Tensor, ParamState>();
    noGrad(() => {
      for (const [param, entries] of saved) {
        const own = Object.entries(entries).map(([name, value]) => {
          const target = this.#presentState(param, name) ?? zeroState(param, name);
          writes.push([target, value]);
          return [name, target] as const;
        });
        // Not by assignment: a name may be __proto__.
        next.set(param, Object.fromEntries(own));
      }
      copyAll_('loadStateDict', writes);
      for (const [target] of writes) target.keep();
    });
    const targets = new Set(writes.map(([target]) => target));
    for (const t of this.#tensors()) if (!targets.has(t)) t.dispose();
    this.#state.clear();
    for (const [param, own] of next) this.#state.set(param, own);
  }

  /** Returns the state tensor `name` of a parameter if there is one of the dtype that a new one would have. */
  #presentState(param: Tensor, name: string): Tensor | undefined {
    const entries = this.#state.get(param) ?? {};
    const present = Object.hasOwn(entries, name) ? entries[name] : undefined;
    return name === 'step' || present?.dtype === param.dtype ? present : undefined;
  }

  #tensors(): Tensor[] {
    return [...this.#state.values()].flatMap((entries) => Object.values(entries));
  }

  /** Throws unless the options of group `i` in a saved state have the types of the present ones. */
  #checkOptionTypes(saved: Readonly<Record<string, unknown>>, i: number): void {
    const group = this.paramGroups[i]!;
    for (const [key, value] of Object.entries(saved)) {
      // The first scheduler adds initialLr to a group.
      const own = key === 'initialLr' ? group.lr : group[key];
      if (key === 'params' || isAlike(own, value)) continue;
      const got = typeof value === 'number' ? String(value) : kindOf(value);
      const expected = Array.isArray(own) ? `an array like [${own}]` : kindOf(own);
      throw this.#mismatch(`${key} of group ${i} is ${got}, expected ${expected}`);
    }
  }

  /** Throws unless `entries` can be the state of `param`, which has the number `index` in the saved state. */
  #checkSavedState(index: string, param: Tensor, entries: ParamState): void {
    if (typeof entries !== 'object' || entries === null) {
      throw this.#mismatch(`the state of parameter ${index} is ${kindOf(entries)}, expected a record of tensors`);
    }
    for (const [name, t] of Object.entries(entries)) {
      if (!isTensor(t)) throw this.#mismatch(`${name} of parameter ${index} is ${kindOf(t)}, expected a tensor`);
      const isScalar = name === 'step';
      if (sameShape(t.shape, isScalar ? [] : param.shape)) continue;
      const expected = isScalar ? 'expected []' : `the parameter ${formatShape(param.shape)}`;
      throw this.#mismatch(`${name} of parameter ${index} has shape ${formatShape(t.shape)}, ${expected}`);
    }
  }

  #mismatch(problem: string): StateDictError {
    return stateDictMismatch(this.constructor.name, problem);
  }

  /** Returns the groups with the saved options, checked. */
  #readSavedGroups(saved: OptimizerState): Group[] {
    const ownGroups = this.paramGroups;
    const savedGroups = saved?.paramGroups;
    if (typeof saved?.state !== 'object' || saved.state === null || !Array.isArray(savedGroups))
      throw this.#mismatch('expected { state, paramGroups }');
    if (savedGroups.length !== ownGroups.length) {
      throw this.#mismatch(`it has ${savedGroups.length} parameter groups, the optimizer ${ownGroups.length}`);
    }
    return ownGroups.map((group, i) => {
      const { params, ...options } = savedGroups[i] ?? {};
      const count = Array.isArray(params) ? params.length : 'no';
      if (count !== group.params.length) throw this.#mismatch(`group ${i} has ${count} parameters, the optimizer's ${group.params.length}`);
      // Own options only: every object has __proto__ and toString.
      const foreign = Object.keys(options).find((key) => !Object.hasOwn(group, key) && key !== 'initialLr');
      if (foreign !== undefined) throw this.#mismatch(`group ${i} has the option '${foreign}', which is another optimizer's`);
      const merged = { ...group, ...options, params: group.params };
      // Before checkGroup, which takes what is no boolean for a user's mistake.
      const booleans = Object.entries(merged).filter(([key]) => typeof group[key] === 'boolean');
      this.#checkOptionTypes(Object.fromEntries(booleans), i);
      this.#checkOptions(merged);
      return merged;
    });
  }

  /** Frees the state. The parameters stay. */
  dispose(): void {
    refuseSurplus('dispose', arguments, 0);
    for (const t of this.#tensors()) t.dispose();
    this.#state.clear();
  }
}

/** Throws unless all parameters are leaves with memory of their own. */
function checkParameters(name: string, params: readonly Tensor[]): void {
  const seen = new Set<Tensor>();
  for (const p of params) {
    const parameter = `${name}: the parameter ${formatShape(p.shape)}`;
    if (!p.isLeaf) throw new AutogradError(`${parameter} is the result of an operation; only leaves can be optimized`);
    if (isExpanded(p.shape, p.strides))
      throw new ArgumentError(`${parameter} is expanded: several of its elements share memory. Use clone() first`);
    if (seen.has(p)) throw new ArgumentError(`${parameter} appears twice`);
    const other = [...seen].find((q) => overlapInMemory(p, q));
    if (other) throw new ArgumentError(`${parameter} lies in the memory of another, ${formatShape(other.shape)}. Use clone() first`);
    seen.add(p);
  }
}

/** Returns whether the memory ranges of a and b overlap. They must not: a kernel updates all parameters at once. */
function overlapInMemory(a: Tensor, b: Tensor): boolean {
  const end = (t: Tensor): number => t.shape.reduce((offset, n, d) => offset + (n - 1) * t.strides[d]!, t.offset + 1);
  return a.storage === b.storage && a.offset < end(b) && b.offset < end(a);
}

/** Creates a state tensor of zeros. */
function zeroState(p: Tensor, name: string): Tensor {
  return name === 'step' ? zeros([], { dtype: 'float64' }) : zerosLike(p);
}

/** Returns the checked groups of a constructor's first argument. */
function readGroups<O>(name: string, params: Params<O>): (Partial<O> & { params: Tensor[] })[] {
  if (isTensor(params) || !isIterable(params)) {
    const got = isTensor(params) ? 'one tensor; put it in an array' : (foreignKind(params) ?? typeof params);
    throw new ArgumentError(`${name}: expected parameters or groups of them, such as model.parameters(), got ${got}`);
  }
  const given: (Tensor | GroupSpec<O>)[] = [...params];
  if (given.length === 0) throw new ArgumentError(`${name}: the list of parameters is empty`);
  if (given.every(isTensor)) return [{ params: given } as Partial<O> & { params: Tensor[] }];
  for (const [i, g] of given.entries()) refuseForeign(name, `parameter ${i}`, g);
  const isGroup = (g: Tensor | GroupSpec<O>): g is GroupSpec<O> => !isTensor(g) && isIterable(peek(g, 'params'));
  return given.map((g, i) => {
    const list = isGroup(g) ? [...g.params] : [];
    for (const [k, p] of list.entries()) refuseForeign(name, `parameter ${k} of group ${i}`, p);
    if (list.length === 0 || !list.every(isTensor)) {
      throw new ArgumentError(`${name}: group ${i} must be { params, … } with at least one tensor in params, and nothing else`);
    }
    return { ...(g as GroupSpec<O>), params: list };
  });
}

/** Returns whether a saved option has the type of the present one: numbers but NaN, booleans, texts, arrays of these. */
function isAlike(own: unknown, saved: unknown): boolean {
  if (Array.isArray(own)) return Array.isArray(saved) && own.length === saved.length && own.every((v, i) => isAlike(v, saved[i]));
  // An option of another kind is a subclass's own. A state's tensors do not outlive the loading.
  if (typeof own === 'object' || own === undefined) return !isTensor(saved);
  return typeof own === typeof saved && !Number.isNaN(saved);
}

/** Throws for what another copy of the library made: its parameters lie in other memory. */
function refuseForeign(name: string, what: string, value: unknown): void {
  const foreign = foreignKind(value);
  if (foreign !== null) throw new ArgumentError(`${name}: ${what} must be a tensor, got ${foreign}`);
}

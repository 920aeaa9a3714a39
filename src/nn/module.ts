/**
 * Module: a tree of parameters, buffers and other modules, with the operations on the whole tree.
 */
import { moduleStack, isGradEnabled, isTensor, noGrad, placeOf, scope, titleOf, type Tensor } from '../autograd/index.ts';
import { brand } from '../core/copies.ts';
import { isInstance } from '../core/describe.ts';
import { isFloat, type FloatDType } from '../core/dtype.ts';
import { ArgumentError, ChainruleError, DTypeError, prependMessage, shown } from '../core/errors.ts';
import { checkBoolean, checkFunction, refuseSurplus } from '../core/options.ts';
import type { Shape } from '../core/shape.ts';
import type { Stateful } from '../core/stateful.ts';
import { summarize } from '../inspect/index.ts';
import { BufferTensor, Parameter } from './parameter.ts';
import { registered, resolve, type Registered } from './registration.ts';
import { loadInto, type FindTarget, type LoadOptions, type LoadReport, type StateDict } from './state-dict.ts';

type Forward = (...args: unknown[]) => unknown;

/** Called after a module's forward. A value it returns replaces the output. */
export type ForwardHook = (module: Module, args: readonly unknown[], output: unknown) => unknown;

/** Called before a module's forward. A value it returns replaces the arguments: an array of them, or the only one. */
export type ForwardPreHook = (module: Module, args: readonly unknown[]) => unknown;

/** A module that maps one tensor to one tensor, as `Sequential` takes it. */
export type Layer = Module & { forward(x: Tensor): Tensor };

/** Errors whose message already begins with the path of the module in which they occurred. */
const errorsWithPath = new WeakSet<Error>();

const isModule = (v: unknown): v is Module => isInstance(v, Module);

/**
 * The base of all layers and models. Extend it, define a `forward` method with any signature, and call `forward`.
 *
 * Own properties that are modules, Parameters or buffers are registered, also inside arrays and plain records. Their path is
 * their name in the state dict. `#private` properties are not registered.
 *
 * Every call of `forward` is wrapped: errors name the module in which they occurred, and hooks run. Under noGrad the tensors
 * created by the call are freed, except its result.
 * @example class Net extends Module { fc = new Linear(4, 2); forward(x: Tensor) { return this.fc.forward(x); } }
 */
export class Module implements Stateful {
  static {
    brand(Module.prototype, 'a module');
  }

  /** Whether dropout is active and batch norm uses the batch's statistics; see `train` and `eval`. */
  training = true;

  readonly #wrappedForward: Forward | null = null;
  #treeIsChecked = false;
  readonly #preHooks = new Map<object, ForwardPreHook>();
  readonly #hooks = new Map<object, ForwardHook>();

  constructor() {
    const forward = (this as { forward?: Forward }).forward;
    if (typeof forward !== 'function') return;
    this.#wrappedForward = (...args) => this.#call(forward, args);
    Object.defineProperty(this, 'forward', { value: this.#wrappedForward, enumerable: false, configurable: true, writable: true });
  }

  #call(forward: Forward, args: readonly unknown[]): unknown {
    // Checked at the first call only: the tree rarely changes, and calls are frequent.
    if (!this.#treeIsChecked) this.namedModules();
    this.#treeIsChecked = true;
    moduleStack.push(this);
    try {
      const run = (): unknown => this.#runHooks(forward, args);
      return isGradEnabled() ? run() : scope(run);
    } catch (e) {
      if (isInstance(e, ChainruleError)) this.#prependPath(e);
      throw e;
    } finally {
      moduleStack.pop();
    }
  }

  #runHooks(forward: Forward, args: readonly unknown[]): unknown {
    let currentArgs = args;
    // Array.from: a hook may add or remove hooks.
    for (const hook of Array.from(this.#preHooks.values())) {
      const replacement = hook(this, currentArgs) ?? currentArgs;
      currentArgs = [replacement].flat();
    }
    let output = Reflect.apply(forward, this, currentArgs);
    for (const hook of Array.from(this.#hooks.values())) output = hook(this, currentArgs, output) ?? output;
    return output;
  }

  /** Puts this module's path before the message, as seen from the outermost running module that contains it. */
  #prependPath(e: ChainruleError): void {
    if (errorsWithPath.has(e)) return;
    errorsWithPath.add(e);
    prependMessage(e, `${placeOf(this)}: `);
  }

  /** Calls `hook` before every forward of this module. Returns a function that removes it. */
  registerForwardPreHook(hook: ForwardPreHook): () => void {
    refuseSurplus('registerForwardPreHook', arguments, 1);
    return addHook('registerForwardPreHook', this.#preHooks, hook);
  }

  /** Calls `hook` after every forward of this module. Returns a function that removes it. */
  registerForwardHook(hook: ForwardHook): () => void {
    refuseSurplus('registerForwardHook', arguments, 1);
    return addHook('registerForwardHook', this.#hooks, hook);
  }

  // — the tree —

  /** Returns this module's own registrations, checked. From then on, a plain tensor cannot replace one of its buffers. */
  #registered(path: string): Registered<Module>[] {
    const found = registered(this, isModule);
    const ownForward = Object.getOwnPropertyDescriptor(this, 'forward');
    if (ownForward !== undefined && ownForward.value !== this.#wrappedForward) {
      throw new ArgumentError(
        `${titleOf(path, this)}: forward is an own property (an arrow function?), so that errors, hooks and noGrad cannot see its calls. ` +
          'Write it as a method: forward(x) { … }',
      );
    }
    for (const entry of found) {
      if (entry.value instanceof BufferTensor) guardBuffer(this.constructor.name, entry, entry.value);
    }
    return found;
  }

  /** Returns this module and all its descendants with their paths, each once, parents first. Its own path is ''. */
  namedModules(): [string, Module][] {
    refuseSurplus('namedModules', arguments, 0);
    return this.#collect().modules;
  }

  #collect(): { modules: [string, Module][]; tensors: [string, Parameter | BufferTensor][] } {
    const modules: [string, Module][] = [];
    const tensors: [string, Parameter | BufferTensor][] = [];
    const seen = new Set<object>();
    const addModule = (module: Module, path: string): void => {
      seen.add(module);
      modules.push([path, module]);
      for (const { path: name, value } of module.#registered(path)) {
        if (seen.has(value)) continue;
        const fullPath = path === '' ? name : `${path}.${name}`;
        if (value instanceof Module) {
          addModule(value, fullPath);
        } else {
          seen.add(value);
          tensors.push([fullPath, value]);
        }
      }
    };
    addModule(this, '');
    return { modules, tensors };
  }

  /** Returns the child modules with their names, each once. */
  namedChildren(): [string, Module][] {
    refuseSurplus('namedChildren', arguments, 0);
    const nameOf = new Map<Module, string>();
    for (const { path, value } of this.#registered('')) {
      if (value instanceof Module && !nameOf.has(value)) nameOf.set(value, path);
    }
    return [...nameOf].map(([module, name]) => [name, module]);
  }

  /** Returns the child modules, each once. */
  children(): Module[] {
    refuseSurplus('children', arguments, 0);
    return this.namedChildren().map(([, m]) => m);
  }

  /** Returns all parameters of the tree with their paths, each once. */
  namedParameters(): [string, Parameter][] {
    refuseSurplus('namedParameters', arguments, 0);
    return this.#collect().tensors.filter((entry): entry is [string, Parameter] => entry[1] instanceof Parameter);
  }

  /** Returns all parameters of the tree, each once, as an optimizer takes them. */
  parameters(): Parameter[] {
    refuseSurplus('parameters', arguments, 0);
    return this.namedParameters().map(([, p]) => p);
  }

  /** Returns all buffers of the tree with their paths, each once. */
  namedBuffers(): [string, Tensor][] {
    refuseSurplus('namedBuffers', arguments, 0);
    return this.#collect().tensors.filter(([, t]) => t instanceof BufferTensor);
  }

  /** Returns all buffers of the tree, each once. */
  buffers(): Tensor[] {
    refuseSurplus('buffers', arguments, 0);
    return this.namedBuffers().map(([, b]) => b);
  }

  // — state —

  /** Returns the live parameters and persistent buffers by path. `cloneStateDict` copies it, to preserve the values. */
  stateDict(): StateDict {
    refuseSurplus('stateDict', arguments, 0);
    return Object.fromEntries(this.#collect().tensors.filter(([, t]) => !(t instanceof BufferTensor) || t.persistent));
  }

  /**
   * Copies the tensors of `state` into the parameters and buffers of the same name, converted to their dtype. All or nothing.
   * Returns the missing and unexpected names.
   * Throws: StateDictError that lists missing and unexpected names (unless `strict` is false) and wrong shapes
   */
  loadStateDict(state: StateDict, options: LoadOptions = {}): LoadReport {
    refuseSurplus('loadStateDict', arguments, 2);
    const findTarget: FindTarget = (name, value) => resolve(this, name, value, isModule);
    const optional = new Set<string>();
    for (const [path, module] of this.namedModules()) {
      for (const name of module.optionalState()) optional.add(path === '' ? name : `${path}.${name}`);
    }
    return loadInto(this.constructor.name, this.stateDict(), optional, findTarget, state, options);
  }

  /**
   * Converts an entry of a state dict to this module's own name and shape; the name is relative to this module. Override it to
   * load states of other frameworks. Runs under noGrad. PyTorch's counterpart is `_load_from_state_dict`.
   */
  adopt(name: string, value: Tensor): readonly [name: string, value: Tensor] {
    return [name, value];
  }

  /** Returns this module's own names that a state may lack, as states of older versions do. `loadStateDict` leaves these as they are. */
  optionalState(): readonly string[] {
    return [];
  }

  /**
   * Converts all float parameters, gradients and buffers in place, so optimizers stay valid; all, or if memory runs out none.
   * Returns the module.
   */
  to(dtype: FloatDType): this {
    refuseSurplus('to', arguments, 1);
    if (!isFloat(dtype)) throw new DTypeError(`to: parameters can be float32 or float64, not ${shown(dtype)}`);
    const tensors = this.#collect().tensors.map(([, t]) => t);
    noGrad(() => {
      const changed = tensors.filter((t) => isFloat(t.dtype) && t.dtype !== dtype);
      const converted = changed.map((t) => ({ t, value: t.to(dtype), grad: t.grad?.detach().to(dtype) ?? null }));
      // From here on nothing is allocated.
      for (const { t, value, grad } of converted) {
        t.replace(value);
        t.adoptGrad(grad?.keep() ?? null);
      }
    });
    return this;
  }

  // — modes and lifetime —

  /** Switches this module and its descendants to training, or to evaluation if `mode` is false; see `training`. Returns the module. */
  train(mode = true): this {
    refuseSurplus('train', arguments, 1);
    checkBoolean('train', 'mode', mode);
    for (const [, m] of this.namedModules()) m.training = mode;
    return this;
  }

  /** Switches this module and its descendants to evaluation. Returns the module. */
  eval(): this {
    refuseSurplus('eval', arguments, 0);
    return this.train(false);
  }

  /**
   * Freezes all parameters of the tree if `flag` is false, or lets them require gradients again. Gradients that they have stay, and batch
   * norm still tracks statistics in training mode. Returns the module.
   * @example backbone.requiresGrad_(false); // trains the rest of the model only
   */
  requiresGrad_(flag = true): this {
    refuseSurplus('requiresGrad_', arguments, 1);
    checkBoolean('requiresGrad_', 'flag', flag);
    for (const p of this.parameters()) p.requiresGrad_(flag);
    return this;
  }

  /** Sets the gradients of all parameters to null. */
  zeroGrad(): void {
    refuseSurplus('zeroGrad', arguments, 0);
    for (const p of this.parameters()) p.grad = null;
  }

  /** Calls `fn` on every descendant, then on this module, each once. Returns the module. */
  apply(fn: (module: Module) => void): this {
    refuseSurplus('apply', arguments, 1);
    checkFunction('apply', 'fn', fn);
    for (const [, m] of this.namedModules().reverse()) fn(m);
    return this;
  }

  /** Frees all parameters and buffers, and their gradients. */
  dispose(): void {
    refuseSurplus('dispose', arguments, 0);
    for (const [, t] of this.#collect().tensors) t.dispose();
  }

  /** Returns the multiply-adds of a forward from x to y, without those of child modules, for `summary`. Default 0. */
  multiplyAdds(_x: Tensor, _y: Tensor): number {
    return 0;
  }

  /**
   * Returns a table of all modules: path, type and number of own parameters. Given the shape of an input, it also has each
   * module's output shape and own multiply-adds, measured by one forward of zeros in evaluation mode. As is usual, only
   * convolutions and linear layers are counted, not elementwise operations.
   */
  summary(inputShape?: Shape): string {
    refuseSurplus('summary', arguments, 1);
    return summarize(this, inputShape);
  }

  /** Returns the table of `summary()`, for `${model}`. */
  toString(): string {
    return this.summary();
  }
}

// In runtimes with explicit resource management, `using model = …` disposes of the model.
if (typeof Symbol.dispose === 'symbol') {
  Object.defineProperty(Module.prototype, Symbol.dispose, { value: Module.prototype.dispose, configurable: true, writable: true });
}

/** Adds `hook` under a new key: a hook that is added twice runs twice, and each addition is removed separately. */
function addHook<H>(op: string, hooks: Map<object, H>, hook: H): () => void {
  checkFunction(op, 'hook', hook);
  const key = {};
  hooks.set(key, hook);
  return () => hooks.delete(key);
}

/** Replaces the property of a buffer by an accessor that throws for plain tensors. */
function guardBuffer(owner: string, { holder, key, path }: Registered<Module>, buffer: BufferTensor): void {
  if (Object.getOwnPropertyDescriptor(holder, key)?.get !== undefined) return;
  let value: unknown = buffer;
  Object.defineProperty(holder, key, {
    enumerable: true,
    configurable: true,
    get: () => value,
    set: (v: unknown) => {
      if (isTensor(v) && !(v instanceof BufferTensor)) {
        throw new ArgumentError(
          `${owner}.${path} is a buffer: write into it with ${path}.copy_(t) under noGrad, or put nn.buffer(t) in its place`,
        );
      }
      value = v;
    },
  });
}

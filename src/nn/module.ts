/**
 * Module: parameters, buffers and other modules under one roof, and whatever one does to all of them.
 */
import { callers, isGradEnabled, isTensor, noGrad, placeOf, scope, titleOf, type Tensor } from '../autograd/index.ts';
import { isFloat, type FloatDType } from '../core/dtype.ts';
import { ArgumentError, ChainruleError, DTypeError } from '../core/errors.ts';
import type { Shape } from '../core/shape.ts';
import type { Stateful } from '../core/stateful.ts';
import { summarize } from '../inspect/index.ts';
import { BufferTensor, Parameter } from './parameter.ts';
import { registered, resolve, type Registered } from './registration.ts';
import { loadInto, type LoadOptions, type LoadReport, type StateDict } from './state-dict.ts';

type Forward = (...args: unknown[]) => unknown;

/** Called after a module's forward; may return a value that takes the output's place. */
export type ForwardHook = (module: Module, args: readonly unknown[], output: unknown) => unknown;

/** Called before a module's forward; may return what takes the arguments' place: an array, or the only one. */
export type ForwardPreHook = (module: Module, args: readonly unknown[]) => unknown;

/** A module that maps one tensor to one tensor: what `Sequential` takes. */
export type Layer = Module & { forward(x: Tensor): Tensor };

/** Errors that already say in which module they occurred. */
const located = new WeakSet<Error>();

const isModule = (v: unknown): v is Module => v instanceof Module;

/**
 * The base of all layers and models. Extend it, give it a `forward` method of any signature, and call `forward`.
 *
 * Modules, Parameters and buffers register by being own properties, also in arrays and plain records; their path is their
 * name in the state dict. `#private` properties are not seen.
 *
 * Every call of `forward` is wrapped: errors say in which module they occurred, hooks run, and under noGrad what the call
 * made is freed, but for its result.
 * @example class Net extends Module { fc = new Linear(4, 2); forward(x: Tensor) { return this.fc.forward(x); } }
 */
export class Module implements Stateful {
  /** Whether dropout drops and batch norm takes the batch's statistics; see `train` and `eval`. */
  training = true;

  readonly #wrapped: Forward | null = null;
  #verified = false;
  readonly #before = new Map<object, ForwardPreHook>();
  readonly #after = new Map<object, ForwardHook>();

  constructor() {
    const forward = (this as { forward?: Forward }).forward;
    if (typeof forward !== 'function') return;
    this.#wrapped = (...args) => this.#call(forward, args);
    Object.defineProperty(this, 'forward', { value: this.#wrapped, enumerable: false, configurable: true, writable: true });
  }

  #call(forward: Forward, args: readonly unknown[]): unknown {
    // Once: names and shapes of the tree rarely change, and calls are frequent.
    if (!this.#verified) this.namedModules();
    this.#verified = true;
    callers.push(this);
    try {
      const run = (): unknown => this.#runHooks(forward, args);
      return isGradEnabled() ? run() : scope(run);
    } catch (e) {
      if (e instanceof ChainruleError) this.#locate(e);
      throw e;
    } finally {
      callers.pop();
    }
  }

  #runHooks(forward: Forward, args: readonly unknown[]): unknown {
    for (const hook of Array.from(this.#before.values())) args = [hook(this, args) ?? args].flat();
    let output = Reflect.apply(forward, this, args);
    for (const hook of Array.from(this.#after.values())) output = hook(this, args, output) ?? output;
    return output;
  }

  /** Puts this module's path, seen from the outermost call that contains it, before the message. */
  #locate(e: ChainruleError): void {
    if (located.has(e)) return;
    located.add(e);
    const { message, stack } = e;
    e.message = `${placeOf(this)}: ${message}`;
    e.stack = stack?.replace(message, () => e.message) ?? '';
  }

  /** Calls `hook` before every forward of this module. Returns a function that removes it. */
  registerForwardPreHook(hook: ForwardPreHook): () => void {
    return addHook(this.#before, hook);
  }

  /** Calls `hook` after every forward of this module. Returns a function that removes it. */
  registerForwardHook(hook: ForwardHook): () => void {
    return addHook(this.#after, hook);
  }

  // — the tree —

  /** Own registrations, checked; a plain tensor can take no buffer's place any more. */
  #registered(path: string): Registered[] {
    const found = registered(this, isModule);
    const own = Object.getOwnPropertyDescriptor(this, 'forward');
    if (own !== undefined && own.value !== this.#wrapped) {
      throw new ArgumentError(
        `${titleOf(path, this)}: forward is an own property (an arrow function?), so that errors, hooks and noGrad cannot see its calls. ` +
          'Write it as a method: forward(x) { … }',
      );
    }
    for (const r of found) if (r.value instanceof BufferTensor) guardBuffer(this.constructor.name, r, r.value);
    return found;
  }

  /** This module and all below it, each once, parents first, with their paths; its own is ''. */
  namedModules(): [string, Module][] {
    return this.#walk().modules;
  }

  #walk(): { modules: [string, Module][]; tensors: [string, Parameter | BufferTensor][] } {
    const modules: [string, Module][] = [];
    const tensors: [string, Parameter | BufferTensor][] = [];
    const seen = new Set<object>();
    const visit = (module: Module, path: string): void => {
      seen.add(module);
      modules.push([path, module]);
      for (const { path: name, value } of module.#registered(path)) {
        if (seen.has(value)) continue;
        const full = path === '' ? name : `${path}.${name}`;
        if (value instanceof Module) {
          visit(value, full);
        } else {
          seen.add(value);
          tensors.push([full, value]);
        }
      }
    };
    visit(this, '');
    return { modules, tensors };
  }

  /** The modules directly below, with their names. */
  namedChildren(): [string, Module][] {
    const found = this.#registered('').flatMap(({ path, value }): [string, Module][] => (value instanceof Module ? [[path, value]] : []));
    return found.filter(([, m], i) => found.findIndex(([, other]) => other === m) === i);
  }

  /** The modules directly below. */
  children(): Module[] {
    return this.namedChildren().map(([, m]) => m);
  }

  /** All parameters, each once, with their paths. */
  namedParameters(): [string, Parameter][] {
    return this.#walk().tensors.flatMap(([name, t]): [string, Parameter][] => (t instanceof Parameter ? [[name, t]] : []));
  }

  /** All parameters, each once: what an optimizer takes. */
  parameters(): Parameter[] {
    return this.namedParameters().map(([, p]) => p);
  }

  /** All buffers, each once, with their paths. */
  namedBuffers(): [string, Tensor][] {
    return this.#walk().tensors.filter(([, t]) => t instanceof BufferTensor);
  }

  /** All buffers, each once. */
  buffers(): Tensor[] {
    return this.namedBuffers().map(([, b]) => b);
  }

  // — state —

  /** The live parameters and persistent buffers by path. Loading copies; whoever must keep the values copies too. */
  stateDict(): StateDict {
    return Object.fromEntries(this.#walk().tensors.filter(([, t]) => !(t instanceof BufferTensor) || t.persistent));
  }

  /**
   * Copies the tensors of `state` into the parameters and buffers of the same name, converted to their dtype. All or nothing.
   * Returns the names that were missing and unexpected.
   * Throws: StateDictError that lists missing and unexpected names (unless `strict` is false) and wrong shapes
   */
  loadStateDict(state: StateDict, options: LoadOptions = {}): LoadReport {
    return loadInto(this.constructor.name, this.stateDict(), (name, value) => resolve(this, name, value, isModule), state, options);
  }

  /**
   * The name and the tensor under which this module takes an entry of a state dict, the name seen from here; PyTorch's
   * `_load_from_state_dict`. Override it to read what another framework calls or shapes differently. Runs under noGrad.
   */
  adopt(name: string, value: Tensor): readonly [name: string, value: Tensor] {
    return [name, value];
  }

  /** Converts all float parameters, gradients and buffers. The Parameter objects stay, so optimizers stay valid. Returns the module. */
  to(dtype: FloatDType): this {
    if (!isFloat(dtype)) throw new DTypeError(`to: parameters can be float32 or float64, not ${String(dtype)}`);
    for (const [, t] of this.#walk().tensors) {
      if (!isFloat(t.dtype) || t.dtype === dtype) continue;
      noGrad(() => {
        const grad = t.grad?.detach().to(dtype) ?? null;
        t.replace(t.to(dtype));
        t.grad = grad;
      });
    }
    return this;
  }

  // — modes and lifetime —

  /** Switches this module and all below it to training (dropout drops, batch norm takes the batch's statistics). Returns the module. */
  train(mode = true): this {
    for (const [, m] of this.namedModules()) m.training = mode;
    return this;
  }

  /** Switches this module and all below it to evaluation. Returns the module. */
  eval(): this {
    return this.train(false);
  }

  /** Sets the gradients of all parameters to null. */
  zeroGrad(): void {
    for (const p of this.parameters()) p.grad = null;
  }

  /** Calls `fn` on every module below, then on this one, each once. Returns the module. */
  apply(fn: (module: Module) => void): this {
    for (const [, m] of this.namedModules().reverse()) fn(m);
    return this;
  }

  /** Frees all parameters and buffers, and their gradients. */
  dispose(): void {
    for (const [, t] of this.#walk().tensors) t.dispose();
  }

  /** The multiply-adds of a forward from x to y, those of modules below left out: 0 unless a kind of module says. For `summary`. */
  multiplyAdds(_x: Tensor, _y: Tensor): number {
    return 0;
  }

  /**
   * A table of all modules: path, type and the parameters of their own; with the shape of an input, also the shape of their
   * output and the multiply-adds of their own, found by one forward of zeros in evaluation mode. Counted are convolutions and
   * linear layers, as is usual: what works element by element is not.
   */
  summary(inputShape?: Shape): string {
    return summarize(this, inputShape);
  }

  /** The table of `summary()`, for `${model}`. */
  toString(): string {
    return this.summary();
  }
}

// Where the runtime has explicit resource management, `using model = …` disposes.
if (typeof Symbol.dispose === 'symbol') {
  Object.defineProperty(Module.prototype, Symbol.dispose, { value: Module.prototype.dispose, configurable: true, writable: true });
}

/** Each under a key of its own: what is registered twice is called twice, and removed one by one. */
function addHook<H>(hooks: Map<object, H>, hook: H): () => void {
  const key = {};
  hooks.set(key, hook);
  return () => hooks.delete(key);
}

/** Replaces the property by an accessor that refuses plain tensors. */
function guardBuffer(owner: string, { holder, key, path }: Registered, held: BufferTensor): void {
  if (Object.getOwnPropertyDescriptor(holder, key)?.get !== undefined) return;
  let value: unknown = held;
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

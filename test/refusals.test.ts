import * as chainrule from 'chainrule';
import { ChainruleError, memory, ones, scope } from 'chainrule';
import { init } from 'chainrule/distributed';
import { describe, expect, test } from 'vitest';
import { HOMES, LAYERS, METHODS, invoke, receiver, type PublicCall } from './support/public-calls.ts';

// What is wrong is refused, by name: a walk over the whole public surface.

interface Walked extends PublicCall {
  readonly title: string;
  readonly fn: unknown;
}

const calls: readonly Walked[] = HOMES.flatMap(({ home, exports, calls: of }) =>
  Object.entries(of).map(([name, call]) => ({ ...call, title: `${home} ${name}`, fn: exports[name] })),
);

/** Runs `act` in a scope and returns what it throws. A generator is run to its end. */
function thrownBy(act: () => unknown): unknown {
  try {
    scope(() => {
      const result = act();
      if (Object.prototype.toString.call(result) === '[object Generator]') for (const step of result as Iterable<unknown>) void step;
    });
  } catch (e) {
    return e;
  }
  return undefined;
}

/** The name of the function, class or method in a title, behind the module that it comes from. */
const NAME = /^(?:an empty |[\w./]+ (?!in ))?(\w+)/;

/** What errors of these begin with: the function that the class or function is made of. */
const NAMED_OTHERWISE: Readonly<Record<string, string>> = {
  Fit: 'fit',
  ImageFolder: 'imageFolder',
  SyntheticCifar: 'syntheticCifar',
  checkpointFromBytes: 'loadCheckpoint',
};

/** Expects an error of the library that names the function first, and is one sentence without `undefined is not a function` and the like. */
function refuses(title: string, act: () => unknown, says: RegExp | string): void {
  const error = thrownBy(act);
  const by = NAME.exec(title)![1]!;
  expect(error, title).toBeInstanceOf(ChainruleError);
  const { message } = error as Error;
  expect(message, title).toMatch(new RegExp(`^${NAMED_OTHERWISE[by] ?? by}: `));
  if (typeof says === 'string') expect(message, title).toContain(says);
  else expect(message, title).toMatch(says);
}

const replaced = (args: readonly unknown[], position: number, value: unknown): unknown[] => {
  const changed = [...args];
  while (changed.length < position) changed.push(undefined);
  changed[position] = value;
  return changed;
};

describe('the table', () => {
  test.each(HOMES)('has every function and class of $home', ({ exports, calls: of, without }) => {
    const isError = (v: unknown): boolean => typeof v === 'function' && v.prototype instanceof Error;
    const names = Object.entries(exports).filter(([, v]) => typeof v === 'function' && !isError(v));
    expect([...Object.keys(of), ...without].sort()).toEqual(names.map(([name]) => name).sort());
  });

  test.each(calls)('$title: the call is valid', ({ fn, args, title }) => {
    const error = thrownBy(() => invoke(fn, args()));
    // There is no file, and no folder to write to.
    if (/loadCifar|load\w*[Mm]nist|loadCheckpoint|Safetensors$|loadNp|loadTorch|saveNpy/.test(title))
      expect((error as Error).message).toMatch(/there is no|has no file/);
    else expect(error).toBeUndefined();
  });

  test.each(LAYERS)('%s: the forward is valid', (_, make, inputs) => {
    expect(thrownBy(() => (make() as unknown as { forward(...t: unknown[]): unknown }).forward(...inputs()))).toBeUndefined();
  });

  test.each(METHODS)('%s: the call is valid', (name, args) => {
    const target = receiver() as unknown as Record<string, (...args: unknown[]) => unknown>;
    expect(thrownBy(() => target[name]!(...args()))).toBeUndefined();
  });
});

describe('options', () => {
  const withOptions = calls.filter(({ takes = true }) => takes);
  const without = calls.filter(({ takes = true }) => !takes);

  test.each(withOptions)('$title refuses a misspelt one, true, a number, null, a text, a list, a tensor and a generator', (call) => {
    const { fn, args, options, title } = call;
    const misspelt = (given: unknown[]): unknown[] => replaced(given, options, { ...(given[options] as object | undefined), misspelt: 1 });
    refuses(title, () => invoke(fn, misspelt(args())), /unknown option 'misspelt'; the options are /);
    for (const wrong of [true, 3, null, 'text', [1]])
      refuses(
        `${title} ${JSON.stringify(wrong)}`,
        () => invoke(fn, replaced(args(), options, wrong)),
        /expected an object of options \(.+\), got /,
      );
    refuses(title, () => invoke(fn, replaced(args(), options, ones([1]))), /^(?!.*unknown option)/);
    refuses(title, () => invoke(fn, replaced(args(), options, new chainrule.Generator())), 'got a generator');
  });

  test.each(without)('$title has none, and refuses them and true', ({ fn, args, title }) => {
    const surplus = (value: unknown): unknown[] => [...args(), value];
    for (const value of [{ misspelt: 1 }, true]) refuses(title, () => invoke(fn, surplus(value)), /got an? (object|boolean)/);
  });
});

describe('arguments behind those of a method', () => {
  // Methods for the engine, for subclasses to override, or that JavaScript calls with arguments of its own.
  const OTHERS: Readonly<Record<string, string>> = {
    Tensor: 'adoptGrad adoptIntoScope attach checkReadable checkWritable free leaveScopes leaveTape replace toString toJSON',
    Generator: 'draw',
    // Loaders call these with what they have, and DataParallel asks a group's type for more.
    ArrayDataset: 'getBatch',
    TensorDataset: 'getBatch',
    SyntheticCifar: 'getBatch',
    ImageFolder: 'get',
    // Their promises reject.
    Fit: 'finish',
    Module: 'multiplyAdds adopt optionalState toString',
    Optimizer: 'checkGroup checkDerived update stateOf',
    Scheduler: 'next write restart',
    ChannelGate: 'excite',
    Recurrent: 'run',
    TrackingNorm: 'checkInput normalizeBatch',
  };
  const others = new Set(Object.values(OTHERS).flatMap((names) => names.split(' ')));
  /** Returns the names of an instance's methods. */
  function methodsOf(instance: object): string[] {
    const found: string[] = [];
    for (let p = Object.getPrototypeOf(instance) as object; p !== Object.prototype; p = Object.getPrototypeOf(p) as object)
      for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(p)))
        if (typeof value === 'function' && name !== 'constructor') found.push(name);
    return found;
  }
  const isClass = (fn: unknown): boolean => /^class\b/.test(Function.prototype.toString.call(fn));
  const classes = HOMES.flatMap(({ home, exports, calls: of }) =>
    Object.entries(of)
      .filter(([name]) => isClass(exports[name]))
      .map(([name, { args }]) => [`${home} ${name}`, () => invoke(exports[name], args()) as object] as const),
  );

  const instances = [['chainrule Tensor', receiver] as const, ['distributed Group', () => init()] as const];
  test.each([...classes, ...instances])('%s: an option, a number, a function', (title, make) => {
    const names = new Set(['forward']);
    scope(() => methodsOf(make()).forEach((name) => names.add(name)));
    for (const name of names) {
      for (const surplus of [{ alpha: 2 }, false, 1, () => 1]) {
        if (others.has(name) && !(name === 'update' && title === 'optim EMA')) continue;
        scope(() => {
          const target = make() as Readonly<Record<string, (...args: unknown[]) => unknown>>;
          if (target[name] === undefined) return;
          const call = (): unknown => target[name]!(...Array<undefined>(8), surplus);
          // An error of forward begins with the layer.
          const what = name === 'forward' ? `${title}.forward` : `${title.replace(' ', '.')} ${name}`;
          refuses(what, call, /: expected (no argument|at most \d arguments?), got /);
        });
      }
    }
  });

  test.each([
    ['add_', [ones([2, 3]).keep(), { alpha: 2 }], 'add_: expected at most 1 argument, got 2; the last is an object'],
    ['round', [2], 'round: expected no argument, got a number'],
    ['repeat', [[2, 1], 3], 'repeat: expected at most 1 argument, got 2; the last is a number'],
  ] as const)('%s(…%j)', (name, args, message) => {
    const target = receiver() as unknown as Record<string, (...args: unknown[]) => unknown>;
    refuses(name, () => target[name]!(...args), new RegExp(`^${message}$`));
    // As a parameter that was left out.
    expect(thrownBy(() => target.round!(undefined))).toBeUndefined();
    (target as unknown as chainrule.Tensor).dispose();
  });
});

describe('what is no tensor', () => {
  const wrong = [undefined, null, {}, 'text', [1, 2, 3]];
  const named = (value: unknown): string => JSON.stringify(value) ?? 'undefined';

  test.each(calls.filter(({ tensors = [], lists = [] }) => tensors.length + lists.length > 0))('$title', (call) => {
    const { fn, args, tensors = [], lists = [], title } = call;
    for (const value of wrong) {
      for (const i of tensors) {
        // A bias, a v and a scalar's gradient may be missing.
        const mayBeMissing = /conv1d|conv2d|convTranspose2d|linear/.test(title) ? i === 2 : title === 'chainrule vjp' && i === 2;
        if (mayBeMissing && value == null) continue;
        refuses(`${title}, argument ${i}: ${named(value)}`, () => invoke(fn, replaced(args(), i, value)), /: /);
      }
      for (const i of lists) {
        refuses(`${title}, argument ${i}: ${named(value)}`, () => invoke(fn, replaced(args(), i, value)), /: /);
        refuses(`${title}, argument ${i}: [${named(value)}]`, () => invoke(fn, replaced(args(), i, [value])), /: /);
      }
    }
  });

  test.each(calls.filter(({ tensorOptions = [] }) => tensorOptions.length > 0))('$title, options', (call) => {
    const { fn, args, options, tensorOptions = [], title } = call;
    for (const option of tensorOptions) {
      for (const value of [{}, 'text', [1, 2, 3], 1]) {
        const given = (): unknown[] => replaced(args(), options, { ...(args()[options] as object | undefined), [option]: value });
        refuses(`${title}, ${option}: ${named(value)}`, () => invoke(fn, given()), /: /);
      }
    }
  });

  test.each(LAYERS)('%s', (title, make, inputs) => {
    for (const value of wrong) {
      for (const i of scope(() => inputs()).keys())
        refuses(
          `${title}, input ${i}: ${named(value)}`,
          () => (make() as unknown as { forward(...t: unknown[]): unknown }).forward(...replaced(inputs(), i, value)),
          /: /,
        );
    }
  });

  test.each(METHODS)('the method %s', (title, args, tensors) => {
    for (const value of wrong) {
      for (const i of tensors) {
        // One bound of clamp may be missing.
        refuses(
          `${title}, argument ${i}: ${named(value)}`,
          () => {
            const target = receiver() as unknown as Record<string, (...args: unknown[]) => unknown>;
            return target[title]!(...replaced(args(), i, value));
          },
          /: /,
        );
      }
    }
  });

  test('nothing of it leaves a tensor', () => {
    const { tensors } = memory();
    for (const { fn, args, tensors: positions = [] } of calls)
      for (const i of positions) thrownBy(() => invoke(fn, replaced(args(), i, {})));
    expect(memory().tensors).toBe(tensors);
  });
});

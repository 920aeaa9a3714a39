import { ChainruleError, Tensor, memory, scope } from 'chainrule';
import { expect, test } from 'vitest';
import { HOMES, LAYERS, METHODS, invoke, receiver } from './support/public-calls.ts';

// An error text describes whatever the user has passed. Values that have no text, or throw when they are read, must not hide the error by
// a TypeError of their own: a walk that passes them in every place of the public surface.

/** What the values below throw when something reads them. */
class Trapped extends Error {}
const trap = (): never => {
  throw new Trapped('a trap');
};
const trapped = new Proxy({}, { get: trap, has: trap, ownKeys: trap, getPrototypeOf: trap, getOwnPropertyDescriptor: trap });
const revoked = <T extends object>(target: T): T => {
  const { proxy, revoke } = Proxy.revocable(target, {});
  revoke();
  return proxy;
};

const HOSTILE: Readonly<Record<string, unknown>> = {
  'a symbol': Symbol('s'),
  'a bigint': 10n,
  'an object without prototype': Object.create(null),
  'an object whose toString throws': { toString: trap, valueOf: trap, toJSON: trap, [Symbol.toPrimitive]: trap },
  'an array of symbols': [Symbol('s'), Symbol('t')],
  'an array of bigints': [1n, 2n],
  'an array without texts': [Object.create(null)],
  'an array that contains itself': ((a: unknown[]) => (a.push(a), a))([]),
  'a proxy whose traps throw': trapped,
  'a revoked proxy of an object': revoked({}),
  'a revoked proxy of an array': revoked([]),
  'a revoked proxy of a function': revoked(() => 1),
};

/** Promises that calls have returned. */
let pending: Promise<unknown>[] = [];

/** Returns what `act` throws. An iterator is run to its end; a promise is noted. */
function thrownBy(act: () => unknown): unknown {
  try {
    const result = act();
    if (result instanceof Promise) pending.push(result);
    if (Object.prototype.toString.call(result) === '[object Generator]') for (const step of result as Iterable<unknown>) void step;
  } catch (e) {
    return e;
  }
  return undefined;
}

/** Passes if the call that `prepare` makes accepts the value, or throws a typed error of one line and leaves no tensor. */
function copes(title: string, prepare: () => () => unknown, wrong: string[]): void {
  scope(() => {
    const act = prepare();
    const { tensors } = memory();
    const error = thrownBy(act);
    if (error === undefined) return;
    check(title, error, wrong);
    if (memory().tensors !== tensors) wrong.push(`${title}: leaves ${memory().tensors - tensors} tensors`);
  });
}

/** Notes an error that is not typed, or that describes a value by JavaScript's means. */
function check(title: string, error: unknown, wrong: string[]): void {
  const isTyped = error instanceof ChainruleError && !/undefined is not|Cannot convert|\[object/.test(error.message);
  if (!isTyped) wrong.push(`${title}: ${(error as Error).stack?.split('\n').slice(0, 4).join(' | ')}`);
}

const replaced = (args: readonly unknown[], position: number, value: unknown): unknown[] => {
  const changed = [...args];
  while (changed.length < position) changed.push(undefined);
  changed[position] = value;
  return changed;
};

/** The names of a call's options, from the error for a misspelt one. */
function optionsOf(act: (options: object) => unknown): string[] {
  const message = scope(() => (thrownBy(() => act({ misspelt: 1 })) as Error | undefined)?.message ?? '');
  return /the options are (.+)$/.exec(message)?.[1]?.split(', ') ?? [];
}

const calls = HOMES.flatMap(({ home, exports, calls: of }) =>
  Object.entries(of).map(([name, call]) => ({ ...call, title: `${home} ${name}`, fn: exports[name] })),
);

/** Every member of an argument, replaced in turn. */
function withMember(argument: unknown, value: unknown): unknown[] {
  if (Array.isArray(argument)) return argument.map((_, i) => replaced(argument, i, value));
  const isRecord = typeof argument === 'object' && argument !== null && Object.getPrototypeOf(argument) === Object.prototype;
  return isRecord ? Object.keys(argument).map((key) => ({ ...argument, [key]: value })) : [];
}

const values = Object.entries(HOSTILE);

test.each(calls)('$title', async ({ title, fn, args, options, takes = true }) => {
  const wrong: string[] = [];
  const call = (name: string, change: (given: unknown[]) => unknown[]): void =>
    copes(
      `${title}, ${name}`,
      () =>
        (
          (given) => () =>
            invoke(fn, change(given))
        )(args()),
      wrong,
    );
  const withOption = (given: unknown[], option: object): unknown[] =>
    replaced(given, options, { ...(given[options] as object | undefined), ...option });
  const positions = Array.from({ length: Math.max(scope(() => args()).length, options + 1) }, (_, i) => i);
  const names = takes ? optionsOf((o) => invoke(fn, withOption(args(), o))) : [];
  for (const [kind, value] of values) {
    for (const i of positions) {
      call(`argument ${i}: ${kind}`, (given) => replaced(given, i, value));
      const members = scope(() => withMember(args()[i], value).length);
      for (let k = 0; k < members; k++)
        call(`member ${k} of argument ${i}: ${kind}`, (given) => replaced(given, i, withMember(given[i], value)[k]));
    }
    for (const name of names) call(`${name}: ${kind}`, (given) => withOption(given, { [name]: value }));
  }
  for (const outcome of await Promise.allSettled(pending))
    if (outcome.status === 'rejected') check(`${title}, later`, outcome.reason, wrong);
  pending = [];
  expect(wrong).toEqual([]);
});

const methodArguments = new Map(METHODS.map(([name, args]) => [name, args]));
/** Methods for the engine alone; their comments say @internal. */
const INTERNAL = ['adoptGrad', 'adoptIntoScope', 'attach', 'checkReadable', 'checkWritable', 'free', 'leaveScopes', 'leaveTape', 'replace'];
const methods = Object.getOwnPropertyNames(Tensor.prototype).filter(
  (name) =>
    name !== 'constructor' &&
    !INTERNAL.includes(name) &&
    typeof Object.getOwnPropertyDescriptor(Tensor.prototype, name)!.value === 'function',
);

test.each(methods)('the method %s', (name) => {
  const wrong: string[] = [];
  for (const [kind, value] of values) {
    for (let i = 0; i < 4; i++) {
      copes(
        `${name}, argument ${i}: ${kind}`,
        () => {
          const target = receiver() as unknown as Record<string, (...a: unknown[]) => unknown>;
          const given = replaced(methodArguments.get(name)?.() ?? [], i, value);
          return () => target[name]!(...given);
        },
        wrong,
      );
    }
  }
  expect(wrong).toEqual([]);
});

test.each(LAYERS)('the forward of %s', (name, make, inputs) => {
  const wrong: string[] = [];
  for (const [kind, value] of values) {
    for (const i of scope(() => inputs()).keys()) {
      copes(
        `${name}, input ${i}: ${kind}`,
        () => {
          const layer = make() as unknown as { forward(...t: unknown[]): unknown };
          const given = replaced(inputs(), i, value);
          return () => layer.forward(...given);
        },
        wrong,
      );
    }
  }
  expect(wrong).toEqual([]);
});

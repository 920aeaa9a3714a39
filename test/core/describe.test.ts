import { expect, test } from 'vitest';
import { isArray, isInstance, isIterable, isReadable, kindOf, peek, shown } from '../../src/core/describe.ts';

const trap = (): never => {
  throw new Error('a trap');
};
const traps = { get: trap, has: trap, ownKeys: trap, getPrototypeOf: trap };
const revoked = Proxy.revocable({}, {});
revoked.revoke();
const unreadable = [new Proxy({}, traps), new Proxy([], traps), revoked.proxy];

test.each([
  ["'text'", 'text', 'a string'],
  ["'a\\nb'", 'a\nb', 'a string'],
  [`'${'x'.repeat(40)}…'`, 'x'.repeat(100), 'a string'],
  ['NaN', Number.NaN, 'a number'],
  ['10n', 10n, 'a bigint'],
  ['Symbol(s)', Symbol('s'), 'a symbol'],
  ['undefined', undefined, 'undefined'],
  ['null', null, 'null'],
  ["[1,'a',Symbol(s),2n,an array,an object]", [1, 'a', Symbol('s'), 2n, [3], {}], 'an array'],
  ['[0,0,0,0,0,0,0,0,…]', Array.from({ length: 9 }).fill(0), 'an array'],
  ['an object', Object.create(null), 'an object'],
  ['an object', { toString: trap }, 'an object'],
  ['a function', trap, 'a function'],
  ['an object', unreadable[0], 'an object'],
  ['an array', unreadable[1], 'an array'],
  ['a revoked proxy', unreadable[2], 'a revoked proxy'],
] as const)('%s', (text, value, kind) => {
  expect([shown(value), kindOf(value)]).toEqual([text, kind]);
});

test('what cannot be read is of no kind, and has no properties', () => {
  for (const value of unreadable)
    expect([isReadable(value), isIterable(value), isInstance(value, Error), peek(value, 'x')]).toEqual([false, false, false, undefined]);
  expect(unreadable.map(isArray)).toEqual([false, true, false]);
});

import { Tensor, tensor } from 'chainrule';
import { describe, expect, test } from 'vitest';
import { type Environment, evaluate } from '../../playground/expression/evaluate.ts';
import { METHODS } from '../../playground/expression/names.ts';
import { parse } from '../../playground/expression/parse.ts';

// The language of the playground's editors.

function run(program: string, values: Record<string, Tensor> = {}): unknown {
  const result = evaluate(parse(program), new Map(Object.entries(values)) as Environment);
  return result instanceof Tensor ? result.toArray() : result;
}

const x = tensor([1, -2, 3]);

describe('a program', () => {
  test.each([
    ['1 + 2 * 3', 7],
    ['-(2 ** 3)', -8],
    ['(-2) ** 3 - 2 ** 2', -12],
    ['2 ** -1', 0.5],
    ['y = x * 2\ny + 1', [3, -3, 7]],
    ['2 - x', [1, 4, -1]],
    ['6 / x', [6, -3, 2]],
    ['x > 0', [1, 0, 1]],
    ['relu(x) // the positive part', [1, 0, 3]],
    ['x.sum()', 2],
    ['x.sum(0, { keepdim: true })', [2]],
    ["einsum('i,i->', x, x)", 14],
    ['x.shape', [3]],
    ['x.reshape([3, 1]).shape[1]', 1],
    ['where(x > 0, x, 0)', [1, 0, 3]],
    ['zeros([2])', [0, 0]],
    ['softmax(zeros([1, 2]), 1)', [[0.5, 0.5]]],
  ])('%j', (program, expected) => {
    expect(run(program, { x })).toEqual(expected);
  });

  test('makes numbers in float64', () => {
    for (const source of ['tensor(0.1)', 'rand([2])', 'zeros([2])', 'linspace(0, 1, 3)', '2 * ones([1])']) {
      expect((evaluate(parse(source), new Map()) as Tensor).dtype, source).toBe('float64');
    }
    expect((evaluate(parse('arange(4)'), new Map()) as Tensor).dtype).toBe('int32');
  });

  test('gives what requires a gradient its name as a label', () => {
    const environment: Environment = new Map([['w', tensor(2, { requiresGrad: true })]]);
    evaluate(parse('h = w * w\ny = h + 1'), environment);
    expect([...environment].map(([name, value]) => [name, (value as Tensor).label])).toEqual([
      ['w', null],
      ['h', 'h'],
      ['y', 'y'],
    ]);
  });
});

describe('what it cannot compute names the line', () => {
  test.each([
    ['', 'line 1: expected an expression such as y = x * x'],
    ['y = x *', "line 1: Expected expression after * at character 3, in 'y = x *'"],
    ['w = ', "line 1: expected an expression after =, in 'w ='"],
    ['y = 1 2', "line 1: expected one expression on a line, in 'y = 1 2'"],
    ['y = x.', "line 1: the expression is not complete, in 'y = x.'"],
    ['y = x[', "line 1: the expression is not complete, in 'y = x['"],
    ['a = 1\nb + a', "line 2: 'b' is not defined; defined here: x, a"],
    ['x.constructor', "line 1: there is no property 'constructor' here"],
    ['x.dispose()', "line 1: there is no method 'dispose' here"],
    ['x.__proto__', "line 1: there is no property '__proto__' here"],
    ['constructor(1)', "line 1: there is no function 'constructor' here"],
    ['x.sum()()', 'line 1: expected a call such as x.sum(0) or relu(x)'],
    ['x["sum"]()', 'line 1: expected a call such as x.sum(0) or relu(x)'],
    ['[x][3]', 'line 1: there is no element 3 in a list of 1'],
    ['-2 ** 2', 'line 1: expected (-x) ** n or -(x ** n)'],
    ['a = 1\nb = 3 * -x.abs() ** 2', 'line 2: expected (-x) ** n or -(x ** n)'],
    ['1 < 2', 'line 1: there is no operator < for two numbers here'],
    ['!x', 'line 1: there is no operator ! here'],
    ['x + [1]', 'line 1: '],
    ['zeros([1e9])', 'line 1: zeros: expected at most 262144 elements, got 1000000000'],
    ['x.matmul(zeros([4, 2]))', 'line 1: matmul: '],
    ['this', 'line 1: '],
    ['x ? 1 : 2', 'line 1: '],
  ])('%j', (program, message) => {
    expect(() => run(program, { x })).toThrow(message);
  });
});

test('an unknown name where none is defined has no empty list', () => {
  expect(() => run('x = π')).toThrow("line 1: 'π' is not defined; no name is defined before this line");
});

test('every method of the list is one of Tensor, and none writes to its tensor', () => {
  for (const name of METHODS) {
    expect(typeof (x as unknown as Record<string, unknown>)[name], name).toBe('function');
    expect(name).not.toMatch(/_$/);
  }
});

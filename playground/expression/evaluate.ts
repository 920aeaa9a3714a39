/**
 * Computes a parsed program with the library's operations. Nothing of it becomes code: each kind of node has its case here, and
 * names come from the lists in names.ts.
 */
import { ChainruleError, Tensor, full } from 'chainrule';
import type jsep from 'jsep';
import { FUNCTIONS, METHODS, OF_SHAPE, PROPERTIES, type Value } from './names.ts';
import { ExpressionError, type Statement } from './parse.ts';

/** The most elements of a tensor in a program, so that a page stays responsive. */
const MAX_ELEMENTS = 1 << 18;

/** The values of names. */
export type Environment = Map<string, Value>;

/**
 * Runs the statements in `environment`, which receives what they assign, and returns the value of the last one.
 *
 * Throws: ExpressionError with the line of the statement that failed
 */
export function evaluate(statements: readonly Statement[], environment: Environment): Value {
  let value: Value = null;
  for (const { name, expression, line } of statements) {
    try {
      value = valueOf(expression, environment);
      if (value instanceof Tensor && name !== null && value.label === null && value.requiresGrad) value.label = name;
    } catch (error) {
      if (error instanceof ChainruleError || error instanceof Mistake) throw new ExpressionError(line, error.message);
      throw error;
    }
    if (name !== null) environment.set(name, value);
  }
  return value;
}

/** What is wrong with an expression, as its author reads it. */
class Mistake extends Error {}

type Node = jsep.Expression;

function valueOf(node: Node, environment: Environment): Value {
  const of = node as jsep.CoreExpression;
  switch (of.type) {
    case 'Literal':
      return literal(of.value);
    case 'Identifier':
      return variable(of.name, environment);
    case 'ArrayExpression':
      return of.elements.map((element) => (element === null ? fail('an array with a gap') : valueOf(element, environment)));
    case 'UnaryExpression':
      return unary(of.operator, valueOf(of.argument, environment));
    case 'BinaryExpression':
      return binary(of.operator, valueOf(of.left, environment), valueOf(of.right, environment));
    case 'CallExpression':
      return call(of, environment);
    case 'MemberExpression':
      return member(of, environment);
    default:
      return node.type === 'ObjectExpression' ? options(node, environment) : fail(`expected an expression, got ${node.type}`);
  }
}

function fail(message: string): never {
  throw new Mistake(message);
}

function literal(value: unknown): Value {
  if (typeof value === 'number' || typeof value === 'string' || typeof value === 'boolean' || value === null) return value;
  return fail(`expected a number, a text, true, false or null, got ${typeof value}`);
}

function variable(name: string, environment: Environment): Value {
  const value = environment.get(name);
  if (value !== undefined) return value;
  if (name === 'Infinity') return Infinity;
  const names = [...environment.keys()].join(', ');
  return fail(`'${name}' is not defined; ${names === '' ? 'no name is defined before this line' : `defined here: ${names}`}`);
}

function options(node: Node, environment: Environment): Value {
  const properties = (node as unknown as { properties: { computed: boolean; key: Node & { name?: string }; value?: Node }[] }).properties;
  return Object.fromEntries(
    properties.map(({ computed, key, value }) => {
      if (computed || key.name === undefined || value === undefined) return fail('expected options such as { keepdim: true }');
      return [key.name, valueOf(value, environment)];
    }),
  );
}

// — operators —

const TENSOR_OPERATORS: Readonly<Record<string, string>> = {
  '+': 'add',
  '-': 'sub',
  '*': 'mul',
  '/': 'div',
  '**': 'pow',
  '>': 'gt',
  '<': 'lt',
  '>=': 'ge',
  '<=': 'le',
  '==': 'eq',
  '!=': 'ne',
};

const NUMBER_OPERATORS: Readonly<Record<string, (a: number, b: number) => number>> = {
  '+': (a, b) => a + b,
  '-': (a, b) => a - b,
  '*': (a, b) => a * b,
  '/': (a, b) => a / b,
  '**': (a, b) => a ** b,
};

function unary(operator: string, value: Value): Value {
  if (operator === '+') return value;
  if (operator !== '-') return fail(`there is no operator ${operator} here`);
  if (typeof value === 'number') return -value;
  return value instanceof Tensor ? value.neg() : fail(`- expects a tensor or a number, got ${describe(value)}`);
}

function binary(operator: string, left: Value, right: Value): Value {
  if (typeof left === 'number' && typeof right === 'number') {
    const compute = NUMBER_OPERATORS[operator];
    return compute === undefined ? fail(`there is no operator ${operator} for two numbers here`) : compute(left, right);
  }
  const method = TENSOR_OPERATORS[operator];
  if (method === undefined) return fail(`there is no operator ${operator} here`);
  const tensor = left instanceof Tensor ? left : numberAsTensor(operator, left, right);
  return checked((tensor[method as 'add'] as (operand: Value) => Tensor)(right));
}

/** Returns the number to the left of an operator as a tensor of the dtype of the tensor to its right. */
function numberAsTensor(operator: string, left: Value, right: Value): Tensor {
  if (typeof left !== 'number' || !(right instanceof Tensor))
    return fail(`${operator} expects tensors or numbers, got ${describe(left)} and ${describe(right)}`);
  return full([], left, { dtype: right.dtype });
}

// — calls —

function call({ callee, arguments: args }: jsep.CallExpression, environment: Environment): Value {
  const target = callee as jsep.CoreExpression;
  if (target.type === 'Identifier') {
    const values = args.map((a) => valueOf(a, environment));
    if (!Object.hasOwn(FUNCTIONS, target.name)) return fail(`there is no function '${target.name}' here`);
    if (OF_SHAPE.has(target.name)) checkShape(target.name, values[0]);
    return checked((FUNCTIONS[target.name] as (...args: Value[]) => Value)(...values));
  }
  if (target.type !== 'MemberExpression' || target.computed) return fail('expected a call such as x.sum(0) or relu(x)');
  const name = (target.property as jsep.Identifier).name;
  const receiver = valueOf(target.object, environment);
  if (!(receiver instanceof Tensor)) return fail(`.${name}() expects a tensor before it, got ${describe(receiver)}`);
  if (!METHODS.has(name)) return fail(`there is no method '${name}' here`);
  const values = args.map((a) => valueOf(a, environment));
  return checked((receiver[name as 'add'] as (...args: Value[]) => Value).apply(receiver, values));
}

function member({ object, property, computed }: jsep.MemberExpression, environment: Environment): Value {
  const receiver = valueOf(object, environment);
  if (computed) {
    const index = valueOf(property, environment);
    if (!Array.isArray(receiver) || typeof index !== 'number') return fail('[ ] expects a list before it and a number in it');
    return (receiver as readonly Value[])[index] ?? fail(`there is no element ${index} in a list of ${receiver.length}`);
  }
  const { name } = property as jsep.Identifier;
  if (!(receiver instanceof Tensor) || !PROPERTIES.has(name)) return fail(`there is no property '${name}' here`);
  return receiver[name as 'shape'];
}

function checkShape(name: string, shape: Value | undefined): void {
  if (!Array.isArray(shape)) return;
  const elements = (shape as readonly Value[]).reduce<number>((n, size) => n * Number(size), 1);
  if (elements > MAX_ELEMENTS) fail(`${name}: expected at most ${MAX_ELEMENTS} elements, got ${elements}`);
}

/** Returns the value, unless it is a tensor with more elements than a page should compute with. */
function checked(value: Value): Value {
  if (value instanceof Tensor && value.numel > MAX_ELEMENTS) fail(`expected at most ${MAX_ELEMENTS} elements, got ${value.numel}`);
  return value;
}

function describe(value: Value): string {
  if (value === null) return 'null';
  if (value instanceof Tensor) return 'a tensor';
  return Array.isArray(value) ? 'a list' : `a ${typeof value}`;
}

/**
 * Reads a program of the graph panel and computes its forward pass.
 *
 * A line that uses no other name makes a leaf, which requires a gradient: `w = 3`, `x = [1, 2]`, `u = randn([2, 3])`. A last
 * `.detach()` makes it a constant. All other lines are operations. The value of the last line is the result.
 */
import { ChainruleError, Tensor, manualSeed, tensor } from 'chainrule';
import type jsep from 'jsep';
import { type Environment, evaluate } from '../expression/evaluate.ts';
import type { Value } from '../expression/names.ts';
import { ExpressionError, type Statement, parse } from '../expression/parse.ts';
import { MAX_ELEMENTS } from './limits.ts';

export interface Forward {
  /** The value of the last line. It requires a gradient. */
  readonly result: Tensor;
  readonly leaves: readonly Leaf[];
  /** The line of the result, counted from 1. */
  readonly lastLine: number;
}

/** A leaf and the line that makes it. */
export interface Leaf {
  readonly name: string;
  readonly tensor: Tensor;
  /** Counted from 1. */
  readonly line: number;
  /** Whether the line is a number or a list, so that its numbers can be replaced one by one. */
  readonly isLiteral: boolean;
}

/**
 * Computes the forward pass of a program. Random numbers start from the same seed each time. Call it in a scope.
 *
 * Throws: ExpressionError with the line
 */
export function runProgram(program: string): Forward {
  const statements = parse(program);
  const environment: Environment = new Map();
  const leaves: Leaf[] = [];
  manualSeed(0);
  let value: Value = null;
  for (const statement of statements) {
    value = evaluate([statement], environment);
    const { name, line } = statement;
    if (name === null || usesNames(statement.expression)) {
      if (value instanceof Tensor) {
        checkSize(value, line);
        value.label ??= name;
      }
      continue;
    }
    const made = toTensor(value, line);
    value = made;
    if (made === null) continue;
    made.label = name;
    if (!isDetached(statement) && made.dtype !== 'bool') {
      made.requiresGrad_();
      leaves.push({ name, tensor: made, line, isLiteral: isLiteral(statement.expression) });
    }
    environment.set(name, made);
  }
  const last = statements.at(-1)!;
  if (!(value instanceof Tensor)) throw new ExpressionError(last.line, 'expected the last line to give a tensor, such as y = x * x');
  if (!value.requiresGrad) throw new ExpressionError(last.line, 'the last line uses no leaf, so there is nothing to differentiate');
  return { result: value, leaves, lastLine: last.line };
}

/** Returns a number, a list or a tensor of numbers as a float64 tensor; a condition stays. Null for other values. */
function toTensor(value: Value, line: number): Tensor | null {
  if (typeof value !== 'number' && !Array.isArray(value) && !(value instanceof Tensor)) return null;
  try {
    const made = value instanceof Tensor ? value : tensor(value as number[], { dtype: 'float64' });
    checkSize(made, line);
    return made.dtype === 'bool' ? made : made.to('float64');
  } catch (error) {
    if (error instanceof ChainruleError) throw new ExpressionError(line, error.message);
    throw error;
  }
}

function checkSize(t: Tensor, line: number): void {
  if (t.numel > MAX_ELEMENTS) throw new ExpressionError(line, `expected at most ${MAX_ELEMENTS} elements, got ${t.numel}`);
}

/** Whether an expression reads another line. */
function usesNames(node: jsep.Expression): boolean {
  const of = node as jsep.CoreExpression;
  if (of.type === 'Identifier') return !isInfinity(of);
  if (of.type === 'CallExpression') return of.arguments.some(usesNames) || (of.callee.type !== 'Identifier' && usesNames(of.callee));
  if (of.type === 'MemberExpression') return usesNames(of.object) || (of.computed && usesNames(of.property));
  if (of.type === 'BinaryExpression') return usesNames(of.left) || usesNames(of.right);
  if (of.type === 'UnaryExpression') return usesNames(of.argument);
  if (of.type === 'ArrayExpression') return of.elements.some((element) => element !== null && usesNames(element));
  return false;
}

function isInfinity(node: jsep.CoreExpression): boolean {
  return node.type === 'Identifier' && node.name === 'Infinity';
}

function isDetached({ expression }: Statement): boolean {
  const { type, callee } = expression as jsep.CallExpression;
  return type === 'CallExpression' && callee.type === 'MemberExpression' && (callee.property as jsep.Identifier).name === 'detach';
}

/** Whether an expression is a number, or a list of such. */
function isLiteral(node: jsep.Expression): boolean {
  const of = node as jsep.CoreExpression;
  if (of.type === 'ArrayExpression') return of.elements.every((element) => element !== null && isLiteral(element));
  if (of.type === 'UnaryExpression') return isLiteral(of.argument);
  return isInfinity(of) || (of.type === 'Literal' && typeof of.value === 'number');
}

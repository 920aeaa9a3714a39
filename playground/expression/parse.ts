/**
 * Reads the small language of the editors: one `name = expression` per line, in JavaScript's notation with tensors as operands.
 */
import object from '@jsep-plugin/object';
import jsep from 'jsep';
import { MAX_LINES } from './limits.ts';

// The notation is JavaScript's, so what JavaScript's operators do to tensors is defined in evaluate.ts, and nothing else is read.
jsep.plugins.register(object);

/** A line of a program. */
export interface Statement {
  /** The assigned name; null: an expression alone, the program's result. */
  readonly name: string | null;
  readonly expression: jsep.Expression;
  /** Counted from 1. */
  readonly line: number;
  readonly text: string;
}

/** A program that cannot be read or computed. The message starts with the line's number. */
export class ExpressionError extends Error {
  /** Counted from 1. */
  readonly line: number;

  constructor(line: number, message: string) {
    super(`line ${line}: ${message}`);
    this.line = line;
  }
}

/** A sign before a base: JavaScript refuses it, and jsep would give the base the sign. */
const SIGNED_BASE = /(?:^|[(,[=+\-*/<>:])\s*-\s*[\w.]+(?:\([^()]*\))?\s*\*\*/;
const ASSIGNMENT = /^([A-Za-z_]\w*)\s*=(?![=])\s*(.*)$/s;

/**
 * Parses a program. Empty lines and text behind `//` are skipped.
 *
 * Throws: ExpressionError with the line
 */
export function parse(program: string): Statement[] {
  const statements: Statement[] = [];
  program.split('\n').forEach((raw, i) => {
    const text = raw.replace(/\/\/.*$/, '').trim();
    if (text !== '') statements.push(parseLine(text, i + 1));
  });
  if (statements.length === 0) throw new ExpressionError(1, 'expected an expression such as y = x * x');
  if (statements.length > MAX_LINES) throw new ExpressionError(MAX_LINES + 1, `expected at most ${MAX_LINES} lines`);
  return statements;
}

function parseLine(text: string, line: number): Statement {
  const assignment = ASSIGNMENT.exec(text);
  const source = assignment === null ? text : assignment[2]!;
  if (SIGNED_BASE.test(source)) throw new ExpressionError(line, `expected (-x) ** n or -(x ** n), in '${text}'`);
  if (source === '') throw new ExpressionError(line, `expected an expression after =, in '${text}'`);
  return { name: assignment?.[1] ?? null, expression: expressionOf(source, text, line), line, text };
}

function expressionOf(source: string, text: string, line: number): jsep.Expression {
  let expression: jsep.Expression;
  try {
    expression = jsep(source);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    // The parser names the character that it met, and here there is none.
    const isCut = /^Unexpected (?:"")? ?at character/.test(message);
    throw new ExpressionError(line, `${isCut ? 'the expression is not complete' : message}, in '${text}'`);
  }
  if (expression.type === 'Compound') throw new ExpressionError(line, `expected one expression on a line, in '${text}'`);
  return expression;
}

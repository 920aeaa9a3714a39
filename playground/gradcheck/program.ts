/**
 * An operation written in the editors: its inputs, its forward and its backward. Runs it through `defineOp`.
 */
import { ChainruleError, Tensor, defineOp, manualSeed, tensor } from 'chainrule';
import { evaluate, type Environment } from '../expression/evaluate.ts';
import type { Value } from '../expression/names.ts';
import { ExpressionError, parse, type Statement } from '../expression/parse.ts';

/** The three texts that define an operation. */
export interface Program {
  /** One `name = values` per line. */
  readonly inputs: string;
  /** Assigns `y` from the inputs, and `branch` for an operation with kinks. */
  readonly forward: string;
  /** Assigns `d` + name for each input, from `g`, the inputs and `y`. */
  readonly backward: string;
}

export type Editor = keyof Program;

/** What is wrong with a text. */
export class ProgramError extends Error {
  readonly editor: Editor;
  /** Counted from 1. */
  readonly line: number;
  /** The message for the author, who knows the op: the engine puts its name before `message`. */
  readonly text: string;

  constructor(editor: Editor, line: number, message: string) {
    super(message);
    this.text = message;
    this.editor = editor;
    this.line = line;
  }
}

/** An operation with its inputs in one dtype. */
export interface Operation {
  readonly names: readonly string[];
  readonly inputs: readonly Tensor[];
  readonly op: (...inputs: Tensor[]) => Tensor;
}

/** The most elements of all inputs together: each costs two evaluations for each step. */
export const MAX_INPUT_ELEMENTS = 64;

/** Names that an input cannot have: they mean something else in backward. */
const RESERVED: ReadonlySet<string> = new Set(['g', 'y', 'branch']);

/**
 * Parses a program and makes its operation and inputs.
 *
 * Throws: ProgramError with the editor and the line
 */
export function operationOf(program: Program, dtype: 'float64' | 'float32'): Operation {
  const statements = {
    inputs: parsed(program, 'inputs'),
    forward: parsed(program, 'forward'),
    backward: parsed(program, 'backward'),
  };
  const values = inputValues(statements.inputs);
  const names = [...values.keys()];
  checkBackward(statements.backward, names);
  checkForward(statements.forward);
  const inputs = names.map((name) => {
    const x = values.get(name)!.to(dtype).detach().clone().requiresGrad_();
    x.label = name;
    return x;
  });
  return { names, inputs, op: makeOp(names, statements.forward, statements.backward, dtype) };
}

function parsed(program: Program, editor: Editor): Statement[] {
  return inEditor(editor, () => parse(program[editor]));
}

/** Runs `fn`; an error of an expression in it becomes one of this editor. */
function inEditor<T>(editor: Editor, fn: () => T): T {
  try {
    return fn();
  } catch (e) {
    if (!(e instanceof ExpressionError)) throw e;
    throw new ProgramError(editor, e.line, e.message.replace(/^line \d+: /, ''));
  }
}

/** Computes the inputs: numbers and lists of numbers become tensors. Random numbers are the same every time. */
function inputValues(statements: readonly Statement[]): Map<string, Tensor> {
  manualSeed(0);
  const values = new Map<string, Tensor>();
  const environment: Environment = new Map();
  let elements = 0;
  for (const statement of statements) {
    const { name, line } = statement;
    const fail = (message: string): never => {
      throw new ProgramError('inputs', line, message);
    };
    if (name === null) return fail(`expected a name and its values, such as x = [1, 2], got '${statement.text}'`);
    if (RESERVED.has(name)) return fail(`an input cannot be called '${name}', which has a meaning in backward`);
    const x = inEditor('inputs', () => asTensor(evaluate([statement], environment), line));
    elements += x.numel;
    if (elements > MAX_INPUT_ELEMENTS) return fail(`expected at most ${MAX_INPUT_ELEMENTS} elements in all inputs, got ${elements}`);
    values.set(name, x);
    environment.set(name, x);
  }
  return values;
}

function asTensor(value: Value, line: number): Tensor {
  if (value instanceof Tensor) return value.to('float64');
  if (typeof value !== 'number' && !Array.isArray(value))
    throw new ExpressionError(line, 'expected a number, a list of numbers or a tensor');
  try {
    return tensor(value as number[], { dtype: 'float64' });
  } catch (e) {
    if (e instanceof ChainruleError) throw new ExpressionError(line, e.message);
    throw e;
  }
}

function checkForward(forward: readonly Statement[]): void {
  if (forward.some(({ name }) => name === 'y')) return;
  throw new ProgramError('forward', forward.at(-1)!.line, 'forward must assign y, such as y = x * w');
}

function checkBackward(backward: readonly Statement[], names: readonly string[]): void {
  const missing = names.filter((name) => !backward.some((s) => s.name === `d${name}`));
  if (missing.length === 0) return;
  const wanted = missing.map((name) => `d${name}`).join(' and ');
  throw new ProgramError('backward', backward.at(-1)!.line, `backward must assign ${wanted}: the gradient of each input`);
}

function makeOp(
  names: readonly string[],
  forward: readonly Statement[],
  backward: readonly Statement[],
  dtype: 'float64' | 'float32',
): Operation['op'] {
  // Constants of a program are float64, and so are results with them. In float32 these are rounded, as the dtype is what is looked at.
  const rounded = (x: Tensor): Tensor => (dtype === 'float32' && x.dtype === 'float64' ? x.to('float32') : x);
  const bind = (inputs: readonly Tensor[]): Environment => new Map(names.map((name, i) => [name, inputs[i]!]));
  const runForward = (inputs: readonly Tensor[]): Environment => {
    const environment = bind(inputs);
    inEditor('forward', () => evaluate(forward, environment));
    return environment;
  };
  const hasBranch = forward.some(({ name }) => name === 'branch');
  const op = defineOp({
    name: 'op',
    forward: (_, ...inputs: Tensor[]) => rounded(tensorNamed('y', runForward(inputs), forward, 'forward')),
    save: (_, inputs, [y]) => ({ y, ...Object.fromEntries(inputs.map((x, i) => [`input ${i}`, x])) }),
    backward: (g, saved: Readonly<Record<string, Tensor>>) => {
      const environment = bind(names.map((_, i) => saved[`input ${i}`]!));
      environment.set('g', g);
      environment.set('y', saved['y']!);
      inEditor('backward', () => evaluate(backward, environment));
      return names.map((name) => rounded(tensorNamed(`d${name}`, environment, backward, 'backward')));
    },
    ...(hasBranch ? { branch: (inputs: Tensor[]) => tensorNamed('branch', runForward(inputs), forward, 'forward') } : {}),
  });
  return op;
}

/** Returns what a program has assigned to a name; throws if it is no tensor. */
function tensorNamed(name: string, environment: Environment, statements: readonly Statement[], editor: Editor): Tensor {
  const value = environment.get(name);
  if (value instanceof Tensor) return value;
  const { line } = statements.findLast((s) => s.name === name)!;
  throw new ProgramError(editor, line, `${name} must be a tensor`);
}

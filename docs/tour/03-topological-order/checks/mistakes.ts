import { readFileSync } from 'node:fs';
import { backward as alongPaths } from '../../02-why-gradients-add/solutions/engine.ts';
import type { Mistake } from '../../support/exercise.ts';
import * as solution from '../solutions/engine.ts';
import { type Value, tanh, value } from '../solutions/engine.ts';
import { order } from '../solutions/order.ts';

const mistake = (exercise: number, title: string, module: object, says: RegExp, source?: string): Mistake => ({
  exercise,
  title,
  module: exercise === 1 ? module : { ...solution, ...module },
  says,
  ...(source === undefined ? {} : { source }),
});

function depthFirst(root: Value, seen = new Set<Value>()): Value[] {
  if (seen.has(root)) return [];
  seen.add(root);
  return [root, ...root.inputs.flatMap((input) => depthFirst(input, seen))];
}

function byDistance(root: Value): Value[] {
  const found = new Set([root]);
  for (const node of found) for (const input of node.inputs) found.add(input);
  return [...found];
}

function withRepetitions(root: Value): Value[] {
  return [root, ...root.inputs.flatMap(withRepetitions)];
}

/** A right order by a function that calls itself. */
function byRecursion(root: Value): Value[] {
  const done = new Set<Value>();
  const visit = (node: Value): void => {
    if (done.has(node)) return;
    for (const input of node.inputs) visit(input);
    done.add(node);
  };
  visit(root);
  return [...done].reverse();
}

/** A backward that visits in the given order. */
const inOrder =
  (order: (root: Value) => Value[]) =>
  (root: Value): void => {
    const arrived = new Map<Value, number>([[root, 1]]);
    for (const node of order(root)) {
      node.grad += arrived.get(node)!;
      for (const [i, input] of node.inputs.entries()) {
        arrived.set(input, (arrived.get(input) ?? 0) + arrived.get(node)! * node.locals[i]!);
      }
    }
  };

/** Collects gradients in `grad`, which still holds those of the call before. */
function inGrad(root: Value): void {
  root.grad = 1;
  for (const node of order(root)) {
    for (const [i, input] of node.inputs.entries()) input.grad += node.grad * node.locals[i]!;
  }
}

function withReset(root: Value): void {
  const nodes = order(root);
  for (const node of nodes) node.grad = 0;
  inGrad(root);
}

const wrongTanh = (a: Value): Value => value(tanh(a).data, [a], [1 - a.data ** 2]);
const source = readFileSync(new URL('../solutions/engine.ts', import.meta.url), 'utf8');

export const mistakes: readonly Mistake[] = [
  mistake(1, 'depth first', { order: depthFirst }, /a comes before b, whose input it is/),
  mistake(1, 'by distance from the root', { order: byDistance }, /a comes before b, whose input it is/),
  mistake(1, 'inputs first', { order: (root: Value) => order(root).reverse() }, /x comes before a/),
  mistake(1, 'once for each path', { order: withRepetitions }, /listed 2 times; each value must be visited once/),
  mistake(1, 'the root is left out', { order: (root: Value) => order(root).slice(1) }, /x is missing/),
  mistake(1, 'a function that calls itself', { order: byRecursion }, /the stack overflows/),
  mistake(2, 'depth first', { backward: inOrder(depthFirst) }, /visited before a² had passed/),
  mistake(2, 'along each path', { backward: alongPaths }, /Every path is walked/),
  mistake(2, 'collects in grad', { backward: inGrad }, /still held the gradient of the first call/),
  mistake(2, 'sets every grad to 0', { backward: withReset }, /second call replaced the first/),
  mistake(3, 'a function that calls itself', { backward: inOrder(byRecursion) }, /the stack overflows/),
  mistake(3, 'a wrong derivative', { tanh: wrongTanh }, /v0 = .*tanh\(v0\).*compared with chainrule: got/),
  mistake(3, 'a wrong order', { backward: inOrder(byDistance) }, /before their gradients are complete/),
  mistake(3, 'too long', {}, /lines of code, and should have at most 100/, `${source}${'let unused = 0;\n'.repeat(60)}`),
];

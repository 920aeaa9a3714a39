import type { Value } from './engine.ts';

/** Returns root and what it depends on, each value before its inputs: a value is ready when all of its uses have been visited. */
export function order(root: Value): Value[] {
  const uses = new Map<Value, number>();
  // The array grows while the loop walks over it.
  const found = [root];
  for (const node of found) {
    for (const input of node.inputs) {
      if (!uses.has(input)) found.push(input);
      uses.set(input, (uses.get(input) ?? 0) + 1);
    }
  }
  const ready = [root];
  for (const node of ready) {
    for (const input of node.inputs) {
      const left = uses.get(input)! - 1;
      uses.set(input, left);
      if (left === 0) ready.push(input);
    }
  }
  return ready;
}

/**
 * Reports the gradient of a leaf as soon as a backward has completed it, while the rest of the walk goes on.
 */
import type { Node, Visit } from './tape.ts';
import type { Tensor } from './tensor.ts';

/**
 * @internal Runs `fn`. In each `backward` that it calls, `listener` receives the gradient of each of `leaves` as soon as the last use of the
 * leaf was visited: after the leaf's hooks, before the gradient is added to `grad`. The gradient belongs to the walk: copy it. A leaf that
 * gets no gradient is not reported, and `grad` reports none.
 */
export function withLeafListener<T>(leaves: readonly Tensor[], listener: (leaf: Tensor, g: Tensor) => void, fn: () => T): T {
  const nodes = leaves.flatMap((leaf) => leaf.node ?? []);
  for (const node of nodes) node.listener = (g) => listener(node.output, g);
  try {
    return fn();
  } finally {
    for (const node of nodes) node.listener = null;
  }
}

/**
 * Returns the order of a walk, newest first, with each leaf that has a listener moved to just behind its oldest user. A leaf is older than
 * all results of operations, so that otherwise the walk would visit all leaves at its end.
 */
export function withEarlyLeaves(newestFirst: readonly Visit[]): readonly Visit[] {
  const isEarly = ({ op, listener }: Node): boolean => op === null && listener !== null;
  if (!newestFirst.some(({ node }) => isEarly(node))) return newestFirst;
  const oldestUser = new Map<Visit, Visit>();
  for (const visit of newestFirst) {
    for (const input of visit.inputs) if (input !== null && isEarly(input.node)) oldestUser.set(input, visit);
  }
  const leavesBehind = new Map<Visit, Visit[]>();
  for (const visit of newestFirst) {
    const user = oldestUser.get(visit);
    if (user === undefined) continue;
    const leaves = leavesBehind.get(user);
    if (leaves === undefined) leavesBehind.set(user, [visit]);
    else leaves.push(visit);
  }
  return newestFirst.flatMap((visit) => (oldestUser.has(visit) ? [] : [visit, ...(leavesBehind.get(visit) ?? [])]));
}

/**
 * Checks the operations of a group on its ranks. Prints one line from rank 0 if all is right.
 */
import assert from 'node:assert/strict';
import { tensor, type Tensor } from 'chainrule';
import { init } from 'chainrule/distributed';

const group = init();
const { rank, size } = group;

const equal = (t: Tensor, expected: unknown): void => assert.deepEqual(t.toArray(), expected);
const sumOf = (f: (rank: number) => number): number => group.members.reduce((sum, member) => sum + f(member.rank), 0);

const t = tensor([1, 2, 3]).add(10 * rank);
assert.equal(group.allReduce(t), t);
equal(
  t,
  [1, 2, 3].map((v) => sumOf((r) => v + 10 * r)),
);
const b = tensor([rank, 5]);
equal(group.broadcast(b, { from: size - 1 }), [size - 1, 5]);
equal(
  group.allGather(tensor([rank, 7])),
  group.members.map((member) => [member.rank, 7]),
);
group.barrier();
group.finalize();
if (rank === 0) console.log(`${size} ranks agree`);

/**
 * Checks the operations of a group on its ranks. Rank 0 prints digests of results that must be the same for every number of ranks.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { InPlaceError, memory, noGrad, ones, rand, setNumThreads, tensor, zeros, type DType, type Tensor } from 'chainrule';
import { init, type ReduceOp } from 'chainrule/distributed';
import { transfers } from '../../../src/distributed/collectives.ts';

const group = init({ timeout: 30 });
const { rank, size, members } = group;
const ranks = members.map((member) => member.rank);
const defaults = { ...transfers };

/** Values that differ by rank and round differently in every order of addition. */
const value = (r: number, i: number): number => Math.fround(Math.sin(1 + 7 * r + i) * 10 ** ((r + i) % 5));
const whole = (r: number, i: number): number => ((r * 31 + i * 17) % 23) - 11;
const isTrue = (r: number, i: number): number => Number((r + i) % 3 === 0);
const valueOf: Readonly<Record<DType, (r: number, i: number) => number>> = { float32: value, float64: value, int32: whole, bool: isTrue };

/** What allReduce must give for element i, step by step in the order of ranks. */
function expected(dtype: DType, op: ReduceOp, i: number): number {
  const round = dtype === 'float32' ? Math.fround : (x: number): number => x;
  const combine = {
    sum: (a: number, b: number) => round(a + b),
    max: (a: number, b: number) => Math.max(a, b),
    min: (a: number, b: number) => Math.min(a, b),
  };
  const sum = ranks.map((r) => valueOf[dtype](r, i)).reduce(combine[op === 'mean' ? 'sum' : op]);
  return op === 'mean' ? round(sum / size) : sum;
}

const CASES: readonly (readonly [DType, ReduceOp])[] = [
  ...(['sum', 'mean', 'max', 'min'] as const).flatMap((op) => [['float32', op] as const, ['float64', op] as const]),
  ...(['sum', 'max', 'min'] as const).map((op) => ['int32', op] as const),
  ...(['max', 'min'] as const).map((op) => ['bool', op] as const),
];

function checkReductions(lengths: readonly number[]): void {
  for (const [dtype, op] of CASES)
    for (const n of lengths) {
      const values = Array.from({ length: n }, (_, i) => valueOf[dtype](rank, i));
      const results = values.map((_, i) => expected(dtype, op, i));
      const t = tensor(values, { dtype, shape: [n] });
      assert.equal(group.allReduce(t, { op }), t);
      assert.deepEqual([...t.data()], results, `${op} of ${dtype} [${n}]`);

      // Every third element of a larger block, whose others stay.
      const block = zeros([n + 2, 3], { dtype });
      const column = block.slice(0, 1, n + 1).select(1, 1);
      column.copy_(tensor(values, { dtype, shape: [n] }));
      group.allReduce(column, { op });
      assert.deepEqual([...column.data()], results);
      assert.equal(
        [...block.data()].reduce((sum, x) => sum + Number(x !== 0), 0),
        results.filter((x) => x !== 0).length,
      );
    }
}

checkReductions([0, 1, 67]);
// Slices for each rank, of which some are empty, in one block and in several.
Object.assign(transfers, { smallBytes: 0 });
checkReductions([0, 1, 67]);
Object.assign(transfers, { blockBytes: 64, maxBytes: 16 });
checkReductions([21]);

// Parts of one flat block, a 0-d tensor, a transposed one.
const flat = zeros([12]);
const [front, back] = [flat.slice(0, 0, 5), flat.slice(0, 5, 12)];
front.fill_(rank + 1);
back.fill_(2);
group.allReduce(front);
assert.deepEqual(flat.toArray(), [...Array(5).fill(ranks.reduce((sum, r) => sum + r + 1, 0)), ...Array(7).fill(2)]);
assert.equal(group.allReduce(tensor(rank)).item(), (size * (size - 1)) / 2);
const transposed = tensor(
  [0, 1, 2, 3, 4, 5].map((i) => value(rank, i)),
  { shape: [2, 3] },
).transpose(0, 1);
group.allReduce(transposed, { op: 'max' });
assert.deepEqual(
  transposed.toArray(),
  [0, 1, 2].map((i) => [i, i + 3].map((j) => expected('float32', 'max', j))),
);

// Broadcasts and gathers of every dtype and layout, in pieces of 16 bytes.
for (const dtype of ['float32', 'float64', 'int32', 'bool'] as const) {
  const t = tensor(
    Array.from({ length: 35 }, (_, i) => valueOf[dtype](rank, i)),
    { dtype, shape: [5, 7] },
  ).transpose(0, 1);
  const own = t.clone();
  const all = group.allGather(t);
  assert.deepEqual(all.shape, [size, 7, 5]);
  assert.deepEqual(
    all.toArray(),
    ranks.map((r) => Array.from({ length: 7 }, (_, j) => Array.from({ length: 5 }, (_, i) => valueOf[dtype](r, 7 * i + j)))),
  );
  assert.equal(group.broadcast(t, { from: size - 1 }), t);
  assert.deepEqual(t.toArray(), all.select(0, size - 1).toArray());
  group.broadcast(own);
  assert.deepEqual(own.toArray(), all.select(0, 0).toArray());
}
assert.deepEqual(group.allGather(zeros([0, 3])).shape, [size, 0, 3]);
Object.assign(transfers, defaults);
assert.deepEqual(
  group.allGather(tensor([rank, 7])).toArray(),
  ranks.map((r) => [r, 7]),
);

// Bytes of different lengths.
const bytesOf = (r: number): Uint8Array => Uint8Array.from({ length: 3 * r }, (_, i) => r + i);
assert.deepEqual(group.allGatherBytes(bytesOf(rank)), ranks.map(bytesOf));
assert.deepEqual(group.broadcastBytes(rank === size - 1 ? bytesOf(rank) : null, { from: size - 1 }), bytesOf(size - 1));
assert.deepEqual(group.broadcastBytes(rank === 0 ? new Uint8Array() : null), new Uint8Array());
assert.deepEqual([group.any(rank === size - 1), group.any(false)], [true, false]);

// Operations that overlap with work: the memory grows, and threads compute.
setNumThreads(2);
const began = Array.from({ length: 6 }, (_, k) => tensor(Array.from({ length: 1000 * k + 1 }, (_, i) => value(rank, i))));
const pending = began.map((t) => group.startAllReduce(t));
const { bytes } = memory();
const large = ones([40 * 2 ** 20]);
assert.ok(memory().bytes >= bytes + 2 ** 27);
assert.equal(rand([256, 256]).matmul(ones([256, 1])).shape[0], 256);
while (!pending[3]!.done) group.poll();
for (const each of pending.toReversed()) each.wait();
assert.ok(pending.every((each) => each.done));
for (const t of began)
  assert.deepEqual(
    [...t.data()],
    Array.from({ length: t.numel }, (_, i) => expected('float32', 'sum', i)),
  );
large.dispose();

// A tensor that is freed while its memory is being sent.
const lost = ones([3000]);
const last = group.startAllReduce(lost);
lost.dispose();
ones([3000]).dispose();
last.wait();

// Leaves: as in-place operations. The version says that a saved tensor has changed.
const w = tensor([1, 2], { requiresGrad: true });
for (const write of [() => group.allReduce(w), () => group.broadcast(w), () => group.reduceShards([ones([2])], w)])
  assert.throws(write, InPlaceError);
const y = w.square().sum();
noGrad(() => group.broadcast(w));
assert.throws(() => y.backward(), InPlaceError);
noGrad(() => group.allReduce(w, { op: 'mean' }));
assert.deepEqual(w.toArray(), [1, 2]);
assert.throws(() => group.allReduce(ones([1]).expand([3])), /expanded/);

// Errors that are the same on all ranks leave the group usable.
const full = tensor([2 ** 31 - 1, 1], { dtype: 'int32' });
if (size > 1) {
  assert.throws(() => group.allReduce(full), { message: /^allReduce: \d+ does not fit an int32 tensor/ });
  assert.deepEqual(full.toArray(), [2 ** 31 - 1, 1]);
  const others = size === 2 ? 'rank 1 calls' : `ranks ${ranks.slice(1).join(', ')} call`;
  assert.throws(() => group.allReduce(zeros([rank === 0 ? 2 : 3, 4])), {
    name: 'DisagreementError',
    message: `the ranks do not call the same: rank 0 calls allReduce of float32 [2,4] (sum); ${others} allReduce of float32 [3,4] (sum)`,
  });
  assert.throws(() => (rank === 0 ? group.barrier() : group.allGather(ones([1]))), {
    message: `the ranks do not call the same: rank 0 calls barrier; ${others} allGather of float32 [1]`,
  });
  assert.throws(() => group.broadcast(ones([1]), { from: Math.min(rank, 1) }), {
    message: `the ranks do not call the same: rank 0 calls broadcast of float32 [1] from rank 0; ${others} broadcast of float32 [1] from rank 1`,
  });
}

// V8 must still see accesses outside a WebAssembly memory, which it detects through SIGSEGV.
const outside = Uint8Array.from(
  [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 127, 3, 2, 1, 0, 5, 3, 1, 0, 1, 7, 5, 1, 1, 102, 0, 0, 10, 12, 1, 10, 0, 65, 128].concat(
    [128, 128, 7, 40, 2, 0, 11],
  ),
);
const { f } = new WebAssembly.Instance(new WebAssembly.Module(outside)).exports as { f: () => number };
assert.throws(f, WebAssembly.RuntimeError);

/** Four shards, whatever the number of ranks: their sum has the same bits. */
function shardDigest(dtype: 'float32' | 'float64', op: 'sum' | 'mean', n: number): string {
  const shards = 4;
  const shardOf = (s: number): Tensor =>
    tensor(
      Array.from({ length: n }, (_, i) => value(s, i)),
      { dtype, shape: [n] },
    );
  const own = Array.from({ length: shards / size }, (_, i) => shardOf((rank * shards) / size + i));
  const into = zeros([n], { dtype });
  assert.equal(group.reduceShards(own, into, { op }), into);
  // Into a shard's own memory, the first or the last.
  for (const place of [0, own.length - 1]) {
    const target = own[place]!.clone();
    const list = own.map((shard, i) => (i === place ? target : shard));
    assert.deepEqual(group.reduceShards(list, target, { op }).data(), into.data());
  }
  const round = dtype === 'float32' ? Math.fround : (x: number): number => x;
  const sums = Array.from({ length: n }, (_, i) => [0, 1, 2, 3].map((s) => value(s, i)).reduce((a, b) => round(a + b)));
  assert.deepEqual([...into.data()], op === 'mean' ? sums.map((sum) => round(sum / shards)) : sums);
  return createHash('sha256').update(Buffer.from(into.data().buffer)).digest('hex').slice(0, 16);
}
const digests: string[] = [];
for (const smallBytes of [0, defaults.smallBytes])
  for (const blockBytes of [1000, defaults.blockBytes]) {
    Object.assign(transfers, { smallBytes, blockBytes });
    digests.push(shardDigest('float32', 'mean', 997), shardDigest('float64', 'sum', 31));
  }

group.barrier();
group.finalize();
group.finalize();
assert.throws(() => group.barrier(), { message: 'barrier: the group is finalized' });
if (rank === 0) console.log(JSON.stringify({ size, pids: new Set(members.map((member) => member.pid)).size, digests }));

/**
 * All-reduces on a memory that is not shared, as on platforms without SharedArrayBuffer: it may move when it grows.
 */
import assert from 'node:assert/strict';

const shared = SharedArrayBuffer;
Object.assign(globalThis, { SharedArrayBuffer: undefined });
const { memory, ones } = await import('chainrule');
const { wasmMemory } = await import('../../../src/kernels/memory/wasm-memory.ts');
Object.assign(globalThis, { SharedArrayBuffer: shared });
const { init } = await import('chainrule/distributed');

assert.equal(Object.prototype.toString.call(wasmMemory.buffer), '[object ArrayBuffer]');
const group = init({ timeout: 30 });
const t = ones([100_000]);
const before = memory().bytes;
const pending = group.startAllReduce(t);
assert.equal(pending.done, true);
const large = ones([40 * 2 ** 20]);
assert.ok(memory().bytes > before);
pending.wait();
group.allReduce(t);
assert.deepEqual(new Set(t.data()), new Set([group.size ** 2]));
assert.deepEqual(
  group.allGather(large.slice(0, 0, 1)).toArray(),
  group.members.map(() => [1]),
);
if (group.rank === 0) console.log('the sums are right');

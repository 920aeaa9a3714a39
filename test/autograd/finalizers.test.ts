/** The GC fallback: tensors without another owner are freed by the garbage collector. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it, vi } from 'vitest';
import { type Tensor, backwardSteps, memory, scope, scoped, tensor } from 'chainrule';
import { DataLoader } from 'chainrule/data';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Collects garbage until the memory report is as before, or for many turns of the event loop: a busy machine calls finalizers late. */
async function settle(tensors: number): Promise<void> {
  for (let i = 0; i < 400 && memory().tensors > tensors; i++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

it('the memory of abandoned graphs, views and untracked tensors is freed', async () => {
  const w = tensor([1, 2, 3], { requiresGrad: true });
  const before = memory();
  const abandon = (): void => {
    for (let i = 0; i < 300; i++) {
      w.mul(2).sum();
      w.detach().add(1);
    }
  };
  abandon();
  expect(memory().tensors).toBe(before.tensors + 300 * 4);
  await settle(before.tensors);
  expect(memory()).toMatchObject({ bytes: before.bytes, tensors: before.tensors });
  w.dispose();
});

it('an iterator or a walk that is dropped before its end frees its memory, and nothing that is still referenced', async () => {
  const w = tensor([1, 2, 3], { requiresGrad: true });
  const before = memory();
  const abandon = (): Tensor => {
    backwardSteps(w.mul(2).exp().sum()).next();
    scoped(3).next();
    for (let i = 0; i < 100; i++) w.detach().add(1);
    return w.detach().add(2);
  };
  const held = abandon();
  await settle(before.tensors + 1);
  expect(memory()).toMatchObject({ bytes: before.bytes + 12, tensors: before.tensors + 1 });
  expect(held.toArray()).toEqual([3, 4, 5]);
  held.dispose();
  w.dispose();
});

it('what a plain loop leaves that waits in its body is freed', async () => {
  const before = memory();
  for (const i of scoped(3)) {
    tensor([1, 2]).mul(i);
    await Promise.resolve();
    tensor([1, 2]).mul(i);
  }
  expect(memory().tensors).toBeGreaterThan(before.tensors);
  await settle(before.tensors);
  expect(memory()).toMatchObject({ bytes: before.bytes, tensors: before.tensors });
});

it('an iteration that lasts retains no tensor that was freed, nor one that was kept and then dropped', async () => {
  const refs: WeakRef<Tensor>[] = [];
  const alive = (): number => refs.filter((ref) => ref.deref() !== undefined).length;
  const make = (n: number): void => {
    const t = tensor([n]);
    refs.push(new WeakRef(t));
    if (n % 2 === 0) t.dispose();
    else t.keep();
  };
  const before = memory().tensors;
  for await (const i of scoped(1)) {
    const stays = tensor([1, 2]).add(i);
    for (let n = 0; n < 1000; n++) make(n);
    await settle(before + 256);
    // The list of the scope may have grown by 256 since it was last shortened.
    expect(alive()).toBeLessThan(300);
    expect(stays.toArray()).toEqual([1, 2]);
  }
  await settle(before);
  expect(memory().tensors).toBe(before);
});

it('a loop for await that is dropped before its end frees its batch, but not while the batch is referenced', async () => {
  const before = memory();
  const source = function* (): Generator<Tensor> {
    for (;;) yield tensor([1, 2, 3]).mul(2);
  };
  const abandon = async (): Promise<Tensor> => {
    await scoped(source())[Symbol.asyncIterator]().next();
    const { value } = await scoped(source())[Symbol.asyncIterator]().next();
    return value!;
  };
  const held = await abandon();
  await settle(before.tensors + 1);
  expect(memory()).toMatchObject({ bytes: before.bytes + 12, tensors: before.tensors + 1 });
  expect(held.toArray()).toEqual([2, 4, 6]);
  held.dispose();
});

it('a loop for await that is ended by hand owns nothing of what its caller makes then', async () => {
  const before = memory();
  const abandon = async (): Promise<void> => {
    const loop = scoped(3)[Symbol.asyncIterator]();
    await loop.next();
    const next = loop.next().then(() => void tensor([1, 2]).mul(2));
    queueMicrotask(() => void loop.return!());
    await next;
  };
  await abandon();
  expect(memory().tensors).toBe(before.tensors + 2);
  await settle(before.tensors);
  expect(memory()).toMatchObject({ bytes: before.bytes, tensors: before.tensors });
});

it('a graph from outside that was joined to one made in a scope is freed when both are abandoned', async () => {
  const w = tensor([1, 2, 3], { requiresGrad: true });
  const v = tensor([1, 2, 3], { requiresGrad: true });
  const before = memory();
  const abandon = (): void => {
    for (let i = 0; i < 20; i++) {
      const outside = w.exp();
      scope(() => void v.exp().mul(outside));
      scope(() => void outside.mul(v.exp()));
    }
  };
  abandon();
  expect(memory().tensors).toBe(before.tensors + 20);
  await settle(before.tensors);
  expect(memory()).toMatchObject({ bytes: before.bytes, tensors: before.tensors });
  for (const t of [w, v]) t.dispose();
});

it('a result kept from a scope, and what its graph has saved, is freed when it is abandoned', async () => {
  const w = tensor([1, 2, 3], { requiresGrad: true });
  const before = memory();
  const abandon = (): void => {
    for (let i = 0; i < 20; i++) scope(() => void w.mul(2).exp().keep());
  };
  abandon();
  expect(memory().tensors).toBe(before.tensors + 20);
  await settle(before.tensors);
  expect(memory()).toMatchObject({ bytes: before.bytes, tensors: before.tensors });
  w.dispose();
});

it('setting grad to a released tensor throws, and leaves nothing behind', () => {
  const x = tensor([1, 2]);
  const gone = tensor([1, 2]);
  gone.dispose();
  const before = memory();
  expect(() => {
    x.grad = gone;
  }).toThrow('was freed by dispose()');
  x.dispose();
  expect(() => {
    x.grad = x;
  }).toThrow('was freed by dispose()');
  expect(memory().bytes).toBe(before.bytes - 8);
});

it('a loop that calls backward leaves nothing to the garbage collector', () => {
  const w = tensor([1, 2, 3], { requiresGrad: true });
  const step = (): void => w.mul(2).sum().backward();
  step();
  const before = memory();
  const warn = vi.spyOn(console, 'warn');
  // More graphs than may wait for the garbage collector without a warning.
  for (let i = 0; i < 3000; i++) step();
  expect(memory()).toEqual({ ...before, peakBytes: memory().peakBytes });
  expect(warn).not.toHaveBeenCalled();
  warn.mockRestore();
  w.dispose();
});

it('an iterator whose next step is awaited stays, also without another reference', async () => {
  let decode: (() => void) | null = null;
  const item = { data: Float32Array.of(5), shape: [1], dtype: 'float32' } as const;
  const get = (): Promise<readonly [typeof item]> => new Promise((resolve) => (decode = () => resolve([item])));
  const loader = new DataLoader({ length: 1, get });
  const start = (): Promise<IteratorResult<readonly Tensor[]>> => loader[Symbol.asyncIterator]().next();
  const next = start();
  for (let i = 0; i < 5; i++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  decode!();
  const { done, value } = await next;
  expect([done, value?.[0]?.toArray()]).toEqual([false, [[5]]]);
});

it('memory that an abandoned leaf shared can be written to once it is collected', async () => {
  const share = (): Tensor => tensor([1, 2], { requiresGrad: true }).detach();
  const d = share();
  await settle(memory().tensors - 1);
  expect(d.fill_(3).toArray()).toEqual([3, 3]);
  d.dispose();
});

it('graphs that only the garbage collector frees are warned of once, when they are many', async () => {
  const w = tensor([1, 2, 3], { requiresGrad: true });
  const before = memory().tensors;
  const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
  const abandon = (): void => {
    for (let i = 0; i < 4500; i++) w.mul(2);
  };
  abandon();
  const text =
    'chainrule: 2000 recorded graphs wait for the garbage collector, which cannot run inside a synchronous loop. ' +
    'Evaluate under noGrad(() => …), or loop with for (const i of scoped(n)), which free what an iteration made.';
  expect(warn.mock.calls).toEqual([[text]]);
  warn.mockRestore();
  await settle(before);
  expect(memory().tensors).toBeLessThanOrEqual(before);
  w.dispose();
});

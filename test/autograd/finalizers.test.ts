/** The last net: what nobody disposes of is freed when the garbage collector finds it. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, it } from 'vitest';
import { memory, tensor } from 'chainrule';

setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc') as () => void;

/** Collects until the memory report is as before, or a few turns have passed. */
async function settle(tensors: number): Promise<void> {
  for (let i = 0; i < 50 && memory().tensors > tensors; i++) {
    collect();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

it('abandoned graphs, views and loose tensors give their memory back', async () => {
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

it('a loop that calls backward leaves nothing to the garbage collector', () => {
  const w = tensor([1, 2, 3], { requiresGrad: true });
  const step = (): void => w.mul(2).sum().backward();
  step();
  const before = memory();
  for (let i = 0; i < 100; i++) step();
  expect(memory()).toEqual({ ...before, peakBytes: memory().peakBytes });
  w.dispose();
});

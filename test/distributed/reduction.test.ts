/** When the sums of gradients start: while backward goes on, in the order of the buckets. */
import { scope, tensor, type Tensor } from 'chainrule';
import type { Group } from 'chainrule/distributed';
import * as nn from 'chainrule/nn';
import { expect, test } from 'vitest';
import { withLeafListener } from '../../src/autograd/index.ts';
import { GradientBlock } from '../../src/distributed/gradient-block.ts';
import { Reduction } from '../../src/distributed/reduction.ts';

/** A group of two of which the other rank has no gradients, so that a sum is what this rank has. Notes what starts. */
function fakeGroup(log: string[]): Group {
  const group: Partial<Group> = {
    startAllReduce: (t: Tensor) => {
      log.push(`start ${t.numel}`);
      return { done: true, wait: () => log.push('wait') };
    },
    poll: () => {},
  };
  return group as Group;
}

test('a bucket starts once it and those before it are complete, and a parameter without gradient delays it to the end', () =>
  scope(() => {
    const log: string[] = [];
    const [first, second, unused] = [
      new nn.Linear(2, 3, { bias: false }),
      new nn.Linear(3, 4, { bias: false }),
      new nn.Linear(2, 5, { bias: false }),
    ];
    const params = [second.weight, first.weight, unused.weight];
    const block = new GradientBlock(params, 1);
    expect(block.counts).toEqual([1, 1, 1]);
    // Each bucket has a flag behind its gradient.
    expect(block.buckets.map((t) => t.numel)).toEqual([13, 7, 11]);
    const step = (order: readonly nn.Module[]): void => {
      const reduction = new Reduction(fakeGroup(log), block, params);
      const hidden = first.forward(tensor([[1, 2]]));
      hidden.registerHook(() => void log.push('the gradient of hidden'));
      const y = order.includes(second) ? second.forward(hidden) : hidden;
      withLeafListener(
        params,
        (p, g) => reduction.add(p, g),
        () => y.sum().backward(),
      );
      log.push('backward has ended');
      reduction.finish();
    };
    step([first, second]);
    expect(log).toEqual(['start 13', 'the gradient of hidden', 'start 7', 'backward has ended', 'start 11', 'wait', 'wait', 'wait']);
    expect(unused.weight.grad).toBe(null);
    expect(first.weight.grad!.storage).toBe(block.buckets[1]!.storage);
    for (const p of params) p.grad = null;
    log.length = 0;
    // The first bucket lacks its gradient, so the second waits for it.
    step([first]);
    expect(log).toEqual(['the gradient of hidden', 'backward has ended', 'start 13', 'start 7', 'start 11', 'wait', 'wait', 'wait']);
    expect(first.weight.grad!.toArray()).toEqual([
      [1, 2],
      [1, 2],
      [1, 2],
    ]);
    for (const layer of [first, second, unused]) layer.dispose();
    block.dispose();
  }));

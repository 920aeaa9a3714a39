/** Ownership across `await`, where the platform tells tasks apart. */
import { memory, ones, scoped } from 'chainrule';
import { describe, expect, test } from 'vitest';
import { expectNoMoreTensors, testInnocentCode } from '../support/across-await.ts';

describe('a for await loop owns what its body makes after it has waited', () => {
  const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

  test('also in a function that the body calls, and in loops within', async () => {
    const helper = async (): Promise<void> => {
      ones([2]).exp();
      await sleep(1);
      ones([2]).exp();
    };
    const before = memory().tensors;
    for await (const i of scoped(3)) {
      ones([2]);
      for await (const j of scoped(2)) {
        ones([2]).mul(j);
        await sleep(1);
        ones([2]).mul(j);
      }
      await helper();
      ones([2]).gelu().mul(i);
    }
    expectNoMoreTensors(before);
  });

  test('also while other loops begin and end, which make no tensor before they wait, or none at all', async () => {
    const other = async (turns: number, makes: boolean): Promise<void> => {
      for await (const i of scoped(turns)) {
        if (makes) ones([2]).mul(i);
        await sleep(1);
      }
    };
    /** A loop within `depth − 1` others, whose bodies all make tensors after the other loops. */
    const nested = async (depth: number): Promise<void> => {
      for await (const i of scoped(2)) {
        ones([2]).mul(i);
        if (depth > 1) await nested(depth - 1);
        await other(1, false);
        ones([2]).mul(i);
        await Promise.all([other(3, false), other(2, true)]);
        ones([2]).mul(i);
      }
    };
    const before = memory().tensors;
    for (const depth of [1, 2, 3]) await nested(depth);
    expectNoMoreTensors(before);
  });

  test('and nothing of what the function makes after the loop', async () => {
    for await (const i of scoped(2)) {
      ones([2]).mul(i);
      await sleep(1);
    }
    const after = ones([2]);
    for await (const i of scoped(2)) ones([2]).mul(i);
    expect(after.toArray()).toEqual([1, 1]);
    after.dispose();
  });
});

// These come last: if one leaves a wrong number of open scopes, the tests above could miss a scope of their own.
testInnocentCode();

test('many short loops in a row give the event loop turns, as one long loop does', async () => {
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  const end = performance.now() + 300;
  while (performance.now() < end) for await (const i of scoped(2)) ones([2]).mul(i);
  clearInterval(timer);
  expect(turns).toBeGreaterThan(0);
});

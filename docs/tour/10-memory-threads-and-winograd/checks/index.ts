import { memory, tensor } from 'chainrule';
import { type Exercise, exercise, expect, expectNumber, expectNumbers } from '../../support/exercise.ts';
import { bytesInUse } from '../../support/memory.ts';
import type * as Memory from '../exercises/memory.ts';
import type * as Threads from '../exercises/threads.ts';
import type * as Winograd from '../exercises/winograd.ts';

/** Elements of a batch. */
const N = 1000;
/** Bytes that one call of lossOf may need: the product and the square, a few results without dims, and one tensor more. */
const ONE_CALL = 3 * N * 4 + 64;

function checkMemory({ meanLoss }: typeof Memory): void {
  const w = tensor(2, { requiresGrad: true });
  const batches = [1, 2, 3, 6].map((value) => tensor(Array.from({ length: N }, () => value)));
  const before = bytesInUse();
  const got = meanLoss((batch) => batch.mul(w).square().mean(), batches);
  const { bytes, peakBytes } = memory();
  const what = `4 batches of ${N} numbers`;
  expectNumber(`${what}: the mean of (2x)² for x = 1, 2, 3, 6`, got, 50, { 'Divide by the number of batches': 200 });
  expect(
    bytes === before,
    `${what}: ${bytes - before} bytes are left afterwards. Run lossOf in a scope or under noGrad, which free what it makes`,
  );
  expect(
    peakBytes - before <= ONE_CALL,
    `${what}: ${peakBytes - before} bytes are in use at once, and one call of lossOf needs ${ONE_CALL}. A scope frees at its end: use one for each batch`,
  );
}

function checkThreads({ chunkedSum }: typeof Threads): void {
  expectNumber('chunkedSum([1, 2, 3, 4, 5], 2, [0, 1, 2])', chunkedSum([1, 2, 3, 4, 5], 2, [0, 1, 2]), 15, {
    'The last chunk is shorter, and missing here': 10,
  });
  const values = [0.1, 0.2, 0.3];
  const forward = chunkedSum(values, 1, [0, 1, 2]);
  const reverse = chunkedSum(values, 1, [2, 1, 0]);
  expectNumber('[0.1, 0.2, 0.3] in chunks of 1', forward, 0.6);
  expect(
    forward === reverse,
    `[0.1, 0.2, 0.3] in chunks of 1: ${forward} if they finish as 0,1,2, and ${reverse} as 2,1,0. \
Partial sums are added as they finish. Keep them, and add them by chunk number`,
  );
  const exact = [0.1, 0.1, 0.1, 0.4];
  const want = 0.1 + 0.1 + (0.1 + 0.4);
  const got = chunkedSum(exact, 2, [1, 0]);
  expect(
    got === want,
    `[0.1, 0.1, 0.1, 0.4] in chunks of 2: got ${got}, expected (0.1 + 0.1) + (0.1 + 0.4) = ${want}. Add within each chunk first`,
  );
}

function checkWinograd({ winograd }: typeof Winograd): void {
  let count = 0;
  const times = (a: number, b: number): number => {
    count++;
    return a * b;
  };
  expectNumbers('d = [1, 2, 4, 3], w = [2, −1, 3]: winograd(d, w)', winograd([1, 2, 4, 3], [2, -1, 3], times), [12, 9], {
    'The second output is m₁ − m₂ − m₃: the sign of m₃ is wrong': [12, 3],
    'The second output is m₁ − m₂ − m₃: the sign of m₂ is wrong': [12, 21],
    'The middle weights are halves: (w₀ ± w₁ + w₂)/2': [30, 15],
    'The weights are reversed: y₀ is d₀w₀ + d₁w₁ + d₂w₂': [9, 8],
  });
  expect(count > 0, 'winograd did not call times; count every multiplication of data by weights with it');
  expect(count <= 4, `winograd called times ${count} times. The direct sums take 6 calls; Winograd’s way takes 4`);
  for (let i = 0; i < 4; i++) {
    const d = [0, 1, 2, 3].map((k) => (k === i ? 1 : 0)) as [number, number, number, number];
    const want = [[2, -1, 3][i] ?? 0, [2, -1, 3][i - 1] ?? 0];
    expectNumbers(`d = [${d.join(', ')}], w = [2, −1, 3]: winograd(d, w)`, winograd(d, [2, -1, 3], times), want);
  }
}

export const exercises: readonly Exercise[] = [
  exercise<typeof Memory>({
    title: 'An evaluation that leaves nothing behind',
    file: 'memory',
    functions: ['meanLoss'],
    hint: 'noGrad(() => lossOf(batch).item()) returns a number and frees everything else.',
    check: checkMemory,
  }),
  exercise<typeof Threads>({
    title: 'A sum whose bits do not depend on the threads',
    file: 'threads',
    functions: ['chunkedSum'],
    hint: 'Store each partial sum in an array, at the place of its chunk.',
    check: checkThreads,
  }),
  exercise<typeof Winograd>({
    title: 'Winograd in one dimension',
    file: 'winograd',
    functions: ['winograd'],
    hint: 'Transform data and weights as in the table, multiply four times, and combine.',
    check: checkWinograd,
  }),
];

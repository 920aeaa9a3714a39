/** Data-parallel training: what one process, two and four compute with the same batches. */
import { describe, expect, test } from 'vitest';
import { alone, hasMpi, mpiexec, type Run } from './support.ts';

/** What programs/parallel.ts prints. */
interface Report {
  readonly plain: { readonly losses: readonly number[] };
  readonly synced: { readonly losses: readonly number[] };
  readonly sharded: { readonly losses: readonly number[]; readonly digest: string };
  readonly events: unknown;
}

function reportOf({ code, stdout, stderr }: Run): Report {
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  return JSON.parse(stdout) as Report;
}

/** The largest difference of two lists. */
const distance = (a: readonly number[], b: readonly number[]): number => Math.max(...a.map((v, i) => Math.abs(v - b[i]!)));

const one = alone('parallel.ts');

test('a group of one computes the gradients of the whole batch', async () => {
  expect(reportOf(await one).plain.losses).toHaveLength(15);
});

describe.skipIf(!hasMpi)('with MPICH', () => {
  test.each([2, 4])('%i ranks follow one process with the whole batch: to 1e-6, and with across-sizes bit for bit', async (n) => {
    const expected = reportOf(await one);
    const several = reportOf(await mpiexec(n, 'parallel.ts'));
    for (const key of ['plain', 'synced'] as const) expect(distance(several[key].losses, expected[key].losses)).toBeLessThan(1e-6);
    expect(several.sharded).toEqual(expected.sharded);
    expect(several.events).toEqual(expected.events);
  });
});

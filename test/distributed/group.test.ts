import { describe, expect, test } from 'vitest';
import { alone, hasMpi, mpiexec } from './support.ts';

describe.skipIf(!hasMpi)('with MPICH', () => {
  test.each([2])('%i ranks', async (n) => {
    expect(await mpiexec(n, 'collectives.ts')).toMatchObject({ code: 0, stdout: `${n} ranks agree\n`, stderr: '' });
  });
});

test('alone', async () => {
  expect(await alone('collectives.ts')).toMatchObject({ code: 0, stdout: '1 ranks agree\n', stderr: '' });
});

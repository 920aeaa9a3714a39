/** A rank that is killed ends all ranks, leaves a whole checkpoint, and the run goes on from it with any number of ranks. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadCheckpoint } from 'chainrule/io';
import { afterAll, describe, expect, test } from 'vitest';
import { alone, hasMpi, mpiexec } from './support.ts';

const folder = mkdtempSync(join(tmpdir(), 'chainrule-killed-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Kills a rank of two, and checks what is left. */
async function killed(part: string, step: number, saved: number): Promise<void> {
  const { code, stderr, left } = await mpiexec(2, 'killed.ts', { args: [folder, part, String(step)] });
  const end = Date.now();
  expect({ code, stderr, left }, part).toEqual({ code: 9, stderr: '', left: [] });
  expect(end - Number(readFileSync(join(folder, 'killed'), 'utf8')), `milliseconds from the kill in ${part} to the end`).toBeLessThan(
    10_000,
  );
  const path = join(folder, 'checkpoint.safetensors');
  expect(loadCheckpoint(path, {}, { strict: false })).toEqual({ step: saved });
}

describe.skipIf(!hasMpi)('with MPICH', () => {
  test('killed in forward, backward, a sum and a save, then resumed on 1 rank: the bits of a run that was never killed', async () => {
    await killed('forward', 3, 2);
    await killed('backward', 5, 4);
    await killed('reduce', 7, 6);
    await killed('save', 10, 8);
    const torn = readdirSync(folder).filter((name) => name.endsWith('.tmp'));
    expect(torn).toHaveLength(1);
    const resumed = await alone('killed.ts', { args: [folder] });
    const whole = await mpiexec(4, 'killed.ts', { args: [mkdtempSync(join(folder, 'whole-'))] });
    expect(resumed).toMatchObject({ code: 0, stderr: '' });
    expect(whole).toMatchObject({ code: 0, stderr: '', stdout: resumed.stdout });
    // Six starts of several processes take long on a slow machine.
  }, 300_000);
});

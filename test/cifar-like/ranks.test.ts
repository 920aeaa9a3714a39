import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, watch } from 'node:fs';
import { dirname, join } from 'node:path';
import { expect, test } from 'vitest';
import { alone, hasMpi } from '../distributed/support.ts';
import { compileProgram } from '../support/compile-program.ts';
import { ended, metricsOf, onReference, SCRIPT, temporaryFolder } from './support.ts';

// npm start on several ranks: it is stopped by Ctrl-C, and goes on with another number of ranks.

const SMALL = ['--no-se', '--train-images', '64', '--test-images', '48', '--batch-size', '16', '--epochs', '8'];

const folder = temporaryFolder();

const mpiexec = (...args: string[]): ChildProcess => spawn('mpiexec', args, { stdio: ['ignore', 'pipe', 'pipe'] });

/** Interrupts the child once a step was written. */
function interruptAtFirstStep(child: ChildProcess, dir: string): void {
  const watcher = watch(dirname(dir), { recursive: true }, (_, name) => {
    const metrics = join(dir, 'metrics.jsonl');
    if (!name?.endsWith('metrics.jsonl') || !existsSync(metrics) || readFileSync(metrics, 'utf8') === '') return;
    watcher.close();
    child.kill('SIGINT');
  });
}

test.skipIf(!hasMpi || onReference)(
  'npm start under mpiexec trains one model over 2 ranks, saves on Ctrl-C, and goes on over 3 ranks',
  async () => {
    const dir = join(folder, 'run');
    const child = mpiexec('-pmi-port', '-n', '2', 'npm', 'start', '--', '--out', dir, ...SMALL);
    interruptAtFirstStep(child, dir);
    const stopped = await ended(child);
    expect(stopped.stdout.match(/Stopped and saved/g), `${stopped.stdout}${stopped.stderr}`).toHaveLength(1);
    // The exit code is npm's: that of the command, 0, or of a signal, depending on which of them ends first.
    expect(readdirSync(dir)).not.toContain('run.lock');
    const steps = metricsOf(dir).length;
    expect(steps).toBeLessThan(32);

    const command = [process.execPath, await compileProgram(SCRIPT)];
    const { code, stdout, stderr } = await ended(mpiexec('-n', '3', ...command, '--resume', dir));
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/without SE +24,346 +32 /);
    expect(stdout).toMatch(/^trained over 3 ranks$/m);
    expect(readFileSync(join(dir, 'report.html'), 'utf8')).toContain('trained over 3 ranks');
    expect(
      metricsOf(dir)
        .filter((m) => m.lr !== undefined)
        .map((m) => m.step),
    ).toEqual(Array.from({ length: 32 }, (_, i) => i + 1));

    const refused = await ended(mpiexec('-n', '2', ...command, '--out', dir));
    expect(refused).toMatchObject({ code: 1, stdout: '' });
    expect(refused.stderr).toMatch(/^error: .*: expected a new folder, got one that exists; .*\n$/);
  },
  // Three starts of several processes take long on a slow machine.
  300_000,
);

test.skipIf(!hasMpi || onReference)('npm start under mpiexec without -pmi-port says what to do', async () => {
  const { code, stderr } = await alone('collectives.ts', { env: { PMI_RANK: '0', PMI_SIZE: '2', PMI_FD: '99' } });
  expect(code).toBe(1);
  expect(stderr).toContain(
    'DistributedError: init: the connection to mpiexec (PMI_FD 99) was closed by the program that started this one, as npm does; ' +
      'start it with mpiexec -pmi-port, or let mpiexec start node itself',
  );
});

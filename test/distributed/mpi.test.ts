import { spawnSync, type ChildProcess } from 'node:child_process';
import { delimiter } from 'node:path';
import { describe, expect, test } from 'vitest';
import { command, execute, hasMpi, mpiexec, type Run } from './support.ts';

// Several ranks on this machine. The programs check values on their ranks.

const nodes = (process.env.NODES ?? '').split(delimiter).filter((path) => path !== '');
/** A Node that has `node:ffi`, among those that the variable NODES lists. */
const nodeWithFfi = nodes.find((path) => {
  const [, major, minor] = /^v(\d+)\.(\d+)/.exec(spawnSync(path, ['--version'], { encoding: 'utf8' }).stdout) ?? [];
  return Number(major) > 26 || (Number(major) === 26 && Number(minor) >= 1);
});

describe.skipIf(!hasMpi)('where MPICH is installed', () => {
  test('1, 2 and 4 ranks compute what they must, and shards have the same bits on any number of them', async () => {
    const digests = new Set<string>();
    for (const n of [1, 2, 4]) {
      const { code, stdout, stderr } = await mpiexec(n, 'collectives.ts');
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      const result = JSON.parse(stdout) as { size: number; pids: number; digests: string[] };
      expect(result).toMatchObject({ size: n, pids: n });
      digests.add(result.digests.join(' '));
    }
    expect(digests.size).toBe(1);
  });

  test.skipIf(nodeWithFfi === undefined)(
    `without koffi, through node:ffi${nodeWithFfi === undefined ? ' (no Node ≥ 26.1 in NODES)' : ''}`,
    async () => {
      const node = [nodeWithFfi!, '--experimental-ffi', '--no-warnings', ...(await command('collectives.ts')).slice(1)];
      expect(await execute(['mpiexec', '-n', '2', ...node], {})).toMatchObject({ code: 0, stderr: '' });
    },
  );

  test('over TCP, where a rank ends only with the help of the others', async () => {
    // Ranks that help too early or too late hang in some runs only.
    const runs = process.env.CHAINRULE_LONG === '1' ? 10 : 1;
    for (let run = 0; run < runs; run++)
      expect(await mpiexec(4, 'collectives.ts', { env: { UCX_TLS: 'tcp,self' } })).toMatchObject({ code: 0, stderr: '' });
  });

  test('memory that is not shared, and so may move', async () => {
    expect(await mpiexec(2, 'unshared-memory.ts')).toMatchObject({ code: 0, stdout: 'the sums are right\n', stderr: '' });
  });
});

/** What rank `n` of a run says before it ends the others. */
const message = (rank: number, why: string): RegExp =>
  new RegExp(`^chainrule: rank ${rank} \\(pid \\d+ on \\S+\\) ends all ranks: ${why}`, 'gm');

describe.skipIf(!hasMpi)('where MPICH is installed, a fault of one rank ends all', () => {
  /** Runs two or three ranks, of which the last fails. All must end, within 10 s after the fault at the latest. */
  async function fail(fault: string, n = 2, timeout = 30, ready?: (child: ChildProcess) => void): Promise<Run> {
    const result = await mpiexec(n, 'fault.ts', { args: [fault, String(timeout)], ...(ready && { ready }) });
    expect(result.left).toEqual([]);
    expect(result.ms).toBeLessThan(10_000);
    return result;
  }

  test.each(['throw', 'reject'])('an error that nothing catches: %s', async (fault) => {
    const { code, stderr } = await fail(fault);
    expect(code).toBe(1);
    expect(stderr.match(message(1, 'an error was not caught: TypeError: the last rank has no data\\n +at '))).toHaveLength(1);
  });

  test('an early exit', async () => {
    const { code, stderr } = await fail('exit');
    expect(code).toBe(3);
    expect(stderr.match(message(1, 'the process ended with exit code 3 before finalize\\(\\)$'))).toHaveLength(1);
  });

  test.each([
    ['leave', 'rank 1 calls finalize'],
    ['shape', 'rank 1 calls allReduce of float32 \\[3\\] \\(sum\\)'],
  ])('calls that differ: %s', async (fault, call) => {
    const { code, stderr } = await fail(fault);
    expect(code).toBe(1);
    const why = `.*DisagreementError: the ranks do not call the same: rank 0 calls allReduce of float32 \\[1000\\] \\(sum\\); ${call}$`;
    expect(stderr.match(message(0, why))).toHaveLength(1);
    expect(stderr.match(/ends all ranks/g)).toHaveLength(1);
  });

  test.each(['kill while others wait', 'kill during an all-reduce'])('SIGKILL: %s', async (fault) => {
    const { code, stderr, stdout } = await fail(fault);
    // The launcher reports it, and ends the others.
    expect({ code, stdout: stdout.includes('Killed (signal 9)') }).toEqual({ code: 9, stdout: true });
    expect(stderr).not.toContain('chainrule');
  });

  test.each(['suspend', 'stand still'])('a rank that does not come is named: %s', async (fault) => {
    const { code, stderr } = await fail(fault, 3, 2);
    expect(code).toBe(1);
    const why =
      'waited 2 s in allReduce of float32 \\[1000\\] \\(sum\\) \\(operation \\d+\\) for rank 2 \\(pid \\d+ on \\S+\\), which has not called it: ' +
      'it computes, stands still or cannot be reached; rank 1 waits too$';
    expect(stderr.match(message(0, why))).toHaveLength(1);
    expect(stderr.match(/ends all ranks/g)).toHaveLength(1);
  });

  test('a rank that does not call init', async () => {
    const { left, stderr } = await mpiexec(2, 'fault.ts', { args: ['before init', '1'] });
    expect(left).toEqual([]);
    expect(stderr.match(message(0, 'waited 1 s in MPI_Init for a rank that has not called it or cannot be reached$'))).toHaveLength(1);
  });

  test('Ctrl-C on mpiexec reaches all ranks, which agree on a step at which they save', async () => {
    const { code, stdout, stderr } = await fail('none', 2, 30, (child) => child.kill('SIGINT'));
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toMatch(/^ready\n[^]*\nrank 0 saves\n$/);
  });

  test('mpiexec that is killed leaves no process', async () => {
    const { code, left, ms } = await mpiexec(2, 'fault.ts', { args: ['none'], ready: (child) => child.kill('SIGKILL') });
    expect({ code, left }).toEqual({ code: null, left: [] });
    expect(ms).toBeLessThan(10_000);
  });
});

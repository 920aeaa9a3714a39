import Module from 'node:module';
import { noGrad, ones, tensor, zeros } from 'chainrule';
import { init, type Koffi } from 'chainrule/distributed';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { launchOf } from '../../src/distributed/launcher.ts';
import { refuses } from '../support/refuses.ts';
import { ArgumentError, DTypeError, DistributedError, InPlaceError, ShapeError } from '../../src/core/errors.ts';
import { alone, hasMpi } from './support.ts';

afterEach(() => vi.unstubAllEnvs());

describe('launchers', () => {
  const launch = (env: Readonly<Record<string, string>>): unknown => launchOf((name) => env[name]);

  test.each([
    ['alone', {}, null],
    ['mpiexec of MPICH', { PMI_RANK: '1', PMI_SIZE: '2' }, { launcher: 'mpiexec', size: 2, rank: 1, family: 'MPICH' }],
    [
      'srun --mpi=pmi2',
      { PMI_RANK: '3', PMI_SIZE: '4', SLURM_STEP_NUM_TASKS: '4', SLURM_PROCID: '3' },
      { launcher: 'srun --mpi=pmi2', size: 4, rank: 3, family: 'MPICH' },
    ],
    [
      'mpiexec inside srun --pty',
      { PMI_RANK: '1', PMI_SIZE: '2', SLURM_STEP_NUM_TASKS: '1' },
      { launcher: 'mpiexec', size: 2, rank: 1, family: 'MPICH' },
    ],
    [
      'mpiexec of Open MPI',
      { OMPI_COMM_WORLD_RANK: '1', OMPI_COMM_WORLD_SIZE: '2', PMIX_RANK: '1' },
      { launcher: "Open MPI's mpiexec", size: 2, rank: 1, family: 'Open MPI' },
    ],
    [
      'srun --mpi=pmix',
      { PMIX_RANK: '1', SLURM_STEP_NUM_TASKS: '2' },
      { launcher: 'a launcher with PMIx', size: 2, rank: 1, family: null },
    ],
    [
      'srun without MPI',
      { SLURM_STEP_NUM_TASKS: '2', SLURM_PROCID: '1' },
      { launcher: 'srun without --mpi', size: 2, rank: 1, family: null },
    ],
    ['a batch script of Slurm', { SLURM_NTASKS: '4', SLURM_PROCID: '0' }, null],
    ['srun --pty', { SLURM_STEP_NUM_TASKS: '1', SLURM_PROCID: '0' }, null],
  ])('%s', (_, env, expected) => {
    expect(launch(env as Readonly<Record<string, string>>)).toEqual(expected);
  });
});

describe('what is missing', () => {
  function thrown(): unknown {
    try {
      return init();
    } catch (error) {
      return error;
    }
  }

  test('koffi: the error has the command that installs it', () => {
    vi.stubEnv('PMI_SIZE', '2');
    const resolve = vi
      .spyOn(Module as unknown as { _resolveFilename(name: string): string }, '_resolveFilename')
      .mockImplementation((name) => {
        throw Object.assign(new Error(`Cannot find module '${name}'`), { code: 'MODULE_NOT_FOUND' });
      });
    const error = thrown();
    resolve.mockRestore();
    expect(error).toBeInstanceOf(DistributedError);
    expect((error as Error).message).toBe(
      'init: MPI is called through the package koffi, which cannot be loaded (MODULE_NOT_FOUND); npm install koffi, or give { koffi } where it ' +
        'is installed elsewhere, or start Node ≥ 26.1 with --experimental-ffi',
    );
  });

  /** A koffi that finds no library. */
  const koffi: Koffi = {
    config: () => ({}),
    address: () => 0n,
    load: () => {
      throw new Error('no such file');
    },
  };

  test('the library: all names are tried, those of the launcher first', () => {
    vi.stubEnv('PMI_SIZE', '2');
    refuses(
      () => init({ koffi }),
      DistributedError,
      'init: mpiexec started this process, but no MPI library can be loaded: libmpi_abi.so.0 (no such file), libmpich.so.12 (no such file), ' +
        'libmpi.so.40 (no such file); apt-get install mpich, or let CHAINRULE_MPI name the file',
    );
    vi.stubEnv('OMPI_COMM_WORLD_SIZE', '2');
    expect(() => init({ koffi })).toThrow(/libmpi\.so\.40 .*libmpi_abi\.so\.0 .*libmpich\.so\.12/);
    vi.stubEnv('CHAINRULE_MPI', '/opt/libmpi.so');
    refuses(
      () => init({ koffi }),
      DistributedError,
      "init: Open MPI's mpiexec started this process, but no MPI library can be loaded: /opt/libmpi.so (no such file); CHAINRULE_MPI must name an " +
        'MPI library',
    );
  });

  test.skipIf(!hasMpi)('processes that a launcher of another MPI has started', async () => {
    const env = { OMPI_COMM_WORLD_SIZE: '2', OMPI_COMM_WORLD_RANK: '0', CHAINRULE_MPI: 'libmpich.so.12' };
    const { code, stderr } = await alone('fault.ts', { env });
    expect(code).not.toBe(0);
    expect(stderr).toMatch(
      /DistributedError: init: Open MPI's mpiexec started 2 processes, but for libmpich\.so\.12 \(MPICH .*\) there is 1: the launcher belongs to another MPI\. Start them with the mpiexec of this library/,
    );
  });
});

describe('a group of one', () => {
  const group = init();

  test('needs neither MPI nor koffi, and computes what one rank does', () => {
    expect([group.rank, group.size, group.members.length, group.members[0]!.pid]).toEqual([0, 1, 1, process.pid]);
    const t = tensor([1, 2]);
    expect(group.allReduce(t)).toBe(t);
    expect(group.startAllReduce(t, { op: 'mean' }).done).toBe(true);
    expect(group.broadcast(t).toArray()).toEqual([1, 2]);
    expect(group.allGather(t).toArray()).toEqual([[1, 2]]);
    expect(group.reduceShards([tensor([1, 2]), tensor([3, 4])], t, { op: 'mean' }).toArray()).toEqual([2, 3]);
    const bytes = Uint8Array.of(1, 2);
    expect([group.broadcastBytes(bytes), ...group.allGatherBytes(bytes)]).toEqual([bytes, bytes]);
    expect(group.broadcastBytes(bytes)).not.toBe(bytes);
    expect([group.any(true), group.any(false)]).toEqual([true, false]);
    group.barrier();
    group.poll();
  });

  test('throws and counts writes as several ranks do', () => {
    const w = tensor([1], { requiresGrad: true });
    expect(() => group.allReduce(w)).toThrow(InPlaceError);
    const y = w.square().sum();
    noGrad(() => group.allReduce(w));
    expect(() => y.backward()).toThrow(InPlaceError);
  });

  test('refuses what is wrong', () => {
    refuses(() => group.allReduce([1] as never), ArgumentError, 'allReduce: t must be a tensor, got an array');
    refuses(() => group.broadcastBytes('x' as never), ArgumentError, 'broadcastBytes: expected a Uint8Array, got a string');
    refuses(() => group.any(1 as never), ArgumentError, 'any: flag must be true or false, got 1');
    refuses(() => init({ timeout: 0 }), ArgumentError, 'init: timeout must be a number > 0, got 0');
    const t = zeros([2]);
    const whole = tensor([1], { dtype: 'int32' });
    const flags = tensor([true]);
    refuses(() => group.allReduce(t, { op: 'prod' as never }), ArgumentError, "allReduce: op must be sum, mean, max, min, got 'prod'");
    refuses(() => group.broadcast(t, { from: 1 }), ArgumentError, 'broadcast: from must be a rank from 0 to 0, got 1');
    refuses(() => group.reduceShards([], t), ArgumentError, 'reduceShards: expected at least one shard');
    refuses(
      () => group.allReduce(whole, { op: 'mean' }),
      DTypeError,
      "allReduce: the mean of int32 is no int32; convert the tensor with .to('float32') first",
    );
    refuses(
      () => group.allReduce(flags),
      DTypeError,
      "allReduce: a sum of bool does not fit bool; convert the tensor with .to('int32') first",
    );
    refuses(() => group.reduceShards([whole], whole), DTypeError, 'reduceShards: into must be float32 or float64, got int32');
    const shard = ones([3]);
    refuses(() => group.reduceShards([shard], t), ShapeError, 'reduceShards: shard 0 is float32 [3], into is float32 [2]');
    refuses(() => group.reduceShards(t as never, t), ArgumentError, 'reduceShards: expected an array of tensors, got one tensor');
  });

  test('ends', () => {
    const other = init();
    other.finalize();
    other.finalize();
    refuses(() => other.barrier(), DistributedError, 'barrier: the group is finalized');
  });
});

/**
 * What the environment says of the processes that were started together.
 */
import { DistributedError } from '../core/errors.ts';
import { environment, nodeModules } from '../platform/node.ts';

/** The family of MPI libraries whose start a launcher supports; null if any may. */
export type MpiFamily = 'MPICH' | 'Open MPI';

/** What a launcher has told this process. */
export interface Launch {
  /** How the processes were started, for messages. */
  readonly launcher: string;
  /** The number of processes that were started together; null if the launcher does not tell. */
  readonly size: number | null;
  /** The number of this process; 0 if the launcher does not tell. */
  readonly rank: number;
  /** The libraries that understand this launcher; null if that is not certain. */
  readonly family: MpiFamily | null;
}

/** Reads a variable of the environment. */
type Read = (name: string) => string | undefined;

/**
 * Returns how this process was started together with others; null if it was started alone.
 *
 * | launcher | what it sets |
 * |---|---|
 * | `mpiexec` of MPICH and its relatives (Intel MPI, MVAPICH), `srun --mpi=pmi2` | PMI_RANK, PMI_SIZE |
 * | `mpiexec -pmi-port` of MPICH | PMI_ID, and PMI_PORT |
 * | `mpiexec` of Open MPI | OMPI_COMM_WORLD_RANK, OMPI_COMM_WORLD_SIZE |
 * | `srun --mpi=pmix` | PMIX_RANK, and SLURM_STEP_NUM_TASKS |
 * | `srun` without MPI | SLURM_STEP_NUM_TASKS alone |
 */
export function launchOf(read: Read = environment): Launch | null {
  const ompi = count(read('OMPI_COMM_WORLD_SIZE'));
  if (ompi !== null) return { launcher: "Open MPI's mpiexec", size: ompi, rank: number(read('OMPI_COMM_WORLD_RANK')), family: 'Open MPI' };
  const pmi = count(read('PMI_SIZE'));
  const tasks = count(read('SLURM_STEP_NUM_TASKS'));
  // A launcher inside a step of Slurm sets its own variables beside those of the step.
  if (pmi !== null)
    return { launcher: pmi === tasks ? 'srun --mpi=pmi2' : 'mpiexec', size: pmi, rank: number(read('PMI_RANK')), family: 'MPICH' };
  const id = read('PMI_ID');
  if (id !== undefined && read('PMI_PORT') !== undefined)
    return { launcher: 'mpiexec -pmi-port', size: null, rank: number(id), family: 'MPICH' };
  const pmix = read('PMIX_RANK');
  if (pmix !== undefined) return { launcher: 'a launcher with PMIx', size: tasks, rank: number(pmix), family: null };
  if (tasks !== null && tasks > 1) return { launcher: 'srun without --mpi', size: tasks, rank: number(read('SLURM_PROCID')), family: null };
  return null;
}

/**
 * Throws if the connection to MPICH's mpiexec was lost on the way to this process: npm and other programs close what they inherit. MPI_Init would
 * end the process with a message that says nothing of it.
 *
 * Throws: DistributedError
 */
export function checkConnection(read: Read = environment): void {
  const text = read('PMI_FD');
  const load = nodeModules();
  if (text === undefined || load === undefined || isSocket(load('node:fs'), Number(text))) return;
  throw new DistributedError(
    `init: the connection to mpiexec (PMI_FD ${text}) was closed by the program that started this one, as npm does; ` +
      'start it with mpiexec -pmi-port, or let mpiexec start node itself',
  );
}

function isSocket(fs: typeof import('node:fs'), descriptor: number): boolean {
  try {
    return fs.fstatSync(descriptor).isSocket();
  } catch {
    // There is no such descriptor.
    return false;
  }
}

function number(text: string | undefined): number {
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : 0;
}

function count(text: string | undefined): number | null {
  return text !== undefined && /^[1-9]\d*$/.test(text) ? Number(text) : null;
}

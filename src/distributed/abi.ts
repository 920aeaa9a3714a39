/**
 * The binary interfaces of MPI libraries: the names of their files, and the values of the few constants that are used.
 *
 * MPICH and its relatives have 32-bit handles with fixed values. Open MPI's handles are addresses of its variables. The MPI 5.0 standard
 * (chapter 20) fixes small numbers of the width of an address.
 */
import { DistributedError } from '../core/errors.ts';
import { environment } from '../platform/node.ts';
import type { Launch } from './launcher.ts';
import type { NativeCalls, NativeLibrary, NativeType } from './native.ts';

/** The constants of one binary interface. */
export interface Abi {
  readonly name: 'MPI 5 ABI' | 'MPICH' | 'Open MPI';
  /** The type in which handles are passed. */
  readonly handle: NativeType;
  /** MPI_COMM_WORLD. */
  readonly world: number | bigint;
  /** MPI_BYTE. */
  readonly byte: number | bigint;
  /** MPI_ERRORS_RETURN. */
  readonly errorsReturn: number | bigint;
  /** MPI_THREAD_FUNNELED. */
  readonly funneled: number;
}

/** A library with its interface. */
export interface MpiLibrary {
  readonly file: string;
  readonly library: NativeLibrary;
  readonly abi: Abi;
}

const MPICH: Abi = { name: 'MPICH', handle: 'int32', world: 0x44000000, byte: 0x4c00010d, errorsReturn: 0x54000001, funneled: 1 };
const STANDARD: Abi = { name: 'MPI 5 ABI', handle: 'word', world: 0x101, byte: 0x247, errorsReturn: 0x142, funneled: 1024 };

/** Files in the order in which they are tried. */
const FILES = ['libmpi_abi.so.0', 'libmpich.so.12', 'libmpi.so.40'] as const;
const OPEN_MPI = 'libmpi.so.40';

/** The variable of the environment that names another file. */
export const LIBRARY_VARIABLE = 'CHAINRULE_MPI';

/**
 * Loads the MPI library: the file that CHAINRULE_MPI names, else the first of libmpi_abi.so.0, libmpich.so.12 and libmpi.so.40 that is
 * installed. Processes that Open MPI's mpiexec has started try libmpi.so.40 first: under a launcher of another family each would be alone.
 *
 * Throws: DistributedError if none can be loaded
 */
export function loadMpi(op: string, native: NativeCalls, launch: Launch): MpiLibrary {
  const named = environment(LIBRARY_VARIABLE) ?? '';
  const problems: string[] = [];
  for (const file of named === '' ? filesFor(launch) : [named]) {
    try {
      const library = native.load(file);
      return { file, library, abi: abiOf(file, library) };
    } catch (error) {
      problems.push(`${file} (${error instanceof Error ? error.message : String(error)})`);
    }
  }
  const remedy =
    named === '' ? `apt-get install mpich, or let ${LIBRARY_VARIABLE} name the file` : `${LIBRARY_VARIABLE} must name an MPI library`;
  throw new DistributedError(
    `${op}: ${launch.launcher} started this process, but no MPI library can be loaded: ${problems.join(', ')}; ${remedy}`,
  );
}

function filesFor({ family }: Launch): readonly string[] {
  return family === 'Open MPI' ? [OPEN_MPI, ...FILES.filter((file) => file !== OPEN_MPI)] : FILES;
}

function abiOf(file: string, library: NativeLibrary): Abi {
  const world = library.symbol('ompi_mpi_comm_world');
  const byte = library.symbol('ompi_mpi_byte');
  const errorsReturn = library.symbol('ompi_mpi_errors_return');
  if (world !== null && byte !== null && errorsReturn !== null)
    return { name: 'Open MPI', handle: 'word', world, byte, errorsReturn, funneled: 1 };
  return /mpi_abi[^/]*$/.test(file) ? STANDARD : MPICH;
}

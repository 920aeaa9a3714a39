/**
 * Connects the processes that were started together.
 */
import { getNumThreads, setNumThreads } from '../autograd/index.ts';
import { DistributedError } from '../core/errors.ts';
import { checkOptions, checkRange } from '../core/options.ts';
import { isShared } from '../kernels/memory/wasm-memory.ts';
import { availableCpus } from '../platform/cpus.ts';
import { environment, nodeModules, setEnvironmentDefault } from '../platform/node.ts';
import { LIBRARY_VARIABLE, loadMpi } from './abi.ts';
import { Collectives } from './collectives.ts';
import { Faults } from './faults.ts';
import { ProcessGroup, type Group } from './group.ts';
import { checkConnection, launchOf, type Launch } from './launcher.ts';
import { Mpi } from './mpi.ts';
import { nativeCalls, type Koffi, type NativeCalls } from './native.ts';
import { Overdue } from './overdue.ts';
import { Runner } from './runner.ts';
import { memberText, type Member } from './members.ts';
import { sleep } from './sleep.ts';
import { Operation } from './steps.ts';
import { withWatchdog } from './watchdog.ts';

/** Options of init. */
export interface InitOptions {
  /** Seconds that a rank waits for the others in every operation before it ends all. Default 60. */
  readonly timeout?: number;
  /** Seconds that a rank waits in init for the others, which may start later. Default: as timeout, but at least 60. */
  readonly startTimeout?: number;
  /** The default export of the package koffi. Default: the one that is installed beside this library. */
  readonly koffi?: Koffi;
}

/** A launch, and the milliseconds for which a rank waits until all others have called init. */
interface Start extends Launch {
  readonly startLimit: number;
}

const checkSeconds = checkRange('> 0', (seconds) => seconds > 0);

/** What a process tells the others about itself. */
interface Identity {
  readonly host: string;
  readonly pid: number;
  /** The processors that it may use. */
  readonly cpus: string;
}

/** Variables of the environment for UCX, a layer below MPICH and Open MPI. Those that are set already stay. */
const SETTINGS = {
  // It would catch SIGSEGV, through which V8 detects accesses outside a WebAssembly memory.
  UCX_ERROR_SIGNALS: '',
  // It would rewrite the code of mmap and munmap while other threads of Node execute it, and crash the process now and then.
  UCX_MEM_MMAP_HOOK_MODE: 'none',
} as const;

/**
 * Milliseconds between the end of the last operation and MPI_Finalize, so that no rank begins that while another still polls for the operation.
 *
 * Over TCP, UCX asks each peer at the end to acknowledge what it has received, and MPICH 4.0 then waits without progress. A rank that has
 * acknowledged while it polls, before it asks itself, would never get an answer: 17 of 100 runs ended so.
 */
const APART_MS = 200;

let connected: ProcessGroup | null = null;

/**
 * Returns the group of the processes that `mpiexec` or `srun` has started together. A process that was started alone is a group of one,
 * which needs neither MPI nor koffi; so the same program runs anywhere.
 *
 * Several processes need an MPI library (`apt-get install mpich`) and the package koffi (`npm install koffi`), or Node ≥ 26.1 with
 * `--experimental-ffi`. The library is libmpi_abi.so.0 (MPI 5), libmpich.so.12 or Open MPI's libmpi.so.40, or the file that CHAINRULE_MPI
 * names. Blocks until all processes have called it.
 *
 * Ranks that share the processors of a machine divide them: unless CHAINRULE_THREADS is set, each computes on its share of the threads.
 *
 * A rank that throws an error which nothing catches, ends early, or keeps others waiting for too long ends all ranks, with a
 * message that names it. To let the process end by itself at its last line, with exit code 0, is right: it then finalizes.
 *
 * Throws: DistributedError if the library or koffi is missing, or if the launcher belongs to another MPI than the library, so that each
 *         process would be alone; if called again in a process of several ranks
 */
export function init(options: InitOptions = {}): Group {
  checkOptions('init', options, ['timeout', 'startTimeout', 'koffi']);
  const { timeout = 60, koffi = null } = options;
  checkSeconds('init', 'timeout', timeout);
  const { startTimeout = Math.max(timeout, 60) } = options;
  checkSeconds('init', 'startTimeout', startTimeout);
  const launch = launchOf();
  if (launch === null || launch.size === 1) return new ProcessGroup(0, [{ rank: 0, ...identity() }], null);
  if (connected !== null) throw new DistributedError('init: this process has its group already; hand it on');
  connected = connect({ ...launch, startLimit: startTimeout * 1000 }, timeout, koffi);
  return connected;
}

function identity(): Identity {
  const load = nodeModules();
  if (load === undefined) return { host: 'localhost', pid: 0, cpus: '' };
  let cpus = '';
  try {
    cpus = /^Cpus_allowed_list:\s*(.*)$/m.exec(load('node:fs').readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '';
  } catch {
    // Without /proc, all processes of a machine count as sharing its processors.
  }
  return { host: load('node:os').hostname(), pid: process.pid, cpus };
}

function connect(launch: Start, timeout: number, koffi: Koffi | null): ProcessGroup {
  const native = nativeCalls('init', koffi);
  for (const [name, value] of Object.entries(SETTINGS)) setEnvironmentDefault(name, value);
  const self = identity();
  const limit = timeout * 1000;
  const library = loadMpi('init', native, launch);
  checkConnection();
  const mpi = withWatchdog(...watched(launch, self, limit, 'MPI_Init'), () => new Mpi(native, library));
  checkSize(launch, mpi);
  const faults = new Faults(mpi, { rank: mpi.rank, host: self.host, pid: self.pid });
  const overdue = new Overdue(mpi, faults, limit);
  const runner = new Runner(mpi, overdue);
  const collectives = new Collectives(mpi);
  const text = JSON.stringify(self);
  const texts = runner.wait(runner.start(new Operation('init', collectives.gatherBytes(new TextEncoder().encode(text)))));
  const identities = texts.map((bytes) => JSON.parse(new TextDecoder().decode(bytes)) as Identity);
  const members: Member[] = identities.map(({ host, pid }, rank) => ({ rank, host, pid }));
  overdue.members = members;
  const sharing = identities.filter(({ host, cpus }) => host === self.host && cpus === self.cpus).length;
  runner.sharesProcessors = sharing > availableCpus();
  if ((environment('CHAINRULE_THREADS') ?? '') === '') {
    setNumThreads(Math.max(1, Math.floor(getNumThreads() / sharing)));
  }
  const end = (): void => {
    withWatchdog(...watched(launch, self, limit, 'MPI_Finalize'), () => {
      sleep(APART_MS);
      mpi.finalize();
    });
    faults.over();
  };
  const group = new ProcessGroup(mpi.rank, members, { collectives, runner, keepsMemory: isShared, end });
  faults.watch(() => group.finalize());
  if (mpi.abi.name === 'Open MPI') exitWithoutCleanUp(native);
  return group;
}

/** Ends the process by `_exit` after all listeners: Open MPI 4.1 crashes when the process cleans up behind it. */
function exitWithoutCleanUp(native: NativeCalls): void {
  const exit = native.load('libc.so.6').function('_exit', ['int32']);
  const last = (code: number): void => {
    const listeners = process.listeners('exit');
    for (const later of listeners.slice(listeners.indexOf(last) + 1)) later(code);
    exit(code);
  };
  process.on('exit', last);
}

/** Returns the time and the message for a blocking call. Higher ranks wait a little longer, so that one of them reports. */
function watched(
  { rank, startLimit }: Start,
  { host, pid }: Identity,
  timeLimit: number,
  call: 'MPI_Init' | 'MPI_Finalize',
): [ms: number, text: string] {
  const limit = call === 'MPI_Init' ? startLimit : timeLimit;
  const who = memberText({ rank, host, pid });
  const text = `chainrule: ${who} ends all ranks: waited ${limit / 1000} s in ${call} for a rank that has not called it or cannot be reached\n`;
  return [limit + Math.min(500 * rank, 5000), text];
}

/** Throws if the processes do not find each other. */
function checkSize({ launcher, size }: Launch, mpi: Mpi): void {
  if (size === null || size === mpi.size) return;
  throw new DistributedError(
    `init: ${launcher} started ${size} processes, but for ${mpi.file} (${mpi.version}) there ${mpi.size === 1 ? 'is 1' : `are ${mpi.size}`}: ` +
      `the launcher belongs to another MPI. Start them with the mpiexec of this library, or with srun --mpi=pmi2, or let ${LIBRARY_VARIABLE} ` +
      'name the library of this launcher',
  );
}

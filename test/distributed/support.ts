/**
 * Runs programs on several ranks.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { compileProgram } from '../support/compile-program.ts';

const programs = fileURLToPath(new URL('./programs', import.meta.url));

/** Whether mpiexec of MPICH is installed. */
export const hasMpi = isHydra();

function isHydra(): boolean {
  const { error, stdout } = spawnSync('mpiexec', ['--version'], { encoding: 'utf8' });
  return error === undefined && stdout.includes('HYDRA');
}

/** What a run gave. */
export interface Run {
  /** The exit code; null if a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Milliseconds from the first line of output, or if there is none from the start, to the end. */
  readonly ms: number;
  /** The processes of the run that are left. */
  readonly left: readonly string[];
}

/** How a program is run. */
export interface RunOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly args?: readonly string[];
  /** Is called with the child when the first line of output has arrived. */
  readonly ready?: (child: ChildProcess) => void;
}

/** The command that runs test/distributed/programs/`program`. */
export async function command(program: string, args: readonly string[] = []): Promise<string[]> {
  return [process.execPath, await compileProgram(`${programs}/${program}`), ...args];
}

/** Runs a program on `n` ranks. */
export async function mpiexec(n: number, program: string, options: RunOptions = {}): Promise<Run> {
  return execute(['mpiexec', '-n', String(n), ...(await command(program, options.args))], options);
}

/** Runs a program alone. */
export async function alone(program: string, options: RunOptions = {}): Promise<Run> {
  return execute(await command(program, options.args), options);
}

/** Runs a command. Kills it after two minutes, which fails the test that called. */
export async function execute([file, ...args]: readonly string[], { env = {}, ready }: RunOptions): Promise<Run> {
  // Inherited by all processes of the run, also by those that outlive the launcher.
  const mark = `${process.pid}-${runs++}`;
  const child = spawn(file!, args, { env: { ...process.env, ...env, CHAINRULE_TEST_RUN: mark }, stdio: ['ignore', 'pipe', 'pipe'] });
  let began = performance.now();
  let [stdout, stderr] = ['', ''];
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    if (stdout === '') {
      began = performance.now();
      ready?.(child);
    }
    stdout += text;
  });
  const deadline = setTimeout(() => child.kill('SIGKILL'), 120_000);
  const code = await new Promise<number | null>((resolve, reject) => child.on('error', reject).on('close', resolve));
  clearTimeout(deadline);
  const ms = performance.now() - began;
  // Processes that were killed take a moment to end.
  let left = processesWith(`CHAINRULE_TEST_RUN=${mark}`);
  for (let waits = 0; left.length > 0 && waits < 100; waits++) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    left = processesWith(`CHAINRULE_TEST_RUN=${mark}`);
  }
  return { code, stdout, stderr, ms, left };
}

let runs = 0;

/** Returns the commands of the processes that have a text in their environment. */
function processesWith(text: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(text)
          ? [readFileSync(`/proc/${pid}/cmdline`, 'utf8')]
          : [];
      } catch {
        // It has ended meanwhile.
        return [];
      }
    });
}

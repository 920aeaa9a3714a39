/**
 * Runs programs on several ranks.
 */
import { spawn, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const programs = fileURLToPath(new URL('./programs', import.meta.url));

/** Whether mpiexec of MPICH is installed. */
export const hasMpi = isHydra();

function isHydra(): boolean {
  const { error, stdout } = spawnSync('mpiexec', ['--version'], { encoding: 'utf8' });
  return error === undefined && stdout.includes('HYDRA');
}

/** What a run gave. */
export interface Run {
  /** The exit code of mpiexec; null if a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Seconds from the start to the end. */
  readonly seconds: number;
}

/** Runs test/distributed/programs/`program` on `n` ranks. Kills all after a minute, which fails the test that called. */
export async function mpiexec(n: number, program: string, env: NodeJS.ProcessEnv = {}, args: readonly string[] = []): Promise<Run> {
  return execute('mpiexec', ['-n', String(n), process.execPath, '--import', 'tsx', `${programs}/${program}`, ...args], env);
}

/** Runs test/distributed/programs/`program` alone. */
export async function alone(program: string, env: NodeJS.ProcessEnv = {}, args: readonly string[] = []): Promise<Run> {
  return execute(process.execPath, ['--import', 'tsx', `${programs}/${program}`, ...args], env);
}

async function execute(command: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<Run> {
  const began = performance.now();
  const child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const deadline = setTimeout(() => child.kill('SIGKILL'), 60_000);
  const code = await new Promise<number | null>((resolve, reject) => child.on('error', reject).on('close', resolve));
  clearTimeout(deadline);
  return { code, stdout, stderr, seconds: (performance.now() - began) / 1000 };
}

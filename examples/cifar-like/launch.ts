/**
 * Starts a command. It loads the command itself, because the library fails to load if an environment variable has a wrong value.
 */
import { systemProblem } from './errors.ts';
import { outputSettled } from './stop.ts';
import { printable } from './text.ts';

type Command = (args: readonly string[]) => Promise<number>;

/** Runs the command that `load` returns, with the arguments of this process, and sets the exit code. */
export async function launch(load: () => Promise<Command>): Promise<void> {
  let problem: string | null = null;
  process.stdout.on('error', (error) => {
    problem ??= systemProblem(error) ?? error.message;
  });
  // Nothing is left to report it on. The exit code stays that of the command.
  process.stderr.on('error', () => {});
  const command = await loaded(load);
  process.exitCode = command === null ? 1 : await command(process.argv.slice(2));
  await outputSettled();
  // A command that a full disk or a closed pipe has stopped has said so already.
  if (problem === null || process.exitCode !== 0) return;
  console.error(`error: standard output: cannot write (${problem})`);
  process.exitCode = 1;
}

/** Returns null, after printing the reason, if an environment variable keeps the library from loading. */
async function loaded(load: () => Promise<Command>): Promise<Command | null> {
  try {
    return await load();
  } catch (error) {
    if (!(error instanceof Error && error.message.startsWith('CHAINRULE_'))) throw error;
    console.error(`error: ${printable(error.message)}`);
    return null;
  }
}

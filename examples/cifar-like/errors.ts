/**
 * Errors of the commands in this folder. Each has a one-line message for the user and leads to an exit code.
 */
import { printable } from './text.ts';

/** An option is missing, unknown or has a bad value; exit code 2. */
export class UsageError extends Error {}

/** A run cannot start or continue; exit code 1. */
export class RunError extends Error {}

/** Returns what the operating system reported, such as `ENOSPC: no space left on device`; null for any other error. */
export function systemProblem(error: unknown): string | null {
  if (!(error instanceof Error) || !('syscall' in error)) return null;
  // The rest of Node's message is the call and the path.
  return error.message.split(', ', 1)[0]!;
}

/**
 * Returns what `fn` returns.
 *
 * Throws: RunError `path: cannot <action> (<problem>); <remedy>` if the operating system refuses a call
 */
export function withFile<T>(path: string, action: string, remedy: string, fn: () => T): T {
  try {
    return fn();
  } catch (error) {
    const problem = systemProblem(error);
    if (problem === null) throw error;
    throw new RunError(`${path}: cannot ${action} (${problem}); ${remedy}`, { cause: error });
  }
}

/** Classes of the library that a command needs to report errors. They are passed in, because the library may fail to load. */
interface LibraryErrors {
  readonly ChainruleError: new (message: string) => Error;
  /** Errors whose message is a report of several lines. */
  readonly reports: readonly (new (
    message: string,
  ) => Error)[];
}

/**
 * Prints an error that is meant for the user and returns the exit code. Throws any other error, which is a bug.
 *
 * One error takes one line, whatever is in its message. Only reports, such as that of detectAnomaly, have several.
 */
export function report(error: unknown, { ChainruleError, reports }: LibraryErrors): number {
  const expected = [UsageError, RunError, ChainruleError];
  if (systemProblem(error) === null && !expected.some((type) => error instanceof type)) throw error;
  const { message } = error as Error;
  const lines = reports.some((type) => error instanceof type) ? message.split('\n') : [message];
  console.error(`error: ${lines.map(printable).join('\n')}`);
  return error instanceof UsageError ? 2 : 1;
}

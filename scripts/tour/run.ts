/** Runs exercises in child processes and stops those that do not end. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { type Outcome, root } from './chapters.ts';

/** What the child sends. */
export type Message =
  | { readonly id: string; readonly started: true }
  | { readonly id: string; readonly started: false; readonly outcome: Outcome };

/** How exercises run. */
export interface RunOptions {
  /** The folder of each chapter that holds the reader's files. */
  readonly where: string;
  /** Seconds that one exercise may take. */
  readonly limit: number;
  /** Whether the terminal shows what the reader's code prints. */
  readonly prints: boolean;
  /** The file of an exercise, for exercises that were stopped. */
  readonly fileOf: (id: string) => string;
}

/** The outcomes of the exercises, by their "chapter.exercise". */
export async function runExercises(ids: readonly string[], options: RunOptions): Promise<Map<string, Outcome>> {
  const outcomes = new Map<string, Outcome>();
  for (let left = ids; left.length > 0; left = ids.filter((id) => !outcomes.has(id))) {
    await runChild(left, options, outcomes);
  }
  return outcomes;
}

/** Runs one child until it ends or is stopped. Adds the outcome of at least one exercise, or throws. */
async function runChild(ids: readonly string[], options: RunOptions, outcomes: Map<string, Outcome>): Promise<void> {
  const { where, limit, prints, fileOf } = options;
  const child = fork(fileURLToPath(new URL('child.ts', import.meta.url)), [where, ...ids], {
    cwd: root,
    execArgv: ['--import', 'tsx'],
    stdio: ['ignore', prints ? 'inherit' : 'ignore', prints ? 'inherit' : 'pipe', 'ipc'],
  });
  let errors = '';
  child.stderr?.on('data', (text: Buffer) => (errors += text.toString()));
  let current: string | null = null;
  let timer: NodeJS.Timeout | undefined;
  const stopped = (id: string, message: string): void => {
    outcomes.set(id, { state: 'wrong', file: fileOf(id), message });
  };
  child.on('message', (message: Message) => {
    clearTimeout(timer);
    current = message.started ? message.id : null;
    if (!message.started) {
      outcomes.set(message.id, message.outcome);
      return;
    }
    timer = setTimeout(() => {
      stopped(message.id, `stopped after ${limit} s: look for a loop that does not end, or for work that grows with every node`);
      child.kill('SIGKILL');
    }, limit * 1000);
  });
  // Messages may arrive after 'exit', and none after 'disconnect'.
  const [[status]] = (await Promise.all([once(child, 'exit'), once(child, 'disconnect')])) as [[number | null], unknown];
  clearTimeout(timer);
  if (current !== null && !outcomes.has(current)) stopped(current, `the code ended the process with status ${status}`);
  if (ids.some((id) => outcomes.has(id))) return;
  throw new Error(`the exercises could not be run: the process ended with status ${status}\n${errors}`);
}

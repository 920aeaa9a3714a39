/**
 * The command `npm start`, from its arguments to its exit code.
 */
import { ChainruleError, detectAnomaly, setNumThreads } from 'chainrule';
import { chooseData, type Data } from './data.ts';
import { makeDisplay } from './display.ts';
import { RunError, UsageError } from './errors.ts';
import { runExperiment } from './experiment.ts';
import { type Command, flagOf, helpText, parseCommand, type Settings } from './options.ts';
import { writeReport } from './report/report.ts';
import { RunFolder } from './run-folder.ts';
import { textTable } from './table.ts';

/** Runs the command and returns its exit code: 0 finished, 1 cannot continue, 2 bad options, 130 stopped by Ctrl-C. */
export async function main(args: readonly string[]): Promise<number> {
  try {
    const command = parseCommand(args);
    if (command.kind === 'help') {
      console.log(helpText());
      return 0;
    }
    if (command.threads !== null) setNumThreads(command.threads);
    return await run(command);
  } catch (error) {
    if (error instanceof UsageError) return fail(error, 2);
    if (error instanceof RunError || error instanceof ChainruleError) return fail(error, 1);
    throw error;
  }
}

async function run(command: Exclude<Command, { kind: 'help' }>): Promise<number> {
  // Without the option, the environment variable CHAINRULE_ANOMALY decides.
  if (command.detectAnomaly) detectAnomaly(true);
  try {
    return command.kind === 'resume' ? await resume(command) : await start(command);
  } finally {
    if (command.detectAnomaly) detectAnomaly(false);
  }
}

function fail({ message }: Error, code: number): number {
  console.error(`error: ${message}`);
  return code;
}

/** Starts a new run. Data is loaded before the folder is made, so that a run without data leaves no folder behind. */
async function start({ dir: requested, settings }: Extract<Command, { kind: 'new' }>): Promise<number> {
  const dir = requested ?? RunFolder.nextFree(`runs/${settings.model}-${settings.data}-seed${settings.seed}`);
  RunFolder.checkNew(dir);
  const data = chooseData(settings);
  return runIn(RunFolder.create(dir, settings), data);
}

/** Continues a run. Options given again must equal those in its config.json. */
async function resume({ dir, given, out }: Extract<Command, { kind: 'resume' }>): Promise<number> {
  const folder = RunFolder.open(dir);
  for (const key of Object.keys(given) as (keyof Settings)[]) {
    const stored = folder.settings[key];
    const value = given[key];
    if (value === stored) continue;
    throw new UsageError(
      `${flagOf(key)}: expected ${String(stored)}, as in ${folder.path('config.json')}, got ${String(value)}; leave it out to go on`,
    );
  }
  if (out !== null && out !== dir) throw new UsageError(`--out: expected ${dir}, the folder to resume, got ${out}; leave --out out`);
  return runIn(folder, chooseData(folder.settings));
}

async function runIn(folder: RunFolder, data: Data): Promise<number> {
  const display = makeDisplay(process.stdout);
  let stoppedAt: number | null = null;
  const stop = (): void => {
    // A second Ctrl-C exits at once; the last checkpoint is complete. Signals within a second count as one, as npm sends each twice.
    if (stoppedAt !== null && performance.now() - stoppedAt > 1000) process.exit(130);
    stoppedAt ??= performance.now();
  };
  process.on('SIGINT', stop);
  try {
    const results = await runExperiment(folder, data, display, () => stoppedAt !== null);
    if (results === null) {
      display.note(`Stopped and saved. Go on with: npm start -- --resume ${folder.dir}`);
      return 130;
    }
    const report = writeReport(folder, results, data);
    display.note(`\n${textTable(results)}\n\nReport: ${report}`);
    return 0;
  } finally {
    display.end();
    process.off('SIGINT', stop);
    folder.close();
  }
}

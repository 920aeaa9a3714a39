/**
 * The command `npm start`, from its arguments to its exit code.
 */
import { resolve as absolute } from 'node:path';
import { AnomalyError, ChainruleError, detectAnomaly, OutOfMemoryError, setNumThreads } from 'chainrule';
import { type Group, init } from 'chainrule/distributed';
import { chooseData, type Data, digestOf } from './data.ts';
import { makeDisplay } from './display.ts';
import { report, RunError, UsageError } from './errors.ts';
import { NOBODY, runExperiment } from './experiment.ts';
import { LiveView } from './live/view.ts';
import { checkTrainable } from './loop.ts';
import { checkNpm, type Command, flagOf, helpText, optionNames, parseCommand, type Settings } from './options.ts';
import { reportOf, writeReport } from './report/report.ts';
import { fromRank0, isShared, NO_DISPLAY, NoFiles, OtherRankError, together } from './ranks.ts';
import { resumeCommand, RunFolder } from './run-folder.ts';
import { outputSettled, StopRequest } from './stop.ts';
import { textTable } from './table.ts';
import { printable } from './text.ts';

/**
 * Runs the command and returns its exit code: 0 finished, 1 cannot continue, 2 bad options. A run that a signal stopped returns
 * the code of a shell: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP. Under mpiexec all ranks call it.
 */
export async function main(args: readonly string[]): Promise<number> {
  let group: Group | null = null;
  try {
    group = init();
    const code = await commandOn(group, args);
    group.finalize();
    return code;
  } catch (error) {
    const code =
      error instanceof OtherRankError ? error.code : report(error, { ChainruleError, reports: [AnomalyError, OutOfMemoryError] });
    // Any other error of one rank ends all: the group ends the others when this process does.
    if (isShared(error)) group?.finalize();
    return code;
  }
}

async function commandOn(group: Group, args: readonly string[]): Promise<number> {
  const command = together(group, () => {
    checkNpm('start', optionNames());
    return parseCommand(args);
  });
  if (command.kind === 'help') {
    if (group.rank === 0) console.log(helpText());
    return 0;
  }
  if (command.threads !== null) setNumThreads(command.threads);
  return run(group, command);
}

async function run(group: Group, command: Exclude<Command, { kind: 'help' }>): Promise<number> {
  // Without the option, the environment variable CHAINRULE_ANOMALY decides.
  if (command.detectAnomaly) detectAnomaly(true);
  try {
    return command.kind === 'resume' ? await resume(group, command) : await start(group, command);
  } finally {
    if (command.detectAnomaly) detectAnomaly(false);
  }
}

/** Starts a new run. Everything that depends on options is made before the folder, so that a run that cannot start leaves none. */
async function start(group: Group, { dir: requested, settings, live }: Extract<Command, { kind: 'new' }>): Promise<number> {
  const name = `runs/${settings.model}-${settings.data}-seed${settings.seed}`;
  const dir = fromRank0(group, () => {
    const free = requested ?? RunFolder.nextFree(name);
    RunFolder.checkNew(free);
    return free;
  });
  const data = together(group, () => {
    checkRanks(settings, group);
    const chosen = chooseData(settings);
    checkTrainable(settings, chosen);
    return chosen;
  });
  const folder = together(group, () => {
    const digest = digestOf(data, settings);
    if (group.rank > 0) return null;
    // Another run may have taken the free name since.
    return requested === null ? RunFolder.createFree(name, settings, digest) : RunFolder.create(dir, settings, digest);
  });
  return runIn(group, folder ?? new NoFiles(dir, settings), data, live);
}

/** Throws unless every rank has images in each step. */
function checkRanks({ batchSize }: Settings, { size }: Group): void {
  if (batchSize >= size) return;
  throw new UsageError(`--batch-size: expected at least one image for each of the ${size} ranks, got ${batchSize}; make it larger`);
}

/** Continues a run. Options given again must equal those in its config.json; only the folder of equal data may be another. */
async function resume(group: Group, { dir, given, out, live }: Extract<Command, { kind: 'resume' }>): Promise<number> {
  // The type is given like this, as TypeScript does not follow the assignment in the function below.
  let folder = null as RunFolder | null;
  try {
    const stored = fromRank0(group, () => {
      const opened = RunFolder.open(dir);
      folder = opened;
      checkGiven(opened, given, out);
      return opened.settings;
    });
    const settings = { ...stored, dataDir: given.dataDir ?? stored.dataDir };
    const data = together(group, () => {
      checkRanks(settings, group);
      const chosen = chooseData(settings);
      folder?.checkData(digestOf(chosen, settings));
      return chosen;
    });
    return await runIn(group, folder ?? new NoFiles(dir, stored), data, live);
  } finally {
    folder?.close();
  }
}

function checkGiven(folder: RunFolder, given: Partial<Settings>, out: string | null): void {
  const { dir, settings } = folder;
  for (const key of Object.keys(given) as (keyof Settings)[]) {
    const stored = settings[key];
    const value = given[key];
    const mayDiffer = key === 'dataDir' && folder.dataDigest !== null;
    if (value === stored || mayDiffer) continue;
    throw new UsageError(
      `${flagOf(key)}: expected ${String(stored)}, as in ${folder.path('config.json')}, got ${String(value)}; leave it out to go on`,
    );
  }
  if (out === null || absolute(out) === absolute(dir)) return;
  throw new UsageError(`--out: expected ${dir}, the folder to resume, got ${out}; leave --out out`);
}

/** Trains what the run has not finished, writes the report, and closes the folder. On ranks above 0, which have no files, it only trains. */
async function runIn(group: Group, files: RunFolder | NoFiles, data: Data, isLive: boolean): Promise<number> {
  return files instanceof RunFolder ? lead(group, files, data, isLive) : follow(group, files, data);
}

async function lead(group: Group, folder: RunFolder, data: Data, isLive: boolean): Promise<number> {
  const display = makeDisplay(process.stdout);
  const leave = (): void => {
    display.end();
    folder.close();
  };
  const stop = new StopRequest(leave);
  let live: LiveView | undefined;
  try {
    if (isLive) live = await LiveView.open(folder, data);
    if (live !== undefined) display.note(`Live: ${live.url}`);
    const results = await runExperiment(folder, data, display, stop.signal, live ?? NOBODY, group);
    if (results !== null) {
      const content = reportOf(folder, results, data);
      const path = writeReport(folder, content);
      await live?.finish(content);
      display.note(`\n${textTable(results)}\n\nReport: ${printable(path)}`);
    } else {
      const stopped = `Stopped and saved. Go on with: ${resumeCommand(folder.dir)}`;
      await live?.end(stopped);
      if (stop.outputProblem === null) display.note(stopped);
    }
    await outputSettled();
    if (stop.outputProblem !== null) throw outputError(stop.outputProblem, folder, results !== null);
    return results === null ? stop.code : 0;
  } finally {
    leave();
    await live?.end('The run has ended with an error, which the terminal shows.');
    stop.dispose();
  }
}

async function follow(group: Group, files: NoFiles, data: Data): Promise<number> {
  const stop = new StopRequest(() => {});
  try {
    const results = await runExperiment(files, data, NO_DISPLAY, stop.signal, NOBODY, group);
    return results === null ? stop.code : 0;
  } finally {
    stop.dispose();
  }
}

function outputError(problem: string, folder: RunFolder, isFinished: boolean): RunError {
  const state = isFinished
    ? `the run is finished, its report is in ${folder.dir}`
    : `stopped and saved, go on with ${resumeCommand(folder.dir)}`;
  return new RunError(`standard output: cannot write (${problem}); ${state}`);
}

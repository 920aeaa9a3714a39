/**
 * The command `npm run ablation`, from its arguments to its exit code.
 */
import { join } from 'node:path';
import { AnomalyError, ChainruleError, OutOfMemoryError, setNumThreads } from 'chainrule';
import { writeFileAtomic } from 'chainrule/io';
import { NonFiniteLossError } from 'chainrule/train';
import { chooseData, digestOf } from '../data.ts';
import { clock } from '../display.ts';
import { report, RunError } from '../errors.ts';
import { replacingFile } from '../folders.ts';
import { checkTrainable } from '../loop.ts';
import { measure } from '../measure.ts';
import { makeModel, type Net, titleOf } from '../model.ts';
import { outputSettled, StopRequest } from '../stop.ts';
import { printable } from '../text.ts';
import { helpText, type Plan, planOf, type Variant } from './plan.ts';
import { type Outcome, Results, settingsOf } from './results.ts';
import { chart, markdownTable } from './show.ts';

const GO_ON = 'repeat the command to train the cells that are missing';

/**
 * Trains the unfinished cells of the plan, and writes table and chart after each. Returns the exit code: 0 finished, 1 cannot
 * continue, 2 bad options, or that of a shell if a signal stopped it (130 for Ctrl-C).
 */
export async function ablate(args: readonly string[]): Promise<number> {
  try {
    const plan = planOf(args);
    if (plan === null) {
      console.log(helpText());
      return 0;
    }
    if (plan.threads !== null) setNumThreads(plan.threads);
    return await run(plan);
  } catch (error) {
    return report(error, { ChainruleError, reports: [AnomalyError, OutOfMemoryError] });
  }
}

async function run(plan: Plan): Promise<number> {
  // Before the folder is made, so that a plan that cannot start leaves none.
  const { settings } = plan.variants[0]!;
  const data = chooseData(settings);
  checkTrainable(settings, data);
  const results = new Results(plan.dir, digestOf(data, settings));
  const stop = new StopRequest(() => results.close());
  try {
    const isFinished = await runMissing(plan, results, stop.signal);
    if (isFinished) print(`\n${markdownTable(results.rows(plan), plan)}\n\n${write(plan, results).map(printable).join('\n')}`);
    else if (stop.outputProblem === null) print(`Stopped. Finished cells are kept; ${GO_ON}`);
    await outputSettled();
    if (stop.outputProblem === null) return isFinished ? 0 : stop.code;
    throw new RunError(`standard output: cannot write (${stop.outputProblem}); finished cells are kept in ${plan.dir}, ${GO_ON}`);
  } finally {
    results.close();
    stop.dispose();
  }
}

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

/**
 * Trains all variants with one seed, then with the next, so that a plan stopped early has compared all variants. Returns false if it
 * was stopped.
 */
async function runMissing(plan: Plan, results: Results, signal: AbortSignal): Promise<boolean> {
  const cells = plan.seeds.flatMap((seed) => plan.variants.map((variant) => ({ seed, variant })));
  for (const [i, { seed, variant }] of cells.entries()) {
    // Finished earlier. The standard net occurs once for every factor.
    if (results.get(variant, seed) !== undefined) continue;
    const start = performance.now();
    const outcome = await outcomeOf(variant, seed, signal);
    if (outcome === null) return false;
    results.add(variant, seed, outcome);
    write(plan, results);
    const result = 'testAccuracy' in outcome ? `${(100 * outcome.testAccuracy).toFixed(2)} %` : `diverged at step ${outcome.divergedAt}`;
    const name = `${variant.group}: ${variant.label}, seed ${seed}`;
    const seconds = (performance.now() - start) / 1000;
    print(`${i + 1}/${cells.length}  ${name}: ${result} in ${clock(seconds)}`);
  }
  return true;
}

/** Trains and tests the net of one cell; returns null if it was stopped. */
async function outcomeOf(variant: Variant, seed: number, signal: AbortSignal): Promise<Outcome | null> {
  const settings = settingsOf(variant, seed);
  const make = (inChannels: number): Net => makeModel(settings, variant.se, inChannels);
  try {
    return await measure(settings, make, signal);
  } catch (error) {
    // Some gates diverge at a learning rate that suits the others. That is a result as well.
    if (error instanceof NonFiniteLossError) return { divergedAt: error.step };
    throw error;
  }
}

/** Writes table and chart, and returns the paths of the files. */
function write(plan: Plan, results: Results): string[] {
  const rows = results.rows(plan);
  const { model, data, maxSteps, epochs } = plan.variants[0]!.settings;
  const length = maxSteps === null ? counted(epochs, 'epoch') : counted(maxSteps, 'step');
  const svg = chart(rows, `${titleOf(model, true)} on ${data}, ${length}`);
  const paths = [writeText(plan, 'ablation.md', `${markdownTable(rows, plan)}\n`)];
  if (svg !== null) paths.push(writeText(plan, 'ablation.svg', svg.text));
  return paths;
}

/** Returns a number with its unit: `1 epoch`, `300 steps`. */
function counted(n: number, unit: string): string {
  return `${n} ${unit}${n === 1 ? '' : 's'}`;
}

function writeText({ dir }: Plan, name: string, text: string): string {
  const path = join(dir, name);
  replacingFile(
    () => `finished cells are kept in ${dir}; put that right, and ${GO_ON}`,
    () => writeFileAtomic(path, new TextEncoder().encode(text)),
  );
  return path;
}

/**
 * The command `npm run ablation`, from its arguments to its exit code.
 */
import { join } from 'node:path';
import { ChainruleError, setNumThreads } from 'chainrule';
import { writeFileAtomic } from 'chainrule/io';
import { clock } from '../display.ts';
import { RunError, UsageError } from '../errors.ts';
import { NotFinite } from '../loop.ts';
import { measure } from '../measure.ts';
import { makeModel, titleOf } from '../model.ts';
import { helpText, type Plan, planOf, type Variant } from './plan.ts';
import { type Outcome, Results, settingsOf } from './results.ts';
import { chart, markdownTable } from './show.ts';

/**
 * Trains the unfinished cells of the plan, and writes table and chart after each. Returns the exit code: 0 finished, 1 cannot
 * continue, 2 bad options.
 */
export async function ablate(args: readonly string[]): Promise<number> {
  try {
    const plan = planOf(args);
    if (plan === null) {
      console.log(helpText());
      return 0;
    }
    if (plan.threads !== null) setNumThreads(plan.threads);
    const results = new Results(plan.dir);
    await runMissing(plan, results);
    const files = write(plan, results);
    console.log(`\n${markdownTable(results.rows(plan), plan)}\n\n${files.join('\n')}`);
    return 0;
  } catch (error) {
    if (!(error instanceof UsageError || error instanceof RunError || error instanceof ChainruleError)) throw error;
    console.error(`error: ${error.message}`);
    return error instanceof UsageError ? 2 : 1;
  }
}

/** Trains all variants with one seed, then with the next, so that a plan stopped early has compared all variants. */
async function runMissing(plan: Plan, results: Results): Promise<void> {
  const cells = plan.seeds.flatMap((seed) => plan.variants.map((variant) => ({ seed, variant })));
  for (const [i, { seed, variant }] of cells.entries()) {
    // Finished earlier. The standard net occurs once for every factor.
    if (results.get(variant, seed) !== undefined) continue;
    const start = performance.now();
    const outcome = await outcomeOf(variant, seed);
    results.add(variant, seed, outcome);
    write(plan, results);
    const result = 'testAccuracy' in outcome ? `${(100 * outcome.testAccuracy).toFixed(2)} %` : `diverged at step ${outcome.divergedAt}`;
    const name = `${variant.group}: ${variant.label}, seed ${seed}`;
    const seconds = (performance.now() - start) / 1000;
    console.log(`${i + 1}/${cells.length}  ${name}: ${result} in ${clock(seconds)}`);
  }
}

/** Trains and tests the net of one cell. */
async function outcomeOf(variant: Variant, seed: number): Promise<Outcome> {
  const settings = settingsOf(variant, seed);
  try {
    return await measure(settings, (inChannels) => makeModel(settings, variant.se, inChannels));
  } catch (error) {
    // Some gates diverge at a learning rate that suits the others. That is a result as well.
    if (error instanceof NotFinite) return { divergedAt: error.step };
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
  writeFileAtomic(path, new TextEncoder().encode(text));
  return path;
}

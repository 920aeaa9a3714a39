/**
 * The ablation, from its arguments to its exit code.
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

/** Runs what is missing of the plan, and writes table and chart after every cell. Returns 0 done, 1 cannot go on, 2 bad options. */
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

/** Seed by seed, so that a plan that is stopped has compared everything a few times. */
async function runMissing(plan: Plan, results: Results): Promise<void> {
  const cells = plan.seeds.flatMap((seed) => plan.variants.map((variant) => ({ seed, variant })));
  for (const [i, { seed, variant }] of cells.entries()) {
    // The standard net is a value of every factor.
    if (results.get(variant, seed) !== undefined) continue;
    const start = performance.now();
    const outcome = await outcomeOf(variant, seed);
    results.add(variant, seed, outcome);
    write(plan, results);
    const what = 'testAccuracy' in outcome ? `${(100 * outcome.testAccuracy).toFixed(2)} %` : `diverged at step ${outcome.divergedAt}`;
    const name = `${variant.group}: ${variant.label}, seed ${seed}`;
    console.log(`${i + 1}/${cells.length}  ${name}: ${what} in ${clock((performance.now() - start) / 1000)}`);
  }
}

async function outcomeOf(variant: Variant, seed: number): Promise<Outcome> {
  const settings = settingsOf(variant, seed);
  try {
    return await measure(settings, (inChannels) => makeModel(settings, variant.se, inChannels));
  } catch (error) {
    // Some gates diverge at a learning rate that suits the others: a result too.
    if (error instanceof NotFinite) return { divergedAt: error.step };
    throw error;
  }
}

/** Returns the files' paths. */
function write(plan: Plan, results: Results): string[] {
  const rows = results.rows(plan);
  const { model, data, maxSteps, epochs } = plan.variants[0]!.settings;
  const [n, unit] = maxSteps === null ? [epochs, 'epoch'] : [maxSteps, 'step'];
  const length = `${n} ${unit}${n === 1 ? '' : 's'}`;
  const drawn = chart(rows, `${titleOf(model, true)} on ${data}, ${length}`);
  const files = { 'ablation.md': `${markdownTable(rows, plan)}\n`, ...(drawn === null ? {} : { 'ablation.svg': drawn.text }) };
  return Object.entries(files).map(([name, text]) => {
    writeFileAtomic(join(plan.dir, name), new TextEncoder().encode(text));
    return join(plan.dir, name);
  });
}

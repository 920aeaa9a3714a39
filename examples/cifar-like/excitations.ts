/**
 * The gate statistics of a run's net.
 */
import { DataLoader, subset } from 'chainrule/data';
import type { Data } from './data.ts';
import { type ByGroup, type GateStatistics, recordGates } from './gates.ts';
import { INTERIM_IMAGES } from './loop.ts';
import type { Net } from './model.ts';

/** Records the scales of the gates on the first test images, rounded to the precision of a chart. */
export function gatesOf(model: Net, data: Data, { batchSize }: { batchSize: number }): GateStatistics[] {
  const images = subset(data.test, 0, Math.min(INTERIM_IMAGES, data.test.length));
  const loader = new DataLoader(images, { batchSize, transform: data.testTransform });
  const { synthetic } = data;
  const grouping = {
    classes: data.classes.length,
    bands: data.bands?.length ?? 1,
    bandOf: (i: number) => synthetic?.describe(i).context ?? 0,
  };
  const gates = recordGates(model, loader, grouping);
  return gates.map(({ block, means, deviations }) => ({ block, means: rounded(means), deviations: rounded(deviations) }));
}

function rounded(byGroup: ByGroup): ByGroup {
  return byGroup.map((rows) => rows.map((row) => row && row.map((scale) => Number(scale.toFixed(4)))));
}

/**
 * The scales that a net's SE gates give to channels, by class.
 */
import { scope, type Tensor } from 'chainrule';
import { DataLoader, subset } from 'chainrule/data';
import * as nn from 'chainrule/nn';
import type { Data } from './data.ts';
import { INTERIM_IMAGES } from './loop.ts';
import type { Net } from './model.ts';
import type { BlockExcitation } from './table.ts';

/** Records the scales on the first test images, rounded to the precision of a chart. */
export function excitationsOf(model: Net, data: Data, { batchSize }: { batchSize: number }): BlockExcitation[] {
  const images = subset(data.test, 0, Math.min(INTERIM_IMAGES, data.test.length));
  return scope(() => {
    const loader = new DataLoader(images, { batchSize, transform: data.testTransform });
    const excitations = nn.recordExcitations(model, loader, { numClasses: data.classes.length });
    return excitations.map(({ block, mean, std }) => ({ block, means: rounded(mean), deviations: rounded(std) }));
  });
}

function rounded(byClass: Tensor): (number | null)[][] {
  const round = (scale: number): number | null => (Number.isFinite(scale) ? Number(scale.toFixed(4)) : null);
  return (byClass.toArray() as number[][]).map((row) => row.map(round));
}

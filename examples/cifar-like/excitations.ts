/**
 * What a net's gates do, class by class.
 */
import { scope, type Tensor } from 'chainrule';
import { DataLoader, subset } from 'chainrule/data';
import * as nn from 'chainrule/nn';
import type { Data } from './data.ts';
import { GLANCE_IMAGES, type Net } from './loop.ts';
import type { BlockExcitation } from './table.ts';

/** Scales over the first test images, rounded to what a chart shows. */
export function excitationsOf(model: Net, data: Data, { batchSize }: { batchSize: number }): BlockExcitation[] {
  const images = subset(data.test, 0, Math.min(GLANCE_IMAGES, data.test.length));
  return scope(() => {
    const loader = new DataLoader(images, { batchSize, transform: data.testTransform });
    const excitations = nn.recordExcitations(model, loader, { numClasses: data.classes.length });
    return excitations.map(({ block, mean, std }) => ({ block, means: rounded(mean), deviations: rounded(std) }));
  });
}

function rounded(byClass: Tensor): (number | null)[][] {
  return (byClass.toArray() as number[][]).map((row) => row.map((s) => (Number.isFinite(s) ? Number(s.toFixed(4)) : null)));
}

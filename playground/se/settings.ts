/**
 * What the visitor chooses of the network.
 */
import type * as nn from 'chainrule/nn';

/** Channels of the block. */
export const CHANNELS = 8;

export type Gate = NonNullable<nn.SqueezeExciteOptions['gate']>;
export type Reduction = 2 | 4 | 8;

export interface NetworkSettings {
  readonly gate: Gate;
  readonly reduction: Reduction;
  /** Of the initial weights. */
  readonly seed: number;
}

/** Whether two settings give the same network. */
export function isSame(a: NetworkSettings, b: NetworkSettings): boolean {
  return a.gate === b.gate && a.reduction === b.reduction && a.seed === b.seed;
}

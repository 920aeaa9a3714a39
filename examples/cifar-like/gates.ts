/**
 * The scales that a net's SE gates give to channels, by class and by the context band of the image. Runs in browsers too.
 *
 * Letters: B = bands, K = classes, C = channels.
 */
import { ArgumentError, scope, tensor, type Tensor } from 'chainrule';
import * as nn from 'chainrule/nn';

/**
 * A value for each channel of each group of images, [B][K + 1][C]. The last row of a band is that of all its classes together. A group
 * without images has null.
 */
export type ByGroup = readonly (readonly (readonly number[] | null)[])[];

/** Statistics of one gate's scales. */
export interface GateStatistics {
  /** The gate's path in the net. */
  readonly block: string;
  readonly means: ByGroup;
  /** Population standard deviations within a group. */
  readonly deviations: ByGroup;
}

/** How to group the images. */
export interface Grouping {
  /** K. */
  readonly classes: number;
  /** B; 1 for images without a context band. */
  readonly bands: number;
  /** Returns the band, 0 … B − 1, of the i-th image of the batches. */
  readonly bandOf: (i: number) => number;
}

/**
 * Runs the net on all batches in evaluation mode, and returns the statistics of each of its gates.
 *
 * Throws: ArgumentError if a label or a band is out of range, or if the net has no gate
 * @example recordGates(model, loader, { classes: 10, bands: 2, bandOf: (i) => images.describe(i).context })
 */
export function recordGates(
  model: nn.Module & { forward(x: Tensor): Tensor },
  batches: Iterable<readonly [x: Tensor, labels: Tensor]>,
  { classes, bands, bandOf }: Grouping,
): GateStatistics[] {
  const images = new Array<number>(bands * classes).fill(0);
  let seen = 0;
  const groupOf = (label: number): number => {
    const band = bandOf(seen);
    if (!(label < classes && band >= 0 && band < bands)) {
      throw new ArgumentError(`recordGates: expected classes below ${classes} and bands below ${bands}, got ${label} and ${band}`);
    }
    seen++;
    images[band * classes + label]!++;
    return band * classes + label;
  };
  /** The batches with the number of its group in the place of each label. */
  function* grouped(): Generator<readonly [Tensor, Tensor]> {
    for (const [x, labels] of batches) yield [x, tensor(Int32Array.from(labels.data(), groupOf))];
  }
  return scope(() => {
    const excitations = nn.recordExcitations(model, grouped(), { numClasses: bands * classes });
    return excitations.map(({ block, mean, std }) => ({
      block,
      ...byBand({ means: mean.toArray() as number[][], deviations: std.toArray() as number[][] }, images, classes),
    }));
  });
}

/**
 * Returns the statistics of groups b · K + k by band and class, with those of all classes of a band in a row of their own.
 *
 * @param images the number of images in each group
 */
export function byBand(
  { means, deviations }: { readonly means: readonly (readonly number[])[]; readonly deviations: readonly (readonly number[])[] },
  images: readonly number[],
  classes: number,
): Omit<GateStatistics, 'block'> {
  const bands = Array.from({ length: images.length / classes }, (_, b) => {
    const groups = Array.from({ length: classes }, (_, k) => b * classes + k);
    const members = groups.filter((g) => images[g]! > 0);
    const total = members.reduce((sum, g) => sum + images[g]!, 0);
    const average = (of: (g: number) => number): number => members.reduce((sum, g) => sum + (images[g]! / total) * of(g), 0);
    // Of all classes: the mean of the means, and the spread within the groups and between them.
    const mean = means[0]!.map((_, c) => average((g) => means[g]![c]!));
    const deviation = mean.map((m, c) => Math.sqrt(average((g) => deviations[g]![c]! ** 2 + (means[g]![c]! - m) ** 2)));
    const rows = (values: readonly (readonly number[])[], all: readonly number[]): (readonly number[] | null)[] => [
      ...groups.map((g) => (images[g]! > 0 ? values[g]! : null)),
      total > 0 ? all : null,
    ];
    return { means: rows(means, mean), deviations: rows(deviations, deviation) };
  });
  return { means: bands.map((b) => b.means), deviations: bands.map((b) => b.deviations) };
}

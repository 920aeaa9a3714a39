/**
 * fast-check arbitraries of convolutions and poolings. All are valid by construction: at least one window fits into each image.
 */
import fc, { type Arbitrary } from 'fast-check';
import { SAMPLE_OPTIONS, checkSampleOptions, sampleMakers, type TensorsOptions } from './arbitraries.ts';
import type { TensorSample } from './sample.ts';

/** A number for rows and one for columns. */
export type Pair = [number, number];

/** Options of convolutions: those of their tensors, and whether there is a batch. */
export interface ConfigurationOptions extends Omit<TensorsOptions, 'shape'> {
  /** Whether images may lack the batch dim: [C,H,W]. Default false. */
  readonly unbatched?: boolean;
}

/** Options of poolings. */
export interface PoolingOptions extends ConfigurationOptions {
  /** If false, dilation is always 1. Default true. */
  readonly dilated?: boolean;
}

/** The options of a drawn convolution, as F.conv2d takes them. */
export interface ConvConfiguration {
  readonly stride: Pair;
  readonly padding: Pair;
  readonly dilation: Pair;
  readonly groups: number;
}

/** The options of a drawn pooling, as F.maxPool2d and F.avgPool2d take them. */
export interface PoolConfiguration {
  readonly stride: Pair;
  readonly padding: Pair;
  readonly dilation: Pair;
  readonly ceilMode: boolean;
}

const pairs = (min: number, max: number): Arbitrary<Pair> => fc.tuple(fc.integer({ min, max }), fc.integer({ min, max }));

/** The dims before the channels: usually a batch of 1 or 2, rarely an empty one. Shrinks to 1. */
const batches = (unbatched: boolean): Arbitrary<number[]> => fc.constantFrom([1], [2], [0], [1], [2], ...(unbatched ? [[], []] : []));

/** Draws the default about half of the time, and shrinks to it. */
const orDefault = (value: Pair, others: Arbitrary<Pair>): Arbitrary<Pair> =>
  fc.oneof({ withCrossShrink: true }, fc.constant(value), others);

/**
 * Draws the arguments of a 2-d convolution: images [N,C,H,W], weights [O,C/groups,KH,KW], a bias [O] or null, and options.
 * @example gradientProperty(F.conv2d, convolutions({ dtype: 'float64' }))
 */
export function convolutions(
  given: ConfigurationOptions = {},
): Arbitrary<[x: TensorSample, w: TensorSample, b: TensorSample | null, options: ConvConfiguration]> {
  checkSampleOptions('convolutions', given, ['unbatched', ...SAMPLE_OPTIONS]);
  const { unbatched = false, ...options } = given;
  const counts = { n: batches(unbatched), groups: fc.integer({ min: 1, max: 2 }), channels: pairs(1, 2), room: pairs(0, 2) };
  // 3×3 with stride and dilation 1 is the most common kernel, and the one with fast algorithms.
  const kernel = fc.oneof({ withCrossShrink: true }, pairs(1, 3), fc.constant<Pair>([3, 3]));
  const window = { kernel, stride: orDefault([1, 1], pairs(1, 2)), padding: pairs(0, 2), dilation: orDefault([1, 1], pairs(1, 2)) };
  const makers = { x: sampleMakers(options), w: sampleMakers(options), b: fc.option(sampleMakers(options)) };
  return fc
    .record({ ...counts, ...window, ...makers })
    .map(({ n, groups, channels: [c, o], room, kernel, stride, padding, dilation, x, w, b }) => {
      const side = (i: 0 | 1): number => Math.max(1, dilation[i] * (kernel[i] - 1) + 1 - 2 * padding[i]) + room[i];
      return [
        x([...n, groups * c, side(0), side(1)]),
        w([groups * o, c, ...kernel]),
        b === null ? null : b([groups * o]),
        { stride, padding, dilation, groups },
      ];
    });
}

/**
 * Draws the arguments of a 2-d pooling: images [N,C,H,W], the window's size, and options.
 * Equal values can tie for the maximum; distinct values in NO_TIES layouts cannot.
 * @example gradientProperty((x, k, o) => F.maxPool2d(x, k, o), poolings({ dtype: 'float64', domain: 'distinct', layouts: NO_TIES }))
 */
export function poolings(given: PoolingOptions = {}): Arbitrary<[x: TensorSample, kernel: Pair, options: PoolConfiguration]> {
  checkSampleOptions('poolings', given, ['unbatched', 'dilated', ...SAMPLE_OPTIONS]);
  const { unbatched = false, dilated = true, ...options } = given;
  const counts = { n: batches(unbatched), c: fc.integer({ min: 1, max: 2 }), room: pairs(0, 2), x: sampleMakers(options) };
  const window = {
    kernel: pairs(1, 3),
    stride: pairs(1, 3),
    pad: pairs(0, 1),
    dilation: pairs(1, dilated ? 2 : 1),
    ceilMode: fc.boolean(),
  };
  return fc.record({ ...counts, ...window }).map(({ n, c, room, x, kernel, stride, pad, dilation, ceilMode }) => {
    const side = (i: 0 | 1): number => dilation[i] * (kernel[i] - 1) + 1 + room[i];
    // At most half the kernel, so that no window contains only padding.
    const padding: Pair = [Math.min(pad[0], kernel[0] >> 1), Math.min(pad[1], kernel[1] >> 1)];
    return [x([...n, c, side(0), side(1)]), kernel, { stride, padding, dilation, ceilMode }];
  });
}

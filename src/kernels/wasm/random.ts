/**
 * Random numbers in bulk; see assembly/random.ts.
 */
import { sizeOf } from '../../core/shape.ts';
import { RANDOM_CHUNK } from '../assembly/constants.ts';
import type { Kernels } from '../interface.ts';
import { exportsOf } from './export-names.ts';
import { launch } from './launch.ts';
import { NANOSECONDS_PER_ELEMENT } from './work-estimates.ts';

const uniformExport = exportsOf<'', 'uniform'>('');
/** The cost of a random number as a multiple of an addition's. */
const UNIFORM_COST = 20;

export const randomKernels: Pick<Kernels, 'uniform'> = {
  uniform(key, stream, y) {
    const n = sizeOf(y.shape);
    const split = { chunks: Math.ceil(n / RANDOM_CHUNK), work: n * UNIFORM_COST * NANOSECONDS_PER_ELEMENT };
    launch(uniformExport('uniform', y.dtype), split, { y, n, key0: key[0] | 0, key1: key[1] | 0, stream: stream | 0 });
  },
};

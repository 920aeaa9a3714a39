/**
 * The ablation command: measures how placement, reduction, squeeze and gate of squeeze-and-excitation change accuracy, over seeds.
 *
 *   npm run ablation
 *   npm run ablation -- --help
 */
import { ablate } from './ablation/run.ts';

process.exitCode = await ablate(process.argv.slice(2));

/**
 * What each property of squeeze-and-excitation is worth: placement, reduction, squeeze and gate, over seeds.
 *
 *   npm run ablation
 *   npm run ablation -- --help
 */
import { ablate } from './ablation/run.ts';

process.exitCode = await ablate(process.argv.slice(2));

/**
 * The ablation command: measures how placement, reduction, squeeze and gate of squeeze-and-excitation change accuracy, over seeds.
 *
 *   npm run ablation
 *   npm run ablation -- --help
 */
import { launch } from './launch.ts';

await launch(async () => (await import('./ablation/run.ts')).ablate);

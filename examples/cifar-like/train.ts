/**
 * The training command: trains the SE-CNN and the same net without SE, and compares their test accuracy.
 *
 *   npm start
 *   npm start -- --help
 */
import { launch } from './launch.ts';

await launch(async () => (await import('./main.ts')).main);

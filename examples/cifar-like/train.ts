/**
 * The training command: trains the SE-CNN and the same net without SE, and compares their test accuracy.
 *
 *   npm start
 *   npm start -- --help
 */
import { main } from './main.ts';

process.exitCode = await main(process.argv.slice(2));

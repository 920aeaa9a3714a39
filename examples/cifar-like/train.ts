/**
 * The main job: trains the SE-CNN and its twin without SE, and says what SE brought.
 *
 *   npm start
 *   npm start -- --help
 */
import { main } from './main.ts';

process.exitCode = await main(process.argv.slice(2));

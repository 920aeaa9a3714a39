/**
 * The command `npm run mnist`: trains with several seeds, and lists accuracy and seconds of each.
 *
 *   npm ci --prefix examples/mnist --ignore-scripts   # the images
 *   npm run mnist
 *   npm run mnist -- --help
 */
import { launch } from '../cifar-like/launch.ts';

await launch(async () => (await import('./command.ts')).main);

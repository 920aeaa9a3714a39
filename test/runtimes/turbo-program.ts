/**
 * The program of test/runtimes/runtimes.test.ts with turbo, for browsers, which have no environment to choose it by.
 */
import { setTurbo } from '../../src/index.ts';
import { run as train, type Trained } from './program.ts';

export function run(): Promise<Trained> {
  setTurbo(true);
  return train();
}

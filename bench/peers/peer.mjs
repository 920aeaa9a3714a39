/**
 * What the peers written in JavaScript share. A peer reads one request, the JSON of a case's `peer` with `threads` and `seconds`, from standard
 * input and prints its answer as JSON.
 */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

export { operand, samples } from './operands.mjs';

/** Exit status of a peer whose package is not installed. */
const NOT_INSTALLED = 3;
const WARM_UP_MS = 200;
const LEAST_RUNS = 5;
/** A slow peer stops before LEAST_RUNS when this many times the seconds of the request have passed. */
const PATIENCE = 20;

export const request = JSON.parse(readFileSync(0, 'utf8'));

const folder = process.env.PEERS ?? fileURLToPath(new URL('../..', import.meta.url));
const require = createRequire(join(folder, 'package.json'));

/** Imports a package from the folder $PEERS, by default this repository; ends the process if it is not there. */
export function load(name) {
  let path;
  try {
    path = require.resolve(name);
  } catch (error) {
    if (error.code !== 'MODULE_NOT_FOUND') throw error;
    process.exit(NOT_INSTALLED);
  }
  return require(path);
}

/** Returns the version in a package's manifest. */
export function versionOf(name) {
  return JSON.parse(readFileSync(join(folder, 'node_modules', name, 'package.json'), 'utf8')).version;
}

/** The shapes of a 3×3 convolution of a request. */
export function convolution({ batch: N, C, O, side, K }) {
  return { x: [N, C, side, side], w: [O, C, K, K], y: [N, O, side, side], weightScale: 1 / Math.sqrt(C * K * K) };
}

/** Returns the samples of the result, and the times in seconds in ascending order. Computing the samples is part of the warm-up. */
async function measured({ run, free, values }) {
  const once = async () => {
    const start = performance.now();
    const result = await run();
    const seconds = (performance.now() - start) / 1000;
    free?.(result);
    return seconds;
  };
  const warmUpStart = performance.now();
  const checked = await values();
  while (performance.now() - warmUpStart < WARM_UP_MS) await once();
  const all = [];
  const start = performance.now();
  const passed = () => (performance.now() - start) / 1000;
  while (all.length === 0 || (passed() < PATIENCE * request.seconds && (all.length < LEAST_RUNS || passed() < request.seconds))) {
    all.push(await once());
  }
  return { values: checked, all: all.toSorted((a, b) => a - b) };
}

/**
 * Answers the request: `{ version, how, seconds, median, values }`, with `seconds` null for a case that the peer does not have.
 * @param version of the package
 * @param ways `{ how, run, free?, values }`: ways to do the same, of which the fastest is reported. `run` is timed; `values` returns lists
 *   of samples of the result. Null: the peer does not have the case.
 */
export async function answer(version, ways) {
  let best = { seconds: null, how: '' };
  for (const way of ways ?? []) {
    const { values, all } = await measured(way);
    if (best.seconds === null || all[0] < best.seconds) best = { how: way.how, seconds: all[0], median: all[all.length >> 1], values };
  }
  process.stdout.write(`${JSON.stringify({ version, ...best })}\n`, () => process.exit(0));
}

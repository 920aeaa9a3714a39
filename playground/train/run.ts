/**
 * Trains in Node what a link of the playground trains, and prints the loss of each step with all its digits:
 *
 *     npx tsx playground/train/run.ts '#train?seed=1&lr=0.01' 20
 */
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { parseLink } from '../link.ts';
import { NETS, TITLES } from './nets.ts';
import { observe } from './observe.ts';
import { Diverged, Session } from './session.ts';
import { readSettings } from './settings.ts';
import { mnistTask, syntheticTask } from './task.ts';

const [link = '#train', steps = '20', ...files] = process.argv.slice(2);
const { settings, problems } = readSettings(parseLink(link.slice(Math.max(0, link.indexOf('#')))).state);
for (const problem of problems) console.warn(problem);
const given = files.map((file) => ({ name: basename(file), bytes: new Uint8Array(readFileSync(file)) }));
const session = new Session(settings, settings.data === 'mnist' ? mnistTask(given) : syntheticTask(settings));
try {
  for (let i = 1; i <= Number(steps); i++) {
    const { plain, se } = session.step();
    process.stdout.write(`${i} ${plain} ${se}\n`);
  }
} catch (error) {
  if (!(error instanceof Diverged)) throw error;
  console.warn(error.message);
}
const { evaluation } = observe(session, 0);
for (const name of NETS) process.stdout.write(`${TITLES[name]}: ${(100 * evaluation[name].accuracy).toFixed(1)} % of the test images\n`);

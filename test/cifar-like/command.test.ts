import { spawnSync } from 'node:child_process';
import fs, { readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { ablate } from '../../examples/cifar-like/ablation/run.ts';
import { makeDisplay } from '../../examples/cifar-like/display.ts';
import { printable, shellWord } from '../../examples/cifar-like/text.ts';
import { captured, onReference, type Output, run, temporaryFolder } from './support.ts';

// The commands beside their results: signals, outputs that fail, environment variables, and npm.

const LONG = ['--train-images', '32', '--test-images', '16', '--batch-size', '8', '--epochs', '1000'];
const ABLATION = ['--model', 'tiny', '--factors', 'reduction', '--seeds', '0', ...LONG];
const folder = temporaryFolder();
const ablation = (...args: string[]): Promise<Output> => captured(() => ablate(args));

/** Calls `then` as soon as the file has a line. */
function whenWritten(path: string, then: () => void): void {
  const timer = setInterval(() => {
    if (!readable(path)) return;
    clearInterval(timer);
    then();
  }, 5);
}

function readable(path: string): boolean {
  try {
    return readFileSync(path, 'utf8').includes('\n');
  } catch {
    return false;
  }
}

describe.skipIf(onReference)('a signal', () => {
  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const)('%s ends a run after it has saved, also if npm sends it twice', async (signal, code) => {
    const dir = join(folder, signal);
    const exit = vi.spyOn(process, 'exit').mockImplementation(() => undefined as never);
    whenWritten(join(dir, 'metrics.jsonl'), () => {
      process.emit(signal);
      const first = performance.now();
      while (performance.now() === first);
      process.emit(signal);
    });
    const { stdout, ...rest } = await run('--out', dir, ...LONG);
    expect(exit).not.toHaveBeenCalled();
    exit.mockRestore();
    expect(rest).toEqual({ code, stderr: '' });
    expect(stdout).toMatch(new RegExp(`^Stopped and saved. Go on with: npm start -- --resume ${dir}\n$`, 'm'));
    expect(readdirSync(dir).sort()).toEqual(['checkpoint.safetensors', 'config.json', 'metrics.jsonl']);
    expect(process.listenerCount(signal)).toBe(0);
  });

  test('ends an ablation, which keeps its finished cells', async () => {
    const dir = join(folder, 'ablation');
    const finished = ['--out', dir, '--model', 'tiny', '--factors', 'reduction', '--seeds', '0', ...LONG.slice(0, -2), '--max-steps', '1'];
    expect((await ablation(...finished)).code).toBe(0);
    const lines = readFileSync(join(dir, 'results.jsonl'), 'utf8');
    whenWritten(join(dir, 'run.lock'), () => process.emit('SIGTERM'));
    expect(await ablation('--out', dir, ...ABLATION)).toEqual({
      code: 143,
      stdout: 'Stopped. Finished cells are kept; repeat the command to train the cells that are missing\n',
      stderr: '',
    });
    expect(readFileSync(join(dir, 'results.jsonl'), 'utf8')).toBe(lines);
    expect(readdirSync(dir).sort()).toEqual(['ablation.md', 'ablation.svg', 'results.jsonl']);
  });
});

describe.skipIf(onReference)('an output that cannot be written', () => {
  const broken = (code: string, message: string): void => {
    process.stdout.emit('error', Object.assign(new Error(`${code}: ${message}, write`), { code, syscall: 'write' }));
  };

  test('ends a run after it has saved', async () => {
    const dir = join(folder, 'full');
    whenWritten(join(dir, 'metrics.jsonl'), () => broken('ENOSPC', 'no space left on device'));
    const { code, stderr } = await run('--out', dir, ...LONG);
    expect(code).toBe(1);
    expect(stderr).toBe(
      `error: standard output: cannot write (ENOSPC: no space left on device); stopped and saved, go on with npm start -- --resume ${dir}\n`,
    );
    expect(readdirSync(dir).sort()).toEqual(['checkpoint.safetensors', 'config.json', 'metrics.jsonl']);
  });

  test('ends an ablation', async () => {
    const dir = join(folder, 'ablation-pipe');
    whenWritten(join(dir, 'run.lock'), () => broken('EPIPE', 'broken pipe'));
    expect(await ablation('--out', dir, ...ABLATION)).toEqual({
      code: 1,
      stdout: '',
      stderr:
        `error: standard output: cannot write (EPIPE: broken pipe); finished cells are kept in ${dir}, ` +
        'repeat the command to train the cells that are missing\n',
    });
    expect(readdirSync(dir)).toEqual(['results.jsonl']);
  });
});

describe.skipIf(onReference)('a disk that is full', () => {
  afterEach(() => vi.restoreAllMocks());

  /** Makes the library's writes fail from its file numbered `first` on. The commands' own files are written by other calls. */
  function fullFrom(first: number): void {
    const [open, write] = [fs.openSync, fs.writeFileSync];
    let files = 0;
    vi.spyOn(fs, 'openSync').mockImplementation((path, ...rest) => {
      if (String(path).endsWith('.tmp')) files++;
      return open(path, ...rest);
    });
    vi.spyOn(fs, 'writeFileSync').mockImplementation((file, ...rest) => {
      if (typeof file === 'number' && files >= first)
        throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC', syscall: 'write' });
      return write(file, ...rest);
    });
  }

  // A run of one epoch writes a checkpoint at its start and at the end of the epoch, the weights, a checkpoint, and the report.
  test.each([
    ['the first checkpoint', 1, 'checkpoint.safetensors', 'there is no checkpoint yet'],
    ['a checkpoint', 2, 'checkpoint.safetensors', 'the last checkpoint is whole'],
    ['the weights', 3, 'se.safetensors', 'the last checkpoint is whole'],
    ['the last checkpoint', 4, 'checkpoint.safetensors', 'the last checkpoint is whole'],
    ['the report', 5, 'report.html', 'the last checkpoint is whole'],
  ])('at %s: one line that says what is left and how to go on', async (what, first, file, left) => {
    const dir = join(folder, `full at ${what}`);
    fullFrom(first);
    const { code, stderr } = await run('--out', dir, '--se', ...LONG.slice(0, -1), '1');
    const op = file === 'checkpoint.safetensors' ? 'saveCheckpoint' : 'writeFileAtomic';
    const how = `put that right and go on with npm start -- --resume '${dir}'`;
    expect([code, stderr]).toEqual([1, `error: ${op}: cannot write ${dir}/${file} (ENOSPC); ${left}; ${how}\n`]);
    vi.restoreAllMocks();
    const resumed = await run('--resume', dir);
    expect([resumed.code, resumed.stderr]).toEqual([0, '']);
    expect(readdirSync(dir).sort()).toEqual(['checkpoint.safetensors', 'config.json', 'metrics.jsonl', 'report.html', 'se.safetensors']);
  });

  test('at the table of an ablation', async () => {
    const dir = join(folder, 'ablation-full');
    fullFrom(1);
    const { code, stderr } = await ablation('--out', dir, ...ABLATION.slice(0, -1), '1');
    expect([code, stderr]).toEqual([
      1,
      `error: writeFileAtomic: cannot write ${dir}/ablation.md (ENOSPC); finished cells are kept in ${dir}; put that right, and ` +
        'repeat the command to train the cells that are missing\n',
    ]);
    expect(readFileSync(join(dir, 'results.jsonl'), 'utf8').split('\n')).toHaveLength(2);
  });
});

describe.skipIf(onReference)('the folder of an ablation', () => {
  const used = (dir: string) =>
    new RegExp(`^error: ${dir}: expected a folder that no other process uses, got one that process \\d+ uses; `);

  test('is refused while another process uses it', async () => {
    const dir = join(folder, 'ablation-used');
    const first = ablation('--out', dir, ...ABLATION);
    await new Promise<void>((resolve) => whenWritten(join(dir, 'run.lock'), resolve));
    const error = vi.spyOn(console, 'error').mockImplementation(() => {});
    expect(await ablate(['--out', dir, ...ABLATION])).toBe(1);
    expect(error.mock.calls.flat().join('\n')).toMatch(used(dir));
    process.emit('SIGTERM');
    expect((await first).code).toBe(143);
  });

  test('holds no results.jsonl that is a link', async () => {
    const dir = join(folder, 'ablation-used');
    const outside = join(folder, 'outside');
    writeFileSync(outside, 'mine');
    rmSync(join(dir, 'results.jsonl'));
    symlinkSync(outside, join(dir, 'results.jsonl'));
    expect(await ablation('--out', dir, ...ABLATION)).toEqual({
      code: 1,
      stdout: '',
      stderr: `error: ${dir}/results.jsonl: expected a regular file, got a symbolic link; put the file itself there\n`,
    });
    expect([readFileSync(outside, 'utf8'), readdirSync(dir)]).toEqual(['mine', ['results.jsonl']]);
  });

  test('is not made for a plan that cannot start', async () => {
    const dir = join(folder, 'ablation-none');
    expect((await ablation('--out', dir, '--data', 'mnist', '--data-dir', join(folder, 'nowhere'))).code).toBe(1);
    expect((await ablation('--out', dir, '--train-images', '8', '--batch-size', '16')).code).toBe(2);
    expect((await ablation('--out', dir, '--lr', '1e308')).code).toBe(1);
    expect(readdirSync(folder)).not.toContain('ablation-none');
  });

  test.each([
    ['null', '{"cell":"x","outcome":null}'],
    ['other fields', '{"cell":"x","outcome":{}}'],
    ['a long line', `\x1b[2J${'y'.repeat(1000)}`],
  ])('a line whose outcome is %s is named, without its control characters', async (name, line) => {
    const dir = join(folder, `ablation-${name}`);
    whenWritten(join(dir, 'run.lock'), () => process.emit('SIGTERM'));
    await ablation('--out', dir, ...ABLATION);
    writeFileSync(join(dir, 'results.jsonl'), `${line}\n`);
    const { code, stderr } = await ablation('--out', dir, ...ABLATION);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^[^\p{Cc}]*results\.jsonl: line 1: expected a cell and its outcome, got '[^']{2,70}'; [^\p{Cc}]*\n$/u);
  });
});

describe('names of Object.prototype', () => {
  const names = ['__proto__', 'hasOwnProperty', 'constructor', 'toString', 'valueOf'];

  test.each(names)('--%s is an unknown option of both commands, and an unknown factor', async (name) => {
    for (const args of [[`--${name}=1`], [`--${name}`]]) {
      for (const command of [run, ablation]) {
        const { code, stdout, stderr } = await command(...args);
        expect([code, stdout]).toEqual([2, '']);
        expect(stderr).toMatch(/^error: --\w+: expected one of --data .*, got an unknown option; --help says what each does\n$/);
      }
    }
    expect((await ablation('--factors', name)).stderr).toMatch(/^error: --factors: expected some of /);
  });
});

describe('options that npm takes for its own', () => {
  afterEach(() => vi.unstubAllEnvs());

  test.each([
    // As npm 11 passes `npm start --no-se`, `npm start --lr 0.05` and `npm run ablation --full`.
    [run, 'start', { npm_config_se: '' }, [], '--no-se', 'npm start -- --no-se'],
    [run, 'start', { npm_config_lr: 'true' }, ['0.05'], '--lr', 'npm start -- --lr'],
    [run, 'start', { npm_config_batch_size: '8' }, [], '--batch-size', 'npm start -- --batch-size'],
    [ablation, 'ablation', { npm_config_full: 'true' }, [], '--full', 'npm run ablation -- --full'],
    [ablation, 'ablation', { npm_config_max_steps: '3' }, [], '--max-steps', 'npm run ablation -- --max-steps'],
  ] as const)('%#', async (command, script, environment, args, flag, right) => {
    vi.stubEnv('npm_lifecycle_event', script);
    for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value);
    expect(await command(...args)).toEqual({
      code: 2,
      stdout: '',
      stderr: `error: ${flag}: expected after --, got it before, where npm takes it for its own; write ${right}\n`,
    });
  });
});

describe.skipIf(onReference)('a process', () => {
  const script = (name: string) => fileURLToPath(new URL(`../../examples/cifar-like/${name}.ts`, import.meta.url));
  const start = (command: string, environment: Record<string, string>, ...args: string[]) =>
    spawnSync('sh', ['-c', command, 'sh', process.execPath, '--import', 'tsx', ...args], {
      env: { ...process.env, ...environment },
      encoding: 'utf8',
    });

  test.each([
    ['train', { CHAINRULE_THREADS: '0' }, "CHAINRULE_THREADS: expected a whole number from 1 to 64, got '0'"],
    ['train', { CHAINRULE_ANOMALY: 'yes' }, "CHAINRULE_ANOMALY: expected 1 or 0, got 'yes'"],
    ['ablation', { CHAINRULE_KERNELS: 'foo' }, "CHAINRULE_KERNELS: expected wasm or reference, got 'foo'"],
  ])('%s: an environment variable with a wrong value gives one line', (name, environment, message) => {
    const { status, stdout, stderr } = start('"$@"', environment, script(name), '--help');
    expect([status, stdout, stderr]).toEqual([1, '', `error: ${message}\n`]);
  });

  test.skipIf(process.platform !== 'linux')('says if nothing could be printed', () => {
    const { status, stderr } = start('"$@" > /dev/full', {}, script('train'), '--help');
    expect([status, stderr]).toEqual([1, 'error: standard output: cannot write (ENOSPC: no space left on device)\n']);
  });
});

describe('the terminal', () => {
  /** Shows one step and returns what was written. */
  function shown(terminal: string): string {
    let text = '';
    const output = { isTTY: true, columns: 80, write: (part: string) => (text += part) } as unknown as NodeJS.WriteStream;
    const display = makeDisplay(output, terminal);
    display.begin('SE-CNN', 0, 1, 8);
    display.step({ step: 1, epoch: 1, loss: 1, accuracy: 1, lr: 0.1 });
    display.note('done');
    return text;
  }

  test('with TERM=dumb gets no escape codes', () => {
    expect(shown('dumb')).toMatch(/^SE-CNN {2}step 1\/1 .*\ndone\n$/);
    expect(shown('dumb')).not.toContain('\x1b');
  });
});

test('text for a terminal has no control characters', () => {
  expect(printable('a\x1b[31m\r\n\t\x7f\x9b\u2028\u202e\ufeffä€😀')).toBe('a\\x1b[31m\\x0d\\x0a\\x09\\x7f\\x9b\\u2028\\u202e\\ufeffä€😀');
});

test.skipIf(process.platform === 'win32')('a path is one word of a shell command', () => {
  const words = ['runs/a-1', 'my run', "it's", '$(id)', '"', '\\n', '-x', 'a\nb', "a\x1b'\\b", 'ä\u200b', '*', ''];
  const { stdout } = spawnSync('bash', ['-c', `printf '%s\\0' ${words.map(shellWord).join(' ')}`], { encoding: 'utf8' });
  expect(stdout.split('\0').slice(0, -1)).toEqual(words.map((word) => (word.startsWith('-') ? `./${word}` : word)));
  expect(shellWord('runs/a-1')).toBe('runs/a-1');
});

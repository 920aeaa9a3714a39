import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { manualSeed, rand, randint, scoped, setNumThreads } from 'chainrule';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import * as optim from 'chainrule/optim';
import { kernelModule } from '../src/kernels/wasm/module.ts';
import { poolFor, tuning } from '../src/kernels/threads/pool.ts';
import { compileProgram } from './support/compile-program.ts';
import { started, workItemsDone } from './support/workers.ts';

// Threads as a user meets them: training is bitwise identical on any number of threads, and processes end.

const STEPS = process.env.CHAINRULE_LONG === '1' ? 200 : 20;

describe('training', () => {
  const { leastWork } = tuning;

  afterAll(() => {
    tuning.leastWork = leastWork;
    setNumThreads(1);
  });

  function seCnn(): nn.Sequential {
    const block = (from: number, to: number): nn.Layer[] => [
      new nn.Conv2d(from, to, 3, { padding: 1, bias: false }),
      new nn.BatchNorm2d(to),
      new nn.ReLU(),
      new nn.SqueezeExcite(to, { reduction: 4 }),
    ];
    const head = [new nn.AdaptiveAvgPool2d(1), new nn.Flatten(), new nn.Linear(32, 10)];
    return new nn.Sequential(...block(3, 16), new nn.MaxPool2d(2), ...block(16, 32), ...head);
  }

  /** Trains on random images and returns the SHA-256 of all weights and statistics. */
  function trained(): string {
    manualSeed(5);
    const model = seCnn();
    const optimizer = new optim.SGD(model.parameters(), { lr: 0.05, momentum: 0.9, nesterov: true, weightDecay: 1e-4 });
    for (const _ of scoped(STEPS)) {
      const x = rand([16, 3, 16, 16]);
      const y = randint(0, 10, [16]);
      const loss = F.crossEntropy(model.forward(x), y);
      optimizer.zeroGrad();
      loss.backward();
      optimizer.step();
    }
    const hash = createHash('sha256');
    for (const [name, t] of Object.entries(model.stateDict())) hash.update(name).update(t.data());
    model.dispose();
    return hash.digest('hex');
  }

  test(`an SE-CNN has bitwise identical weights after ${STEPS} steps on 1, 2, 3, 4 and 7 threads`, async () => {
    setNumThreads(1);
    const alone = trained();
    tuning.leastWork = 0;
    for (const threads of [2, 3, 4, 7]) {
      setNumThreads(threads);
      const pool = poolFor(kernelModule)!;
      await started(pool, threads - 1);
      expect(`${threads}: ${trained()}`).toBe(`${threads}: ${alone}`);
      expect(workItemsDone(pool)).toBeGreaterThan(STEPS);
    }
  }, 900_000);
});

describe('a process', async () => {
  const library = await compileProgram(fileURLToPath(new URL('../src/index.ts', import.meta.url)));
  const HEAD = `
    import { getNumThreads, setNumThreads, rand } from '${pathToFileURL(library).href}';
    const a = rand([256, 256]);
    const product = () => a.matmul(a).dispose();
  `;
  const args = (code: string): string[] => ['--input-type=module', '-e', HEAD + code];
  const options = { cwd: new URL('..', import.meta.url).pathname, env: { ...process.env, CHAINRULE_THREADS: '3' } };

  function run(code: string, env: Record<string, string> = {}): { status: number | null; stdout: string; stderr: string } {
    return spawnSync(process.execPath, args(code), { ...options, env: { ...options.env, ...env }, encoding: 'utf8', timeout: 60_000 });
  }

  const WORK = 'for (const end = Date.now() + 500; Date.now() < end; ) product();';

  test('ends by itself, with workers asleep or busy, and with its own exit code', () => {
    expect(run(`${WORK} console.log(getNumThreads());`)).toMatchObject({ status: 0, stdout: '3\n', stderr: '' });
    expect(run('product(); console.log(getNumThreads());')).toMatchObject({ status: 0, stdout: '3\n', stderr: '' });
    expect(run(`${WORK} process.exit(7);`).status).toBe(7);
    const { status, stderr } = run(`${WORK} throw new Error('mine');`);
    expect(status).toBe(1);
    expect(stderr).toContain('Error: mine');
  });

  test('refuses CHAINRULE_THREADS that is not a number of threads', async () => {
    const message = (n: string): string => `CHAINRULE_THREADS: expected a whole number from 1 to 64, got '${n}'`;
    const { status, stderr } = run('', { CHAINRULE_THREADS: '0' });
    expect(status).toBe(1);
    expect(stderr).toContain(`ArgumentError: ${message('0')}`);
    // The others without a process of their own.
    const threads = async (n: string): Promise<number> => {
      vi.resetModules();
      vi.stubEnv('CHAINRULE_THREADS', n);
      return (await import('../src/index.ts')).getNumThreads();
    };
    for (const n of ['65', '2.5', 'all']) await expect(threads(n)).rejects.toThrow(message(n));
    expect(await threads('')).toBeGreaterThanOrEqual(1);
    expect(await threads('3')).toBe(3);
    vi.unstubAllEnvs();
  });

  test('computes on the reference kernels with any number of threads', () => {
    expect(run('console.log(a.matmul(a).shape)', { CHAINRULE_KERNELS: 'reference' })).toMatchObject({
      status: 0,
      stdout: '[ 256, 256 ]\n',
    });
  });

  test('has threads in its own worker threads too', () => {
    const src = new URL('../src/', import.meta.url).href;
    const inside = `(async () => {
      (await import('tsx/esm/api')).register();
      const { getNumThreads, rand } = await import('${src}index.ts');
      const { poolFor } = await import('${src}kernels/threads/pool.ts');
      const { kernelModule } = await import('${src}kernels/wasm/module.ts');
      const a = rand([256, 256]);
      const started = () => poolFor(kernelModule)?.started ?? 0;
      for (const end = Date.now() + 30_000; started() < 2 && Date.now() < end; ) a.matmul(a).dispose();
      console.log(getNumThreads(), started());
    })();`;
    const code = `import { Worker } from 'node:worker_threads'; new Worker(${JSON.stringify(inside)}, { eval: true });`;
    expect(run(code)).toMatchObject({ status: 0, stdout: '3 2\n', stderr: '' });
  });

  test('continues after being suspended for 3 seconds', async () => {
    // Computes until it has been suspended, and 100 products longer.
    const code = `
      console.log('ready');
      for (let last = Date.now(), after = 0; after < 100; last = Date.now()) {
        product();
        if (after > 0 || Date.now() - last > 2000) after++;
      }
      console.log('done');`;
    const child = spawn(process.execPath, args(code), options);
    let printed = '';
    child.stdout.on('data', (text) => (printed += text));
    child.stderr.on('data', (text) => (printed += text));
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
    while (!printed.includes('ready')) await sleep(20);
    await sleep(500);
    child.kill('SIGSTOP');
    await sleep(3000);
    child.kill('SIGCONT');
    expect(await ended, printed).toBe(0);
    expect(printed).toBe('ready\ndone\n');
  });
});

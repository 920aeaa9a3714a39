import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { BaseSequencer, ForksPoolWorker, type PoolWorker, type TestSpecification, type WorkerRequest } from 'vitest/node';
import { ownProcess } from './test/support/own-process.ts';

const src = (path: string): string => fileURLToPath(new URL(`./src/${path}`, import.meta.url));

const isLong = process.env.CHAINRULE_LONG === '1';
const files = (folder: string, names: readonly string[]): string[] => names.map((name) => `test/${folder}/${name}.test.ts`);

/** Matches names of tests that contain none of these. */
const without = (parts: readonly string[]): RegExp => new RegExp(`^(?!.*(${parts.join('|')}))`);

// The whole suite runs on the WebAssembly kernels. What depends on the kernels runs again on the reference kernels: two places of src do, the
// choice of the kernels, and fused operations, which run their definitions there. Comparisons of the two run again with every call shared
// among threads.
const onReference = {
  include: [
    ...files('autograd', ['gradient-table', 'memory-model', 'numbers', 'operands', 'parity*', 'rearrange', 'temporaries', 'views']),
    ...files('nn', ['conv-pool', 'functional', 'layer-parity', 'layers', 'losses', 'squeeze-excite', 'training']),
    'test/bits.test.ts',
    'test/scse.test.ts',
  ],
  testNamePattern: without([
    'against differences',
    'gradients of both orders',
    'where an operation inside it fails',
    // The mixed net has what these two have, in fewer steps.
    ...(isLong ? [] : ['tiny SE-CNN, 200 steps', 'SE-ResNet-20, 20 steps']),
  ]),
};
const comparisons = files('kernels', ['elementwise', 'fused', 'pooling', 'products']);

// Run again on checked memory: redzones, poisoned memory and a quarantine. Left out are tests of the memory's size, which the quarantine
// changes, tests without kernels, such as those of error texts and schedules, and long chains, repeated calls and finite differences in large
// nets, which take long with it.
const onCheckedMemory = {
  include: [
    ...files('autograd', ['across-await', 'backward', 'errors', 'functional', 'gradient-table', 'lifetime', 'memory-model', 'operands']),
    ...files('autograd', ['ordering', 'parity*', 'rearrange', 'recompute', 'tensor', 'views']),
    ...files('nn', ['conv-pool', 'dropout', 'functional', 'layer-parity', 'layers', 'losses', 'module', 'squeeze-excite', 'training']),
    ...files('optim', ['clip', 'ema', 'sgd']),
    'test/inspect/looking.test.ts',
    ...files('kernels', ['fused', 'fusion', 'optim', 'pooling', 'products']),
  ],
  testNamePattern: without(['a chain of', 'can have arguments', 'against differences', 'gradients of both orders']),
};

// Run again with the fastest kernels of the platform, whose products have other roundings: gradients, PyTorch's values, and comparisons of
// products with the reference kernels. The gradients of layers are made of those in the table.
const withTurbo = {
  include: [
    'test/autograd/{gradient-table,parity*}.test.ts',
    'test/nn/{layer-parity,trajectories}.test.ts',
    'test/kernels/products.test.ts',
  ],
  testNamePattern: without(['gradients of both orders']),
};

const LIKE_NEW = 'test/support/like-new.ts';

/** A process for one file that needs its own, or for any number of other files. */
class TestProcess extends ForksPoolWorker {
  override readonly name = 'own or shared';
  #isOwn = false;

  override send(message: WorkerRequest): void {
    if (message.type === 'run' || message.type === 'collect') this.#isOwn = message.context.files.some(needsOwn);
    super.send(message);
  }

  canReuse(task: Parameters<NonNullable<PoolWorker['canReuse']>>[0]): boolean {
    return !this.#isOwn && !task.context.files.some(needsOwn);
  }
}

const needsOwn = ({ filepath }: { readonly filepath: string }): boolean => ownProcess(filepath) !== undefined;

/** First the files with their own process, in the order of their list, as a shared process ends where such a file comes between. */
class OwnFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const position = ({ moduleId }: TestSpecification): number => ownProcess(moduleId) ?? Infinity;
    const sorted = await super.sort(files);
    const own = sorted.filter((file) => position(file) < Infinity).toSorted((a, b) => position(a) - position(b));
    return [...own, ...sorted.filter((file) => position(file) === Infinity)];
  }
}

export default defineConfig({
  resolve: {
    alias: [
      { find: /^chainrule$/, replacement: src('index.ts') },
      { find: /^chainrule\/nn\/functional$/, replacement: src('nn/functional.ts') },
      { find: /^chainrule\/(nn|optim|data|io|train|interop|distributed|testing)$/, replacement: src('$1/index.ts') },
    ],
  },
  test: {
    // One more than there are processors, as some files wait for programs and pages.
    maxWorkers: availableParallelism() + 1,
    // Without isolation, files that share a process share the library too: to start a process and import it takes 0.8 s of processor time.
    isolate: false,
    pool: { name: 'own or shared', createPoolWorker: (options) => new TestProcess(options) },
    sequence: { sequencer: OwnFirst },
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // Vitest waits a second for a page. None of these tests is about speed.
    expect: { poll: { timeout: 60_000 } },
    // npm run coverage. AssemblyScript cannot be measured: V8 does not count inside WebAssembly.
    coverage: {
      provider: 'v8',
      include: ['src/**/*.ts'],
      exclude: ['src/kernels/assembly/**', 'src/**/*.generated.ts'],
      reporter: [['text', { maxCols: 100 }], 'html'],
    },
    projects: [
      {
        extends: true,
        test: {
          name: 'wasm',
          include: ['test/**/*.test.ts'],
          setupFiles: LIKE_NEW,
          globalSetup: 'test/support/global-setup.ts',
          env: { CHAINRULE_KERNELS: 'wasm' },
        },
      },
      {
        extends: true,
        test: { name: 'reference', ...onReference, setupFiles: LIKE_NEW, env: { CHAINRULE_KERNELS: 'reference' } },
      },
      {
        extends: true,
        test: {
          name: 'checked',
          ...onCheckedMemory,
          env: { CHAINRULE_KERNELS: 'wasm', CHAINRULE_CHECKED_MEMORY: '1', CHAINRULE_CASES: '4' },
          setupFiles: [LIKE_NEW, 'test/support/check-memory.ts'],
          provide: { repeats: true },
        },
      },
      {
        extends: true,
        test: {
          name: 'turbo',
          ...withTurbo,
          env: { CHAINRULE_KERNELS: 'wasm', CHAINRULE_TURBO: '1', CHAINRULE_CASES: '4' },
          setupFiles: ['test/support/relaxed-simd.ts', LIKE_NEW],
          provide: { repeats: true },
        },
      },
      {
        extends: true,
        test: {
          name: 'threads',
          include: comparisons,
          setupFiles: [LIKE_NEW, 'test/support/share-everything.ts'],
          provide: { repeats: true },
        },
      },
    ],
  },
});

import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';

const src = (path: string): string => fileURLToPath(new URL(`./src/${path}`, import.meta.url));

// The whole suite runs twice: on the WebAssembly kernels and on the reference kernels. Tests whose result does not depend on the kernels run
// once: those of files, datasets, error texts, the example's command, and gradcheck itself. Comparisons of the two run again with every call
// shared among threads.
const once = [
  ...['cifar-like', 'core', 'data', 'io', 'testing'].map((folder) => `test/${folder}/**`),
  ...['diagnosis', 'gradcheck*', 'mutants'].map((name) => `test/inspect/${name}.test.ts`),
  ...['arguments', 'copies', 'dims', 'hostile-values', 'op-coverage', 'refusals'].map((name) => `test/${name}.test.ts`),
  'test/kernels/**',
  'test/interop/**',
  'test/distributed/**',
  'test/train/**',
  'test/scripts/**',
  'test/runtimes/**',
  'test/inspect/looking.test.ts',
  'test/architecture.test.ts',
  'test/declarations.test.ts',
  'test/docs.test.ts',
  'test/pytorch-names.test.ts',
  'test/site.test.ts',
  'test/autograd/methods.test.ts',
  'test/threads.test.ts',
  'test/browser.test.ts',
  'test/playground/**',
  'test/realms.test.ts',
  'test/tour.test.ts',
];
const comparisons = ['elementwise', 'fused', 'pooling', 'products'].map((family) => `test/kernels/${family}.test.ts`);

// Run again on checked memory: redzones, poisoned memory and a quarantine. Left out are tests of the memory's size, which the quarantine
// changes, and long chains, repeated calls and finite differences in large nets, which take long with it.
const onCheckedMemory = {
  include: [
    'test/autograd/**/*.test.ts',
    'test/nn/**/*.test.ts',
    'test/optim/**/*.test.ts',
    'test/inspect/looking.test.ts',
    'test/kernels/{fused,fusion,pooling,products}.test.ts',
  ],
  exclude: ['out-of-memory', 'scoped-loops', 'temporaries', 'whole-nets'].map((name) => `test/autograd/${name}.test.ts`),
  testNamePattern: /^(?!.*(a chain of|can have arguments))/,
};

// Run again with the fastest kernels of the platform, whose products have other roundings: gradients, PyTorch's values, and comparisons of
// products with the reference kernels.
const withTurbo = {
  include: [
    'test/autograd/{gradient-table,parity*}.test.ts',
    'test/nn/{layer-parity,trajectories}.test.ts',
    'test/kernels/products.test.ts',
  ],
};

export default defineConfig({
  resolve: {
    alias: [
      { find: /^chainrule$/, replacement: src('index.ts') },
      { find: /^chainrule\/nn\/functional$/, replacement: src('nn/functional.ts') },
      { find: /^chainrule\/(nn|optim|data|io|train|interop|distributed|testing)$/, replacement: src('$1/index.ts') },
    ],
  },
  test: {
    // By default Vitest leaves one processor to itself, and on two processors runs one file after the other.
    maxWorkers: availableParallelism(),
    testTimeout: 120_000,
    hookTimeout: 120_000,
    // npm run coverage. AssemblyScript cannot be measured: V8 does not count inside WebAssembly.
    coverage: {
      provider: 'v8',
      include: ['src/**/*.ts'],
      exclude: ['src/kernels/assembly/**', 'src/**/*.generated.ts'],
      reporter: [['text', { maxCols: 100 }], 'html'],
    },
    projects: [
      { extends: true, test: { name: 'wasm', include: ['test/**/*.test.ts'], env: { CHAINRULE_KERNELS: 'wasm' } } },
      {
        extends: true,
        test: { name: 'reference', include: ['test/**/*.test.ts'], exclude: once, env: { CHAINRULE_KERNELS: 'reference' } },
      },
      {
        extends: true,
        test: {
          name: 'checked',
          ...onCheckedMemory,
          env: { CHAINRULE_KERNELS: 'wasm', CHAINRULE_CHECKED_MEMORY: '1', CHAINRULE_CASES: '8' },
          setupFiles: 'test/support/check-memory.ts',
        },
      },
      {
        extends: true,
        test: {
          name: 'turbo',
          ...withTurbo,
          env: { CHAINRULE_KERNELS: 'wasm', CHAINRULE_TURBO: '1', CHAINRULE_CASES: '4' },
          setupFiles: 'test/support/relaxed-simd.ts',
        },
      },
      { extends: true, test: { name: 'threads', include: comparisons, setupFiles: 'test/support/share-everything.ts' } },
    ],
  },
});

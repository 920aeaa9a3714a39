import { resolve } from 'node:path';
import { BaseSequencer, type TestSpecification } from 'vitest/node';
import { defineConfig } from 'vitest/config';
import base from './vitest.config.ts';

// npm run mutation: the tests that are about the files it changes, on the WebAssembly kernels. A mutant is tested until the first failure, so
// the tests that notice most in least time come first. Few cases of the gradient table, as each mutant runs them again. Left out are tests
// that train nets, run random programs or repeat calls, and by test/support/mutation.ts a few others: they notice little more and take long.
const engine = [
  ...tests('autograd', 'tensor errors operands lifetime functional recompute surface rearrange op-spec backward'),
  'test/arguments.test.ts',
  'test/copies.test.ts',
];
const instruments = [...tests('inspect', 'profile graph compare gradcheck-steps gradcheck anomaly'), ...tests('nn', 'module')];
// First those that count what the garbage collector frees: later ones leave it something.
const withCollector = [...tests('autograd', 'finalizers scoped-loops across-await'), ...engine];
const operations = [
  ...tests(
    'autograd',
    'rearrange surface errors parity-rearrange parity-elementwise parity parity-conv-pool numbers ordering views operands gradient-table',
  ),
  ...tests('nn', 'conv-pool dropout functional losses layer-parity squeeze-excite'),
  'test/arguments.test.ts',
  'test/refusals.test.ts',
];
const testsOf: Readonly<Record<string, readonly string[]>> = {
  'src/autograd/tape': withCollector,
  'src/autograd/gc-fallback': withCollector,
  'src/autograd/scope': withCollector,
  'src/autograd/scoped-loops': [...withCollector, ...tests('data', 'async')],
  'src/autograd/scope-stack': [...withCollector, ...tests('autograd', 'temporaries')],
  'src/kernels/memory/': [...tests('kernels', 'memory checked-memory'), ...tests('autograd', 'tensor'), ...tests('kernels', 'fusion')],
  'src/kernels/memory/checked-memory': tests('kernels', 'checked-memory'),
  'src/io/': [...tests('io', 'safetensors-format safetensors checkpoint checkpoint-states files'), 'test/arguments.test.ts'],
  'src/io/safetensors-': [...tests('io', 'safetensors-format safetensors'), 'test/arguments.test.ts'],
  'src/io/element-types': [...tests('io', 'safetensors-format'), ...tests('interop', 'npy torch')],
  'src/data/': [...tests('data', 'dataset loader async'), 'test/arguments.test.ts'],
  'src/data/cifar': [...tests('data', 'cifar readers'), 'test/arguments.test.ts'],
  'src/data/mnist': [...tests('data', 'mnist readers'), 'test/arguments.test.ts'],
  'src/data/split': [...tests('data', 'cifar mnist readers'), 'test/arguments.test.ts'],
  'src/data/color': tests('data', 'images transforms'),
  'src/data/geometry': tests('data', 'images transforms'),
  'src/data/image': tests('data', 'images transforms'),
  'src/data/transforms': tests('data', 'transforms images dataset loader'),
  'src/data/image-folder': tests('data', 'image-folder'),
  'src/data/mixing': tests('data', 'mixing'),
  'src/data/samplers': tests('data', 'samplers loader'),
  'src/data/subsets': tests('data', 'subsets dataset'),
  'src/data/tensor-dataset': tests('data', 'subsets dataset'),
  'src/data/synthetic': tests('data', 'synthetic'),
  'src/data/fast-random': tests('data', 'fast-random synthetic'),
  'src/data/batches': tests('data', 'dataset loader async samplers'),
  // Without workers.test.ts, which starts threads for seconds: it shows what these tests, with workers of their own, do not.
  'src/data/threads': tests('data', 'async'),
  'src/data/workers': tests('data', 'async'),
  'src/optim/': [
    ...tests('optim', 'clip ema schedulers more-schedulers rates sgd adam rmsprop-muon'),
    ...['arguments', 'copies', 'refusals'].map((name) => `test/${name}.test.ts`),
  ],
  'src/autograd/': engine,
  'src/autograd/backward': [...engine, ...instruments],
  'src/autograd/op.ts': [...engine, ...instruments, ...tests('autograd', 'views')],
  'src/autograd/tensor': [...withCollector, ...tests('autograd', 'views')],
  'src/autograd/instrumentation': [...instruments, ...engine],
  'src/autograd/create': [...engine, ...tests('autograd', 'numbers')],
  'src/autograd/random': [
    ...engine,
    ...tests('core', 'random'),
    ...tests('nn', 'init-bounds dropout functional'),
    ...tests('autograd', 'ordering'),
  ],
  'src/autograd/ops/': operations,
  'src/autograd/ops/inplace': [...operations, ...tests('autograd', 'recompute'), ...tests('nn', 'module'), ...tests('optim', 'ema clip')],
  'examples/cifar-like/report/': tests('cifar-like', 'report report-page'),
};
const folders = Object.keys(testsOf);
// The fixed beginnings of the patterns under mutation. Each needs the list of the longest name that it begins with, and of those within.
const mutated = (process.env.CHAINRULE_MUTATED ?? 'src/,examples/').split(',').map((pattern) => pattern.replace(/[*:{].*/, ''));
const around = mutated.map((path) =>
  folders
    .filter((folder) => path.startsWith(folder))
    .toSorted((a, b) => a.length - b.length)
    .at(-1),
);
const include = [
  ...new Set(
    Object.entries(testsOf).flatMap(([folder, list]) =>
      around.includes(folder) || mutated.some((path) => folder.startsWith(path)) ? list : [],
    ),
  ),
];

class InTheOrderGiven extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const position = new Map(include.map((path, i) => [resolve(path), i]));
    return files.toSorted((a, b) => position.get(a.moduleId)! - position.get(b.moduleId)!);
  }
}

function tests(folder: string, names: string): string[] {
  return names.split(' ').map((name) => `test/${folder}/${name}.test.ts`);
}

// One process for all files, also for those that otherwise have their own.
const { projects: _, pool: __, ...shared } = base.test ?? {};

export default defineConfig({
  ...base,
  test: {
    ...shared,
    include,
    sequence: { sequencer: InTheOrderGiven },
    setupFiles: 'test/support/mutation.ts',
    // A new copy of the library for each file would take longer than most files' tests.
    isolate: false,
    env: { CHAINRULE_KERNELS: 'wasm', CHAINRULE_CASES: process.env.CHAINRULE_CASES ?? '4', CHAINRULE_THREADS: '1' },
  },
});

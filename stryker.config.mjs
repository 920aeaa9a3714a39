// npm run mutation: changes code in small ways, and lists the changes that no test notices.
const mutate = [
  'src/autograd/**/*.ts',
  'src/optim/**/*.ts',
  'src/io/**/*.ts',
  'src/data/**/*.ts',
  'src/kernels/memory/**/*.ts',
  'examples/cifar-like/report/**/*.ts',
];

// The files of --mutate, for vitest.mutation.config.ts, which runs the tests of these alone. Stryker passes the environment on, not its arguments.
const option = process.argv.findIndex((argument) => /^(-m|--mutate)$/.test(argument));
process.env.CHAINRULE_MUTATED = option < 0 ? mutate.join(',') : process.argv[option + 1];

export default {
  mutate,
  testRunner: 'vitest',
  plugins: ['@stryker-mutator/vitest-runner'],
  // Nearly every test imports the whole library, so the search for related tests would find them all, once a mutant.
  vitest: { configFile: 'vitest.mutation.config.ts', related: false },
  coverageAnalysis: 'perTest',
  // A change of what runs on import would need every test again.
  ignoreStatic: true,
  // vitest strips types without checking them, and TypeScript 7 has no JavaScript API for Stryker to read a tsconfig file with.
  disableTypeChecks: false,
  tsconfigFile: 'none',
  concurrency: 1,
  // Added to 1.5 times what the tests of a mutant took without it. Most endless loops end by Stryker's count of hits, the others by this.
  timeoutMS: 15_000,
  // A report, not a gate.
  thresholds: { high: 80, low: 60, break: null },
  reporters: ['clear-text', 'html', 'json'],
  clearTextReporter: { allowColor: false, logTests: false, reportTests: false },
  htmlReporter: { fileName: 'coverage/mutation.html' },
  jsonReporter: { fileName: 'coverage/mutation.json' },
  ignorePatterns: ['/dist', '/runs', '/coverage', '/bench', '/docs'],
  tempDirName: 'coverage/stryker',
};

// npm run mutation: changes code in small ways, and lists the changes that no test notices.
export default {
  mutate: [
    'src/autograd/**/*.ts',
    'src/optim/**/*.ts',
    'src/io/**/*.ts',
    'src/data/**/*.ts',
    'src/kernels/memory/**/*.ts',
    'examples/cifar-like/report/**/*.ts',
  ],
  testRunner: 'vitest',
  plugins: ['@stryker-mutator/vitest-runner'],
  vitest: { configFile: 'vitest.mutation.config.ts' },
  coverageAnalysis: 'perTest',
  // A change of what runs on import would need every test again.
  ignoreStatic: true,
  // vitest strips types without checking them, and TypeScript 7 has no JavaScript API for Stryker to read a tsconfig file with.
  disableTypeChecks: false,
  tsconfigFile: 'none',
  concurrency: 1,
  timeoutMS: 20_000,
  // A report, not a gate.
  thresholds: { high: 80, low: 60, break: null },
  reporters: ['clear-text', 'html', 'json'],
  clearTextReporter: { allowColor: false, logTests: false, reportTests: false },
  htmlReporter: { fileName: 'coverage/mutation.html' },
  jsonReporter: { fileName: 'coverage/mutation.json' },
  ignorePatterns: ['/dist', '/runs', '/coverage', '/bench', '/docs'],
  tempDirName: 'coverage/stryker',
};

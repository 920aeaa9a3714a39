import { defineConfig } from 'vitest/config';
import base from './vitest.config.ts';

// npm run mutation: the tests that are about the files it changes, once, on the WebAssembly kernels. Few cases of the gradient table, as
// each mutant runs them again. Tests that train nets or run random programs notice little more and take minutes.
const { projects: _, ...shared } = base.test ?? {};

export default defineConfig({
  ...base,
  test: {
    ...shared,
    include: [
      'test/arguments.test.ts',
      'test/{autograd,data,io,optim}/**/*.test.ts',
      'test/kernels/{memory,checked-memory,fusion}.test.ts',
      'test/nn/{conv-pool,dropout,functional,losses}.test.ts',
      'test/cifar-like/report.test.ts',
    ],
    exclude: ['test/autograd/{memory-model,whole-nets,scoped-loops,finalizers,out-of-memory}.test.ts'],
    env: { CHAINRULE_KERNELS: 'wasm', CHAINRULE_CASES: process.env.CHAINRULE_CASES ?? '8', CHAINRULE_THREADS: '1' },
  },
});

import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { environment } from '../../src/platform/node.ts';

// Variables of the environment, on platforms that have none or forbid reading them. Deno without --allow-env throws on each read.

const src = fileURLToPath(new URL('../../src/', import.meta.url));

class NotCapable extends Error {}

const forbidden = (): never => {
  throw new NotCapable('Requires env access, run again with the --allow-env flag');
};

afterEach(() => {
  vi.unstubAllGlobals();
  vi.resetModules();
});

test('environment reads a variable, and returns undefined where there is none', () => {
  vi.stubEnv('CHAINRULE_OF_THIS_TEST', 'x');
  expect(environment('CHAINRULE_OF_THIS_TEST')).toBe('x');
  vi.unstubAllEnvs();
  expect(environment('CHAINRULE_OF_THIS_TEST')).toBeUndefined();
  for (const process of [undefined, null, {}, { env: undefined }, { env: {} }]) {
    vi.stubGlobal('process', process);
    expect(environment('CHAINRULE_THREADS')).toBeUndefined();
  }
});

test.each(['CHAINRULE_ANOMALY', 'CHAINRULE_CHECKED_MEMORY'])('%s is 1 or 0, and nothing else', async (name) => {
  for (const value of ['', '0']) {
    vi.stubEnv(name, value);
    vi.resetModules();
    await import('../../src/index.ts');
  }
  for (const value of ['yes', 'true', '2', ' 1']) {
    vi.stubEnv(name, value);
    vi.resetModules();
    await expect(import('../../src/index.ts')).rejects.toThrow(`${name}: expected 1 or 0, got '${value}'`);
  }
  vi.unstubAllEnvs();
});

describe('a platform that forbids the environment has the defaults', () => {
  const node = process;
  const entries: readonly (() => Promise<unknown>)[] = [
    () => import('../../src/nn/index.ts'),
    () => import('../../src/nn/functional.ts'),
    () => import('../../src/optim/index.ts'),
    () => import('../../src/data/index.ts'),
    () => import('../../src/io/index.ts'),
    () => import('../../src/train/index.ts'),
    () => import('../../src/interop/index.ts'),
    () => import('../../src/testing/index.ts'),
  ];
  const reads: string[] = [];
  const refuseName = (_: object, name: PropertyKey): unknown => {
    if (!String(name).startsWith('CHAINRULE_')) return Reflect.get(node.env, name);
    reads.push(String(name));
    return forbidden();
  };
  const refusing: Readonly<Record<string, object>> = {
    'each variable throws': new Proxy(node, {
      get: (of, name) => (name === 'env' ? new Proxy({}, { get: refuseName, has: () => forbidden() }) : Reflect.get(of, name)),
    }),
    'process.env throws': new Proxy(node, { get: (of, name) => (name === 'env' ? forbidden() : Reflect.get(of, name)) }),
  };

  test.each(Object.keys(refusing))('%s', async (how) => {
    reads.length = 0;
    vi.resetModules();
    vi.stubGlobal('process', refusing[how]);
    const { getNumThreads, tensor } = await import('../../src/index.ts');
    await Promise.all(entries.map((load) => load()));
    expect(getNumThreads()).toBeGreaterThanOrEqual(1);
    expect(tensor([1, 2]).add(1).toArray()).toEqual([2, 3]);
    if (how !== 'each variable throws') return;
    const names = ['ANOMALY', 'CHECKED_MEMORY', 'KERNELS', 'THREADS', 'TURBO'].map((name) => `CHAINRULE_${name}`);
    expect(new Set(reads)).toEqual(new Set(names));
  });
});

test('no other file of src reads the environment', () => {
  const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((f) => f.endsWith('.ts') && !f.endsWith('.generated.ts'));
  const reads = /\bprocess\b[^\n]{0,20}\benv\b|\bDeno\b|import\.meta\.env/;
  expect(files.filter((f) => reads.test(readFileSync(join(src, f), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '')))).toEqual([
    join('platform', 'node.ts'),
  ]);
});

describe('a platform without what the kernels need says so at import', () => {
  const none = 'chainrule: there is no WebAssembly: Node has none with --jitless, nor has Safari in Lockdown Mode';
  const refuses = (valid: boolean): object => ({
    Memory: WebAssembly.Memory,
    Module: function refused() {
      throw new WebAssembly.CompileError('refused');
    },
    validate: () => valid,
  });

  test.each([
    ['no WebAssembly', undefined, none],
    ['no SIMD', refuses(false), /^chainrule: this platform has no WebAssembly SIMD, which Chrome and Edge have from 91 on/],
    ['a policy that forbids it', refuses(true), /must allow 'wasm-unsafe-eval' in script-src$/],
  ])('%s', async (_, substitute, message) => {
    vi.resetModules();
    vi.stubGlobal('WebAssembly', substitute);
    await expect(import('../../src/index.ts')).rejects.toThrow(message);
    await expect(import('../../src/index.ts')).rejects.toMatchObject({ name: 'ChainruleError' });
  });
});

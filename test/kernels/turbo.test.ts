import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { manualSeed, memory, randn, tensor, type Tensor } from 'chainrule';
import * as F from 'chainrule/nn/functional';
import { expect, test } from 'vitest';
import { kernelBytes, kernelModule, useKernels } from '../../src/kernels/wasm/module.ts';
import { useIfIdentical, turboKernelBytes } from '../../src/kernels/wasm/turbo.ts';

/** The opcodes of f32x4.add and f32x4.sub. */
const [ADD, SUB] = [
  [0xfd, 0xe4, 0x01],
  [0xfd, 0xe5, 0x01],
];

test('kernels with bitwise identical results are adopted', () => {
  const before = memory().bytes;
  const other = new WebAssembly.Module(kernelBytes());
  expect(useIfIdentical(() => other)).toBe(true);
  expect(kernelModule).toBe(other);
  expect(memory().bytes).toBe(before);
  expect(
    tensor([1, 2])
      .add(tensor([3, 4]))
      .toArray(),
  ).toEqual([4, 6]);
});

test('micro-kernels for wide vectors are bitwise identical, with any remainder in each dimension', () => {
  const results = (): string[] => {
    manualSeed(3);
    const leaf = (...shape: number[]): Tensor => randn(shape, { requiresGrad: true });
    const bits = (x: Tensor, w: Tensor, y: Tensor): string => {
      y.square().sum().backward();
      return [y, x.grad!, w.grad!].map((t) => t.data().join()).join();
    };
    const products = [
      [1, 7, 16],
      [7, 300, 33],
      [70, 5, 100],
    ].map(([M, K, N]) => {
      const [a, b] = [leaf(M!, K!), leaf(K!, N!)];
      return bits(a, b, a.matmul(b));
    });
    const images = [
      [1, 16, 16, 8, 8],
      [3, 17, 33, 7, 9],
      [2, 64, 20, 12, 5],
      [1, 5, 66, 4, 21],
    ].flatMap(([N, C, O, H, W]) => {
      const x = leaf(N!, C!, H!, W!);
      // Stride 1 uses Winograd, stride 2 direct convolution.
      return [1, 2].map((stride) => {
        const w = leaf(O!, C!, 3, 3);
        x.grad = null;
        return bits(x, w, F.conv2d(x, w, null, { padding: 1, stride }));
      });
    });
    return [...products, ...images];
  };
  const before = kernelModule;
  const narrow = results();
  try {
    useKernels(new WebAssembly.Module(turboKernelBytes()));
    expect(results()).toEqual(narrow);
  } finally {
    useKernels(before);
  }
});

test('kernels with one wrong operation are not adopted', () => {
  const bytes = kernelBytes();
  let spoiled = 0;
  for (let i = 0; i + 2 < bytes.length; i++) {
    if (ADD!.every((b, j) => bytes[i + j] === b) && ++spoiled) bytes.set(SUB!, i);
  }
  expect(spoiled).toBeGreaterThan(100);
  const before = kernelModule;
  expect(useIfIdentical(() => new WebAssembly.Module(bytes))).toBe(false);
  expect(kernelModule).toBe(before);
  expect(
    tensor([1, 2, 3, 4, 5])
      .add(tensor([3, 4, 5, 6, 7]))
      .toArray(),
  ).toEqual([4, 6, 8, 10, 12]);
});

test('CHAINRULE_TURBO=1 is bitwise identical, or warns that it is not used', () => {
  const program = `
    import { manualSeed, randn } from '${new URL('../../src/index.ts', import.meta.url).href}';
    manualSeed(1);
    const [a, b] = [randn([40, 70]), randn([70, 50])];
    console.log(a.matmul(b).relu().data().join());`;
  const run = (turbo: string): { out: string; err: string } => {
    const { status, stdout, stderr } = spawnSync(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], {
      encoding: 'utf8',
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
      env: { ...process.env, CHAINRULE_KERNELS: 'wasm', CHAINRULE_TURBO: turbo },
    });
    expect(status, stderr).toBe(0);
    return { out: stdout, err: stderr };
  };
  const [off, on] = [run('0'), run('1')];
  expect(on.out).toBe(off.out);
  expect(off.err).toBe('');
  if (Number.parseInt(process.versions.node, 10) >= 24) expect(on.err).toBe('');
  else expect(on.err).toContain(`CHAINRULE_TURBO needs Node 24 or later, this is ${process.versions.node}: going on without`);
});

import { spawnSync } from 'node:child_process';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import '../support/relaxed-simd.ts';
import { compileProgram } from '../support/compile-program.ts';
import { getTurbo, manualSeed, memory, randn, tensor, type Tensor, type TurboReport } from 'chainrule';
import * as F from 'chainrule/nn/functional';
import { fuseMultiplyAdds } from '../../src/kernels/wasm/fma.ts';
import { kernelBytes, kernelModule, useKernels } from '../../src/kernels/wasm/module.ts';
import { poolFor, setNumThreads } from '../../src/kernels/threads/pool.ts';
import {
  adoptUnless,
  fusedFault,
  fusedKernelBytes,
  wideFault,
  wideRefusal,
  withTurboSection,
} from '../../src/kernels/wasm/compilations.ts';

const defaultModule = kernelModule;

afterEach(() => useKernels(defaultModule));

const compiled = (bytes: Uint8Array<ArrayBuffer>): WebAssembly.Module => new WebAssembly.Module(bytes);

const OTHER_BITS = 'the 256-bit kernels computed other bits than the 128-bit ones in their self-test';
const WRONG_NUMBERS = 'the kernels with fused multiply-adds computed wrong numbers in their self-test';

describe('a compilation of the kernels', () => {
  test('is adopted if it computes the same bits, and the self-test leaves no trace', () => {
    const before = memory();
    const other = compiled(kernelBytes());
    expect(adoptUnless(wideFault, () => other)).toBeNull();
    expect(kernelModule).toBe(other);
    expect({ ...memory(), pages: 0 }).toEqual({ ...before, pages: 0 });
    expect(
      tensor([1, 2])
        .add(tensor([3, 4]))
        .toArray(),
    ).toEqual([4, 6]);
  });

  test('with fused multiply-adds is adopted as such, and not as one with the same bits', () => {
    const fused = compiled(fusedKernelBytes());
    expect(adoptUnless(wideFault, () => fused)).toBe(OTHER_BITS);
    expect(kernelModule).toBe(defaultModule);
    expect(adoptUnless(fusedFault, () => fused)).toBeNull();
    expect(kernelModule).toBe(fused);
  });

  test('that only claims to fuse is not adopted', () => {
    expect(adoptUnless(fusedFault, () => compiled(kernelBytes()))).toBe('this processor has no fused multiply-add');
    expect(kernelModule).toBe(defaultModule);
  });

  test('that fails is not adopted', () => {
    const fail = (): never => {
      throw new WebAssembly.CompileError('no memory');
    };
    expect(adoptUnless(fusedFault, fail)).toBe('the self-test of other kernels failed (CompileError: no memory)');
    expect(kernelModule).toBe(defaultModule);
  });

  // Sites far apart lie in different micro-kernels. Those of 4 rows run in 256-bit code alone, those of 6 rows if that is fused too, and some
  // others in 128-bit code alone.
  const apart = process.env.CHAINRULE_LONG === '1' ? 64 : 128;
  test.each(Array.from({ length: Math.floor(704 / apart) }, (_, i) => 3 + apart * i))(
    'that subtracts in place of addition %i is not adopted',
    (n) => {
      const bytes = kernelBytes();
      // The opcodes of subtractions follow those of additions.
      bytes[multiplyAdds()[n]!]!++;
      const wide = withTurboSection(bytes, 'wide');
      const binaries = [bytes, wide, withTurboSection(wide, 'fused')];
      const faults = (findFault: typeof fusedFault): (string | null)[] =>
        binaries.map((binary) => {
          useKernels(defaultModule);
          return adoptUnless(findFault, () => compiled(binary));
        });
      expect(faults(fusedFault)).toContain(WRONG_NUMBERS);
      expect(faults(wideFault)).toContain(OTHER_BITS);
    },
  );
});

/** Returns where the second byte of each addition is that fuseMultiplyAdds replaces. */
function multiplyAdds(): number[] {
  const fused = fusedKernelBytes();
  return [...kernelBytes().entries()].flatMap(([i, byte]) => ([0xe4, 0xf0].includes(byte) && byte !== fused[i] ? [i] : []));
}

/** The multiply-adds of the micro-kernel of 6 rows × 4 vectors, which has two steps. */
const SIX_ROWS = 2 * 6 * 4;

describe('fused multiply-adds', () => {
  test('replace the multiply-adds of float32 and of float64, and nothing twice', () => {
    const bytes = kernelBytes();
    const count = fuseMultiplyAdds(bytes);
    expect(count).toBe(multiplyAdds().length);
    expect(count).toBeGreaterThan(500);
    // The micro-kernel of 6 rows is for float32 alone.
    expect(multiplyAdds().filter((i) => bytes[i] === 0x85).length).toBe(count / 2 + SIX_ROWS / 2);
    expect(fuseMultiplyAdds(bytes)).toBe(0);
    expect(bytes.length).toBe(kernelBytes().length);
  });

  test('leave other bytes as they are', () => {
    const [mul, add, get] = [
      [0xfd, 0xe6, 0x01],
      [0xfd, 0xe4, 0x01],
      [0x20, 0x85, 0x01],
    ] as const;
    const after = (bytes: readonly number[]): number[] => {
      const patched = Uint8Array.from(bytes);
      fuseMultiplyAdds(patched);
      return [...patched];
    };
    expect(after([...mul, ...get, ...add])).toEqual([1, 1, 1, ...get, 0xfd, 0x85, 0x02]);
    // A product that is the second operand, an addition of float64, one without a variable, and the end of the binary.
    const others = [
      [...get, ...mul, ...add],
      [...mul, ...get, 0xfd, 0xf0, 0x01],
      [...mul, 0x1a, 0x00, ...add],
      [...mul, ...get],
      [...mul, ...get, 0xfd],
    ];
    for (const bytes of others) expect(after(bytes)).toEqual(bytes);
  });

  test('change no bit but those of products', () => {
    const results = (): string[] => {
      manualSeed(4);
      const x = randn([5, 24, 9, 9], { requiresGrad: true });
      const rows = randn([37, 29], { requiresGrad: true });
      // Row-major images and channels-last ones have kernels of their own.
      const nhwc = randn([5, 9, 9, 24], { requiresGrad: true });
      const y = F.batchNorm(x, { training: true }).relu();
      const z = F.batchNorm(nhwc.permute([0, 3, 1, 2]), { training: true }).relu();
      const values = [
        x.exp(),
        x.tanh(),
        x.sigmoid(),
        x.gelu(),
        x.mean([2, 3]),
        x.var([0, 2, 3]),
        y,
        z,
        rows.softmax(1),
        rows.logSoftmax(0),
      ];
      values.push(F.crossEntropy(rows, randn([37]).mul(0).to('int32')), F.layerNorm(rows, [29]), F.maxPool2d(x, 2));
      for (const value of values) value.sin().sum().backward({ retainGraph: true });
      return [...values, x.grad!, nhwc.grad!, rows.grad!].map((t) => t.data().join());
    };
    const expected = results();
    useKernels(compiled(fusedKernelBytes()));
    expect(results()).toEqual(expected);
  });

  test('have smaller errors in short sums', () => {
    const error = (): number => {
      manualSeed(5);
      const [a, b] = [randn([500, 3]), randn([3, 500])];
      const exact = a.to('float64').matmul(b.to('float64'));
      return a.matmul(b).to('float64').sub(exact).square().mean().sqrt().item();
    };
    const roundedTwice = error();
    useKernels(compiled(fusedKernelBytes()));
    expect(error()).toBeLessThan(0.9 * roundedTwice);
  });
});

/** Returns the bits of products and convolutions, with any remainder in each dimension. */
function bitsOfProducts(): string[] {
  manualSeed(3);
  const leaf = (...shape: number[]): Tensor => randn(shape, { requiresGrad: true });
  const bits = (x: Tensor, w: Tensor, y: Tensor): string => {
    y.square().sum().backward();
    return [y, x.grad!, w.grad!].map((t) => t.data().join()).join();
  };
  const products = [
    [1, 7, 16],
    [7, 300, 33],
    [20, 9, 48],
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
}

test.each([
  ['kernels', kernelBytes],
  ['kernels with fused multiply-adds', fusedKernelBytes],
])('%s for wide vectors are bitwise identical to narrow ones', (_, bytes) => {
  useKernels(compiled(bytes()));
  const narrow = bitsOfProducts();
  useKernels(compiled(withTurboSection(bytes(), 'wide')));
  expect(bitsOfProducts()).toEqual(narrow);
});

test('kernels with fused multiply-adds have the same bits again, and on two threads', () => {
  useKernels(compiled(fusedKernelBytes()));
  setNumThreads(1);
  const expected = bitsOfProducts();
  expect(bitsOfProducts()).toEqual(expected);
  setNumThreads(2);
  expect(bitsOfProducts()).toEqual(expected);
});

test('a pool ends when other kernels come into use', () => {
  setNumThreads(2);
  const pool = poolFor(kernelModule);
  expect(pool).not.toBeNull();
  expect(poolFor(kernelModule)).toBe(pool);
  useKernels(compiled(fusedKernelBytes()));
  const next = poolFor(kernelModule)!;
  expect(next).not.toBe(pool);
  expect(next.module).toBe(kernelModule);
  setNumThreads(1);
});

describe('256-bit kernels are compiled', () => {
  const platform = (v8: string, more: object = {}, arch: NodeJS.Architecture = 'x64'): Parameters<typeof wideRefusal>[0] => ({
    versions: { ...process.versions, node: '99.1.0', v8, ...more },
    arch,
  });
  const untested = (v8: string): string => `256-bit kernels are tested on Node 24, 25 and 26 only, this is Node 99.1.0 with V8 ${v8}`;

  test.each([
    ['on Node 24', platform('13.6.233.17-node.63'), null],
    ['on Node 25', platform('14.1.146.11-node.25'), null],
    ['on Node 26', platform('14.6.202.34-node.40'), null],
    ['not on another V8', platform('14.60.1.1-node.1'), untested('14.60.1.1-node.1')],
    ['not on an older V8', platform('12.4.254.21-node.57'), untested('12.4.254.21-node.57')],
    ['not in Electron', platform('13.6.233.8-electron.0'), untested('13.6.233.8-electron.0')],
    ['not in Bun', platform('13.6.233.17-node.63', { bun: '1.4.5' }), '256-bit kernels need Node'],
    ['not in Deno', platform('14.6.202.34-rusty', { deno: '2.9.6' }), '256-bit kernels need Node'],
    ['not on ARM', platform('13.6.233.17-node.63', {}, 'arm64'), '256-bit kernels need an x86-64 processor, this is arm64'],
  ])('%s', (_, given, expected) => {
    expect(wideRefusal(given)).toBe(expected);
  });
});

describe('setTurbo', () => {
  let library: typeof import('../../src/index.ts');

  /** Imports the library anew, as no tensor may exist yet. */
  beforeEach(async () => {
    vi.resetModules();
    library = await import('../../src/index.ts');
  });

  const product = (): string => {
    library.manualSeed(1);
    return library
      .randn([40, 70])
      .matmul(library.randn([70, 50]))
      .data()
      .join();
  };

  test('is off at the start', () => {
    expect(library.getTurbo()).toEqual({ choice: false, vectorBits: 128, fusedMultiplyAdd: false, declined: [] });
  });

  test('reports the kernels in use', () => {
    const report = library.setTurbo(true);
    expect(report).toBe(library.getTurbo());
    expect(report).toMatchObject({ choice: true, fusedMultiplyAdd: true });
    expect(report.vectorBits === 256).toBe(wideRefusal(process) === null);
    expect(report.declined).toEqual([wideRefusal(process)].filter((text) => text !== null));
    expect(library.memory()).toMatchObject({ bytes: 0, peakBytes: 0, tensors: 0 });
    expect(product()).not.toBe(productByDefault());
  });

  test("'identical' has the default's bits", () => {
    const report = library.setTurbo('identical');
    expect(report).toMatchObject({ choice: 'identical', fusedMultiplyAdd: false });
    expect(product()).toBe(productByDefault());
  });

  test('can be changed until a tensor is made, and be repeated after that', () => {
    library.setTurbo(true);
    library.setTurbo('identical');
    expect(library.setTurbo(false)).toEqual({ choice: false, vectorBits: 128, fusedMultiplyAdd: false, declined: [] });
    expect(product()).toBe(productByDefault());
    expect(library.setTurbo(false)).toBe(library.getTurbo());
    const error =
      'setTurbo: tensors have been made already, with turbo false. Call setTurbo(true) before the first one is made, or set CHAINRULE_TURBO';
    expect(() => library.setTurbo(true)).toThrow(new library.ChainruleError(error));
    library.memory({ resetPeak: true });
    expect(() => library.setTurbo(true)).toThrow(error);
    expect(library.getTurbo().choice).toBe(false);
  });

  test.each(['on', 1, null, undefined, '1'])('throws for %s', (choice) => {
    expect(() => library.setTurbo(choice as never)).toThrow(/^setTurbo: expected true, 'identical' or false, got /);
  });

  function productByDefault(): string {
    manualSeed(1);
    return randn([40, 70])
      .matmul(randn([70, 50]))
      .data()
      .join();
  }
});

describe('CHAINRULE_TURBO', async () => {
  const imported = await compileProgram(fileURLToPath(new URL('../../src/index.ts', import.meta.url)));
  const program = `
    import { getTurbo, manualSeed, randn } from '${pathToFileURL(imported).href}';
    manualSeed(1);
    const [a, b] = [randn([40, 70]), randn([70, 50])];
    console.log(JSON.stringify({ turbo: getTurbo(), bits: a.matmul(b).relu().data().join() }));`;

  function run(turbo: string, kernels = 'wasm'): { turbo: TurboReport; bits: string; warning: string } {
    const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
      encoding: 'utf8',
      cwd: fileURLToPath(new URL('../..', import.meta.url)),
      env: { ...process.env, CHAINRULE_KERNELS: kernels, CHAINRULE_TURBO: turbo },
    });
    expect(status, stderr).toBe(0);
    return { ...(JSON.parse(stdout) as { turbo: TurboReport; bits: string }), warning: stderr };
  }

  test('chooses at the import', () => {
    const off = run('0');
    expect(off).toMatchObject({ turbo: { choice: false, vectorBits: 128, fusedMultiplyAdd: false }, warning: '' });
    const identical = run('identical');
    expect(identical.turbo).toMatchObject({ choice: 'identical', fusedMultiplyAdd: false });
    expect(identical.bits).toBe(off.bits);
    const fastest = run('1');
    expect(fastest.turbo.choice).toBe(true);
    expect(fastest.bits === off.bits).toBe(!fastest.turbo.fusedMultiplyAdd);
    for (const { turbo, warning } of [identical, fastest]) {
      const hasEffect = turbo.vectorBits === 256 || turbo.fusedMultiplyAdd;
      expect(warning).toBe(hasEffect ? '' : `chainrule: CHAINRULE_TURBO has no effect: ${turbo.declined.join('; ')}\n`);
    }
  });

  test('has no effect on the reference kernels', () => {
    const why = 'CHAINRULE_KERNELS=reference computes in plain TypeScript';
    expect(run('1', 'reference').turbo).toEqual({ choice: true, vectorBits: null, fusedMultiplyAdd: false, declined: [why] });
    expect(run('', 'reference').turbo).toEqual({ choice: false, vectorBits: null, fusedMultiplyAdd: false, declined: [] });
  });

  test.each(['yes', 'true', '2', 'constructor'])('throws at the import for %s', async (value) => {
    vi.resetModules();
    vi.stubEnv('CHAINRULE_TURBO', value);
    const error = `CHAINRULE_TURBO: expected 1, identical or 0, got '${value}'`;
    await expect(import('../../src/index.ts')).rejects.toThrow(error);
    vi.unstubAllEnvs();
  });
});

test('getTurbo has no options', () => {
  expect(getTurbo().choice).toBe(false);
  expect(() => (getTurbo as (surplus: object) => TurboReport)({ all: true })).toThrow('getTurbo: there are no options, got an object');
});

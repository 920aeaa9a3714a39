import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { batchNorm, manualSeed, memory, ones, randint, randn, scope, type Tensor } from '../../src/autograd/index.ts';
import type { FloatDType } from '../../src/core/dtype.ts';
import { sizeOf, type Shape } from '../../src/core/shape.ts';
import { detectAnomaly, profile } from '../../src/inspect/index.ts';
import { kernels } from '../../src/kernels/index.ts';
import { addressOf, type View } from '../../src/kernels/view.ts';
import type { DeferredCall } from '../../src/kernels/wasm/fusion/deferred-call.ts';
import { elementwiseKernels } from '../../src/kernels/wasm/elementwise.ts';
import { fusedKernels } from '../../src/kernels/wasm/fused.ts';
import { fusingFusedKernels, fusingKernels } from '../../src/kernels/wasm/fusion/batch-norm-relu.ts';
import * as F from '../../src/nn/functional.ts';
import * as nn from '../../src/nn/index.ts';
import { difference, freed, numbers, read, runs, view } from './layouts.ts';

// Deferred kernels against the same kernels run at once: bitwise identical, in whatever order their operands are accessed.

type Steps = Pick<typeof elementwiseKernels, 'unary' | 'binary'> & Pick<typeof fusedKernels, 'batchNormApply' | 'batchNormGrad'>;
const eager: Steps = { ...elementwiseKernels, ...fusedKernels };
const deferring: Steps = { ...fusingKernels, ...fusingFusedKernels };

const dtype = fc.constantFrom<FloatDType>('float32', 'float64');
const images = fc.record({
  shape: fc.oneof(
    fc.tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 67 })),
    fc.tuple(
      fc.integer({ min: 1, max: 3 }),
      fc.integer({ min: 1, max: 35 }),
      fc.integer({ min: 1, max: 6 }),
      fc.integer({ min: 1, max: 6 }),
    ),
  ),
  seed: fc.nat(1e6),
  special: fc.boolean(),
  dtype,
});

/** Operands of batch norm and the ReLU behind it, with NaN, ∞ and 0 among them where `special`. */
function operands(shape: Shape, type: FloatDType, seed: number, special: boolean) {
  const image = (i: number, values?: number[]) => view(shape, type, 'channels-last', values ?? numbers(sizeOf(shape), seed + i, special));
  const channel = (i: number) => view([shape[1]!], type, 'row-major', numbers(shape[1]!, seed + i));
  const [y, z, dy, dx] = [0, 1, 2, 3].map((i) => image(i, [])) as [View, View, View, View];
  const norm = { mean: channel(4), invstd: channel(5), scale: channel(6), offset: channel(7) };
  const all = { x: image(8), g: image(9), y, z, dy, dx, dw: channel(10), db: channel(11) };
  // As tensors do, so that a deferred call that gives up its references frees nothing.
  for (const v of [...Object.values(all), ...Object.values(norm)]) v.storage.retain();
  return { ...all, norm };
}

function release({ norm, ...all }: Operands): void {
  for (const v of [...Object.values(all), ...Object.values(norm)]) v.storage.release();
}

type Operands = ReturnType<typeof operands>;
/** Accesses that may come between two kernels. */
const TOUCHES = {
  nothing: () => {},
  'y is read': ({ y }: Operands) => void (y.storage.freed || addressOf(y)),
  'z is read': ({ z }: Operands) => void addressOf(z),
  'the gradient is read': ({ dy }: Operands) => void addressOf(dy),
  'g and the gradient are added': ({ g, dy, dx }: Operands) => kernels.binary('add', g, dy, dx),
  'y and z are added': ({ y, z, dx }: Operands) => y.storage.freed || kernels.binary('add', y, z, dx),
  'x is overwritten': ({ x }: Operands) => kernels.fill(3, x),
  'z is overwritten': ({ z }: Operands) => {
    kernels.fill(3, z);
    z.storage.version++;
  },
  'g is overwritten': ({ g }: Operands) => kernels.fill(3, g),
  'y is freed': ({ y }: Operands) => y.storage.free(),
};
type Touch = keyof typeof TOUCHES;
const touch = fc.constantFrom(...(Object.keys(TOUCHES) as Touch[]));

function run(k: Steps, o: Operands, touches: readonly Touch[]): number[] {
  k.batchNormApply(o.x, o.norm.scale, o.norm.offset, o.y);
  TOUCHES[touches[0]!](o);
  const yIsFree = touches[0] === 'y is freed';
  if (yIsFree) elementwiseKernels.unary('relu', o.x, o.z);
  else k.unary('relu', o.y, o.z);
  TOUCHES[touches[1]!](o);
  k.binary('reluGrad', o.g, o.z, o.dy);
  TOUCHES[touches[2]!](o);
  const between = read(o.dx);
  k.batchNormGrad(o.dy, o.x, o.norm, o.dx, o.dw, o.db);
  const results = [...(touches.includes('y is freed') ? [] : read(o.y)), ...[o.z, o.dy, o.dx, o.dw, o.db].flatMap(read), ...between];
  release(o);
  return results;
}

describe('batch norm, ReLU and their gradients', () => {
  test('deferred and at once are bitwise identical', () => {
    const property = fc.property(images, fc.tuple(touch, touch, touch), ({ shape, dtype, seed, special }, touches) => {
      freed(() => {
        const want = run(eager, operands(shape, dtype, seed, special), touches);
        const got = run(deferring, operands(shape, dtype, seed, special), touches);
        expect(difference(got, want, 0)).toBeNull();
      });
    });
    fc.assert(property, { seed: 20261129, numRuns: runs(400) });
  });

  test('batch norm defers the write of y until y is read, and drops it if y is freed first', () => {
    freed(() => {
      const [a, b] = [operands([8, 16, 2, 2], 'float32', 1, false), operands([8, 16, 2, 2], 'float32', 1, false)];
      for (const o of [a, b]) deferring.batchNormApply(o.x, o.norm.scale, o.norm.offset, o.y);
      expect(a.y.storage.pendingCalls).toHaveLength(1);
      expect(a.x.storage.refs).toBe(2);
      const given = b.y.storage.pendingCalls[0] as DeferredCall<Record<string, View>>;
      b.y.storage.free();
      // Otherwise each result would keep the objects of all results before it.
      expect(given.inputs).toBeNull();
      expect([b.x, b.norm.scale, b.norm.offset].map((v) => v.storage.pendingCalls.length)).toEqual([0, 0, 0]);
      deferring.unary('relu', a.y, a.z);
      // The ReLU has run; the call that writes y is still pending.
      expect(a.y.storage.pendingCalls).toHaveLength(1);
      const y = read(a.y);
      expect(a.y.storage.pendingCalls).toHaveLength(0);
      expect(a.x.storage.refs).toBe(1);
      expect(y.map((v) => Math.max(v, 0))).toEqual(read(a.z));
      for (const o of [a, b]) release(o);
    });
  });

  test('an input without references is not freed by a call that was deferred', () => {
    const o = operands([8, 16, 2, 2], 'float32', 1, false);
    // As for a caller of kernels outside operations.
    for (const v of [o.x, o.norm.scale, o.norm.offset]) v.storage.refs = 0;
    deferring.batchNormApply(o.x, o.norm.scale, o.norm.offset, o.y);
    const y = read(o.y);
    expect([o.x, o.norm.scale, o.norm.offset].map((v) => v.storage.freed)).toEqual([false, false, false]);
    eager.batchNormApply(o.x, o.norm.scale, o.norm.offset, o.z);
    expect(y).toEqual(read(o.z));
    for (const v of [o.x, o.norm.scale, o.norm.offset]) v.storage.retain();
    release(o);
  });

  test('∞ − ∞ in batch norm lets the gradient through, as NaN does', () => {
    freed(() => {
      const results = [eager, deferring].map((k) => {
        const o = operands([3, 4], 'float32', 1, false);
        kernels.copy(view([3, 4], 'float32', 'row-major', [1e38, 1, -1e38, 1e38, 1e38, 2, -1e38, 1, 1, 3, 1, -1e38]), o.x);
        kernels.copy(view([4], 'float32', 'row-major', [10, 1, 10, 10]), o.norm.scale);
        kernels.copy(view([4], 'float32', 'row-major', [Infinity, Infinity, -Infinity, NaN]), o.norm.offset);
        return run(k, o, ['nothing', 'nothing', 'nothing']);
      });
      expect(results[1]).toEqual(results[0]);
    });
  });

  test('a ReLU behind one batch norm is not mistaken for one behind another of the same input', () => {
    freed(() => {
      const results = [eager, deferring].map((k) => {
        const [a, b] = [1, 2].map((seed) => operands([6, 8, 3, 3], 'float32', seed, false)) as [Operands, Operands];
        k.batchNormApply(a.x, a.norm.scale, a.norm.offset, a.y);
        k.batchNormApply(a.x, b.norm.scale, b.norm.offset, b.y);
        k.unary('relu', a.y, a.z);
        k.binary('reluGrad', a.g, a.z, a.dy);
        k.batchNormGrad(a.dy, a.x, b.norm, a.dx, a.dw, a.db);
        const values = [a.dx, a.dw, a.db, a.y, b.y].flatMap(read);
        for (const o of [a, b]) release(o);
        return values;
      });
      expect(results[1]).toEqual(results[0]);
    });
  });

  test('another layout or another memory order is not fused', () => {
    freed(() => {
      const results = [eager, deferring].map((k) => {
        const o = operands([2, 6, 3, 4], 'float32', 5, false);
        k.batchNormApply(o.x, o.norm.scale, o.norm.offset, o.y);
        const z = view([2, 6, 3, 4], 'float32');
        k.unary('relu', o.y, z);
        k.binary('reluGrad', o.g, z, o.dy);
        k.batchNormGrad(o.dy, o.x, o.norm, o.dx, o.dw, o.db);
        const values = [z, o.dy, o.dx, o.dw, o.db].flatMap(read);
        release(o);
        return values;
      });
      expect(results[1]).toEqual(results[0]);
    });
  });
});

describe('tensors', () => {
  const net = (between: (y: Tensor) => void = () => {}) => {
    manualSeed(3);
    const [x, w, b] = [randn([4, 8, 5, 5]), randn([8]), randn([8])].map((t) => t.keep().requiresGrad_()) as [Tensor, Tensor, Tensor];
    const y = batchNorm(x.mul(2), { weight: w, bias: b, training: true });
    between(y);
    const z = y.relu();
    z.mul(z).sum().backward();
    return { x, w, b, y, z };
  };

  /** Gradients as numbers, and everything freed. */
  const gradients = ({ x, w, b }: ReturnType<typeof net>): number[] => {
    const all = [x, w, b].flatMap((t) => [...t.grad!.data()]);
    for (const t of [x, w, b]) t.dispose();
    return all;
  };

  test('a result that is read in between, hooked or kept leaves every gradient bitwise identical', () => {
    const want = gradients(net());
    const retained: (readonly number[])[] = [];
    const ways: ((y: Tensor) => void)[] = [
      (y) => void y.data(),
      (y) => void y.registerHook((g) => void retained.push([...g.data()])),
      (y) => void y.retainGrad(),
      (y) => void y.keep(),
    ];
    for (const way of ways) {
      const n = net(way);
      if (n.y.grad !== null) retained.push([...n.y.grad.data()]);
      expect(gradients(n)).toEqual(want);
      n.y.dispose();
    }
    expect(retained).toHaveLength(2);
    expect(retained[0]).toEqual(retained[1]);
  });

  test('a deferred result may be the gradient of its own ReLU', () => {
    const results = [true, false].map((read) =>
      scope(() => {
        manualSeed(4);
        const x = randn([6, 3]).requiresGrad_();
        const y = batchNorm(x, { training: true });
        if (read) y.data();
        y.relu().backward(y.detach());
        return [...x.grad!.data()];
      }),
    );
    expect(results[1]).toEqual(results[0]);
  });

  test('a deferred result may be the gradient of its own input', () => {
    const results = [true, false].map((read) =>
      scope(() => {
        manualSeed(5);
        const x = randn([6, 3]);
        const y = batchNorm(x, { training: true }).detach().requiresGrad_();
        const z = y.relu();
        const next = batchNorm(z, { training: true });
        if (read) next.data();
        z.backward(next.detach());
        const last = [...next.relu().data()];
        return [...y.grad!.data(), ...last, ...next.data()];
      }),
    );
    expect(results[1]).toEqual(results[0]);
  });

  test('after backward, and after its input and weight have changed, the result is what it was', () => {
    const early = scope(() => [...net((y) => void y.data()).y.data()]);
    scope(() => {
      const { x, w, y } = net();
      for (const t of [x, w]) t.requiresGrad_(false).fill_(7);
      expect([...y.data()]).toEqual(early);
    });
  });

  /** Gradients of a net with fused batch norm and ReLU, whose backward runs inside `around`. */
  const netGradients = (around: (run: () => void) => void): number[][] => {
    manualSeed(1);
    const block = (from: number, to: number) => [
      new nn.Conv2d(from, to, 3, { padding: 1, bias: false }),
      new nn.BatchNorm2d(to),
      new nn.ReLU(),
    ];
    const head = [new nn.SqueezeExcite(32, { reduction: 4 }), new nn.AdaptiveAvgPool2d(1), new nn.Flatten(), new nn.Linear(32, 4)];
    const model = new nn.Sequential(...block(3, 16), ...block(16, 32), ...head);
    const images = randn([16, 3, 16, 16]);
    const labels = randint(0, 4, [16]);
    around(() => F.crossEntropy(model.forward(images), labels).backward());
    const found = model.parameters().map((p) => [...p.grad!.data()]);
    model.dispose();
    return found;
  };

  test('instruments leave every gradient bitwise identical', () => {
    const want = scope(() => netGradients((run) => run()));
    expect(scope(() => netGradients((run) => detectAnomaly(run)))).toEqual(want);
    expect(scope(() => netGradients((run) => void profile(run)))).toEqual(want);
    expect(scope(() => netGradients((run) => detectAnomaly(() => void profile(run))))).toEqual(want);
  });

  test('all memory is freed, whether the result was read or not', () => {
    const before = memory();
    for (const way of [undefined, (y: Tensor) => void y.data()]) scope(() => void gradients(net(way)));
    scope(() => void batchNorm(ones([4, 2]), { training: true }));
    const after = memory();
    expect([after.bytes, after.tensors]).toEqual([before.bytes, before.tensors]);
  });
});

/**
 * gradientProperty passes right gradients, fails wrong ones, and shrinks to the smallest shape that shows the error.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { GradcheckError, defineOp, memory, pad, scope, tensor, vjp, type Tensor } from 'chainrule';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import {
  NO_TIES,
  broadcastTensors,
  checkGradients,
  convolutions,
  gradientProperty,
  poolings,
  shapes,
  tensors,
  type ConvConfiguration,
} from 'chainrule/testing';
import { sumTo } from '../../src/autograd/index.ts';

const run = { seed: 20261124, numRuns: 200 };
const float64 = { dtype: 'float64' } as const;

/** y = x², with a wrong gradient for the shapes that `wrong` accepts. */
const square = (wrong: (shape: readonly number[]) => boolean): ((x: Tensor) => Tensor) =>
  defineOp({
    name: 'square',
    forward: (_, x: Tensor) => x.square(),
    save: (_, [x]) => ({ x }),
    backward: (g, { x }) => [g.mul(x).mul(wrong(x.shape) ? 1 : 2)],
  });

describe('a failure shrinks to the smallest shape', () => {
  const cases: [string, (shape: readonly number[]) => boolean, number[]][] = [
    ['wrong everywhere', () => true, []],
    ['wrong for matrices', (s) => s.length === 2, [1, 1]],
    ['wrong where there are columns', (s) => s.length > 1 && s.at(-1)! > 1, [1, 2]],
    ['wrong from three rows on', (s) => s.length > 0 && s[0]! > 2, [3]],
  ];
  for (const [name, wrong, smallest] of cases) {
    test(name, () => {
      const op = square(wrong);
      const { failed, counterexample, errorInstance } = fc.check(
        gradientProperty((x) => op(x), tensors(float64)),
        run,
      );
      expect(failed).toBe(true);
      expect(errorInstance).toBeInstanceOf(GradcheckError);
      expect((errorInstance as Error).message).toMatch(/a factor 2 is missing/);
      expect(counterexample![0].shape).toEqual(smallest);
      expect(counterexample![0].baseShape).toEqual(smallest);
    });
  }

  test('a broadcast that is not summed', () => {
    const op = defineOp({
      name: 'add',
      forward: (_, a: Tensor, b: Tensor) => a.add(b),
      save: (_, [a, b]) => ({ a: a.shape, b: b.shape }),
      backward: (g, { a, b }) => [sumTo(g, a), g.ndim === b.length ? sumTo(g, b) : g],
    });
    const { counterexample } = fc.check(gradientProperty(op, broadcastTensors(2, float64)), run);
    expect(counterexample![0].map((s) => s.shape)).toEqual([[1], []]);
  });

  test('a convolution with stride', () => {
    const op = defineOp({
      name: 'conv2d',
      forward: (_, x: Tensor, w: Tensor, o: ConvConfiguration) => F.conv2d(x, w, null, o),
      save: (_, [x, w, o]) => ({ x, w, o }),
      backward: (g, { x, w, o }) => {
        const [, [dx, dw]] = vjp((a, b) => F.conv2d(a, b, null, o), [x, w], g);
        return [o.stride[1] === 2 ? pad(dx.slice(3, 0, -1), [1, 0]) : dx, dw];
      },
    });
    const { counterexample } = fc.check(
      gradientProperty((x, w, _, o) => op(x, w, o), convolutions(float64), { orders: [1] }),
      run,
    );
    const [x, w, b, options] = counterexample![0];
    expect([x.shape, w.shape, b, options.stride]).toEqual([[1, 1, 1, expect.any(Number)], [1, 1, 1, expect.any(Number)], null, [1, 2]]);
    expect(x.shape[3]! * w.shape[3]!).toBeLessThanOrEqual(3);
  });
});

describe('what is checked', () => {
  test('tuples of samples and other arguments', () => {
    fc.assert(
      gradientProperty(
        (x, n, i) => x.pow(n).mul(i),
        fc.tuple(tensors(float64), fc.nat({ max: 3 }), tensors({ dtype: 'int32', shape: [] })),
      ),
      run,
    );
    fc.assert(
      gradientProperty((x, k, o) => F.maxPool2d(x, k, o), poolings({ ...float64, domain: 'distinct', layouts: NO_TIES })),
      { ...run, numRuns: 50 },
    );
  });

  test('first and second order, or one of them', () => {
    const flat = defineOp({
      name: 'square',
      forward: (_, x: Tensor) => x.square(),
      save: (_, [x]) => ({ x }),
      backward: (g, { x }) => [g.mul(x.detach().mul(2))],
    });
    const at = (orders?: readonly (1 | 2)[]): boolean =>
      fc.check(
        gradientProperty((x) => flat(x), tensors(float64), orders === undefined ? {} : { orders }),
        run,
      ).failed;
    expect([at(), at([1]), at([2])]).toEqual([true, false, true]);
  });

  test('options reach gradcheck', () => {
    const op = square((s) => s.length === 0);
    const lax = gradientProperty((x) => op(x), tensors(float64), { rtol: 2, atol: 10 });
    expect(fc.check(lax, run).failed).toBe(false);
  });

  test('the parameters of a module, by name', () => {
    class Scale extends nn.Module {
      readonly scale = new nn.Parameter(tensor([1, 2, 3], float64));
      readonly norm = new nn.BatchNorm2d(3, float64);
      forward(x: Tensor): Tensor {
        return this.norm.forward(x).mul(square(() => true)(this.scale).reshape([3, 1, 1]));
      }
    }
    const shape = shapes({ minRank: 2, maxRank: 2, minSize: 2 }).map(([n, h]) => [n!, 3, h!, 2]);
    const module = new Scale();
    const { failed, errorInstance } = fc.check(gradientProperty(module, tensors({ ...float64, shape }), { orders: [1] }), run);
    expect(failed).toBe(true);
    expect((errorInstance as Error).message).toMatch(/\n {2}scale: the gradient is 0\.5 times the right one: a factor 2 is missing/);
    expect([...module.norm.running_mean!.data()]).toEqual([0, 0, 0]);
  });

  test('float32 throws', () => {
    const { errorInstance } = fc.check(
      gradientProperty((x) => x.exp(), tensors()),
      run,
    );
    expect((errorInstance as Error).message).toMatch(/^gradcheck: input 0 .* is float32; finite differences need float64/);
  });

  test('without a sample that requires a gradient, the first float sample is checked', () => {
    const [sample] = fc.sample(tensors({ ...float64, shape: [2], requiresGrad: false }), { seed: 1, numRuns: 1 });
    let seen: boolean[] = [];
    const op = (a: Tensor, b: Tensor): Tensor => {
      seen = [a.requiresGrad, b.requiresGrad];
      return a.mul(b);
    };
    checkGradients(op, [sample, sample], { orders: [1] });
    expect(seen).toEqual([true, false]);
  });

  test('frees all memory', () => {
    scope(() => tensor([1], { ...float64, requiresGrad: true }).exp());
    const before = memory();
    fc.check(
      gradientProperty((x) => x.sin(), tensors(float64)),
      run,
    );
    const wrong = square(() => true);
    fc.check(
      gradientProperty((x) => wrong(x), tensors(float64)),
      run,
    );
    const { bytes, tensors: count } = memory();
    expect({ bytes, count }).toEqual({ bytes: before.bytes, count: before.tensors });
  });
});

test('the example in docs/testing.md equals the tested one', () => {
  const read = (path: string): string =>
    readFileSync(fileURLToPath(new URL(`../../${path}`, import.meta.url)), 'utf8').replaceAll('\r\n', '\n');
  const block = /```ts\n(import fc[^]*?)```/.exec(read('docs/testing.md'))?.[1];
  expect(block).toBe(read('test/testing/example.test.ts'));
});

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  ArgumentError,
  ShapeError,
  hessian,
  hvp,
  jacobian,
  jvp,
  memory,
  noGrad,
  ones,
  randn,
  scope,
  tensor,
  valueAndGrad,
  vjp,
  type Tensor,
} from 'chainrule';

const f64 = { dtype: 'float64' } as const;
const vector = (values: number[]): Tensor => tensor(values, f64);

/** Σ x² y, whose derivatives are known: ∂x = 2xy, ∂y = x²; ∂xx = 2y, ∂xy = 2x, ∂yy = 0. */
const f = (x: Tensor, y: Tensor): Tensor => x.square().mul(y).sum();

describe('valueAndGrad', () => {
  test('of a tensor, an array and a record: the gradient has the inputs’ structure', () => {
    const [x, y] = [vector([1, 2]), vector([3, 5])];
    const [v1, g1] = valueAndGrad((a) => a.square().sum(), x);
    expect([v1.item(), g1.toArray()]).toEqual([5, [2, 4]]);
    const [v2, [gx, gy]] = valueAndGrad(f, [x, y]);
    expect([v2.item(), gx.toArray(), gy.toArray()]).toEqual([23, [6, 20], [1, 4]]);
    const [v3, g3] = valueAndGrad(({ a, b }) => f(a, b), { a: x, b: y });
    expect([v3.item(), g3.a.toArray(), g3.b.toArray()]).toEqual([23, [6, 20], [1, 4]]);
  });

  test('leaves no graph, no .grad, and no memory apart from the results', () => {
    const x = tensor([1, 2], { ...f64, requiresGrad: true });
    scope(() => x.exp());
    const before = memory();
    scope(() => {
      const [value, g] = noGrad(() => valueAndGrad((a) => a.exp().sum(), x));
      expect([value.requiresGrad, g.requiresGrad, x.grad]).toEqual([false, false, null]);
      expect(memory().tensors).toBe(before.tensors + 2);
    });
    expect(memory()).toMatchObject({ tensors: before.tensors, bytes: before.bytes });
  });

  test('createGraph: derivatives of derivatives, through the inputs', () => {
    const x = tensor([1, 2], { ...f64, requiresGrad: true });
    const [, g] = valueAndGrad((a) => a.pow(3).sum(), x, { createGraph: true });
    g.square().sum().backward();
    // d(3x²)²/dx = 36 x³
    expect(x.grad!.toArray()).toEqual([36, 288]);
  });

  test('createGraph also for inputs that require no gradient: the derivative depends on new leaves', () => {
    const [value, g] = valueAndGrad((a) => a.pow(3).sum(), vector([1, 2]), { createGraph: true });
    expect([value.requiresGrad, g.requiresGrad, g.toArray()]).toEqual([true, true, [3, 12]]);
  });

  test('the derivative of an unused input is zero', () => {
    const [, [, gy]] = valueAndGrad((x) => x.sum(), [vector([1]), ones([2, 0, 3], f64)]);
    expect(gy.shape).toEqual([2, 0, 3]);
    expect(valueAndGrad((x) => x.detach().sum(), vector([1, 2]))[1].toArray()).toEqual([0, 0]);
  });

  test('bad arguments throw', () => {
    expect(() => valueAndGrad((x) => x, vector([1, 2]))).toThrow(
      new ShapeError('valueAndGrad: the function must return a scalar, got shape [2]'),
    );
    expect(() => valueAndGrad(() => 3 as unknown as Tensor, vector([1]))).toThrow(
      new ArgumentError('valueAndGrad: the function must return a tensor, got a number'),
    );
    const [x, slip] = [vector([1]), { createGrap: true } as object];
    const square = (t: Tensor): Tensor => t.mul(t).sum();
    const misspelt = {
      valueAndGrad: () => valueAndGrad(square, x, slip),
      vjp: () => vjp(square, x, null, slip),
      jvp: () => jvp(square, x, x, slip),
      hvp: () => hvp(square, x, x, slip),
      jacobian: () => jacobian(square, x, slip),
      hessian: () => hessian(square, x, slip),
    };
    for (const [name, act] of Object.entries(misspelt))
      expect(act).toThrow(new ArgumentError(`${name}: unknown option 'createGrap'; the options are createGraph`));
    expect(() => valueAndGrad((x) => x, [1] as unknown as Tensor[])).toThrow(
      new ArgumentError('valueAndGrad: inputs must be a tensor, or an array or record of tensors'),
    );
    for (const wrong of [[], [x, 3], {}, 3, 'text'])
      expect(() => valueAndGrad((a: Tensor) => a, wrong as unknown as Tensor)).toThrow(
        new ArgumentError('valueAndGrad: inputs must be a tensor, or an array or record of tensors'),
      );
    expect(() => vjp(square, x, 3 as never)).toThrow(new ArgumentError('vjp: v must be a tensor, got a number'));
    expect(() => vjp((a) => a.exp(), vector([1, 2]))).toThrow(new ShapeError('vjp: the function must return a scalar, got shape [2]'));
    expect(vjp(square, x)[1].toArray()).toEqual([2]);
    expect(() => jvp(f, [vector([1]), vector([2])], [vector([1, 2]), vector([1])])).toThrow(
      new ShapeError('jvp: v must have the shapes of the inputs, [1], [1], got [2], [1]'),
    );
  });
});

describe('v', () => {
  const product = ({ a, b }: { a: Tensor; b: Tensor }): Tensor => a.mul(b);

  test('of a record is matched by its keys, in any order', () => {
    const point = { a: vector([2]), b: vector([3]) };
    // a' b + a b' = 1 · 3 + 2 · 10
    expect(jvp(product, point, { b: vector([10]), a: vector([1]) })[1].toArray()).toEqual([23]);
    // H = [[0, 1], [1, 0]]
    const [, h] = hvp((x) => product(x).sum(), point, { b: vector([10]), a: vector([1]) });
    expect([h.a.toArray(), h.b.toArray()]).toEqual([[10], [1]]);
  });

  test('of another structure throws', () => {
    const point = { a: vector([2]), b: vector([3]) };
    const [one, two] = [vector([1]), vector([2])];
    const text = (got: string): ArgumentError =>
      new ArgumentError(`jvp: v must have the structure of the inputs, a record of a, b, got ${got}`);
    expect(() => jvp(product, point, { a: one } as never)).toThrow(text('a record of a'));
    expect(() => jvp(product, point, { a: one, b: two, c: two } as never)).toThrow(text('a record of a, b, c'));
    expect(() => jvp(product, point, { a: one, c: two } as never)).toThrow(text('a record of a, c'));
    expect(() => jvp(product, point, [one, two] as never)).toThrow(text('an array of 2'));
    expect(() => jvp(product, point, one as never)).toThrow(text('a tensor'));
    expect(() => jvp(product, point, undefined as never)).toThrow(text('undefined'));
    expect(() => hvp((x) => x.sum(), [one], [one, two] as never)).toThrow(
      new ArgumentError('hvp: v must have the structure of the inputs, an array of 1, got an array of 2'),
    );
    expect(() => jvp((x) => x, one, [one] as never)).toThrow(
      new ArgumentError('jvp: v must have the structure of the inputs, a tensor, got an array of 1'),
    );
  });
});

describe('products agree with the matrices', () => {
  /** The sum of an elementwise part and one that mixes elements, so that neither J nor H has a simple form. */
  const g = (x: Tensor, w: Tensor): Tensor => x.matmul(w).tanh().mul(x.sum());
  const near = (a: Tensor, b: Tensor): void => {
    expect(a.shape).toEqual(b.shape);
    a.data().forEach((v, i) => expect(v).toBeCloseTo(b.data()[i]!, 9));
  };
  const draws = { numRuns: 25, seed: 3 };
  const sizes = fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 3 }));

  test('vjp = vᵀ J and jvp = J v', () => {
    fc.assert(
      fc.property(sizes, ([m, k, n]) =>
        scope(() => {
          const [x, w] = [randn([m, k], f64), randn([k, n], f64)];
          const [jx, jw] = jacobian(g, [x, w]);
          expect(jx.shape).toEqual([m, n, m, k]);
          const [vx, vw, u] = [randn([m, k], f64), randn([k, n], f64), randn([m, n], f64)];
          const flat = (t: Tensor, rows: number): Tensor => t.reshape([rows, -1]);
          const [y, forward] = jvp(g, [x, w], [vx, vw]);
          near(y, g(x, w));
          near(
            flat(forward, m * n),
            flat(jx, m * n)
              .matmul(vx.reshape([-1, 1]))
              .add(flat(jw, m * n).matmul(vw.reshape([-1, 1]))),
          );
          const [, [ux, uw]] = vjp(g, [x, w], u);
          near(ux.reshape([-1]), u.reshape([-1]).matmul(flat(jx, m * n)));
          near(uw.reshape([-1]), u.reshape([-1]).matmul(flat(jw, m * n)));
        }),
      ),
      draws,
    );
  });

  test('hvp = H v, and H is symmetric', () => {
    fc.assert(
      fc.property(sizes, ([m, k, n]) =>
        scope(() => {
          const x = randn([m, k], f64);
          const w = randn([k, n], f64);
          const h = (a: Tensor): Tensor => g(a, w).square().sum();
          const H = hessian(h, x).reshape([m * k, m * k]);
          const v = randn([m, k], f64);
          near(hvp(h, x, v)[1].reshape([-1]), H.matmul(v.reshape([-1])));
          near(H, H.transpose(0, 1));
        }),
      ),
      draws,
    );
  });
});

describe('hessian', () => {
  test('has a block for each pair of inputs', () => {
    const H = hessian(({ x, y }) => f(x, y), { x: vector([1, 2]), y: vector([3, 5]) });
    expect([H.x.x, H.x.y, H.y.x, H.y.y].map((t) => t.toArray())).toEqual([
      [
        [6, 0],
        [0, 10],
      ],
      [
        [2, 0],
        [0, 4],
      ],
      [
        [2, 0],
        [0, 4],
      ],
      [
        [0, 0],
        [0, 0],
      ],
    ]);
  });

  test('of a linear function is zero', () => {
    expect(hessian((x) => x.sum(), vector([1, 2])).toArray()).toEqual([
      [0, 0],
      [0, 0],
    ]);
  });

  test('of nothing is empty', () => {
    const J = jacobian((x) => x.exp(), ones([0, 2], f64));
    expect([J.shape, J.dtype]).toEqual([[0, 2, 0, 2], 'float64']);
  });
});

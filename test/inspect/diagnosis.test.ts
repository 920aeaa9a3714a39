/**
 * gradcheck's diagnoses of wrong gradients, by exact text; and that unknown errors get no diagnosis.
 */
import { describe, expect, test } from 'vitest';
import fc from 'fast-check';
import {
  cat,
  defineOp,
  gradcheck,
  gradgradcheck,
  manualSeed,
  ones,
  pad,
  randn,
  scope,
  tensor,
  where,
  zeros,
  type CheckedFunction,
  type Tensor,
} from 'chainrule';

const leaf = { dtype: 'float64', requiresGrad: true } as const;

/** y = sin x, with its gradient changed by `spoil`. */
const spoiled = (spoil: (dx: Tensor, g: Tensor, x: Tensor) => Tensor): ((x: Tensor) => Tensor) =>
  defineOp({
    name: 'sin',
    forward: (_, x: Tensor) => x.sin(),
    save: (_, [x]) => ({ x }),
    backward: (g, { x }) => [spoil(g.mul(x.cos()), g, x)],
  });

function diagnosisOf(fn: CheckedFunction, ...shapes: number[][]): readonly string[] {
  manualSeed(5);
  const inputs = shapes.map((s) => randn(s, leaf));
  const { ok, diagnosis } = gradcheck(fn, inputs, { raise: false });
  expect(ok).toBe(false);
  return diagnosis;
}

const constant = (values: number[]): Tensor => tensor(values, { dtype: 'float64' });

describe('one input', () => {
  const cases: [string, (dx: Tensor, g: Tensor, x: Tensor) => Tensor, number[], string | null][] = [
    ['zero', (dx) => dx.mul(0), [2, 3], 'the gradient is zero everywhere: nothing flows back (a detach(), a null, a forgotten path?)'],
    ['sign', (dx) => dx.neg(), [2, 3], 'the sign is wrong'],
    ['factor 2', (dx) => dx.div(2), [2, 3], 'the gradient is 0.5 times the right one: a factor 2 is missing'],
    ['factor 2 too much', (dx) => dx.mul(2), [4], 'the gradient is 2 times the right one: a factor 2 too much'],
    ['factor 2, one element', (dx) => dx.mul(2), [1], 'the gradient is 2 times the right one: a factor 2 too much'],
    ['factor −3', (dx) => dx.mul(-3), [4], 'the gradient is -3 times the right one: a factor 3 too much, and its sign is wrong'],
    ['factor 0.7', (dx) => dx.mul(0.7), [4], 'the gradient is 0.7 times the right one: a factor 1.429 is missing'],
    ['factor 0.7, one element', (dx) => dx.mul(0.7), [1], null],
    [
      'a mean that is a sum',
      (dx) => dx.mul(6),
      [2, 3],
      'the gradient is 6 times the right one: a division by 6, its number of elements [2,3], is missing',
    ],
    ['not finite', (dx) => dx.div(0), [2], 'the gradient is -Infinity at [0], where the slope is finite'],
    ['transposed', (dx) => dx.transpose(0, 1), [3, 3], 'the right values transposed: dims 0 and 1 are exchanged'],
    ['transposed inside', (dx) => dx.transpose(1, 2), [2, 3, 3], 'the right values transposed: dims 1 and 2 are exchanged'],
    ['transposed, then reshaped', (dx) => dx.transpose(0, 1).reshape([2, 3]), [2, 3], 'the right values in the order of [3,2]: transposed'],
    ['reversed', (dx) => dx.flip(1), [2, 3], 'the right values reversed along dim 1'],
    ['shifted', (dx) => pad(dx.slice(0, 1), [0, 0, 0, 1]), [4, 2], 'the right values shifted by -1 along dim 0'],
    ['rolled', (dx) => dx.roll(2, 0), [5], 'the right values rolled by 2 along dim 0'],
    ['one element', (dx) => dx.mul(constant([1, 1, 5])), [3], 'only the element [2] is wrong; the other 2 are right'],
    [
      'a row',
      (dx, g, x) => dx.add(g.mul(x.exp()).mul(tensor([[1], [0], [0]], leaf))),
      [3, 2],
      'only index 0 along dim 0 is wrong; the rest is right',
    ],
    [
      'a mean path',
      (dx, g) => dx.sub(g.mean()),
      [2, 3],
      'off by an amount that is constant along dims [0,1]: a path through a sum or mean over them is missing or wrong',
    ],
    [
      'a mean path over one dim',
      (dx, g) => dx.add(g.mean(1, { keepdim: true })),
      [2, 3],
      'off by an amount that is constant along dims [1]: a path through a sum or mean over them is missing or wrong',
    ],
    ['a factor a channel', (dx) => dx.mul(constant([2, 3, 5])), [2, 3], 'off by a factor that depends on the index along dim 1 alone'],
    ['another function', (_, g, x) => g.mul(x.exp()), [2, 3], null],
    ['a term in x', (dx, g, x) => dx.add(g.mul(x)), [2, 3], null],
  ];
  for (const [name, spoil, shape, expected] of cases) {
    test(name, () => {
      const op = spoiled(spoil);
      expect(diagnosisOf((x) => op(x), shape)).toEqual(expected === null ? [] : [`input 0: ${expected}`]);
    });
  }
});

describe('in relation to others', () => {
  /** y = a ⊙ b, with both gradients changed. */
  const mulWith = (spoil: (da: Tensor, db: Tensor) => [Tensor, Tensor], broadcasts = true): ((a: Tensor, b: Tensor) => Tensor) =>
    defineOp({
      name: 'mul',
      broadcasts,
      forward: (_, a: Tensor, b: Tensor) => a.mul(b),
      save: (_, [a, b]) => ({ a, b }),
      backward: (g, { a, b }) => spoil(g.mul(b), g.mul(a)),
    });

  test('exchanged', () => {
    const op = mulWith((da, db) => [db, da]);
    expect(diagnosisOf(op, [2, 3], [2, 3])).toEqual(['input 0 and input 1: their gradients are exchanged']);
  });

  test('exchanged, and summed over broadcast dims', () => {
    const op = mulWith((da, db) => [db, da]);
    expect(diagnosisOf(op, [2, 3], [3])).toEqual(['input 0 and input 1: their gradients are exchanged']);
  });

  test('a mask exchanged, summed over broadcast dims', () => {
    const mask = tensor([[true], [false], [true]]);
    const op = defineOp({
      name: 'where',
      broadcasts: true,
      forward: (_, x: Tensor) => where(mask, x, 2),
      backward: (g) => [where(mask, 0, g)],
    });
    expect(diagnosisOf((x) => op(x), [4])).toEqual([
      'input 0: it gets what belongs to the other case: the cases of a mask or of where() are exchanged',
    ]);
  });

  test('inputs with the same error share a line', () => {
    const op = mulWith((da, db) => [da.neg(), db.neg()]);
    expect(diagnosisOf(op, [2, 3], [2, 3])).toEqual(['input 0, input 1: the sign is wrong']);
  });

  test('the last instead of the sum over broadcast dims, behind another function', () => {
    const op = mulWith((da, db) => [da, db.slice(0, -1).reshape([3])], false);
    expect(diagnosisOf((a, b) => op(a, b).tanh(), [2, 3], [3])).toEqual([
      'input 1: broadcast to [2,3], and only the last of what belongs together arrives: the sum over dims [0] is missing',
    ]);
  });

  test('the mean instead of the sum over broadcast dims', () => {
    const op = mulWith((da, db) => [da, db.mean(0)], false);
    expect(diagnosisOf(op, [4, 3], [3])).toEqual([
      'input 1: the gradient is 0.25 times the right one: averaged over 4 repetitions by broadcasting, where the sum belongs',
    ]);
  });

  test('an output that contributes no gradient', () => {
    expect(diagnosisOf((x) => [x.exp(), x.detach().mul(x.detach()).add(x.mul(0)), x.sin()], [3])).toEqual([
      'input 0: nothing arrives from output 1',
    ]);
  });

  test('a mask exchanged', () => {
    const mask = tensor([true, false, true, true, false]);
    const op = defineOp({
      name: 'masked',
      forward: (_, x: Tensor) => x.mul(mask),
      backward: (g) => [g.mul(mask.logicalNot())],
    });
    expect(diagnosisOf((x) => op(x), [5])).toEqual([
      'input 0: it gets what belongs to the other case: the cases of a mask or of where() are exchanged',
    ]);
  });

  test('second derivatives', () => {
    const flat = spoiled((_, g, x) => g.mul(x.cos().detach()));
    manualSeed(5);
    const { diagnosis } = gradgradcheck((x) => flat(x), randn([3], leaf), { raise: false });
    expect(diagnosis).toEqual(['input 0: the gradient is zero everywhere: nothing flows back (a detach(), a null, a forgotten path?)']);
  });
});

describe('a kink that no op reports', () => {
  const positive = defineOp({
    name: 'positive',
    forward: (_, x: Tensor) => x.mul(x.gt(0)),
    save: (_, [x]) => ({ x }),
    backward: (g, { x }) => [g.mul(x.gt(0))],
  });
  const larger = defineOp({
    name: 'larger',
    forward: (_, a: Tensor, b: Tensor) => a.mul(a.ge(b)).add(b.mul(a.lt(b))),
    save: (_, [a, b]) => ({ a, b }),
    backward: (g, { a, b }) => [g.mul(a.ge(b)), g.mul(b.ge(a))],
  });
  const check = (fn: CheckedFunction, inputs: Tensor[], eps = 1e-6): readonly string[] =>
    gradcheck(fn, inputs, { raise: false, eps }).diagnosis;

  test('at a kink', () => {
    expect(check((x) => positive(x).sum(), [constant([-1, 0, 2]).requiresGrad_()])).toEqual([
      'input 0: a kink at [1] that no op reported: the slope is 0 to its left and 1 to its right, and a gradient between them may be ' +
        "right; report it with defineOp's branch, or check elsewhere",
    ]);
  });

  test('at a tie of two inputs', () => {
    const [a, b] = [constant([1, 2]).requiresGrad_(), constant([1, 2]).requiresGrad_()];
    const diagnosis = check((x, y) => larger(x, y).sum(), [a, b]);
    expect(diagnosis).toHaveLength(1);
    expect(diagnosis[0]).toMatch(/^input 0, input 1: a kink at \[0\] and 1 more that no op reported: the slope is 0 to its left and 1 /);
  });

  test('beside the point, within the step', () => {
    expect(check((x) => positive(x).sum(), [constant([8e-7]).requiresGrad_()])).toEqual([
      'input 0: the gradient agrees with the differences of eps 1.25e-7: eps 1e-6 is too large for the curvature here, or a kink lies ' +
        'within it',
    ]);
  });

  test('a gradient beyond both slopes is wrong there too', () => {
    const op = defineOp({ name: 'op', forward: (_, x: Tensor) => x.mul(x.gt(0)), save: (_, [x]) => ({ x }), backward: (g) => [g.mul(-1)] });
    expect(check((x) => op(x).sum(), [constant([0]).requiresGrad_()]).join()).not.toContain('kink');
  });

  test('a curve has no kink, whatever the step', () => {
    const cube = (factor: number): CheckedFunction =>
      defineOp({
        name: 'cube',
        forward: (_, x: Tensor) => x.pow(3),
        save: (_, [x]) => ({ x }),
        backward: (g, { x }) => [g.mul(x.square()).mul(factor)],
      });
    const x = (): Tensor[] => [constant([1.1, 2.3, -1.7]).requiresGrad_()];
    expect(check((t) => cube(3)(t), x(), 0.25)).toEqual([
      'input 0: the gradient agrees with the differences of eps 0.03125: eps 0.25 is too large for the curvature here, or a kink lies within it',
    ]);
    expect(check((t) => cube(3)(t), x(), 1e-14)).toEqual([
      'input 0: the gradient agrees with the differences of eps 1e-6: eps 1e-14 is so small that rounding dominates',
    ]);
    expect(check((t) => cube(1.5)(t), x(), 1e-6)).toEqual(['input 0: the gradient is 0.5 times the right one: a factor 2 is missing']);
  });
});

describe('no diagnosis', () => {
  test('of random gradients, whatever the shape', () => {
    const shapes = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 0, maxLength: 4 });
    const noise = (shape: readonly number[], seed: number): ((x: Tensor) => Tensor) => {
      manualSeed(seed);
      const random = randn(shape, { dtype: 'float64' });
      return spoiled((_, g) => g.mul(random));
    };
    fc.assert(
      fc.property(shapes, fc.integer({ min: 0, max: 1e6 }), (shape, seed) =>
        scope(() => {
          const op = noise(shape, seed);
          const { ok, diagnosis } = gradcheck((x) => op(x), randn(shape, leaf), { raise: false });
          expect({ ok, diagnosis }).toEqual({ ok: false, diagnosis: [] });
        }),
      ),
      { numRuns: 150, seed: 20261124 },
    );
  });

  test('of random gradients of functions with sums, several inputs and outputs', () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 4 }), fc.integer({ min: 0, max: 1e6 }), (n, seed) =>
        scope(() => {
          manualSeed(seed);
          const [ra, rb] = [randn([n, n], { dtype: 'float64' }), randn([n], { dtype: 'float64' })];
          const op = defineOp({
            name: 'mul',
            broadcasts: true,
            forward: (_, a: Tensor, b: Tensor) => a.mul(b),
            backward: (g) => [g.mul(ra), g.mul(rb)],
          });
          const f: CheckedFunction = (a, b) => {
            const y = op(a, b);
            return [y, y.mean(0), cat([y, zeros([1, n], leaf)])];
          };
          const { ok, diagnosis } = gradcheck(f, [randn([n, n], leaf), randn([n], leaf)], { raise: false });
          expect({ ok, diagnosis }).toEqual({ ok: false, diagnosis: [] });
        }),
      ),
      { numRuns: 100, seed: 20261124 },
    );
  });

  test('of one element that is half the right one by chance', () => {
    const op = defineOp({ name: 'square', forward: (_, x: Tensor) => x.square(), backward: (g) => [g] });
    expect(gradcheck((x) => op(x), tensor([1], leaf), { raise: false })).toMatchObject({ ok: false, diagnosis: [] });
  });

  test('of right gradients', () => {
    expect(gradcheck((x) => x.sin(), ones([3], leaf)).diagnosis).toEqual([]);
  });
});

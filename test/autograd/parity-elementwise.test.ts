import { readFileSync } from 'node:fs';
import { ArgumentError, DTypeError, ShapeError, scope, tensor, zeros, type Tensor } from 'chainrule';
import * as F from 'chainrule/nn/functional';
import { describe, expect, test } from 'vitest';

// The fixture that test/fixtures/make-ops-elementwise.py wrote.

type Numbers = readonly (number | string)[];

interface Case {
  readonly op: string;
  readonly options: readonly (number | string)[];
  readonly inputs: readonly { readonly values: Numbers; readonly shape: number[] }[];
  readonly shape: number[];
  readonly y: Numbers;
  /** Null if the operation has no gradient. */
  readonly grads: readonly Numbers[] | null;
}

const cases = JSON.parse(readFileSync(new URL('../fixtures/ops-elementwise.json', import.meta.url), 'utf8')) as Case[];

function run({ op, options }: Case, xs: readonly Tensor[]): Tensor {
  const [x, b] = xs as [Tensor, Tensor];
  switch (op) {
    case 'gelu':
      return F.gelu(x, { approximate: options[0] as 'none' | 'tanh' });
    case 'softplus':
      return F.softplus(x, { beta: Number(options[0]), threshold: Number(options[1]) });
    case 'maskedFill':
      return x.maskedFill(tensor([true, false, true]), xs.length > 1 ? b : -2.5);
    case 'prelu':
      return F.prelu(x, b);
    case 'leakyRelu':
      return F.leakyRelu(x, Number(options[0]));
    case 'elu':
      return F.elu(x, Number(options[0]));
    case 'silu':
      return F.silu(x);
    case 'mish':
      return F.mish(x);
    case 'hardsigmoid':
      return F.hardsigmoid(x);
    case 'hardswish':
      return F.hardswish(x);
    case 'logicalAnd':
    case 'logicalOr':
      return x[op](b);
    default:
      return x[op as 'sin']();
  }
}

/** Expects each number within the tolerance, relative where it is above 1, and NaN and ±Inf in the same places as PyTorch. */
function expectNumbers(what: string, found: Tensor, wanted: Numbers, at: Numbers, tolerance = 1e-10): void {
  const off = Array.from(found.data(), Number).flatMap((f, i) => {
    const w = Number(wanted[i]);
    return Object.is(f, w) || f === w || Math.abs(f - w) <= tolerance * Math.max(1, Math.abs(w))
      ? []
      : [`${what} at ${at[i]}: ${f}, not ${w}`];
  });
  expect(off).toEqual([]);
}

describe('values and gradients agree with PyTorch within 1e-10 (float64)', () => {
  test.each(cases.map((c) => [`${c.op}(${[...c.inputs.map((x) => `[${x.shape.join()}]`), ...c.options].join(', ')})`, c] as const))(
    '%s',
    (_, c) => {
      scope(() => {
        const requiresGrad = c.grads !== null;
        const xs = c.inputs.map(({ values, shape }) =>
          tensor(Float64Array.from(values, Number), { shape, dtype: 'float64', requiresGrad }),
        );
        const y = run(c, xs);
        expect(y.shape).toEqual(c.shape);
        expectNumbers('y', y, c.y, c.inputs[0]!.values);
        if (c.grads === null) return;
        const g = Float64Array.from(c.y, (__, i) => Math.cos(i + 1));
        y.backward(tensor(g, { shape: c.shape, dtype: 'float64' }));
        // PyTorch's gradient of hardsigmoid multiplies by 1/6 in single precision.
        const tolerance = c.op === 'hardsigmoid' ? 1e-7 : 1e-10;
        xs.forEach((x, k) => expectNumbers(`gradient ${k}`, x.grad!, c.grads![k]!, c.inputs[k]!.values, tolerance));
      });
    },
  );
});

describe('dtypes and errors', () => {
  test('int32 and bool become float32, but stay int32 in operations that are exact on whole numbers', () => {
    scope(() => {
      const x = tensor([-2, 0, 3], { dtype: 'int32' });
      for (const f of [F.leakyRelu, F.elu, F.gelu, F.softplus, F.silu, F.mish, F.hardsigmoid, F.hardswish]) {
        expect(f(x).dtype).toBe('float32');
        expect([...f(x).data()]).toEqual([...f(x.to('float32')).data()]);
      }
      for (const op of ['reciprocal', 'rsqrt', 'expm1', 'sin', 'cos', 'erf'] as const) expect(x[op]().dtype).toBe('float32');
      for (const op of ['floor', 'ceil', 'round'] as const) {
        expect(x[op]().dtype).toBe('int32');
        expect([...x[op]().data()]).toEqual([-2, 0, 3]);
        expect(x.gt(0)[op]().dtype).toBe('int32');
      }
      expect([...x.isfinite().data(), ...x.isnan().data()].map(Number)).toEqual([1, 1, 1, 0, 0, 0]);
      expect([...x.logicalAnd(x.ge(-2)).data(), ...x.logicalOr(x.eq(0)).data(), ...x.logicalNot().data()].map(Number)).toEqual([
        1, 0, 1, 1, 1, 1, 0, 1, 0,
      ]);
      expect(x.maskedFill(x.gt(0), 7).dtype).toBe('int32');
    });
  });

  test('rounding operations and comparisons have no gradient', () => {
    scope(() => {
      const x = tensor([0.5, -1.5], { requiresGrad: true });
      for (const y of [x.floor(), x.ceil(), x.round(), x.isnan(), x.isfinite(), x.logicalNot(), x.logicalAnd(x)])
        expect(y.requiresGrad).toBe(false);
    });
  });

  const x = zeros([2, 3]);
  const cases: [string, () => unknown, new (m: string) => Error, string][] = [
    [
      'maskedFill: mask',
      () => x.maskedFill(zeros([3]), 1),
      DTypeError,
      'maskedFill: the mask must be bool, got float32; compare it first, e.g. mask.ne(0)',
    ],
    [
      'maskedFill: value',
      () => x.maskedFill(x.eq(0), zeros([3])),
      ShapeError,
      'maskedFill: value must be a number or a 0-d tensor, got [3]; use where(mask, value, x)',
    ],
    [
      'maskedFill: shapes',
      () => x.maskedFill(zeros([2]).eq(0), 1),
      ShapeError,
      'maskedFill: shapes [2,3] and [2] do not broadcast (3 against 2)',
    ],
    [
      'maskedFill: number',
      () => x.to('int32').maskedFill(x.eq(0), 0.5),
      DTypeError,
      "maskedFill: 0.5 does not fit an int32 tensor; convert the tensor with .to('float32') first",
    ],
    ['logicalOr: shapes', () => x.logicalOr(zeros([2])), ShapeError, 'logicalOr: shapes [2,3] and [2] do not broadcast (3 against 2)'],
    ['prelu', () => F.prelu(x, zeros([2])), ShapeError, 'prelu: x has 3 channels, w must be [1] or [3] (x [2,3], w [2])'],
    ['gelu', () => F.gelu(x, { approximate: 'erf' as 'none' }), ArgumentError, "gelu: approximate must be 'none' or 'tanh', got 'erf'"],
    ['softplus', () => F.softplus(x, { beta: 0 }), ArgumentError, 'softplus: beta must not be 0, got 0'],
  ];
  test.each(cases)('%s', (_, run, type, message) => {
    scope(() => {
      expect(run).toThrow(new type(message));
    });
  });
});

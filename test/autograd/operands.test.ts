/** Arguments that are accepted in place of a tensor, a number or a dtype, and the errors for those that are not. */
import { describe, expect, test } from 'vitest';
import {
  ArgumentError,
  DTypeError,
  type DType,
  type Tensor,
  arange,
  cat,
  eye,
  full,
  linspace,
  maximum,
  memory,
  minimum,
  onesLike,
  pad,
  pow,
  randint,
  scope,
  tensor,
  where,
  zerosLike,
} from 'chainrule';
import * as F from 'chainrule/nn/functional';
import { allocate } from '../../src/kernels/memory/allocator.ts';

const int = (values: number[]): Tensor => tensor(values, { dtype: 'int32' });
const bool = (...values: boolean[]): Tensor => tensor(values);

/** Expects that `act` throws exactly `error`, and leaves no memory behind. */
function refuses(act: () => unknown, error: Error): void {
  const before = memory().bytes;
  expect(() => scope(() => void act())).toThrow(error);
  expect(memory().bytes).toBe(before);
}

describe('numbers that do not fit the dtype', () => {
  test('in arithmetic throw', () => {
    const x = int([1, 2]);
    const c = bool(true, false);
    const text = (op: string, value: number): DTypeError =>
      new DTypeError(`${op}: ${value} does not fit an int32 tensor; convert the tensor with .to('float32') first`);
    refuses(() => x.add(3e9), text('add', 3e9));
    refuses(() => x.mul(0.5), text('mul', 0.5));
    refuses(() => x.add_(3e9), text('add_', 3e9));
    refuses(() => x.fill_(0.5), text('fill_', 0.5));
    refuses(() => x.clamp(0, 3e9), text('clamp', 3e9));
    refuses(() => where(c, x, 3e9), text('where', 3e9));
    refuses(() => pad(x, [1, 1], { value: 3e9 }), text('pad', 3e9));
    refuses(() => pad(x, [1, 1], { value: 0.5 }), text('pad', 0.5));
    refuses(() => where(c, c, 5), new DTypeError("where: 5 does not fit a bool tensor; convert the tensor with .to('int32') first"));
    refuses(
      () => randint(0, 2 ** 33, [2]),
      new ArgumentError('randint: expected whole numbers low < high from -2147483648 to 2147483648, got 0 and 8589934592'),
    );
    expect(x.toArray()).toEqual([1, 2]);
  });

  test('are checked against the dtype of the computation', () => {
    expect(bool(true, false).add(2).toArray()).toEqual([3, 2]);
    expect(int([1, 2]).div(0.5).toArray()).toEqual([2, 4]);
    expect(int([4, 9]).pow(0.5).toArray()).toEqual([2, 3]);
    expect(int([1, 2]).pow(0.5).dtype).toBe('float32');
    expect(tensor([2]).pow(3).dtype).toBe('float32');
    for (const power of [int([3, -7]).pow(int([19, 11])), int([3, -7]).pow(3), pow(2, int([0, 30])), bool(true, false).pow(1)])
      expect(power.dtype).toBe('int32');
    expect(
      int([3, -7])
        .pow(int([19, 11]))
        .toArray(),
    ).toEqual([1162261467, -1977326743]);
    expect(pow(2, int([0, 30])).toArray()).toEqual([1, 2 ** 30]);
    refuses(
      () => int([2, 3]).pow(int([1, -2])),
      new DTypeError("pow: the exponent -2 of whole numbers is negative; convert one operand with .to('float32') first"),
    );
    refuses(() => int([2]).pow(31), new DTypeError("pow: 2147483648 does not fit int32; convert the tensor with .to('float32') first"));
    refuses(() => pow(2, 3), new DTypeError('pow: at least one operand must be a tensor'));
    expect(tensor([1]).add(3e9).toArray()).toEqual([3e9]);
    expect(int([1]).add(-0).toArray()).toEqual([1]);
    const low = randint(-(2 ** 31), 2 ** 31, [64]).toArray() as number[];
    expect(Math.min(...low)).toBeLessThan(-(2 ** 30));
    expect(Math.max(...low)).toBeGreaterThan(2 ** 30);
  });

  test('are compared without conversion', () => {
    const big = int([2147483647, -2147483648]);
    expect(big.lt(3e9).toArray()).toEqual([1, 1]);
    expect(big.eq(2 ** 31).toArray()).toEqual([0, 0]);
    expect(big.eq(-(2 ** 31)).toArray()).toEqual([0, 1]);
    expect(big.ge(2147483646.5).toArray()).toEqual([1, 0]);
    expect(big.lt(Number.NaN).toArray()).toEqual([0, 0]);
    const c = bool(true, false);
    expect(c.eq(2).toArray()).toEqual([0, 0]);
    expect(c.lt(2).toArray()).toEqual([1, 1]);
    expect(c.gt(-1).toArray()).toEqual([1, 1]);
    expect(c.eq(1).toArray()).toEqual([1, 0]);
  });
});

describe('arguments that only plain JavaScript can pass', () => {
  test('an unknown dtype is named in the error, and memory is unchanged', () => {
    const x = tensor([1, 2]);
    const dtype = 'float16' as DType;
    const text = (op: string): DTypeError => new DTypeError(`${op}: dtype must be float32, float64, int32 or bool, got 'float16'`);
    refuses(() => tensor([1], { dtype }), text('tensor'));
    refuses(() => full([2], 1, { dtype }), text('full'));
    refuses(() => zerosLike(x, { dtype }), text('zerosLike'));
    refuses(() => onesLike(x, { dtype }), text('onesLike'));
    refuses(() => eye(2, 2, { dtype }), text('eye'));
    refuses(() => arange(0, 3, 1, { dtype }), text('arange'));
    refuses(() => linspace(0, 1, 3, { dtype }), text('linspace'));
    refuses(() => x.to(dtype), text('to'));
    refuses(() => allocate(Number.NaN), new RangeError('allocate: expected a number of bytes ≥ 0, got NaN'));
    refuses(() => allocate(-8), new RangeError('allocate: expected a number of bytes ≥ 0, got -8'));
    expect(memory().bytes).toBeGreaterThan(0);
  });

  test('an operand that is neither a tensor nor a number is named in the error', () => {
    const x = tensor([1, 2]);
    const text = (op: string, what: string): ArgumentError => new ArgumentError(`${op}: expected a tensor or a number, got ${what}`);
    refuses(() => x.add(true as never), text('add', 'a boolean'));
    refuses(() => x.add([1, 2] as never), text('add', 'an array'));
    refuses(() => x.add('2' as never), text('add', 'a string'));
    refuses(() => x.mul(undefined as never), text('mul', 'undefined'));
    refuses(() => x.eq(null as never), text('eq', 'null'));
    refuses(() => x.clamp('0' as never), text('clamp', 'a string'));
    refuses(() => where(x.gt(0), x, {} as never), text('where', 'an object'));
    refuses(() => x.add_([1] as never), text('add_', 'an array'));
    refuses(() => x.copy_(undefined as never), text('copy_', 'undefined'));
  });

  test('bounds of a slice are whole numbers', () => {
    const x = arange(4);
    refuses(() => x.slice(0, 0.5), new ArgumentError('slice: start and end must be whole numbers, got 0.5 and null'));
    refuses(() => x.slice(0, 0, Number.NaN), new ArgumentError('slice: start and end must be whole numbers, got 0 and NaN'));
    expect(x.slice(0, -9, 99).toArray()).toEqual([0, 1, 2, 3]);
  });
});

describe('in-place operations', () => {
  const dtypes = ['float64', 'float32', 'int32', 'bool'] as const;
  const pairs = dtypes.flatMap((target) => dtypes.map((operand) => [target, operand] as const));

  test.each(pairs)('on %s with an operand of %s give what the operation gives, in the dtype of the target', (target, operand) => {
    scope(() => {
      const x = tensor([
        [2, 0, 1],
        [1, 3, 1],
      ]).to(target);
      const y = tensor([1, 0, 2]).to(operand);
      expect(x.clone().copy_(y).toArray()).toEqual(y.to(target).expand([2, 3]).toArray());
      const [sum, product] = [x.add(y), x.mul(y)];
      if (target === 'bool' || sum.dtype !== target) return;
      expect([x.clone().add_(y).toArray(), x.clone().mul_(y).toArray()]).toEqual([sum.toArray(), product.toArray()]);
    });
  });

  test('read an operand in the memory of the target before they write', () => {
    scope(() => {
      const make = (): Tensor => tensor([1, 2, 3, 4]);
      expect(make().add_(make()).toArray()).toEqual([2, 4, 6, 8]);
      const [x, y, z] = [make(), make(), make()];
      x.add_(x);
      y.slice(0, 1).add_(y.slice(0, 0, 3));
      z.mul_(z.slice(0, 3));
      expect([x, y, z].map((t) => t.toArray())).toEqual([
        [2, 4, 6, 8],
        [1, 3, 5, 7],
        [4, 8, 12, 16],
      ]);
    });
  });
});

describe('bool and int32', () => {
  test('extremes and signs of bool', () => {
    const c = tensor([
      [true, false],
      [true, true],
    ]);
    expect([c.amax(), c.amin(), c.amax(0), c.amin(1, { keepdim: true })].map((t) => [t.dtype, t.toArray()])).toEqual([
      ['bool', 1],
      ['bool', 0],
      ['bool', [1, 1]],
      ['bool', [[0], [1]]],
    ]);
    expect([c.sign().dtype, c.sign().toArray()]).toEqual([
      'int32',
      [
        [1, 0],
        [1, 1],
      ],
    ]);
  });

  test('pools reject dtypes that their kernels cannot read', () => {
    for (const dtype of ['int32', 'bool'] as const) {
      const x = full([1, 1, 2, 2], 1, { dtype });
      const text = (op: string): DTypeError =>
        new DTypeError(`${op}: expected float32 or float64, got ${dtype}; convert with .to('float32')`);
      refuses(() => F.maxPool2d(x, 2), text('maxPool2d'));
      refuses(() => F.avgPool2d(x, 2), text('avgPool2d'));
      refuses(() => F.adaptiveAvgPool2d(x, 1), text('adaptiveAvgPool2d'));
    }
  });
});

test('cat takes more tensors than a call can have arguments', () => {
  scope(() => {
    const parts = Array.from({ length: 130_000 }, (_, i) =>
      i % 3 === 0 ? int([i]) : i % 3 === 1 ? tensor([i]) : tensor([i], { dtype: 'float64' }),
    );
    const y = cat(parts);
    expect(y.dtype).toBe('float64');
    expect(y.data()).toEqual(Float64Array.from({ length: 130_000 }, (_, i) => i));
  });
});

test('cat of many tensors passes the gradients on in order', () => {
  const parts = Array.from({ length: 2500 }, (_, i) => tensor([i], { requiresGrad: true }));
  cat(parts).mul(arange(2500)).sum().backward();
  expect(parts.map((p) => p.grad!.item())).toEqual(parts.map((_, i) => i));
  for (const p of parts) p.dispose();
});

test('at NaN, maximum, minimum and relu have the gradients of PyTorch 1.13', () => {
  for (const op of [maximum, minimum]) {
    const a = tensor([Number.NaN, 1, Number.NaN, 2], { requiresGrad: true });
    const b = tensor([1, Number.NaN, Number.NaN, 2], { requiresGrad: true });
    op(a, b).sum().backward();
    expect([a.grad!.toArray(), b.grad!.toArray()]).toEqual([
      [1, 1, 1, 0.5],
      [1, 1, 1, 0.5],
    ]);
  }
  const x = tensor([Number.NaN, 1, -1, 0], { requiresGrad: true });
  x.relu().sum().backward();
  expect(x.grad!.toArray()).toEqual([1, 1, 0, 0]);
});

import {
  ArgumentError,
  DTypeError,
  Generator,
  ShapeError,
  manualSeed,
  multinomial,
  noGrad,
  pow,
  rand,
  scope,
  tensor,
  zeros,
  type Tensor,
} from 'chainrule';
import { describe, expect, test } from 'vitest';

// parity.test.ts compares sort, topk, nonzero and maskedSelect with PyTorch, the gradient table checks their gradients.

const int = (values: readonly number[]): Tensor => tensor(values, { dtype: 'int32' });

/** Expects an error of a class with exactly this text. */
function refuses(act: () => unknown, kind: new (message: string) => Error, message: string): void {
  expect(() => scope(act)).toThrow(new kind(message));
}

describe('sort and topk', () => {
  test('of int32 and bool keep the dtype; equal elements keep their order', () => {
    scope(() => {
      const [values, indices] = int([3, -1, 3, 2]).sort(0, { descending: true });
      expect([values.dtype, values.toArray(), indices.toArray()]).toEqual(['int32', [3, 3, 2, -1], [0, 2, 3, 1]]);
      const [flags, places] = tensor([true, false, true]).topk(2);
      expect([flags.dtype, flags.toArray(), places.toArray()]).toEqual(['bool', [1, 1], [0, 2]]);
    });
  });

  test('go along the last dim, and sort from the smallest on, if nothing else is given', () => {
    scope(() => {
      const x = tensor([
        [3, 1, 2],
        [4, 6, 5],
      ]);
      const order = [
        [1, 2, 0],
        [0, 2, 1],
      ];
      const [values, indices] = x.sort();
      expect([values.toArray(), indices.toArray()]).toEqual([
        [
          [1, 2, 3],
          [4, 5, 6],
        ],
        order,
      ]);
      expect(x.argsort().toArray()).toEqual(order);
      expect(x.topk(1).map((t) => t.toArray())).toEqual([
        [[3], [6]],
        [[0], [1]],
      ]);
      const row = tensor([3, 1, 2]);
      const found = [row.argsort(), ...row.sort(), ...row.topk(2)].map((t) => t.toArray());
      expect(found).toEqual([
        [1, 2, 0],
        [1, 2, 3],
        [1, 2, 0],
        [3, 2],
        [0, 2],
      ]);
    });
  });

  test.each([0, -1])('of a 0-d tensor along dim %i: its only element', (dim) => {
    scope(() => {
      const x = tensor(5, { requiresGrad: true });
      const pairs = [x.sort(dim), x.sort(dim, { descending: true }), x.topk(1, dim), x.max(dim), x.min(dim)];
      for (const [value, index] of pairs) {
        expect([value.shape, value.item(), index.shape, index.item(), index.dtype]).toEqual([[], 5, [], 0, 'int32']);
        // The result has memory of its own.
        noGrad(() => value.fill_(9));
      }
      expect(x.item()).toBe(5);
      for (const index of [x.argsort(dim), x.argmax(dim), x.argmin(dim)]) expect([index.shape, index.item()]).toEqual([[], 0]);
      expect([x.cumsum(dim).shape, x.cumsum(dim).item()]).toEqual([[], 5]);
      const values = [x.sort(dim)[0], x.topk(1, dim)[0], x.max(dim)[0], x.min(dim)[0], x.cumsum(dim)];
      for (const value of values) value.backward();
      expect(x.grad!.item()).toBe(values.length);
    });
  });

  test('name what is wrong', () => {
    refuses(() => zeros([2, 3]).topk(4), ShapeError, 'topk: k must be a whole number from 0 to 3, got 4 (x [2,3])');
    refuses(() => zeros([2, 3]).topk(1.5), ShapeError, 'topk: k must be a whole number from 0 to 3, got 1.5 (x [2,3])');
    refuses(() => tensor(1).topk(0), ShapeError, 'topk: k must be a whole number from 1 to 1, got 0 (x [])');
    refuses(
      () => zeros([2]).maskedSelect(int([1, 0])),
      DTypeError,
      'maskedSelect: the mask must be bool, got int32; compare it first, e.g. mask.ne(0)',
    );
    refuses(() => zeros([2]).maskedSelect(zeros([3]).ne(0)), ShapeError, 'maskedSelect: shapes [2] and [3] do not broadcast (2 against 3)');
    const misspelt = { decending: true } as never;
    const unknown = (op: string, known: string) => `${op}: unknown option 'decending'; the options are ${known}`;
    refuses(() => zeros([2]).sort(0, misspelt), ArgumentError, unknown('sort', 'descending'));
    refuses(() => zeros([2]).argsort(0, misspelt), ArgumentError, unknown('argsort', 'descending'));
    refuses(() => zeros([2]).topk(1, 0, misspelt), ArgumentError, unknown('topk', 'largest'));
  });
});

describe('multinomial', () => {
  const weights = [0, 1, 2, 0, 5];

  /** Draws `draws` times and counts how often each index comes first. */
  function shares(replacement: boolean, draws: number): number[] {
    const rows = tensor(weights).expand([draws, 5]).contiguous();
    const drawn = multinomial(rows, 2, { replacement, generator: new Generator(3) });
    const first = drawn.select(1, 0);
    return weights.map((_, i) => first.eq(i).sum().item() / draws);
  }

  test.each([true, false])('draws by weight, replacement %s', (replacement) => {
    scope(() => {
      const found = shares(replacement, 20_000);
      // Six standard deviations of a share of 20,000 draws are at most 0.021.
      weights.forEach((w, i) => expect(Math.abs(found[i]! - w / 8)).toBeLessThan(0.021));
      expect([found[0], found[3]]).toEqual([0, 0]);
    });
  });

  test('without replacement the indices are distinct, and the second is drawn from the rest', () => {
    scope(() => {
      const expanded = tensor(weights).expand([5_000, 5]).contiguous();
      const rows = multinomial(expanded, 3, { generator: new Generator(4) }).toArray() as number[][];
      for (const row of rows) expect(row.toSorted((a, b) => a - b)).toEqual([1, 2, 4]);
      const second = rows.filter(([first]) => first === 4).map((row) => row[1]);
      // After index 4 the weights 1 and 2 are left.
      const share = second.filter((i) => i === 2).length / second.length;
      expect(Math.abs(share - 2 / 3)).toBeLessThan(0.06);
    });
  });

  test('draws the first index too, and each row by itself', () => {
    scope(() => {
      const rows = tensor([3, 1]).expand([2_000, 2]).contiguous();
      const first = multinomial(rows, 2, { replacement: true, generator: new Generator(5) }).select(1, 0);
      const share = (t: Tensor): number => t.sum().item() / t.numel;
      // Six standard deviations of a share of 2,000 draws are at most 0.067.
      expect(Math.abs(share(first.eq(0)) - 3 / 4)).toBeLessThan(0.067);
      // Neighbours are equal where both are 0, or both 1.
      expect(Math.abs(share(first.slice(0, 1).eq(first.slice(0, 0, -1))) - (9 + 1) / 16)).toBeLessThan(0.067);
    });
  });

  test('draws from its generator, and leaves that of manualSeed alone', () => {
    scope(() => {
      const draw = (): unknown => multinomial(tensor(weights), 20, { replacement: true, generator: new Generator(6) }).toArray();
      manualSeed(2);
      const next = rand([3]).toArray();
      manualSeed(2);
      expect(draw()).toEqual(draw());
      expect(rand([3]).toArray()).toEqual(next);
    });
  });

  test('is a function of the seed, has int32 and the shape of its rows', () => {
    scope(() => {
      manualSeed(1);
      const a = multinomial(tensor(weights), 4, { replacement: true });
      manualSeed(1);
      expect(multinomial(tensor(weights), 4, { replacement: true }).toArray()).toEqual(a.toArray());
      expect([a.shape, a.dtype]).toEqual([[4], 'int32']);
    });
  });

  test('names what is wrong', () => {
    const draw =
      (values: number[], count = 1) =>
      () =>
        multinomial(tensor(values), count);
    refuses(draw([1, -1]), ArgumentError, 'multinomial: weights must be finite and at least 0, got -1');
    refuses(draw([1, NaN]), ArgumentError, 'multinomial: weights must be finite and at least 0, got NaN');
    refuses(draw([1, Infinity]), ArgumentError, 'multinomial: weights must be finite and at least 0, got Infinity');
    refuses(() => multinomial(5 as never, 1), ArgumentError, 'multinomial: x must be a tensor, got a number');
    refuses(draw([0, 0]), ArgumentError, 'multinomial: row 0 has 0 weights above 0, and 1 are needed to draw from');
    refuses(draw([0, 3, 1], 3), ArgumentError, 'multinomial: row 0 has 2 weights above 0, and 3 are needed to draw from');
    refuses(draw([1, 1], 0), ArgumentError, 'multinomial: count must be a whole number ≥ 1, got 0');
    refuses(() => multinomial(zeros([1, 1, 2]), 1), ShapeError, 'multinomial: x must be [K] or [N,K], got [1,1,2]');
    refuses(() => multinomial(int([1]), 1), DTypeError, "multinomial: expected float32 or float64, got int32; convert with .to('float32')");
  });
});

describe('pow of whole numbers', () => {
  test('is exact in int32', () => {
    scope(() => {
      const bases = Array.from({ length: 25 }, (_, i) => i - 12);
      for (let e = 0; e <= 8; e++) {
        const y = int(bases).pow(e);
        expect([y.dtype, y.toArray()]).toEqual(['int32', bases.map((b) => Number(BigInt(b) ** BigInt(e)))]);
      }
      expect(pow(int([-2, 2, 7, 46340]), int([31, 30, 11, 2])).toArray()).toEqual([-(2 ** 31), 2 ** 30, 1977326743, 2147395600]);
      expect(pow(2, int([0, 10])).toArray()).toEqual([1, 1024]);
      expect(
        tensor([true, false])
          .pow(tensor([false, true]))
          .toArray(),
      ).toEqual([1, 0]);
    });
  });

  test('a fraction, or a tensor of floats, gives floats', () => {
    scope(() => {
      expect(int([4, 9]).pow(0.5).dtype).toBe('float32');
      expect(pow(0.5, int([2])).toArray()).toEqual([0.25]);
      expect(int([2, 3]).pow(tensor([2, -1])).dtype).toBe('float32');
    });
  });

  test('names what is wrong', () => {
    refuses(() => int([2]).pow(31), DTypeError, "pow: 2147483648 does not fit int32; convert the tensor with .to('float32') first");
    refuses(
      () => int([2]).pow(3e9),
      DTypeError,
      "pow: 3000000000 does not fit an int32 tensor; convert the tensor with .to('float32') first",
    );
    const negative = "pow: the exponent -1 of whole numbers is negative; convert one operand with .to('float32') first";
    refuses(() => int([2]).pow(-1), DTypeError, negative);
    refuses(() => int([2, 2]).pow(int([1, -1])), DTypeError, negative);
  });
});

/** Tensors: creation, dtypes and promotion, memory order, views, printing, manual lifetimes. */
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import {
  ArgumentError,
  DTypeError,
  ShapeError,
  type Tensor,
  arange,
  cat,
  eye,
  full,
  linspace,
  maximum,
  memory,
  noGrad,
  ones,
  onesLike,
  pad,
  scope,
  stack,
  tensor,
  where,
  zeros,
  zerosLike,
} from 'chainrule';

/** Runs a test in a scope, as these tests check values and not memory. */
const test = (name: string, fn: () => void): void => it(name, () => scope(fn));

describe('creation', () => {
  test('from nested arrays, flat data, numbers and booleans', () => {
    expect(
      tensor([
        [1, 2],
        [3, 4],
      ]).shape,
    ).toEqual([2, 2]);
    expect(tensor(new Float64Array([1, 2, 3, 4]), { shape: [2, 2] }).dtype).toBe('float64');
    expect(tensor(new Uint8Array([1, 255])).dtype).toBe('int32');
    expect(tensor([true, false]).dtype).toBe('bool');
    expect([tensor(3).shape, tensor(3).item()]).toEqual([[], 3]);
    expect([tensor([]).shape, tensor([[], []]).shape]).toEqual([[0], [2, 0]]);
    expect(tensor([[[1]], [[2]]]).toArray()).toEqual([[[1]], [[2]]]);
  });

  test('copies its input, and returns copies of its data', () => {
    const data = new Float32Array([1, 2]);
    const t = tensor(data);
    data[0] = 9;
    expect(t.toArray()).toEqual([1, 2]);
    t.data()[0] = 9;
    expect(t.toArray()).toEqual([1, 2]);
  });

  test('ranges, identities, constants', () => {
    expect(arange(4).toArray()).toEqual([0, 1, 2, 3]);
    expect([arange(1, 2, 0.25).toArray(), arange(1, 2, 0.25).dtype]).toEqual([[1, 1.25, 1.5, 1.75], 'float32']);
    expect(arange(5, 0, -2).toArray()).toEqual([5, 3, 1]);
    expect([arange(0).shape, arange(2, 2).shape, linspace(3, 7, 1).toArray()]).toEqual([[0], [0], [3]]);
    expect(linspace(0, 1, 5, { dtype: 'float64' }).toArray()).toEqual([0, 0.25, 0.5, 0.75, 1]);
    expect([linspace(2, 5, 4).toArray(), linspace(5, 1, 3).toArray()]).toEqual([
      [2, 3, 4, 5],
      [5, 3, 1],
    ]);
    expect(eye(2, 3).toArray()).toEqual([
      [1, 0, 0],
      [0, 1, 0],
    ]);
    expect(full([2], 7, { dtype: 'int32' }).toArray()).toEqual([7, 7]);
    const t = ones([2, 3]).transpose(0, 1);
    expect([zerosLike(t).strides, onesLike(t, { dtype: 'bool' }).dtype]).toEqual([[1, 3], 'bool']);
  });
});

describe('dtypes', () => {
  const int = (): Tensor => tensor([1, 2], { dtype: 'int32' });

  test('promote bool < int32 < float32 < float64; a number never does', () => {
    const b = tensor([true, false]);
    const f = tensor([0.5, 1.5]);
    const d = tensor([0.5, 1.5], { dtype: 'float64' });
    expect([b.add(int()).dtype, int().add(f).dtype, f.mul(d).dtype, f.add(1.5).dtype, int().add(2).dtype]).toEqual([
      'int32',
      'float32',
      'float64',
      'float32',
      'int32',
    ]);
    expect([b.add(b).toArray(), b.add(b).dtype]).toEqual([[2, 0], 'int32']);
    expect([int().div(int()).dtype, int().sqrt().dtype, int().sum().dtype, b.sum().item()]).toEqual(['float32', 'float32', 'int32', 1]);
  });

  test('integers are compared with fractions as real numbers', () => {
    expect(int().gt(1.5).toArray()).toEqual([0, 1]);
    expect(
      int()
        .eq(tensor([1, 3]))
        .toArray(),
    ).toEqual([1, 0]);
  });

  test('conversions truncate and saturate; to bool, all but 0 is true', () => {
    const f = tensor([-1.7, 2.9, 1e20, Number.NaN]);
    expect(f.to('int32').toArray()).toEqual([-1, 2, 2147483647, 0]);
    expect(tensor([0, -0, 0.1]).to('bool').toArray()).toEqual([0, 0, 1]);
    expect(f.to('float32')).toBe(f);
  });
});

describe('memory order', () => {
  const image = (): Tensor => ones([2, 3, 4, 5]).permute([0, 2, 3, 1]).contiguous().permute([0, 3, 1, 2]);

  test('an elementwise result follows its operand with the most elements', () => {
    const x = image();
    expect(x.strides).toEqual([60, 1, 15, 3]);
    expect(x.add(ones([3, 1, 1])).strides).toEqual(x.strides);
    expect(ones([3, 1, 1]).mul(x).strides).toEqual(x.strides);
    expect(x.relu().gt(0).strides).toEqual(x.strides);
    expect(ones([2, 3, 4, 5]).add(x).strides).toEqual([60, 20, 5, 1]);
  });

  test('reductions keep the order of what remains; cat follows its first input; flatten copies when it must', () => {
    const x = image();
    expect(x.sum(0).strides).toEqual([1, 15, 3]);
    expect(cat([x, ones([2, 1, 4, 5])], 1).strides).toEqual([80, 1, 20, 4]);
    expect(x.flatten(1).strides).toEqual([60, 1]);
    expect(() => x.flatten(2).view([2, 60])).toThrow('without a copy');
  });

  test('views share memory and never copy', () => {
    const before = memory().bytes;
    const x = zeros([2, 3]);
    const bytes = memory().bytes;
    const views = [
      x.transpose(0, 1),
      x.expand([4, 2, 3]),
      x.slice(1, 0, 3, 2),
      x.select(0, -1),
      x.unsqueeze(1).squeeze(1),
      x.view([3, 2]),
      x.reshape([6]),
      x.detach(),
    ];
    expect([memory().bytes, bytes - before]).toEqual([bytes, 24]);
    noGrad(() => x.fill_(2));
    for (const v of views) expect(new Set(v.data())).toEqual(new Set([2]));
  });
});

describe('values', () => {
  test('slices, pads, stacks and selects as in NumPy', () => {
    const x = arange(10);
    expect(x.slice(0, -3).toArray()).toEqual([7, 8, 9]);
    expect(x.slice(0, 1, 8, 3).toArray()).toEqual([1, 4, 7]);
    expect(x.slice(0, 8, 3).toArray()).toEqual([]);
    expect(pad(tensor([[1, 2]]), [1, 0, 0, 1], { value: 9 }).toArray()).toEqual([
      [9, 1, 2],
      [9, 9, 9],
    ]);
    expect(stack([arange(2), arange(2)], -1).toArray()).toEqual([
      [0, 0],
      [1, 1],
    ]);
    expect(maximum(tensor([1, Number.NaN, 3]), 2).toArray()).toEqual([2, Number.NaN, 3]);
    expect(where(tensor([true, false]), tensor([1, 2]), 0).toArray()).toEqual([1, 0]);
    expect(
      tensor([
        [1, 5],
        [7, 2],
      ])
        .argmax()
        .item(),
    ).toBe(2);
    expect(
      tensor([
        [1, 5],
        [7, 2],
      ])
        .argmax(1, { keepdim: true })
        .toArray(),
    ).toEqual([[1], [0]]);
    expect(tensor([1, 2, 3, 4]).var().item()).toBeCloseTo(5 / 3, 6);
    expect(tensor([1, 2, 3, 4]).std(0, { correction: 0 }).item()).toBeCloseTo(Math.sqrt(1.25), 6);
    expect(tensor([-2, 0.5, 3]).clamp(-1, 1).toArray()).toEqual([-1, 0.5, 1]);
    expect(
      tensor([-2, 0.5, 3])
        .clamp(null, tensor([0, 1, 2]))
        .toArray(),
    ).toEqual([-2, 0.5, 2]);
  });

  test('reduces empty tensors to 0, NaN or an error, as in PyTorch', () => {
    const none = zeros([0, 3]);
    expect(none.sum(0).toArray()).toEqual([0, 0, 0]);
    expect(none.mean(0).toArray()).toEqual([Number.NaN, Number.NaN, Number.NaN]);
    expect(none.amax(1).shape).toEqual([0]);
  });
});

describe('printing', () => {
  test('shows values, shape, dtype and operation', () => {
    const x = tensor(
      [
        [1, 2.5],
        [3, 4],
      ],
      { requiresGrad: true, label: 'x' },
    );
    expect(String(x)).toBe("tensor 'x' [2,2] float32 requiresGrad\n[[1, 2.5],\n [3, 4]]");
    expect(`${x.sum()}`).toBe('tensor [] float32 ← sum 10.5');
    expect(String(tensor([true]))).toBe('tensor [1] bool [true]');
    expect(String(arange(100))).toBe('tensor [100] int32 [0, 1, 2, …, 97, 98, 99]');
    expect(JSON.stringify(tensor([1, 2]))).toBe('{"dtype":"float32","shape":[2],"data":[1,2]}');
    const gone = ones([2]);
    gone.dispose();
    expect(String(gone)).toBe('tensor [2] float32 (freed)');
  });

  test('shows seven elements of a dim, of more the first and last three, and each dim indented', () => {
    expect(String(arange(7))).toBe('tensor [7] int32 [0, 1, 2, 3, 4, 5, 6]');
    expect(String(arange(8))).toBe('tensor [8] int32 [0, 1, 2, …, 5, 6, 7]');
    expect(String(arange(8).reshape([2, 2, 2]))).toBe('tensor [2,2,2] int32\n[[[0, 1],\n  [2, 3]],\n [[4, 5],\n  [6, 7]]]');
  });

  test('shows float32 with 5 digits, float64 with 8, whole numbers with all, and truth values', () => {
    const values = [1 / 3, 123456789, -0.5, NaN, -Infinity];
    expect(String(tensor(values.slice(0, 1)))).toBe('tensor [1] float32 [0.33333]');
    expect(String(tensor(values, { dtype: 'float64' }))).toBe('tensor [5] float64 [0.33333333, 123456789, -0.5, NaN, -Infinity]');
    expect(String(tensor([123456792, NaN, Infinity]))).toBe('tensor [3] float32 [123456792, NaN, Infinity]');
    expect(String(tensor([2 ** 31 - 1], { dtype: 'int32' }))).toBe('tensor [1] int32 [2147483647]');
    expect(String(tensor([false, true]))).toBe('tensor [2] bool [false, true]');
  });

  test('shows the value of a loss whose graph is consumed', () => {
    const x = tensor([2, 3], { requiresGrad: true });
    const loss = x.sum();
    loss.backward();
    expect(String(loss)).toBe('tensor [] float32 ← sum 5');
  });
});

describe('manual lifetimes', () => {
  it('dispose gives up a graph from its root, but not what another root needs', () => {
    const before = memory();
    const x = ones([3], { requiresGrad: true });
    const h = x.mul(2);
    const a = h.exp();
    const b = h.sum();
    a.dispose();
    b.backward();
    expect(x.grad!.toArray()).toEqual([2, 2, 2]);
    const y = x.mul(3).exp();
    y.dispose();
    x.mul(1).dispose();
    h.dispose();
    x.dispose();
    x.dispose();
    expect([memory().bytes, memory().tensors]).toEqual([before.bytes, before.tensors]);
  });

  it('a loss whose graph is consumed goes on as a constant, which the scope frees', () => {
    const x = ones([3], { requiresGrad: true });
    const loss = x.sum();
    loss.backward();
    x.mul(1).dispose();
    const before = memory().tensors;
    const total = x.sum();
    total.dispose();
    scope(() => {
      expect([loss.mul(2), total.mul(3)].map((t) => t.item())).toEqual([6, 9]);
    });
    expect(memory().tensors).toBe(before);
    x.dispose();
  });

  it('explicit resource management disposes where the runtime has it', () => {
    if (typeof Symbol.dispose !== 'symbol') return;
    const before = memory().tensors;
    const x = ones([1]);
    x[Symbol.dispose as never as 'dispose']();
    expect(memory().tensors).toBe(before);
  });
});

describe('typed arrays', () => {
  it.each([
    [Uint8ClampedArray.of(0, 255), 'int32'],
    [Int8Array.of(-128, 127), 'int32'],
    [Int16Array.of(-32768, 32767), 'int32'],
    [Uint16Array.of(0, 65535), 'int32'],
    [Uint32Array.of(0, 2 ** 31 - 1), 'int32'],
    [Uint8Array.of(0, 255), 'int32'],
    [Int32Array.of(-(2 ** 31), 2 ** 31 - 1), 'int32'],
    [Float32Array.of(0.5, -0), 'float32'],
    [Float64Array.of(0.1, 1e300), 'float64'],
  ] as const)('%o become %s, alone and in a list', (values, dtype) => {
    const flat = tensor(values);
    expect([flat.dtype, flat.shape, flat.toArray()]).toEqual([dtype, [2], [...values]]);
    const rows = tensor([values, values, values]);
    expect([rows.dtype, rows.shape, rows.toArray()]).toEqual([dtype, [3, 2], [[...values], [...values], [...values]]]);
  });

  test('of several types promote, also with numbers and booleans', () => {
    expect(tensor([Int8Array.of(1), Float64Array.of(0.1)]).dtype).toBe('float64');
    expect(tensor([Int8Array.of(1), [2]]).dtype).toBe('float32');
    expect(tensor([[true], Uint8Array.of(7)]).toArray()).toEqual([[1], [7]]);
    expect(tensor([Float64Array.of(0.1)], { dtype: 'float32' }).dtype).toBe('float32');
    expect(tensor([[Uint8Array.of(1, 2)], [Uint8Array.of(3, 4)]]).shape).toEqual([2, 1, 2]);
    expect(tensor([new Uint8Array(0), new Uint8Array(0)]).shape).toEqual([2, 0]);
    expect([tensor([new Float64Array(0)]).dtype, tensor([[], []]).dtype]).toEqual(['float64', 'float32']);
  });

  test('whose memory was transferred are refused, alone and in a list', () => {
    const transferred = (): Float32Array => {
      const array = Float32Array.of(1, 2);
      structuredClone(array, { transfer: [array.buffer] });
      return array;
    };
    const error = new ArgumentError('tensor: the memory of the array was transferred to another thread; copy the array first');
    expect(() => tensor(transferred())).toThrow(error);
    expect(() => tensor([transferred(), transferred()])).toThrow(error);
  });

  test('of another realm are read by their names', () => {
    const foreign = runInNewContext('[new Uint8ClampedArray([1, 2]), new Float64Array([0.5, 1])]') as [Uint8ClampedArray, Float64Array];
    expect(foreign[1]).not.toBeInstanceOf(Float64Array);
    expect([tensor(foreign[0]).dtype, tensor(foreign[1]).dtype]).toEqual(['int32', 'float64']);
  });

  test('that do not fit are refused', () => {
    expect(() => tensor(Uint32Array.of(1, 2 ** 31))).toThrow(new DTypeError('tensor: element 1 is 2147483648, which does not fit int32'));
    expect(() => tensor([Uint8Array.of(1), Uint8Array.of(1, 2)])).toThrow(ShapeError);
    expect(() => tensor([1, Uint8Array.of(1)])).toThrow(ShapeError);
    const message = (got: string) => new ArgumentError(`tensor: expected numbers, booleans or arrays of them, got ${got}`);
    expect(() => tensor(BigInt64Array.of(1n) as never)).toThrow(message('a BigInt64Array'));
    expect(() => tensor(new DataView(new ArrayBuffer(4)) as never)).toThrow(message('a DataView'));
    // oxlint-disable-next-line no-sparse-arrays
    expect(() => tensor([1, , 2] as never)).toThrow(message('undefined'));
  });
});

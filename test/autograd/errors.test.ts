/** Every misuse throws an error of the right class with an exact text, and leaves tensors and bytes unchanged. */
import { describe, expect, it } from 'vitest';
import {
  ArgumentError,
  AutogradError,
  DTypeError,
  GraphConsumedError,
  InPlaceError,
  ReleasedError,
  ScopeError,
  ShapeError,
  type Tensor,
  arange,
  cat,
  full,
  grad,
  linspace,
  noGrad,
  ones,
  pad,
  randint,
  randperm,
  recompute,
  scope,
  scoped,
  stack,
  tensor,
  where,
  zeros,
} from 'chainrule';
import { EMA } from 'chainrule/optim';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import { refuses } from '../support/refuses.ts';

const leaf = (shape: number[]): Tensor => ones(shape, { requiresGrad: true });

describe('shapes and dtypes', () => {
  const a = ones([2, 3]);
  const i = tensor([1, 2, 3], { dtype: 'int32' });
  const cases: [string, () => unknown, new (message: string) => Error, string][] = [
    ['broadcast', () => a.add(ones([2, 4])), ShapeError, 'add: shapes [2,3] and [2,4] do not broadcast (3 against 4)'],
    ['matmul', () => a.matmul(a), ShapeError, 'matmul: a has 3 columns, b 2 rows (a [2,3], b [2,3])'],
    ['matmul 0-d', () => a.matmul(tensor(1)), ShapeError, 'matmul: both operands need at least 1 dim (a [2,3], b []); use mul'],
    ['reshape', () => a.reshape([4, 2]), ShapeError, 'reshape: shape [2,3] has 6 elements, which do not fit [4,2]'],
    ['two holes', () => a.reshape([-1, -1]), ShapeError, 'reshape: only one size may be -1, got [-1,-1]'],
    [
      'view',
      () => a.transpose(0, 1).view([6]),
      ShapeError,
      'view: shape [3,2] with strides [1,3] cannot be seen as [6] without a copy; use reshape',
    ],
    ['dim', () => a.sum(2), ShapeError, 'sum: dim 2 is out of range for 2 dims (expected -2 to 1)'],
    ['dim twice', () => a.sum([0, -2]), ShapeError, 'sum: dim 0 appears twice'],
    ['permute', () => a.permute([0, 0]), ShapeError, 'permute: dims [0,0] must name each dim of x [2,3] once'],
    ['expand', () => a.expand([3, 3]), ShapeError, 'expand: x [2,3] does not broadcast to [3,3]'],
    ['cat', () => cat([a, ones([3, 2])]), ShapeError, 'cat: shapes [2,3], [3,2] must agree in all dims but 0, of at least 1'],
    ['stack', () => stack([a, ones([2])]), ShapeError, 'stack: shapes [2,3], [2] must be equal'],
    ['cat of null', () => cat([a, null as never]), ArgumentError, 'cat: expected tensors, got null at position 1'],
    ['stack of numbers', () => stack([1 as never]), ArgumentError, 'stack: expected tensors, got a number at position 0'],
    ['arange', () => arange(0, 3, -2), ArgumentError, 'arange: step -2 leads from start 0 away from end 3'],
    ['pad', () => pad(a, [1]), ArgumentError, 'pad: padding must be pairs of whole numbers for at most 2 dims, got [1]'],
    ['sizes one by one', () => zeros(2 as never), ArgumentError, 'zeros: expected an array, got a number; write zeros([…])'],
    ['reshape one by one', () => a.reshape(3 as never), ArgumentError, 'reshape: expected an array, got a number; write reshape([…])'],
    ['view one by one', () => a.view(-1 as never), ArgumentError, 'view: expected an array, got a number; write view([…])'],
    ['permute one by one', () => a.permute(1 as never), ArgumentError, 'permute: expected an array, got a number; write permute([…])'],
    ['expand one by one', () => a.expand(2 as never), ArgumentError, 'expand: expected an array, got a number; write expand([…])'],
    ['repeat one by one', () => a.repeat(2 as never), ArgumentError, 'repeat: expected an array, got a number; write repeat([…])'],
    ['pad by one', () => pad(a, 1 as never), ArgumentError, 'pad: expected an array, got a number; write pad([…])'],
    ['randperm', () => randperm(2 ** 32), ShapeError, 'randperm: shape [4294967296] has 4294967296 elements, at most 2147483647 fit'],
    ['pad to less than nothing', () => pad(a, [-2, -2]), ShapeError, 'pad: padding [-2,-2] cuts off more than x [2,3] has'],
    ['slice step', () => a.slice(0, 0, 2, 0), ArgumentError, 'slice: step must be a whole number ≥ 1, got 0'],
    ['select', () => a.select(1, 3), ShapeError, 'select: index 3 is out of range for dim 1 of x [2,3]'],
    ['empty amax', () => zeros([0, 2]).amax(0), ShapeError, 'amax: nothing to choose from along dims [0] of x [0,2]'],
    ['sizes', () => a.sizes(4), ShapeError, 'sizes: expected 4 dims, got shape [2,3]'],
    ['item', () => a.item(), ShapeError, 'item: expected one element, got shape [2,3]'],
    ['count', () => zeros([65536, 65536]), ShapeError, 'zeros: shape [65536,65536] has 4294967296 elements, at most 2147483647 fit'],
    ['negative size', () => zeros([-1]), ShapeError, 'zeros: every size must be a whole number ≥ 0, got shape [-1]'],
    ['ragged', () => tensor([[1, 2], [3]]), ShapeError, 'tensor: the arrays are ragged: 1 elements at depth 1, where others have 2'],
    ['ragged depth', () => tensor([[1], 2]), ShapeError, 'tensor: the arrays are ragged: element 1 lies 1 deep, the first 2'],
    ['ragged, deeper', () => tensor([1, [2]]), ShapeError, 'tensor: the arrays are ragged: 1 elements at depth 1, where others have none'],
    ['label', () => tensor([1], { label: 3 as never }), ArgumentError, 'tensor: label must be a string, got a number'],
    ['full of a fraction', () => full([2], 0.5, { dtype: 'int32' }), DTypeError, 'full: element 0 is 0.5, which does not fit int32'],
    [
      'arange to infinity',
      () => arange(0, Infinity),
      ArgumentError,
      'arange: expected finite numbers and a step ≠ 0, got start 0, end Infinity, step 1',
    ],
    [
      'arange from NaN',
      () => arange(NaN, 1),
      ArgumentError,
      'arange: expected finite numbers and a step ≠ 0, got start NaN, end 1, step 1',
    ],
    [
      'arange by NaN',
      () => arange(0, 1, NaN),
      ArgumentError,
      'arange: expected finite numbers and a step ≠ 0, got start 0, end 1, step NaN',
    ],
    [
      'randint of nothing',
      () => randint(3, 3, [2]),
      ArgumentError,
      `randint: expected whole numbers low < high from -2147483648 to 2147483648, got 3 and 3`,
    ],
    ['linspace of −1', () => linspace(0, 1, -1), ShapeError, 'linspace: every size must be a whole number ≥ 0, got shape [-1]'],
    ['randperm of −1', () => randperm(-1), ShapeError, 'randperm: every size must be a whole number ≥ 0, got shape [-1]'],
    ['data and shape', () => tensor([1, 2, 3], { shape: [2, 2] }), ShapeError, 'tensor: 3 elements do not fill shape [2,2] (4)'],
    [
      'fraction on int32',
      () => i.add(0.5),
      DTypeError,
      "add: 0.5 does not fit an int32 tensor; convert the tensor with .to('float32') first",
    ],
    ['fraction in int32', () => tensor([0.5], { dtype: 'int32' }), DTypeError, 'tensor: element 0 is 0.5, which does not fit int32'],
    [
      'int gradient',
      () => i.requiresGrad_(),
      DTypeError,
      'requiresGrad_: only float32 and float64 tensors have gradients, this one is int32',
    ],
    [
      'int sum',
      () => full([2], 2 ** 31 - 1, { dtype: 'int32' }).sum(),
      DTypeError,
      "sum: 4294967294 does not fit int32; convert the tensor with .to('float32') first",
    ],
    ['int mean', () => i.mean(), DTypeError, "mean: expected float32 or float64, got int32; convert with .to('float32')"],
    ['where', () => where(a, a, 0), DTypeError, 'where: the condition must be bool, got float32; compare it first, e.g. c.ne(0)'],
    [
      'arithmetic',
      () => (a as unknown as number) + 1,
      ArgumentError,
      'a tensor is no number: use .item() for its value, or .add(…), .mul(…) for arithmetic',
    ],
    ['arange', () => arange(0, 1, 0), ArgumentError, 'arange: expected finite numbers and a step ≠ 0, got start 0, end 1, step 0'],
    [
      'conv channels',
      () => F.conv2d(ones([8, 3, 32, 32]), ones([16, 4, 3, 3])),
      ShapeError,
      'conv2d: x has 3 channels, w expects 4 (x [8,3,32,32], w [16,4,3,3])',
    ],
    [
      'conv size',
      () => F.conv2d(ones([1, 1, 2, 2]), ones([1, 1, 3, 3])),
      ShapeError,
      'conv2d: the dilated kernel is larger than the padded input: output [0,0] (x [1,1,2,2], w [1,1,3,3])',
    ],
    [
      'float targets',
      () => F.crossEntropy(ones([2, 3]), tensor([0, 1])),
      DTypeError,
      "crossEntropy: target must hold class indices as int32, got float32; make it with { dtype: 'int32' }",
    ],
    [
      'class out of range',
      () => F.crossEntropy(ones([2, 3]), tensor([0, 3], { dtype: 'int32' })),
      ShapeError,
      'crossEntropy: index 3 at position 1 is out of range for 3 (expected 0 to 2)',
    ],
  ];
  for (const [name, act, kind, message] of cases) it(name, () => scope(() => refuses(() => scope(() => void act()), kind, message)));
});

describe('autograd', () => {
  it('backward without a graph, of an output that is not a scalar, with a wrong gradient', () =>
    scope(() => {
      const x = leaf([2]);
      const y = x.mul(2);
      const plain = ones([]);
      refuses(
        () => plain.backward(),
        AutogradError,
        'backward: the tensor [] does not require a gradient: nothing behind it does, it was detached, or it was made under noGrad',
      );
      refuses(
        () => y.backward(),
        AutogradError,
        'backward: the tensor has shape [2], and only a scalar has an implied gradient of 1. Give the gradient, or reduce with sum() or mean()',
      );
      const wrong = ones([3]);
      refuses(() => y.backward(wrong), ShapeError, 'backward: the gradient is float32 [3], the tensor float32 [2]; they must be equal');
      expect(x.grad).toBe(null);
      y.backward(ones([2]));
      expect(x.grad!.toArray()).toEqual([2, 2]);
    }));

  it('a second backward, and an operation on consumed and live graphs', () =>
    scope(() => {
      const x = leaf([2]);
      const h = x.mul(2);
      const y = h.sum();
      y.backward();
      refuses(
        () => y.backward(),
        GraphConsumedError,
        'backward: sum [] belongs to a graph that an earlier backward has consumed. ' +
          'Give the earlier backward { retainGraph: true }, add the losses before one backward, or compute it again',
      );
      refuses(
        () => h.mul(x),
        GraphConsumedError,
        'mul: the argument [2] (result of mul) belongs to a graph that backward has consumed, and another argument still wants a gradient. ' +
          'detach() it if it is a constant here, or give that backward { retainGraph: true }',
      );
      expect(h.mul(3).toArray()).toEqual([6, 6]);
    }));

  it('a saved tensor has been written to', () =>
    scope(() => {
      const x = leaf([2]);
      const c = ones([2]);
      const y = x.mul(c).sum();
      c.add_(1);
      refuses(
        () => y.backward(),
        InPlaceError,
        "backward: mul saved a tensor [2] ('b') that was changed in place afterwards (it was at version 0, now 1). " +
          'Change it after backward, or use a copy: x.clone()',
      );
      expect(x.grad).toBe(null);
    }));

  it('in-place writes to tensors that require a gradient, to their views and bases, with such an operand, and to expanded memory', () =>
    scope(() => {
      const x = leaf([2]);
      const text = (op: string): string =>
        `${op}: the target [2], or a tensor that shares its memory, requires a gradient, and in-place operations are not recorded. ` +
        'Use the out-of-place form, or noGrad(() => …)';
      refuses(() => x.add_(1), InPlaceError, text('add_'));
      const d = x.detach();
      refuses(() => d.mul_(2), InPlaceError, text('mul_'));
      const c = ones([2]);
      refuses(
        () => c.add_(x),
        InPlaceError,
        'add_: the operand [2] requires a gradient, and in-place operations are not recorded. Use the out-of-place form, or noGrad(() => …)',
      );
      const e = ones([1]).expand([2]);
      refuses(() => e.fill_(3), InPlaceError, 'fill_: the target [2] is expanded: several of its elements share memory. Use clone() first');
      noGrad(() => x.add_(1));
      expect(x.toArray()).toEqual([2, 2]);
    }));

  it('a write is refused where a result shares the memory, and allowed when no tensor requires a gradient any more', () =>
    scope(() => {
      const x = leaf([2]);
      const d = x.detach();
      const h = x.mul(2);
      for (const shared of [d, h.detach()]) expect(() => shared.fill_(3)).toThrow(InPlaceError);
      x.detach().dispose();
      expect(() => d.fill_(3)).toThrow(InPlaceError);
      x.requiresGrad_(false);
      expect(d.fill_(3).toArray()).toEqual([3, 3]);
      x.requiresGrad_().requiresGrad_();
      expect(() => d.fill_(4)).toThrow(InPlaceError);
      x.dispose();
      expect(d.fill_(4).toArray()).toEqual([4, 4]);
    }));

  it('a write to a parameter is refused in its new memory too, after to()', () =>
    scope(() => {
      const layer = new nn.Linear(2, 2);
      const old = layer.weight.detach();
      layer.to('float64');
      expect(old.fill_(1).sum().item()).toBe(4);
      expect(() => layer.weight.detach().fill_(3)).toThrow(InPlaceError);
      layer.weight.requiresGrad_(false);
      expect(layer.weight.detach().fill_(3).toArray()).toEqual([
        [3, 3],
        [3, 3],
      ]);
      layer.dispose();
    }));

  it('grad of another shape or dtype; its own is itself', () =>
    scope(() => {
      const x = leaf([2]);
      x.mul(3).sum().backward();
      const g = x.grad!;
      x.grad = g;
      expect(x.grad).toBe(g);
      const text = (got: string): string => `grad: expected float32 [2], the tensor's own, got ${got}`;
      const [column, double] = [ones([2, 1]), ones([2], { dtype: 'float64' })];
      refuses(() => void (x.grad = column), ShapeError, text('float32 [2,1]'));
      refuses(() => void (x.grad = double), ShapeError, text('float64 [2]'));
      expect(x.grad.toArray()).toEqual([3, 3]);
      const other = tensor([5, 6]);
      x.grad = other;
      other.fill_(0);
      expect(x.grad.toArray()).toEqual([5, 6]);
    }));

  it('hooks and retainGrad of a tensor without gradient, a flag that is none, a dim that there is not', () =>
    scope(() => {
      const plain = ones([2]);
      refuses(() => void plain.registerHook(() => {}), AutogradError, 'registerHook: the tensor does not require a gradient');
      refuses(() => void plain.retainGrad(), AutogradError, 'retainGrad: the tensor does not require a gradient');
      const flag = 'no' as never;
      refuses(() => void plain.requiresGrad_(flag), ArgumentError, "requiresGrad_: flag must be true or false, got 'no'");
      refuses(() => plain.size(1), ShapeError, 'size: dim 1 is out of range for 1 dims (expected -1 to 0)');
    }));

  it('unused inputs, inputs without gradient, results that are not leaves', () =>
    scope(() => {
      const x = leaf([2]);
      const z = leaf([3]);
      const y = x.sum();
      refuses(() => grad(y, z), AutogradError, 'grad: the outputs do not depend on input 0 [3]; allow that with { allowUnused: true }');
      const second = 'grad: the outputs do not depend on input 1 [3]; allow that with { allowUnused: true }';
      refuses(() => grad(y, [x, z], { retainGraph: true }), AutogradError, second);
      expect(grad(y, [x, z], { allowUnused: true }).map(String)).toEqual(['tensor [2] float32 [1, 1]', 'null']);
      const w = leaf([2]);
      const [total, plain, twice] = [w.sum(), ones([]), w.mul(2)];
      refuses(() => grad(total, plain), AutogradError, 'grad: input 0 [] does not require a gradient');
      refuses(() => twice.requiresGrad_(false), AutogradError, 'requiresGrad_: the result of mul is no leaf; use detach()');
    }));
});

describe('lifetime', () => {
  it('reading a tensor that backward, a scope, an iteration or dispose has freed', () => {
    const x = leaf([2]);
    const h = x.mul(2);
    h.sum().backward();
    expect(h.toArray()).toEqual([2, 2]);
    const next = x.mul(3);
    expect(() => h.toArray()).toThrow(
      new ReleasedError(
        'a tensor [2] (result of mul) was freed: backward consumed its graph, and a recorded operation followed. ' +
          'Read it before that, or give backward { retainGraph: true }, or keep() it',
      ),
    );
    next.dispose();
    let inner!: Tensor;
    scope(() => {
      inner = ones([2]);
    });
    expect(() => inner.add(1)).toThrow(
      new ReleasedError(
        'a tensor [2] was freed when its scope or noGrad ended. Return it from there, or keep() it; for a cache inside a module: nn.buffer(t, { persistent: false })',
      ),
    );
    for (const _ of scoped(1)) {
      void _;
      inner = ones([2]);
    }
    expect(() => inner.data()).toThrow(
      new ReleasedError(
        'a tensor [2] was freed at the end of its iteration of a scoped loop. keep() it, or accumulate in place into a tensor made ' +
          'before the loop (total.add_(x)); for a cache inside a module: nn.buffer(t, { persistent: false })',
      ),
    );
    inner = ones([2], { label: 'mask' });
    inner.dispose();
    expect(() => inner.data()).toThrow(new ReleasedError("'mask' [2] was freed by dispose()"));
    x.dispose();
  });

  it('backward through a graph that a scope has freed', () => {
    const x = leaf([2]);
    let y!: Tensor;
    scope(() => {
      y = x.sum();
    });
    expect(() => y.backward()).toThrow(
      new ReleasedError(
        'backward: sum [] was freed at the end of its scope, before backward. Call backward inside, or return the result from the scope',
      ),
    );
    for (const _ of scoped(1)) {
      void _;
      y = x.sum();
    }
    expect(() => y.backward()).toThrow(
      new ReleasedError(
        'backward: sum [] was freed at the end of its iteration, before backward. Call backward inside, or return the result from the scope',
      ),
    );
    const h = x.mul(2);
    h.sum().dispose();
    expect(() => h.backward(ones([2]))).toThrow(
      new GraphConsumedError(
        'backward: mul [2] belongs to a graph that dispose() has consumed. ' +
          'Give the earlier backward { retainGraph: true }, add the losses before one backward, or compute it again',
      ),
    );
    scope(() => {
      y = x.sum();
    });
    expect(y.item()).toBe(2);
    expect(() => y.mul(2)).toThrow(
      new ReleasedError(
        'a tensor [] was freed when its scope or noGrad ended. Return it from there, or keep() it; for a cache inside a module: nn.buffer(t, { persistent: false })',
      ),
    );
    x.dispose();
  });

  it('a gradient that a hook has stored without keep()', () => {
    const x = leaf([2]);
    let stored!: Tensor;
    const h = x.mul(2);
    h.registerHook((g) => {
      stored = g;
    });
    h.sum().backward();
    expect(() => stored.data()).toThrow(
      new ReleasedError(
        'a tensor [2] was freed: backward consumed its graph, and a recorded operation followed. ' +
          'Read it before that, or give backward { retainGraph: true }, or keep() it',
      ),
    );
    x.mul(1).dispose();
    x.dispose();
  });

  it('asynchronous functions and generators in a scope', () => {
    refuses(
      () => scope(async () => 1),
      ScopeError,
      'scope: the function returned a Promise, whose work would run after the scope has ended. Give scope a synchronous function, or loop with for (const i of scoped(n))',
    );
    refuses(
      () => noGrad(function* () {}),
      ScopeError,
      'noGrad: the function returned an iterator, whose work would run after the scope has ended. Give noGrad a synchronous function, or loop with for (const i of scoped(n))',
    );
    const x = ones([2], { requiresGrad: true });
    expect(() => recompute((async () => x) as never, x)).toThrow(/^recompute: the function returned a Promise, .* Give recompute a synch/);
    const ema = new EMA([x]);
    expect(() => ema.use(async () => 1)).toThrow(/^EMA\.use: the function returned a Promise, .* Give EMA\.use a synchronous function/);
    for (const made of [x, ema]) made.dispose();
  });

  it('a scoped loop that ends within the iteration of another loop', () => {
    const a = scoped(3);
    const b = scoped(3);
    a.next();
    b.next();
    expect(() => a.next()).toThrow(
      new ScopeError(
        'scoped loop: two scoped loops run at the same time, and one began an iteration inside the other’s. ' +
          'Run them one after the other, or walk both in one loop with zip(a, b)',
      ),
    );
    expect(a.next().done).toBe(true);
    expect(b.next().value).toBe(1);
    b.return!();
  });
});

it('argmax and argmin of a number check the dim', () => {
  for (const name of ['argmax', 'argmin'] as const) {
    expect(tensor(3)[name](-1).item()).toBe(0);
    expect(() => tensor(3)[name](1)).toThrow(new ShapeError(`${name}: dim 1 is out of range for 0 dims (expected -1 to 0)`));
  }
});

import {
  ArgumentError,
  InPlaceError,
  ReleasedError,
  ShapeError,
  StateDictError,
  manualSeed,
  memory,
  noGrad,
  ones,
  randn,
  scope,
  tensor,
  zeros,
  type Tensor,
} from 'chainrule';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import { describe, expect, test } from 'vitest';
import { refuses } from '../support/refuses.ts';

class Block extends nn.Module {
  readonly conv = new nn.Conv2d(3, 4, 3);
  readonly norm: nn.BatchNorm2d | null = null;

  forward(x: Tensor): Tensor {
    return this.conv.forward(x).relu();
  }
}

class Net extends nn.Module {
  readonly features = new nn.Sequential(new nn.Identity(), new Block());
  readonly heads = [new nn.Linear(4, 2), null, new nn.Linear(4, 3, { bias: false })];
  readonly named = { a: { deep: new nn.Linear(2, 2, { bias: false }) }, scale: new nn.Parameter(ones([1])) };
  readonly stats = [nn.buffer(zeros([2])), nn.buffer(zeros([3]), { persistent: false })];
  readonly plain = tensor([1, 2]);
  readonly names = ['x', 'y'];
  readonly again = this.features;

  forward(x: Tensor, scale = 1): Tensor {
    return this.heads[0]!.forward(this.features.forward(x).mean([2, 3])).mul(scale);
  }
}

const NAMES = [
  'features.1.conv.weight',
  'features.1.conv.bias',
  'heads.0.weight',
  'heads.0.bias',
  'heads.2.weight',
  'named.a.deep.weight',
  'named.scale',
];

describe('registration', () => {
  test('own properties, arrays and records of them, each tensor once, in order', () => {
    const net = new Net();
    expect(net.namedParameters().map(([name]) => name)).toEqual(NAMES);
    expect(net.parameters()).toEqual(net.namedParameters().map(([, p]) => p));
    expect(net.namedBuffers().map(([name]) => name)).toEqual(['stats.0', 'stats.1']);
    expect(net.buffers()).toEqual(net.stats);
    expect(net.namedChildren().map(([name]) => name)).toEqual(['features', 'heads.0', 'heads.2', 'named.a.deep']);
    expect(net.children()[0]).toBe(net.features);
    expect(net.namedModules().map(([name, m]) => `${name} ${m.constructor.name}`)).toEqual([
      ' Net',
      'features Sequential',
      'features.0 Identity',
      'features.1 Block',
      'features.1.conv Conv2d',
      'heads.0 Linear',
      'heads.2 Linear',
      'named.a.deep Linear',
    ]);
  });

  test('forward is a non-enumerable, configurable own property with the class’s signature', () => {
    const net = new Net();
    expect(Object.keys(net)).not.toContain('forward');
    expect(Object.getOwnPropertyDescriptor(net, 'forward')).toMatchObject({ enumerable: false, configurable: true });
    scope(() => {
      const x = randn([1, 3, 4, 4]);
      expect(net.forward(x, 2).toArray()).toEqual(net.forward(x).mul(2).toArray());
    });
  });

  test('a module that contains itself, or its parent, is listed once', () => {
    class Child extends nn.Module {
      parent: nn.Module | null = null;
      readonly w = new nn.Parameter(ones([1]));
    }
    class Parent extends nn.Module {
      readonly child = new Child();
    }
    const p = new Parent();
    p.child.parent = p;
    expect(p.namedParameters().map(([name]) => name)).toEqual(['child.w']);
    expect(p.loadStateDict({ 'child.w': tensor([3]) })).toEqual({ missing: [], unexpected: [] });
    expect(p.child.w.toArray()).toEqual([3]);
  });

  test('Map and Set of modules throw, as does a dot in a name', () => {
    class WithMap extends nn.Module {
      readonly layers = new Map([['a', new nn.Identity()]]);
    }
    class WithSet extends nn.Module {
      readonly inner = { weights: new Set([new nn.Parameter(ones([1]))]) };
      readonly numbers = new Set([1]);
    }
    class WithDot extends nn.Module {
      readonly layers = { 'a.b': new nn.Identity() };
    }
    expect(() => new WithMap().parameters()).toThrow(
      new ArgumentError('WithMap: layers is a Map of modules or tensors, which have no names in a state dict; use a record'),
    );
    expect(() => new WithSet().train()).toThrow(
      new ArgumentError('WithSet: inner.weights is a Set of modules or tensors, which have no names in a state dict; use an array'),
    );
    expect(() => new WithDot().stateDict()).toThrow(
      new ArgumentError("WithDot: the name 'a.b' contains a dot, which separates names in a state dict"),
    );
  });

  test('a forward that is an arrow function is refused by parameters, train, summary and the parent’s calls', () => {
    class Arrow extends nn.Module {
      readonly forward = (x: Tensor): Tensor => x;
    }
    class Hidden extends Block {
      override forward = (x: Tensor): Tensor => x;
    }
    const text = (title: string): string =>
      `${title}: forward is an own property (an arrow function?), so that errors, hooks and noGrad cannot see its calls. Write it as a method: forward(x) { … }`;
    for (const module of [new Arrow(), new Hidden()]) {
      const error = new ArgumentError(text(module.constructor.name));
      expect(() => module.parameters()).toThrow(error);
      expect(() => module.train()).toThrow(error);
      expect(() => module.summary()).toThrow(error);
      const parent = new nn.Sequential(new nn.Identity(), module);
      expect(() => parent.forward(ones([1]))).toThrow(new ArgumentError(text(`1 (${module.constructor.name})`)));
    }
  });

  test('Parameter and buffer copy, are owned, and only a float can be a parameter', () => {
    const source = tensor([1, 2]);
    const made: { p?: Tensor; b?: Tensor } = {};
    scope(() => {
      made.p = new nn.Parameter(source.mul(2));
      made.b = nn.buffer(source);
    });
    source.fill_(7);
    const { p, b } = made;
    expect([p!.toArray(), b!.toArray(), p!.requiresGrad, b!.requiresGrad, p!.isLeaf]).toEqual([[2, 4], [1, 2], true, false, true]);
    expect(new nn.Parameter(source, { requiresGrad: false }).requiresGrad).toBe(false);
    expect(() => new nn.Parameter(tensor([1], { dtype: 'int32' }))).toThrow(
      'Parameter: expected float32 or float64, got int32; use nn.buffer for int32',
    );
  });

  test('a released tensor can become neither, and the attempt leaks no memory', () => {
    const gone = ones([2]);
    gone.dispose();
    const before = memory().bytes;
    expect(() => new nn.Parameter(gone)).toThrow(ReleasedError);
    expect(() => nn.buffer(gone)).toThrow(ReleasedError);
    expect(memory().bytes).toBe(before);
  });

  test('a buffer created in forward is not freed, and a plain tensor cannot replace it', () => {
    class Cache extends nn.Module {
      total = nn.buffer(zeros([2]), { persistent: false });
      forward(x: Tensor): Tensor {
        this.total = this.total.add(x);
        return x;
      }
    }
    const cache = new Cache();
    expect(() => cache.forward(ones([2]))).toThrow(
      new ArgumentError('Cache: Cache.total is a buffer: write into it with total.copy_(t) under noGrad, or put nn.buffer(t) in its place'),
    );
    expect(cache.total.toArray()).toEqual([0, 0]);
    expect(Object.keys(cache.stateDict())).toEqual([]);
  });
});

describe('errors name the module', () => {
  test('path and class come before the message; class and stack of the error stay', () => {
    const net = new Net();
    const x = zeros([2, 5, 4, 4]);
    let caught: unknown;
    try {
      net.forward(x);
    } catch (e) {
      caught = e;
    }
    const message = 'features.1.conv (Conv2d): conv2d: x has 5 channels, w expects 3 (x [2,5,4,4], w [4,3,3,3])';
    expect(caught).toBeInstanceOf(ShapeError);
    expect((caught as Error).message).toBe(message);
    expect((caught as Error).stack!.startsWith(`ShapeError: ${message}\n`)).toBe(true);
    expect(() => net.features.forward(x)).toThrow(new ShapeError(message.replace('features.', '')));
  });

  test('an unregistered module is named by its class; other errors are not changed', () => {
    const inner = new nn.Linear(2, 2);
    class Outer extends nn.Module {
      readonly #hidden = inner;
      forward(x: Tensor): Tensor {
        return this.#hidden.forward(x);
      }
    }
    class Broken extends nn.Module {
      forward(): never {
        throw new RangeError('mine');
      }
    }
    expect(() => new Outer().forward(zeros([1, 3]))).toThrow(
      new ShapeError('Linear: linear: x has 3 features, w expects 2 (x [1,3], w [2,2], b [2])'),
    );
    expect(() => new nn.Sequential(new Broken()).forward(zeros([1]))).toThrow(new RangeError('mine'));
    // The stack of running modules is as before: the next error has the right path.
    expect(() => inner.forward(zeros([1, 3]))).toThrow('Linear: linear: x has 3 features');
  });
});

describe('state dict', () => {
  test('live tensors by path, without caches', () => {
    const net = new Net();
    expect(Object.keys(net.stateDict())).toEqual([...NAMES, 'stats.0']);
    expect(net.stateDict()['named.scale']).toBe(net.named.scale);
  });

  test('loading copies, converts and renames; the Parameter objects stay', () => {
    const [a, b] = [new Net(), new Net()];
    const before = b.parameters();
    const state = Object.fromEntries(Object.entries(a.stateDict()).map(([k, t]) => [`module.${k}`, t.detach().to('float64')]));
    expect(b.loadStateDict(state, { rename: (name) => name.replace('module.', '') })).toEqual({ missing: [], unexpected: [] });
    expect(b.parameters()).toEqual(before);
    b.parameters().forEach((p, i) => {
      expect(p.dtype).toBe('float32');
      expect(p.requiresGrad).toBe(true);
      expect(p.data()).toEqual(a.parameters()[i]!.data());
    });
  });

  test('a state that does not match lists every problem and changes nothing', () => {
    const net = new Net();
    const values = net.parameters().map((p) => p.data());
    const { 'heads.0.bias': _, 'named.scale': __, ...rest } = net.stateDict();
    const bad = {
      ...rest,
      'heads.0.weight': zeros([3, 4]),
      'stats.0': zeros([2], { dtype: 'int32' }),
      extra: zeros([1]),
      more: zeros([1]),
      'features.1.conv.weight': zeros([4, 3, 3, 3]),
    };
    expect(() => net.loadStateDict(bad)).toThrow(
      new StateDictError(
        'loadStateDict: the state does not fit Net: missing heads.0.bias, named.scale; unexpected extra, more; ' +
          'heads.0.weight has shape [3,4] in the state, [2,4] in the module; stats.0 is int32 in the state, float32 in the module',
      ),
    );
    expect(() =>
      net.loadStateDict({ 'features.1.conv.weight': zeros([4, 3, 3, 3]), 'heads.0.weight': zeros([3, 4]) }, { strict: false }),
    ).toThrow(
      new StateDictError('loadStateDict: the state does not fit Net: heads.0.weight has shape [3,4] in the state, [2,4] in the module'),
    );
    const gone = zeros([4, 3, 3, 3]);
    gone.dispose();
    expect(() => net.loadStateDict({ 'named.scale': zeros([1]), 'features.1.conv.weight': gone }, { strict: false })).toThrow(
      ReleasedError,
    );
    expect(net.parameters().map((p) => p.data())).toEqual(values);
  });

  test('strict: false loads matching names and reports the others', () => {
    const net = new Net();
    const report = net.loadStateDict({ 'named.scale': tensor([5]), extra: zeros([1]) }, { strict: false });
    expect(report).toEqual({ missing: [...NAMES.slice(0, -1), 'stats.0'], unexpected: ['extra'] });
    expect(net.named.scale.item()).toBe(5);
  });

  test('a shared module loads under any of its names; PyTorch saves all of them', () => {
    const net = new Net();
    const state = net.stateDict();
    const both: nn.StateDict = {
      ...state,
      'again.1.conv.weight': state['features.1.conv.weight']!,
      'again.1.conv.bias': state['features.1.conv.bias']!,
    };
    expect(net.loadStateDict(both)).toEqual({ missing: [], unexpected: [] });
    const { 'features.1.conv.bias': _, ...other } = both;
    expect(net.loadStateDict(other)).toEqual({ missing: [], unexpected: [] });
  });

  test('modules that are shared at every level load without visiting all paths', () => {
    class Pair extends nn.Module {
      readonly a: nn.Module;
      readonly b: nn.Module;

      constructor(inner: nn.Module) {
        super();
        this.a = inner;
        this.b = inner;
      }
    }
    let root: nn.Module = new nn.Linear(1, 1, { bias: false });
    // 2¹⁰⁰ paths.
    for (let i = 0; i < 100; i++) root = new Pair(root);
    const path = (key: string): string => `${`${key}.`.repeat(100)}weight`;
    expect(root.loadStateDict({ [path('a')]: tensor([[5]]), [path('b')]: tensor([[5]]) })).toEqual({ missing: [], unexpected: [] });
    expect(root.parameters()[0]!.toArray()).toEqual([[5]]);
  });

  test('entries that are no tensors, and dtypes that cannot be converted, are refused', () => {
    const text = (what: string): StateDictError => new StateDictError(`loadStateDict: the state does not fit Stats: ${what}`);
    class Stats extends nn.Module {
      readonly flag = nn.buffer(tensor([true]));
      readonly count = nn.buffer(tensor([1], { dtype: 'int32' }));
    }
    const stats = new Stats();
    const good = stats.stateDict();
    const load = (state: unknown) => () => stats.loadStateDict(state as nn.StateDict);
    expect(load({ ...good, count: [1], flag: null })).toThrow(
      text('flag is null in the state, expected a tensor; count is an array in the state, expected a tensor'),
    );
    expect(load(null)).toThrow(text('expected a record of tensors, got null'));
    expect(load(undefined)).toThrow(text('expected a record of tensors, got undefined'));
    expect(load({ ...good, flag: tensor([5], { dtype: 'int32' }) })).toThrow(text('flag is int32 in the state, bool in the module'));
    expect(load({ ...good, count: tensor([true]) })).toThrow(text('count is bool in the state, int32 in the module'));
    expect([stats.flag.toArray(), stats.count.toArray()]).toEqual([[1], [1]]);
  });

  test('a backward that reads parameters loaded after its forward throws', () => {
    scope(() => {
      const net = new nn.Linear(2, 1);
      const loss = net.forward(randn([3, 2], { requiresGrad: true })).sum();
      net.loadStateDict(new nn.Linear(2, 1).stateDict());
      expect(() => loss.backward()).toThrow(InPlaceError);
    });
  });
});

describe('batch norm’s states load as in PyTorch', () => {
  const saved = (counter: Tensor | null): nn.StateDict => {
    const { '0.num_batches_tracked': _, ...rest } = new nn.Sequential(new nn.BatchNorm2d(2)).stateDict();
    return counter === null ? rest : { ...rest, '0.num_batches_tracked': counter };
  };
  const load = (counter: Tensor | null): number => {
    const net = new nn.Sequential(new nn.BatchNorm2d(2));
    noGrad(() => net.buffers()[2]!.fill_(3));
    expect(net.loadStateDict(saved(counter))).toEqual({ missing: [], unexpected: [] });
    return net.buffers()[2]!.item();
  };

  test('without num_batches_tracked, which then stays', () => {
    expect(load(null)).toBe(3);
    const bare = new nn.BatchNorm2d(2);
    const { num_batches_tracked: _, ...rest } = bare.stateDict();
    expect(bare.loadStateDict(rest)).toEqual({ missing: [], unexpected: [] });
  });

  test.each([
    ['float32', tensor(7)],
    ['averaged', tensor(7.75)],
    ['float64', tensor(7, { dtype: 'float64' })],
    ['[1]', tensor([7], { dtype: 'int32' })],
    ['float32 [1]', tensor([7])],
  ])('with num_batches_tracked as %s', (_, counter) => {
    expect(load(counter.keep())).toBe(7);
  });

  test('any number may have the shape [1]', () => {
    class Scale extends nn.Module {
      readonly scale = new nn.Parameter(tensor(1));
    }
    const module = new Scale();
    module.loadStateDict({ scale: tensor([5]) });
    expect([module.scale.shape, module.scale.item()]).toEqual([[], 5]);
    expect(() => module.loadStateDict({ scale: tensor([[5]]) })).toThrow(
      new StateDictError('loadStateDict: the state does not fit Scale: scale has shape [1,1] in the state, [] in the module'),
    );
  });

  test('other counters, and other missing names, are refused', () => {
    const text = (what: string): StateDictError => new StateDictError(`loadStateDict: the state does not fit Sequential: ${what}`);
    expect(() => load(tensor([7, 8], { dtype: 'int32' }))).toThrow(
      text('0.num_batches_tracked has shape [2] in the state, [] in the module'),
    );
    const { '0.running_mean': __, ...rest } = saved(null);
    expect(() => new nn.Sequential(new nn.BatchNorm2d(2)).loadStateDict(rest)).toThrow(text('missing 0.running_mean'));
  });
});

describe('cloneStateDict', () => {
  const bits = (t: Tensor) => [t.dtype, t.shape, [...t.data()]];

  test('copies a model’s state: later training leaves it, and it loads again', () => {
    const net = new nn.Sequential(new nn.Linear(3, 2), new nn.BatchNorm2d(2));
    const before = Object.entries(net.stateDict()).map(([name, t]) => [name, bits(t)]);
    const live = memory();
    const best = scope(() => nn.cloneStateDict(net.stateDict()));
    expect(memory().tensors).toBe(live.tensors + before.length);
    expect(Object.values(best).every((t) => !t.requiresGrad)).toBe(true);
    noGrad(() => net.stateDict()['0.weight']!.fill_(9));
    expect(Object.entries(best).map(([name, t]) => [name, bits(t)])).toEqual(before);
    expect(net.loadStateDict(best)).toEqual({ missing: [], unexpected: [] });
    expect(Object.entries(net.stateDict()).map(([name, t]) => [name, bits(t)])).toEqual(before);
    nn.disposeStateDict(best);
    nn.disposeStateDict(best);
    expect(memory()).toMatchObject({ bytes: live.bytes, tensors: live.tensors });
    net.dispose();
  });

  test('copies any state: an optimizer’s, nested records, arrays, names such as __proto__', () => {
    const shared = tensor([1, 2]);
    const list = [shared, { shared, step: 3 }];
    const state = { list, array: Float32Array.of(1, 2).subarray(1), ['__proto__']: tensor([5]), none: null, again: list };
    const copy = nn.cloneStateDict(state);
    noGrad(() => shared.fill_(0));
    expect(Object.keys(copy)).toEqual(Object.keys(state));
    expect(Object.getPrototypeOf(copy)).toBe(Object.prototype);
    expect((copy.list[0] as Tensor).toArray()).toEqual([1, 2]);
    expect((copy.list[1] as { shared: Tensor }).shared).toBe(copy.list[0]);
    expect([copy.again, copy.array, copy.none]).toEqual([copy.list, Float32Array.of(2), null]);
    expect(copy.again).toBe(copy.list);
    expect(copy.array.buffer.byteLength).toBe(4);
    nn.disposeStateDict(copy);
    expect(() => (copy.list[0] as Tensor).toArray()).toThrow(ReleasedError);
    expect(shared.toArray()).toEqual([0, 0]);
  });

  test('has the disposer of `using`', () => {
    const copy = nn.cloneStateDict({ w: ones([2]) });
    expect(Object.keys(copy)).toEqual(['w']);
    (copy as unknown as Record<symbol, () => void>)[Symbol.dispose]!();
    expect(() => copy.w.toArray()).toThrow(ReleasedError);
  });

  test('what is no state dict is refused, and nothing of it stays; a live state cannot be disposed of', () => {
    const net = new nn.Linear(2, 2);
    const w = ones([2]);
    const values = 'expected tensors, records, arrays and plain values, got';
    refuses(
      () => nn.cloneStateDict(null as never),
      ArgumentError,
      'cloneStateDict: expected a state dict, such as model.stateDict(), got null',
    );
    refuses(() => nn.cloneStateDict(w), ArgumentError, 'cloneStateDict: expected a state dict, such as model.stateDict(), got an object');
    refuses(() => nn.cloneStateDict({ w, f: () => 0 }), ArgumentError, `cloneStateDict: ${values} a function`);
    refuses(() => nn.cloneStateDict({ w, m: new Map() }), ArgumentError, `cloneStateDict: ${values} a Map`);
    refuses(() => nn.cloneStateDict(net), ArgumentError, `cloneStateDict: ${values} a Linear`);
    refuses(
      () => nn.disposeStateDict(net.stateDict()),
      ArgumentError,
      'disposeStateDict: expected what cloneStateDict has returned; to free a model, call model.dispose()',
    );
    expect(net.weight.toArray()).toHaveLength(2);
  });
});

test('a state that refers to the module’s own tensors is read before it is overwritten', () => {
  class Pair extends nn.Module {
    readonly a = new nn.Parameter(tensor([1, 2]));
    readonly b = new nn.Parameter(tensor([3, 4]));
  }
  const pair = new Pair();
  pair.loadStateDict(pair.stateDict(), { rename: (name) => (name === 'a' ? 'b' : 'a') });
  expect([pair.a.toArray(), pair.b.toArray()]).toEqual([
    [3, 4],
    [1, 2],
  ]);
  pair.dispose();
});

describe('to', () => {
  test('converts parameters, gradients and float buffers; the objects stay', () => {
    scope(() => {
      manualSeed(4);
      const net = new nn.Sequential(new nn.Conv2d(3, 4, 3), new nn.BatchNorm2d(4));
      const before = [...net.parameters(), ...net.buffers()];
      const values = before.map((t) => Array.from(t.data()));
      net
        .forward(randn([2, 3, 4, 4]))
        .square()
        .sum()
        .backward();
      const grads = net.parameters().map((p) => Array.from(p.grad!.data()));
      expect(net.to('float64')).toBe(net);
      const after = [...net.parameters(), ...net.buffers()];
      expect(after).toEqual(before);
      expect(after.map((t) => t.dtype)).toEqual(['float64', 'float64', 'float64', 'float64', 'float64', 'float64', 'int32']);
      expect(net.parameters().map((p) => Array.from(p.grad!.data()))).toEqual(grads);
      expect(after.slice(0, 4).map((t) => Array.from(t.data()))).toEqual(values.slice(0, 4));
      net.zeroGrad();
      net
        .forward(randn([2, 3, 4, 4], { dtype: 'float64' }))
        .square()
        .sum()
        .backward();
      expect(net.parameters().map((p) => p.grad!.dtype)).toEqual(['float64', 'float64', 'float64', 'float64']);
      net.dispose();
    });
  });

  test('frees the old memory, still refuses in-place writes, and makes a backward that saved it throw', () => {
    const net = new nn.Linear(3, 2, { bias: false });
    const before = memory();
    net.to('float64');
    expect(memory().bytes - before.bytes).toBe(24);
    expect(memory().tensors).toBe(before.tensors);
    scope(() => {
      expect(() => net.weight.detach().fill_(0)).toThrow(InPlaceError);
    });
    scope(() => {
      const loss = net.forward(ones([1, 3], { dtype: 'float64', requiresGrad: true })).sum();
      net.to('float32');
      expect(() => loss.backward()).toThrow(InPlaceError);
    });
    expect(memory().bytes).toBe(before.bytes);
    expect(() => net.to('int32' as never)).toThrow("to: parameters can be float32 or float64, not 'int32'");
  });
});

describe('the rest', () => {
  test('train, eval, apply and zeroGrad reach every module', () => {
    scope(() => {
      const net = new Net();
      expect(net.eval()).toBe(net);
      expect(net.namedModules().every(([, m]) => !m.training)).toBe(true);
      net.train();
      expect(net.namedModules().every(([, m]) => m.training)).toBe(true);
      const seen: string[] = [];
      net.apply((m) => seen.push(m.constructor.name));
      expect(seen.at(-1)).toBe('Net');
      expect(seen.length).toBe(8);
      net
        .forward(randn([1, 3, 4, 4]))
        .sum()
        .backward();
      expect(net.heads[0]!.weight.grad).not.toBeNull();
      net.zeroGrad();
      expect(net.parameters().every((p) => p.grad === null)).toBe(true);
    });
  });

  test('dispose frees parameters, buffers and gradients', () => {
    scope(() => {
      const x = randn([2, 3, 6, 6]);
      const before = memory();
      const net = new nn.Sequential(new nn.Conv2d(3, 8, 3), new nn.BatchNorm2d(8), new nn.SqueezeExcite(8, { reduction: 2 }));
      scope(() => net.forward(x).sum().backward());
      expect(memory().bytes).toBeGreaterThan(before.bytes);
      net.dispose();
      expect(memory().bytes).toBe(before.bytes);
      expect(memory().tensors).toBe(before.tensors);
      expect(() => net.forward(x)).toThrow(ReleasedError);
    });
  });

  test('under noGrad each call frees its temporaries, and a chain holds at most two activations', () => {
    const layers = Array.from({ length: 8 }, () => new nn.ReLU());
    const net = new nn.Sequential(...layers);
    noGrad(() => {
      const x = randn([1024]);
      const before = memory({ resetPeak: true });
      const y = net.forward(x);
      expect(memory().bytes - before.bytes).toBe(4096);
      expect(memory().peakBytes - before.bytes).toBe(8192);
      expect(y.shape).toEqual([1024]);
      // A chain must not free its input or tensors of an outer call.
      expect(new nn.Sequential(new nn.Identity(), new nn.Flatten(0), new nn.Identity()).forward(x).toArray()).toEqual(x.toArray());
      expect(x.isReleased).toBe(false);
    });
  });

  test('forward hooks see every call and may replace the output', () => {
    scope(() => {
      const net = new Net();
      const seen: string[] = [];
      const remove = net.features.registerForwardHook((m, args, y) => {
        seen.push(`${m.constructor.name} ${args.length}`);
        return (y as Tensor).mul(0);
      });
      const bias = net.heads[0]!.bias!.toArray();
      expect((net.forward(randn([1, 3, 4, 4])).toArray() as number[][])[0]).toEqual(bias);
      remove();
      expect((net.forward(randn([1, 3, 4, 4])).toArray() as number[][])[0]).not.toEqual(bias);
      expect(seen).toEqual(['Sequential 1']);
    });
  });

  test('forward pre-hooks see the arguments and may replace them: by an array, or by the only one', () => {
    scope(() => {
      const net = new Net();
      const x = randn([1, 3, 4, 4]);
      const plain = net.forward(x).toArray();
      const seen: unknown[][] = [];
      const remove = [
        net.registerForwardPreHook((m, args) => {
          expect(m).toBe(net);
          seen.push([...args]);
        }),
        net.registerForwardPreHook(() => [x, 3]),
      ];
      expect(net.forward(zeros([1, 3, 4, 4])).toArray()).toEqual(net.forward(x, 3).toArray());
      expect(seen.map((args) => args.length)).toEqual([1, 2]);
      remove[1]!();
      net.registerForwardPreHook(() => x);
      expect(net.forward(zeros([1, 3, 4, 4])).toArray()).toEqual(plain);
      remove[0]!();
      expect(seen.length).toBe(3);
    });
  });

  test('a hook registered twice runs twice and is removed one by one; one that removes itself does not affect others', () => {
    scope(() => {
      const layer = new nn.Identity();
      const calls: string[] = [];
      const hook = (): void => void calls.push('twice');
      const first = layer.registerForwardHook(hook);
      layer.registerForwardHook(hook);
      const once = layer.registerForwardHook(() => {
        calls.push('once');
        once();
      });
      layer.registerForwardHook(() => void calls.push('last'));
      layer.forward(ones([1]));
      first();
      layer.forward(ones([1]));
      expect(calls).toEqual(['twice', 'twice', 'once', 'last', 'twice', 'last']);
    });
  });

  test('initialisers are applied to the layers they fit', () => {
    scope(() => {
      const net = new nn.Sequential(new nn.Linear(3, 4), new nn.Sequential(new nn.Linear(4, 2), new nn.BatchNorm2d(2)));
      net.apply((m) => {
        if (!(m instanceof nn.Linear)) return;
        nn.init.constant_(m.weight, 0.5);
        nn.init.zeros_(m.bias!);
      });
      const filled = net.namedParameters().map(([name, p]) => `${name} ${[...new Set(p.data())].join()}`);
      expect(filled).toEqual(['0.weight 0.5', '0.bias 0', '1.0.weight 0.5', '1.0.bias 0', '1.1.weight 1', '1.1.bias 0']);
      expect(net.parameters().every((p) => p.requiresGrad && p.isLeaf)).toBe(true);
    });
  });

  test('summary lists path, type, output and parameters, and does not change modes or statistics', () => {
    const net = new nn.Sequential(new nn.Conv2d(3, 4, 3), new nn.BatchNorm2d(4), new nn.Flatten().eval());
    expect(net.summary()).toBe(
      [
        'path     type         parameters',
        '────────────────────────────────',
        '(model)  Sequential            0',
        '0        Conv2d              112',
        '1        BatchNorm2d           8',
        '2        Flatten               0',
        '────────────────────────────────',
        'total                        120',
      ].join('\n'),
    );
    const lines = net.summary([2, 3, 8, 8]).split('\n');
    expect(lines[0]).toBe('path     type         output     parameters  multiply-adds');
    // 2 images × 36 pixels × 4 channels, each from 3 × 9 numbers.
    expect(lines[3]).toBe('0        Conv2d       [2,4,6,6]         112          7,776');
    expect(lines[5]).toBe('2        Flatten      [2,144]             0              0');
    expect(lines[7]).toBe('total                                   120          7,776');
    expect(net.namedModules().map(([, m]) => m.training)).toEqual([true, true, true, false]);
    expect(net.stateDict()['1.num_batches_tracked']!.item()).toBe(0);
    expect(() => net.summary([2, 4, 8, 8])).toThrow('0 (Conv2d): conv2d: x has 4 channels');
    expect(net.training).toBe(true);
  });

  test('summary counts the same multiply-adds as by hand', () => {
    const total = (model: nn.Module, shape: number[]): number => Number(model.summary(shape).split(' ').at(-1)!.replace(',', ''));
    expect(total(new nn.Conv2d(4, 6, [3, 2], { stride: 2, groups: 2 }), [1, 4, 9, 8])).toBe(4 * 4 * 6 * 2 * 6);
    expect(total(new nn.Linear(5, 3), [2, 7, 5])).toBe(2 * 7 * 5 * 3);
    expect(total(new nn.ECA(16, { kernelSize: 5 }), [2, 16, 4, 4])).toBe(2 * 16 * 5);
    expect(total(new nn.EffectiveSE(16), [2, 16, 4, 4])).toBe(2 * 16 * 16);
    expect(total(new nn.SqueezeExcite(16, { reduction: 4 }), [2, 16, 4, 4])).toBe(2 * 16 * 4 * 2);
    // A module counts every call, but has one row in the table.
    const twice = new nn.Linear(5, 5);
    expect(total(new nn.Sequential(twice, twice), [1, 5])).toBe(50);
  });

  test('losses and layers equal the same net written with F', () => {
    scope(() => {
      const net = new Net();
      const loss = F.crossEntropy(net.forward(randn([4, 3, 5, 5])), tensor([0, 1, 1, 0], { dtype: 'int32' }));
      loss.backward();
      expect(Number.isFinite(loss.item())).toBe(true);
    });
  });
});

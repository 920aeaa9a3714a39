import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { FloatDType, Tensor } from 'chainrule';
import type { Layer, Module } from 'chainrule/nn';
import { poolFor, setNumThreads, tuning } from '../../src/kernels/threads/pool.ts';
import { addressOf, type View } from '../../src/kernels/view.ts';
import { kernelModule } from '../../src/kernels/wasm/module.ts';
import { started } from '../support/workers.ts';

// Looking changes nothing: instruments, hooks and reads leave the gradients of random nets bitwise as they are without.

const load = async () => ({
  ...(await import('chainrule')),
  ...(await import('../../src/autograd/instrumentation.ts')),
  nn: await import('chainrule/nn'),
  F: await import('chainrule/nn/functional'),
});
type Library = Awaited<ReturnType<typeof load>>;

/** The library on the reference kernels, loaded beside the one under test. */
async function loadReference(): Promise<Library> {
  vi.stubEnv('CHAINRULE_KERNELS', 'reference');
  vi.resetModules();
  const lib = await load();
  vi.unstubAllEnvs();
  return lib;
}

let lib: Library;
let reference: Library;
const { leastWork } = tuning;

beforeAll(async () => {
  lib = await load();
  setNumThreads(2);
  await started(poolFor(kernelModule)!, 1);
  reference = await loadReference();
});

afterAll(() => {
  tuning.leastWork = leastWork;
  setNumThreads(1);
});

// — random nets —

const CHANNELS = 4;

/** A layer from images of CHANNELS channels to images of as many. `look` is called with each intermediate result. */
type Block = (l: Library, make: Make) => (x: Tensor, look: Look) => Tensor;
type Make = <M extends Module>(m: M) => M;
type Look = (t: Tensor) => void;

const layer =
  (of: (l: Library) => Layer): Block =>
  (l, make) => {
    const m = make(of(l));
    return (x) => m.forward(x);
  };
const fn =
  (f: (x: Tensor, l: Library) => Tensor): Block =>
  (l) =>
  (x) =>
    f(x, l);
const chain =
  (...blocks: readonly Block[]): Block =>
  (l, make) => {
    const made = blocks.map((b) => b(l, make));
    return (x, look) => {
      let y = x;
      for (const b of made) {
        y = b(y, look);
        look(y);
      }
      return y;
    };
  };

const bn = layer((l) => new l.nn.BatchNorm2d(CHANNELS));
const relu = fn((x) => x.relu());
const SIMPLE: Readonly<Record<string, Block>> = {
  conv: layer((l) => new l.nn.Conv2d(CHANNELS, CHANNELS, 3, { padding: 1, bias: false })),
  pointwise: layer((l) => new l.nn.Conv2d(CHANNELS, CHANNELS, 1)),
  depthwise: layer((l) => new l.nn.Conv2d(CHANNELS, CHANNELS, 3, { padding: 1, groups: CHANNELS })),
  bn,
  relu,
  'bn relu': chain(bn, relu),
  'bn without weights': layer((l) => new l.nn.BatchNorm2d(CHANNELS, { affine: false })),
  'bn in evaluation': layer((l) => new l.nn.BatchNorm2d(CHANNELS).eval()),
  groupNorm: layer((l) => new l.nn.GroupNorm(2, CHANNELS)),
  se: layer((l) => new l.nn.SqueezeExcite(CHANNELS, { reduction: 2 })),
  'se of max': layer((l) => new l.nn.SqueezeExcite(CHANNELS, { reduction: 2, squeeze: 'avg+max', gate: 'hardsigmoid' })),
  eca: layer((l) => new l.nn.ECA(CHANNELS)),
  maxPool: layer((l) => new l.nn.MaxPool2d(3, { stride: 1, padding: 1 })),
  avgPool: layer((l) => new l.nn.AvgPool2d(3, { stride: 1, padding: 1 })),
  dropout: layer((l) => new l.nn.Dropout(0.3)),
  gelu: fn((x) => x.gelu()),
  tanh: fn((x) => x.tanh()),
  square: fn((x) => x.mul(x)),
  'x and its copy': fn((x) => x.add(x.detach())),
  transposed: fn((x) => x.transpose(2, 3).tanh().transpose(2, 3)),
  'row-major': fn((x) => x.contiguous()),
  halves: fn((x, l) => l.cat([x.slice(1, 0, 2).neg(), x.slice(1, 2, 4)], 1)),
  'two users': fn((x, l) => x.relu().add(l.F.sigmoid(x))),
  'two ReLUs': fn((x) => x.relu().add(x.relu().mul(2))),
};

interface NamedBlock {
  readonly name: string;
  readonly block: Block;
}

const residual = ({ name, block }: NamedBlock): NamedBlock => ({
  name: `x + (${name})`,
  block: (l, make) => {
    const inner = block(l, make);
    return (x, look) => inner(x, look).add(x);
  },
});

/** The intermediate results of a recomputed forward exist in the replay only, so nothing looks at them. */
const recomputed = ({ name, block }: NamedBlock): NamedBlock => ({
  name: `recompute(${name})`,
  block: (l, make) => {
    const inner = block(l, make);
    return (x) => l.recompute((y: Tensor) => inner(y, () => {}), x);
  },
});

const sequence = (all: readonly NamedBlock[]): NamedBlock => ({
  name: all.map((b) => b.name).join(', '),
  block: chain(...all.map((b) => b.block)),
});

const simple = fc.constantFrom(...Object.keys(SIMPLE)).map((name) => ({ name, block: SIMPLE[name]! }));
const common = fc.constantFrom('bn relu', 'bn', 'relu', 'conv').map((name) => ({ name, block: SIMPLE[name]! }));
const { blocks } = fc.letrec<{ blocks: NamedBlock; nested: NamedBlock }>((tie) => ({
  blocks: fc.array(fc.oneof({ depthSize: 'small' }, common, simple, tie('nested')), { minLength: 1, maxLength: 5 }).map(sequence),
  nested: fc.oneof(tie('blocks').map(residual), tie('blocks').map(recomputed)),
}));

interface Net {
  readonly name: string;
  readonly block: Block;
  readonly dtype: FloatDType;
  readonly images: readonly number[];
  readonly seed: number;
}

const nets: fc.Arbitrary<Net> = fc
  .record({
    blocks,
    dtype: fc.constantFrom<FloatDType>('float32', 'float64'),
    images: fc.tuple(fc.integer({ min: 2, max: 5 }), fc.integer({ min: 2, max: 7 }), fc.integer({ min: 2, max: 7 })),
    seed: fc.nat(1e6),
  })
  .map(({ blocks: { name, block }, dtype, images: [N, H, W], seed }) => ({ name, block, dtype, images: [N, CHANNELS, H, W], seed }));

// — ways to look —

/** How a step is looked at. */
interface Way {
  /** Runs the forward, and the whole step. */
  readonly forward?: (run: () => Tensor, l: Library) => Tensor;
  readonly step?: (run: () => void, l: Library) => void;
  readonly backward?: (loss: Tensor, l: Library) => void;
  /** Is called with each intermediate result, as soon as it is there. */
  readonly look?: (t: Tensor, l: Library, seen: readonly Tensor[]) => void;
}

const steps = (loss: Tensor, l: Library): void => {
  const printed: string[] = [];
  for (const s of l.backwardSteps(loss)) printed.push(`${s}`, ...s.inputs.map((input) => `${input.grad}${input.accumulated}`));
  expect(printed.length).toBeGreaterThan(0);
};
const readAll = (seen: readonly Tensor[]): void => {
  for (const t of seen) t.data();
};

/** Runs `run` while an instrument accesses the memory of what operations read and write, of `every` n-th one. */
const accessing =
  (every: number) =>
  (run: () => void, l: Library): void => {
    let count = 0;
    const access = (views: readonly unknown[]): void => {
      if (++count % every > 0) return;
      for (const v of views) if (v instanceof Object && 'storage' in v) addressOf(v as View);
    };
    const end = l.addInstrumentation({
      computed: (_, args, results) => access([...args, ...results]),
      recorded: () => {},
      visited: (node, g, grads) => access([g, ...grads, ...node.savedTensors.map((saved) => saved.tensor).filter((t) => !t.isReleased)]),
    });
    try {
      run();
    } finally {
      end();
    }
  };

const WAYS: Readonly<Record<string, Way>> = {
  detectAnomaly: { step: (run, l) => l.detectAnomaly(run) },
  'detectAnomaly, forward only': { forward: (run, l) => l.detectAnomaly(run) },
  'detectAnomaly, backward only': { backward: (loss, l) => l.detectAnomaly(() => loss.backward()) },
  profile: { step: (run, l) => void `${l.profile(run)}` },
  'profile in detectAnomaly': { step: (run, l) => l.detectAnomaly(() => void l.profile(run)) },
  'detectAnomaly in profile': { step: (run, l) => void l.profile(() => l.detectAnomaly(run)) },
  'all memory accessed': { step: accessing(1) },
  'some memory accessed': { step: accessing(3) },
  graph: { backward: (loss, l) => (void `${l.graph(loss)}${l.graph(loss).toDot()}`, loss.backward()) },
  'graph with all gradients': {
    backward: (loss, l) => {
      const g = l.graph(loss).retainGrad();
      loss.backward();
      void `${g}`;
    },
  },
  'the vector–Jacobian product of each node': {
    backward: (loss, l) => {
      for (const node of l.graph(loss)) {
        const read = node.value === null || node.op === 'constant' ? [] : node.vjp(l.onesLike(node.value));
        for (const g of read) void `${g}`;
      }
      loss.backward();
    },
  },
  backwardSteps: { backward: steps },
  'backwardSteps in detectAnomaly': { backward: (loss, l) => l.detectAnomaly(() => steps(loss, l)) },
  'hooks that read the gradient': { look: (t) => void t.registerHook((g) => void g.data()) },
  'hooks that read all results': { look: (t, _, seen) => void t.registerHook(() => readAll(seen)) },
  'hooks that print': { look: (t) => void t.registerHook((g) => void `${g}${t}`) },
  retainGrad: { look: (t) => void t.retainGrad() },
  'read at once': { look: (t) => void t.data() },
  'printed at once': { look: (t) => void `${t}` },
  'all read again': { look: (_, __, seen) => readAll(seen) },
  'one of three read': { look: (t, _, seen) => void (seen.length % 3 === 0 && t.data()) },
  'the one before read': { look: (_, __, seen) => void seen.at(-2)?.data() },
  'read before backward': { backward: (loss) => (void loss.item(), loss.backward()) },
  'noGrad computes with it': { look: (t, l) => void l.noGrad(() => t.relu().sum().item()) },
  'noGrad writes elsewhere': {
    look: (t, l) =>
      l.noGrad(() => {
        const copy = l.zerosLike(t).copy_(t);
        copy.fill_(7).add_(t.relu());
        l.ones([3]).mul_(2);
      }),
  },
  kept: { look: (t) => void t.keep() },
  'memory is counted': { look: (_, l) => void l.memory() },
};

/** The bytes of a step's loss, output, gradients and running statistics. */
function stepOf(l: Library, { block, dtype, images, seed }: Net, way: Way = {}): Float64Array[] {
  return l.scope(() => {
    l.manualSeed(seed);
    const modules: Module[] = [];
    const make: Make = (m) => {
      modules.push(m);
      return m.to(dtype);
    };
    const forward = block(l, make);
    const x = l.randn(images, { dtype, requiresGrad: true });
    const target = l.randn(images, { dtype });
    const seen: Tensor[] = [];
    const look = (t: Tensor): void => {
      seen.push(t);
      if (t.requiresGrad) way.look?.(t, l, seen);
    };
    let value = NaN;
    const compute = (): Tensor => {
      const y = forward(x, look);
      look(y);
      return y.mul(target).mean();
    };
    const run = (): void => {
      const loss = way.forward === undefined ? compute() : way.forward(compute, l);
      value = loss.item();
      if (way.backward === undefined) loss.backward();
      else way.backward(loss, l);
    };
    if (way.step === undefined) run();
    else way.step(run, l);
    const state = modules.flatMap((m) => [...m.parameters().map((p) => p.grad), ...m.buffers()]);
    const results = [x.grad, ...state].map((t) => Float64Array.from(t?.data() ?? []));
    for (const t of [...modules, ...seen]) t.dispose();
    return [Float64Array.of(value), ...results];
  });
}

const bits = (results: readonly Float64Array[]): string => results.map((a) => Buffer.from(a.buffer).toString('hex')).join();

function onThreads<T>(threads: number, run: () => T): T {
  tuning.leastWork = threads === 1 ? Infinity : 0;
  try {
    return run();
  } finally {
    tuning.leastWork = leastWork;
  }
}

/** The largest difference of two lists of numbers, relative to the largest number. */
function distance(got: readonly Float64Array[], want: readonly Float64Array[]): number {
  let [largest, difference] = [1e-3, 0];
  want.forEach((list, i) =>
    list.forEach((x, j) => {
      largest = Math.max(largest, Math.abs(x));
      difference = Math.max(difference, Math.abs(x - got[i]![j]!));
    }),
  );
  return difference / largest;
}

/** Batch norm of few or equal values multiplies rounding errors, and there are several of them in a net. */
const TOLERANCE = { float64: 1e-6, float32: 0.02 } as const;

const LONG = process.env.CHAINRULE_LONG === '1';
const TIMEOUT = LONG ? 3_600_000 : 120_000;

describe('looking changes nothing', () => {
  test(
    'no gradient, loss or running statistic changes by a bit, in any way of looking, on 1 and 2 threads',
    () => {
      const property = fc.property(nets, fc.constantFrom(1, 2), (net, threads) => {
        const want = bits(onThreads(1, () => stepOf(lib, net)));
        const before = lib.memory().bytes;
        for (const [name, way] of Object.entries(WAYS)) {
          const got = bits(onThreads(threads, () => stepOf(lib, net, way)));
          if (got !== want) throw new Error(`${net.name}, ${net.dtype}: other bits with ${name}`);
          const { bytes } = lib.memory();
          if (bytes !== before) throw new Error(`${net.name}: ${bytes - before} bytes more after ${name}`);
        }
      });
      fc.assert(property, { seed: 20261130, numRuns: LONG ? 300 : 5 });
    },
    TIMEOUT,
  );

  test(
    'the gradients are those of the reference kernels: within 1e-6 in float64, within 0.02 in float32, of the largest',
    () => {
      const property = fc.property(nets, fc.constantFrom(...Object.keys(WAYS)), (net, name) => {
        const apart = distance(stepOf(lib, net, WAYS[name]), stepOf(reference, net));
        if (!(apart <= TOLERANCE[net.dtype])) throw new Error(`${net.name}, ${net.dtype}: ${apart} apart with ${name}`);
      });
      fc.assert(property, { seed: 20261130, numRuns: LONG ? 1000 : 20 });
    },
    TIMEOUT,
  );
});

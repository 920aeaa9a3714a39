/**
 * Cases that time single operations through the public interface. Most are limited by memory, so they are compared with the
 * bandwidth of copying.
 */
import { grad, noGrad, randint, randn, tensor, type Tensor } from 'chainrule';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import * as optim from 'chainrule/optim';
import { materialize } from '../src/kernels/view.ts';
import { BATCH, type Case, type Prepared } from './case.ts';

/** Bytes of an activation of the first layers: about 4 MB. */
const ACTIVATION_BYTES = 4 * BATCH * 16 * 32 * 32;

/** channels-last is the memory order that convolutions write, row-major the one of new tensors. */
type Layout = 'channels-last' | 'row-major';

/** Makes a random activation. */
function activation(shape: readonly number[] = [BATCH, 16, 32, 32], layout: Layout = 'channels-last'): Tensor {
  const [n, c, h, w] = shape as [number, number, number, number];
  return noGrad(() => (layout === 'row-major' ? randn(shape) : randn([n, h, w, c]).permute([0, 3, 1, 2]))).keep();
}

function withFree(tensors: readonly Tensor[], run: () => unknown): Prepared {
  return { run: () => void run(), free: () => tensors.forEach((t) => t.dispose()) };
}

interface MemoryBound {
  readonly name: string;
  readonly group: string;
  /** The least number of times that an activation of 4 MB is read or written. */
  readonly passes: number;
  readonly prepare: () => Prepared;
  /** Default channels-last. PyTorch's time is that of its faster memory format in either case. */
  readonly layout?: Layout;
}

/** A case that is compared with the bandwidth of copying. */
const memoryBound = ({ name, group, passes, prepare, layout }: MemoryBound): Case => ({
  group,
  name: layout === 'row-major' ? `${name}, row-major` : name,
  dtype: 'float32',
  work: { kind: 'bytes', amount: passes * ACTIVATION_BYTES },
  peer: { op: name },
  prepare,
});

/** A forward without recording. */
function forward(
  name: string,
  group: string,
  passes: number,
  f: (x: Tensor, z: Tensor) => unknown,
  layout: Layout = 'channels-last',
): Case {
  return memoryBound({
    name,
    group,
    passes,
    layout,
    prepare: () => {
      const [x, z] = [activation(undefined, layout), activation(undefined, layout)];
      return withFree([x, z], () => noGrad(() => void f(x, z)));
    },
  });
}

/** An optimizer step over many tensors with gradients. `op` is its name in the peer; `passes` as in MemoryBound. */
function optimizerStep(name: string, op: string, passes: number, make: (params: Tensor[]) => optim.Optimizer): Case {
  return {
    group: 'optimizer',
    name: `${name} step, 65 tensors of 4,320`,
    dtype: 'float32',
    work: { kind: 'bytes', amount: passes * 4 * 65 * 4320 },
    peer: { op },
    prepare: () => {
      const params = Array.from({ length: 65 }, () => randn([4320], { requiresGrad: true }).keep());
      for (const p of params) p.grad = p.detach();
      const optimizer = make(params);
      return { run: () => optimizer.step(), free: () => [optimizer, ...params].forEach((t) => t.dispose()) };
    },
  };
}

/** Forward and backward of f, on images of both layouts: the gradients of x and of the module's parameters. */
function forwardAndBackward(
  name: string,
  group: string,
  passes: number,
  shape: readonly number[],
  make: () => { f: (x: Tensor) => Tensor; module: nn.Module | null },
): readonly Case[] {
  const layouts: readonly Layout[] = ['channels-last', 'row-major'];
  return layouts.map((layout) =>
    memoryBound({
      name,
      group,
      passes,
      layout,
      prepare: () => {
        const x = activation(shape, layout).requiresGrad_();
        const { f, module } = make();
        const g = noGrad(() => f(x).detach().clone().keep());
        const inputs = [x, ...(module?.parameters() ?? [])];
        return withFree(inputs.concat(g), () => {
          const y = f(x);
          // Batch norm defers its last pass until y is read.
          materialize(y, 'read');
          disposeResults(() => grad(y, inputs, { gradOutputs: g }));
        });
      },
    }),
  );
}

function disposeResults(run: () => readonly (Tensor | null)[]): void {
  for (const t of run()) t?.dispose();
}

const scalePerChannel = (): Tensor => noGrad(() => randn([16, 1, 1])).keep();

export const opCases: readonly Case[] = [
  forward('relu', 'elementwise', 2, (x) => x.relu()),
  forward('exp', 'elementwise', 2, (x) => x.exp()),
  forward('add', 'elementwise', 3, (x, z) => x.add(z)),
  memoryBound({
    name: 'mul by channel',
    group: 'elementwise',
    passes: 2,
    prepare: () => {
      const [x, s] = [activation(), scalePerChannel()];
      return withFree([x, s], () => noGrad(() => void x.mul(s)));
    },
  }),
  forward('sum', 'reductions', 1, (x) => x.sum()),
  forward('mean of planes', 'reductions', 1, (x) => x.mean([2, 3])),
  forward('sum by channel', 'reductions', 1, (x) => x.sum([0, 2, 3])),
  forward('maxPool2d', 'pooling', 1.25, (x) => F.maxPool2d(x, 2)),
  forward('maxPool2d', 'pooling', 1.25, (x) => F.maxPool2d(x, 2), 'row-major'),
  ...forwardAndBackward('batch norm forward + backward', 'batch norm', 8, [BATCH, 16, 32, 32], () => {
    const bn = new nn.BatchNorm2d(16);
    return { f: (x) => bn.forward(x), module: bn };
  }),
  ...forwardAndBackward('batch norm + relu forward + backward', 'batch norm', 8, [BATCH, 16, 32, 32], () => {
    const bn = new nn.BatchNorm2d(16);
    return { f: (x) => bn.forward(x).relu(), module: bn };
  }),
  ...forwardAndBackward('SE(64) 16×64×32² forward + backward', 'SE', 7, [16, 64, 32, 32], () => {
    const se = new nn.SqueezeExcite(64);
    return { f: (x) => se.forward(x), module: se };
  }),
  {
    group: 'loss',
    name: 'cross entropy 512×10 forward + backward',
    dtype: 'float32',
    work: { kind: 'ops', amount: 1 },
    peer: { op: 'cross entropy' },
    prepare: () => {
      const x = randn([512, 10], { requiresGrad: true }).keep();
      const y = randint(0, 10, [512]).keep();
      return withFree([x, y], () => disposeResults(() => grad(F.crossEntropy(x, y), [x])));
    },
  },
  // SGD reads parameter, gradient and velocity, and writes parameter and velocity. Adam has two averages in place of the velocity.
  optimizerStep('SGD', 'sgd', 5, (params) => new optim.SGD(params, { lr: 1e-3, momentum: 0.9, nesterov: true, weightDecay: 5e-4 })),
  optimizerStep('Adam', 'adam', 7, (params) => new optim.Adam(params, { lr: 1e-5, weightDecay: 5e-4 })),
  {
    group: 'overhead',
    name: 'chain of 1,000 mul and add on 1 element, forward + backward + release, per op',
    dtype: 'float32',
    work: { kind: 'ops', amount: 1000 },
    peer: { op: 'chain' },
    prepare: () => {
      const x = tensor([1], { requiresGrad: true }).keep();
      const [a, b] = [tensor([1.0001]).keep(), tensor([1e-4]).keep()];
      return withFree([x, a, b], () => {
        let y: Tensor = x;
        for (let i = 0; i < 500; i++) y = y.mul(a).add(b);
        y.backward();
        x.grad = null;
      });
    },
  },
];

import { existsSync } from 'node:fs';
import { ArgumentError, ShapeError, type Tensor, defineOp, manualSeed, memory, noGrad, ones, randn, scope, tensor, zeros } from 'chainrule';
import { toOnnx } from 'chainrule/interop';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import protobuf from 'protobufjs';
import { describe, expect, test } from 'vitest';
import { TinyCnn } from '../../examples/cifar-like/model.ts';
import { seResNet } from '../../examples/cifar-like/resnet.ts';

// ONNX files: decoded by protobufjs, and run by onnxruntime-web where `npm ci --prefix examples/pictures` has installed it.

const { root } = protobuf.parse(`
  syntax = "proto2";
  message ModelProto { optional int64 ir_version = 1; optional string producer_name = 2; optional GraphProto graph = 7; repeated OperatorSetIdProto opset_import = 8; }
  message OperatorSetIdProto { optional string domain = 1; optional int64 version = 2; }
  message GraphProto { repeated NodeProto node = 1; optional string name = 2; repeated TensorProto initializer = 5; repeated ValueInfoProto input = 11; repeated ValueInfoProto output = 12; }
  message NodeProto { repeated string input = 1; repeated string output = 2; optional string name = 3; optional string op_type = 4; repeated AttributeProto attribute = 5; }
  message AttributeProto { optional string name = 1; optional float f = 2; optional int64 i = 3; optional bytes s = 4; repeated int64 ints = 8; optional int32 type = 20; }
  message TensorProto { repeated int64 dims = 1; optional int32 data_type = 2; optional string name = 8; optional bytes raw_data = 9; }
  message ValueInfoProto { optional string name = 1; optional TypeProto type = 2; }
  message TypeProto { optional TensorTypeProto tensor_type = 1; }
  message TensorTypeProto { optional int32 elem_type = 1; optional TensorShapeProto shape = 2; }
  message TensorShapeProto { message Dim { optional int64 dim_value = 1; optional string dim_param = 2; } repeated Dim dim = 1; }
`);
const ModelProto = root.lookupType('ModelProto');

interface Decoded {
  readonly irVersion: number;
  readonly producerName: string;
  readonly opsetImport: readonly { readonly domain: string; readonly version: number }[];
  readonly graph: {
    readonly name: string;
    readonly node: readonly { readonly input?: readonly string[]; readonly output: readonly string[]; readonly opType: string }[];
    readonly initializer?: readonly {
      readonly name: string;
      readonly dims?: readonly number[];
      readonly dataType: number;
      readonly rawData: Uint8Array;
    }[];
    readonly input: readonly Info[];
    readonly output: readonly Info[];
  };
}

interface Info {
  readonly name: string;
  readonly type: {
    readonly tensorType: {
      readonly elemType: number;
      readonly shape: { readonly dim?: readonly { dimValue?: number; dimParam?: string }[] };
    };
  };
}

const decode = (bytes: Uint8Array): Decoded => ModelProto.toObject(ModelProto.decode(bytes), { longs: Number }) as Decoded;
const dimsOf = ({ type }: Info): (number | string)[] => (type.tensorType.shape.dim ?? []).map((d) => d.dimParam ?? d.dimValue!);

/** Checks what every graph must satisfy; returns the decoded file. */
function checkGraph(bytes: Uint8Array): Decoded {
  const model = decode(bytes);
  expect([model.irVersion, model.producerName, model.opsetImport]).toEqual([8, 'chainrule', [{ domain: '', version: 17 }]]);
  const { node, initializer = [], input } = model.graph;
  const sizes: Readonly<Record<number, number>> = { 1: 4, 6: 4, 7: 8, 9: 1, 11: 8 };
  for (const { dims = [], dataType, rawData } of initializer)
    expect(rawData.length).toBe(dims.reduce((n, d) => n * d, 1) * sizes[dataType]!);
  const defined = new Set([...input, ...initializer].map(({ name }) => name));
  expect(defined.size).toBe(input.length + initializer.length);
  const used = new Set<string>();
  for (const { input: inputs = [], output } of node) {
    for (const name of inputs) {
      expect(defined.has(name), `${name} is defined before it is used`).toBe(true);
      used.add(name);
    }
    for (const name of output) {
      expect(defined.has(name), `${name} is defined once`).toBe(false);
      defined.add(name);
    }
  }
  for (const { name } of model.graph.output) expect(defined.has(name)).toBe(true);
  expect(initializer.filter(({ name }) => !used.has(name)).map(({ name }) => name)).toEqual([]);
  return model;
}

const runtimeFile = new URL('../../examples/pictures/node_modules/onnxruntime-web/dist/ort.node.min.mjs', import.meta.url);
const hasRuntime = existsSync(runtimeFile);

interface Runtime {
  readonly InferenceSession: {
    create(
      bytes: Uint8Array,
      options: object,
    ): Promise<{ run(feeds: object): Promise<Record<string, { data: ArrayLike<number>; dims: number[] }>>; release(): Promise<void> }>;
  };
  readonly Tensor: new (type: string, data: unknown, dims: readonly number[]) => object;
  readonly env: { wasm: { numThreads: number }; logLevel: string };
}

async function runtime(): Promise<Runtime> {
  const ort = (await import(runtimeFile.href)) as Runtime;
  ort.env.wasm.numThreads = 1;
  return ort;
}

/** Random statistics, so that batch norm does something. */
function unsettle(model: nn.Module): void {
  noGrad(() => {
    for (const [name, b] of model.namedBuffers()) {
      if (name.endsWith('running_mean')) b.copy_(randn(b.shape).mul(0.3));
      if (name.endsWith('running_var')) b.copy_(randn(b.shape).square().add(0.5));
    }
  });
}

/** Compares onnxruntime's output with the model's, for 1 and 7 samples, from a file made with `exampleSamples`. */
async function compare(
  model: nn.Layer,
  shape: readonly number[],
  make: (shape: readonly number[]) => Tensor = (s) => randn([...s]),
  tolerance = 1e-5,
  exampleSamples = 2,
): Promise<void> {
  unsettle(model);
  const bytes = toOnnx(model, make([exampleSamples, ...shape]));
  checkGraph(bytes);
  const ort = await runtime();
  const session = await ort.InferenceSession.create(bytes, { executionProviders: ['wasm'], logSeverityLevel: 3 });
  model.eval();
  for (const samples of [1, 7]) {
    const x = make([samples, ...shape]);
    const expected = noGrad(() => model.forward(x));
    const { output } = await session.run({ input: new ort.Tensor(x.dtype, x.data().slice(), x.shape) });
    expect(output!.dims).toEqual([...expected.shape]);
    const want = expected.data();
    const scale = Math.max(1, ...Array.from(want, Math.abs).filter(Number.isFinite));
    want.forEach((v, i) =>
      expect(Math.abs(Number(output!.data[i]) - v) / scale, `element ${i} of ${samples} samples`).toBeLessThanOrEqual(tolerance),
    );
  }
  await session.release();
}

const image = [4, 8, 8];
const indices = (shape: readonly number[]): Tensor =>
  tensor(
    Array.from({ length: shape.reduce((n, s) => n * s, 1) }, (_, i) => (i * 5) % 7),
    { shape: [...shape], dtype: 'int32' },
  );

/** The outputs of a recurrent layer, without its last states. */
class FirstResult extends nn.Module {
  readonly layer: nn.GRU | nn.LSTM;

  constructor(layer: nn.GRU | nn.LSTM) {
    super();
    this.layer = layer;
  }

  forward(x: Tensor): Tensor {
    return this.layer.forward(x)[0];
  }
}

/** A net for each exported layer, the shape of its input, and how to make one. */
const LAYERS: Readonly<
  Record<string, readonly [make: () => nn.Layer, shape: readonly number[], input?: (shape: readonly number[]) => Tensor]>
> = {
  AdaptiveAvgPool2d: [() => new nn.Sequential(new nn.AdaptiveAvgPool2d([3, 5]), new nn.AdaptiveAvgPool2d(1)), image],
  AdaptiveMaxPool2d: [() => new nn.Sequential(new nn.AdaptiveMaxPool2d([3, 5]), new nn.AdaptiveMaxPool2d(1)), image],
  AvgPool2d: [() => new nn.Sequential(new nn.AvgPool2d(3, { stride: 2, padding: 1, countIncludePad: false }), new nn.AvgPool2d(2)), image],
  BatchNorm1d: [() => new nn.BatchNorm1d(4), [4, 6]],
  BatchNorm2d: [() => new nn.BatchNorm2d(4), image],
  CBAM: [() => new nn.CBAM(4, { reduction: 2 }), image],
  Conv1d: [
    () => new nn.Sequential(new nn.Conv1d(4, 6, 3, { stride: 2, padding: 1 }), new nn.Conv1d(6, 6, 4, { padding: 'same', groups: 2 })),
    [4, 9],
  ],
  Conv2d: [
    () =>
      new nn.Sequential(
        new nn.Conv2d(4, 6, 3, { stride: 2, padding: 1 }),
        new nn.Conv2d(6, 6, [1, 3], { padding: 'same', groups: 2, dilation: 2, bias: false }),
      ),
    image,
  ],
  ConvTranspose2d: [() => new nn.ConvTranspose2d(4, 6, 3, { stride: 2, padding: 1, outputPadding: 1, groups: 2 }), image],
  Dropout: [() => new nn.Sequential(new nn.Dropout(0.5), new nn.ReLU()), [5]],
  Dropout2d: [() => new nn.Sequential(new nn.Dropout2d(0.5), new nn.ReLU()), image],
  ECA: [() => new nn.ECA(4), image],
  ELU: [() => new nn.ELU(), [9]],
  EffectiveSE: [() => new nn.EffectiveSE(4), image],
  Embedding: [() => new nn.Embedding(7, 3, { paddingIdx: 2 }) as unknown as nn.Layer, [5], indices],
  Flatten: [() => new nn.Sequential(new nn.Flatten(), new nn.ReLU()), image],
  GELU: [() => new nn.Sequential(new nn.GELU(), new nn.GELU({ approximate: 'tanh' })), [9]],
  GRU: [() => new FirstResult(new nn.GRU(3, 5, { numLayers: 2, bidirectional: true })), [4, 3]],
  GroupNorm: [() => new nn.GroupNorm(2, 4), image],
  Hardsigmoid: [() => new nn.Hardsigmoid(), [9]],
  Hardswish: [() => new nn.Hardswish(), [9]],
  Identity: [() => new nn.Sequential(new nn.Identity(), new nn.Tanh()), [3]],
  InstanceNorm2d: [
    () => new nn.Sequential(new nn.InstanceNorm2d(4), new nn.InstanceNorm2d(4, { affine: true, trackRunningStats: true })),
    image,
  ],
  LSTM: [() => new FirstResult(new nn.LSTM(3, 5, { numLayers: 2, bidirectional: true })), [4, 3]],
  LayerNorm: [() => new nn.LayerNorm([8, 8]), image],
  LeakyReLU: [() => new nn.LeakyReLU(0.2), [9]],
  Linear: [() => new nn.Sequential(new nn.Linear(6, 6), new nn.ReLU(), new nn.Linear(6, 3, { bias: false })), [6]],
  LogSigmoid: [() => new nn.LogSigmoid(), [9]],
  LogSoftmax: [() => new nn.LogSoftmax(1), image],
  MaxPool2d: [() => new nn.MaxPool2d(3, { stride: 2, padding: 1, ceilMode: true }), image],
  Mish: [() => new nn.Mish(), [9]],
  MultiheadAttention: [() => new nn.Sequential(new nn.MultiheadAttention(6, 2) as unknown as nn.Layer, new nn.ReLU()), [4, 6]],
  PReLU: [() => new nn.PReLU(4), image],
  RMSNorm: [() => new nn.RMSNorm(8), image],
  ReLU: [() => new nn.ReLU(), [9]],
  ScSE: [() => new nn.ScSE(4), image],
  Sequential: [() => new nn.Sequential(new nn.ReLU()), [9]],
  SiLU: [() => new nn.SiLU(), [9]],
  Sigmoid: [() => new nn.Sigmoid(), [9]],
  Softmax: [() => new nn.Softmax(1), image],
  Softplus: [() => new nn.Softplus({ beta: 2, threshold: 3 }), [9]],
  SqueezeExcite: [() => new nn.SqueezeExcite(4, { reduction: 2 }), image],
  StochasticDepth: [() => new nn.Sequential(new nn.StochasticDepth(0.5, 'row'), new nn.ReLU()), image],
  Tanh: [() => new nn.Tanh(), [9]],
  Upsample: [() => new nn.Sequential(new nn.Upsample({ scaleFactor: 2 }), new nn.Upsample({ size: [5, 7], mode: 'bilinear' })), image],
};

/** Layers that are no function of one tensor: losses compare two. */
const isLoss = (name: string): boolean => name.endsWith('Loss');
const NO_LAYERS = ['ChannelGate', 'Module'];

test('the table has every layer of nn', () => {
  const layers = Object.entries(nn).filter(
    ([name, v]) => typeof v === 'function' && v.prototype instanceof nn.Module && !isLoss(name) && !NO_LAYERS.includes(name),
  );
  expect(Object.keys(LAYERS)).toEqual(layers.map(([name]) => name).sort());
});

/** A module of one function. */
class Compute extends nn.Module {
  readonly fn: (x: Tensor) => Tensor;

  constructor(fn: (x: Tensor) => Tensor) {
    super();
    this.fn = fn;
  }

  forward(x: Tensor): Tensor {
    return this.fn(x);
  }
}

const FUNCTIONS: Readonly<Record<string, readonly [fn: (x: Tensor) => Tensor, shape?: readonly number[]]>> = {
  arithmetic: [(x) => x.mul(2).sub(1).div(x.square().add(1)).neg().abs().sqrt().pow(1.5)],
  exponentials: [(x) => x.exp().log1p().add(x.expm1()).add(x.sin()).add(x.cos()).add(x.erf())],
  rounding: [(x) => x.mul(3).floor().add(x.mul(3).ceil()).add(x.mul(3).round()).add(x.sign())],
  comparisons: [(x) => x.gt(0).to('float32').add(x.le(0.5).to('float32')).add(x.ne(0).to('float32')).add(x.eq(0).to('float32'))], // prettier-ignore
  choices: [
    (x) =>
      x
        .clamp(-0.5, 0.5)
        .maximum(x.mul(0.3))
        .minimum(1)
        .add(x.maskedFill(x.lt(0), 3)),
  ],
  sums: [
    (x) =>
      x
        .sum(2, { keepdim: true })
        .add(x.mean([1, 2], { keepdim: true }))
        .add(x.amax(1, { keepdim: true }))
        .add(x.amin(1, { keepdim: true })),
  ], // prettier-ignore
  spreads: [
    (x) =>
      x
        .var(2)
        .add(x.std(2, { correction: 0 }))
        .add(x.norm(2, 2))
        .add(x.norm(1, 2))
        .add(x.logsumexp(2))
        .add(x.prod(2)),
  ], // prettier-ignore
  positions: [(x) => x.argmax(2).add(x.argmin(1, { keepdim: true }).squeeze(1).sum(1, { keepdim: true }))],
  running: [(x) => x.cumsum(2).add(x.flip([1, 2]))],
  sorting: [
    (x) =>
      x
        .sort(2)[0]
        .mul(2)
        .add(
          x
            .round()
            .argsort(1)
            .add(x.gt(0).argsort(2, { descending: true }).mul(10)),
        ),
  ],
  largest: [(x) => x.topk(2, 1)[0].add(x.round().topk(2, 1, { largest: false })[1])],
  'slices and padding': [
    (x) =>
      F.relu(x.slice(2, 1, 4, 2).select(1, 1).unsqueeze(1))
        .add(x.slice(1, 0, 1).slice(2, 0, 2))
        .reshape([-1, 2]),
  ],
  padding: [(x) => x.unsqueeze(1).permute([0, 1, 3, 2]).add(0)],
  joining: [
    (x) =>
      x
        .transpose(1, 2)
        .flatten(1)
        .unflatten(1, [3, 5])
        .expand([x.size(0), 3, 5]),
  ],
  softmax: [(x) => x.softmax(1).add(x.logSoftmax(-1))],
  products: [(x) => x.matmul(x.transpose(1, 2)).add(x.matmul(randnOnce))],
  'windows that reach beyond one side alone': [
    (x) =>
      F.maxPool2d(x, [3, 2], { stride: [2, 3], padding: 1, ceilMode: true }).add(
        F.avgPool2d(x, [3, 2], { stride: [2, 3], padding: 1, ceilMode: true }),
      ),
    [2, 6, 5],
  ],
  'windows with dilation beyond the padding': [(x) => F.maxPool2d(x, 2, { stride: 2, padding: 1, dilation: 3, ceilMode: true }), [2, 7, 8]],
  'averages beyond the padding': [
    (x) =>
      F.avgPool2d(x, 3, { stride: 2, padding: 1, ceilMode: true, countIncludePad: false })
        .add(F.avgPool2d(x, 3, { stride: 2, padding: 1, ceilMode: true }))
        .add(F.avgPool2d(x, 3, { stride: 2, padding: 1, ceilMode: true, divisorOverride: 5 })),
    [2, 6, 7],
  ],
  'comparisons of bool': [
    (x) => {
      const [a, b] = [x.gt(0), x.lt(0.5)];
      return [a.lt(b), a.le(b), a.gt(b), a.ge(b), a.eq(b)].map((y) => y.to('float32')).reduce((y, z) => y.mul(2).add(z));
    },
  ],
  'a convolution’s adjoint': [(x) => F.convTranspose2d(x.unsqueeze(1), kernel, null, { stride: 2, padding: 1, outputPadding: 1 })],
};

manualSeed(5);
const randnOnce = randn([5, 3]);
const kernel = randn([1, 2, 3, 3]);

describe.skipIf(!hasRuntime)('onnxruntime-web, where it is installed, computes what the model computes', () => {
  test('the tiny SE-CNN', async () => {
    manualSeed(1);
    const attention = (channels: number): nn.Layer => new nn.SqueezeExcite(channels, { reduction: 4 });
    await compare(new TinyCnn({ inChannels: 3, attention }), [3, 16, 16]);
  });

  test('SE-ResNet-20', async () => {
    manualSeed(2);
    const attention = (channels: number): nn.Layer => new nn.SqueezeExcite(channels, { reduction: 4 });
    await compare(seResNet(20, { inChannels: 3, attention }), [3, 16, 16]);
  });

  test.each(Object.entries(LAYERS))('%s', async (_, [make, shape, input]) => {
    manualSeed(3);
    await compare(make(), shape, input);
  });

  // For some numbers of samples the view is the same piece of memory, of the same shape, as the input.
  test.each<[name: string, samples: number, shape: readonly number[], fn: (x: Tensor) => Tensor]>([
    ['a transposed batch of one', 1, [1, 4], (x) => x.permute([1, 0, 2]).sum(0).add(x.sum(1).mul(10))],
    ['a reshape of two samples of two', 2, [2], (x) => x.reshape([2, -1]).cumsum(1).reshape([-1, 2]).add(x.mul(10))],
    ['a reshape of three samples of three', 3, [3], (x) => x.reshape([3, -1]).cumsum(1).reshape([-1, 3]).add(x.mul(10))],
    ['a view that is none', 1, [4], (x) => x.unsqueeze(0).squeeze(0).contiguous().reshape([-1, 4]).add(x)],
  ])('%s', async (_, samples, shape, fn) => {
    manualSeed(6);
    await compare(new Compute(fn), shape, undefined, 1e-5, samples);
  });

  test.each(Object.entries(FUNCTIONS))('%s', async (_, [fn, shape = [3, 5]]) => {
    manualSeed(4);
    await compare(new Compute(fn), shape, undefined, 1e-5);
  });
});

describe('the file', () => {
  const net = (): nn.Sequential => new nn.Sequential(new nn.Conv2d(3, 4, 3), new nn.BatchNorm2d(4), new nn.Flatten(), new nn.Linear(16, 2));

  test('names weights by their path, and the dims of input and output', () => {
    manualSeed(1);
    const { graph } = checkGraph(toOnnx(net(), randn([2, 3, 4, 4]), { name: 'net', input: 'images', output: 'logits' }));
    expect([graph.name, graph.input.map(({ name }) => name), graph.output.map(({ name }) => name)]).toEqual([
      'net',
      ['images'],
      ['logits'],
    ]);
    expect(dimsOf(graph.input[0]!)).toEqual(['N', 3, 4, 4]);
    expect(dimsOf(graph.output[0]!)).toEqual(['N', 2]);
    expect(graph.initializer!.map(({ name }) => name)).toEqual(expect.arrayContaining(['0.weight', '3.bias']));
    expect(graph.node.map(({ opType }) => opType)).toEqual(['Conv', 'Add', 'Mul', 'Add', 'Reshape', 'MatMul', 'Add', 'Identity']);
  });

  test('equal models give equal bytes, in training or evaluation mode, and the mode stays', () => {
    const make = (): nn.Sequential => {
      manualSeed(1);
      return net();
    };
    const model = make();
    const bytes = toOnnx(model, randn([2, 3, 4, 4]));
    expect(model.training).toBe(true);
    expect(toOnnx(make().eval(), randn([5, 3, 4, 4]))).toEqual(bytes);
  });

  test('leaves no tensor, also where it throws', () => {
    const model = net();
    const x = randn([2, 3, 4, 4]);
    const { tensors } = memory();
    toOnnx(model, x);
    expect(() => toOnnx(new nn.Sequential(model, new Compute((y) => y.tril())), x)).toThrow();
    expect(memory().tensors).toBe(tensors);
  });

  test('a constant that is written in place is in the file as it is when it is read', () => {
    const mask = new Compute((t) => t.mul(ones([4]).mul_(0.5)));
    const { graph } = checkGraph(toOnnx(mask, randn([2, 4])));
    expect(Array.from(new Float32Array(Uint8Array.from(graph.initializer![0]!.rawData).buffer))).toEqual([0.5, 0.5, 0.5, 0.5]);
  });

  test('a square weight that is read as it is and transposed is in the file twice', () => {
    manualSeed(2);
    const fc = new nn.Linear(3, 3, { bias: false });
    const twice = new Compute((x) => fc.forward(x).add(x.matmul(fc.weight)));
    const { graph } = checkGraph(toOnnx(twice, randn([2, 3])));
    expect(graph.initializer!.length).toBe(2);
    expect(Buffer.compare(Buffer.from(graph.initializer![0]!.rawData), Buffer.from(graph.initializer![1]!.rawData))).not.toBe(0);
  });
});

describe('what has no counterpart is refused by name', () => {
  const x = randn([2, 4]);
  const double = defineOp({ name: 'double', forward: (_k, t: Tensor) => t.mul(2), backward: (g) => [g.mul(2)] });
  test.each([
    [
      'a function of defineOp',
      () => toOnnx(new nn.Sequential(new nn.Identity(), new Compute(double)), x),
      ArgumentError,
      'toOnnx: 1 (Compute): double: this operation has no counterpart in ONNX',
    ],
    [
      'a scatter',
      () =>
        toOnnx(
          new Compute((t) =>
            t.scatterAdd(
              1,
              tensor(
                [
                  [0, 1],
                  [1, 0],
                ],
                { dtype: 'int32' },
              ),
              t,
            ),
          ),
          x,
        ),
      ArgumentError,
      'scatterAdd: this operation has no counterpart',
    ], // prettier-ignore
    [
      'a mean over the samples',
      () => toOnnx(new Compute((t) => t.sub(t.mean(0))), x),
      ArgumentError,
      'div: a constant [] depends on the number of samples in a way that ONNX cannot express',
    ],
    [
      'all samples but one',
      () => toOnnx(new Compute((t) => t.slice(0, 1)), x),
      ArgumentError,
      'slice: a number, 1 and 2 depends on the number of samples',
    ],
    [
      'a branch on the number of samples',
      () => toOnnx(new Compute((t) => (t.size(0) > 2 ? t.relu() : t)), x),
      ArgumentError,
      'the model computes otherwise for one sample more',
    ],
    [
      'a number added in place',
      () => toOnnx(new Compute((t) => t.mul(2).add_(1)), x),
      ArgumentError,
      'Compute: toOnnx: add_: in-place operations on what depends on the input have no counterpart in ONNX',
    ],
    [
      'a view that is filled',
      () =>
        toOnnx(
          new Compute((t) => {
            const y = t.mul(2);
            y.select(1, 0).fill_(7);
            return y;
          }),
          x,
        ),
      ArgumentError,
      'Compute: toOnnx: fill_: in-place operations',
    ],
    [
      'a constant that receives the input',
      () => toOnnx(new Compute((t) => t.add(zeros([4]).copy_(t.select(0, 0)))), x),
      ArgumentError,
      'Compute: toOnnx: copy_: in-place operations',
    ],
    [
      'a constant',
      () => toOnnx(new Compute((t) => tensor([t.size(1)])), x),
      ArgumentError,
      'toOnnx: the output does not depend on the input',
    ],
    [
      'two outputs',
      () => toOnnx(new Compute((t) => [t, t] as never), x),
      ArgumentError,
      'toOnnx: forward of Compute must return one tensor, got an array; export a module that returns one of its results',
    ],
    ['no module', () => toOnnx((() => x) as never, x), ArgumentError, 'toOnnx: the model must be a module with a forward, got a function'],
    [
      'one number',
      () => toOnnx(new nn.ReLU(), tensor(1)),
      ShapeError,
      'toOnnx: exampleInput must be [N,…] with at least one element, got []',
    ],
    [
      'an empty name',
      () => toOnnx(new nn.ReLU(), x, { input: '' }),
      ArgumentError,
      'toOnnx: input must be a text that is not empty, got an empty one',
    ],
    [
      'equal names',
      () => toOnnx(new nn.ReLU(), x, { input: 'a', output: 'a' }),
      ArgumentError,
      "toOnnx: input and output must have different names, got 'a' for both",
    ],
  ] as const)('%s', (_, act, kind, message) => {
    expect(() => scope(() => void act())).toThrow(message);
    expect(() => scope(() => void act())).toThrow(kind);
  });
});

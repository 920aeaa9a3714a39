/**
 * A valid call of every public function and class, and which of its arguments are tensors or options. Tests replace these
 * arguments by what is wrong, and compare the names with the exports.
 */
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as chainrule from 'chainrule';
import { ones, tensor, type Tensor } from 'chainrule';
import * as data from 'chainrule/data';
import * as distributed from 'chainrule/distributed';
import * as interop from 'chainrule/interop';
import * as io from 'chainrule/io';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import * as optim from 'chainrule/optim';
import * as testing from 'chainrule/testing';
import * as train from 'chainrule/train';

export interface PublicCall {
  /** Makes valid arguments. */
  readonly args: () => unknown[];
  /** Positions of tensors. */
  readonly tensors?: readonly number[];
  /** Positions of lists of tensors. */
  readonly lists?: readonly number[];
  /** The position of the options; without options, the first position behind the arguments. */
  readonly options: number;
  /** False for functions that have no options. Default true. */
  readonly takes?: boolean;
  /** Names of options that are tensors. */
  readonly tensorOptions?: readonly string[];
}

type Calls = Readonly<Record<string, PublicCall>>;

const x = (): Tensor => ones([2, 3]);
const vector = (): Tensor => ones([3]);
const image = (): Tensor => ones([1, 2, 4, 4]);
const sequence = (): Tensor => ones([2, 2, 4]);
const leaf = (): Tensor => ones([2, 3], { requiresGrad: true });
const double = (): Tensor => tensor([1, 2], { dtype: 'float64', requiresGrad: true });
const classes = (): Tensor => tensor([0, 1], { dtype: 'int32' });
const sumOfSquares = (t: Tensor): Tensor => t.square().sum();

/** A call with options at position `at`. */
const takes = (at: number, args: () => unknown[], tensors: readonly number[] = [], more: Partial<PublicCall> = {}): PublicCall => ({
  args,
  tensors,
  options: at,
  ...more,
});
/** A call without options. */
const plain = (args: () => unknown[], tensors: readonly number[] = [], more: Partial<PublicCall> = {}): PublicCall => ({
  args,
  tensors,
  options: args.length,
  takes: false,
  ...more,
});

const unaryCall = plain(() => [x()], [0]);
const layer = plain(() => []);
const lossCall = (more: Partial<PublicCall> = {}): PublicCall => takes(2, () => [x(), x()], [0, 1], more);
const classCall = takes(2, () => [x(), classes()], [0, 1], { tensorOptions: ['weight'] });
const sgd = (): optim.SGD => new optim.SGD([leaf()], { lr: 0.1, momentum: 0.9 });
const schedule = (options: object): PublicCall => takes(1, () => [sgd(), options]);
const dataset = (): data.ArrayDataset => new data.ArrayDataset(new Float32Array(8), [1, 2, 2], [0, 1]);
const like = takes(1, () => [x()], [0]);

const derivative = (...rest: (() => Tensor)[]): PublicCall =>
  takes(2 + rest.length, () => [sumOfSquares, double(), ...rest.map((make) => make())], [1, ...rest.map((_, i) => 2 + i)]);

const INDEX: Calls = {
  Generator: plain(() => [0]),
  allclose: takes(2, () => [x(), x()], [0, 1]),
  arange: takes(3, () => [0, 4, 1]),
  argmax: takes(2, () => [x(), 1], [0]),
  argmin: takes(2, () => [x(), 1], [0]),
  backwardSteps: takes(2, () => [sumOfSquares(leaf()), null], [0]),
  cat: plain(() => [[x(), x()], 0], [], { lists: [0] }),
  defineOp: takes(0, () => [{ name: 'mine', forward: () => x() }]),
  detectAnomaly: plain(() => [() => 1]),
  einsum: plain(() => ['ij->ji', x()], [1]),
  equal: plain(() => [x(), x()], [0, 1]),
  eye: takes(2, () => [2, 2]),
  full: takes(2, () => [[2], 1]),
  grad: takes(2, () => ((t) => [sumOfSquares(t), t])(leaf()), [0, 1], { tensorOptions: ['gradOutputs'] }),
  gradcheck: takes(2, () => [sumOfSquares, double()], [1]),
  gradcheckSteps: takes(3, () => [sumOfSquares, double(), [1e-6]], [1]),
  gradgradcheck: takes(2, () => [sumOfSquares, double()], [1]),
  graph: takes(1, () => [sumOfSquares(leaf())], [0]),
  hessian: derivative(),
  hvp: derivative(() => tensor([1, 2], { dtype: 'float64' })),
  jacobian: derivative(),
  jvp: derivative(() => tensor([1, 2], { dtype: 'float64' })),
  linspace: takes(3, () => [0, 1, 3]),
  manualSeed: plain(() => [0]),
  maximum: plain(() => [x(), x()], [0, 1]),
  memory: takes(0, () => []),
  minimum: plain(() => [x(), x()], [0, 1]),
  multinomial: takes(2, () => [x().square(), 1], [0]),
  noGrad: plain(() => [() => 1]),
  ones: takes(1, () => [[2]]),
  onesLike: like,
  pad: takes(2, () => [x(), [1, 1]], [0]),
  pow: plain(() => [x(), x()], [0, 1]),
  profile: plain(() => [() => 1]),
  rand: takes(1, () => [[2]]),
  randint: takes(3, () => [0, 2, [2]]),
  randn: takes(1, () => [[2]]),
  randperm: takes(1, () => [2]),
  scope: plain(() => [() => 1]),
  scoped: plain(() => [2]),
  setConvAlgorithm: plain(() => ['auto']),
  setNumThreads: plain(() => [chainrule.getNumThreads()]),
  setTurbo: plain(() => [chainrule.getTurbo().choice]),
  stack: plain(() => [[x(), x()], 0], [], { lists: [0] }),
  tensor: takes(1, () => [[1, 2]]),
  valueAndGrad: derivative(),
  vjp: takes(3, () => [sumOfSquares, double(), tensor(1, { dtype: 'float64' })], [1, 2]),
  where: plain(() => [x().gt(0), x(), x()], [0, 1, 2]),
  zeros: takes(1, () => [[2]]),
  zerosLike: like,
  zip: plain(() => [[1], [2]]),
};

const FUNCTIONAL: Calls = {
  adaptiveAvgPool2d: plain(() => [image(), 1], [0]),
  adaptiveMaxPool2d: takes(2, () => [image(), 1], [0]),
  avgPool2d: takes(2, () => [image(), 2], [0]),
  batchNorm: takes(1, () => [image(), { training: true }], [0], { tensorOptions: ['weight', 'bias', 'runningMean', 'runningVar'] }),
  binaryCrossEntropy: lossCall({ tensorOptions: ['weight'] }),
  binaryCrossEntropyWithLogits: lossCall({ tensorOptions: ['weight', 'posWeight'] }),
  conv1d: takes(3, () => [sequence(), ones([3, 2, 3]), ones([3])], [0, 1, 2]),
  conv2d: takes(3, () => [image(), ones([3, 2, 3, 3]), ones([3])], [0, 1, 2]),
  convTranspose2d: takes(3, () => [image(), ones([2, 3, 3, 3]), ones([3])], [0, 1, 2]),
  crossEntropy: classCall,
  dropout: takes(2, () => [x(), 0.5], [0]),
  dropout2d: takes(2, () => [image(), 0.5], [0]),
  elu: plain(() => [x(), 1], [0]),
  embedding: takes(2, () => [classes(), x()], [0, 1]),
  gelu: takes(1, () => [x()], [0]),
  globalAvgPool2d: plain(() => [image()], [0]),
  globalMaxPool2d: plain(() => [image()], [0]),
  groupNorm: takes(2, () => [image(), 1], [0], { tensorOptions: ['weight', 'bias'] }),
  hardsigmoid: unaryCall,
  hardswish: unaryCall,
  huberLoss: lossCall(),
  instanceNorm: takes(1, () => [image()], [0], { tensorOptions: ['weight', 'bias', 'runningMean', 'runningVar'] }),
  interpolate: takes(1, () => [image(), { scaleFactor: 2 }], [0]),
  l1Loss: lossCall(),
  layerNorm: takes(2, () => [x(), 3], [0], { tensorOptions: ['weight', 'bias'] }),
  leakyRelu: plain(() => [x(), 0.1], [0]),
  linear: plain(() => [x(), ones([4, 3]), ones([4])], [0, 1, 2]),
  logSigmoid: unaryCall,
  logSoftmax: plain(() => [x(), 1], [0]),
  maxPool2d: takes(2, () => [image(), 2], [0]),
  mish: unaryCall,
  mseLoss: lossCall(),
  nllLoss: classCall,
  oneHot: plain(() => [classes(), 2], [0]),
  prelu: plain(() => [x(), ones([1])], [0, 1]),
  relu: unaryCall,
  rmsNorm: takes(2, () => [x(), 3], [0], { tensorOptions: ['weight'] }),
  scaledDotProductAttention: takes(3, () => [sequence(), sequence(), sequence()], [0, 1, 2], { tensorOptions: ['attnMask'] }),
  sigmoid: unaryCall,
  silu: unaryCall,
  smoothL1Loss: lossCall(),
  softmax: plain(() => [x(), 1], [0]),
  softplus: takes(1, () => [x()], [0]),
  stochasticDepth: takes(3, () => [x(), 0.5, 'row'], [0]),
  tanh: unaryCall,
};

const LOSS_LAYER = takes(0, () => []);
const WEIGHTED = takes(0, () => [], [], { tensorOptions: ['weight'] });

const NN: Calls = {
  AdaptiveAvgPool2d: plain(() => [1]),
  AdaptiveMaxPool2d: plain(() => [1]),
  AvgPool2d: takes(1, () => [2]),
  BCELoss: WEIGHTED,
  BCEWithLogitsLoss: takes(0, () => [], [], { tensorOptions: ['weight', 'posWeight'] }),
  BatchNorm1d: takes(1, () => [2]),
  BatchNorm2d: takes(1, () => [2]),
  Conv1d: takes(3, () => [2, 2, 3]),
  Conv2d: takes(3, () => [2, 2, 3]),
  ConvTranspose2d: takes(3, () => [2, 2, 3]),
  CBAM: takes(1, () => [16]),
  CrossEntropyLoss: WEIGHTED,
  Dropout: takes(1, () => [0.5]),
  Dropout2d: takes(1, () => [0.5]),
  ECA: takes(1, () => [8]),
  ELU: plain(() => [1]),
  EffectiveSE: takes(1, () => [2]),
  Embedding: takes(2, () => [4, 2]),
  Flatten: plain(() => [1, -1]),
  GELU: takes(0, () => []),
  GRU: takes(2, () => [2, 3]),
  GroupNorm: takes(2, () => [1, 2]),
  Hardsigmoid: layer,
  Hardswish: layer,
  HuberLoss: LOSS_LAYER,
  Identity: layer,
  InstanceNorm2d: takes(1, () => [2]),
  L1Loss: LOSS_LAYER,
  LSTM: takes(2, () => [2, 3]),
  LayerNorm: takes(1, () => [3]),
  LeakyReLU: plain(() => [0.1]),
  Linear: takes(2, () => [3, 4]),
  LogSigmoid: layer,
  LogSoftmax: plain(() => [1]),
  MSELoss: LOSS_LAYER,
  MaxPool2d: takes(1, () => [2]),
  Mish: layer,
  MultiheadAttention: takes(2, () => [4, 2]),
  NLLLoss: WEIGHTED,
  PReLU: takes(1, () => [1]),
  Parameter: takes(1, () => [x()], [0]),
  RMSNorm: takes(1, () => [3]),
  ReLU: layer,
  ScSE: takes(1, () => [4]),
  Sequential: plain(() => [new nn.ReLU()]),
  SiLU: layer,
  Sigmoid: layer,
  SmoothL1Loss: LOSS_LAYER,
  Softmax: plain(() => [1]),
  Softplus: takes(0, () => []),
  SqueezeExcite: takes(1, () => [16]),
  StochasticDepth: takes(2, () => [0.5, 'row']),
  Tanh: layer,
  Upsample: takes(0, () => [{ scaleFactor: 2 }]),
  buffer: takes(1, () => [x()], [0]),
  cloneStateDict: plain(() => [{ t: x() }]),
  disposeStateDict: plain(() => [nn.cloneStateDict({ t: x() })]),
  recordExcitations: takes(2, () => [new nn.SqueezeExcite(2, { reduction: 1 }), [[ones([2, 2, 2, 2]), classes()]]]),
};

const weight = takes(1, () => [x()], [0]);

const INIT: Calls = {
  calculateFan: plain(() => [x()], [0]),
  calculateGain: plain(() => ['relu', 0.01]),
  constant_: plain(() => [x(), 1], [0]),
  dirac_: plain(() => [ones([2, 2, 3]), 1], [0]),
  eye_: plain(() => [x()], [0]),
  kaimingNormal_: weight,
  kaimingUniform_: weight,
  normal_: takes(3, () => [x(), 0, 1], [0]),
  ones_: plain(() => [x()], [0]),
  orthogonal_: takes(2, () => [x(), 1], [0]),
  truncNormal_: takes(5, () => [x(), 0, 1, -2, 2], [0]),
  uniform_: takes(3, () => [x(), 0, 1], [0]),
  xavierNormal_: takes(2, () => [x(), 1], [0]),
  xavierUniform_: takes(2, () => [x(), 1], [0]),
  zeros_: plain(() => [x()], [0]),
};

const optimizer = takes(1, () => [[leaf()], { lr: 0.1 }], [], { lists: [0] });

const OPTIM: Calls = {
  Adam: optimizer,
  AdamW: optimizer,
  CosineAnnealingLR: schedule({ tMax: 3 }),
  CosineAnnealingWarmRestarts: schedule({ t0: 3 }),
  CyclicLR: schedule({ baseLr: 0.1, maxLr: 1 }),
  EMA: takes(1, () => [[leaf()]], [], { lists: [0] }),
  ExponentialLR: schedule({ gamma: 0.5 }),
  LambdaLR: schedule({ lrLambda: () => 1 }),
  LinearLR: schedule({}),
  MultiStepLR: schedule({ milestones: [1] }),
  Muon: optimizer,
  OneCycleLR: schedule({ maxLr: 0.1, totalSteps: 9 }),
  RMSprop: optimizer,
  ReduceLROnPlateau: schedule({}),
  SGD: optimizer,
  SequentialLR: takes(1, () => ((o) => [o, { schedulers: [new optim.LinearLR(o), new optim.LinearLR(o)], milestones: [2] }])(sgd())),
  StepLR: schedule({ stepSize: 2 }),
  clipGradNorm: takes(2, () => [[leaf()], 1], [], { lists: [0] }),
  clipGradValue: plain(() => [[leaf()], 1], [], { lists: [0] }),
};

const DATA: Calls = {
  ArrayDataset: plain(() => [new Float32Array(8), [1, 2, 2], [0, 1]]),
  DataLoader: takes(1, () => [dataset()]),
  SyntheticCifar: takes(0, () => []),
  TensorDataset: plain(() => [x(), vector().slice(0, 0, 2)], [0, 1]),
  classBalancedSampler: takes(1, () => [[0, 1, 1]]),
  ImageFolder: takes(1, () => [[new File([], 'a/1.png')]]),
  imageFolder: takes(1, () => [[new File([], 'a/1.png')]]),
  kFold: takes(2, () => [dataset(), 2]),
  loadCifar10: takes(1, () => ['/nonexistent']),
  loadCifar100: takes(1, () => ['/nonexistent']),
  loadEmnist: takes(1, () => ['/nonexistent']),
  loadFashionMnist: takes(1, () => ['/nonexistent']),
  loadKmnist: takes(1, () => ['/nonexistent']),
  loadMnist: takes(1, () => ['/nonexistent']),
  randomSplit: takes(2, () => [dataset(), [1, 1]]),
  serveDataset: plain(() => [dataset()]),
  subset: plain(() => [dataset(), 0, 1]),
  syntheticCifar: takes(0, () => []),
  weightedSampler: takes(1, () => [[1, 2]]),
  withTransform: plain(() => [dataset(), data.transforms.randomHorizontalFlip()]),
};

const TRANSFORMS: Calls = {
  centerCrop: plain(() => [2]),
  colorJitter: takes(0, () => []),
  compose: plain(() => [data.transforms.randomHorizontalFlip()]),
  cutmix: takes(1, () => [2]),
  mixup: takes(1, () => [2]),
  normalize: plain(() => [0, 1]),
  randomCrop: takes(1, () => [2]),
  randomErasing: takes(0, () => []),
  randomHorizontalFlip: plain(() => [0.5]),
  randomResizedCrop: takes(1, () => [2]),
  randomRotation: takes(1, () => [10]),
  resize: plain(() => [2]),
  rotate: takes(1, () => [10]),
};

const model = (): { readonly model: nn.Linear } => ({ model: new nn.Linear(2, 2) });

const IO: Calls = {
  checkpointFromBytes: takes(2, () => ((record) => [io.checkpointToBytes(record), record])(model())),
  loadCheckpoint: takes(2, () => ['/nonexistent', model()]),
  loadSafetensors: takes(1, () => ['/nonexistent']),
  saveSafetensors: takes(2, () => ['/nonexistent/x.safetensors', { t: x() }]),
  tensorsFromBytes: takes(2, () => [io.tensorsToBytes({ t: x() }), 'file']),
  tensorsToBytes: takes(1, () => [{ t: x() }]),
};

const trainingLoader = (): data.DataLoader<data.ImageAndLabel> => {
  const dataset = new data.ArrayDataset(new Float32Array(4), [2], [0, 1]);
  return new data.DataLoader(dataset, { batchSize: 2 });
};
const training = (): [nn.Linear, object] => {
  const net = new nn.Linear(2, 2);
  const parts = { loader: trainingLoader(), optimizer: new optim.SGD(net.parameters(), { lr: 0.1 }), loss: F.crossEntropy };
  return [net, { ...parts, epochs: 1 }];
};
const log = join(tmpdir(), 'chainrule-public-calls.log');

const TRAIN: Calls = {
  AUC: layer,
  Accuracy: takes(0, () => []),
  ConfusionMatrix: plain(() => [3]),
  Fit: takes(1, training),
  HardestExamples: plain(() => [4]),
  Mean: layer,
  earlyStopping: takes(0, () => []),
  fit: takes(1, training),
  latestCheckpoint: plain(() => ['/nonexistent']),
  logCsv: plain(() => [log]),
  logJsonLines: plain(() => [log]),
  logProgress: takes(0, () => []),
  logScalars: plain(() => [{ addScalar: () => {} }]),
  saveBest: takes(1, () => [log]),
  saveCheckpoints: takes(1, () => [tmpdir()]),
};

const DISTRIBUTED: Calls = {
  DataParallel: takes(1, () => [new nn.Linear(2, 2), { group: distributed.init() }]),
  SyncBatchNorm: plain(() => [new nn.BatchNorm2d(2), distributed.init()]),
  broadcastState: plain(() => [distributed.init(), new nn.Linear(2, 2)]),
  checkReplicas: plain(() => [distributed.init(), new nn.Linear(2, 2)]),
  convertSyncBatchNorm: plain(() => [new nn.Sequential(new nn.BatchNorm2d(2)), distributed.init()]),
  globalMetric: plain(() => [distributed.init(), new train.Accuracy()]),
  init: takes(0, () => []),
};

/** Bytes of a .npz file without arrays: an empty zip file. */
const emptyNpz = (): Uint8Array => Uint8Array.from([0x50, 0x4b, 5, 6, ...Array<number>(18).fill(0)]);

const INTEROP: Calls = {
  SummaryWriter: takes(1, () => [join(tmpdir(), 'chainrule-public-calls')]),
  loadNpy: plain(() => ['/nonexistent']),
  loadNpz: takes(1, () => ['/nonexistent']),
  loadTorch: plain(() => ['/nonexistent']),
  loadTorchStateDict: takes(1, () => ['/nonexistent']),
  npyFromBytes: plain(() => [interop.npyToBytes(x()), 'file']),
  npyToBytes: plain(() => [x()], [0]),
  npzFromBytes: takes(2, () => [emptyNpz(), 'file']),
  npzToBytes: takes(1, () => [{ t: x() }]),
  toOnnx: takes(2, () => [new nn.ReLU(), x()], [1]),
  saveNpy: plain(() => ['/nonexistent/x.npy', x()], [1]),
  saveNpz: takes(2, () => [join(tmpdir(), 'chainrule-public-calls.npz'), { t: x() }]),
};

const sample = (): testing.TensorSample =>
  new testing.TensorSample({
    dtype: 'float64',
    shape: [2],
    choice: { layout: 'plain', a: 0, b: 0 },
    requiresGrad: true,
    values: (n) => new Float64Array(n),
  });

const TESTING: Calls = {
  broadcastShapes: takes(1, () => [2]),
  broadcastTensors: takes(1, () => [2]),
  checkGradients: takes(2, () => [sumOfSquares, [sample()]]),
  convolutions: takes(0, () => []),
  gradientProperty: takes(2, () => [sumOfSquares, testing.tensors({ dtype: 'float64' })]),
  poolings: takes(0, () => []),
  shapes: takes(0, () => []),
  tensors: takes(0, () => []),
};

interface Home {
  readonly home: string;
  readonly exports: Readonly<Record<string, unknown>>;
  readonly calls: Calls;
  /** Functions and classes that have neither options nor a place where they would be ignored. */
  readonly without: readonly string[];
}

/** The public surface. */
export const HOMES: readonly Home[] = [
  {
    home: 'chainrule',
    exports: chainrule,
    calls: INDEX,
    // recompute passes all it gets to its function.
    without: ['Tensor', 'getNumThreads', 'getTurbo', 'isGradEnabled', 'recompute'],
  },
  { home: 'nn', exports: nn, calls: NN, without: ['ChannelGate', 'Module'] },
  { home: 'nn.init', exports: nn.init, calls: INIT, without: [] },
  { home: 'nn/functional', exports: F, calls: FUNCTIONAL, without: [] },
  { home: 'optim', exports: optim, calls: OPTIM, without: ['FormulaLR', 'Optimizer', 'Scheduler'] },
  { home: 'data', exports: data, calls: DATA, without: ['Random', 'parseCifar10', 'parseCifar100', 'parseIdx', 'parseMnist'] },
  { home: 'data.transforms', exports: data.transforms, calls: TRANSFORMS, without: [] },
  {
    home: 'io',
    exports: io,
    calls: IO,
    // The last argument of saveCheckpoint and checkpointToBytes is any value. The others read and write bytes.
    without: ['checkpointToBytes', 'decodeSafetensors', 'encodeSafetensors', 'readBytes', 'saveCheckpoint', 'writeFileAtomic'],
  },
  {
    home: 'train',
    exports: train,
    calls: TRAIN,
    // Promises reject; test/train calls these with what is wrong.
    without: ['evaluate', 'lrFinder'],
  },
  { home: 'distributed', exports: distributed, calls: DISTRIBUTED, without: [] },
  { home: 'interop', exports: interop, calls: INTEROP, without: [] },
  { home: 'testing', exports: testing, calls: TESTING, without: ['TensorSample'] },
];

/** Calls a function, or makes an instance of a class. */
export function invoke(fn: unknown, args: readonly unknown[]): unknown {
  if (/^class\b/.test(Function.prototype.toString.call(fn))) return Reflect.construct(fn as new () => unknown, args);
  return (fn as (...args: readonly unknown[]) => unknown)(...args);
}

/** Makes a layer that needs no argument. */
const made = (name: string): nn.Module => invoke(NN[name] === undefined ? undefined : Reflect.get(nn, name), []) as nn.Module;

/** A layer with a valid input. */
export const LAYERS: readonly (readonly [name: string, make: () => nn.Module, inputs: () => Tensor[]])[] = [
  ...(['ReLU', 'Tanh', 'Sigmoid', 'SiLU', 'Mish', 'LogSigmoid', 'Hardsigmoid', 'Hardswish', 'Identity'] as const).map(
    (name) => [name, () => made(name), () => [x()]] as const,
  ),
  ...(['LeakyReLU', 'ELU', 'GELU', 'Softplus', 'Flatten'] as const).map((name) => [name, () => made(name), () => [x()]] as const),
  ['Softmax', () => new nn.Softmax(1), () => [x()]],
  ['LogSoftmax', () => new nn.LogSoftmax(1), () => [x()]],
  ['PReLU', () => new nn.PReLU(), () => [x()]],
  ['Dropout', () => new nn.Dropout(), () => [x()]],
  ['Dropout in evaluation', () => new nn.Dropout().eval(), () => [x()]],
  ['Dropout2d', () => new nn.Dropout2d(), () => [image()]],
  ['StochasticDepth', () => new nn.StochasticDepth(0.5, 'row'), () => [x()]],
  ['MaxPool2d', () => new nn.MaxPool2d(2), () => [image()]],
  ['AvgPool2d', () => new nn.AvgPool2d(2), () => [image()]],
  ['AdaptiveAvgPool2d', () => new nn.AdaptiveAvgPool2d(1), () => [image()]],
  ['AdaptiveMaxPool2d', () => new nn.AdaptiveMaxPool2d(3), () => [image()]],
  ['Upsample, bilinear', () => new nn.Upsample({ scaleFactor: 2, mode: 'bilinear' }), () => [image()]],
  ['Upsample', () => new nn.Upsample({ scaleFactor: 2 }), () => [image()]],
  ['Linear', () => new nn.Linear(3, 4), () => [x()]],
  ['Conv1d', () => new nn.Conv1d(2, 2, 3), () => [sequence()]],
  ['ConvTranspose2d', () => new nn.ConvTranspose2d(2, 2, 3), () => [image()]],
  ['Conv2d', () => new nn.Conv2d(2, 2, 3), () => [image()]],
  ['Embedding', () => new nn.Embedding(4, 2), () => [classes()]],
  ['BatchNorm1d', () => new nn.BatchNorm1d(3), () => [x()]],
  ['BatchNorm1d in evaluation', () => new nn.BatchNorm1d(2).eval(), () => [sequence()]],
  ['InstanceNorm2d', () => new nn.InstanceNorm2d(2, { trackRunningStats: true }), () => [image()]],
  ['InstanceNorm2d in evaluation', () => new nn.InstanceNorm2d(2, { trackRunningStats: true }).eval(), () => [image()]],
  ['BatchNorm2d', () => new nn.BatchNorm2d(2), () => [image()]],
  ['BatchNorm2d in evaluation', () => new nn.BatchNorm2d(2).eval(), () => [image()]],
  ['GRU', () => new nn.GRU(4, 3), () => [sequence()]],
  ['LSTM', () => new nn.LSTM(4, 3), () => [sequence()]],
  ['MultiheadAttention', () => new nn.MultiheadAttention(4, 2), () => [sequence()]],
  ['GroupNorm', () => new nn.GroupNorm(1, 2), () => [image()]],
  ['LayerNorm', () => new nn.LayerNorm(3), () => [x()]],
  ['RMSNorm', () => new nn.RMSNorm(3), () => [x()]],
  ['ECA', () => new nn.ECA(2), () => [image()]],
  ['EffectiveSE', () => new nn.EffectiveSE(2), () => [image()]],
  ['CBAM', () => new nn.CBAM(2, { reduction: 1 }), () => [image()]],
  ['ScSE', () => new nn.ScSE(2), () => [image()]],
  ['SqueezeExcite', () => new nn.SqueezeExcite(2, { reduction: 1 }), () => [image()]],
  ['Sequential', () => new nn.Sequential(new nn.ReLU()), () => [x()]],
  ['an empty Sequential', () => new nn.Sequential(), () => [x()]],
  ['CrossEntropyLoss', () => new nn.CrossEntropyLoss(), () => [x(), classes()]],
  ['NLLLoss', () => new nn.NLLLoss(), () => [x(), classes()]],
  ...(['BCELoss', 'BCEWithLogitsLoss', 'MSELoss', 'L1Loss', 'HuberLoss', 'SmoothL1Loss'] as const).map(
    (name) => [name, () => made(name), () => [x(), x()]] as const,
  ),
];

/** Methods of a tensor with arguments, and the positions of those that are tensors. */
export const METHODS: readonly (readonly [name: string, args: () => unknown[], tensors: readonly number[]])[] = [
  ...['add', 'sub', 'mul', 'div', 'pow', 'maximum', 'minimum', 'clamp', 'eq', 'ne', 'lt', 'le', 'gt', 'ge', 'logicalAnd', 'logicalOr'].map(
    (name) => [name, () => [x()], [0]] as const,
  ),
  ...['add_', 'mul_', 'copy_', 'fill_'].map((name) => [name, () => [name === 'fill_' ? 1 : x()], [0]] as const),
  ['matmul', () => [ones([3, 2])], [0]],
  ['mv', () => [vector()], [0]],
  ['prelu', () => [ones([1])], [0]],
  ['gather', () => [0, tensor([[0, 1, 0]], { dtype: 'int32' })], [1]],
  ['scatterAdd', () => [0, tensor([[0, 1, 0]], { dtype: 'int32' }), x()], [1, 2]],
  ['indexSelect', () => [0, classes()], [1]],
  ['maskedSelect', () => [x().gt(0)], [0]],
  ['maskedFill', () => [x().gt(0), tensor(1)], [0, 1]],
];

/** A tensor on which the methods above are called. */
export const receiver = x;

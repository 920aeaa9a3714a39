/**
 * Small nets of torchvision, timm and two repositories for CIFAR, written with this library's modules under the names of their files.
 */
import { cat, pad, type Tensor } from 'chainrule';
import * as nn from 'chainrule/nn';

type Layers = Readonly<Record<string, nn.Layer>>;

/** A module of named layers; without `run` they are called one after another. */
class Named extends nn.Module {
  readonly #layers: Layers;
  readonly #run: ((x: Tensor, layers: Layers) => Tensor) | null;

  constructor(layers: Layers, run: ((x: Tensor, layers: Layers) => Tensor) | null = null) {
    super();
    this.#layers = layers;
    this.#run = run;
    Object.assign(this, layers);
  }

  forward(x: Tensor): Tensor {
    if (this.#run !== null) return this.#run(x, this.#layers);
    return Object.values(this.#layers).reduce((y, layer) => layer.forward(y), x);
  }
}

/** A layer without weights. */
class Act extends nn.Module {
  readonly #fn: (x: Tensor) => Tensor;

  constructor(fn: (x: Tensor) => Tensor) {
    super();
    this.#fn = fn;
  }

  forward(x: Tensor): Tensor {
    return this.#fn(x);
  }
}

const relu6 = (): nn.Layer => new Act((x) => x.clamp(0, 6));
const relu = (): nn.Layer => new nn.ReLU();
const hardswish = (): nn.Layer => new nn.Hardswish();
const pooled = new Act((x) => x.mean([2, 3]));
const sequence = (length: number, make: (i: number) => nn.Layer): nn.Sequential =>
  new nn.Sequential(...Array.from({ length }, (_, i) => make(i)));

interface ConvOptions {
  readonly stride?: number;
  readonly groups?: number;
  readonly act?: (() => nn.Layer) | null;
  readonly eps?: number;
}

const conv = (from: number, to: number, kernel: number, { stride = 1, groups = 1 }: ConvOptions = {}): nn.Conv2d =>
  new nn.Conv2d(from, to, kernel, { stride, groups, padding: (kernel - 1) / 2, bias: false });

/** Convolution, batch norm and activation, as torchvision's Conv2dNormActivation. */
function convNorm(from: number, to: number, kernel: number, options: ConvOptions = {}): nn.Sequential {
  const { act = relu, eps = 1e-5 } = options;
  return new nn.Sequential(conv(from, to, kernel, options), new nn.BatchNorm2d(to, { eps }), ...(act === null ? [] : [act()]));
}

/** As torchvision and timm have it: two 1×1 convolutions with biases, under the names fc1 and fc2. */
const excite = (channels: number, hiddenChannels: number, gate: nn.Gate = 'sigmoid'): nn.SqueezeExcite =>
  new nn.SqueezeExcite(channels, { hiddenChannels, bias: true, gate });

// — ResNets —

interface BasicBlock {
  /** The name and the hidden channels of the attention block. */
  readonly se?: (channels: number) => Layers;
  readonly hasReluBeforeSe?: boolean;
  /** Option A of the paper: pads channels where the shape changes. */
  readonly padsChannels?: boolean;
}

function basicBlock(from: number, to: number, stride: number, { se, hasReluBeforeSe, padsChannels }: BasicBlock): nn.Layer {
  const isChanged = from !== to || stride !== 1;
  const attention = se?.(to) ?? {};
  const hasDownsample = isChanged && padsChannels !== true;
  const layers: Layers = {
    conv1: conv(from, to, 3, { stride }),
    bn1: new nn.BatchNorm2d(to),
    conv2: conv(to, to, 3),
    bn2: new nn.BatchNorm2d(to),
    ...attention,
    ...(hasDownsample ? { downsample: convNorm(from, to, 1, { stride, act: null }) } : {}),
  };
  const side = (to - from) / 2;
  const shortcut = (x: Tensor): Tensor => {
    if (hasDownsample) return layers.downsample!.forward(x);
    if (!isChanged) return x;
    return pad(x.slice(2, 0, null, 2).slice(3, 0, null, 2), [0, 0, 0, 0, side, side]);
  };
  return new Named(layers, (x) => {
    let y = layers.bn1!.forward(layers.conv1!.forward(x)).relu();
    y = layers.bn2!.forward(layers.conv2!.forward(y));
    if (hasReluBeforeSe === true) y = y.relu();
    for (const layer of Object.values(attention)) y = layer.forward(y);
    return y.add(shortcut(x)).relu();
  });
}

function stages(widths: readonly number[], depth: number, block: BasicBlock): Layers {
  const stage = (s: number): nn.Layer => {
    const before = widths[Math.max(0, s - 1)]!;
    return sequence(depth, (i) => basicBlock(i === 0 ? before : widths[s]!, widths[s]!, i === 0 && s > 0 ? 2 : 1, block));
  };
  return Object.fromEntries(widths.map((_, s) => [`layer${s + 1}`, stage(s)]));
}

function resnet18(block: BasicBlock = {}): nn.Layer {
  return new Named({
    conv1: conv(3, 64, 7, { stride: 2 }),
    bn1: new nn.BatchNorm2d(64),
    act1: relu(),
    maxpool: new nn.MaxPool2d(3, { stride: 2, padding: 1 }),
    ...stages([64, 128, 256, 512], 2, block),
    pooled,
    fc: new nn.Linear(512, 1000),
  });
}

function legacySeresnet18(): nn.Layer {
  const pool = new nn.MaxPool2d(3, { stride: 2, ceilMode: true });
  return new Named({
    layer0: new Named({ conv1: conv(3, 64, 7, { stride: 2 }), bn1: new nn.BatchNorm2d(64), relu1: relu(), pool }),
    ...stages([64, 128, 256, 512], 2, { se: (channels) => ({ se_module: excite(channels, channels / 16) }), hasReluBeforeSe: true }),
    pooled,
    last_linear: new nn.Linear(512, 1000),
  });
}

function cifarResnet20(head: string, block: BasicBlock): nn.Layer {
  const stem = { conv1: conv(3, 16, 3), bn1: new nn.BatchNorm2d(16), act1: relu() };
  return new Named({ ...stem, ...stages([16, 32, 64], 3, block), pooled, [head]: new nn.Linear(64, 10) });
}

// — nets for phones —

function squeezenet(): nn.Layer {
  const fire = (from: number, squeeze: number, to: number): nn.Layer => {
    const point = (a: number, b: number): nn.Layer => new nn.Conv2d(a, b, 1);
    const layers = {
      squeeze: point(from, squeeze),
      expand1x1: point(squeeze, to),
      expand3x3: new nn.Conv2d(squeeze, to, 3, { padding: 1 }),
    };
    return new Named(layers, (x) => {
      const y = layers.squeeze.forward(x).relu();
      return cat([layers.expand1x1.forward(y), layers.expand3x3.forward(y)], 1).relu();
    });
  };
  const pool = (): nn.Layer => new nn.MaxPool2d(3, { stride: 2, ceilMode: true });
  return new Named({
    features: new nn.Sequential(
      new nn.Conv2d(3, 64, 3, { stride: 2 }),
      relu(),
      pool(),
      fire(64, 16, 64),
      fire(128, 16, 64),
      pool(),
      fire(128, 32, 128),
      fire(256, 32, 128),
      pool(),
      fire(256, 48, 192),
      fire(384, 48, 192),
      fire(384, 64, 256),
      fire(512, 64, 256),
    ),
    classifier: new nn.Sequential(new nn.Dropout(), new nn.Conv2d(512, 1000, 1), relu()),
    pooled,
  });
}

/** Adds the input where the shape is kept. */
const residual =
  (layer: nn.Layer, isKept: boolean): ((x: Tensor) => Tensor) =>
  (x) =>
    isKept ? x.add(layer.forward(x)) : layer.forward(x);

function mobilenetV2(): nn.Layer {
  const block = (from: number, to: number, factor: number, stride: number): nn.Layer => {
    const wide = from * factor;
    const conv = new nn.Sequential(
      ...(factor === 1 ? [] : [convNorm(from, wide, 1, { act: relu6 })]),
      convNorm(wide, wide, 3, { stride, groups: wide, act: relu6 }),
      ...convNorm(wide, to, 1, { act: null }),
    );
    return new Named({ conv }, residual(conv, stride === 1 && from === to));
  };
  // Factor, channels, blocks, stride of the first: table 2 of the paper.
  const table = [
    [1, 16, 1, 1],
    [6, 24, 2, 2],
    [6, 32, 3, 2],
    [6, 64, 4, 2],
    [6, 96, 3, 1],
    [6, 160, 3, 2],
    [6, 320, 1, 1],
  ] as const;
  let from = 32;
  const blocks = table.flatMap(([factor, to, n, stride]) =>
    Array.from({ length: n }, (_, i) => {
      const layer = block(from, to, factor, i === 0 ? stride : 1);
      from = to;
      return layer;
    }),
  );
  return new Named({
    features: new nn.Sequential(convNorm(3, 32, 3, { stride: 2, act: relu6 }), ...blocks, convNorm(320, 1280, 1, { act: relu6 })),
    pooled,
    classifier: new nn.Sequential(new nn.Dropout(), new nn.Linear(1280, 1000)),
  });
}

function mobilenetV3Small(): nn.Layer {
  const eps = 1e-3;
  /** The multiple of 8 next to n, not below 0.9 n. */
  const divisible = (n: number): number => {
    const near = Math.max(8, Math.floor((n + 4) / 8) * 8);
    return near < 0.9 * n ? near + 8 : near;
  };
  type Row = readonly [from: number, kernel: number, wide: number, to: number, se: boolean, isHard: boolean, stride: number];
  const block = ([from, kernel, wide, to, se, isHard, stride]: Row): nn.Layer => {
    const act = isHard ? hardswish : relu;
    const block = new nn.Sequential(
      ...(wide === from ? [] : [convNorm(from, wide, 1, { act, eps })]),
      convNorm(wide, wide, kernel, { stride, groups: wide, act, eps }),
      ...(se ? [excite(wide, divisible(Math.floor(wide / 4)), 'hardsigmoid')] : []),
      convNorm(wide, to, 1, { act: null, eps }),
    );
    return new Named({ block }, residual(block, stride === 1 && from === to));
  };
  // Table 2 of the paper.
  const rows: readonly Row[] = [
    [16, 3, 16, 16, true, false, 2],
    [16, 3, 72, 24, false, false, 2],
    [24, 3, 88, 24, false, false, 1],
    [24, 5, 96, 40, true, true, 2],
    [40, 5, 240, 40, true, true, 1],
    [40, 5, 240, 40, true, true, 1],
    [40, 5, 120, 48, true, true, 1],
    [48, 5, 144, 48, true, true, 1],
    [48, 5, 288, 96, true, true, 2],
    [96, 5, 576, 96, true, true, 1],
    [96, 5, 576, 96, true, true, 1],
  ];
  const stem = convNorm(3, 16, 3, { stride: 2, act: hardswish, eps });
  return new Named({
    features: new nn.Sequential(stem, ...rows.map(block), convNorm(96, 576, 1, { act: hardswish, eps })),
    pooled,
    classifier: new nn.Sequential(new nn.Linear(576, 1024), hardswish(), new nn.Dropout(), new nn.Linear(1024, 1000)),
  });
}

function shufflenet(): nn.Layer {
  const block = (from: number, to: number, stride: number): nn.Layer => {
    const half = to / 2;
    const depthwise = (n: number): readonly nn.Layer[] => [...convNorm(n, n, 3, { stride, groups: n, act: null })];
    const branch1 = new nn.Sequential(...(stride === 1 ? [] : [...depthwise(from), ...convNorm(from, half, 1)]));
    const branch2 = new nn.Sequential(...convNorm(stride === 1 ? half : from, half, 1), ...depthwise(half), ...convNorm(half, half, 1));
    return new Named({ branch1, branch2 }, (x) => {
      const [kept, changed] = stride === 1 ? x.chunk(2, 1) : [branch1.forward(x), x];
      const y = cat([kept!, branch2.forward(changed!)], 1);
      // Shuffles the channels of the two halves.
      return y.unflatten(1, [2, half]).transpose(1, 2).flatten(1, 2);
    });
  };
  const stage = (from: number, to: number, n: number): nn.Layer => sequence(n, (i) => (i === 0 ? block(from, to, 2) : block(to, to, 1)));
  return new Named({
    conv1: convNorm(3, 24, 3, { stride: 2 }),
    maxpool: new nn.MaxPool2d(3, { stride: 2, padding: 1 }),
    stage2: stage(24, 48, 4),
    stage3: stage(48, 96, 8),
    stage4: stage(96, 192, 4),
    conv5: convNorm(192, 1024, 1),
    pooled,
    fc: new nn.Linear(1024, 1000),
  });
}

// — RegNets —

interface RegnetNames {
  /** One convolution with its batch norm. */
  readonly unit: (from: number, to: number, kernel: number, options?: ConvOptions) => nn.Layer;
  /** Puts the parts of a block under their names. */
  readonly block: (parts: { readonly units: readonly nn.Layer[]; readonly se: nn.Layer; readonly shortcut: nn.Layer | null }) => nn.Layer;
}

/** The block of RegNetY: 1×1, 3×3 in groups of 8 channels, SE with a quarter of the channels before, 1×1. */
function regnetStage(from: number, to: number, depth: number, { unit, block }: RegnetNames): nn.Layer[] {
  return Array.from({ length: depth }, (_, i) => {
    const [before, stride] = i === 0 ? [from, 2] : [to, 1];
    const units = [unit(before, to, 1), unit(to, to, 3, { stride, groups: to / 8 }), unit(to, to, 1, { act: null })];
    const shortcut = i === 0 ? unit(before, to, 1, { stride, act: null }) : null;
    return block({ units, se: excite(to, Math.round(before / 4)), shortcut });
  });
}

const addShortcut = (x: Tensor, y: Tensor, shortcut: nn.Layer | null): Tensor => y.add(shortcut === null ? x : shortcut.forward(x)).relu();

function regnetY400mf(): nn.Layer {
  const names: RegnetNames = {
    unit: convNorm,
    block: ({ units: [a, b, c], se, shortcut }) => {
      const f = new Named({ a: a!, b: b!, se, c: c! });
      return new Named({ f, ...(shortcut === null ? {} : { proj: shortcut }) }, (x) => addShortcut(x, f.forward(x), shortcut));
    },
  };
  const widths = [48, 104, 208, 440];
  const stage = (s: number, depth: number): nn.Layer => {
    const blocks = regnetStage(widths[s - 1] ?? 32, widths[s]!, depth, names);
    return new Named(Object.fromEntries(blocks.map((block, i) => [`block${s + 1}-${i}`, block])));
  };
  return new Named({
    stem: convNorm(3, 32, 3, { stride: 2 }),
    trunk_output: new Named(Object.fromEntries([1, 3, 6, 6].map((depth, s) => [`block${s + 1}`, stage(s, depth)]))),
    pooled,
    fc: new nn.Linear(440, 1000),
  });
}

/** timm's ConvNormAct: the layers are `conv` and `bn`. */
function convBn(from: number, to: number, kernel: number, options: ConvOptions = {}): nn.Layer {
  const { act = relu } = options;
  return new Named({ conv: conv(from, to, kernel, options), bn: new nn.BatchNorm2d(to), ...(act === null ? {} : { act: act() }) });
}

function regnety002(): nn.Layer {
  const names: RegnetNames = {
    unit: convBn,
    block: ({ units: [conv1, conv2, conv3], se, shortcut }) => {
      const parts: Layers = { conv1: conv1!, conv2: conv2!, se, conv3: conv3! };
      const body = new Named(parts);
      return new Named({ ...parts, ...(shortcut === null ? {} : { downsample: shortcut }) }, (x) =>
        addShortcut(x, body.forward(x), shortcut),
      );
    },
  };
  const widths = [24, 56, 152, 368];
  const stage = (s: number, depth: number): nn.Layer => {
    const blocks = regnetStage(widths[s - 1] ?? 32, widths[s]!, depth, names);
    return new Named(Object.fromEntries(blocks.map((block, i) => [`b${i + 1}`, block])));
  };
  return new Named({
    stem: convBn(3, 32, 3, { stride: 2 }),
    ...Object.fromEntries([1, 1, 4, 7].map((depth, s) => [`s${s + 1}`, stage(s, depth)])),
    head: new Named({ pooled, fc: new nn.Linear(368, 1000) }),
  });
}

function efficientnetLite0(): nn.Layer {
  const norm = (n: number): nn.Layer => new nn.BatchNorm2d(n);
  const separable = (from: number, to: number): nn.Layer =>
    new Named({
      conv_dw: conv(from, from, 3, { groups: from }),
      bn1: norm(from),
      act1: relu6(),
      conv_pw: conv(from, to, 1),
      bn2: norm(to),
    });
  const inverted = (from: number, to: number, kernel: number, stride: number): nn.Layer => {
    const wide = 6 * from;
    const layers = {
      conv_pw: conv(from, wide, 1),
      bn1: norm(wide),
      act1: relu6(),
      conv_dw: conv(wide, wide, kernel, { stride, groups: wide }),
      bn2: norm(wide),
      act2: relu6(),
      conv_pwl: conv(wide, to, 1),
      bn3: norm(to),
    };
    return new Named(layers, residual(new Named(layers), stride === 1 && from === to));
  };
  // Channels, kernel, stride of the first, blocks: table 1 of the EfficientNet paper.
  const table = [
    [24, 3, 2, 2],
    [40, 5, 2, 2],
    [80, 3, 2, 3],
    [112, 5, 1, 3],
    [192, 5, 2, 4],
    [320, 3, 1, 1],
  ] as const;
  let from = 16;
  const later = table.map(([to, kernel, stride, n]) => {
    const before = from;
    from = to;
    return sequence(n, (i) => inverted(i === 0 ? before : to, to, kernel, i === 0 ? stride : 1));
  });
  return new Named({
    conv_stem: conv(3, 32, 3, { stride: 2 }),
    bn1: norm(32),
    act1: relu6(),
    blocks: new nn.Sequential(new nn.Sequential(separable(32, 16)), ...later),
    conv_head: conv(320, 1280, 1),
    bn2: norm(1280),
    act2: relu6(),
    pooled,
    classifier: new nn.Linear(1280, 1000),
  });
}

/** The nets by their names in torch-nets.json. */
export const NETS: Readonly<Record<string, () => nn.Layer>> = {
  'torchvision resnet18': () => resnet18(),
  'torchvision squeezenet1_1': squeezenet,
  'torchvision mobilenet_v2': mobilenetV2,
  'torchvision mobilenet_v3_small': mobilenetV3Small,
  'torchvision shufflenet_v2_x0_5': shufflenet,
  'torchvision regnet_y_400mf': regnetY400mf,
  'timm resnet18': () => resnet18(),
  'timm seresnet18': () => resnet18({ se: (channels) => ({ se: excite(channels, Math.max(8, channels / 16)) }) }),
  'timm legacy_seresnet18': legacySeresnet18,
  'timm efficientnet_lite0': efficientnetLite0,
  'timm regnety_002': regnety002,
  'chenyaofo/pytorch-cifar-models resnet20': () => cifarResnet20('fc', {}),
  'akamaster/pytorch_resnet_cifar10 resnet20': () => cifarResnet20('linear', { padsChannels: true }),
};

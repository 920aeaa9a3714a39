/**
 * The settings of a training run, and how a link carries them: `#train?seed=1&lr=0.003&changes=120:sgd:0.05`.
 */
import type * as nn from 'chainrule/nn';
import { type Field, LinkReader, type LinkState, oneOf, wholeNumber } from '../link.ts';

export const OPTIMIZERS = ['sgd', 'adam', 'adamw'] as const;
export const PLACEMENTS = ['standard', 'inner', 'pre', 'first', 'last'] as const;
export const REDUCTIONS = [1, 2, 4, 8, 16] as const;
export const SQUEEZES = ['avg', 'max', 'avg+max'] as const satisfies readonly nn.Squeeze[];
export const GATES = ['sigmoid', 'hardsigmoid', 'tanh', 'relu'] as const satisfies readonly nn.Gate[];
export const BATCH_SIZES = [16, 32, 64, 128] as const;
export const DATA = ['synthetic', 'mnist'] as const;
export const CONTEXTS = ['distant', 'none'] as const;

/** The largest seed of a link. */
const MAX_SEED = 2 ** 32 - 1;

/** SGD with momentum 0.9; Adam; AdamW with weight decay 0.01. */
export type OptimizerName = (typeof OPTIMIZERS)[number];

/**
 * Where the net has SE: after the ReLU of every block, between batch norm and ReLU of every block, before the convolution of every block,
 * or after the ReLU of the first or the last block alone.
 */
export type Placement = (typeof PLACEMENTS)[number];

/** How the weights are updated. */
export interface Update {
  readonly optimizer: OptimizerName;
  readonly lr: number;
}

/** A change of the update while the net is trained. */
export interface Change extends Update {
  /** The number of steps that were done before the change, at least 1. */
  readonly step: number;
}

/** What determines a run, bit for bit. MNIST's files are the only input besides. */
export interface TrainSettings {
  readonly data: (typeof DATA)[number];
  /** Whether the labels of the synthetic images depend on the band at the opposite edge. */
  readonly context: (typeof CONTEXTS)[number];
  readonly placement: Placement;
  readonly reduction: (typeof REDUCTIONS)[number];
  readonly squeeze: nn.Squeeze;
  readonly gate: nn.Gate;
  readonly batchSize: (typeof BATCH_SIZES)[number];
  /** Determines weights and order of the images. A whole number from 0 to 2^32 − 1. */
  readonly seed: number;
  /** The update from the first step on. */
  readonly start: Update;
  /** By rising step. */
  readonly changes: readonly Change[];
}

export const DEFAULTS: TrainSettings = {
  data: 'synthetic',
  context: 'distant',
  placement: 'standard',
  reduction: 4,
  squeeze: 'avg',
  gate: 'sigmoid',
  batchSize: 32,
  seed: 0,
  start: { optimizer: 'adam', lr: 0.01 },
  changes: [],
};

/** The test image that is shown where a link names none: a warm band, and a shape whose label it changes. */
export const DEFAULT_IMAGE = 11;
/** The most test images that a run is evaluated on. */
export const TEST_IMAGES = 512;

/** A link's settings, and what of it could not be read. */
export interface ReadSettings {
  readonly settings: TrainSettings;
  /** The test image whose feature maps are shown, 0 … 511. */
  readonly image: number;
  /** One sentence for each value or name that was not used. */
  readonly problems: readonly string[];
}

const SEED = wholeNumber(MAX_SEED);
const IMAGE = wholeNumber(TEST_IMAGES - 1);

const LR: Field<number> = {
  expected: 'a number above 0',
  parse: (text) => {
    const value = /^[\d.e+-]+$/i.test(text) ? Number(text) : NaN;
    return value > 0 && value < Infinity ? value : undefined;
  },
};

const CHANGES: Field<readonly Change[]> = {
  expected: 'step:optimizer:lr by rising step, such as 120:sgd:0.05,300:adam:0.001',
  parse: (text) => {
    const changes = text === '' ? [] : text.split(',').map(parseChange);
    const isRising = changes.every((c, i) => c !== null && c.step > (changes[i - 1]?.step ?? 0));
    return isRising ? (changes as Change[]) : undefined;
  },
};

function parseChange(text: string): Change | null {
  const [step = '', optimizer = '', lr = '', ...rest] = text.split(':');
  const update = { optimizer: OPTIMIZER.parse(optimizer), lr: LR.parse(lr) };
  if (!/^\d{1,15}$/.test(step) || update.optimizer === undefined || update.lr === undefined || rest.length > 0) return null;
  return { step: Number(step), optimizer: update.optimizer, lr: update.lr };
}

const OPTIMIZER = oneOf(OPTIMIZERS);

/** The names of a link, with their fields. */
const FIELDS = {
  data: oneOf(DATA),
  context: oneOf(CONTEXTS),
  placement: oneOf(PLACEMENTS),
  r: oneOf(REDUCTIONS),
  squeeze: oneOf(SQUEEZES),
  gate: oneOf(GATES),
  batch: oneOf(BATCH_SIZES),
  seed: SEED,
  optimizer: OPTIMIZER,
  lr: LR,
  changes: CHANGES,
  image: IMAGE,
};

/** Returns the settings of a link. What it leaves out, or what is no valid value, has its default. */
export function readSettings(state: LinkState): ReadSettings {
  const reader = new LinkReader(state, Object.keys(FIELDS));
  const read = <T>(name: keyof typeof FIELDS, field: Field<T>, initial: T): T =>
    reader.read(name, field, initial, name === 'changes' ? 'none' : String(initial));
  const { start } = DEFAULTS;
  const settings: TrainSettings = {
    data: read('data', FIELDS.data, DEFAULTS.data),
    context: read('context', FIELDS.context, DEFAULTS.context),
    placement: read('placement', FIELDS.placement, DEFAULTS.placement),
    reduction: read('r', FIELDS.r, DEFAULTS.reduction),
    squeeze: read('squeeze', FIELDS.squeeze, DEFAULTS.squeeze),
    gate: read('gate', FIELDS.gate, DEFAULTS.gate),
    batchSize: read('batch', FIELDS.batch, DEFAULTS.batchSize),
    seed: read('seed', FIELDS.seed, DEFAULTS.seed),
    start: { optimizer: read('optimizer', FIELDS.optimizer, start.optimizer), lr: read('lr', FIELDS.lr, start.lr) },
    changes: read('changes', FIELDS.changes, DEFAULTS.changes),
  };
  return { settings, image: read('image', FIELDS.image, DEFAULT_IMAGE), problems: reader.problems };
}

/** Returns what `readSettings` reads. Every setting is written, so that a link keeps its meaning when a default changes. */
export function writeSettings(settings: TrainSettings, image = DEFAULT_IMAGE): LinkState {
  const { data, context, placement, reduction, squeeze, gate, batchSize, seed, start, changes } = settings;
  return {
    data,
    context,
    placement,
    r: String(reduction),
    squeeze,
    gate,
    batch: String(batchSize),
    seed: String(seed),
    optimizer: start.optimizer,
    lr: String(start.lr),
    ...(changes.length > 0 ? { changes: changes.map((c) => `${c.step}:${c.optimizer}:${c.lr}`).join(',') } : {}),
    ...(image !== DEFAULT_IMAGE ? { image: String(image) } : {}),
  };
}

/**
 * chainrule/data: datasets, image transforms and the data loader.
 */
export type { ArrayData } from '../core/array-data.ts';
export { Random } from '../core/random.ts';
export {
  CIFAR100_CLASSES,
  CIFAR100_SUPERCLASSES,
  CIFAR10_CLASSES,
  loadCifar10,
  loadCifar100,
  parseCifar10,
  parseCifar100,
} from './cifar.ts';
export type { Cifar100Options } from './cifar.ts';
export { ArrayDataset, withTransform } from './dataset.ts';
export type { BatchDataset, Dataset, ImageAndLabel, Item, ItemDataset, RandomFor, Transform, Transformed } from './dataset.ts';
export type { AsyncBatchDataset, AsyncDataset, AsyncItemDataset } from './dataset.ts';
export { kFold, randomSplit, subset } from './subsets.ts';
export type { Fold, KFoldOptions, RandomSplitOptions } from './subsets.ts';
export { classBalancedSampler, weightedSampler } from './samplers.ts';
export type { Sampler, WeightedSamplerOptions } from './samplers.ts';
export type { Shard } from './sharding.ts';
export { TensorDataset } from './tensor-dataset.ts';
export { DataLoader } from './loader.ts';
export type { Batch, DataLoaderOptions, DataLoaderState } from './loader.ts';
export { ImageFolder, imageFolder } from './image-folder.ts';
export type { ImageFolderOptions, PictureFile, Sharp, SharpPipeline } from './image-folder.ts';
export { FASHION_MNIST_CLASSES, loadEmnist, loadFashionMnist, loadKmnist, loadMnist, parseIdx, parseMnist } from './mnist.ts';
export type { EmnistOptions, IdxArray } from './mnist.ts';
export type { SplitOptions } from './split.ts';
export { SHAPES, SIDES, SyntheticCifar, syntheticCifar } from './synthetic.ts';
export type { SyntheticOptions, SyntheticSample } from './synthetic.ts';
export type { BatchTransform, MixOptions } from './mixing.ts';
/** Transforms of single images, for `withTransform` and the loader's `transform`; mixup and cutmix for its `batchTransform`. */
export * as transforms from './transforms.ts';
export { serveDataset } from './workers.ts';
export type { WebWorker } from './threads.ts';
export type { WorkerOptions } from './workers.ts';

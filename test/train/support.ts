import { manualSeed, memory, randn, tensor, type Tensor } from 'chainrule';
import { ArrayDataset, DataLoader, type ImageAndLabel } from 'chainrule/data';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import { SGD } from 'chainrule/optim';
import { Accuracy, fit, type Fit, type FitEvent, type FitOptions, type TrainingLoader } from 'chainrule/train';

/** A small task: three classes in a plane. */
export function points(length: number, seed: number): ArrayDataset {
  manualSeed(seed);
  const data = randn([length, 2]).data();
  const labels = Array.from({ length }, (_, i) => Number(data[2 * i]! + data[2 * i + 1]! > 0) + Number(data[2 * i]! > 1));
  return new ArrayDataset(Float32Array.from(data), [2], labels);
}

export interface Parts {
  readonly model: nn.Sequential;
  readonly optimizer: SGD;
  readonly loader: DataLoader<ImageAndLabel>;
  readonly test: DataLoader<ImageAndLabel>;
}

/** A net with dropout and batch norm, so that random numbers and buffers take part. */
export function parts(seed = 1): Parts {
  const train = points(40, 7);
  const test = points(20, 8);
  manualSeed(seed);
  const model = new nn.Sequential(new nn.Linear(2, 8), new nn.BatchNorm1d(8), new nn.ReLU(), new nn.Dropout(0.2), new nn.Linear(8, 3));
  return {
    model,
    optimizer: new SGD(model.parameters(), { lr: 0.1, momentum: 0.9 }),
    loader: new DataLoader(train, { batchSize: 6, shuffle: true, seed }),
    test: new DataLoader(test, { batchSize: 8 }),
  };
}

export type Change = (made: Parts) => Partial<FitOptions>;

/** A run on the small task, with evaluations. */
export function makeRun(change: Change = () => ({}), seed = 1): { readonly run: Fit; readonly made: Parts } {
  const made = parts(seed);
  const { model, optimizer, loader, test } = made;
  const evaluation = { loader: test, metrics: { accuracy: new Accuracy() } };
  return { run: fit(model, { loader, optimizer, loss: F.crossEntropy, epochs: 3, evaluation, ...change(made) }), made };
}

export async function eventsOf(run: AsyncIterable<FitEvent>): Promise<FitEvent[]> {
  const events: FitEvent[] = [];
  for await (const event of run) events.push(event);
  return events;
}

/** All weights of a model, as numbers. */
export function weightsOf(model: nn.Module): number[][] {
  return Object.values(model.stateDict()).map((t: Tensor) => Array.from(t.data()));
}

/** Returns how many tensors more there are; 0 if there are fewer, as the GC fallback may have freed some that earlier tests have left. */
export function tensorsSince(before: number): number {
  return Math.max(0, memory().tensors - before);
}

export type PlainBatch = readonly [inputs: number[][], targets: number[]];

/** A loader of these batches of numbers, in order. */
export function batchesOf(...batches: readonly PlainBatch[]): TrainingLoader {
  let position = 0;
  return {
    length: batches.length,
    get position() {
      return position;
    },
    async *[Symbol.asyncIterator]() {
      for (position = 0; position < batches.length; ) {
        const [inputs, targets] = batches[position++]!;
        yield [tensor(inputs), tensor(targets)];
      }
    },
    stateDict: () => ({ position }),
    loadStateDict: (state: { position: number }) => void ({ position } = state),
  };
}

/**
 * Checks data-parallel training on its ranks: each also computes what one process with the whole batch does, in float64. Prints from rank 0, as
 * JSON, what must agree for any number of ranks.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { manualSeed, memory, noGrad, randn, recompute, tensor, zeros, type Tensor } from 'chainrule';
import { DataLoader, transforms, type ArrayData, type BatchDataset } from 'chainrule/data';
import {
  broadcastState,
  checkReplicas,
  convertSyncBatchNorm,
  DataParallel,
  globalMetric,
  init,
  SyncBatchNorm,
} from 'chainrule/distributed';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import { Adam, clipGradNorm, SGD } from 'chainrule/optim';
import { Accuracy, ConfusionMatrix, type EvaluationEvent, fit, type StepEvent } from 'chainrule/train';

const group = init();
const { rank, size } = group;

// — helpers —

const near = (a: readonly number[], b: readonly number[], tolerance: number, what: string): void => {
  assert.equal(a.length, b.length, what);
  a.forEach((v, i) => assert.ok(Math.abs(v - b[i]!) <= tolerance * (1 + Math.abs(b[i]!)), `${what}: element ${i}: ${v}, expected ${b[i]}`));
};
const numbers = (t: Tensor): number[] => Array.from(t.data());
const digest = (model: nn.Module): string => {
  const hash = createHash('sha256');
  for (const t of Object.values(model.stateDict())) hash.update(t.data());
  return hash.digest('hex').slice(0, 16);
};
/** The rows of this rank of a batch of `rows`. */
const own = (t: Tensor): Tensor => {
  const rows = t.size(0);
  return t.slice(0, Math.floor((rank * rows) / size), Math.floor(((rank + 1) * rows) / size));
};
const gradsOf = (model: nn.Module): (number[] | null)[] => model.parameters().map((p) => (p.grad === null ? null : numbers(p.grad)));

/** Images [C,4,4] with random shifts, and their classes. */
const dataset = (length: number): BatchDataset<readonly [ArrayData, ArrayData]> => ({
  length,
  getBatch: (indices, randomFor) => {
    const data = new Float32Array(indices.length * 32);
    Array.from(indices).forEach((index, b) => {
      const random = randomFor(index);
      for (let i = 0; i < 32; i++) data[b * 32 + i] = Math.sin(index * 7 + i) + 0.1 * random.normal();
    });
    return [
      { data, shape: [indices.length, 2, 4, 4], dtype: 'float32' },
      { data: Int32Array.from(indices, (i) => i % 3), shape: [indices.length], dtype: 'int32' },
    ];
  },
});

const cnn = (withNorm: boolean, dropout = 0): nn.Sequential =>
  new nn.Sequential(
    new nn.Conv2d(2, 4, 3, { padding: 1 }),
    ...(withNorm ? [new nn.BatchNorm2d(4)] : []),
    new nn.ReLU(),
    new nn.Flatten(),
    new nn.Dropout(dropout),
    new nn.Linear(64, 3),
  );

const crossEntropyOf =
  (model: nn.Module & { forward(x: Tensor): Tensor }) =>
  (x: Tensor, y: Tensor): Tensor =>
    F.crossEntropy(model.forward(x), y);

// — gradients —

/** A net in which a layer is used twice, one is frozen, one is unused, one serves odd ranks only, and one is recomputed. */
class Net extends nn.Module {
  first = new nn.Linear(3, 8, { dtype: 'float64' });
  shared = new nn.Linear(8, 8, { dtype: 'float64' });
  frozen = new nn.Linear(8, 8, { dtype: 'float64' }).requiresGrad_(false);
  unused = new nn.Linear(8, 8, { dtype: 'float64' });
  odd = new nn.Linear(8, 1, { dtype: 'float64' });
  last = new nn.Linear(8, 1, { dtype: 'float64' });

  forward(x: Tensor, isOdd: boolean): Tensor {
    const h = this.shared.forward(this.frozen.forward(this.shared.forward(this.first.forward(x).tanh()).tanh()).tanh());
    const y = recompute((t) => this.last.forward(t), h);
    return isOdd ? y.add(this.odd.forward(h)) : y;
  }
}

function checkGradients(bucketBytes: number): void {
  manualSeed(3 + rank);
  const [net, reference] = [new Net(), new Net()];
  const parallel = new DataParallel(net, { group, bucketBytes });
  reference.loadStateDict(net.stateDict());
  manualSeed(1);
  for (const rows of [8, 7, 1, 8]) {
    const x = randn([rows, 3], { dtype: 'float64' });
    const y = randn([rows, 1], { dtype: 'float64' });
    net.zeroGrad();
    reference.zeroGrad();
    const result = parallel.backward([own(x), own(y)], (a, b) =>
      net
        .forward(a, rank % 2 === 1)
        .sub(b)
        .square()
        .mean(),
    );
    // The rows of odd ranks go through `odd`.
    const parts = Array.from({ length: size }, (_, r) => {
      const [from, to] = [Math.floor((r * rows) / size), Math.floor(((r + 1) * rows) / size)];
      return from === to
        ? null
        : reference
            .forward(x.slice(0, from, to), r % 2 === 1)
            .sub(y.slice(0, from, to))
            .square()
            .sum();
    });
    const loss = parts.reduce<Tensor | null>((sum, part) => (part === null ? sum : (sum?.add(part) ?? part)), null)!.div(rows);
    loss.backward();
    assert.equal(result.rows, rows);
    near([result.loss], [loss.item()], 1e-12, 'the loss');
    const expected = gradsOf(reference);
    gradsOf(net).forEach((grad, i) => {
      const name = net.namedParameters()[i]![0];
      const isNull = expected[i] === null;
      // A rank without rows computes zeros for the layers of its forward.
      if (isNull && name.startsWith('odd')) return;
      assert.equal(grad === null, isNull, `the gradient of ${name}`);
      if (grad !== null) near(grad, expected[i]!, 1e-12, name);
    });
    // The norm is the same on all ranks.
    const norm = clipGradNorm(net.parameters(), 0.1);
    assert.deepEqual(group.allGather(tensor(norm, { dtype: 'float64' })).toArray(), Array(size).fill(norm));
  }
  parallel.dispose();
}
checkGradients(1);
checkGradients(2 ** 18);

// — several batches for one step, and gradients of an earlier step that nobody has dropped —

for (const deterministic of ['same-size', 'across-sizes'] as const) {
  manualSeed(1);
  const model = new nn.Linear(3, 2, { dtype: 'float64' });
  const reference = new nn.Linear(3, 2, { dtype: 'float64' });
  const parallel = new DataParallel(model, { group, deterministic, shards: deterministic === 'across-sizes' ? 4 : null });
  reference.loadStateDict(model.stateDict());
  for (const [i, rows] of [8, 6, 3, 8].entries()) {
    const x = randn([rows, 3], { dtype: 'float64' });
    parallel.backward([own(x)], (a) => model.forward(a).square().mean(), { sync: i % 2 === 1, scale: 0.5 });
    reference.forward(x).square().mean().mul(0.5).backward();
    if (i % 2 === 1) gradsOf(model).forEach((grad, k) => near(grad!, gradsOf(reference)[k]!, 1e-12, `${deterministic}, batch ${i}`));
  }
  parallel.dispose();
}

// — the losses of n ranks —

interface Report {
  readonly losses: readonly number[];
  readonly digest: string;
}

/** Trains for three epochs of 5 batches, of which the last has 2 rows. */
function train(model: nn.Sequential, options: { deterministic?: 'across-sizes'; shards?: number } = {}): Report {
  const parallel = new DataParallel(model, { group, bucketBytes: 512, ...options });
  const optimizer = new SGD(model.parameters(), { lr: 0.05, momentum: 0.9 });
  broadcastState(group, model, optimizer);
  const loader = new DataLoader(dataset(34), { batchSize: 8, shuffle: true, seed: 5, shard: group });
  const losses: number[] = [];
  for (let epoch = 0; epoch < 3; epoch++) {
    for (const batch of loader) {
      optimizer.zeroGrad();
      losses.push(parallel.backward(batch, crossEntropyOf(model)).loss);
      optimizer.step();
    }
  }
  checkReplicas(group, model);
  parallel.syncBuffers();
  parallel.dispose();
  return { losses, digest: digest(model) };
}

const seeded = <T>(make: () => T): T => {
  manualSeed(7);
  return make();
};
const plain = train(seeded(() => cnn(false)));
assert.deepEqual(train(seeded(() => cnn(false))), plain, 'equal bits on every run');
const synced = train(seeded(() => convertSyncBatchNorm(cnn(true), group)));
const localNorm = train(seeded(() => cnn(true)));
const sharded = train(
  seeded(() => cnn(true, 0.3)),
  { deterministic: 'across-sizes', shards: 4 },
);

// — batch norm over the group, first and second order —

{
  manualSeed(2);
  const norm = new nn.BatchNorm1d(3, { dtype: 'float64' });
  const layer = convertSyncBatchNorm(new nn.Sequential(new nn.BatchNorm1d(3, { dtype: 'float64' })), group);
  assert.ok(layer[0] instanceof SyncBatchNorm);
  const [x, w] = [randn([7, 3], { dtype: 'float64' }), randn([7, 3], { dtype: 'float64' })];
  const whole = x.clone().requiresGrad_();
  const part = own(x).clone().requiresGrad_();
  const penalty = (y: Tensor, weights: Tensor): Tensor => y.mul(weights).tanh().sum();
  penalty(norm.forward(whole), w).backward();
  penalty(layer.forward(part), own(w)).backward();
  near(numbers(part.grad!), numbers(own(whole.grad!)), 1e-12, 'dx of SyncBatchNorm');
  near(numbers((layer[0] as SyncBatchNorm).running_var!), numbers(norm.running_var!), 1e-12, 'running_var');
  near(numbers((layer[0] as SyncBatchNorm).running_mean!), numbers(norm.running_mean!), 1e-12, 'running_mean');
  const sum = group.allReduce((layer[0] as SyncBatchNorm).weight!.grad!.clone());
  near(numbers(sum), numbers(norm.weight!.grad!), 1e-12, 'dw of SyncBatchNorm');
  layer.loadStateDict(new nn.Sequential(norm).stateDict());
  layer.eval();
  norm.eval();
  near(numbers(noGrad(() => layer.forward(x))), numbers(noGrad(() => norm.forward(x))), 1e-12, 'SyncBatchNorm in evaluation');
}

// — fit —

async function fitted(): Promise<readonly unknown[]> {
  manualSeed(7);
  const model = cnn(false);
  const parallel = new DataParallel(model, { group });
  const confusion = new ConfusionMatrix(3);
  const make = (length: number, options = {}) => new DataLoader(dataset(length), { batchSize: 8, shard: group, ...options });
  const run = fit(model, {
    loader: make(34, { shuffle: true, batchTransform: (items: readonly ArrayData[]) => items }),
    optimizer: new Adam(model.parameters(), { lr: 0.01 }),
    loss: F.crossEntropy,
    epochs: 2,
    accumulate: 2,
    clipNorm: 1,
    metrics: { accuracy: new Accuracy() },
    evaluation: { loader: make(21), metrics: { confusion, top2: new Accuracy({ topK: 2 }) } },
    parallel,
  });
  const events: unknown[] = [];
  for await (const event of run) events.push(event);
  const rounded = (value: number): number => Number(value.toPrecision(4));
  const steps = events.filter((e): e is StepEvent => (e as StepEvent).type === 'step');
  const tests = events.filter((e): e is EvaluationEvent => (e as EvaluationEvent).type === 'evaluation');
  // The state of one rank is that of the run: it fits a run with any number of ranks.
  assert.deepEqual(Object.keys(run.stateDict().loader), Object.keys(make(34).stateDict()));
  return [
    steps.map((e) => [e.step, e.samples, rounded(e.loss), rounded(e.gradNorm!), e.metrics]),
    tests.map((e) => [e.samples, rounded(e.loss), e.metrics]),
    confusion.counts,
  ];
}
const events = await fitted();
assert.equal(new Set(group.allGatherBytes(new TextEncoder().encode(JSON.stringify(events))).map(String)).size, 1);

/** A signal that reaches the last rank alone pauses all ranks after the same step. */
async function paused(): Promise<number> {
  manualSeed(7);
  const model = cnn(false);
  const controller = new AbortController();
  const run = fit(model, {
    loader: new DataLoader(dataset(34), { batchSize: 8, shard: group }),
    optimizer: new SGD(model.parameters(), { lr: 0.1 }),
    loss: F.crossEntropy,
    epochs: 2,
    parallel: new DataParallel(model, { group }),
    signal: controller.signal,
  });
  for await (const event of run) if (event.type === 'step' && event.step === 3 && rank === size - 1) controller.abort();
  return run.step;
}
assert.equal(await paused(), 4);

// — errors are the same on all ranks —

const failure = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    return (error as Error).message;
  }
  return 'no error';
};
if (size > 1) {
  const odd = new nn.Sequential(new nn.Linear(3, rank === 1 ? 5 : 4), new nn.ReLU());
  assert.equal(
    failure(() => new DataParallel(odd, { group })),
    'broadcastState: 0.weight: rank 1 has float32 [5,3], rank 0 has float32 [4,3]; make the same objects in the same way on all ranks',
  );
  const missing = new nn.Linear(3, 4, { bias: rank !== 1 });
  assert.equal(
    failure(() => broadcastState(group, missing)),
    'broadcastState: bias: rank 1 has nothing of that name, rank 0 has float32 [4]; make the same objects in the same way on all ranks',
  );
  const model = new nn.Linear(3, 4);
  const parallel = new DataParallel(model, { group });
  if (rank === 1) model.bias!.requiresGrad_(false);
  assert.equal(
    failure(() => parallel.backward([zeros([2, 3])], (x) => model.forward(x).sum())),
    'DataParallel.backward: bias: rank 1 has a frozen float32 [4], rank 0 has a trained float32 [4]; freeze and unfreeze the same parameters on all ranks',
  );
  model.bias!.requiresGrad_(true);
  if (rank === 1) noGrad(() => model.weight.add_(1));
  assert.match(
    failure(() => checkReplicas(group, model)),
    /^checkReplicas: weight: rank 1 has the checksum \w+, rank 0 has the checksum \w+; /,
  );
  const optimizer = new SGD(model.parameters(), { lr: 0.1 });
  const other = new SGD([model.weight], { lr: 0.1 });
  assert.match(
    failure(() => broadcastState(group, rank === 1 ? other : optimizer)),
    /^(broadcastState: rank 1 failed: )?loadCheckpoint: rank 0's state: /,
  );
}
assert.equal(failure(() => globalMetric(group, 3 as never)).startsWith('globalMetric: metrics.metric must have update'), true);
assert.equal(
  failure(() => new DataParallel(new nn.Linear(2, 2), { group }).backward([zeros([0, 2])], (x) => new nn.Linear(2, 2).forward(x).sum())),
  'DataParallel.backward: the batch has no rows on any rank',
);

// — memory —

{
  const model = seeded(() => cnn(true));
  const parallel = new DataParallel(model, { group });
  const loader = new DataLoader(dataset(16), { batchSize: 8, shard: group, batchTransform: transforms.mixup(3) });
  const sizes: number[] = [];
  for (let epoch = 0; epoch < 4; epoch++) {
    for (const batch of loader) {
      model.zeroGrad();
      parallel.backward(batch, crossEntropyOf(model));
    }
    sizes.push(memory().bytes);
  }
  assert.equal(new Set(sizes.slice(1)).size, 1, `bytes after each epoch: ${sizes.join(', ')}`);
}

group.finalize();
if (rank === 0) console.log(JSON.stringify({ plain, synced, localNorm: localNorm.losses.length, sharded, events }));

/**
 * A training run of two nets that differ in squeeze-and-excitation only. It uses nothing of the page, so Node computes the same numbers.
 */
import { scope, type Tensor } from 'chainrule';
import { DataLoader, type ImageAndLabel } from 'chainrule/data';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import { Adam, AdamW, SGD } from 'chainrule/optim';
import { equalNet, TinyCnn } from '../../examples/cifar-like/model.ts';
import type { Attention } from '../../examples/cifar-like/resnet.ts';
import { NETS, type NetName, type PerNet, perNet, TITLES } from './nets.ts';
import type { Change, TrainSettings, Update } from './settings.ts';
import type { Task } from './task.ts';

/** The loss of a net became NaN or infinite. Its weights are those of the last good step. */
export class Diverged extends Error {
  readonly step: number;
  readonly net: NetName;

  constructor(step: number, net: NetName, loss: number, { optimizer, lr }: Update) {
    super(`Step ${step}: the loss of the net ${TITLES[net]} is ${loss}. The learning rate ${lr} is too high for ${optimizer}.`);
    this.step = step;
    this.net = net;
  }
}

/** The updates of a run: those of its settings, with the changes made since. */
export type Schedule = Pick<TrainSettings, 'start' | 'changes'>;

type Optimizer = SGD | Adam;

const OPTIMIZERS: Readonly<Record<Update['optimizer'], (parameters: readonly Tensor[], lr: number) => Optimizer>> = {
  sgd: (parameters, lr) => new SGD(parameters, { lr, momentum: 0.9 }),
  adam: (parameters, lr) => new Adam(parameters, { lr }),
  adamw: (parameters, lr) => new AdamW(parameters, { lr }),
};

/** Trains both nets on the same batches, one step a call. Call `dispose` on it; the task stays the caller's. */
export class Session {
  readonly nets: PerNet<TinyCnn>;
  readonly task: Task;
  readonly #loader: DataLoader<ImageAndLabel>;
  #batches: Iterator<Tensor[]>;
  #optimizers: PerNet<Optimizer>;
  #step = 0;
  #start: Update;
  #update: Update;
  /** Changes that have taken effect, and those that are still to come. */
  readonly #done: Change[] = [];
  #planned: readonly Change[];

  constructor(settings: TrainSettings, task: Task) {
    const { batchSize, seed, start, changes } = settings;
    this.task = task;
    this.#loader = new DataLoader(task.train, { batchSize, seed, shuffle: true, dropLast: true, transform: task.transform });
    this.#batches = this.#loader.unscoped()[Symbol.iterator]();
    this.nets = perNet((name) => makeNet(settings, name === 'se', task.test.shape[0]));
    this.#start = start;
    this.#update = start;
    this.#planned = changes;
    this.#optimizers = this.#makeOptimizers();
  }

  /** The number of steps done. */
  get steps(): number {
    return this.#step;
  }

  /** The update that the next step applies, unless a change is due. */
  get update(): Update {
    return this.#update;
  }

  get schedule(): Schedule {
    return { start: this.#start, changes: [...this.#done, ...this.#planned] };
  }

  /** Changes the update from the next step on. Changes that were planned for later are dropped. */
  change({ optimizer, lr }: Update): void {
    this.#planned = [];
    this.#apply({ optimizer, lr });
  }

  /**
   * Does one step, and returns the losses of the batch before the update.
   *
   * Throws: Diverged if a loss is NaN or infinite
   */
  step(): PerNet<number> {
    const [next] = this.#planned;
    if (next?.step === this.#step) {
      this.#planned = this.#planned.slice(1);
      this.#apply(next);
    }
    return scope(() => {
      const [x, y] = this.#nextBatch();
      const losses = perNet((name) => this.#train(name, x!, y!));
      this.#step++;
      return losses;
    });
  }

  dispose(): void {
    for (const name of NETS) {
      this.#optimizers[name].dispose();
      this.nets[name].dispose();
    }
  }

  #train(name: NetName, x: Tensor, y: Tensor): number {
    const net = this.nets[name];
    const optimizer = this.#optimizers[name];
    net.train();
    const loss = F.crossEntropy(net.forward(x), y);
    const value = loss.item();
    if (!Number.isFinite(value)) throw new Diverged(this.#step + 1, name, value, this.#update);
    optimizer.zeroGrad();
    loss.backward();
    optimizer.step();
    return value;
  }

  /** Returns the next batch, of the next epoch if this one has ended. */
  #nextBatch(): Tensor[] {
    let next = this.#batches.next();
    if (next.done === true) {
      this.#batches = this.#loader.unscoped()[Symbol.iterator]();
      next = this.#batches.next();
    }
    return next.value as Tensor[];
  }

  /** Applies a change from the next step on. Another optimizer begins without the state of the old one. */
  #apply({ optimizer, lr }: Update): void {
    const previous = this.#update;
    this.#update = { optimizer, lr };
    if (this.#step === 0) this.#start = this.#update;
    else this.#record({ step: this.#step, optimizer, lr });
    if (optimizer === previous.optimizer) {
      for (const name of NETS) for (const group of this.#optimizers[name].paramGroups) group.lr = lr;
      return;
    }
    for (const name of NETS) this.#optimizers[name].dispose();
    this.#optimizers = this.#makeOptimizers();
  }

  /** Records a change. It replaces one at the same step. */
  #record(change: Change): void {
    if (this.#done.at(-1)?.step === change.step) this.#done.pop();
    this.#done.push(change);
  }

  #makeOptimizers(): PerNet<Optimizer> {
    const { optimizer, lr } = this.#update;
    return perNet((name) => OPTIMIZERS[optimizer](this.nets[name].parameters(), lr));
  }
}

/** Makes the tiny CNN with SE, or without SE and with equal weights in all layers that both have. */
function makeNet({ placement, reduction, squeeze, gate, seed }: TrainSettings, se: boolean, inChannels: number): TinyCnn {
  const attention = (channels: number): nn.SqueezeExcite =>
    // Before the first convolution there may be fewer channels than r.
    new nn.SqueezeExcite(channels, { hiddenChannels: Math.max(1, Math.floor(channels / reduction)), squeeze, gate });
  const where: Readonly<Record<string, readonly [Attention, Attention, Attention]>> = {
    first: [attention, null, null],
    last: [null, null, attention],
  };
  return equalNet(seed, se, (se) => {
    const blocks = where[placement] ?? [attention, attention, attention];
    const place = placement === 'inner' || placement === 'pre' ? placement : 'standard';
    return new TinyCnn({ inChannels, attention: se ? blocks : null, placement: place });
  });
}

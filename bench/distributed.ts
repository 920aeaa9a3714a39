/**
 * npx tsx bench/distributed.ts [--net resnet-20|tiny] [--batch 64] [--seconds per case] [--rounds 3] [--hosts a,b]
 *
 * Times all-reduces on 2 ranks, and training steps on 2 ranks × 1 thread beside 1 rank × 2 threads. From the latency and bandwidth measured it
 * predicts how steps scale to more ranks. Needs mpiexec of MPICH and two processors that nothing else uses. Both ranks are on this machine, or
 * with --hosts one on each of two hosts, which have this program at the same place.
 */
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { manualSeed, randint, randn, zeros } from 'chainrule';
import { DataParallel, init, type Group } from 'chainrule/distributed';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import * as optim from 'chainrule/optim';
import { TinyCnn } from '../examples/cifar-like/model.ts';
import { seResNet } from '../examples/cifar-like/resnet.ts';

const { values: options } = parseArgs({
  options: {
    net: { type: 'string', default: 'resnet-20' },
    batch: { type: 'string', default: '64' },
    seconds: { type: 'string', default: '2' },
    rounds: { type: 'string', default: '3' },
    hosts: { type: 'string' },
    rank: { type: 'boolean', default: false },
  },
});
const batch = Number(options.batch);
const seconds = Number(options.seconds);
const rounds = Number(options.rounds);
const hosts = options.hosts === undefined ? [] : ['-hosts', options.hosts, '-ppn', '1'];

/** Bytes of the all-reduces that are timed. */
const SIZES = [4, 4096, 65_536, 2 ** 18, 2 ** 20, 2 ** 22, 2 ** 24];
/** Numbers of ranks that the model predicts. */
const PREDICTED = [2, 8, 64, 1024];
/** Numbers of shards of a batch whose gradients are computed separately. */
const SHARDS = [2, 4, 8];
/** The part of a step that sums must take, so that their hidden share differs from the variation of steps. */
const LEAST_SHARE = 0.05;
const LEAST_RUNS = 5;
const WARM_UP_RUNS = 10;

/** Seconds of a kind of run. */
interface Times {
  readonly shortest: number;
  readonly median: number;
}

interface Timing {
  readonly barrier: Times;
  /** An all-reduce of each of SIZES; empty for one rank. */
  readonly reduce: readonly Times[];
  /** A training step, and one without the sums over ranks. */
  readonly step: Times;
  readonly alone: Times;
  /** A training step with equal bits for any number of ranks, with each of SHARDS. */
  readonly across: readonly Times[];
  /** All-reduces of as many bytes as there are gradients, one after the other as in a step. */
  readonly gradients: Times;
  readonly gradientBytes: number;
}

/** Times functions in turns, so that a slower machine affects all. The ranks agree on the number of runs. */
function time(group: Group, ...functions: readonly (() => void)[]): Times[] {
  // V8 compiles a kernel anew after some calls.
  for (let run = 0; run < WARM_UP_RUNS; run++) for (const fn of functions) fn();
  const times = functions.map((): number[] => []);
  const end = performance.now() + 1000 * seconds * functions.length;
  for (let run = 0; run < LEAST_RUNS || group.any(performance.now() < end); run++) {
    functions.forEach((fn, i) => {
      group.barrier();
      const start = performance.now();
      fn();
      times[i]!.push((performance.now() - start) / 1000);
    });
  }
  return times.map((of) => {
    of.sort((a, b) => a - b);
    return { shortest: of[0]!, median: of[Math.floor(of.length / 2)]! };
  });
}

/** Times on the ranks of the group; prints the result as JSON. */
function measure(): void {
  const group = init();
  manualSeed(0);
  const attention = { reduction: 4 };
  const net =
    options.net === 'tiny'
      ? new TinyCnn({ inChannels: 3, attention: (channels) => new nn.SqueezeExcite(channels, attention) })
      : seResNet(20, attention);
  const rows = batch / group.size;
  const data = [randn([rows, 3, 32, 32]).keep(), randint(0, 10, [rows]).keep()] as const;
  const sgd = new optim.SGD(net.parameters(), { lr: 1e-3, momentum: 0.9, nesterov: true, weightDecay: 5e-4 });
  const parallel = new DataParallel(net, { group });
  const step = (by: DataParallel, sync: boolean) => (): void => {
    sgd.zeroGrad();
    by.backward(data, (x, y) => F.crossEntropy(net.forward(x), y), { sync });
    sgd.step();
  };
  const sharded = SHARDS.map((shards) => new DataParallel(net, { group, deterministic: 'across-sizes', shards }));
  const [whole, alone, ...across] = time(group, step(parallel, true), step(parallel, false), ...sharded.map((by) => step(by, true)));
  const gradientBytes = 4 * net.parameters().reduce((sum, p) => sum + p.numel, 0);
  const t = zeros([gradientBytes / 4]).keep();
  const [barrier, gradients] = time(
    group,
    () => group.barrier(),
    () => group.allReduce(t),
  );
  const timing: Timing = {
    barrier: barrier!,
    reduce: group.size === 1 ? [] : SIZES.map((bytes) => timeReduce(group, bytes)),
    step: whole!,
    alone: alone!,
    across,
    gradients: gradients!,
    gradientBytes,
  };
  if (group.rank === 0) process.stdout.write(`${JSON.stringify(timing)}\n`);
}

function timeReduce(group: Group, bytes: number): Times {
  const t = zeros([bytes / 4]).keep();
  const [times] = time(group, () => group.allReduce(t));
  t.dispose();
  return times!;
}

function run(ranks: number, threads: number): Timing {
  const program = [process.execPath, '--import', 'tsx', fileURLToPath(import.meta.url), '--rank', ...process.argv.slice(2)];
  const [file, ...args] = ranks === 1 ? program : ['mpiexec', ...hosts, '-n', String(ranks), ...program];
  const env = { ...process.env, CHAINRULE_THREADS: String(threads) };
  const { status, stdout, error } = spawnSync(file!, args, { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  if (status !== 0) throw new Error(`${file} ended with ${status ?? error?.message}`);
  return JSON.parse(stdout) as Timing;
}

/** The least of each time. */
function best(timings: readonly Timing[]): Timing {
  const least = (of: (timing: Timing) => Times): Times => ({
    shortest: Math.min(...timings.map((timing) => of(timing).shortest)),
    median: Math.min(...timings.map((timing) => of(timing).median)),
  });
  return {
    barrier: least((timing) => timing.barrier),
    reduce: timings[0]!.reduce.map((_, i) => least((timing) => timing.reduce[i]!)),
    step: least((timing) => timing.step),
    alone: least((timing) => timing.alone),
    across: SHARDS.map((_, i) => least((timing) => timing.across[i]!)),
    gradients: least((timing) => timing.gradients),
    gradientBytes: timings[0]!.gradientBytes,
  };
}

const print = (line = ''): void => void process.stdout.write(`${line}\n`);
const ms = (s: number): string => `${(1000 * s).toFixed(2)} ms`;
const us = (s: number): string => `${(1e6 * s).toFixed(0)} µs`;
const percent = (share: number): string => `${(100 * share).toFixed(0)} %`;

function report(): void {
  // In turns, so that other work on the machine slows both.
  const timings = Array.from({ length: rounds }, () => [run(2, 1), run(1, 2), run(1, 1)] as const);
  const [two, threads, one] = [0, 1, 2].map((i) => best(timings.map((round) => round[i]!))) as [Timing, Timing, Timing];
  print(`${options.net}, ${batch} images in a step, ${two.gradientBytes / 1e6} MB of gradients; the least of ${rounds} rounds\n`);
  print('| all-reduce on 2 ranks | shortest | median | bytes / shortest |\n|---|---|---|---|');
  two.reduce.forEach(({ shortest, median }, i) =>
    print(`| ${SIZES[i]} B | ${us(shortest)} | ${us(median)} | ${(SIZES[i]! / shortest / 1e9).toFixed(2)} GB/s |`),
  );
  print('\n| training step | shortest | median |\n|---|---|---|');
  const row = (name: string, { shortest, median }: Times): void => print(`| ${name} | ${ms(shortest)} | ${ms(median)} |`);
  row('1 rank × 1 thread', one.step);
  row('1 rank × 2 threads', threads.step);
  row('2 ranks × 1 thread', two.step);
  row('2 ranks × 1 thread, without sums over ranks', two.alone);
  SHARDS.forEach((shards, i) => row(`2 ranks × 1 thread, 'across-sizes' with ${shards} shards`, two.across[i]!));
  const efficiency = (of: keyof Times): string => (threads.step[of] / two.step[of]).toFixed(2);
  const visible = Math.max(0, two.step.median - two.alone.median);
  const hidden = Math.min(1, Math.max(0, 1 - visible / two.gradients.median));
  print(
    `\nefficiency of 2 ranks × 1 thread against 1 rank × 2 threads: ${efficiency('shortest')} (shortest), ${efficiency('median')} (median)`,
  );
  print(
    `sums over ranks alone ${ms(two.gradients.median)}, visible in a step ${ms(visible)}, waits for the slower rank included (medians)`,
  );
  const isTold = two.gradients.median > LEAST_SHARE * two.alone.median;
  print(
    isTold
      ? `${percent(hidden)} of the sums are hidden behind backward`
      : 'the sums are too small a part of a step to tell how much of them is hidden',
  );
  predict(two, isTold ? hidden : 0);
}

/**
 * The α–β model: a transfer of m bytes between two ranks takes α + m·β. An all-reduce of m bytes on n ranks consists of the comparison of
 * calls (⌈log₂ n⌉ transfers), an all-to-all (n − 1 transfers of m/n bytes) and an all-gather (⌈log₂ n⌉ transfers, m·(n − 1)/n bytes in all).
 */
function predict(timing: Timing, hidden: number): void {
  const { reduce, gradientBytes } = timing;
  const alone = timing.alone.median;
  // The barrier is one transfer. The slope between the two largest sizes is β, the time of the additions included.
  const alpha = timing.barrier.shortest;
  const beta = (reduce.at(-1)!.shortest - reduce.at(-2)!.shortest) / (SIZES.at(-1)! - SIZES.at(-2)!);
  print(`\nmodel: α = ${us(alpha)}, β = ${(1e9 * beta).toFixed(3)} ns/B (${(1 / beta / 1e9).toFixed(2)} GB/s), from the times above.`);
  print(
    'Assumptions: all links are as that between the two ranks, transfers do not hinder each other, each rank has as many images as here,',
  );
  print(
    `and the same share of the sums (${percent(hidden)}) is hidden as long as they take no longer than backward, two thirds of a step.\n`,
  );
  print('| ranks | all-reduce of the gradients | step | efficiency | with nothing hidden |\n|---|---|---|---|---|');
  for (const n of PREDICTED) {
    const rounds = Math.ceil(Math.log2(n));
    const time = alpha * (2 * rounds + n - 1) + 2 * beta * gradientBytes * (1 - 1 / n);
    const step = alone + Math.max(time - hidden * time, time - (2 / 3) * alone);
    print(`| ${n} | ${ms(time)} | ${ms(step)} | ${percent(alone / step)} | ${percent(alone / (alone + time))} |`);
  }
}

if (options.rank) measure();
else report();

/**
 * npx tsx bench/distributed.ts [--net resnet-20|tiny] [--batch 64] [--seconds per case] [--rounds 3]
 *
 * Times all-reduces on 2 ranks of this machine, and training steps on 2 ranks × 1 thread beside 1 rank × 2 threads. From the latency and
 * bandwidth measured it predicts how steps scale to more ranks. Needs mpiexec of MPICH and two processors that nothing else uses.
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
    rank: { type: 'boolean', default: false },
  },
});
const batch = Number(options.batch);
const seconds = Number(options.seconds);
const rounds = Number(options.rounds);

/** Bytes of the all-reduces that are timed. */
const SIZES = [4, 4096, 65_536, 2 ** 18, 2 ** 20, 2 ** 22, 2 ** 24];
/** Numbers of ranks that the model predicts. */
const PREDICTED = [2, 8, 64, 1024];
const LEAST_RUNS = 5;

/** Seconds, each the shortest of its runs. */
interface Timing {
  readonly barrier: number;
  /** An all-reduce of each of SIZES; empty for one rank. */
  readonly reduce: readonly number[];
  /** A training step, and one without the sums over ranks. */
  readonly step: number;
  readonly alone: number;
  /** All-reduces of as many bytes as there are gradients, one after the other as in a step. */
  readonly gradients: number;
  readonly gradientBytes: number;
}

/** Returns the shortest time of `fn`. The ranks agree on the number of runs. */
function shortest(group: Group, fn: () => void): number {
  let best = Infinity;
  const end = performance.now() + 1000 * seconds;
  for (let run = 0; run < LEAST_RUNS || group.any(performance.now() < end); run++) {
    group.barrier();
    const start = performance.now();
    fn();
    best = Math.min(best, (performance.now() - start) / 1000);
  }
  return best;
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
  const step = (sync: boolean) => (): void => {
    sgd.zeroGrad();
    parallel.backward(data, (x, y) => F.crossEntropy(net.forward(x), y), { sync });
    if (sync) sgd.step();
  };
  const update = (): void => sgd.step();
  step(true)();
  const whole = shortest(group, step(true));
  const gradientBytes = 4 * net.parameters().reduce((sum, p) => sum + p.numel, 0);
  const t = zeros([gradientBytes / 4]).keep();
  const timing: Timing = {
    barrier: shortest(group, () => group.barrier()),
    reduce: group.size === 1 ? [] : SIZES.map((bytes) => timeReduce(group, bytes)),
    step: whole,
    gradients: shortest(group, () => group.allReduce(t)),
    gradientBytes,
    alone: shortest(group, step(false)) + shortest(group, update),
  };
  if (group.rank === 0) process.stdout.write(`${JSON.stringify(timing)}\n`);
}

function timeReduce(group: Group, bytes: number): number {
  const t = zeros([bytes / 4]).keep();
  const best = shortest(group, () => group.allReduce(t));
  t.dispose();
  return best;
}

function run(ranks: number, threads: number): Timing {
  const program = [process.execPath, '--import', 'tsx', fileURLToPath(import.meta.url), '--rank', ...process.argv.slice(2)];
  const [file, ...args] = ranks === 1 ? program : ['mpiexec', '-n', String(ranks), ...program];
  const env = { ...process.env, CHAINRULE_THREADS: String(threads) };
  const { status, stdout, error } = spawnSync(file!, args, { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] });
  if (status !== 0) throw new Error(`${file} ended with ${status ?? error?.message}`);
  return JSON.parse(stdout) as Timing;
}

/** The shortest of each time. */
function best(timings: readonly Timing[]): Timing {
  const least = (of: (timing: Timing) => number): number => Math.min(...timings.map(of));
  return {
    barrier: least((timing) => timing.barrier),
    reduce: timings[0]!.reduce.map((_, i) => least((timing) => timing.reduce[i]!)),
    step: least((timing) => timing.step),
    gradients: least((timing) => timing.gradients),
    gradientBytes: timings[0]!.gradientBytes,
    alone: least((timing) => timing.alone),
  };
}

const print = (line = ''): void => void process.stdout.write(`${line}\n`);
const ms = (s: number): string => `${(1000 * s).toFixed(2)} ms`;
const percent = (share: number): string => `${(100 * share).toFixed(0)} %`;

function report(): void {
  // In turns, so that other work on the machine slows both.
  const timings = Array.from({ length: rounds }, () => [run(2, 1), run(1, 2), run(1, 1)] as const);
  const [two, threads, one] = [0, 1, 2].map((i) => best(timings.map((round) => round[i]!))) as [Timing, Timing, Timing];
  print(`${options.net}, ${batch} images in a step, ${two.gradientBytes / 1e6} MB of gradients; shortest times of ${rounds} rounds\n`);
  print('| all-reduce on 2 ranks | time | bytes / time |\n|---|---|---|');
  two.reduce.forEach((time, i) => print(`| ${SIZES[i]} B | ${(1e6 * time).toFixed(0)} µs | ${(SIZES[i]! / time / 1e9).toFixed(2)} GB/s |`));
  print('\n| training step | time |\n|---|---|');
  print(`| 1 rank × 1 thread | ${ms(one.step)} |\n| 1 rank × 2 threads | ${ms(threads.step)} |\n| 2 ranks × 1 thread | ${ms(two.step)} |`);
  print(`| 2 ranks × 1 thread, without sums over ranks | ${ms(two.alone)} |`);
  const visible = Math.max(0, two.step - two.alone);
  const hidden = Math.min(1, Math.max(0, 1 - visible / two.gradients));
  print(`\nefficiency of 2 ranks × 1 thread against 1 rank × 2 threads: ${(threads.step / two.step).toFixed(2)}`);
  print(`sums over ranks alone ${ms(two.gradients)}, visible in a step ${ms(visible)}: ${percent(hidden)} hidden behind backward`);
  predict(two, hidden);
}

/**
 * The α–β model: a transfer of m bytes between two ranks takes α + m·β. An all-reduce of m bytes on n ranks consists of the comparison of
 * calls (⌈log₂ n⌉ transfers), an all-to-all (n − 1 transfers of m/n bytes) and an all-gather (⌈log₂ n⌉ transfers, m·(n − 1)/n bytes in all).
 */
function predict({ barrier, reduce, alone, gradientBytes }: Timing, hidden: number): void {
  // The barrier is one transfer. The slope between the two largest sizes is β, the time of the additions included.
  const alpha = barrier;
  const beta = (reduce.at(-1)! - reduce.at(-2)!) / (SIZES.at(-1)! - SIZES.at(-2)!);
  print(
    `\nmodel: α = ${(1e6 * alpha).toFixed(0)} µs, β = ${(1e9 * beta).toFixed(3)} ns/B (${(1 / beta / 1e9).toFixed(2)} GB/s), from the times above.`,
  );
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

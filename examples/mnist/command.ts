/**
 * The command, from its arguments to its exit code.
 */
import { AnomalyError, ChainruleError, getNumThreads, getTurbo, OutOfMemoryError } from 'chainrule';
import { report } from '../cifar-like/errors.ts';
import { checkNpm } from '../cifar-like/options.ts';
import { FASHION, type Images, loadImages, MNIST, type Source } from './data.ts';
import { HELP, OPTION_NAMES, type Options, parseOptions } from './options.ts';
import { countRight, STEPS, train, type TrainOptions } from './train.ts';

/** The share of the test images that each seed should reach. */
const GOAL = 0.99;

/** Steps of a training on Fashion-MNIST, which is harder: five epochs. */
const FASHION_STEPS = 2340;

/** Runs the command and returns its exit code: 0 finished, 1 below the goal or cannot run, 2 wrong options. */
export async function main(args: readonly string[]): Promise<number> {
  try {
    checkNpm('mnist', OPTION_NAMES);
    const options = parseOptions(args);
    if (options.help) {
      console.log(HELP);
      return 0;
    }
    const source = options.fashion ? FASHION : MNIST;
    const images = loadImages(source, options.data);
    console.log(`${platform()}\n${described(source, images)}\n`);
    return options.fashion ? compare(images, options) : race(images, options);
  } catch (error) {
    return report(error, { ChainruleError, reports: [AnomalyError, OutOfMemoryError] });
  }
}

function platform(): string {
  const { vectorBits, fusedMultiplyAdd } = getTurbo();
  const kernels = vectorBits === null ? 'reference kernels' : `kernels of ${vectorBits} bits`;
  const fused = fusedMultiplyAdd ? ' with fused multiply-adds' : '';
  return `chainrule on Node ${process.versions.node}, ${kernels}${fused}, threads: ${getNumThreads()}`;
}

function described({ title }: Source, { train: training, test, isPublished }: Images): string {
  const files = isPublished ? 'files as published (SHA-256)' : 'other files than the published ones';
  return `${title}: ${training.length} training images, ${test.length} test images, ${files}`;
}

interface Result {
  /** Share of the test images. */
  readonly accuracy: number;
  /** Time of the training, without reading the images and without the test. */
  readonly seconds: number;
}

function run({ train: training, test }: Images, options: TrainOptions): Result {
  const start = performance.now();
  const model = train(training, options);
  const seconds = (performance.now() - start) / 1000;
  const accuracy = countRight(model, test) / test.length;
  model.dispose();
  return { accuracy, seconds };
}

/** MNIST: one training for each seed. */
function race(images: Images, { seeds, steps }: Options): number {
  console.log('seed  accuracy  seconds');
  const results = seeds.map((seed) => {
    const result = run(images, { seed, steps: steps ?? STEPS });
    console.log(`${String(seed).padStart(4)}${columns(result)}`);
    return result;
  });
  const reached = results.filter(({ accuracy }) => accuracy >= GOAL).length;
  const seconds = results.map((r) => r.seconds).sort((a, b) => a - b);
  const accuracies = results.map((r) => r.accuracy);
  console.log(`
${reached} of ${seeds.length} seeds reach ${percent(GOAL, 0)}
accuracy: mean ${percent(mean(accuracies))}, lowest ${percent(Math.min(...accuracies))}
seconds of training: median ${median(seconds).toFixed(2)}, slowest ${seconds.at(-1)!.toFixed(2)}`);
  // Another number of steps, or other images, have no goal.
  const hasGoal = steps === null && images.isPublished;
  return hasGoal && reached < seeds.length ? 1 : 0;
}

/** Fashion-MNIST: two trainings for each seed, without and with squeeze-and-excitation. */
function compare(images: Images, { seeds, steps }: Options): number {
  console.log('           without SE            with SE\nseed  accuracy  seconds  accuracy  seconds');
  const pairs = seeds.map((seed) => {
    const [without, withSE] = [false, true].map((se) => run(images, { seed, se, steps: steps ?? FASHION_STEPS })) as [Result, Result];
    console.log(`${String(seed).padStart(4)}${columns(without)}${columns(withSE)}`);
    return [without.accuracy, withSE.accuracy] as const;
  });
  const differences = pairs.map(([without, withSE]) => 100 * (withSE - without));
  console.log(`
accuracy: mean ${percent(mean(pairs.map((p) => p[0])))} without SE, ${percent(mean(pairs.map((p) => p[1])))} with SE
with SE minus without: ${spread(differences)} points`);
  return 0;
}

function columns({ accuracy, seconds }: Result): string {
  return `${percent(accuracy).padStart(10)}${seconds.toFixed(2).padStart(9)}`;
}

function percent(share: number, digits = 2): string {
  return `${(100 * share).toFixed(digits)} %`;
}

function mean(values: readonly number[]): number {
  return values.reduce((a, b) => a + b, 0) / values.length;
}

/** The median of sorted numbers. */
function median(sorted: readonly number[]): number {
  const half = sorted.length / 2;
  return mean(sorted.slice(Math.ceil(half) - 1, Math.floor(half) + 1));
}

/** `+0.12 ± 0.05`: the mean, and its standard error where there are several numbers. */
function spread(values: readonly number[]): string {
  const centre = mean(values);
  const text = `${centre < 0 ? '−' : '+'}${Math.abs(centre).toFixed(2)}`;
  if (values.length < 2) return text;
  const variance = values.reduce((sum, v) => sum + (v - centre) ** 2, 0) / (values.length - 1);
  return `${text} ± ${Math.sqrt(variance / values.length).toFixed(2)} (standard error)`;
}

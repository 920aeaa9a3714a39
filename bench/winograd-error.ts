/**
 * npx tsx bench/winograd-error.ts
 *
 * Prints two tables of docs/numerics.md. The first has the rounding errors of Winograd's and of direct convolution in float32, for the
 * layers of the tiny SE-CNN and of SE-ResNet-20 that use Winograd. The second has the loss of the tiny SE-CNN trained with either, from
 * the same weights and on the same batches.
 */
import { grad, manualSeed, randn, scope, setConvAlgorithm, type ConvAlgorithm, type Tensor } from 'chainrule';
import { DataLoader, syntheticCifar } from 'chainrule/data';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import * as optim from 'chainrule/optim';
import { TinyCnn } from '../examples/cifar-like/model.ts';

const BATCH = 64;
/** Name, input channels, output channels, height and width of the image. */
const LAYERS = [
  ['tiny SE-CNN, block 2', 16, 32, 16],
  ['tiny SE-CNN, block 3', 32, 64, 8],
  ['SE-ResNet-20, stage 1', 16, 16, 32],
  ['SE-ResNet-20, stage 2', 32, 32, 16],
  ['SE-ResNet-20, stage 3', 64, 64, 8],
] as const;
const DIRECTIONS = ['forward', 'input gradient', 'weight gradient'] as const;

/** Returns output, input gradient and weight gradient of a convolution. */
function results(algorithm: ConvAlgorithm, x: Tensor, w: Tensor, g: Tensor): Float64Array[] {
  setConvAlgorithm(algorithm);
  return scope(() => {
    const [a, b] = [x.detach().requiresGrad_(), w.detach().requiresGrad_()];
    const y = F.conv2d(a, b, null, { padding: 1 });
    const gradients = grad(y, [a, b], { gradOutputs: g });
    return [y, ...gradients].map((t) => Float64Array.from(t.data()));
  });
}

const rms = (values: Float64Array): number => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0) / values.length);
const largest = (values: Float64Array): number => values.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
const print = (text: string): boolean => process.stdout.write(`${text}\n`);
const exponential = (n: number): string => n.toExponential(1);

function errorTable(): void {
  print(
    '| layer | direction | RMS, direct | RMS, tiles | ratio | largest, direct | largest, tiles | ratio |\n|---|---|---|---|---|---|---|---|',
  );
  for (const [name, C, O, side] of LAYERS) {
    manualSeed(1);
    // As in a net: images after a ReLU, and weights of Kaiming's initialisation.
    const x = randn([BATCH, C, side, side]).relu();
    const w = randn([O, C, 3, 3]).mul(Math.sqrt(2 / (9 * C)));
    const g = randn([BATCH, O, side, side]);
    const exact = results('direct', x.to('float64'), w.to('float64'), g.to('float64'));
    const direct = results('direct', x, w, g);
    const winograd = results('auto', x, w, g);
    DIRECTIONS.forEach((direction, i) => {
      const want = exact[i]!;
      const errorsOf = (found: Float64Array): Float64Array => found.map((v, j) => v - want[j]!);
      const directErrors = errorsOf(direct[i]!);
      const winogradErrors = errorsOf(winograd[i]!);
      const row = [rms, largest].flatMap((norm) => {
        const ofDirect = norm(directErrors) / norm(want);
        const ofWinograd = norm(winogradErrors) / norm(want);
        return [exponential(ofDirect), exponential(ofWinograd), (ofWinograd / ofDirect).toFixed(1)];
      });
      print(`| ${[`${name} (${C}→${O}, ${side}²)`, direction, ...row].join(' | ')} |`);
    });
    for (const t of [x, w, g]) t.dispose();
  }
}

const STEPS = 300;
const SEEDS = [1, 2, 3];

/** Trains the tiny SE-CNN for STEPS steps and returns the loss of each. */
function lossCurve(algorithm: ConvAlgorithm, seed: number): number[] {
  setConvAlgorithm(algorithm);
  manualSeed(seed);
  const net = new TinyCnn({ inChannels: 3, attention: (channels) => new nn.SqueezeExcite(channels, { reduction: 4 }) });
  const sgd = new optim.SGD(net.parameters(), { lr: 0.05, momentum: 0.9, nesterov: true });
  const losses: number[] = [];
  for (const [x, y] of new DataLoader(syntheticCifar({ seed, length: STEPS * BATCH }), { batchSize: BATCH })) {
    const loss = F.crossEntropy(net.forward(x.sub(0.5).div(0.25)), y);
    sgd.zeroGrad();
    loss.backward();
    sgd.step();
    losses.push(loss.item());
  }
  for (const t of [sgd, net]) t.dispose();
  return losses;
}

function curveTable(): void {
  print(`\n| mean loss of steps | ${SEEDS.map((s) => `direct, seed ${s} | tiles`).join(' | ')} |\n|---|${'---|'.repeat(2 * SEEDS.length)}`);
  const curves = SEEDS.flatMap((seed) => [lossCurve('direct', seed), lossCurve('auto', seed)]);
  const mean = (values: number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
  for (const [from, to] of [
    [0, 1],
    [1, 10],
    [10, 50],
    [50, 100],
    [100, 200],
    [200, 300],
  ] as const) {
    const columns = curves.map((c) => mean(c.slice(from, to)).toFixed(5));
    print(`| ${from + 1}${to > from + 1 ? `–${to}` : ''} | ${columns.join(' | ')} |`);
  }
}

errorTable();
curveTable();

/**
 * The study behind the table in README.md: five seeds of each net, on the task and on its control.
 *
 *   npx tsx examples/cifar-like/study.ts              runs all unfinished cells, prints the table
 *   npx tsx examples/cifar-like/study.ts plain/0      runs only the cells whose names begin with plain/0
 *
 * A cell is one net with one seed. The result of a finished cell is stored in runs/study/, and the cell is not run again.
 */
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { manualSeed } from 'chainrule';
import { writeFileAtomic } from 'chainrule/io';
import * as nn from 'chainrule/nn';
import { type Cell, meanAndDeviation, measure } from './measure.ts';
import { makeModel, type Net, TinyCnn } from './model.ts';
import { defaultSettings, type Settings } from './options.ts';
import { count } from './table.ts';

interface Variant {
  readonly name: string;
  readonly title: string;
  readonly context: Settings['context'];
  /** Makes the net with the weights that `seed` determines. */
  readonly make: (seed: number) => Net;
}

const SEEDS = [0, 1, 2, 3, 4];
const FOLDER = 'runs/study';

const plain = (seed: number) => makeModel({ ...defaultSettings(), seed }, false, 3);
const se = (seed: number) => makeModel({ ...defaultSettings(), seed }, true, 3);

const VARIANTS: readonly Variant[] = [
  { name: 'linear', title: 'linear classifier', context: 'distant', make: linear },
  { name: 'plain', title: 'plain CNN', context: 'distant', make: plain },
  { name: 'wider', title: 'plain CNN, as many parameters as SE', context: 'distant', make: wider },
  { name: 'se', title: 'SE-CNN (r = 4)', context: 'distant', make: se },
  { name: 'resnet20', title: 'ResNet-20', context: 'distant', make: (seed) => residual(seed, false) },
  { name: 'resnet20-se', title: 'SE-ResNet-20 (r = 4)', context: 'distant', make: (seed) => residual(seed, true) },
  { name: 'control-plain', title: 'control: plain CNN', context: 'none', make: plain },
  { name: 'control-se', title: 'control: SE-CNN (r = 4)', context: 'none', make: se },
];

function residual(seed: number, withSE: boolean): Net {
  return makeModel({ ...defaultSettings(), model: 'resnet20', seed }, withSE, 3);
}

function linear(seed: number): Net {
  manualSeed(seed);
  return new nn.Sequential(new nn.Flatten(), new nn.Linear(3 * 32 * 32, 10));
}

/** A plain CNN of 27,079 parameters; the SE-CNN has 27,034. */
function wider(seed: number): Net {
  manualSeed(seed);
  return new TinyCnn({ inChannels: 3, attention: null, widths: [17, 34, 67] });
}

function fileOf(variant: Variant, seed: number): string {
  return `${FOLDER}/${variant.name}-seed${seed}.json`;
}

/** Returns a Markdown table: test accuracy of every variant, mean ± standard deviation over the finished seeds. */
function table(): string {
  const rows = VARIANTS.flatMap((variant) => {
    const files = SEEDS.map((seed) => fileOf(variant, seed)).filter((file) => existsSync(file));
    const cells = files.map((file) => JSON.parse(readFileSync(file, 'utf8')) as Cell);
    if (cells.length === 0) return [];
    const accuracies = cells.map((c) => 100 * c.testAccuracy);
    const each = accuracies.map((a) => a.toFixed(1)).join(', ');
    return [`| ${variant.title} | ${count(cells[0]!.parameters)} | ${meanAndDeviation(accuracies)} | ${each} |`];
  });
  return ['| net | parameters | test accuracy, % | seeds 0 … 4 |', '|---|---:|---:|---|', ...rows].join('\n');
}

mkdirSync(FOLDER, { recursive: true });
const prefixes = process.argv.slice(2);
for (const seed of SEEDS) {
  for (const variant of VARIANTS) {
    const name = `${variant.name}/${seed}`;
    const isSelected = prefixes.length === 0 || prefixes.some((prefix) => name.startsWith(prefix));
    if (!isSelected || existsSync(fileOf(variant, seed))) continue;
    const start = performance.now();
    const settings: Settings = { ...defaultSettings(), context: variant.context, seed, dataSeed: seed };
    const cell = (await measure(settings, () => variant.make(seed)))!;
    writeFileAtomic(fileOf(variant, seed), new TextEncoder().encode(`${JSON.stringify(cell)}\n`));
    console.log(`${name}: ${(100 * cell.testAccuracy).toFixed(2)} % in ${((performance.now() - start) / 1000).toFixed(0)} s`);
  }
}
console.log(`\n${table()}`);

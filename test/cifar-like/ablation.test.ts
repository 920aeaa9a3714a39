import { appendFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { memory } from 'chainrule';
import { describe, expect, test } from 'vitest';
import { planOf } from '../../examples/cifar-like/ablation/plan.ts';
import { ablate } from '../../examples/cifar-like/ablation/run.ts';
import { meanAndDeviation } from '../../examples/cifar-like/measure.ts';
import { captured, onReference, type Output, temporaryFolder } from './support.ts';

// The ablation on a small scale: a few steps of the tiny net.

const SMALL = ['--train-images', '16', '--test-images', '16', '--batch-size', '8', '--max-steps', '1'];
const TINY = ['--model', 'tiny', ...SMALL];

const run = (...args: string[]): Promise<Output> => captured(() => ablate(args));

interface Line {
  readonly cell: string;
  readonly outcome: { testAccuracy?: number; parameters?: number; steps?: number; divergedAt?: number };
}

const linesOf = (dir: string): Line[] =>
  readFileSync(join(dir, 'results.jsonl'), 'utf8')
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Line);

describe('the plan', () => {
  const labels = (...args: string[]): string[] => planOf(args)!.variants.map((v) => `${v.group}: ${v.label}`);

  test('by default varies one factor at a time around the standard, and adds the net without SE', () => {
    expect(labels()).toEqual([
      'no attention: without SE',
      ...['standard', 'pre', 'post', 'identity', 'conv3x3'].map((p) => `placement: ${p}`),
      ...['2', '4 (standard)', '8', '16'].map((r) => `reduction: ${r}`),
      ...['avg (standard)', 'max', 'avg+max'].map((s) => `squeeze: ${s}`),
      ...['sigmoid (standard)', 'hardsigmoid', 'tanh', 'relu'].map((g) => `gate: ${g}`),
    ]);
    const { dir, seeds, variants } = planOf([])!;
    expect([dir, seeds]).toEqual(['runs/ablation', [0, 1, 2]]);
    expect(variants[0]!.settings).toMatchObject({ model: 'resnet20', maxSteps: 300, placement: 'standard', reduction: 4 });
    expect(variants[2]!.settings).toMatchObject({ placement: 'pre', reduction: 4, squeeze: 'avg', gate: 'sigmoid' });
  });

  test('combines some factors in every way; the other options apply to all nets', () => {
    const args = ['--factors=gate,placement', '--full', '--seeds', '5,7', '--out', 'x', '--epochs', '2', '--reduction', '8'];
    const { dir, seeds, variants, threads } = planOf([...args, '--threads', '3'])!;
    expect([dir, seeds, variants.length, threads]).toEqual(['x', [5, 7], 1 + 5 * 4, 3]);
    expect(variants[20]!.label).toBe('conv3x3 · relu');
    expect(variants[20]!.settings).toMatchObject({ placement: 'conv3x3', gate: 'relu', reduction: 8, epochs: 2, maxSteps: null });
  });

  test('leaves placement out for the tiny net', () => {
    expect(labels('--model', 'tiny').some((l) => l.startsWith('placement'))).toBe(false);
  });
});

test('mean and standard deviation are those of the given seeds', () => {
  expect(meanAndDeviation([1, 2, 6])).toBe('3.0 ± 2.6');
  expect(meanAndDeviation([4])).toBe('4.0 (one seed)');
});

describe.skipIf(onReference)('a run', () => {
  const folder = temporaryFolder();
  const dir = join(folder, 'whole');
  const command = ['--out', dir, ...TINY, '--factors', 'reduction,squeeze', '--seeds', '0,1'];

  test('trains every cell once, and writes lines, table and chart', async () => {
    const before = memory().bytes;
    const { code, stdout, stderr } = await run(...command);
    expect([code, stderr]).toEqual([0, '']);
    expect(memory().bytes).toBe(before);
    expect(readdirSync(dir).sort()).toEqual(['ablation.md', 'ablation.svg', 'results.jsonl']);
    // The standard net occurs in both factors, but is trained once.
    const lines = linesOf(dir);
    expect(lines.length).toBe(2 * (1 + 4 + 3 - 1));
    expect(new Set(lines.map((l) => l.cell)).size).toBe(lines.length);
    for (const { outcome } of lines) expect(outcome.steps).toBe(1);
    expect(stdout).toMatch(/^1\/16 {2}no attention: without SE, seed 0: [\d.]+ % in 0:\d\d\n/);
    const table = readFileSync(join(dir, 'ablation.md'), 'utf8');
    expect(stdout).toContain(table);
    expect(table).toMatch(/^\| factor \| value \| parameters \| test accuracy, % \| seeds 0, 1 \|\n\|---\|---\|---:\|---:\|---\|\n/);
    expect(table).toMatch(/^\| no attention \| without SE \| 24,346 \| [\d.]+ ± [\d.]+ \| [\d.]+, [\d.]+ \|$/m);
    expect(table).toMatch(/^\| reduction \| 4 \(standard\) \| 27,034 \|/m);
    expect(table).toMatch(/^\| squeeze \| avg\+max \| 27,034 \|/m);
    const svg = readFileSync(join(dir, 'ablation.svg'), 'utf8');
    expect(svg.match(/class="mean"/g)?.length).toBe(8);
    expect(svg.match(/class="seed"/g)?.length).toBe(16);
    expect(svg).toContain('>SE-CNN on synthetic, 1 step<');
    expect(svg).not.toMatch(/NaN|undefined|null/);
  });

  test('killed while it wrote a line, resumes with that cell and repeats no other', async () => {
    const file = join(dir, 'results.jsonl');
    const text = readFileSync(file, 'utf8');
    const table = readFileSync(join(dir, 'ablation.md'), 'utf8');
    // Five complete lines, and the beginning of the sixth.
    const kept = text.split('\n').slice(0, 5);
    writeFileSync(file, `${kept.join('\n')}\n${text.split('\n')[5]!.slice(0, 40)}`);
    const { code, stdout } = await run(...command);
    expect(code).toBe(0);
    expect(stdout.match(/^\d+\/16 /gm)?.length).toBe(14 - 5);
    expect(readFileSync(file, 'utf8').startsWith(`${kept.join('\n')}\n`)).toBe(true);
    expect(readFileSync(file, 'utf8')).toBe(text);
    expect(readFileSync(join(dir, 'ablation.md'), 'utf8')).toBe(table);
    expect((await run(...command)).stdout).not.toMatch(/^\d+\/16 /m);
  });

  test('with other settings adds other cells to the same folder, and does not mix them', async () => {
    const before = linesOf(dir).length;
    const other = [...command.slice(0, 2), ...TINY, '--lr', '0.2', '--factors', 'squeeze', '--seeds', '0'];
    expect((await run(...other)).code).toBe(0);
    expect(linesOf(dir).length).toBe(before + 4);
    expect(readFileSync(join(dir, 'ablation.md'), 'utf8')).toMatch(/\(one seed\)/);
  });

  test('of placements trains residual nets; mean and deviation are those of the cells', async () => {
    const at = join(folder, 'residual');
    expect((await run('--out', at, ...SMALL, '--factors', 'placement', '--seeds', '0,1')).code).toBe(0);
    const lines = linesOf(at);
    expect(lines.length).toBe(2 * 6);
    const row = readFileSync(join(at, 'ablation.md'), 'utf8')
      .split('\n')
      .find((l) => l.includes('| pre |'))!; // prettier-ignore
    const [a, b] = lines.filter((l) => l.cell.includes('placement=pre')).map((l) => 100 * l.outcome.testAccuracy!) as [number, number];
    const deviation = Math.abs(a - b) / Math.SQRT2;
    expect(row).toBe(
      `| placement | pre | 278,618 | ${((a + b) / 2).toFixed(1)} ± ${deviation.toFixed(1)} | ${a.toFixed(1)}, ${b.toFixed(1)} |`,
    );
  });

  test('records a net that diverges as a result', async () => {
    const at = join(folder, 'diverging');
    const { code } = await run('--out', at, ...TINY.slice(0, -1), '9', '--lr', '1e30', '--factors', 'reduction', '--seeds', '0');
    expect(code).toBe(0);
    expect(linesOf(at).map((l) => l.outcome)).toEqual(Array.from({ length: 5 }, () => ({ divergedAt: 2 })));
    expect(readFileSync(join(at, 'ablation.md'), 'utf8')).toContain('| reduction | 8 | – | 1 diverged | diverged at step 2 |');
    expect(existsSync(join(at, 'ablation.svg'))).toBe(false);
  });

  test('names a damaged line', async () => {
    const at = join(folder, 'damaged');
    expect((await run('--out', at, ...TINY, '--factors', 'squeeze', '--seeds', '0')).code).toBe(0);
    appendFileSync(join(at, 'results.jsonl'), 'squeeze\n');
    expect(await run('--out', at, ...TINY, '--factors', 'squeeze', '--seeds', '0')).toEqual({
      code: 1,
      stdout: '',
      stderr: `error: ${join(at, 'results.jsonl')}: line 5: expected a cell and its outcome, got 'squeeze'; take the line out to run that cell again\n`,
    });
  });
});

describe('errors', () => {
  const single = (option: string, what: string) => `${option}: expected an option of the ablation, got one of a single run; ${what}`;
  test.each([
    [
      ['--factors', 'speed'],
      "--factors: expected some of placement, reduction, squeeze, gate, with commas between, got 'speed'; for example --factors placement,gate",
    ],
    [
      ['--model', 'tiny', '--factors', 'placement'],
      '--factors: expected --model resnet20, resnet32 or resnet56 beside placement, got --model tiny, which has no residual blocks; ' +
        'leave placement out',
    ],
    [['--seeds', '1,x'], "--seeds: expected whole numbers ≥ 0 with commas between, got '1,x'; for example --seeds 0,1,2"],
    [['--out'], '--out: expected a value, got nothing; --help says what it means'],
    [['--seeds', '--full'], "--seeds: expected a value, got '--full'; --help says what it means"],
    [['--seed', '1'], single('--seed', 'write --seeds 0,1,2')],
    [['--data-seed', '1'], single('--data-seed', 'each seed fixes the images too; write --seeds 0,1,2')],
    [['--no-se'], single('--no-se', 'the net without SE is a row of its own; leave it out')],
    [['--resume', 'x'], single('--resume', 'the same command goes on where it stopped; leave it out')],
    [['--detect-anomaly'], single('--detect-anomaly', 'find the NaN with npm start; leave it out')],
    [['--live'], single('--live', 'watch one run with npm start; leave it out')],
    [['--full=false'], "--full: expected no value, got 'false'; write --full alone"],
    [['--seeds', '0', '--seeds', '1'], '--seeds: expected one value, got 0 and 1; leave one out'],
    [['--out', 'a', '--out', 'b'], '--out: expected one value, got a and b; leave one out'],
    [
      ['--seeds', '0,9007199254740992'],
      "--seeds: expected whole numbers from 0 to 9007199254740991 with commas between, got '0,9007199254740992'; for example --seeds 0,1,2",
    ],
    [['--lr', 'fast'], "--lr: expected a number above 0, got 'fast'; for example --lr 0.1"],
  ])('%j', async (args, message) => {
    expect(await run(...args)).toEqual({ code: 2, stdout: '', stderr: `error: ${message}\n` });
  });

  test.each(['--help', '-h'])('%s lists the options of the ablation', async (help) => {
    const { code, stdout } = await run(help);
    expect(code).toBe(0);
    for (const option of ['--factors', '--full', '--seeds', '--out', '--help']) expect(stdout).toContain(`  ${option} `);
  });
});

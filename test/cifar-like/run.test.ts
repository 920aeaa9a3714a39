import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { equal } from 'node:assert/strict';
import { getNumThreads } from 'chainrule';
import type { Transform } from 'chainrule/data';
import { init } from 'chainrule/distributed';
import { loadSafetensors } from 'chainrule/io';
import { describe, expect, test } from 'vitest';
import { chooseData } from '../../examples/cifar-like/data.ts';
import { NOBODY, runExperiment } from '../../examples/cifar-like/experiment.ts';
import { makeModel, parameterCount } from '../../examples/cifar-like/model.ts';
import { defaultSettings, parseCommand } from '../../examples/cifar-like/options.ts';
import type { ChartData } from '../../examples/cifar-like/report/page.ts';
import { RunFolder } from '../../examples/cifar-like/run-folder.ts';
import { ended, metricsOf, onReference, run, start, temporaryFolder } from './support.ts';

// A whole run on a small scale, from the command line to the report.

const SMALL = ['--train-images', '64', '--test-images', '48', '--batch-size', '16', '--epochs', '3'];

describe.skipIf(onReference)('a run', () => {
  const folder = temporaryFolder();

  test('leaves settings, metrics, checkpoint, weights and report, and ends with the table', async () => {
    const dir = join(folder, 'whole');
    const { code, stdout, stderr } = await run('--out', dir, ...SMALL);
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/model +parameters +steps +time +test accuracy +images\/s/);
    expect(stdout).toMatch(/without SE +24,346 +12 /);
    expect(stdout).toMatch(/SE-CNN +27,034 +12 /);
    expect(stdout).toMatch(/SE gain: [+−±][\d.]+ points of test accuracy/);
    expect(readdirSync(dir).sort()).toEqual([
      'checkpoint.safetensors',
      'config.json',
      'metrics.jsonl',
      'plain.safetensors',
      'report.html',
      'se.safetensors',
    ]);
    for (const net of ['plain', 'se']) {
      const steps = metricsOf(dir).filter((m) => m.net === net && m.lr !== undefined);
      expect(steps.map((m) => m.step)).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
    }
    const again = await run('--resume', dir);
    expect(again.code).toBe(0);
    expect(again.stdout.split('\n').slice(1, 7)).toEqual(
      stdout
        .slice(stdout.indexOf('\n\nmodel') + 2)
        .split('\n')
        .slice(0, 6),
    );
  });

  test('the report needs no network', () => {
    const page = readFileSync(join(folder, 'whole', 'report.html'), 'utf8');
    expect(page).toContain('data:image/png;base64,');
    expect(page.match(/(?:src|href)=["']?(?!data:)[^"'\s>]+/g)).toBe(null);
    expect(page.match(/@import|url\(/g)).toBe(null);
  });

  test('a net trained alone on 3 threads is bitwise identical to the one trained beside the other', async () => {
    const dir = join(folder, 'alone');
    await run('--out', dir, '--se', '--threads', '3', ...SMALL);
    expect(getNumThreads()).toBe(3);
    equal(Buffer.compare(readFileSync(join(dir, 'se.safetensors')), readFileSync(join(folder, 'whole', 'se.safetensors'))), 0);
    expect(readdirSync(dir)).not.toContain('plain.safetensors');
  });

  test('Ctrl-C finishes the step, saves and prints how to resume; the resumed run ends bitwise identical', async () => {
    const dir = join(folder, 'stopped');
    const child = await start('--out', dir, ...SMALL);
    const end = ended(child);
    while (child.exitCode === null && metricsLines(dir) < 5) await new Promise((resolve) => setTimeout(resolve, 5));
    child.kill('SIGINT');
    const { code, stdout, stderr } = await end;
    expect([code, stderr]).toEqual([130, '']);
    expect(stdout).toContain(`Stopped and saved. Go on with: npm start -- --resume ${dir}\n`);
    expect((await run('--resume', dir)).code).toBe(0);
    for (const file of ['plain.safetensors', 'se.safetensors', 'metrics.jsonl']) {
      equal(Buffer.compare(readFileSync(join(dir, file)), readFileSync(join(folder, 'whole', file))), 0, file);
    }
  });

  // 12 steps of a net have interim evaluations of 48 images after steps 2, 4, 6, 8 and 10, and a test after step 12.
  test.each([
    ['in an interim evaluation', 48 + 20],
    ['before the first image of an evaluation', 2 * 48 + 1],
    ['in the last test', 5 * 48 + 30],
    ['in an evaluation of the second net', 8 * 48 + 17],
  ])('stopped %s and resumed ends bitwise identical', async (name, at) => {
    const dir = join(folder, name.replaceAll(' ', '-'));
    const command = parseCommand([...SMALL, '--out', dir]);
    if (command.kind !== 'new') throw new Error('the options start a run');
    const data = chooseData(command.settings);
    const controller = new AbortController();
    let images = 0;
    const testTransform: Transform = (...args) => {
      if (++images === at) controller.abort();
      return data.testTransform(...args);
    };
    const runFolder = RunFolder.create(dir, command.settings);
    const silent = { begin() {}, step() {}, note() {}, end() {} };
    expect(await runExperiment(runFolder, { ...data, testTransform }, silent, controller.signal, NOBODY, init())).toBe(null);
    runFolder.close();
    expect((await run('--resume', dir)).code).toBe(0);
    for (const file of ['plain.safetensors', 'se.safetensors', 'metrics.jsonl']) {
      equal(Buffer.compare(readFileSync(join(dir, file)), readFileSync(join(folder, 'whole', file))), 0, file);
    }
  });

  test('a residual net has SE at the given placement, and a chart for each of its gates', async () => {
    const dir = join(folder, 'residual');
    const options = ['--model', 'resnet20', '--placement', 'pre', '--squeeze', 'max', '--gate', 'tanh', '--train-images', '16'];
    const { code, stdout, stderr } = await run('--out', dir, ...options, '--test-images', '20', '--batch-size', '8', '--se');
    expect([code, stderr]).toEqual([0, '']);
    expect(stdout).toMatch(/SE-ResNet-20 +278,618 +2 /);
    const weights = loadSafetensors(join(dir, 'se.safetensors'));
    // Before a block, SE has as many channels as the block's input: 16 here, with 32 outputs. A gate adds C²/2 parameters, and the
    // net without SE has 272,474.
    expect(weights['layer2.0.se.fc.0.weight']!.shape).toEqual([4, 16]);
    for (const t of Object.values(weights)) t.dispose();
    const page = readFileSync(join(dir, 'report.html'), 'utf8');
    expect(page.match(/<div id="gate-\d">/g)?.length).toBe(9);
    const { range, blocks } = (JSON.parse(/id="data">(.*?)<\/script>/.exec(page)![1]!) as ChartData).gates;
    expect(range).toEqual([-1, 1]);
    const channels = blocks.map(({ means }) => [means.length, means[0]!.length, means[0]![10]!.length]);
    expect(channels).toEqual([16, 16, 16, 16, 32, 32, 32, 64, 64].map((c) => [2, 11, c]));
    expect(blocks.flatMap((b) => b.means.flat(2)).every((s) => s === null || (s > -1 && s < 1))).toBe(true);
    expect(blocks.flatMap((b) => b.deviations.flat(2)).every((s) => s === null || (s >= 0 && s < 1))).toBe(true);
    expect(blocks[0]!.block).toBe('stage 1, block 1');
    expect(page).toContain('--placement pre');
  });

  test('the weights are plain safetensors', () => {
    const weights = loadSafetensors(join(folder, 'whole', 'se.safetensors'));
    expect(weights['blocks.0.se.fc.0.weight']!.shape).toEqual([4, 16]);
    expect(weights['blocks.2.conv.weight']!.shape).toEqual([64, 32, 3, 3]);
    for (const t of Object.values(weights)) t.dispose();
  });
});

function metricsLines(dir: string): number {
  try {
    return metricsOf(dir).length;
  } catch {
    return 0;
  }
}

describe('the nets', () => {
  test('have as many parameters as they should', () => {
    expect(parameterCount(makeModel(defaultSettings(), true, 3))).toBe(27_034);
    expect(parameterCount(makeModel(defaultSettings(), false, 3))).toBe(24_346);
  });

  test('start from the same weights wherever they share a parameter', () => {
    const settings = { ...defaultSettings(), seed: 3 };
    const se = makeModel(settings, true, 3);
    const plain = makeModel(settings, false, 3);
    const full = new Map(se.namedParameters());
    for (const [name, p] of plain.namedParameters()) expect(Array.from(p.data())).toEqual(Array.from(full.get(name)!.data()));
    expect(full.size - plain.namedParameters().length).toBe(6);
  });
});

import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { html } from '../../examples/cifar-like/report/html.ts';
import { curvesOf } from '../../examples/cifar-like/report/curves.ts';
import { type ChartData, pageOf } from '../../examples/cifar-like/report/page.ts';
import { reportOf as reportContent, training } from '../../examples/cifar-like/report/report.ts';
import { RunFolder } from '../../examples/cifar-like/run-folder.ts';
import { chooseData } from '../../examples/cifar-like/data.ts';
import { LiveView } from '../../examples/cifar-like/live/view.ts';
import type { Metric } from '../../examples/cifar-like/metrics.ts';
import { CHROMIUM, type Look, openPage, overflowOf, startChromium, type WatchedPage } from '../support/chromium.ts';
import { ended, onReference, run, start, temporaryFolder } from './support.ts';

// The report and the live view in Chromium: nothing on the console, no request to another place, and what a reader does there.

const WIDE: Look = { width: 1280 };
const PHONE: Look = { width: 390, scheme: 'dark' };
const SMALL = ['--train-images', '64', '--test-images', '60', '--batch-size', '16', '--epochs', '3'];

describe.skipIf(CHROMIUM === undefined || onReference)('in Chromium', () => {
  const folder = temporaryFolder();
  let browser: Browser;

  beforeAll(async () => {
    browser = await startChromium();
  });
  afterAll(() => browser.close());

  /** Makes a report and returns its address. */
  async function reportOf(name: string, ...args: string[]): Promise<string> {
    expect(await run('--out', join(folder, name), ...args)).toMatchObject({ code: 0, stderr: '' });
    return pathToFileURL(join(folder, name, 'report.html')).href;
  }

  /** Opens a page, and closes it when the test of it is done. */
  async function visit(url: string, look: Look, check: (watched: WatchedPage) => Promise<void>): Promise<void> {
    const watched = await openPage(browser, url, look);
    try {
      await check(watched);
      // The live view itself ends the stream of events, after the last one.
      expect(watched.faults.filter((fault) => !/^failed: .*\/events: net::ERR_ABORTED$/.test(fault))).toEqual([]);
    } finally {
      await watched.context.close();
    }
  }

  const labelsOf = (page: Page): Promise<(string | null)[]> =>
    page.$$eval('canvas', (all) => all.map((c) => (c.getAttribute('role') === 'img' ? c.getAttribute('aria-label') : null)));

  describe('the report of a run', () => {
    let url: string;
    beforeAll(async () => {
      url = await reportOf('both', ...SMALL);
    });

    test.each([WIDE, PHONE])('fits a window of $width px, and says in words what each drawing shows', (look) =>
      visit(url, look, async ({ page }) => {
        expect(await overflowOf(page)).toBe(0);
        const labels = await labelsOf(page);
        // Three charts of the training; two heat maps and a chart for each of three gates.
        expect(labels.length).toBe(3 + 3 * 3);
        expect(labels.every((text) => text !== null && /\d/.test(text))).toBe(true);
        expect(labels[0]).toMatch(/^Loss, steps 1 to 12\. without SE, training mean: from \d\.\d{3} to \d\.\d{3}; without SE, test: from /);
        expect(labels.filter((text) => text!.startsWith('block 2, warm band: mean scales of 32 channels for 10 classes')).length).toBe(1);
        expect(await page.$$eval('svg.drawing', (all) => all.map((d) => d.getAttribute('aria-label')?.split(' ').length))).toHaveLength(4);
        expect(await page.locator('h1').textContent()).toMatch(/^Squeeze-and-excitation: [+−±][\d.]+ points after 12 of 3,125 steps$/);
      }),
    );

    test('legends have the last values until the pointer is over the chart', () =>
      visit(url, WIDE, async ({ page }) => {
        const legend = (): Promise<string[]> => page.locator('#loss .u-series').allTextContents();
        expect((await legend())[0]).toMatch(/^step\D*12$/);
        expect((await legend())[1]).toMatch(/^without SE, training mean\D*\d\.\d{3}$/);
        await page.locator('#loss').scrollIntoViewIfNeeded();
        const box = (await page.locator('#loss .u-over').boundingBox())!;
        await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
        await expect.poll(async () => (await legend())[0]).toMatch(/^step\D*6$/);
        await page.mouse.move(box.x - 60, box.y);
        await expect.poll(async () => (await legend())[0]).toMatch(/^step\D*12$/);
        expect(await page.locator('#lr .u-legend').count()).toBe(0);
      }));

    test('on a phone, tables scroll and show at which side there is more', () =>
      visit(url, PHONE, async ({ page }) => {
        const marks = (i: number) =>
          page.$$eval('.scroll', (all, at) => ['data-wide', 'data-left', 'data-right'].filter((mark) => all[at]!.hasAttribute(mark)), i);
        for (const i of [0, 1, 2]) {
          expect(await marks(i)).toEqual(['data-wide', 'data-right']);
          expect(await page.locator('.scroll .hint').nth(i).isVisible()).toBe(true);
          await page.locator('.scroller').nth(i).focus();
          for (let k = 0; k < 20; k++) await page.keyboard.press('ArrowRight');
          await expect.poll(() => marks(i)).toEqual(['data-wide', 'data-left']);
        }
      }));

    test('on a wide window, no table scrolls', () =>
      visit(url, WIDE, async ({ page }) => {
        expect(await page.locator('[data-wide]').count()).toBe(0);
        expect(await page.locator('.hint').first().isVisible()).toBe(false);
      }));

    test('by keyboard alone, a class is chosen and cells of a heat map are read', () =>
      visit(url, WIDE, async ({ page }) => {
        const focused = (): Promise<string> => page.evaluate(() => document.activeElement?.textContent ?? '');
        for (let i = 0; i < 60 && (await focused()) !== 'ring'; i++) await page.keyboard.press('Tab');
        await page.keyboard.press('Enter');
        expect(await page.$$eval('[aria-pressed=true]', (all) => all.map((b) => b.textContent))).toEqual(['ring']);
        expect((await labelsOf(page)).filter((text) => text!.includes(', ring: mean scales of the channels')).length).toBe(3);
        for (let i = 0; i < 60 && !(await page.evaluate(() => document.activeElement?.matches('.cells canvas') === true)); i++) {
          await page.keyboard.press('Tab');
        }
        const { gates } = JSON.parse((await page.locator('#data').textContent())!) as ChartData;
        const [cool, warm] = gates.blocks[0]!.means.map((rows) => rows[10]!);
        const first = cool!.map((v, c) => [warm![c]! - v, c] as const).toSorted((a, b) => a[0] - b[0])[0]![1];
        await page.keyboard.press('ArrowRight');
        const [mean, deviation] = [gates.blocks[0]!.means, gates.blocks[0]!.deviations].map((values) => values[0]![0]![first]!.toFixed(2));
        await expect.poll(() => page.locator('#readout-0').textContent()).toBe(`disc, cool band, channel ${first}: ${mean} ± ${deviation}`);
        for (let i = 0; i < 30; i++) await page.keyboard.press('ArrowDown');
        expect(await page.locator('#readout-0').textContent()).toMatch(/^triangle, cool band, channel /);
        await page.keyboard.press('Tab');
        expect(await page.locator('#readout-0').textContent()).toBe('');
        await page.keyboard.press('ArrowLeft');
        expect(await page.locator('#readout-0').textContent()).toMatch(/^disc, warm band, channel /);
      }));

    test('its drawings follow the colours of the system', () =>
      visit(url, WIDE, async ({ page }) => {
        const picture = (): Promise<string[]> => page.$$eval('canvas', (all) => all.map((c) => c.toDataURL()));
        const light = await picture();
        await page.emulateMedia({ colorScheme: 'dark' });
        await expect.poll(async () => (await picture()).filter((p, i) => p === light[i]).length).toBe(0);
      }));
  });

  test.each([
    ['one step', ['--max-steps', '1'], 12],
    ['only the net without SE', ['--no-se', '--max-steps', '3'], 3],
    ['only the net with SE, of residual blocks', ['--se', '--model', 'resnet20', '--gate', 'relu', '--max-steps', '2'], 3 + 9 * 3],
    ['the control', ['--context', 'none', '--max-steps', '2'], 12],
  ])('the report of %s has all its drawings', async (name, args, canvases) => {
    const url = await reportOf(name, ...SMALL, ...args);
    for (const look of [WIDE, PHONE]) {
      await visit(url, look, async ({ page }) => {
        expect(await overflowOf(page)).toBe(0);
        const labels = await labelsOf(page);
        expect([labels.length, labels.includes(null)]).toEqual([canvases, false]);
      });
    }
  });

  /** Writes a page with the curves of `losses`, and returns its address. */
  function curvesPage(name: string, losses: readonly number[], lossesWithout: readonly number[] = []): string {
    const metricsOf = (net: 'se' | 'plain', values: readonly number[]): Metric[] =>
      values.map((loss, i) => ({ net, step: i + 1, epoch: 1, loss, accuracy: 0.5, lr: 0.1 }));
    const metrics = [...metricsOf('plain', lossesWithout), ...metricsOf('se', losses)];
    const main = html`${training(100)}`;
    const without = lossesWithout.length > 0 ? [{ net: 'plain', title: 'without SE' } as const] : [];
    const curves = curvesOf(metrics, [...without, { net: 'se', title: 'SE <b>&amp;</b>' }]);
    const data: ChartData = { curves, gates: { range: [0, 1], classes: [], bands: null, blocks: [] } };
    const path = join(folder, `${name}.html`);
    writeFileSync(path, pageOf({ title: name, main, data }).text);
    return pathToFileURL(path).href;
  }

  /** Counts the pixels of the loss chart that are drawn in the colour of the net with SE. */
  const drawnPixels = (page: Page): Promise<number> =>
    page.locator('#loss canvas').evaluate((canvas: HTMLCanvasElement) => {
      const { data } = canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height);
      let pixels = 0;
      // The blue of the net, on white, is far more blue than red.
      for (let i = 0; i < data.length; i += 4) if (data[i + 3]! > 0 && data[i + 2]! - data[i]! > 60) pixels++;
      return pixels;
    });

  test('a chart without a value names no step, in words either', () =>
    visit(curvesPage('empty', []), WIDE, async ({ page }) => {
      expect(await page.locator('#loss .u-series').first().isVisible()).toBe(false);
      expect(await page.locator('#loss .u-series').nth(1).isVisible()).toBe(true);
      expect(await labelsOf(page)).toEqual(['Loss', 'Accuracy in percent', 'Learning rate'].map((name) => `${name}: no value yet.`));
    }));

  test('one step is drawn as a point', () =>
    visit(curvesPage('point', [2.3]), WIDE, async ({ page }) => {
      // A dot of 7 px is more than 20 px large.
      expect(await drawnPixels(page)).toBeGreaterThan(20);
    }));

  test.each([
    [
      'usual',
      Array.from({ length: 100 }, (_, i) => 5 - i / 25),
      'Loss (cross entropy)',
      /^Loss, steps 1 to 100\. .*from 4\.9\d+ to 1\.0\d+/,
    ],
    [
      'single high',
      Array.from({ length: 100 }, (_, i) => (i === 50 ? 4e6 : 2)),
      'Loss (cross entropy, on a logarithmic axis)',
      /^Loss, on a logarithmic axis/,
    ],
  ] as const)('no %s loss is cut: the curve keeps below the upper edge of its chart', (name, losses, caption, label) =>
    visit(curvesPage(name, losses), WIDE, async ({ page }) => {
      expect(await page.locator('.charts figcaption').first().textContent()).toBe(caption);
      expect((await labelsOf(page))[0]).toMatch(label);
      const top = await page.locator('#loss .u-over').evaluate((over: HTMLElement) => over.offsetTop);
      const first = await page.locator('#loss canvas').evaluate((canvas: HTMLCanvasElement) => {
        const { data } = canvas.getContext('2d')!.getImageData(0, 0, canvas.width, canvas.height);
        for (let i = 0; i < data.length; i += 4) if (data[i + 3]! > 0 && data[i + 2]! - data[i]! > 40) return i / 4 / canvas.width;
        return -1;
      });
      expect(first).toBeGreaterThan(top + 1);
    }),
  );

  test('the legend names the step of a net that is behind the other', () =>
    visit(curvesPage('behind', [3, 3], [2, 2, 2, 2]), WIDE, async ({ page }) => {
      const legend = await page.locator('#loss .u-series').allTextContents();
      expect(legend[0]).toMatch(/^step\D*4$/);
      expect(legend[1]).toMatch(/^without SE, training mean\W*2\.000$/);
      expect(legend[3]).toMatch(/, training mean\W*3\.000 \(step 2\)$/);
    }));

  test('titles are text, not HTML', () =>
    visit(curvesPage('title', [2, 1]), WIDE, async ({ page }) => {
      expect(await page.locator('#loss .u-legend').textContent()).toContain('SE <b>&amp;</b>, training mean');
    }));

  test('the live view grows with the run, and says why it has ended', async () => {
    const dir = join(folder, 'live');
    const child = await start('--live', '--out', dir, ...SMALL.slice(0, -2), '--epochs', '1000');
    const end = ended(child);
    const address = await new Promise<string>((resolve) => {
      child.stdout!.on('data', (chunk) => {
        const found = /Live: (http:\S+)/.exec(String(chunk));
        if (found !== null) resolve(found[1]!);
      });
    });
    await visit(address, PHONE, async ({ page }) => {
      const step = async (): Promise<number> => {
        const headline = (await page.locator('h1').textContent())!;
        return Number(/^Step ([\d,]+) of 4,000, without SE$/.exec(headline)?.[1]!.replace(',', '') ?? 0);
      };
      await expect.poll(step, { timeout: 60_000 }).toBeGreaterThan(0);
      const first = await step();
      await expect.poll(step, { timeout: 60_000 }).toBeGreaterThan(first);
      expect(await page.locator('#rows tr').count()).toBe(2);
      expect((await labelsOf(page))[0]).toMatch(/^Loss, steps 1 to \d+\. /);
      expect(await overflowOf(page)).toBe(0);
      child.kill('SIGINT');
      const stopped = `Stopped and saved. Go on with: npm start -- --resume ${dir}`;
      await expect.poll(() => page.locator('#state').textContent(), { timeout: 60_000 }).toBe(stopped);
    });
    expect(await end).toMatchObject({ code: 130, stderr: '' });
  });

  test('the live view becomes the report', async () => {
    await reportOf('finished', ...SMALL);
    const finished = RunFolder.open(join(folder, 'finished'));
    try {
      const data = chooseData(finished.settings);
      const view = await LiveView.open(finished, data);
      view.begin('se', 12);
      await visit(view.url, WIDE, async ({ page }) => {
        await expect.poll(() => page.locator('h1').textContent()).toBe('All 12 steps done, SE-CNN: testing');
        expect(await page.locator('.gates').count()).toBe(0);
        const report = reportContent(finished, finished.readCheckpoint()!.results, data);
        await view.finish(report);
        await expect.poll(() => page.title()).toBe(report.title);
        expect(await page.locator('h1').textContent()).toBe(report.title);
        const labels = await labelsOf(page);
        expect([labels.length, labels.includes(null)]).toEqual([12, false]);
        await page.locator('[data-class="1"]').click();
        expect((await labelsOf(page)).filter((text) => text!.includes(', ring: ')).length).toBe(3);
        // As in the report of a file.
        const image = (p: Page): Promise<string> => p.locator('#accuracy canvas').evaluate((c: HTMLCanvasElement) => c.toDataURL());
        const live = await image(page);
        await visit(pathToFileURL(finished.path('report.html')).href, WIDE, async (file) => expect(await image(file.page)).toBe(live));
      });
    } finally {
      finished.close();
    }
  });
});

import { gzipSync } from 'node:zlib';
import { dirname } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseLink } from '../../playground/link.ts';
import { Session } from '../../playground/train/session.ts';
import { readSettings } from '../../playground/train/settings.ts';
import { disposeTask, mnistTask, syntheticTask, type Task } from '../../playground/train/task.ts';
import { buildPlayground } from '../../scripts/build-playground.mjs';
import { CHROMIUM, ISOLATION, serveFolder, startChromium, type StaticServer } from '../support/chromium.ts';
import { tinyMnist } from '../support/idx.ts';
import { openPlayground, panelBuilt } from '../support/playground.ts';

// The panel that trains, in a browser. Training does not begin by itself, as these pages prefer reduced motion.

/** How long to wait for what the page shows, on a slow machine. */
const WAIT = { timeout: 60_000 };

/** Every optimizer in 20 steps. */
const LINK = '#train?batch=16&seed=5&optimizer=adam&lr=0.01&changes=6%3Asgd%3A0.05%2C11%3Aadamw%3A0.003%2C16%3Aadam%3A0.02';

/** Returns the first losses of a link as Node computes them, as the page writes them. */
function lossesInNode(link: string, steps: number, task?: Task): string[][] {
  const { settings, problems } = readSettings(parseLink(link).state);
  expect(problems).toEqual([]);
  const images = task ?? syntheticTask(settings);
  const session = new Session(settings, images);
  const losses = Array.from({ length: steps }, (_, i) => {
    const { plain, se } = session.step();
    return [String(i + 1), String(plain), String(se)];
  });
  session.dispose();
  disposeTask(images);
  return losses;
}

/** Returns the rows of the table of losses. */
function lossesOf(page: Page): Promise<string[][]> {
  return page.evaluate(() =>
    [...document.querySelectorAll('.digits tbody tr')].map((row) => [...row.children].map((cell) => cell.textContent)),
  );
}

/** Waits until the page shows at least so many steps, and returns how many. */
async function steps(page: Page, least: number): Promise<number> {
  const shown = async (): Promise<number> => Number((await page.locator('.stat strong').first().textContent())!.replaceAll(',', ''));
  await expect.poll(shown, { ...WAIT, interval: 30 }).toBeGreaterThanOrEqual(least);
  return shown();
}

const button = (page: Page, name: string) => page.getByRole('button', { name, exact: true });
/** Waits until the test accuracy is shown, which comes last. */
const accuracies = (page: Page): Promise<string[]> =>
  expect
    .poll(() => page.locator('.stat strong').allTextContents(), WAIT)
    .toEqual([...Array<unknown>(3).fill(expect.anything()), expect.stringMatching(/%$/), expect.stringMatching(/%$/)])
    .then(async () => {
      const captions = await page.locator('.stat span').allTextContents();
      expect(captions.slice(3)).toEqual([
        expect.stringMatching(/^right without SE, step \d+$/),
        expect.stringMatching(/^right with SE, step \d+$/),
      ]);
      return page.locator('.stat strong').allTextContents();
    });

describe.skipIf(CHROMIUM === undefined)('the panel that trains, in Chromium where it is installed', () => {
  let browser: Browser;
  let file: string;
  let shared: StaticServer;
  let alone: StaticServer;

  beforeAll(async () => {
    const { path } = await buildPlayground();
    file = `file://${path}`;
    shared = await serveFolder(dirname(path), { headers: ISOLATION });
    alone = await serveFolder(dirname(path), { prefix: '/a/b' });
    browser = await startChromium();
  });

  afterAll(async () => {
    await browser?.close();
    shared?.close();
    alone?.close();
  });

  test('has the losses of Node in 20 steps, digit by digit: from a file, from a server, and isolated with threads', async () => {
    const expected = lossesInNode(LINK, 20);
    const places = [file, `${alone.url}/playground.html`, `${shared.url}/playground.html`];
    for (const place of places) {
      const { page, faults, context } = await openPlayground(browser, place + LINK);
      await button(page, 'Play').click();
      await steps(page, 20);
      await button(page, 'Pause').click();
      expect(await lossesOf(page), place).toEqual(expected);
      const threads = Number(await page.locator('.stat strong').nth(2).textContent());
      const most = await page.evaluate(() => (crossOriginIsolated ? navigator.hardwareConcurrency : 1));
      expect(threads, place).toBe(most);
      await accuracies(page);
      expect(faults, place).toEqual([]);
      await context.close();
    }
  });

  test('plays, pauses and steps by keyboard, and reports at most ten times a second', async () => {
    const { page, faults, context } = await openPlayground(browser, `${file}#graph`);
    // The request of a worker's script fails where the page is left meanwhile.
    await page.locator('[data-node]').first().waitFor();
    await page.addInitScript(countReports);
    await page.goto(`${file}?counted#train`);
    await panelBuilt(page);
    const play = page.locator('.button.primary');
    await page.getByRole('tab', { name: 'Train' }).focus();
    await page.keyboard.press('Tab');
    expect(await play.evaluate((e) => e === document.activeElement)).toBe(true);
    await page.keyboard.press('Enter');
    await steps(page, 4);
    expect(await play.textContent()).toBe('Pause');
    await page.keyboard.press('Space');
    expect(await play.textContent()).toBe('Play');
    const paused = await settled(page);
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    expect(await steps(page, paused + 1)).toBe(paused + 1);
    await page.keyboard.press('Enter');
    expect(await steps(page, paused + 2)).toBe(paused + 2);
    const { reports, seconds } = await page.evaluate(
      () => (globalThis as unknown as { counted: { reports: number; seconds: number } }).counted,
    );
    // Beside the regular ones: at the start, when paused, and for each single step.
    expect(reports).toBeLessThanOrEqual(10 * seconds + 4);
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await expect.poll(() => page.locator('.stat strong').first().textContent(), WAIT).toBe('0');
    expect(faults).toEqual([]);
    await context.close();
  });

  test('draws one part in a frame, and starts the worker in another', async () => {
    const { page, faults, context } = await openPlayground(browser, `${file}#graph`);
    await page.locator('[data-node]').first().waitFor();
    await page.addInitScript(noteFrames);
    await page.goto(`${file}?frames#train?batch=16`);
    await panelBuilt(page);
    await button(page, 'Step').click();
    await steps(page, 1);
    await accuracies(page);
    await page.locator('.maps canvas[title*="block 3 with SE"]').waitFor();
    const drawn = await page.evaluate(() => (globalThis as unknown as { drawn: [frame: number, part: string][] }).drawn);
    for (const [frame, part] of drawn) expect(new Set(drawn.filter((d) => d[0] === frame).map((d) => d[1]))).toEqual(new Set([part]));
    const parts = new Set(drawn.map(([, part]) => part));
    expect(parts).toEqual(new Set(['worker', 'chart 1', 'chart 2', 'images', 'gates', 'maps without SE', 'maps with SE']));
    expect(faults).toEqual([]);
    await context.close();
  });

  test('writes a change of the learning rate into the link, which repeats the run', async () => {
    const { page, faults, context } = await openPlayground(browser, `${file}#train?batch=16`);
    await button(page, 'Step').click();
    await steps(page, 1);
    await button(page, 'Step').click();
    await steps(page, 2);
    await page.getByRole('slider').focus();
    await page.keyboard.press('ArrowRight');
    await expect.poll(() => parseLink(new URL(page.url()).hash).state['changes'], WAIT).toBe('2:adam:0.015');
    await page.getByLabel('Optimizer').selectOption('sgd');
    await expect.poll(() => parseLink(new URL(page.url()).hash).state['changes'], WAIT).toBe('2:sgd:0.015');
    await button(page, 'Step').click();
    await steps(page, 3);
    const losses = await lossesOf(page);
    expect(losses).toEqual(lossesInNode(new URL(page.url()).hash, 3));
    await page.reload();
    for (let step = 1; step <= 3; step++) {
      await button(page, 'Step').click();
      await steps(page, step);
    }
    expect(await lossesOf(page)).toEqual(losses);
    expect(await page.getByLabel('Optimizer').inputValue()).toBe('sgd');
    expect(faults).toEqual([]);
    await context.close();
  });

  test('trains on MNIST’s files, dropped or chosen, and says what is missing', async () => {
    const { images, labels } = tinyMnist(120);
    const { page, faults, context } = await openPlayground(browser, `${file}#train?data=mnist&batch=16`);
    const error = page.getByRole('alert');
    await expect.poll(() => error.textContent(), WAIT).toMatch('This run trains on MNIST. Drop its files on this page');
    const body = page.locator('#panel-train .panel-body');
    await body.evaluate(dropFile, { name: 'picture.png', bytes: [0x89, 0x50, 0x4e, 0x47] });
    await expect
      .poll(() => error.textContent(), WAIT)
      .toMatch(/^parseIdx: picture\.png: magic: .* this is no IDX file of bytes \(still packed\?\) Then choose all files again\.$/);
    await body.evaluate(dropFile, { name: 'train-images-idx3-ubyte', bytes: [...images] });
    await expect
      .poll(() => error.textContent(), WAIT)
      .toMatch('got train-images-idx3-ubyte. Add train-images-idx3-ubyte and train-labels-idx1-ubyte');
    await page
      .locator('input[type=file]')
      .setInputFiles({ name: 'train-labels-idx1-ubyte.gz', mimeType: 'application/gzip', buffer: gzipSync(labels) });
    await steps(page, 5);
    await button(page, 'Pause').click();
    expect(await error.textContent()).toBe('');
    await accuracies(page);
    const task = mnistTask([
      { name: 'train-images', bytes: images },
      { name: 'train-labels', bytes: labels },
    ]);
    expect((await lossesOf(page)).slice(0, 5)).toEqual(lossesInNode('#train?data=mnist&batch=16', 5, task));
    await page.locator('summary').first().click();
    await page.getByLabel('Batch').selectOption('128');
    await expect.poll(() => error.textContent(), WAIT).toMatch("batchSize 128 is above the dataset's 100 samples");
    await page.getByLabel('Batch').selectOption('32');
    await steps(page, 1);
    expect(faults).toEqual([]);
    await context.close();
  });

  test('names what of a link is not valid, and stops at a loss that is not finite', async () => {
    const { page, faults, context } = await openPlayground(browser, `${file}#train?r=3&optimizer=sgd&lr=1e30&batch=16`);
    const problems = page.locator('.panel:visible .problems');
    await expect.poll(() => problems.textContent(), WAIT).toBe("The link has r='3', expected 1, 2, 4, 8, 16; used 4.");
    await button(page, 'Play').click();
    const error = page.getByRole('alert');
    await expect
      .poll(() => error.textContent(), WAIT)
      .toBe('Step 2: the loss of the net without SE is NaN. The learning rate 1e+30 is too high for sgd. Lower it, then press Reset.');
    expect(await page.locator('.button.primary').textContent()).toBe('Play');
    // Lowered by hand, the run begins again.
    await page.getByRole('slider').focus();
    await page.keyboard.press('Home');
    await expect.poll(() => page.url(), WAIT).toContain('changes=1%3Asgd%3A0.0001');
    await button(page, 'Reset').click();
    await button(page, 'Step').click();
    await steps(page, 1);
    expect(await error.textContent()).toBe('');
    expect(faults).toEqual([]);
    await context.close();
  });

  test('says so where no worker can start, and tries again', async () => {
    const { page, context } = await openPlayground(browser, `${file}#graph`);
    await page.addInitScript(refuseWorkerOnce);
    await page.goto(`${file}?refused#train`);
    const error = page.getByRole('alert');
    const message = 'The worker that trains has ended: refused. Press Reset; if it ends again, reload the page.';
    await expect.poll(() => error.textContent(), WAIT).toBe(message);
    await button(page, 'Play').click();
    await steps(page, 1);
    expect(await error.textContent()).toBe('');
    await context.close();
  });

  test('starts by itself where motion is welcome, and pauses while another panel is shown', async () => {
    const { page, faults, context } = await openPlayground(browser, file);
    await page.emulateMedia({ reducedMotion: 'no-preference' });
    await page.goto(`${file}#train?batch=16`);
    await steps(page, 3);
    await page.getByRole('tab', { name: 'Graph' }).click();
    const paused = await settled(page);
    await page.getByRole('tab', { name: 'Train' }).click();
    await steps(page, paused + 2);
    expect(new URL(page.url()).hash).toMatch(/^#train\?data=synthetic&.*batch=16/);
    await page.getByRole('button', { name: 'image 4: triangle' }).click();
    expect(new URL(page.url()).hash).toContain('image=3');
    await page.getByRole('link', { name: 'Control: nothing to detect' }).click();
    expect(new URL(page.url()).hash).toMatch(/context=none.*image=3/);
    await steps(page, 1);
    await page.evaluate(() => void (location.hash = '#train?batch=16&seed=8'));
    await expect.poll(() => page.locator('summary').first().textContent(), WAIT).toMatch('batch 16; seed 8');
    await steps(page, 1);
    expect(faults).toEqual([]);
    await context.close();
  });
});

/** Notes which parts each frame draws, and in which the worker starts. Runs in the page. */
function noteFrames(): void {
  const drawn: [frame: number, part: string][] = [];
  Object.assign(globalThis, { drawn });
  let charts = 0;
  let frame = 0;
  const count = (): void => {
    frame++;
    requestAnimationFrame(count);
  };
  count();
  const note = (part: string): void => void drawn.push([frame, part]);
  const { getContext } = HTMLCanvasElement.prototype;
  HTMLCanvasElement.prototype.getContext = function noted(this: HTMLCanvasElement, ...args: [never]): never {
    // A canvas is drawn before it is part of the page: its label tells what it is.
    const label = this.getAttribute('aria-label');
    const parts: readonly (readonly [pattern: RegExp, part: string])[] = [
      [/^(first-layer filters|feature maps).*without SE$/, 'maps without SE'],
      [/^(first-layer filters|feature maps).*with SE$/, 'maps with SE'],
      [/^Block /, 'gates'],
    ];
    note(label === null ? `chart ${++charts}` : (parts.find(([pattern]) => pattern.test(label))?.[1] ?? 'images'));
    return getContext.apply(this, args) as never;
  };
  const Native = globalThis.Worker;
  globalThis.Worker = class extends Native {
    constructor(...args: ConstructorParameters<typeof Worker>) {
      super(...args);
      note('worker');
    }
  };
}

/** Counts the reports of the workers, and the time from the first to the last. Runs in the page. */
function countReports(): void {
  const counted = { reports: 0, seconds: 0 };
  let first = 0;
  Object.assign(globalThis, { counted });
  const Native = globalThis.Worker;
  globalThis.Worker = class extends Native {
    constructor(...args: ConstructorParameters<typeof Worker>) {
      super(...args);
      this.addEventListener('message', ({ data }: MessageEvent<{ kind: string }>) => {
        if (data.kind !== 'steps') return;
        if (counted.reports === 0) first = performance.now();
        counted.reports++;
        counted.seconds = (performance.now() - first) / 1000;
      });
    }
  };
}

/** Makes the first start of a worker fail. Runs in the page. */
function refuseWorkerOnce(): void {
  const Native = globalThis.Worker;
  globalThis.Worker = function refuse() {
    globalThis.Worker = Native;
    throw new Error('refused');
  } as unknown as typeof Worker;
}

/** Drops a file on an element. Runs in the page. */
function dropFile(host: Element, { name, bytes }: { name: string; bytes: number[] }): void {
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([Uint8Array.from(bytes)], name));
  host.dispatchEvent(new DragEvent('drop', { dataTransfer, bubbles: true, cancelable: true }));
}

/** Waits until the number of steps has stopped changing, and returns it. */
async function settled(page: Page): Promise<number> {
  let last = -1;
  await expect
    .poll(
      async () => {
        const now = await steps(page, 0);
        const same = now === last;
        last = now;
        return same;
      },
      { ...WAIT, interval: 600 },
    )
    .toBe(true);
  return last;
}

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { PRESETS, type PresetName } from '../../playground/gradcheck/presets.ts';
import { playgroundPage } from '../../scripts/build-playground.mjs';
import { CHROMIUM, overflowOf, startChromium, type WatchedPage } from '../support/chromium.ts';
import { openPlayground } from '../support/playground.ts';

// The panels "SE" and "Gradient check" as a visitor uses them, from a file.

describe.skipIf(CHROMIUM === undefined)('in Chromium, where it is installed', () => {
  let browser: Browser;
  let folder: string;
  let url: string;
  let watched: WatchedPage;
  let page: Page;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'chainrule-panels-'));
    writeFileSync(join(folder, 'playground.html'), await playgroundPage());
    url = `file://${join(folder, 'playground.html')}`;
    browser = await startChromium();
  });

  afterAll(async () => {
    await browser?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  afterEach(async () => {
    expect(watched.faults).toEqual([]);
    await watched.context.close();
  });

  const open = async (hash: string, width = 1280): Promise<void> => {
    watched = await openPlayground(browser, `${url}${hash}`, { width });
    page = watched.page;
  };

  /** Presses a key several times on the focused element. */
  const press = async (key: string, times: number): Promise<void> => {
    for (let i = 0; i < times; i++) await page.keyboard.press(key);
  };

  describe('the gradient check', () => {
    const outcome = (): ReturnType<Page['locator']> => page.locator('.outcome');
    const settled = async (state: string): Promise<void> => {
      await page.locator(`.outcome[data-state=${state}]`).waitFor();
    };

    /** What the page says about each preset. */
    const SAYS: Readonly<Record<PresetName, string>> = {
      correct: 'All 10 gradients are right',
      sign: 'x: the sign is wrong',
      factor: 'x: the gradient is 0.5 times the right one: a factor 2 is missing',
      transpose: 'x: the gradient that would be right if w were transposed',
      broadcast: 'w: the gradient is not summed over the dims along which the argument was broadcast',
      detached: 'x: off by an amount that is constant along dims [1]: a path through a sum or mean over them is missing or wrong',
      tie: 'x: at a tie each of 2 equal elements gets the whole gradient; they must share it, or one take it',
      kink: 'x: a kink at [0] that no op reported: the slope is 0 to its left and 1 to its right',
    };

    test('gives each example its diagnosis', async () => {
      await open('#gradcheck');
      for (const [name, text] of Object.entries(SAYS)) {
        await page.getByLabel('Example').selectOption(name);
        await outcome().getByText(text).waitFor();
        expect(await page.getByLabel('Backward').inputValue()).toBe(PRESETS[name as PresetName].backward);
      }
    });

    test('shows an error at its line, and recovers', async () => {
      await open('#gradcheck?preset=factor');
      await settled('wrong');
      const backward = page.getByLabel('Backward');
      await backward.fill('h = g * 2\ndx = h * z');
      const error = page.getByRole('alert');
      await error.getByText("line 2: 'z' is not defined; defined here: x, g, y, h").waitFor();
      expect(await page.locator('.gradcheck-lines .is-wrong').allTextContents()).toEqual(['2']);
      expect(await backward.getAttribute('aria-invalid')).toBe('true');
      await backward.fill('h = g * 2\ndx = h * x');
      await settled('right');
      expect(await error.count()).toBe(0);
      expect(await backward.getAttribute('aria-invalid')).toBe('false');
    });

    test('a changed program comes back after another example', async () => {
      await open('#gradcheck?preset=factor');
      await page.getByLabel('Backward').fill('dx = 3 * g * x');
      await page.waitForFunction(() => location.hash.includes('backward='));
      expect(await page.getByLabel('Example').inputValue()).toBe('own');
      await page.getByLabel('Example').selectOption('sign');
      expect(await page.getByLabel('Backward').inputValue()).toBe(PRESETS.sign.backward);
      await page.getByLabel('Example').selectOption('own');
      expect(await page.getByLabel('Backward').inputValue()).toBe('dx = 3 * g * x');
    });

    test('a wrong value of a link is named, until something is changed', async () => {
      await open('#gradcheck?preset=nothing&h=-1');
      expect(await page.locator('.panel:visible .problems').textContent()).toMatch(
        /^The link has preset='nothing', expected correct, .*; used factor\. The link has h='-1', expected a step from 1e-12 to 1; used 1\.0e-6\.$/,
      );
      await page.getByLabel('Example').selectOption('sign');
      expect(await page.locator('.panel:visible .problems').textContent()).toBe('');
    });

    test('the link carries texts and step', async () => {
      await open('#gradcheck?preset=factor');
      await page.getByLabel('Backward').fill('dx = 2 * g * x');
      await settled('right');
      await page.getByLabel(/^Step h/).press('ArrowLeft');
      await page.waitForFunction(() => location.hash.includes('h=2.2e-6') && location.hash.includes('backward='));
      const link = await page.evaluate(() => location.hash);
      await page.goto('about:blank');
      await page.goto(`${url}${link}`);
      await settled('right');
      expect(await page.getByLabel('Backward').inputValue()).toBe('dx = 2 * g * x');
      expect(await page.getByLabel(/^Step h/).getAttribute('aria-valuetext')).toBe('2.2 e−6');
    });

    test('a step that is too large shows as curvature', async () => {
      await open('#gradcheck?preset=correct');
      await settled('right');
      const description = (): Promise<string | null> => page.getByRole('img', { name: /^Largest error/ }).getAttribute('aria-label');
      expect(await description()).toMatch(
        /The error is smallest, .* To the left, larger steps see the curve bend: truncation\. To the right, smaller steps lose/,
      );
      await page.getByLabel(/^Step h/).press('Home');
      await outcome().getByText('eps 1 is too large for the curvature here').waitFor();
    });

    test('fits into 390 pixels', async () => {
      await open('#gradcheck?preset=correct', 390);
      await settled('right');
      expect(await overflowOf(page)).toBe(0);
      expect(await page.locator('.findings .scroll-hint').isVisible()).toBe(true);
      const mark = (await page.locator('.verdict-cell').first().boundingBox())!;
      expect(mark.x + mark.width).toBeLessThanOrEqual(390);
    });

    test('works by keyboard alone', async () => {
      await open('');
      await page.keyboard.press('Tab');
      await page.keyboard.press('End');
      await page.getByRole('tab', { name: 'Gradient check', selected: true }).waitFor();
      await settled('wrong');
      await page.keyboard.press('Tab');
      expect(await page.evaluate(() => document.activeElement!.tagName)).toBe('SELECT');
      // An unchanged example cannot be reset, so the next stops are the three texts.
      await press('Tab', 3);
      expect(await page.evaluate(() => document.activeElement!.id)).toBe('gradcheck-backward');
      await page.keyboard.press('Control+A');
      await page.keyboard.type('dx = 2 * g * x');
      await settled('right');
      // The lesson, the table, the step.
      await press('Tab', 3);
      await page.keyboard.press('ArrowRight');
      expect(await page.getByLabel(/^Step h/).getAttribute('aria-valuetext')).toBe('4.6 e−7');
      await page.getByRole('button', { name: 'Reset' }).focus();
      await page.keyboard.press('Enter');
      await settled('wrong');
    });
  });

  describe('the SE block', () => {
    const bar = (label: string): ReturnType<Page['locator']> => page.getByRole('slider', { name: label, exact: true });
    const answer = (): Promise<string[]> => page.locator('.answer output, .prediction .note').allTextContents();
    const trained = async (): Promise<void> => {
      await page.getByText(/^Trained in this page/).waitFor();
      await page.locator('.answer').first().waitFor();
    };

    test('what follows from a gate and from a mean shows at once, and the link carries it', async () => {
      await open('#se?picture=2');
      await trained();
      const gates = (): Promise<string[]> => page.locator('.se-bar').evaluateAll((all) => all.map((b) => (b as HTMLInputElement).value));
      const before = { answer: await answer(), gates: await gates() };
      await bar('gate s5').focus();
      await press('End', 1);
      await page.waitForFunction((old) => document.querySelector('.prediction .note')!.textContent !== old, before.answer.at(-1)!);
      expect(await bar('gate s5').getAttribute('aria-valuetext')).toBe('1.00, set by hand');
      await bar('mean z3').focus();
      await press('End', 1);
      await page.waitForFunction(() => location.hash.includes('means=2%3A2') && location.hash.includes('gates=4%3A1'));
      const edited = await gates();
      expect(edited.filter((v, i) => v !== before.gates[i]).length).toBeGreaterThan(3);
      const link = await page.evaluate(() => location.hash);
      await page.goto('about:blank');
      await page.goto(`${url}${link}`);
      await trained();
      await page.waitForFunction(
        (wanted) => wanted === String([...document.querySelectorAll<HTMLInputElement>('.se-bar')].map((b) => b.value)),
        String(edited),
      );
      await bar('mean z3').press('Delete');
      await page.getByRole('button', { name: 'Release gate s5' }).click();
      await page.waitForFunction(
        (wanted) => wanted === String([...document.querySelectorAll<HTMLInputElement>('.se-bar')].map((b) => b.value)),
        String(before.gates),
      );
      expect(await answer()).toEqual(before.answer);
      expect(await page.getByRole('button', { name: 'Release all' }).isDisabled()).toBe(true);
    });

    test('no gradient flows through a gate or a mean that is set by hand', async () => {
      await open('#se?gates=7:0.5');
      await page.getByText('set by hand: no gradient flows').waitFor();
      expect(await page.locator('.path-step', { hasText: 'set by hand' }).textContent()).toBe(
        'Σ ∂L/∂y · u = ∂L/∂s₈0set by hand: no gradient flows',
      );
      expect(await page.locator('.paths tr.shown td').nth(1).textContent()).toBe('0');
    });

    test('a wrong value of a link is named', async () => {
      await open('#se?gate=nothing');
      await page.getByText("The link has gate='nothing', expected sigmoid, hardsigmoid, tanh, relu; used sigmoid.").waitFor();
    });

    test('works by keyboard alone: picture, gate, channel', async () => {
      await open('#se');
      await trained();
      await page.getByRole('tab', { name: 'SE' }).focus();
      await page.keyboard.press('Tab');
      await page.keyboard.press('ArrowRight');
      await page.getByText('A frame, a warm band').waitFor();
      await press('Tab', 1);
      expect(await page.evaluate(() => document.activeElement!.tagName)).toBe('SELECT');
      // Gate, reduction, other weights; nothing is set, so nothing can be released.
      await press('Tab', 3);
      expect(await page.evaluate(() => document.activeElement!.getAttribute('aria-label'))).toBe('mean z1');
      await press('ArrowRight', 2);
      await page.getByRole('button', { name: 'Release mean z1' }).waitFor();
      await page.getByRole('radio', { name: '8', exact: true }).focus();
      await page.keyboard.press('ArrowUp');
      await page.getByRole('heading', { name: '∂L/∂u₇' }).waitFor();
    });

    test('a choice while the network is trained waits for it, and no second one is trained', async () => {
      await open('#se');
      const workers: string[] = [];
      page.on('worker', (worker) => workers.push(worker.url()));
      await page.getByRole('radio').nth(5).check();
      await page.evaluate(() => {
        location.hash = '#se?picture=3&channel=1';
      });
      await trained();
      await page.getByText('A frame, a cool band').waitFor();
      await page.getByRole('heading', { name: '∂L/∂u₂' }).waitFor();
      expect(workers.length).toBeLessThanOrEqual(1);
    });

    test('no line of the paths begins with an arrow, 390, 620, 860 and 1280 pixels wide', async () => {
      await open('#se?gates=7:0.5', 390);
      await trained();
      for (const width of [390, 620, 860, 1280]) {
        await page.setViewportSize({ width, height: 900 });
        const first = await page.locator('.strip > div').evaluateAll((strips) =>
          strips.flatMap((strip) => {
            const left = strip.getBoundingClientRect().left;
            return [...strip.querySelectorAll('.arrow')].filter((a) => a.getBoundingClientRect().left < left + 5).map((a) => a.textContent);
          }),
        );
        expect(first, `${width} pixels`).toEqual([]);
      }
    });

    test('another gate and reduction train another network, 390 pixels wide', async () => {
      await open('#se?gate=hardsigmoid&reduction=4', 390);
      await trained();
      expect(await page.locator('.unit').count()).toBe(2);
      await page.getByLabel('Reduction r').selectOption('2');
      await page.waitForFunction(() => document.querySelectorAll('.unit').length === 4);
      expect(await overflowOf(page)).toBe(0);
    });
  });
});

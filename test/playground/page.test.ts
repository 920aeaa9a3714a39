import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildPlayground } from '../../scripts/build-playground.mjs';
import { CHROMIUM, openPage, overflowOf, startChromium } from '../support/chromium.ts';

// The playground as a file: one page without a network.

describe.skipIf(CHROMIUM === undefined)('the playground in Chromium, where it is installed', () => {
  let browser: Browser;
  let url: string;
  let packed: number;

  beforeAll(async () => {
    const built = await buildPlayground();
    url = `file://${built.path}`;
    packed = built.packed;
    browser = await startChromium();
  });

  afterAll(() => browser?.close());

  test('takes at most 250 kB, gzipped', () => {
    expect(packed).toBeLessThan(250_000);
  });

  test.each([
    [1280, 'light'],
    [1280, 'dark'],
    [390, 'light'],
    [390, 'dark'],
  ] as const)('shows each panel %d pixels wide and %s', async (width, scheme) => {
    const { page, faults, context } = await openPage(browser, url, { width, scheme });
    const tabs = await page.getByRole('tab').all();
    for (const tab of tabs) {
      await tab.click();
      expect(await overflowOf(page), (await tab.textContent())!).toBe(0);
      expect(await page.getByRole('tabpanel').count()).toBe(1);
    }
    expect(tabs.length).toBeGreaterThan(0);
    expect(faults).toEqual([]);
    await context.close();
  });

  test('an unknown panel in the address is named', async () => {
    const { page, context } = await openPage(browser, `${url}#nothing`);
    await page.getByText("The link names the panel 'nothing', expected graph, train, se, gradcheck; used graph.").waitFor();
    await page.getByRole('tab', { name: 'SE' }).click();
    await page.waitForFunction(() => document.querySelector('.problems')!.textContent === '');
    await context.close();
  });

  test('arrow keys move between the tabs', async () => {
    const { page, context } = await openPage(browser, url);
    const titles = await page.getByRole('tab').allTextContents();
    await page.getByRole('tab').first().focus();
    for (const title of [...titles.slice(1), titles[0]!]) {
      await page.keyboard.press('ArrowRight');
      // The address changes first, and the page follows it.
      await page.getByRole('tab', { name: title, exact: true, selected: true }).waitFor();
    }
    await context.close();
  });
});

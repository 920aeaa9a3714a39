import { readFile } from 'node:fs/promises';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildPlayground } from '../../scripts/build-playground.mjs';
import { CHROMIUM, overflowOf, startChromium } from '../support/chromium.ts';
import { openPlayground, panelBuilt } from '../support/playground.ts';

// The playground as a file: one page without a network.

/** The panels, and what each shows once its worker has answered. */
const PANELS = [
  ['Graph', '[data-node]'],
  ['Train', '.choice'],
  ['SE', '.answer'],
  ['Gradient check', '.gradcheck-verdict'],
] as const;

/** The roles of what a visitor operates. */
const CONTROLS: readonly string[] = ['button', 'checkbox', 'combobox', 'link', 'radio', 'slider', 'spinbutton', 'tab', 'textbox'];

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

  test.each([1280, 390])('shows each panel %d pixels wide, light and dark', async (width) => {
    const { page, faults, context } = await openPlayground(browser, url, { width });
    const tabs = await page.getByRole('tab').all();
    expect(tabs.length).toBeGreaterThan(0);
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme });
      for (const tab of tabs) {
        await tab.click();
        await panelBuilt(page);
        expect(await overflowOf(page), `${await tab.textContent()}, ${colorScheme}`).toBe(0);
        expect(await page.getByRole('tabpanel').count()).toBe(1);
      }
    }
    expect(faults).toEqual([]);
    await context.close();
  });

  test('leaves what there is to compute to its workers', async () => {
    const context = await browser.newContext();
    const page = await context.newPage();
    // Init scripts run in the page, not in its workers.
    await page.addInitScript(() => {
      const counted = globalThis as unknown as { compiled: number };
      counted.compiled = 0;
      const { Module } = WebAssembly;
      WebAssembly.Module = new Proxy(Module, {
        construct: (target, args) => {
          counted.compiled++;
          return Reflect.construct(target, args) as object;
        },
      });
    });
    await page.goto(url);
    for (const [panel, result] of PANELS) {
      await page.getByRole('tab', { name: panel, exact: true }).click();
      await page.locator(result).filter({ visible: true }).first().waitFor();
    }
    expect(page.workers().length).toBe(4);
    expect(await page.evaluate(() => (globalThis as unknown as { compiled: number }).compiled)).toBe(0);
    const script = await page.locator('script:not([type="text/plain"])').allTextContents();
    expect(script.length).toBe(1);
    // The browser parses it before it draws. That of the workers is six times as long.
    expect(script[0]!.length).toBeLessThan(200_000);
    await context.close();
  });

  test('names each control of each panel to those who do not see it', async () => {
    const { page, context } = await openPlayground(browser, url);
    const tree = await context.newCDPSession(page);
    for (const [panel, result] of PANELS) {
      await page.getByRole('tab', { name: panel, exact: true }).click();
      await page.locator(result).filter({ visible: true }).first().waitFor();
      const { nodes } = await tree.send('Accessibility.getFullAXTree');
      const controls = nodes.filter((n) => !n.ignored && CONTROLS.includes(n.role?.value as string));
      expect(controls.length, panel).toBeGreaterThan(7);
      expect(
        controls.filter((n) => n.name?.value === '').map((n) => n.role?.value as string),
        panel,
      ).toEqual([]);
    }
    await context.close();
  });

  test('says in each panel that no worker can start, and tries again', async () => {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.addInitScript(() => {
      const Native = globalThis.Worker;
      const refused = { now: true };
      Object.assign(globalThis, { refused });
      globalThis.Worker = class extends Native {
        constructor(...args: ConstructorParameters<typeof Worker>) {
          if (refused.now) throw new Error('refused');
          super(...args);
        }
      };
    });
    const refuse = (now: boolean): Promise<void> =>
      page.evaluate((value) => void ((globalThis as unknown as { refused: { now: boolean } }).refused.now = value), now);
    await page.goto(url);
    const tabs = [
      ['Graph', 'The graph was not computed: refused.', () => page.getByLabel('Expression').first().selectOption('twice'), '[data-node]'],
      ['SE', 'The network was not computed: refused.', () => page.getByRole('radio').nth(5).check(), '.answer'],
      ['Gradient check', 'The check was given up: refused.', () => page.getByLabel('Example').selectOption('sign'), '.gradcheck-verdict'],
    ] as const;
    for (const [panel, problem, change, result] of tabs) {
      await page.getByRole('tab', { name: panel, exact: true }).click();
      await page.getByText(problem).filter({ visible: true }).waitFor();
      await refuse(false);
      await change();
      await page.locator(result).filter({ visible: true }).first().waitFor();
      expect(await page.getByText(problem).filter({ visible: true }).count()).toBe(0);
      await refuse(true);
    }
    await context.close();
  });

  test('a browser without @scope says which versions it takes', async () => {
    const { page, context } = await openPlayground(browser, url);
    const note = page.getByText('This page needs Chrome 118, Firefox 128 or Safari 17.4, or a later version.');
    expect(await note.isVisible()).toBe(false);
    const html = await readFile(new URL(url), 'utf8');
    const old = html.replaceAll('@scope (', '@unknown (').replace(/<meta http-equiv="Content-Security-Policy"[^>]*>/, '');
    await page.setContent(old);
    expect(await note.isVisible()).toBe(true);
    await context.close();
  });

  test('an unknown panel in the address is named', async () => {
    const { page, context } = await openPlayground(browser, `${url}#nothing`);
    await page.getByText("The link names the panel 'nothing', expected graph, train, se, gradcheck; used graph.").waitFor();
    await page.getByRole('tab', { name: 'SE' }).click();
    await page.waitForFunction(() => document.querySelector('.problems')!.textContent === '');
    await context.close();
  });

  test('a panel that writes its state does not take the address back from the next one', async () => {
    const { page, context } = await openPlayground(browser, url);
    const next = page.locator('#panel-graph').getByRole('button', { name: 'Next', exact: true });
    // Both in one task, before the event that shows the panel SE.
    await next.evaluate((button: HTMLElement) => {
      location.hash = '#se';
      button.click();
    });
    await page.getByRole('tab', { name: 'SE', exact: true, selected: true }).waitFor();
    await context.close();
  });

  test('arrow keys move between the tabs', async () => {
    const { page, context } = await openPlayground(browser, url);
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

/** The built site, as a visitor sees it: over a bare static server, in a folder of it, under a strict Content-Security-Policy. */
import * as chainrule from 'chainrule';
import * as data from 'chainrule/data';
import * as distributed from 'chainrule/distributed';
import * as interop from 'chainrule/interop';
import * as io from 'chainrule/io';
import * as nn from 'chainrule/nn';
import * as F from 'chainrule/nn/functional';
import * as optim from 'chainrule/optim';
import * as train from 'chainrule/train';
import * as testing from 'chainrule/testing';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CHROMIUM, openPage, overflowOf, serveFolder, startChromium, type StaticServer } from './support/chromium.ts';
import { root, textOf } from './support/snippets.ts';

const dist = join(root, 'site/dist');
const isBuilt = existsSync(join(dist, 'index.html'));

const POLICY = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'";

const ENTRIES: Readonly<Record<string, object>> = {
  chainrule,
  'chainrule/nn': nn,
  'chainrule/nn/functional': F,
  'chainrule/optim': optim,
  'chainrule/data': data,
  'chainrule/train': train,
  'chainrule/io': io,
  'chainrule/interop': interop,
  'chainrule/distributed': distributed,
  'chainrule/testing': testing,
};

/** Members of Tensor that are marked @internal, and its constructor. */
const INTERNAL = new Set([
  'constructor',
  ...Array.from(textOf('src/autograd/tensor.ts').matchAll(/@internal(?:(?!\*\/)[^])*\*\/\s+(?:get |static )?(\w+)/g), (m) => m[1]!),
]);

function pagesIn(folder: string): string[] {
  return readdirSync(join(dist, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = posix.join(folder, entry.name);
    if (entry.isDirectory()) return pagesIn(path);
    return path.endsWith('.html') ? [path] : [];
  });
}

describe.skipIf(!isBuilt)('the site, where npm run site has built it', () => {
  // 380 pages take a minute; much longer beside other work.
  describe.skipIf(CHROMIUM === undefined)('in Chromium, where it is installed', { timeout: 400_000 }, () => {
    let browser: Browser;
    let server: StaticServer;

    beforeAll(async () => {
      browser = await startChromium();
      server = await serveFolder(dist, { prefix: '/a/b', headers: { 'Content-Security-Policy': POLICY } });
    });
    afterAll(async () => {
      await browser.close();
      server.close();
    });

    // The playground is one file with a policy of its own, and has its own test.
    const all = isBuilt ? pagesIn('').filter((page) => page !== 'playground.html' && page !== '404.html') : [];
    const isSource = (page: string): boolean => page.startsWith('source/');
    const isClass = (page: string): boolean => page.includes('/classes/');
    const texts = all.filter((page) => !isSource(page) && !isClass(page));
    const classes = all.filter(isClass);
    const sources = all.filter(isSource).filter((_, i) => i % 20 === 0);

    /** Opens pages one after the other in one window; returns what is wrong with them. */
    async function faultsOf(pages: readonly string[], look: { width: number; scheme: 'light' | 'dark' }): Promise<string[]> {
      const { page, faults, context } = await openPage(browser, `${server.url}/`, look);
      const found: string[] = [];
      for (const path of pages) {
        faults.length = 0;
        await page.goto(`${server.url}/${path}`, { waitUntil: 'load' });
        await hydrated(page, path);
        const overflow = await overflowOf(page);
        // Leaving a page ends its prefetches.
        const own = faults.filter((fault) => !fault.endsWith('net::ERR_ABORTED'));
        found.push(...own.map((fault) => `${path}: ${fault}`), ...(overflow > 0 ? [`${path}: ${overflow} px too wide`] : []));
      }
      await context.close();
      return found;
    }

    /** Waits until the scripts of a page have taken it over. */
    async function hydrated(page: Page, path: string): Promise<void> {
      if (isSource(path)) return;
      await page.waitForFunction(() => '__vue_app__' in document.querySelector('#app')!);
    }

    test('every page of text on a phone, dark', async () => {
      expect(texts.length).toBeGreaterThan(50);
      expect(await faultsOf(texts, { width: 390, scheme: 'dark' })).toEqual([]);
    });

    test('every page of text on a wide screen, light', async () => {
      expect(await faultsOf(texts, { width: 1280, scheme: 'light' })).toEqual([]);
    });

    test('every class of the reference on a phone, light', async () => {
      expect(classes.length).toBeGreaterThan(70);
      expect(await faultsOf(classes, { width: 390, scheme: 'light' })).toEqual([]);
    });

    test('files of the source, in both widths and colours', async () => {
      expect(sources.length).toBeGreaterThan(5);
      expect(await faultsOf(sources, { width: 390, scheme: 'light' })).toEqual([]);
      expect(await faultsOf(sources, { width: 1280, scheme: 'dark' })).toEqual([]);
    });

    test('by keyboard: the link to the content, the search, a result, and the colours', async () => {
      const { page, faults, context } = await openPage(browser, `${server.url}/docs/architecture.html`);
      await hydrated(page, 'docs/architecture.html');
      await page.keyboard.press('Tab');
      expect(await page.evaluate(() => document.activeElement!.textContent)).toBe('Skip to content');
      await page.keyboard.press('Control+k');
      // The box is loaded when it opens, and its list follows the typed letters with a delay.
      await page.waitForSelector('.VPLocalSearchBox input:focus');
      await page.keyboard.type('squeezeExcite');
      await page.waitForSelector('.VPLocalSearchBox .result.selected[href*="SqueezeExcite"]');
      await page.keyboard.press('Enter');
      await page.waitForURL(/\/a\/b\/api\/.*SqueezeExcite/i);
      await page.waitForSelector('h1:has-text("SqueezeExcite")');
      const wasDark = await page.evaluate(() => document.documentElement.classList.contains('dark'));
      await page.locator('button[role="switch"]:visible').first().focus();
      await page.keyboard.press('Space');
      expect(await page.evaluate(() => document.documentElement.classList.contains('dark'))).toBe(!wasDark);
      expect(faults).toEqual([]);
      await context.close();
    });

    test('links keep leading to their pages while the address changes', async () => {
      const { page, faults, context } = await openPage(browser, `${server.url}/docs/recipes/custom-op.html`);
      await hydrated(page, 'docs/recipes/custom-op.html');
      for (const [link, title] of [
        ['Architecture', 'Architecture'],
        ['A dataset of your own', 'A dataset of your own'],
        ['API', 'API reference'],
        ['Docs', 'Documentation'],
      ] as const) {
        await page.getByRole('link', { name: link, exact: true }).first().click();
        await page.waitForSelector(`h1:has-text("${title}")`);
      }
      expect(new URL(page.url()).pathname).toBe('/a/b/docs/');
      await page.goBack();
      await page.waitForSelector('h1:has-text("API reference")');
      await page.reload();
      await page.waitForSelector('h1:has-text("API reference")');
      expect(faults).toEqual([]);
      await context.close();
    });
  });

  test('the reference has every export and every method of Tensor', () => {
    const anchor = (name: string): string => `id="${name.toLowerCase()}"`;
    const missing = Object.entries(ENTRIES).flatMap(([entry, exports]) => {
      const page = readFileSync(join(dist, 'api', entry, 'index.html'), 'utf8');
      const hasPage = (path: string): boolean => existsSync(join(dist, 'api', entry, path));
      const isThere = (name: string): boolean =>
        page.includes(anchor(name)) || hasPage(`classes/${name}.html`) || hasPage(`namespaces/${name}/index.html`);
      return Object.keys(exports)
        .filter((name) => !isThere(name))
        .map((name) => `${entry}: ${name}`);
    });
    expect(missing).toEqual([]);
    // The title of a generic class has no type parameters.
    expect(readFileSync(join(dist, 'api/chainrule/optim/classes/Optimizer.html'), 'utf8')).toContain(
      '<title>Optimizer | chainrule</title>',
    );
    const tensor = readFileSync(join(dist, 'api/chainrule/classes/Tensor.html'), 'utf8');
    const members = Object.getOwnPropertyNames(chainrule.Tensor.prototype).filter((name) => !INTERNAL.has(name));
    expect(members.length).toBeGreaterThan(100);
    // Properties stand in a table.
    expect(members.filter((name) => !tensor.includes(anchor(name)) && !tensor.includes(`id="property-${name.toLowerCase()}"`))).toEqual([]);
  });

  test('parameters that are given as a tuple have their names, and show which may be left out', () => {
    const page = readFileSync(join(dist, 'api/chainrule/nn/functional/index.html'), 'utf8').replaceAll(/<[^>]*>/g, '');
    expect(page).toContain('crossEntropy: (x: Tensor, target: Tensor, options?: CrossEntropyOptions)');
    expect(page).not.toContain('...args: [');
  });
});

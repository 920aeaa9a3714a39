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
import { CHROMIUM, type Look, openPage, overflowOf, serveFolder, startChromium, type StaticServer } from './support/chromium.ts';
import { root, textOf } from './support/snippets.ts';

const dist = join(root, 'site/dist');
const isBuilt = existsSync(join(dist, 'index.html'));

const isLong = process.env.CHAINRULE_LONG === '1';

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
  // 240 pages take half a minute; much longer beside other work.
  describe.skipIf(CHROMIUM === undefined)('in Chromium, where it is installed', { timeout: 400_000 }, () => {
    let browser: Browser;
    let server: StaticServer;

    beforeAll(async () => {
      browser = await startChromium();
      // Without a cache, each page would load the scripts of all that it links to again.
      const headers = { 'Content-Security-Policy': POLICY, 'Cache-Control': 'max-age=3600' };
      server = await serveFolder(dist, { prefix: '/a/b', headers });
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
    const PHONE = { width: 390, height: 900, scheme: 'light' } as const;
    const WIDE = { width: 1280, height: 900, scheme: 'light' } as const;

    /** Opens pages one after the other in one window; returns what is wrong with them. Pages are opened in both looks in turns, and change to the other. */
    async function faultsOf(pages: readonly string[], ...looks: readonly [Look, Look?]): Promise<string[]> {
      const { page, faults, context } = await openPage(browser, `${server.url}/`, looks[0]);
      const found: string[] = [];
      let [look, other] = looks;
      const note = async (path: string): Promise<void> => {
        const overflow = await overflowOf(page);
        if (overflow > 0) found.push(`${path}: ${overflow} px too wide for ${look.width} px`);
      };
      for (const path of pages) {
        faults.length = 0;
        await page.goto(`${server.url}/${path}`, { waitUntil: 'load' });
        if (look.scripts !== false) await hydrated(page, path);
        await note(path);
        if (other !== undefined) {
          [look, other] = [other, look];
          await page.setViewportSize({ width: look.width!, height: look.height! });
          await page.emulateMedia({ colorScheme: look.scheme! });
          await note(path);
        }
        // Leaving a page ends its prefetches. Where scripts do not run, they fail.
        const expected = look.scripts === false ? /net::ERR_ABORTED$|\.js: csp$/ : /net::ERR_ABORTED$/;
        const own = faults.filter((fault) => !expected.test(fault));
        found.push(...own.map((fault) => `${path}: ${fault}`));
      }
      await context.close();
      return found;
    }

    /** Waits until the scripts of a page have taken it over. */
    async function hydrated(page: Page, path: string): Promise<void> {
      if (isSource(path)) return;
      await page.waitForFunction(() => '__vue_app__' in document.querySelector('#app')!);
    }

    test('every page of text on a phone, dark, and on a wide screen, light', async () => {
      expect(texts.length).toBeGreaterThan(50);
      const phone = { ...PHONE, scheme: 'dark' } as const;
      expect(await faultsOf(texts, phone, WIDE)).toEqual([]);
      if (isLong) expect(await faultsOf(texts, WIDE, phone)).toEqual([]);
    });

    test('every third class of the reference, and with CHAINRULE_LONG=1 every one, on a phone, light, as it is before its scripts run', async () => {
      expect(classes.length).toBeGreaterThan(70);
      const some = classes.filter((_, i) => isLong || i % 3 === 1);
      expect(await faultsOf(some, { ...PHONE, scripts: false })).toEqual([]);
    });

    test('every tenth class, and with CHAINRULE_LONG=1 every one, on a phone, light', async () => {
      const some = classes.filter((_, i) => isLong || i % 10 === 0);
      expect(await faultsOf(some, PHONE)).toEqual([]);
    });

    test('files of the source, in both widths and colours', async () => {
      expect(sources.length).toBeGreaterThan(5);
      expect(await faultsOf(sources, PHONE, { ...WIDE, scheme: 'dark' })).toEqual([]);
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

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { PNG } from 'pngjs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CHROMIUM, openPage, serveFolder, type StaticServer, startChromium, type WatchedPage } from '../support/chromium.ts';
import { buildPage } from './build-page.ts';

// Workers of a loader, and pictures decoded by the page, in Chromium where it is installed.

const folder = mkdtempSync(join(tmpdir(), 'chainrule-page-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.skipIf(CHROMIUM === undefined)('in a page', () => {
  let browser: Browser;
  let server: StaticServer;
  let watched: WatchedPage;

  beforeAll(async () => {
    await buildPage(folder, 'page', 'numbers', 'silent');
    server = await serveFolder(folder);
    browser = await startChromium();
    watched = await openPage(browser, `${server.url}/`);
  });
  afterAll(async () => {
    await browser?.close();
    server?.close();
  });
  const call = (code: string): Promise<unknown> => watched.page.evaluate(code);

  test('threads make the batches of a loop without', async () => {
    const plain = await call('plain()');
    expect(plain).toHaveLength(4);
    expect(await call('byUrl()')).toEqual(plain);
    expect(await call('byFunction()')).toEqual(plain);
    expect(watched.faults).toEqual([]);
  });

  test('a module that offers nothing, or is missing, is named', async () => {
    expect(await call("failure('silent')")).toBe(
      'WorkerError: DataLoader: a worker of /silent.js failed: its module does not call serveDataset',
    );
    expect(await call("failure('none')")).toMatch(/^WorkerError: DataLoader: a worker of \/none\.js failed: its module throws TypeError: /);
  });

  test('pictures have the bytes of their files', async () => {
    const picture = new PNG({ width: 2, height: 1 });
    picture.data.set([255, 0, 0, 255, 10, 20, 30, 255]);
    const png = PNG.sync.write(picture, { colorType: 2 }).toString('base64');
    expect(await call(`pictures(${JSON.stringify({ 'dog/1.png': png, 'cat/1.png': png })})`)).toEqual([
      { shape: [3, 1, 2], label: 0, bytes: [255, 10, 0, 20, 0, 30] },
      { shape: [3, 1, 2], label: 1, bytes: [255, 10, 0, 20, 0, 30] },
    ]);
  });
});

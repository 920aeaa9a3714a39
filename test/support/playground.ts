/**
 * Opens the playground.
 */
import type { Browser } from 'playwright-core';
import { type Look, openPage, type WatchedPage } from './chromium.ts';

/** Opens the page at `url`, and waits until the panel that the address names is built. */
export async function openPlayground(browser: Browser, url: string, look?: Look): Promise<WatchedPage> {
  const watched = await openPage(browser, url, look);
  await watched.page.locator('.panel-body').filter({ visible: true }).waitFor();
  return watched;
}

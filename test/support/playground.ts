/**
 * Opens the playground.
 */
import type { Browser, Page } from 'playwright-core';
import { type Look, openPage, type WatchedPage } from './chromium.ts';

/** Opens the page at `url`, and waits until the panel that the address names is built. */
export async function openPlayground(browser: Browser, url: string, look?: Look): Promise<WatchedPage> {
  const watched = await openPage(browser, url, look);
  await panelBuilt(watched.page);
  return watched;
}

/** Waits until a panel is built. */
export function panelBuilt(page: Page): Promise<void> {
  return page.locator('.panel-body').filter({ visible: true }).waitFor();
}

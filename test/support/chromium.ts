/**
 * Opens pages in Chromium, and notes what a page must not do.
 */
import { createReadStream, statSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname, join, normalize } from 'node:path';
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core';
import { BROWSERS } from './browsers.ts';

/** The path of Chromium; undefined where it is not installed. */
export const CHROMIUM = BROWSERS.find((b) => b.name === 'Chromium')!.path;

/** Starts a headless Chromium. Call `close()` on it. */
export function startChromium(): Promise<Browser> {
  return chromium.launch({ executablePath: CHROMIUM!, args: ['--no-sandbox', '--disable-dev-shm-usage'] });
}

export interface WatchedPage {
  readonly page: Page;
  /** Errors and warnings on the console, uncaught errors, failed requests, violations of the policy, and requests to other origins. */
  readonly faults: string[];
  readonly context: BrowserContext;
}

/** How a page is looked at. */
export interface Look {
  /** In CSS pixels. Default 1280 × 900. */
  readonly width?: number;
  readonly height?: number;
  /** Default light. */
  readonly scheme?: 'light' | 'dark';
  /** Whether the page's scripts run. Default true. */
  readonly scripts?: boolean;
}

/** Opens a page at `url`, from a server on this machine or a file. Close its `context`. */
export async function openPage(
  browser: Browser,
  url: string,
  { width = 1280, height = 900, scheme = 'light', scripts = true }: Look = {},
): Promise<WatchedPage> {
  const context = await browser.newContext({
    viewport: { width, height },
    colorScheme: scheme,
    reducedMotion: 'reduce',
    javaScriptEnabled: scripts,
  });
  // Playwright's 30 s are too few where other programs use the processors.
  context.setDefaultTimeout(100_000);
  const page = await context.newPage();
  const faults: string[] = [];
  const origin = new URL(url).protocol === 'file:' ? 'file://' : new URL(url).origin;
  const isOwn = (address: string): boolean => address.startsWith(origin) || /^(blob|data):/.test(address);
  // A violation of the Content-Security-Policy is an error on the console.
  page.on('console', (m) => {
    if (m.type() === 'error' || m.type() === 'warning') faults.push(`${m.type()}: ${m.text()}`);
  });
  page.on('pageerror', (e) => faults.push(`uncaught: ${e.message}`));
  page.on('requestfailed', (r) => faults.push(`failed: ${r.url().slice(0, 200)}: ${r.failure()?.errorText ?? ''}`));
  page.on('request', (r) => {
    if (!isOwn(r.url())) faults.push(`left the machine: ${r.url().slice(0, 200)}`);
  });
  await page.goto(url, { waitUntil: 'load' });
  return { page, faults, context };
}

/** Returns by how many CSS pixels the page is wider than its window. */
export function overflowOf(page: Page): Promise<number> {
  return page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
}

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.css': 'text/css',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
};

/** Makes pages cross-origin isolated, so that they have shared memory. */
export const ISOLATION = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' };

/** A bare static server on this machine. */
export interface StaticServer {
  /** Without a slash at the end. */
  readonly url: string;
  readonly close: () => void;
}

/** Serves the files of `folder` below `prefix`, such as `/a/b`, with these headers. */
export async function serveFolder(
  folder: string,
  { prefix = '', headers = {} as Readonly<Record<string, string>> } = {},
): Promise<StaticServer> {
  const server: Server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url!, 'http://localhost').pathname);
    const file = path.startsWith(`${prefix}/`) ? fileOf(folder, path.slice(prefix.length)) : null;
    if (file === null) return response.writeHead(404).end();
    response.writeHead(200, { 'Content-Type': TYPES[extname(file)] ?? 'application/octet-stream', ...headers });
    return createReadStream(file).pipe(response);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}${prefix}`,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** Returns the file of a path, index.html for a folder; null if there is none. */
function fileOf(folder: string, path: string): string | null {
  const file = join(folder, normalize(path.endsWith('/') ? `${path}index.html` : path));
  return statSync(file, { throwIfNoEntry: false })?.isFile() === true ? file : null;
}

/**
 * Runs a program of the tests in browsers: in a page or in its worker.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type Rollup } from 'vite';

export interface Browser {
  readonly name: string;
  /** Undefined where the browser is not installed. */
  readonly path: string | undefined;
  /** Whether its isolated pages have SharedArrayBuffer. */
  readonly canShare: boolean;
  readonly args: (profile: string) => string[];
}

/** Returns the first path that is there: that of the variable, or one of the usual ones. */
function installed(variable: string, ...usual: string[]): string | undefined {
  return [process.env[variable] ?? '', ...usual].find((path) => path !== '' && existsSync(path));
}

const WEBKIT_FOLDERS = ['webkit2gtk-4.1', 'webkitgtk-6.0'].map((name) => `/usr/lib/x86_64-linux-gnu/${name}`);

/** WebKitGTK's MiniBrowser needs a display, for which Xvfb stands in. */
export const BROWSERS: readonly Browser[] = [
  {
    name: 'Chromium',
    path: installed('CHROMIUM', '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'),
    canShare: true,
    args: (profile) => ['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', `--user-data-dir=${profile}`],
  },
  {
    name: 'Firefox',
    path: installed('FIREFOX', '/usr/bin/firefox', '/usr/bin/firefox-esr'),
    canShare: true,
    args: (profile) => ['--headless', '--no-remote', '--profile', profile],
  },
  {
    name: 'WebKitGTK',
    path: installed('MINIBROWSER', ...WEBKIT_FOLDERS.map((folder) => `${folder}/MiniBrowser`)),
    canShare: false,
    args: () => [],
  },
];

/** How a program is loaded. */
export interface Visit {
  /** In a worker of the page, not on its main thread. */
  readonly worker: boolean;
  /** Cross-origin isolated. */
  readonly isolated: boolean;
  /** The Content-Security-Policy of the page and of its worker. */
  readonly policy?: string;
  /** Another program in place of the one that is served. */
  readonly code?: string;
}

// After each report the page asks for the next one and goes there: starting a browser takes longer than most programs.
const PAGE = `<!doctype html><script type="module">
  const send = async (body) => {
    await fetch('/result' + location.search, { method: 'POST', body: JSON.stringify(body) });
    location.replace(await fetch('/next').then((response) => response.text()));
  };
  if (new URLSearchParams(location.search).has('worker')) {
    const worker = new Worker('./worker.js', { type: 'module' });
    worker.onmessage = (e) => send(e.data);
    worker.onerror = (e) => send({ error: e.message });
  } else send(await import('./bundle.js').then(({ run }) => run()).catch((e) => ({ error: e.message })));
</script>`;

const WORKER = "postMessage(await import('./bundle.js').then(({ run }) => run()).catch((e) => ({ error: e.message })));";

/** Bundles a file of test/ for browsers and other runtimes; returns the code of an ECMAScript module. */
export async function bundle(file: string): Promise<string> {
  const entry = fileURLToPath(new URL(`../${file}`, import.meta.url));
  const made = await build({
    configFile: false,
    logLevel: 'error',
    build: { write: false, lib: { entry, formats: ['es'], fileName: 'bundle' } },
  });
  return ((made as Rollup.RollupOutput[])[0]!.output[0] as Rollup.OutputChunk).code;
}

/** A browser that runs. */
interface Running {
  readonly browser: Browser;
  readonly process: ChildProcess;
  readonly profile: string;
  readonly failed: Promise<never>;
  readonly ended: Promise<unknown>;
  /** Whether the last page has reported, so that it goes to the next one. */
  isFree: boolean;
}

/**
 * Serves one program, whose export `run` returns a promise of what it has to report. An error is reported as `{ error: message }`. A browser
 * is started at its first visit and goes from page to page; a page is a document of its own, with its own headers.
 */
export class Pages {
  readonly #server: Server;
  readonly #code: string;
  #files: Readonly<Record<string, readonly [type: string, text: string]>> = {};
  #headers: Readonly<Record<string, string>> = {};
  #received: (text: string) => void = () => {};
  #running: Running | null = null;
  #visits = 0;
  /** The address of the next page, and the answer that waits for it. */
  #next: string | null = null;
  #asking: ServerResponse | null = null;

  /** Serves a bundle on a free port of this machine. */
  static async serve(code: string): Promise<Pages> {
    const pages = new Pages(code);
    await new Promise<void>((resolve) => pages.#server.listen(0, '127.0.0.1', resolve));
    return pages;
  }

  private constructor(code: string) {
    this.#code = code;
    this.#server = createServer((request, response) => {
      const { pathname, searchParams } = new URL(request.url!, 'http://localhost');
      if (pathname === '/next') {
        this.#asking = response;
        return this.#answerNext();
      }
      if (pathname === '/result') {
        let body = '';
        request.on('data', (text) => (body += text));
        request.on('end', () => {
          response.end();
          // A page may report twice, such as an error after its result.
          if (searchParams.get('visit') === String(this.#visits)) this.#received(body);
        });
        return;
      }
      const file = this.#files[pathname];
      if (file === undefined) return response.writeHead(404).end();
      return response.writeHead(200, { 'Content-Type': file[0], 'Cache-Control': 'no-store', ...this.#headers }).end(file[1]);
    });
  }

  #answerNext(): void {
    if (this.#next === null || this.#asking === null) return;
    this.#asking.writeHead(200, { 'Cache-Control': 'no-store' }).end(this.#next);
    this.#next = null;
    this.#asking = null;
  }

  /** Ends the browser and the server. */
  async close(): Promise<void> {
    await this.#stop();
    this.#server.close();
  }

  /** Opens the program in a browser and returns what it reports. */
  async visit(browser: Browser, { worker, isolated, policy, code = this.#code }: Visit): Promise<unknown> {
    this.#files = { '/': ['text/html', PAGE], '/worker.js': ['text/javascript', WORKER], '/bundle.js': ['text/javascript', code] };
    const isolation = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' };
    this.#headers = { ...(isolated ? isolation : {}), ...(policy === undefined ? {} : { 'Content-Security-Policy': policy }) };
    const report = new Promise<string>((resolve) => (this.#received = resolve));
    const origin = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
    const url = `${origin}/?visit=${++this.#visits}${worker ? '&worker' : ''}`;
    if (this.#running?.browser !== browser || !this.#running.isFree) {
      await this.#stop();
      this.#running = start(browser, url);
    } else {
      this.#next = url;
      this.#answerNext();
    }
    const running = this.#running;
    running.isFree = false;
    const text = await Promise.race([report, running.failed]);
    running.isFree = true;
    return JSON.parse(text);
  }

  async #stop(): Promise<void> {
    const running = this.#running;
    this.#running = null;
    this.#next = null;
    this.#asking = null;
    if (running === null) return;
    if (running.process.pid !== undefined) {
      process.kill(-running.process.pid, 'SIGKILL');
      await running.ended;
    }
    rmSync(running.profile, { recursive: true, force: true, maxRetries: 20 });
  }
}

/** Starts a browser with a profile of its own. */
function start(browser: Browser, url: string): Running {
  const { path, args } = browser;
  const profile = mkdtempSync(join(tmpdir(), 'browser-'));
  const needsDisplay = path!.endsWith('MiniBrowser') && process.env.DISPLAY === undefined;
  const command = [...(needsDisplay ? ['xvfb-run', '-a'] : []), path!, ...args(profile), url];
  const env = { ...process.env, HOME: profile, WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS: '1' };
  // Detached, so that the browser's processes form a group that can be killed as a whole. They write to the profile until the
  // last of them has ended.
  const child = spawn(command[0]!, command.slice(1), { stdio: 'ignore', detached: true, env });
  const failed = new Promise<never>((_, reject) => child.once('error', reject));
  // It may be noticed while no visit waits for it; the next one does.
  failed.catch(() => {});
  const ended = new Promise((resolve) => child.once('exit', resolve));
  return { browser, process: child, profile, failed, ended, isFree: false };
}

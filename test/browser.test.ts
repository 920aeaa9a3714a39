import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { build, type Rollup } from 'vite';
import type { Seen } from './support/browser-program.ts';

// The library in Chromium. It uses threads if the page is cross-origin isolated and the library runs in a worker, and computes on one
// thread otherwise. Results are bitwise identical.

const CHROMIUM = [process.env.CHROMIUM ?? '', '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find(
  (path) => path !== '' && existsSync(path),
);

const PAGE = `<!doctype html><script type="module">
  import { run } from './bundle.js';
  const send = (body) => fetch('/result', { method: 'POST', body: JSON.stringify(body) });
  if (new URLSearchParams(location.search).has('worker')) {
    const worker = new Worker('./worker.js', { type: 'module' });
    worker.onmessage = (e) => send(e.data);
    worker.onerror = (e) => send({ error: e.message });
  } else send(await run());
</script>`;

const WORKER = "import { run } from './bundle.js'; postMessage(await run());";

async function bundle(): Promise<string> {
  const entry = fileURLToPath(new URL('./support/browser-program.ts', import.meta.url));
  const made = await build({
    configFile: false,
    logLevel: 'error',
    build: { write: false, lib: { entry, formats: ['es'], fileName: 'bundle' } },
  });
  return ((made as Rollup.RollupOutput[])[0]!.output[0] as Rollup.OutputChunk).code;
}

describe.skipIf(CHROMIUM === undefined)('Chromium', () => {
  let server: Server | undefined;
  let isolated = true;
  let received: (seen: Seen) => void;

  beforeAll(async () => {
    const files: Record<string, readonly [type: string, text: string]> = {
      '/': ['text/html', PAGE],
      '/worker.js': ['text/javascript', WORKER],
      '/bundle.js': ['text/javascript', await bundle()],
    };
    const made = createServer((request, response) => {
      const { pathname } = new URL(request.url!, 'http://localhost');
      if (pathname === '/result') {
        let body = '';
        request.on('data', (text) => (body += text));
        request.on('end', () => {
          response.end();
          received(JSON.parse(body) as Seen);
        });
        return;
      }
      const file = files[pathname];
      if (file === undefined) return response.writeHead(404).end();
      const isolation = { 'Cross-Origin-Opener-Policy': 'same-origin', 'Cross-Origin-Embedder-Policy': 'require-corp' };
      return response.writeHead(200, { 'Content-Type': file[0], ...(isolated ? isolation : {}) }).end(file[1]);
    });
    await new Promise<void>((resolve) => made.listen(0, '127.0.0.1', resolve));
    server = made;
  });

  afterAll(() => server?.close());

  /** Opens the page in a browser and returns what it reports. */
  async function visit(query: string): Promise<Seen> {
    const profile = mkdtempSync(join(tmpdir(), 'chromium-'));
    const seen = new Promise<Seen>((resolve) => (received = resolve));
    const url = `http://127.0.0.1:${(server!.address() as AddressInfo).port}/${query}`;
    const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', `--user-data-dir=${profile}`];
    // Detached, so that the browser's processes form a group that can be killed as a whole. They write to the profile until the
    // last of them has ended.
    const browser = spawn(CHROMIUM!, [...flags, url], { stdio: 'ignore', detached: true });
    const ended = new Promise((resolve) => browser.once('exit', resolve));
    try {
      return await seen;
    } finally {
      process.kill(-browser.pid!, 'SIGKILL');
      await ended;
      rmSync(profile, { recursive: true, force: true, maxRetries: 20 });
    }
  }

  test('uses threads in a worker of an isolated page', async () => {
    isolated = true;
    expect(await visit('?worker')).toEqual({ threads: 3, same: true, helped: 2 });
  });

  test('uses one thread on the main thread, which may not wait', async () => {
    isolated = true;
    expect(await visit('')).toEqual({ threads: 1, same: true, helped: 0 });
  });

  test('uses one thread without isolation', async () => {
    isolated = false;
    expect(await visit('?worker')).toEqual({ threads: 1, same: true, helped: 0 });
  });
});

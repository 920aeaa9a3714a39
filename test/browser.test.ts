import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BROWSERS, bundle, Pages } from './support/browsers.ts';

// The library in browsers. It uses threads if the page is cross-origin isolated and the library runs in a worker, and computes on one
// thread otherwise. Results are bitwise identical.

/** Allows the page's own files and WebAssembly, but no worker from a Blob. */
const NO_BLOBS = "default-src 'self'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'; worker-src 'self'";

/** Allows the page's own files, and no WebAssembly. */
const NO_WASM = "default-src 'self'; script-src 'self' 'unsafe-inline'";

describe.each(BROWSERS)('$name', (browser) => {
  describe.skipIf(browser.path === undefined)('where it is installed', () => {
    let pages: Pages;

    beforeAll(async () => {
      pages = await Pages.serve(await bundle('support/browser-program.ts'));
    });

    afterAll(() => pages.close());

    test.runIf(browser.canShare)('uses threads in a worker of an isolated page', async () => {
      const seen = await pages.visit(browser, { worker: true, isolated: true });
      expect(seen).toEqual({ threads: 3, same: true, helped: 2, warnings: 0 });
    });

    test('uses one thread on the main thread, which may not wait', async () => {
      const seen = await pages.visit(browser, { worker: false, isolated: true });
      expect(seen).toEqual({ threads: 1, same: true, helped: 0, warnings: 0 });
    });

    test.skipIf(browser.canShare)('uses one thread without SharedArrayBuffer', async () => {
      const seen = await pages.visit(browser, { worker: true, isolated: true });
      expect(seen).toEqual({ threads: 1, same: true, helped: 0, warnings: 0 });
    });

    test('uses one thread without isolation', async () => {
      const seen = await pages.visit(browser, { worker: true, isolated: false });
      expect(seen).toEqual({ threads: 1, same: true, helped: 0, warnings: 0 });
    });

    test.each([true, false])('says which directive is missing where the policy forbids WebAssembly (in a worker: %s)', async (worker) => {
      expect(await pages.visit(browser, { worker, isolated: true, policy: NO_WASM })).toEqual({
        error: "chainrule: this page may not compile WebAssembly: its Content-Security-Policy must allow 'wasm-unsafe-eval' in script-src",
      });
    });

    test.runIf(browser.canShare)('uses one thread where the policy forbids workers from a Blob, and says so once', async () => {
      const seen = await pages.visit(browser, { worker: true, isolated: true, policy: NO_BLOBS });
      expect(seen).toEqual({ threads: 1, same: true, helped: 0, warnings: 1 });
    });
  });
});

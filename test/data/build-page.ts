import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

/** Writes modules of the folder page, bundled for a browser, and a page that runs `main`, one of them, to `folder`. */
export async function buildPage(folder: string, main: string, ...others: readonly string[]): Promise<void> {
  const source = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
  const build = await rolldown({
    input: [main, ...others].map((name) => source(`page/${name}.ts`)),
    platform: 'browser',
    resolve: { alias: { 'chainrule/data': source('../../src/data/index.ts') } },
  });
  await build.write({ dir: folder, entryFileNames: '[name].js' });
  await build.close();
  const page = `<!doctype html><link rel="icon" href="data:,"><script type="module" src="${main}.js"></script>`;
  writeFileSync(join(folder, 'index.html'), page);
}

// Builds the site into dist/: documents, tour, recipes, API reference, source files and the playground.
import { appendFileSync, cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'vitepress';
import { buildPlayground } from '../scripts/build-playground.mjs';
import { writeApi } from './scripts/api.mjs';
import { checkLinks } from './scripts/check-links.mjs';
import { diagrams } from './scripts/diagrams.mjs';
import { codeColors } from './scripts/code-colors.mjs';
import { colors, writeColors } from './scripts/colors.mjs';
import { copyDocuments, copyPictures } from './scripts/pages.mjs';
import { dist, generated, site } from './scripts/paths.mjs';
import { makePortable } from './scripts/portable.mjs';
import { writeSourcePages } from './scripts/source-pages.mjs';

/** The address of the repository's files elsewhere, ending in a slash; null shows them on the site. */
const source = process.env.SITE_SOURCE ?? null;

const started = performance.now();
const step = (what) => process.stdout.write(`${((performance.now() - started) / 1000).toFixed(1)} s  ${what}\n`);

rmSync(generated, { recursive: true, force: true });
copyDocuments();
writeColors();
step('API reference');
await writeApi(source);
step('pages');
await build(site);
cpSync(diagrams, join(dist, 'diagrams'), { recursive: true });
cpSync(join(site, 'icon.svg'), join(dist, 'icon.svg'));
copyPictures();
step('source files');
await writeSourcePages();
// VitePress loads its own copy of the configuration, and has written the colours of its pages.
appendFileSync(join(dist, 'code.css'), codeColors());
makePortable();
writeFileSync(join(dist, 'source.css'), colors() + readFileSync(join(site, 'scripts/source.css'), 'utf8'));
step('playground');
const { packed } = await buildPlayground();
step(`${(packed / 1000).toFixed(0)} kB gzipped`);
const { problems, count, pages } = checkLinks();
if (problems.length > 0) {
  process.stderr.write(`${problems.join('\n')}\n${problems.length} of ${count} links are dead\n`);
  process.exit(1);
}
step(`${pages} pages, ${count} links: site/dist`);

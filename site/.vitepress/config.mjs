import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { defineConfig } from 'vitepress';
import { classify, codeColors, themes } from '../scripts/code-colors.mjs';
import { configure } from '../scripts/markdown.mjs';
import { dist, generated, pages, PLACEHOLDER } from '../scripts/paths.mjs';
import { slugify } from '../scripts/slugify.mjs';
import { hasTour, sidebars } from '../scripts/sidebars.mjs';

const source = process.env.SITE_SOURCE ?? null;

const nav = [
  { text: 'Playground', link: '/playground.html', target: '_self' },
  ...(hasTour() ? [{ text: 'Tour', link: '/tour/', activeMatch: '^/tour/' }] : []),
  { text: 'Docs', link: '/docs/', activeMatch: '^/docs/' },
  { text: 'API', link: '/api/', activeMatch: '^/api/' },
];

export default defineConfig({
  title: 'chainrule',
  description: "Trains small neural networks in TypeScript: autograd with PyTorch's vocabulary on SIMD WebAssembly.",
  lang: 'en',
  base: PLACEHOLDER,
  srcDir: pages,
  outDir: dist,
  cacheDir: join(generated, 'cache'),
  head: [
    ['link', { rel: 'stylesheet', href: `${PLACEHOLDER}code.css` }],
    ['link', { rel: 'icon', type: 'image/svg+xml', href: `${PLACEHOLDER}icon.svg` }],
  ],
  // check-links.mjs checks all links of the built pages.
  ignoreDeadLinks: true,
  lastUpdated: false,
  // Without a style element in the page while the colours change.
  appearance: { disableTransition: false },
  // The index of the search is one file, which loads when the search opens.
  vite: { build: { chunkSizeWarningLimit: 4000 } },
  markdown: {
    // The anchors of GitHub, which the documents' links use.
    anchor: { slugify },
    theme: themes,
    codeTransformers: [classify],
    config: (md) => configure(md, { source, base: PLACEHOLDER }),
  },
  themeConfig: {
    nav,
    sidebar: sidebars(),
    outline: [2, 3],
    search: { provider: 'local' },
    docFooter: { prev: 'Previous', next: 'Next' },
  },
  buildEnd: () => writeFileSync(join(dist, 'code.css'), codeColors()),
});

/** The folders of the site. */
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The folder of this package. */
export const site = dirname(dirname(fileURLToPath(import.meta.url)));
/** The repository. */
export const root = dirname(site);
/** What the build writes on its way. */
export const generated = join(site, 'generated');
/** The pages that VitePress reads: copies of the repository's documents, and the API reference. */
export const pages = join(generated, 'pages');
/** The built site. */
export const dist = join(site, 'dist');

/**
 * The base that VitePress builds with. No address contains it: portable.mjs replaces it by relative addresses, so that the site works
 * in any folder of any server.
 */
export const PLACEHOLDER = '/--base--/';

/** Which documents of the repository are pages, at which address, and where their links lead. */
import { cpSync, existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join, posix } from 'node:path';
import { dist, pages, root } from './paths.mjs';

/** Pages from documents that lie elsewhere in the repository than on the site. */
const MOVED = {
  'README.md': 'docs/overview.md',
  'CHANGELOG.md': 'changelog.md',
  'CONTRIBUTING.md': 'contributing.md',
  'SECURITY.md': 'security.md',
  'bench/README.md': 'docs/bench.md',
  'examples/cifar-like/README.md': 'docs/cifar-like.md',
  'examples/mnist/README.md': 'docs/mnist.md',
  'site/index.md': 'index.md',
};

/** Returns the address of the page of a document, as a path from the root of the site, from its path in the repository. */
export function addressOf(file) {
  if (file in MOVED) return MOVED[file];
  return file
    .replace(/^docs\/tour\/([^/]+)\/README\.md$/, 'tour/$1.md')
    .replace(/^docs\/tour\//, 'tour/')
    .replace(/(^|\/)README\.md$/, '$1index.md');
}

/** Whether a file of the repository is a page. */
const isPage = (file) => file in MOVED || /^docs\/.*\.md$/.test(file);

/** The documents of a folder of the repository. */
function documentsIn(folder) {
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const file = posix.join(folder, entry.name);
    if (entry.isDirectory()) return documentsIn(file);
    return isPage(file) ? [file] : [];
  });
}

/** The documents that are pages, by the addresses of the pages. */
export const documents = new Map([...Object.keys(MOVED), ...documentsIn('docs')].map((file) => [addressOf(file), file]));

/** Copies the documents to where VitePress reads pages. */
export function copyDocuments() {
  rmSync(pages, { recursive: true, force: true });
  for (const [address, file] of documents) cpSync(join(root, file), join(pages, address));
}

/** Copies the pictures of the documents to the built site. */
export function copyPictures() {
  const isPicture = (path) => statSync(path).isDirectory() || /\.(svg|png|jpg|webp)$/.test(path);
  cpSync(join(root, 'docs'), join(dist, 'pictures/docs'), { recursive: true, filter: isPicture });
}

/** Returns the address of a picture of a document. */
export function pictureOf(document, link) {
  const file = posix.join(posix.dirname(document), link);
  if (!existsSync(join(root, file))) throw new Error(`${document}: there is no picture ${link}`);
  return `pictures/${file}`;
}

/**
 * Returns where a link of a document leads on the site: to another page, or to the page of a source file, which it then leaves VitePress
 * for. `source` is the address of the repository's files elsewhere; null shows them on the site. Throws where the repository lacks the file.
 */
export function resolveLink(document, link, source) {
  const [path, anchor] = link.split('#');
  if (path === '') return { href: link, leaves: false };
  const hash = anchor === undefined ? '' : `#${anchor}`;
  const file = posix.join(posix.dirname(document), path).replace(/\/$/, '');
  if (!existsSync(join(root, file))) throw new Error(`${document}: the link ${link} leads to no file`);
  const readme = `${file}/README.md`;
  const target = isPage(readme) && existsSync(join(root, readme)) ? readme : file;
  if (isPage(target)) return { href: `/${htmlOf(addressOf(target))}${hash}`, leaves: false };
  if (source !== null) return { href: `${source}${file}${hash}`, leaves: true };
  return { href: `/source/${file}${statSync(join(root, file)).isDirectory() ? '/index' : ''}.html${hash}`, leaves: true };
}

/** The built page of an address. */
const htmlOf = (address) => address.replace(/(^|\/)index\.md$/, '$1').replace(/\.md$/, '.html');

/** Checks that every link of the built site leads to a file and an anchor that exist, and that no page loads anything from elsewhere. */
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join, posix } from 'node:path';
import { dist } from './paths.mjs';
import { filesWith } from './portable.mjs';

const decode = (text) => text.replaceAll('&amp;', '&').replaceAll('&quot;', '"').replaceAll('&#39;', "'").replaceAll('&lt;', '<');

/** The addresses in a page: of links, and of what it loads. */
function addressesOf(html) {
  const tags = html.replace(/<!--[\s\S]*?-->/g, '').matchAll(/<(a|link|script|img|source|iframe|video|audio)\b([^>]*)>/g);
  return [...tags].flatMap(([, tag, attributes]) => {
    const address = /\s(?:href|src)="([^"]*)"/.exec(attributes)?.[1];
    return address === undefined ? [] : [{ tag, address: decode(address) }];
  });
}

const anchorsOf = (html) => new Set(Array.from(html.matchAll(/\s(?:id|name)="([^"]*)"/g), ([, id]) => decode(id)));

/** Returns what is wrong with the links of the built pages, one line each, and the number of links. */
export function checkLinks() {
  const pages = new Map(filesWith('.html').map((file) => [file, readFileSync(join(dist, file), 'utf8')]));
  const anchors = new Map();
  const problems = [];
  let count = 0;
  const check = (page, { tag, address }) => {
    if (/^(https?:)?\/\//.test(address)) return tag === 'a' ? null : `loads ${address}`;
    if (/^(mailto|data|blob):/.test(address)) return null;
    if (address.startsWith('/')) return `is not relative: ${address}`;
    const [path, anchor = ''] = address.split('#');
    const target = path === '' ? page : posix.join(posix.dirname(page), decodeURI(path));
    const file = target === '.' || target.endsWith('/') ? posix.join(target, 'index.html') : target;
    if (!existsSync(join(dist, file)) || statSync(join(dist, file)).isDirectory()) return `leads to no file: ${address}`;
    if (anchor === '' || !file.endsWith('.html')) return null;
    if (!anchors.has(file)) anchors.set(file, anchorsOf(pages.get(file)));
    return anchors.get(file).has(decodeURIComponent(anchor)) ? null : `leads to no anchor: ${address}`;
  };
  for (const [page, html] of pages) {
    // The playground is one file, whose links are its own matter. A server shows the page for missing addresses at any of them.
    if (page === 'playground.html' || page === '404.html') continue;
    for (const link of addressesOf(html)) {
      count++;
      const problem = check(page, link);
      if (problem !== null) problems.push(`${page}: ${link.tag} ${problem}`);
    }
  }
  return { problems: [...new Set(problems)], count, pages: pages.size };
}

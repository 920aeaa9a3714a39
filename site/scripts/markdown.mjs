/** How the repository's documents become pages: links, diagrams, and no style attributes. */
import { documents, pictureOf, resolveLink } from './pages.mjs';
import { PLACEHOLDER } from './paths.mjs';
import { diagram } from './diagrams.mjs';

const isExternal = (href) => /^([a-z]+:|\/)/i.test(href);

/** Makes a link to what is no page of VitePress. The router of VitePress leaves links with a target to the browser. */
function leave(token, href) {
  token.attrSet('href', href);
  token.attrSet('target', '_self');
}

/** Leads the links of a page to the pages of the site. `base` is the base of the site. */
function rewriteLinks(md, { source, base }) {
  md.core.ruler.push('links-of-the-repository', ({ tokens, env }) => {
    for (const token of tokens.flatMap((t) => t.children ?? [])) {
      if (token.type !== 'link_open') continue;
      const href = token.attrGet('href');
      if (href.startsWith('/source/')) leave(token, base.slice(0, -1) + href);
      const document = documents.get(env.relativePath);
      if (isExternal(href) || document === undefined) continue;
      const { href: target, leaves } = resolveLink(document, decodeURI(href), source);
      if (leaves) leave(token, source === null ? base.slice(0, -1) + target : target);
      else token.attrSet('href', target);
    }
  });
}

/** Replaces the style attribute of aligned cells by a class. */
function alignCells(md) {
  md.core.ruler.push('aligned-cells', ({ tokens }) => {
    for (const token of tokens) {
      const at = token.attrIndex('style');
      if (at < 0) continue;
      const align = /^text-align:(\w+)$/.exec(token.attrs[at][1]);
      if (align === null) throw new Error(`no class for the style ${token.attrs[at][1]}`);
      token.attrs[at] = ['class', `align-${align[1]}`];
    }
  });
}

/** Renders blocks of Mermaid as images. */
function renderDiagrams(md) {
  const fence = md.renderer.rules.fence;
  md.renderer.rules.fence = (tokens, index, options, env, self) => {
    if (tokens[index].info.trim() !== 'mermaid') return fence(tokens, index, options, env, self);
    const heading = tokens.slice(0, index).findLastIndex((t) => t.type === 'heading_open');
    return diagram(tokens[index].content, md.utils.escapeHtml(tokens[heading + 1].content));
  };
}

/** Shows the pictures of the documents. A bound address is left to the browser. */
function renderPictures(md) {
  md.renderer.rules.image = (tokens, index, options, env) => {
    const { attrs, content } = tokens[index];
    const address = pictureOf(documents.get(env.relativePath), Object.fromEntries(attrs).src);
    return `<img class="picture" :src="'${PLACEHOLDER}${address}'" alt="${md.utils.escapeHtml(content)}" loading="lazy">`;
  };
}

/** Text such as {{x}} is text: documents hold no expressions of Vue. */
function escapeBraces(md) {
  const text = md.renderer.rules.text;
  md.renderer.rules.text = (...args) => text(...args).replaceAll('{{', '&#123;&#123;');
}

/** Tables scroll by themselves where the page is narrow. */
function scrollTables(md) {
  md.renderer.rules.table_open = () => '<div class="table" tabindex="0"><table>\n';
  md.renderer.rules.table_close = () => '</table></div>\n';
}

/** Adds the rules of the site to VitePress's renderer. */
export function configure(md, options) {
  rewriteLinks(md, options);
  alignCells(md);
  renderDiagrams(md);
  renderPictures(md);
  escapeBraces(md);
  scrollTables(md);
}

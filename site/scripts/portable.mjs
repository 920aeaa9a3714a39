/**
 * Makes the built pages work in any folder of any server, and under a strict Content-Security-Policy:
 *   - every address is relative to its page, and scripts compute the base of the site from their own address;
 *   - scripts in pages, images in style sheets and style attributes become files.
 */
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, posix } from 'node:path';
import { parseAst } from 'rollup/parseAst';
import MagicString from 'magic-string';
import { dist, PLACEHOLDER } from './paths.mjs';

const hash = (text) => createHash('sha256').update(text).digest('hex').slice(0, 8);

const read = (file) => readFileSync(join(dist, file), 'utf8');
const write = (file, text) => writeFileSync(join(dist, file), text);

/** The built files with an extension, from the root of the site. */
export function filesWith(extension, folder = '') {
  return readdirSync(join(dist, folder), { withFileTypes: true }).flatMap((entry) => {
    const file = posix.join(folder, entry.name);
    if (entry.isDirectory()) return filesWith(extension, file);
    return file.endsWith(extension) ? [file] : [];
  });
}

/** From the address of a page to the root of the site. */
const rootFrom = (file) => '../'.repeat(file.split('/').length - 1) || './';

/** The first script of every page. It lies in assets/, one folder below the base of the site. */
const FIRST_SCRIPT = "globalThis.siteBase = new URL('..', document.currentScript.src).pathname;\n";

/** Runs at the end of a page: its links become absolute, as the router changes the address of the page and keeps the lists of links. */
const LAST_SCRIPT = `
for (const link of document.querySelectorAll('a[href], link[href]')) {
  const href = link.getAttribute('href');
  const { pathname, search, hash } = new URL(href, location);
  if (!/^(#|[a-z]+:)/i.test(href)) link.setAttribute('href', pathname + search + hash);
}
`;

/** Whether a node of a script is a literal, or a template with its expressions, that holds the placeholder. */
function holdsBase({ type, value, quasis }) {
  if (type === 'Literal') return typeof value === 'string' && value.includes(PLACEHOLDER);
  return type === 'TemplateLiteral' && quasis.some((part) => part.value.raw.includes(PLACEHOLDER));
}

/** The literals of a script that hold the placeholder. Other places are none: the caller counts. */
function literalsWithBase(node, found = []) {
  if (node === null || typeof node !== 'object') return found;
  if (holdsBase(node)) {
    found.push(node);
    return found;
  }
  // A key cannot become an expression, nor can the text of a tagged template.
  const { key, quasi, ...rest } = node;
  const children = Array.isArray(node) ? node : [...Object.values(rest), node.computed ? key : null, ...(quasi?.expressions ?? [])];
  for (const child of children) literalsWithBase(child, found);
  return found;
}

/** Replaces the placeholder in a script by the base of the site, which it reads when it runs. */
function relativeScript(file, code) {
  const parts = code.split(PLACEHOLDER).length - 1;
  if (parts === 0) return code;
  const text = new MagicString(code);
  let replaced = 0;
  for (const { start, end } of literalsWithBase(parseAst(code))) {
    replaced += code.slice(start, end).split(PLACEHOLDER).length - 1;
    text.appendLeft(start, '(').appendRight(end, `.replaceAll("${PLACEHOLDER}",globalThis.siteBase))`);
  }
  if (replaced !== parts) throw new Error(`${file}: ${parts - replaced} addresses are in no literal`);
  return text.toString();
}

/** Writes the data images of a style sheet to files. */
function relativeStyle(file, css) {
  const images = css.replace(/url\(\s*"data:image\/svg\+xml,\s*([^"]*)"\s*\)/g, (_, data) => {
    const svg = decodeURIComponent(data);
    const name = `assets/icon.${hash(svg)}.svg`;
    write(name, svg);
    return `url("${rootFrom(file)}${name}")`;
  });
  return images.replaceAll(PLACEHOLDER, rootFrom(file));
}

/** Moves the scripts of a page to files. */
function withoutScripts(html) {
  return html.replace(/<script( id="[^"]*")?>([\s\S]*?)<\/script>/g, (_, id, code) => {
    // The last script of the page tells VitePress about the site.
    const isLast = code.includes('__VP_HASH_MAP__');
    const text = relativeScript('an inline script', isLast ? `${code}\n${LAST_SCRIPT}` : code);
    const name = `assets/inline.${hash(text)}.js`;
    write(name, text);
    return `<script${id ?? ''} src="${PLACEHOLDER}${name}"></script>`;
  });
}

function relativePage(file, html) {
  const first = `assets/base.${hash(FIRST_SCRIPT)}.js`;
  write(first, FIRST_SCRIPT);
  const page = withoutScripts(html)
    .replace('<head>', `<head>\n    <script src="${PLACEHOLDER}${first}"></script>`)
    // VitePress sets these again from its script.
    .replace(/ style="(--vp-vh:0px;|position:relative;)?"/g, '');
  // A server shows the page for missing addresses at any of them, so only its own configuration can tell where the site begins.
  const base = file === '404.html' ? (process.env.SITE_BASE ?? './') : rootFrom(file);
  return page.replaceAll(`="${PLACEHOLDER}`, `="${base}`);
}

/** What a page under `default-src 'self'` must not hold. */
function problemsOf(file, html) {
  const problems = [];
  if (html.includes(PLACEHOLDER)) problems.push('an address that is not relative');
  if (/<script(?![^>]*\bsrc=)[^>]*>/.test(html)) problems.push('a script');
  if (/<[^>]*\sstyle="/.test(html) || html.includes('<style')) problems.push(`a style: ${/<[^>]*\sstyle="[^>]*>/.exec(html)?.[0]}`);
  if (/<[^>]*\son\w+="/.test(html)) problems.push('an event handler');
  return problems.map((problem) => `${file} holds ${problem}`);
}

/** Makes all built files portable. Throws where a page would break the policy. */
export function makePortable() {
  for (const file of filesWith('.css')) write(file, relativeStyle(file, read(file)));
  for (const file of filesWith('.js')) write(file, relativeScript(file, read(file)));
  for (const file of filesWith('.html')) write(file, relativePage(file, read(file)));
  const problems = filesWith('.html').flatMap((file) => problemsOf(file, read(file)));
  if (problems.length > 0) throw new Error(problems.join('\n'));
}

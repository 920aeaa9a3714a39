/** Pages of the source files that documents and the API reference link to, and of their folders, with anchors for the lines. */
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, extname, join, posix } from 'node:path';
import { createHighlighter } from 'shiki';
import { classify, themes } from './code-colors.mjs';
import { dist, PLACEHOLDER, root } from './paths.mjs';
import { filesWith } from './portable.mjs';

const LANGUAGES = {
  '.ts': 'ts',
  '.mjs': 'js',
  '.js': 'js',
  '.py': 'python',
  '.json': 'json',
  '.css': 'css',
  '.html': 'html',
  '.sh': 'bash',
};

const escape = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');

/** The files and folders that the built pages link to, from the root of the repository. */
function linkedFiles() {
  const linked = new Set();
  for (const page of filesWith('.html')) {
    const links = readFileSync(join(dist, page), 'utf8').matchAll(new RegExp(`href="${PLACEHOLDER}source/([^"#]+)\\.html`, 'g'));
    for (const [, file] of links) linked.add(file.replace(/\/index$/, ''));
  }
  return linked;
}

const isFolder = (file) => statSync(join(root, file)).isDirectory();

/** The files that git has in a folder, by name; folders end in a slash. */
function entriesOf(folder) {
  const entries = readdirSync(join(root, folder), { withFileTypes: true }).filter(
    ({ name }) => !/^\.|\.generated\.ts$|^(node_modules|runs)$/.test(name),
  );
  return entries.map((entry) => (entry.isDirectory() ? `${entry.name}/` : entry.name)).sort();
}

/** The path of a file, each folder a link. */
function pathLinks(file) {
  const parts = file.split('/');
  const links = parts
    .slice(0, -1)
    .map((part, i) => `<a href="${PLACEHOLDER}source/${parts.slice(0, i + 1).join('/')}/index.html">${part}</a>`);
  return [...links, `<b>${parts.at(-1)}</b>`].join(' / ');
}

const page = (file, body) => `<!DOCTYPE html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width,initial-scale=1">
    <title>${file} | chainrule</title>
    <link rel="icon" type="image/svg+xml" href="${PLACEHOLDER}icon.svg">
    <link rel="stylesheet" href="${PLACEHOLDER}source.css">
    <link rel="stylesheet" href="${PLACEHOLDER}code.css">
    <script id="check-dark-mode">(()=>{const e=localStorage.getItem("vitepress-theme-appearance")||"auto",a=matchMedia("(prefers-color-scheme: dark)").matches;(e==="auto"?a:e==="dark")&&document.documentElement.classList.add("dark")})();</script>
  </head>
  <body>
    <nav aria-label="Path"><a href="${PLACEHOLDER}index.html">chainrule</a> / ${pathLinks(file)}</nav>
    <main>${body}</main>
  </body>
</html>
`;

function write(file, html) {
  const path = join(dist, 'source', file);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, html);
}

/** Writes the pages of the linked files, and of all folders above them with all their files. */
export async function writeSourcePages() {
  const linked = linkedFiles();
  const files = new Set([...linked].filter((file) => !isFolder(file)));
  const folders = new Set([...linked].filter(isFolder));
  for (const file of [...files, ...folders]) {
    for (let folder = posix.dirname(file); folder !== '.'; folder = posix.dirname(folder)) folders.add(folder);
  }
  const highlighter = await createHighlighter({ themes: Object.values(themes), langs: [...new Set(Object.values(LANGUAGES))] });
  const lines = {
    line(node, line) {
      node.properties.id = `L${line}`;
    },
  };
  for (const file of files) {
    const lang = LANGUAGES[extname(file)] ?? 'text';
    const code = readFileSync(join(root, file), 'utf8').trimEnd();
    const html = highlighter.codeToHtml(code, { lang, themes, defaultColor: false, transformers: [lines, classify] });
    write(`${file}.html`, page(file, html));
  }
  for (const folder of folders) {
    const items = entriesOf(folder).map((name) => {
      const file = posix.join(folder, name);
      const isThere = name.endsWith('/') ? folders.has(file.replace(/\/$/, '')) : files.has(file);
      const address = `${PLACEHOLDER}source/${name.endsWith('/') ? `${file}index` : file}.html`;
      return `<li>${isThere ? `<a href="${address}">${escape(name)}</a>` : escape(name)}</li>`;
    });
    write(`${folder}/index.html`, page(folder, `<ul class="folder">${items.join('')}</ul>`));
  }
  highlighter.dispose();
  return files.size;
}

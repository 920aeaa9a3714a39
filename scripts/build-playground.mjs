// Builds the playground: one self-contained file, site/dist/playground.html.
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { rolldown } from 'rolldown';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const require = createRequire(import.meta.url);
const read = (path) => readFile(join(root, path), 'utf8');

/** The entries of the package, as the page imports them. */
const alias = {
  'chainrule/nn/functional': join(root, 'src/nn/functional.ts'),
  'chainrule/nn': join(root, 'src/nn/index.ts'),
  'chainrule/optim': join(root, 'src/optim/index.ts'),
  'chainrule/data': join(root, 'src/data/index.ts'),
  'chainrule/io': join(root, 'src/io/index.ts'),
  chainrule: join(root, 'src/index.ts'),
};

/** What only an environment variable or Node can switch on, which a page has not, and what stands in its place. */
const UNUSED = {
  'src/kernels/reference/index.ts': 'export const reference = null;',
  'src/kernels/memory/checked-memory.ts': 'export const isMemoryChecked = false, CheckedMemory = null;',
  'src/kernels/wasm/turbo.ts': 'export const startTurbo = () => {}, setTurbo = null, getTurbo = null;',
};

const withoutUnused = {
  name: 'without-unused',
  load: (id) => UNUSED[relative(root, id).replaceAll('\\', '/')] ?? null,
};

/** Returns the text of the page. */
export async function playgroundPage() {
  const [template, page, compute, style] = await Promise.all([
    read('playground/index.html'),
    bundle('playground/main.ts'),
    bundle('playground/compute.ts'),
    styleSheet(),
  ]);
  const library = page.modules.filter((path) => path.startsWith(join(root, 'src')));
  if (library.length > 0) throw new Error(`the page must leave the library to its workers, but its own script has ${library.join(', ')}`);
  const parts = { policy: policy(page.code, style), script: page.code, compute: compute.code, style };
  // A function, as `$&` in a script must not be read as a pattern.
  return template.replace(/\{\{(\w+)\}\}/g, (_, name) => parts[name]);
}

/** Writes the page and returns its path. */
export async function buildPlayground() {
  const page = await playgroundPage();
  const path = join(root, 'site/dist/playground.html');
  await mkdir(dirname(path), { recursive: true });
  // Renamed when complete, as several tests build the page at once.
  await writeFile(`${path}.${process.pid}`, page);
  await rename(`${path}.${process.pid}`, path);
  return { path, bytes: page.length, packed: gzipSync(page).length };
}

/** Returns a script as one text, and the paths of what it consists of. */
async function bundle(entry) {
  const build = await rolldown({
    cwd: root,
    input: join(root, entry),
    platform: 'browser',
    plugins: [withoutUnused],
    resolve: { alias },
    transform: { target: 'es2022' },
  });
  const { output } = await build.generate({ format: 'iife', minify: true, comments: { legal: false, jsdoc: false, annotation: false } });
  await build.close();
  if (output.length !== 1) throw new Error(`${entry} must become one file, got ${output.map((file) => file.fileName).join(', ')}`);
  // Neither may end the element that holds the script, or hide its end.
  const code = output[0].code.replaceAll('</script', '<\\/script').replaceAll('<!--', '<\\!--');
  return { code, modules: Object.keys(output[0].modules) };
}

async function styleSheet() {
  const chart = await readFile(require.resolve('uplot/dist/uPlot.min.css'), 'utf8');
  const own = await Promise.all(['examples/cifar-like/report/colors.css', 'playground/style.css'].map(read));
  return compact([chart, ...own, ...(await panelStyles())].join('\n'));
}

/** Removes comments, and the space at the start of lines, around braces and behind colons and commas. Texts in quotes have none of these. */
function compact(style) {
  return style
    .replaceAll(/\/\*[\s\S]*?\*\//g, '')
    .replaceAll(/\s*\n\s*/g, '\n')
    .replaceAll(/\s*([{};])\s*|(?<=[:,])\s+/g, '$1');
}

/** Returns the panels' own style sheets. Each holds for its panel only, whose name is that of its folder. */
async function panelStyles() {
  const entries = await readdir(join(root, 'playground'), { withFileTypes: true });
  const names = entries.filter((e) => e.isDirectory()).map((e) => e.name);
  const styled = names.filter((name) => existsSync(join(root, `playground/${name}/style.css`))).sort();
  return Promise.all(styled.map(scopedStyle));
}

async function scopedStyle(name) {
  const path = `playground/${name}/style.css`;
  const style = await read(path);
  // Inside a scope a selector reaches only what is in it, so the name of the scope itself matches nothing.
  if (style.includes('#panel-')) throw new Error(`${path}: the sheet holds for #panel-${name} only; write :scope in its place`);
  return `@scope (#panel-${name}) {\n${style}\n}`;
}

/** Returns the page's Content-Security-Policy: its own script and style, WebAssembly, workers from its own script, and no network. */
function policy(script, style) {
  const hash = (text) => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
  return [
    "default-src 'none'",
    `script-src ${hash(script)} 'wasm-unsafe-eval'`,
    `style-src ${hash(style)}`,
    'worker-src blob:',
    'img-src data: blob:',
    "base-uri 'none'",
    "form-action 'none'",
  ].join('; ');
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { path, packed } = await buildPlayground();
  process.stdout.write(`${path}: ${(packed / 1000).toFixed(0)} kB gzipped\n`);
}

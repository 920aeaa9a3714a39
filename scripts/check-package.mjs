// Checks the package as others will get it: packs it, weighs and lints the tarball, and installs it offline in a throwaway project,
// which must print no warning. Looks at the installed files: the links of the documents, the maps that lead to the sources, the
// manifest's paths. Runs the README's example in JavaScript by import and by require, and in TypeScript against the packed declarations.
// Compiles CommonJS against the declarations, and all entries with the older compilers that TYPESCRIPTS names (a list of their folders).
// Looks at the names and lines that errors and stacks show. Bundles programs for the browser, weighs them, and looks at what got in.
//
//   npm run check:package
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { SourceMap } from 'node:module';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build } from 'vite';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const npm = process.env.npm_execpath;
const bin = (path) => join(root, 'node_modules', path);

const ok = (title) => void process.stdout.write(`ok  ${title}\n`);

/** Runs a Node script; throws with its output where it fails. */
function run(title, script, args, cwd) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...args], { cwd, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${title} failed (status ${status}):\n${stdout}${stderr}`);
  return { stdout, stderr };
}

/** The same, reported; returns what the script printed. */
function node(title, script, args, cwd) {
  const { stdout } = run(title, script, args, cwd);
  ok(title);
  return stdout;
}

/** Throws with the faults, if there are any. */
function report(title, faults) {
  if (faults.length > 0) throw new Error(`${title}:\n  ${faults.join('\n  ')}`);
  ok(title);
}

/** The first TypeScript block of the README; it has no types, so it is JavaScript too. */
function readmeExample() {
  const block = /```ts\r?\n([\s\S]*?)```/.exec(readFileSync(join(root, 'README.md'), 'utf8'));
  if (block === null) throw new Error('README.md has no ts block');
  return block[1];
}

/** The same with require in place of import. */
function withRequire(code) {
  return code
    .replace(/^import \* as (\w+) from (.+);$/gm, 'const $1 = require($2);')
    .replace(/^import (\{[^}]+\}) from (.+);$/gm, 'const $1 = require($2);');
}

/** The most bytes the tarball may have. */
const LIMIT = 1.44e6;

const kilobytes = (bytes) => `${(bytes / 1000).toFixed(1)} kB`;

function checkSize(tarball) {
  const { size } = statSync(tarball);
  if (size > LIMIT) throw new Error(`the tarball is too large: ${kilobytes(size)} of at most ${kilobytes(LIMIT)}`);
  ok(`size: ${kilobytes(size)} of at most ${kilobytes(LIMIT)}`);
}

/** Installs the tarball. No npm version may warn, as npm 11 does for a package from a file that has a `prepare` script. */
function install(tarball, project) {
  const { stdout, stderr } = run('npm install', npm, ['install', '--offline', '--no-audit', '--no-fund', tarball], project);
  const text = `${stdout}${stderr}`;
  if (/warn|chainrule/i.test(text)) throw new Error(`npm install printed:\n${text}`);
  ok('npm install, offline and without a warning');
}

/** The paths of all files of a folder, with / on every system. */
function filesOf(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((f) => f.isFile())
    .map((f) => join(f.parentPath, f.name).slice(folder.length + 1))
    .map((f) => f.replaceAll('\\', '/'));
}

/** The files the tarball must hold, and must not. */
function checkFiles(files) {
  const musts = ['LICENSE', 'README.md', 'CHANGELOG.md', 'dist/index.js', 'dist/index.d.ts', 'dist/engine.js', 'dist/binary.js'];
  const sources = ['src/index.ts', 'src/kernels/assembly/index.ts', 'docs/architecture.md', 'examples/xor.ts'];
  const lacking = [...musts, ...sources].filter((f) => !files.includes(f)).map((f) => `the package lacks ${f}`);
  const isStray = (f) => /^(bench\/.*\.ts|runs\/|node_modules\/|coverage\/)|binary\.generated\.ts$|^test\/.*\.json$/.test(f);
  const strays = files.filter(isStray).map((f) => `the package contains ${f}`);
  report('files', [...lacking, ...strays]);
}

/** Every relative link of a document leads to a file of the package. Headings are the matter of test/docs.test.ts. */
function checkLinks(folder, files) {
  const faults = [];
  let count = 0;
  for (const document of files.filter((f) => f.endsWith('.md'))) {
    const text = readFileSync(join(folder, document), 'utf8');
    const prose = text.replace(/^(```+)[\s\S]*?^\1/gm, '').replace(/`[^`\n]*`/g, '``');
    for (const [, link] of prose.matchAll(/\]\(([^()\s]+)\)/g)) {
      if (/^[a-z]+:|^#/.test(link)) continue;
      count++;
      const path = decodeURI(link.replace(/#.*/, ''));
      if (!existsSync(join(folder, dirname(document), path))) faults.push(`${document}: ${link}`);
    }
  }
  const remedy = "links to what is not in the package (add the file to 'files' in package.json, or name it without a link)";
  report(faults.length > 0 ? remedy : `links: ${count}`, faults);
}

/** The manifest names files of the package alone. */
function checkManifest(folder) {
  const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
  const entries = Object.values(manifest.exports).flatMap((e) => (typeof e === 'string' ? [e] : Object.values(e)));
  const named = [manifest.main, manifest.types, ...entries, ...manifest.sideEffects];
  const missing = named.filter((path) => !existsSync(join(folder, path))).map((path) => `package.json names ${path}, which is not there`);
  const installs = ['preinstall', 'install', 'postinstall', 'prepare'].filter((name) => name in manifest.scripts);
  report('manifest', [...missing, ...installs.map((name) => `the published manifest has a script ${name}`)]);
}

/** Chunks made of nothing in src. */
const WITHOUT_MAP = ['dist/binary.js', 'dist/rolldown-runtime.js'];

/** An entry whose code is in a chunk that others share: it has no line of its own. */
const isFacade = (code) =>
  /^(?:(?:import|export)\b[^;]*;\s*)+$/.test(code) && !/export default|export (?:const|let|function|class)/.test(code);

/** Declarations and JavaScript have maps that lead to sources in the package, and do not repeat them. */
function checkMaps(folder, files) {
  const faults = [];
  for (const file of files.filter((f) => /^dist\/.*\.(js|d\.ts)$/.test(f) && !WITHOUT_MAP.includes(f))) {
    const code = readFileSync(join(folder, file), 'utf8');
    if (isFacade(code)) continue;
    const url = /\n\/\/# sourceMappingURL=(\S+)\s*$/.exec(code)?.[1];
    const map = join(folder, dirname(file), url ?? '');
    if (url === undefined || !existsSync(map)) {
      faults.push(`${file} has no map`);
      continue;
    }
    const { sources, sourcesContent } = JSON.parse(readFileSync(map, 'utf8'));
    if (sourcesContent !== undefined) faults.push(`${file}: the map repeats the sources`);
    for (const source of sources) if (!existsSync(join(map, '..', source))) faults.push(`${file}: the map names ${source}`);
  }
  report('maps', faults);
}

/** "Go to definition": the map of every declaration leads to the line of the source that declares the name. */
function checkDefinitions(folder, files) {
  const faults = [];
  let count = 0;
  for (const file of files.filter((f) => f.endsWith('.d.ts') && f.startsWith('dist/'))) {
    const map = new SourceMap(JSON.parse(readFileSync(join(folder, `${file}.map`), 'utf8')));
    const lines = readFileSync(join(folder, file), 'utf8').split('\n');
    for (const [i, line] of lines.entries()) {
      const name = /^export declare (?:abstract )?(?:class|function|const|let) (\w+)/.exec(line)?.[1];
      if (name === undefined) continue;
      count++;
      const { originalSource, originalLine } = map.findEntry(i, line.indexOf(` ${name}`) + 1);
      const source = join(folder, dirname(file), originalSource ?? '');
      const found = originalSource === undefined ? '' : readFileSync(source, 'utf8').split('\n')[originalLine];
      if (!new RegExp(`\\b${name}\\b`).test(found)) faults.push(`${file}: ${name} leads to ${originalSource}:${originalLine + 1}`);
    }
  }
  report(`definitions: ${count} lead to their source`, faults);
}

/** Classes and functions keep the names that errors show, though they are bundled, and the package knows which lines of a stack are its own. */
function checkNames(project, entries) {
  const names = [
    `for (const entry of ${JSON.stringify(entries)}) {`,
    '  for (const [name, x] of Object.entries(await import(entry))) {',
    // An operation made by a factory has no name of its own; bundlers put $1 after a name that is taken.
    "    if (typeof x === 'function' && (/^[A-Z]/.test(name) ? x.name !== name : x.name.includes('$'))) {",
    '      throw new Error(`${entry}: ${name} is called ${x.name}`);',
    '    }',
    '  }',
    '}\n',
  ];
  writeFileSync(join(project, 'names.mjs'), names.join('\n'));
  node('names', 'names.mjs', [], project);
}

/** Errors name the user's line, and stacks name the sources of the package where Node reads source maps. */
function checkStacks(project) {
  const anomaly = "import { detectAnomaly, tensor } from 'chainrule';\ndetectAnomaly(true);\ntensor([0]).log();\n";
  writeFileSync(join(project, 'anomaly.mjs'), anomaly);
  for (const flags of [[], ['--enable-source-maps']]) {
    const { stderr } = spawnSync(process.execPath, [...flags, 'anomaly.mjs'], { cwd: project, encoding: 'utf8' });
    if (!/AnomalyError: log: .*\n(  .*\n)*  called at \S*anomaly\.mjs:3:\d+\n/.test(stderr))
      throw new Error(`expected one about line 3:\n${stderr}`);
    if (flags.length === 0) continue;
    const frames = [...stderr.matchAll(/^ {4}at .*[\\/]chainrule[\\/](\S+):\d+:\d+\)?$/gm)].map((m) => m[1].replaceAll('\\', '/'));
    const foreign = frames.filter((f) => !existsSync(join(project, 'node_modules/chainrule', f)) || !f.startsWith('src/'));
    if (frames.length === 0 || foreign.length > 0) throw new Error(`expected a stack of the sources:\n${stderr}`);
  }
  ok("the user's line, and the sources in stacks");
}

/** Bundles a program for the browser, which must print in Node what it prints unbundled, and contain none of `strays`. */
async function checkBundle(project, { title, lines, strays, most }) {
  writeFileSync(join(project, 'main.js'), lines.join('\n'));
  const lib = { entry: 'main.js', formats: ['es'], fileName: () => 'bundle.mjs' };
  await build({ root: project, configFile: false, logLevel: 'error', build: { lib, outDir: 'bundle', minify: false } });
  const code = readFileSync(join(project, 'bundle/bundle.mjs'), 'utf8');
  for (const stray of [...strays, 'sourceMappingURL']) {
    if (code.includes(stray)) throw new Error(`a bundle of ${title} contains ${stray}`);
  }
  const { stdout: printed } = run(`bundle of ${title}`, 'bundle/bundle.mjs', [], project);
  const { stdout: expected } = run(title, 'main.js', [], project);
  if (printed !== expected) throw new Error(`the bundle of ${title} printed ${printed} instead of ${expected}`);
  const { length } = gzipSync(code);
  if (length > most) throw new Error(`a bundle of ${title} is too large: ${kilobytes(length)} gzipped of at most ${kilobytes(most)}`);
  ok(`bundle of ${title}: ${kilobytes(length)} gzipped`);
}

/** Prints the names of a tensor's methods, which modules install as a side effect. */
const METHODS = 'const methods = (x) => Object.getOwnPropertyNames(Object.getPrototypeOf(x)).sort().join();';

const BUNDLES = [
  {
    title: 'chainrule alone',
    lines: ["import { tensor } from 'chainrule';", METHODS, 'const x = tensor([1, 2]);', 'console.log(x.add(1).sum().item(), methods(x));'],
    strays: ['class DataLoader', 'class Module', 'safetensors', 'fast-check', 'TensorSample', 'from "node:', 'import("node:'],
    most: 141e3,
  },
  {
    title: 'one layer',
    lines: [
      "import { Linear } from 'chainrule/nn';",
      METHODS,
      'const { weight } = new Linear(2, 3);',
      'console.log(weight.shape.join(), methods(weight.detach()));',
    ],
    strays: ['class Conv2d', 'class GELU', 'class BatchNorm2d', 'class SqueezeExcite', 'class Adam'],
    most: 147e3,
  },
  {
    title: 'a decoder of files',
    lines: ["import { decodeSafetensors } from 'chainrule/io';", 'console.log(decodeSafetensors.name);'],
    strays: ['WebAssembly', 'class Tensor'],
    most: 6e3,
  },
];

/**
 * The declarations name no type that TypeScript 5.4 lacks: typed arrays are generic from 5.7 on, where skipLibCheck: false also reports them.
 */
function checkOldTypes(folder, files) {
  const faults = [];
  for (const file of files.filter((f) => f.endsWith('.d.ts') && f.startsWith('dist/'))) {
    const code = readFileSync(join(folder, file), 'utf8').replace(/\/\*[\s\S]*?\*\//g, '');
    const generic = /\b(?:(?:Big)?(?:Int|Uint|Float)\d+(?:Clamped)?Array|DataView|Buffer)</.exec(code);
    if (generic !== null) faults.push(`${file}: ${generic[0]}…>, which TypeScript 5.4 does not know`);
  }
  report('no generic typed arrays in the declarations', faults);
}

/** All entries, with no library file left unchecked, by each compiler that TYPESCRIPTS names. */
function checkOldCompilers(project, compilerOptions) {
  const folders = (process.env.TYPESCRIPTS ?? '').split(delimiter).filter((folder) => folder !== '');
  if (folders.length === 0) process.stdout.write('--  older compilers: TYPESCRIPTS names none\n');
  const resolutions = { nodenext: 'nodenext', esnext: 'bundler' };
  for (const folder of folders) {
    const { version } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    for (const [module, moduleResolution] of Object.entries(resolutions)) {
      const options = { ...compilerOptions, target: 'es2022', module, moduleResolution, skipLibCheck: false };
      writeFileSync(join(project, 'tsconfig.old.json'), JSON.stringify({ compilerOptions: options, files: ['surface.ts'] }));
      node(`all entries with TypeScript ${version}, ${moduleResolution}`, join(folder, 'bin/tsc'), ['-p', 'tsconfig.old.json'], project);
    }
  }
}

/** CommonJS type-checks as README.md says: import and require under nodenext, a dynamic import alone under node16. */
function checkCommonJs(project, compilerOptions) {
  const required =
    "import { tensor } from 'chainrule';\nimport nn = require('chainrule/nn');\nexport const y = new nn.Linear(1, 1).forward(tensor([[1]]));\n";
  const imported = "export const y = async () => (await import('chainrule')).tensor([1]);\n";
  writeFileSync(join(project, 'required.cts'), required);
  writeFileSync(join(project, 'imported.cts'), imported);
  const tsc = (module, file) => {
    writeFileSync(join(project, 'tsconfig.cjs.json'), JSON.stringify({ compilerOptions: { ...compilerOptions, module }, files: [file] }));
    return spawnSync(process.execPath, [bin('typescript/bin/tsc'), '-p', 'tsconfig.cjs.json'], { cwd: project, encoding: 'utf8' }).stdout;
  };
  const faults = [
    ['nodenext', 'required.cts', []],
    ['nodenext', 'imported.cts', []],
    ['node16', 'imported.cts', []],
    ['node16', 'required.cts', ['TS1479', 'TS1471']],
  ].flatMap(([module, file, expected]) => {
    const printed = tsc(module, file);
    const got = [...printed.matchAll(/error (TS\d+)/g)].map((m) => m[1]);
    return got.join() === expected.join() ? [] : [`${file} under ${module}: expected the errors [${expected}], got:\n${printed}`];
  });
  report('CommonJS against the declarations', faults);
}

/** The one entry that needs a package, with that package beside it. */
function checkTesting(project, compilerOptions) {
  for (const name of ['fast-check', 'pure-rand']) symlinkSync(bin(name), join(project, 'node_modules', name), 'junction');
  const code = [
    "import fc from 'fast-check';",
    "import { gradientProperty, tensors } from 'chainrule/testing';",
    "fc.assert(gradientProperty((x) => x.gelu(), tensors({ dtype: 'float64' })), { numRuns: 20 });\n",
  ].join('\n');
  for (const file of ['testing.mjs', 'testing.ts']) writeFileSync(join(project, file), code);
  const config = { compilerOptions, files: ['testing.ts'] };
  writeFileSync(join(project, 'tsconfig.testing.json'), JSON.stringify(config));
  node('chainrule/testing beside fast-check', 'testing.mjs', [], project);
  node('chainrule/testing against the declarations', bin('typescript/bin/tsc'), ['-p', 'tsconfig.testing.json'], project);
}

async function check(temp) {
  node('npm pack', npm, ['pack', '--pack-destination', temp], root);
  const tarball = join(
    temp,
    readdirSync(temp).find((f) => f.endsWith('.tgz')),
  );
  checkSize(tarball);
  process.stdout.write(node('publint', bin('publint/src/cli.js'), [tarball, '--strict'], root));
  node('are the types wrong', bin('@arethetypeswrong/cli/dist/index.js'), [tarball, '--profile', 'esm-only', '--no-color'], root);

  const project = join(temp, 'project');
  mkdirSync(project);
  writeFileSync(join(project, 'package.json'), JSON.stringify({ name: 'throwaway', private: true, type: 'module' }));
  install(tarball, project);
  const installed = join(project, 'node_modules/chainrule');
  const files = filesOf(installed);
  checkFiles(files);
  checkLinks(installed, files);
  checkManifest(installed);
  checkMaps(installed, files);
  checkDefinitions(installed, files);

  const example = readmeExample();
  const options = {
    target: 'es2023',
    module: 'nodenext',
    strict: true,
    noEmit: true,
    types: [],
    // What the declarations need beyond it, they must name themselves.
    lib: ['es2022', 'dom'],
  };
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, files: ['example.ts'] }));
  // A program for Node need not have 'dom'.
  const plain = { compilerOptions: { ...options, lib: ['es2022'] }, files: ['surface.ts'] };
  writeFileSync(join(project, 'tsconfig.surface.json'), JSON.stringify(plain));
  writeFileSync(join(project, 'example.mjs'), example);
  writeFileSync(join(project, 'example.cjs'), withRequire(example));
  writeFileSync(join(project, 'example.ts'), example);
  const entries = Object.keys(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).exports).filter((e) => !e.endsWith('.json'));
  const surface = entries.filter((e) => e !== './testing').map((e, i) => `export * as entry${i} from '${e.replace('.', 'chainrule')}';\n`);
  writeFileSync(join(project, 'surface.ts'), surface.join(''));
  const printed = [
    node('README example by import', 'example.mjs', [], project),
    node('README example by require', 'example.cjs', [], project),
    node('README example in TypeScript', bin('tsx/dist/cli.mjs'), ['example.ts'], project),
  ];
  if (new Set(printed).size !== 1) throw new Error(`the example printed different things:\n${printed.join('\n')}`);
  node('README example against the declarations', bin('typescript/bin/tsc'), ['-p', 'tsconfig.json'], project);
  node('all entries against the declarations', bin('typescript/bin/tsc'), ['-p', 'tsconfig.surface.json'], project);
  checkOldTypes(installed, files);
  checkOldCompilers(project, plain.compilerOptions);
  checkCommonJs(project, plain.compilerOptions);
  checkTesting(project, options);
  checkNames(
    project,
    entries.map((e) => e.replace('.', 'chainrule')),
  );
  checkStacks(project);
  for (const b of BUNDLES) await checkBundle(project, b);
  process.stdout.write(printed[0]);
}

if (npm === undefined) throw new Error('run this as: npm run check:package');
const temp = mkdtempSync(join(tmpdir(), 'chainrule-package-'));
try {
  await check(temp);
} finally {
  rmSync(temp, { recursive: true, force: true });
}

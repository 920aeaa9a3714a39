// Checks the package as others will get it: packs it, weighs and lints the tarball, installs it offline in a throwaway project, and runs
// the README's example there in JavaScript by import and by require, and in TypeScript against the packed declarations. Looks at the
// names that errors and stacks show, as bundling might change them. Bundles programs for the browser, and looks at what got into them.
//
//   npm run check:package
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'vite';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const npm = process.env.npm_execpath;
const bin = (path) => join(root, 'node_modules', path);

/** Runs a Node script; throws with its output where it fails. */
function node(title, script, args, cwd) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, ...args], { cwd, encoding: 'utf8' });
  if (status !== 0) throw new Error(`${title} failed (status ${status}):\n${stdout}${stderr}`);
  process.stdout.write(`ok  ${title}\n`);
  return stdout;
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
const LIMIT = 250 * 1024;

function checkSize(tarball) {
  const { size } = statSync(tarball);
  const kib = `${(size / 1024).toFixed(1)} KiB of at most ${LIMIT / 1024}`;
  if (size > LIMIT) throw new Error(`the tarball is too large: ${kib}`);
  process.stdout.write(`ok  size: ${kib}\n`);
}

/** The files the tarball must hold, and must not. */
function checkFiles(folder) {
  const files = readdirSync(folder, { recursive: true }).map((f) => f.replaceAll('\\', '/'));
  for (const must of ['LICENSE', 'README.md', 'CHANGELOG.md', 'dist/index.js', 'dist/index.d.ts', 'dist/engine.js', 'dist/binary.js']) {
    if (!files.includes(must)) throw new Error(`the package lacks ${must}`);
  }
  const stray = files.find((f) => /^(test|examples|bench|scripts|docs|runs|node_modules)\//.test(f));
  if (stray !== undefined) throw new Error(`the package holds ${stray}`);
  process.stdout.write('ok  files\n');
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
  const anomaly = "import { detectAnomaly, tensor } from 'chainrule';\ndetectAnomaly(true);\ntensor([0]).log();\n";
  writeFileSync(join(project, 'names.mjs'), names.join('\n'));
  writeFileSync(join(project, 'anomaly.mjs'), anomaly);
  node('names', 'names.mjs', [], project);
  const { stderr } = spawnSync(process.execPath, ['anomaly.mjs'], { cwd: project, encoding: 'utf8' });
  if (!/AnomalyError: log: .*\n(  .*\n)*  called at \S*anomaly\.mjs:3:\d+\n/.test(stderr))
    throw new Error(`expected one about line 3:\n${stderr}`);
  process.stdout.write("ok  the user's line\n");
}

/** Bundles a program for the browser, which must print `expected` in Node too and contain none of `strays`. */
async function checkBundle(project, { title, lines, expected, strays }) {
  writeFileSync(join(project, 'main.js'), lines.join('\n'));
  const lib = { entry: 'main.js', formats: ['es'], fileName: () => 'bundle.mjs' };
  await build({ root: project, configFile: false, logLevel: 'error', build: { lib, outDir: 'bundle', minify: false } });
  const code = readFileSync(join(project, 'bundle/bundle.mjs'), 'utf8');
  for (const stray of strays) if (code.includes(stray)) throw new Error(`a bundle of ${title} contains ${stray}`);
  const printed = node(`bundle of ${title}`, 'bundle/bundle.mjs', [], project);
  if (printed !== `${expected}\n`) throw new Error(`the bundle of ${title} printed ${printed} instead of ${expected}`);
}

const BUNDLES = [
  {
    title: 'chainrule alone',
    lines: ["import { tensor } from 'chainrule';", 'console.log(tensor([1, 2]).add(1).sum().item());'],
    expected: '5',
    strays: ['class DataLoader', 'class Module', 'safetensors', 'fast-check', 'TensorSample', 'from "node:', 'import("node:'],
  },
  {
    title: 'one layer',
    lines: ["import { Linear } from 'chainrule/nn';", 'console.log(new Linear(2, 3).weight.shape.join());'],
    expected: '3,2',
    strays: ['class Conv2d', 'class GELU', 'class BatchNorm2d', 'class SqueezeExcite', 'class Adam'],
  },
  {
    title: 'a decoder of files',
    lines: ["import { decodeSafetensors } from 'chainrule/io';", 'console.log(decodeSafetensors.name);'],
    expected: 'decodeSafetensors',
    strays: ['WebAssembly', 'class Tensor'],
  },
];

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
  node('npm install, offline', npm, ['install', '--offline', '--no-audit', '--no-fund', tarball], project);
  checkFiles(join(project, 'node_modules/chainrule'));

  const example = readmeExample();
  const options = {
    target: 'es2023',
    module: 'nodenext',
    strict: true,
    noEmit: true,
    types: [],
    lib: ['es2023', 'esnext.disposable', 'dom'],
  };
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, files: ['example.ts'] }));
  // A program for Node need not have 'dom'.
  const plain = { compilerOptions: { ...options, lib: ['es2023', 'esnext.disposable'] }, files: ['surface.ts'] };
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
  checkTesting(project, options);
  checkNames(
    project,
    entries.map((e) => e.replace('.', 'chainrule')),
  );
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

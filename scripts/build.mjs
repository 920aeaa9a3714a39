// Builds the package: the kernels if they are stale, then dist/ from src/. Declarations only of what the entries lead to. JavaScript
// without comments, which would be a third of it, in few files, since each costs time on import:
//
//   index.js, nn/index.js, …   one for each entry
//   core.js                    errors, dtypes, shapes, random numbers
//   engine.js                  kernels, autograd, inspect
//   binary.js                  the WebAssembly binary
//
// Maps lead from the declarations and from the JavaScript to src/, which the package contains.
//
//   npm run build
import { spawnSync } from 'node:child_process';
import { readFile, readdir, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';
import { buildKernels, kernelsAreFresh } from './build-kernels.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
if (!(await kernelsAreFresh())) await buildKernels();
// A module that is gone from src must not stay in the package.
await rm(join(root, 'dist'), { recursive: true, force: true });
const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
const entries = Object.values(manifest.exports).filter((e) => e.default !== undefined);

const tsc = join(root, 'node_modules/typescript/bin/tsc');
const { status } = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.build.json'], { cwd: root, stdio: 'inherit' });
if (status !== 0) process.exitCode = status ?? 1;
await dropUnreached();
await bundle();

async function bundle() {
  const names = entries.map((e) => e.default.replace(/^\.\/dist\/(.*)\.js$/, '$1'));
  const input = Object.fromEntries(names.map((name) => [name, join(root, 'src', `${name}.ts`)]));
  const external = Object.keys(manifest.peerDependencies);
  const build = await rolldown({ cwd: root, input, external, platform: 'neutral', transform: { target: 'es2022' } });
  await build.write({
    dir: join(root, 'dist'),
    entryFileNames: '[name].js',
    chunkFileNames: '[name].js',
    codeSplitting: {
      groups: [
        { name: 'binary', test: /[\\/]src[\\/]kernels[\\/]wasm[\\/]binary\.generated\.ts$/, priority: 1 },
        { name: 'core', test: /[\\/]src[\\/](core|platform)[\\/]/ },
        { name: 'engine', test: /[\\/]src[\\/](kernels|autograd|inspect)[\\/]/ },
      ],
    },
    comments: { legal: false, jsdoc: false, annotation: true },
    // Readable, and one byte a character to the parser, which is the quicker for it; names are what errors and stacks show.
    charset: 'ascii',
    keepNames: true,
    minifyInternalExports: false,
    sourcemap: true,
    sourcemapExcludeSources: true,
    plugins: [dropForeignMaps()],
  });
  await build.close();
}

/** Drops the maps of chunks without a source in the package: the generated binary and the bundler's helpers. */
function dropForeignMaps() {
  const isSource = (id) => !id.startsWith('\0') && !id.endsWith('binary.generated.ts');
  return {
    name: 'drop-foreign-maps',
    generateBundle(_, files) {
      const chunks = Object.values(files).filter((file) => file.type === 'chunk');
      for (const chunk of chunks.filter((c) => !c.moduleIds.some(isSource))) {
        delete files[`${chunk.fileName}.map`];
        chunk.map = null;
        chunk.code = chunk.code.replace(/\n\/\/# sourceMappingURL=.*\s*$/, '\n');
      }
    },
  };
}

/** The declarations that `files` lead to, themselves included. */
async function reached(files) {
  const found = new Set(files);
  for (const file of found) {
    const code = await readFile(file, 'utf8');
    // As in `from './x.ts'`, `import './x.ts'` and `import('./x.ts')`.
    for (const [, path] of code.matchAll(/(?:from|import)\s*\(?\s*['"](\.[^'"]+)\.[jt]s['"]/g))
      found.add(join(dirname(file), `${path}.d.ts`));
  }
  return found;
}

/** Removes the declarations that no entry leads to, and their maps. */
async function dropUnreached() {
  const wanted = await reached(entries.map((e) => join(root, e.types)));
  for (const name of await readdir(join(root, 'dist'), { recursive: true })) {
    const file = join(root, 'dist', name);
    if (/\.d\.ts(\.map)?$/.test(file) && !wanted.has(file.replace(/\.map$/, ''))) await rm(file);
  }
}

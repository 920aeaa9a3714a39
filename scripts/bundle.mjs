// Bundles the entries of the package: the second half of build.mjs, apart so that tests can bundle into a folder of their own.
import { readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { rolldown } from 'rolldown';

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
const manifest = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
/** The entries of package.json. */
export const entries = Object.values(manifest.exports).filter((e) => e.default !== undefined);

/** Bundles the package's entries from src/ into the folder `dir`. */
export async function bundle(dir) {
  const names = entries.map((e) => e.default.replace(/^\.\/dist\/(.*)\.js$/, '$1'));
  const input = Object.fromEntries(names.map((name) => [name, join(root, 'src', `${name}.ts`)]));
  const external = Object.keys(manifest.peerDependencies);
  const build = await rolldown({ cwd: root, input, external, platform: 'neutral', transform: { target: 'es2022' } });
  await build.write({
    dir,
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
    plugins: [ownExportsOnly(), dropForeignMaps()],
  });
  await build.close();
}

/** Makes the bundler's helper for `export * as` read own properties only: it would also read what a page adds to Object.prototype. */
function ownExportsOnly() {
  return {
    name: 'own-exports-only',
    generateBundle(_, files) {
      for (const file of Object.values(files)) {
        if (file.type !== 'chunk' || !file.code.includes('__exportAll = ')) continue;
        const code = file.code.replace('for (var name in all)', 'for (var name of Object.keys(all))');
        if (code === file.code) throw new Error('build: the helper __exportAll has changed; see ownExportsOnly');
        file.code = code;
      }
    },
  };
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

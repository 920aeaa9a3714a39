/** What the published declarations show: they are complete in themselves, a Tensor lists what users may call, and all has its comment. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { LanguageServer } from './support/language-server.ts';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const compiler = join(root, 'node_modules/typescript/bin/tsc');
const folder = mkdtempSync(join(tmpdir(), 'chainrule-declarations-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Every member that completion offers on a Tensor. A member of the engine is marked @internal in the source instead. */
const MEMBERS = `
  label offset shape strides dtype ndim numel size sizes isContiguous
  requiresGrad isLeaf requiresGrad_ grad registerHook retainGrad backward
  item data toArray toString toJSON
  keep dispose
  clone maskedFill neg abs sign square floor ceil round reciprocal sqrt rsqrt to
  exp expm1 log log1p sin cos erf relu sigmoid logSigmoid tanh clamp
  add sub mul div pow maximum minimum eq ne lt le gt ge
  logicalAnd logicalOr logicalNot isnan isfinite
  sum mean std var prod logsumexp norm any all cumsum expand amax amin argmax argmin max min
  reshape view flatten unflatten permute transpose squeeze unsqueeze
  detach contiguous slice select gather
  sort argsort topk nonzero maskedSelect
  softmax logSoftmax
  add_ mul_ zero_ copy_ fill_
  matmul mv dot outer
  broadcastTo chunk flip indexSelect movedim repeat roll scatterAdd split tril triu unbind
  elu gelu hardsigmoid hardswish leakyRelu mish prelu silu softplus
`
  .trim()
  .split(/\s+/);

const CONSUMER = `
import { Tensor, defineOp, scope } from './src/index.js';
import * as data from './src/data/index.js';
import * as io from './src/io/index.js';
import * as functional from './src/nn/functional.js';
import * as nn from './src/nn/index.js';
import * as optim from './src/optim/index.js';

export const entries = [data, io, functional, nn, optim];

// Fails where a member is missing here, and where one is listed that is not there.
export const members: Record<Extract<keyof Tensor, string>, true> = { ${MEMBERS.map((name) => `${name}: true`).join(', ')} };
export const statics: Record<keyof typeof Tensor, true> = { prototype: true };

// An operation of the user's own: a tensor must do as the result.
export const silu = defineOp({
  name: 'silu',
  forward: (_, x: Tensor) => scope(() => x.mul(x.sigmoid())),
  save: (_, [x], [y]) => ({ x, y }),
  backward: (g, { x, y }) => [g.mul(x.sigmoid().add(y.mul(x.sigmoid().neg().add(1))))],
});
`;

function compile(...args: readonly string[]): string {
  const { stdout, stderr } = spawnSync(process.execPath, [compiler, ...args], { cwd: root, encoding: 'utf8' });
  return stdout + stderr;
}

beforeAll(() => {
  expect(compile('-p', 'tsconfig.build.json', '--outDir', join(folder, 'src'))).toBe('');
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
});

test('they compile without the sources, and a Tensor has exactly the listed members', () => {
  const options = {
    target: 'es2022',
    lib: ['es2023', 'esnext.disposable', 'dom'],
    module: 'nodenext',
    strict: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: false,
    noEmit: true,
    types: ['node'],
    typeRoots: [join(root, 'node_modules/@types')],
  };
  writeFileSync(join(folder, 'consumer.ts'), CONSUMER);
  writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, files: ['consumer.ts'] }));
  expect(compile('-p', join(folder, 'tsconfig.json'))).toBe('');
});

/** The entries of the package, as files of declarations. */
const ENTRIES = Object.values<{ types?: string }>(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).exports).flatMap(
  ({ types }) => (types === undefined ? [] : [types.replace(/^\.\/dist\/(.*)\.d\.ts$/, '$1')]),
);

/** `export * as name`: TypeScript shows no comment for these. */
const NAMESPACES = new Set(['init', 'transforms']);

test('an editor shows a comment for every member of Tensor, and for every export', { timeout: 60_000 }, async () => {
  const server = await LanguageServer.start(folder);
  try {
    writeFileSync(join(folder, 'member.ts'), "import { Tensor } from './src/index.js';\n\ndeclare const x: Tensor;\nx.");
    const members = await server.completions(join(folder, 'member.ts'));
    expect(MEMBERS.filter((name) => !members.some(({ label }) => label === name))).toEqual([]);
    // The server also offers `x[Symbol.…]`.
    expect(members.filter(({ label, comment }) => comment === '' && label !== 'Symbol').map(({ label }) => label)).toEqual([]);

    for (const [i, entry] of ENTRIES.entries()) {
      const file = join(folder, `entry-${i}.ts`);
      writeFileSync(file, `import * as entry from './src/${entry}.js';\n\nentry.`);
      const exports = await server.completions(file);
      expect(exports.length).toBeGreaterThan(0);
      const silent = exports.filter(({ label, comment }) => comment === '' && !NAMESPACES.has(label));
      expect(silent.map(({ label }) => `${entry}: ${label}`)).toEqual([]);
    }
  } finally {
    server.close();
  }
});

/** The optional properties of what users fill in, as `file: Interface.property`, with their comments. */
function optionalProperties(): [name: string, comment: string][] {
  const files = readdirSync(join(folder, 'src'), { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.d.ts'));
  return files.flatMap((file) => {
    const text = readFileSync(join(folder, 'src', file), 'utf8').replaceAll('\r\n', '\n');
    const declarations = text.matchAll(/^export (?:interface (\w+)\b[^{]*|(?:declare )?type (\w+) = )\{\n[^]*?^\}/gm);
    return Array.from(declarations).flatMap(([declaration, asInterface, asType]) => {
      const name = asInterface ?? asType!;
      if (!/(Options|Spec|SpecBase|Group|Entry)$/.test(name)) return [];
      return Array.from(
        declaration.matchAll(/^( +\/\*\*(?:(?!\*\/)[^])*\*\/\n)? +(?:readonly )?(\w+)\?: (?!undefined|never).*;$/gm),
        ([, comment = '', property]): [string, string] => [`${file}: ${name}.${property}`, comment.replaceAll(/\s+\*?\s*/g, ' ')],
      );
    });
  });
}

test('every optional option names its default', () => {
  const options = optionalProperties();
  expect(options.length).toBeGreaterThan(100);
  expect(options.filter(([, comment]) => !/\bdefault\b/i.test(comment)).map(([name]) => name)).toEqual([]);
});

import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import config from '../vitest.config.ts';

// The house rules of docs/architecture.md, read from import lines: arrows only go down, siblings never meet.

const root = dirname(dirname(fileURLToPath(import.meta.url)));

interface Import {
  readonly file: string;
  /** As written. */
  readonly specifier: string;
  /** The imported file, from the root; null for packages and node: modules. */
  readonly target: string | null;
  /** Erased when compiled. */
  readonly type: boolean;
  /** Inside a function: import(…). */
  readonly dynamic: boolean;
}

function filesUnder(folder: string): string[] {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })
    .map((f) => `${folder}/${f.replaceAll('\\', '/')}`)
    .filter((f) => f.endsWith('.ts') && !f.startsWith('src/kernels/assembly/'))
    .sort();
}

function read(file: string): string {
  return readFileSync(join(root, file), 'utf8').replaceAll('\r\n', '\n');
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '');
}

/** What a file imports; types inside `typeof import('…')` are no imports. */
function importsOf(file: string, text = read(file)): Import[] {
  const code = withoutComments(text);
  const found: Import[] = [];
  const add = (specifier: string, type: boolean, dynamic: boolean): void => {
    const target = specifier.startsWith('.') ? relative(root, resolve(root, dirname(file), specifier)).replaceAll('\\', '/') : null;
    found.push({ file, specifier, target, type, dynamic });
  };
  for (const m of code.matchAll(/^(?:import|export)\s+(type\s)?(?:[\w*{][^;'"]*?\sfrom\s+)?['"]([^'"]+)['"]/gm))
    add(m[2]!, m[1] !== undefined, false);
  for (const m of code.matchAll(/(typeof\s+)?\bimport\(\s*['"]([^'"]+)['"]/g)) if (m[1] === undefined) add(m[2]!, false, true);
  return found;
}

/** The layer of a file of src, and the layers each may import. */
const allowed: Readonly<Record<string, readonly string[]>> = {
  core: ['core'],
  platform: ['platform', 'core'],
  kernels: ['kernels', 'platform', 'core'],
  autograd: ['autograd', 'kernels', 'platform', 'core'],
  inspect: ['inspect', 'autograd', 'kernels', 'platform', 'core'],
  nn: ['nn', 'inspect', 'autograd', 'kernels', 'core'],
  optim: ['optim', 'autograd', 'kernels', 'core'],
  data: ['data', 'autograd', 'kernels', 'platform', 'core'],
  io: ['io', 'autograd', 'kernels', 'platform', 'core'],
  train: ['train', 'io', 'data', 'optim', 'nn', 'autograd', 'kernels', 'platform', 'core'],
  interop: ['interop', 'io', 'nn', 'inspect', 'autograd', 'kernels', 'platform', 'core'],
  distributed: ['distributed', 'train', 'io', 'data', 'optim', 'nn', 'autograd', 'kernels', 'platform', 'core'],
  testing: ['testing', 'inspect', 'nn', 'autograd', 'kernels', 'core'],
  'index.ts': ['inspect', 'autograd', 'core'],
};

/**
 * Files that may import each other in a circle once type imports count. A tensor has a node, a tape frees tensors, and a scope does
 * both, so these three describe one structure. A knot that has gone must leave this list.
 */
const allowedKnots: readonly (readonly string[])[] = [['src/autograd/scope-stack.ts', 'src/autograd/tape.ts', 'src/autograd/tensor.ts']];

function layerOf(file: string): string {
  return file.split('/')[1]!;
}

const sources = filesUnder('src');
const imports = sources.flatMap((f) => importsOf(f));
const show = (i: Import): string => `${i.file} → ${i.specifier}`;

describe('layers', () => {
  test('every folder of src has its place', () => {
    expect(sources.filter((f) => allowed[layerOf(f)] === undefined)).toEqual([]);
  });

  test('arrows only go down, siblings never meet, types included', () => {
    expect(imports.filter((i) => i.target !== null && !allowed[layerOf(i.file)]!.includes(layerOf(i.target))).map(show)).toEqual([]);
  });

  test('layers above autograd reach it through its index', () => {
    const above = imports.filter((i) =>
      ['nn', 'optim', 'data', 'io', 'train', 'interop', 'distributed', 'testing', 'index.ts'].includes(layerOf(i.file)),
    );
    const wrong = above.filter((i) => i.target?.startsWith('src/autograd/') && i.target !== 'src/autograd/index.ts');
    expect(wrong.map(show)).toEqual([]);
  });

  test('imports that remain at run time have no cycles', () => {
    expect(cycles(imports.filter((i) => !i.type))).toEqual([]);
  });

  test('with types too, the only files that import each other in a circle are the allowed knots', () => {
    expect(knots(imports)).toEqual(allowedKnots);
  });

  test('no package is imported but fast-check by testing, and nothing of Node at load time', () => {
    const fine = (i: Import): boolean =>
      (i.specifier.startsWith('node:') && (i.type || i.dynamic)) || (i.specifier === 'fast-check' && layerOf(i.file) === 'testing');
    expect(imports.filter((i) => i.target === null && !fine(i)).map(show)).toEqual([]);
  });

  test('imports name a file that is there', () => {
    expect(imports.filter((i) => i.target !== null && !existsSync(join(root, i.target))).map(show)).toEqual([]);
  });

  test('examples import the public surface only, bench also kernels and the examples’ nets', () => {
    const inside = (i: Import): boolean => i.target?.startsWith(`${i.file.split('/')[0]!}/`) === true;
    const wrong = ['examples', 'bench']
      .flatMap(filesUnder)
      .flatMap((f) => importsOf(f))
      .filter((i) => i.target !== null && !inside(i))
      .filter((i) => !(i.file.startsWith('bench/') && /^(src\/(kernels|core)|examples\/cifar-like)\//.test(i.target!)));
    expect(wrong.map(show)).toEqual([]);
  });

  test('the playground imports the public surface, its own files and the main example', () => {
    const fine = (i: Import): boolean => /^(playground|examples\/cifar-like)\//.test(i.target!);
    const wrong = filesUnder('playground')
      .flatMap((f) => importsOf(f))
      .filter((i) => i.target !== null && !fine(i));
    expect(wrong.map(show)).toEqual([]);
  });
});

/** Import cycles, each as the files along it. */
function cycles(edges: readonly Import[]): string[] {
  const next = new Map<string, string[]>();
  for (const { file, target } of edges) if (target !== null) next.set(file, [...(next.get(file) ?? []), target]);
  const done = new Set<string>();
  const found: string[] = [];
  const visit = (file: string, path: readonly string[]): void => {
    const at = path.indexOf(file);
    if (at >= 0) found.push([...path.slice(at), file].join(' → '));
    if (at >= 0 || done.has(file)) return;
    for (const target of next.get(file) ?? []) visit(target, [...path, file]);
    done.add(file);
  };
  for (const file of next.keys()) visit(file, []);
  return found;
}

/** Groups of files each of which reaches every other of its group by imports: the strongly connected components of two or more. */
function knots(edges: readonly Import[]): string[][] {
  const next = new Map<string, string[]>();
  for (const { file, target } of edges) if (target !== null) next.set(file, [...(next.get(file) ?? []), target]);
  const reached = new Map<string, Set<string>>();
  for (const file of next.keys()) {
    const seen = new Set(next.get(file));
    for (const f of seen) for (const target of next.get(f) ?? []) seen.add(target);
    reached.set(file, seen);
  }
  const inCircle = [...next.keys()].filter((file) => reached.get(file)!.has(file)).sort();
  const groups = new Map<string, string[]>();
  for (const file of inCircle) {
    const first = inCircle.find((other) => reached.get(file)!.has(other) && reached.get(other)!.has(file))!;
    groups.set(first, [...(groups.get(first) ?? []), file]);
  }
  return [...groups.values()];
}

describe('the reader of import lines', () => {
  const targets = (text: string): string[] =>
    importsOf('src/core/x.ts', text).map((i) => `${i.specifier}${i.type ? ' type' : ''}${i.dynamic ? ' dynamic' : ''}`);

  test('sees every form', () => {
    expect(targets("import { a } from './a.ts';\nimport type { B } from './b.ts';\nimport './c.ts';")).toEqual([
      './a.ts',
      './b.ts type',
      './c.ts',
    ]);
    expect(targets("export * from './d.ts';\nexport type * from './e.ts';\nexport {\n  f,\n  g,\n} from './f.ts';")).toEqual([
      './d.ts',
      './e.ts type',
      './f.ts',
    ]);
    expect(targets("import * as h from './h.ts';\nimport i, { j } from './i.ts';")).toEqual(['./h.ts', './i.ts']);
    expect(targets("async function k() {\n  await import('node:fs');\n}\ntype T = typeof import('node:path');")).toEqual([
      'node:fs dynamic',
    ]);
    expect(targets("// import './l.ts';\n/* import './m.ts'; */")).toEqual([]);
  });

  test('finds a cycle', () => {
    const edge = (file: string, target: string): Import => ({ file, target, specifier: target, type: false, dynamic: false });
    expect(cycles([edge('a', 'b'), edge('b', 'c'), edge('c', 'b')])).toEqual(['b → c → b']);
    expect(cycles([edge('a', 'b'), edge('a', 'c'), edge('b', 'c')])).toEqual([]);
  });

  test('finds each knot once, without the files that only lead to it', () => {
    const edges = (text: string): Import[] =>
      text.split(' ').map((e) => ({ file: e[0]!, target: e[1]!, specifier: e[1]!, type: true, dynamic: false }));
    expect(knots(edges('ab bc cb cd'))).toEqual([['b', 'c']]);
    expect(knots(edges('ab bc ca de ed ae'))).toEqual([
      ['a', 'b', 'c'],
      ['d', 'e'],
    ]);
    expect(knots(edges('ab ac bc'))).toEqual([]);
  });
});

interface Declaration {
  readonly file: string;
  readonly documented: boolean;
}

/** Where `name`, an export of `file`, is declared; null where it is not. */
function declarationOf(file: string, name: string): Declaration | null {
  const text = read(file);
  const own = new RegExp(
    `(\\*/\\n)?^export (?:declare )?(?:abstract )?(?:async )?(?:const|let|function\\*?|class|interface|type) ${name}\\b`,
    'm',
  ).exec(text);
  if (own !== null) return { file, documented: own[1] !== undefined || membersDocumented(text, name) };
  for (const { inner, target } of namedExports(file).filter((e) => e.outer === name)) {
    const found = declarationOf(target ?? importedFrom(file, inner) ?? file, inner);
    if (found !== null) return found;
  }
  for (const m of text.matchAll(/^export (?:type )?\* from '(\.[^']+)'/gm)) {
    const found = declarationOf(join(dirname(file), m[1]!), name);
    if (found !== null) return found;
  }
  return null;
}

/** Whether `name` is an interface each of whose members is documented: options say what they are one by one. */
function membersDocumented(text: string, name: string): boolean {
  const body = new RegExp(`^export interface ${name}\\b[^{]*\\{\\n([\\s\\S]*?)^\\}`, 'm').exec(text)?.[1];
  if (body === undefined) return false;
  return [...body.matchAll(/(\*\/\n)?^ {2}(?:readonly )?\w+\??[:(<]/gm)].every((m) => m[1] !== undefined);
}

function importedFrom(file: string, name: string): string | null {
  const m = new RegExp(`^import (?:type )?\\{[^}]*\\b${name}\\b[^}]*\\} from '(\\.[^']+)'`, 'm').exec(withoutComments(read(file)));
  return m === null ? null : join(dirname(file), m[1]!);
}

interface NamedExport {
  readonly inner: string;
  readonly outer: string;
  readonly target: string | null;
}

/** The names in `export { … } from`. */
function namedExports(file: string): NamedExport[] {
  return [...withoutComments(read(file)).matchAll(/^export (?:type )?\{([^}]*)\}(?: from '(\.[^']+)')?/gm)].flatMap((m) =>
    m[1]!
      .split(',')
      .map((part) => part.trim().replace(/^type /, ''))
      .filter((part) => part !== '')
      .map((part) => {
        const [inner, outer = inner] = part.split(' as ') as [string, string?];
        return { inner, outer, target: m[2] === undefined ? null : join(dirname(file), m[2]) };
      }),
  );
}

/** All names an entry exports, through `export *` too. */
function exportsOf(file: string): string[] {
  const text = withoutComments(read(file));
  const own = [...text.matchAll(/^export (?:abstract )?(?:async )?(?:const|function\*?|class|interface|type) (\w+)/gm)].map((m) => m[1]!);
  const star = [...text.matchAll(/^export (?:type )?\* from '(\.[^']+)'/gm)].flatMap((m) => exportsOf(join(dirname(file), m[1]!)));
  const spaces = [...text.matchAll(/^export \* as (\w+) from/gm)].map((m) => m[1]!);
  return [...new Set([...own, ...namedExports(file).map((e) => e.outer), ...star])].filter((name) => !spaces.includes(name));
}

/** The public fields of a class, and whether a docstring is above each. */
function fieldsOf(file: string, name: string): { readonly name: string; readonly documented: boolean }[] {
  const lines = read(file).split('\n');
  const start = lines.findIndex((line) => new RegExp(`^export (abstract )?class ${name}\\b`).test(line));
  if (start < 0) return [];
  const end = lines.indexOf('}', start);
  return lines.slice(start, end).flatMap((line, i) => {
    const field = /^ {2}(?:declare )?(?:readonly )?(\w+)[!?]?: /.exec(line)?.[1];
    return field === undefined ? [] : [{ name: `${file}: ${name}.${field}`, documented: lines[start + i - 1]!.endsWith('*/') }];
  });
}

const entries = [
  'src/index.ts',
  'src/nn/index.ts',
  'src/nn/functional.ts',
  'src/optim/index.ts',
  'src/data/index.ts',
  'src/io/index.ts',
  'src/train/index.ts',
  'src/interop/index.ts',
  'src/distributed/index.ts',
  'src/testing/index.ts',
];

describe('public surface', () => {
  test.each(entries)('%s: every export is documented where it is declared', (entry) => {
    const names = exportsOf(entry);
    expect(names.length).toBeGreaterThan(0);
    const undocumented = names.filter((name) => declarationOf(entry, name)?.documented !== true);
    expect(undocumented.map((name) => `${name} (${declarationOf(entry, name)?.file ?? 'not found'})`)).toEqual([]);
  });

  test.each(entries)('%s: every field of its classes is documented', (entry) => {
    const fields = exportsOf(entry).flatMap((name) => {
      const file = declarationOf(entry, name)?.file;
      return file === undefined ? [] : fieldsOf(file, name);
    });
    expect(fields.filter(({ documented }) => !documented).map(({ name }) => name)).toEqual([]);
  });

  test('package.json exports the same entries, types first', () => {
    const { exports } = JSON.parse(read('package.json')) as { exports: Record<string, string | Record<string, string>> };
    const paths = Object.values(exports).filter((e) => typeof e !== 'string');
    expect(paths.map((e) => e.default!.replace('./dist', 'src').replace('.js', '.ts'))).toEqual(entries);
    for (const e of paths) {
      expect(Object.keys(e)).toEqual(['types', 'default']);
      expect(e.types).toBe(e.default!.replace('.js', '.d.ts'));
    }
  });

  test('package.json names sources with side effects that exist', () => {
    const { sideEffects } = JSON.parse(read('package.json')) as { sideEffects: string[] };
    expect(sideEffects.filter((path) => !existsSync(join(root, path)))).toEqual([]);
  });

  test('package.json has the script that packing hides for a moment', () => {
    expect(JSON.parse(read('package.json'))).toHaveProperty('scripts.prepare');
  });

  test('package.json has no runtime dependencies', () => {
    expect(JSON.parse(read('package.json'))).not.toHaveProperty('dependencies');
  });
});

describe('vitest.config.ts', () => {
  const tests = filesUnder('test').filter((file) => file.endsWith('.test.ts'));
  const projects = config.test!.projects as readonly { readonly test: { readonly name: string; readonly include: readonly string[] } }[];

  test.each(projects.map(({ test: { name, include } }) => [name, include] as const))('each pattern of %s leads to tests', (_, include) => {
    const choice = (_braces: string, choices: string): string => `(${choices.replaceAll(',', '|')})`;
    const expression = (pattern: string): RegExp => {
      const text = pattern.replaceAll('.', '\\.').replace(/\{([^}]*)\}/g, choice);
      return new RegExp(`^${text.replaceAll('**/*', '.+').replaceAll('*', '[^/]*')}$`);
    };
    expect(include.filter((pattern) => !tests.some((file) => expression(pattern).test(file)))).toEqual([]);
  });
});

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { format } from 'node:util';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { build } from 'vite';
import { CHROMIUM, ISOLATION, openPage, serveFolder, startChromium } from './support/chromium.ts';
import { documents, programsOf, root, snippetsOf, textOf } from './support/snippets.ts';

// The documents' links lead to files and headings that exist, and their code compiles and prints what they say.

/** The text of a document without blocks and spans of code. */
function prose(text: string): string {
  return text
    .replaceAll('\r\n', '\n')
    .replace(/^```[\s\S]*?^```/gm, '')
    .replace(/`[^`\n]*`/g, (code) => code.replace(/[[\]()]/g, ' '));
}

/** The anchors of a document's headings, as GitHub makes them. */
function anchors(text: string): Set<string> {
  const headings = text
    .replaceAll('\r\n', '\n')
    .replace(/^```[\s\S]*?^```/gm, '')
    .matchAll(/^#{1,6} (.+)$/gm);
  return new Set(Array.from(headings, (m) => slug(m[1]!)));
}

function slug(heading: string): string {
  return heading
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .replace(/\s/g, '-');
}

/** What is wrong with a link; null where it leads somewhere. */
function problemOf(file: string, link: string): string | null {
  const [path, anchor] = link.split('#') as [string, string | undefined];
  const target = path === '' ? join(root, file) : resolve(root, dirname(file), path);
  if (!existsSync(target)) return `${file}: ${link} does not exist`;
  if (anchor === undefined || statSync(target).isDirectory() || !target.endsWith('.md')) return null;
  return anchors(readFileSync(target, 'utf8')).has(anchor) ? null : `${file}: ${link} has no such heading`;
}

const files = documents();

describe('documents', () => {
  test('links lead to files and headings that exist', () => {
    const problems = files.flatMap((file) => {
      const links = prose(readFileSync(join(root, file), 'utf8')).matchAll(/\]\(([^()\s]+)\)/g);
      const local = Array.from(links, (m) => m[1]!).filter((link) => !/^[a-z]+:/.test(link));
      return local.map((link) => problemOf(file, link)).filter((problem) => problem !== null);
    });
    expect(problems).toEqual([]);
  });

  test('the index lists every document', () => {
    const index = readFileSync(join(root, 'docs/README.md'), 'utf8');
    const missing = files.filter((f) => /^docs\/[^/]+\.md$/.test(f) && f !== 'docs/README.md' && !index.includes(`](${f.slice(5)}`));
    expect(missing).toEqual([]);
  });

  test('the index of recipes lists every recipe', () => {
    const index = textOf('docs/recipes/README.md');
    const recipes = files.filter((f) => /^docs\/recipes\/(?!README)/.test(f)).map((f) => f.slice('docs/recipes/'.length));
    expect(recipes.filter((f) => !index.includes(`](${f})`))).toEqual([]);
  });

  test('the index of decisions lists every decision', () => {
    const index = readFileSync(join(root, 'docs/decisions/README.md'), 'utf8');
    const decisions = files.filter((f) => /^docs\/decisions\/\d/.test(f)).map((f) => f.slice('docs/decisions/'.length));
    expect(decisions.filter((f) => !index.includes(`](${f})`))).toEqual([]);
    // Numbers are given once and without gaps.
    expect(decisions.map((f) => Number(f.slice(0, 4))).sort((a, b) => a - b)).toEqual(decisions.map((_, i) => i + 1));
  });
});

const temporary = mkdtempSync(join(tmpdir(), 'chainrule-docs-'));
afterAll(() => rmSync(temporary, { recursive: true, force: true }));

/** Whether it has PyTorch; importing it would take seconds. */
const HAS_TORCH = 'from importlib.util import find_spec; assert find_spec("torch") and find_spec("numpy")';

/** A Python that has PyTorch; undefined where there is none. */
const PYTHON = [process.env.PYTHON ?? 'python3', '/usr/bin/python3'].find(
  (python) => spawnSync(python, ['-c', HAS_TORCH], { stdio: 'ignore' }).status === 0,
);

describe('code in documents', () => {
  const snippets = files.flatMap(snippetsOf);

  test('has a kind that is checked', () => {
    const kinds = new Map([
      ['ts', /^(run|fragment|[\w-]+\.ts)?$/],
      ['python', /^(run|fragment)$/],
    ]);
    expect(snippets.filter(({ lang, info }) => kinds.get(lang)?.test(info) === false).map((s) => `${s.file}:${s.line}`)).toEqual([]);
    // Parts of this repository's own files, with omissions.
    const fragments = snippets.filter(({ info }) => info === 'fragment').map(({ file }) => file);
    expect(new Set(fragments)).toEqual(new Set(['docs/adding-an-op.md']));
  });

  test('type-checks against the sources', () => {
    const folder = join(temporary, 'types');
    const { compilerOptions } = JSON.parse(textOf('tsconfig.json'));
    const paths = Object.entries(compilerOptions.paths as Record<string, string[]>).map(([name, [path]]) => [name, [resolve(root, path!)]]);
    const options = {
      ...compilerOptions,
      lib: ['es2023', 'esnext.disposable', 'dom', 'dom.iterable'],
      paths: Object.fromEntries(paths),
      noUnusedLocals: false,
      noUnusedParameters: false,
    };
    const programs = files.flatMap(programsOf);
    expect(programs.length).toBeGreaterThan(10);
    for (const { path, code } of programs) {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), code);
    }
    writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify({ compilerOptions: options, include: ['.'] }));
    symlinkSync(join(root, 'node_modules'), join(folder, 'node_modules'), 'junction');
    const compiler = join(root, 'node_modules/typescript/bin/tsc');
    const { stdout } = spawnSync(process.execPath, [compiler, '-p', folder], { cwd: folder, encoding: 'utf8' });
    expect(stdout).toBe('');
  });
});

/** What the recipe gives as the least policy with threads. */
const POLICY = /Content-Security-Policy: (.*)/.exec(textOf('docs/recipes/in-the-browser.md'))![1]!;

describe.skipIf(CHROMIUM === undefined)('the page of in-the-browser.md, in Chromium where it is installed', () => {
  test('trains in its worker, with threads, under the policy that it names', async () => {
    const folder = join(temporary, 'browser');
    mkdirSync(join(folder, 'public'), { recursive: true });
    writeFileSync(join(folder, 'public/favicon.ico'), '');
    for (const { info, code } of snippetsOf('docs/recipes/in-the-browser.md')) {
      if (info.endsWith('.ts')) writeFileSync(join(folder, info), code);
    }
    const shown = '<!doctype html><title>x</title><output></output><script type="module" src="./page.ts"></script>';
    writeFileSync(join(folder, 'index.html'), shown);
    const { compilerOptions } = JSON.parse(textOf('tsconfig.json'));
    const paths = Object.entries(compilerOptions.paths as Record<string, string[]>);
    const alias = paths.map(([name, [path]]) => ({ find: new RegExp(`^${name}$`), replacement: resolve(root, path!) }));
    await build({ configFile: false, root: folder, logLevel: 'error', resolve: { alias }, worker: { format: 'es' } });
    const server = await serveFolder(join(folder, 'dist'), { headers: { ...ISOLATION, 'Content-Security-Policy': POLICY } });
    const browser = await startChromium();
    try {
      const { page, faults } = await openPage(browser, `${server.url}/index.html`);
      await page.waitForFunction(() => document.querySelector('output')!.textContent.startsWith('trained'), null, { timeout: 60_000 });
      expect(await page.textContent('output')).toBe('trained: 0.weight, 0.bias, 4.weight, 4.bias');
      expect(faults).toEqual([]);
    } finally {
      await browser.close();
      server.close();
    }
  });
});

const pages = files.filter((file) => snippetsOf(file).some(({ info }) => info === 'run'));

describe.each(pages)('the programs of %s', (file) => {
  const steps = snippetsOf(file).filter(({ info }) => info === 'run');
  const folder = join(temporary, file.replaceAll('/', '--'));
  const needsTorch = steps.some(({ lang }) => lang === 'python');
  const before = process.cwd();

  beforeAll(() => {
    mkdirSync(folder);
    process.chdir(folder);
  });
  afterAll(() => process.chdir(before));

  // The blocks of Python of a page are one program, of which each run repeats the blocks before.
  let python = '';

  test.skipIf(needsTorch && PYTHON === undefined).each(steps)(
    'line $line prints what the page says',
    async ({ lang, line, code, printed }) => {
      let output: string;
      if (lang === 'python') {
        const marker = '--- the next block ---';
        python += `print(${JSON.stringify(marker)})\n${code}`;
        const { status, stdout, stderr } = spawnSync(PYTHON!, ['-c', python], { cwd: folder, encoding: 'utf8' });
        expect(stderr).toBe('');
        expect(status).toBe(0);
        output = stdout.split(`${marker}\n`).at(-1)!;
      } else {
        const program = join(folder, `line-${line}.ts`);
        writeFileSync(program, code);
        const lines: string[] = [];
        const log = vi.spyOn(console, 'log').mockImplementation((...parts) => lines.push(format(...parts)));
        try {
          await import(/* @vite-ignore */ program);
        } finally {
          log.mockRestore();
        }
        output = lines.map((text) => `${text}\n`).join('');
      }
      if (printed !== null) expect(output).toBe(printed);
    },
  );
});

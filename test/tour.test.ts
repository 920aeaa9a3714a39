import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { format } from 'node:util';
import { type Tensor, ones, scoped } from 'chainrule';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { type Mistake, Wrong } from '../docs/tour/support/exercise.ts';
import { compileProgram } from './support/compile-program.ts';
import { chapterFolders, exerciseFile, judgeFile, listedStates, loadChapter, type Outcome, root } from '../scripts/tour/chapters.ts';

// The tour: its programs run and are the ones that the text shows, its solutions pass, its starters and its typical mistakes fail.

const chapters = await Promise.all(chapterFolders().map(loadChapter));
const read = (...path: string[]): string => readFileSync(join(...path), 'utf8').replaceAll('\r\n', '\n');

const scratch = mkdtempSync(join(tmpdir(), 'chainrule-tour-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** The blocks of code of a language in a document, joined as paragraphs. */
function blocks(text: string, language: string): string {
  const found = text.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, 'gm'));
  return Array.from(found, (m) => m[1]).join('\n');
}

/** Imports a program and returns what it prints. */
async function printedBy(file: string): Promise<string> {
  const lines: string[] = [];
  const log = vi.spyOn(console, 'log').mockImplementation((...values: unknown[]) => void lines.push(`${format(...values)}\n`));
  try {
    await import(pathToFileURL(file).href);
  } finally {
    log.mockRestore();
  }
  return lines.join('');
}

describe.each(chapters)('chapter $number: $title', ({ number, folder, exercises }) => {
  const text = read(folder, 'README.md');

  test('the text shows the program, and what it prints', async () => {
    expect(blocks(text, 'ts')).toBe(read(folder, 'chapter.ts'));
    expect(blocks(text, 'text').replaceAll('\n\n', '\n')).toBe((await printedBy(join(folder, 'chapter.ts'))).replaceAll('\n\n', '\n'));
  });

  test('has a picture with a description, three exercises, and a link to the next chapter', () => {
    const picture = /!\[([^\]]{20,})\]\((\S+\.svg)\)/.exec(text);
    expect(existsSync(join(folder, picture![2]!))).toBe(true);
    expect(text.match(/^\*\*\d+\.\d\*\*/gm)).toEqual([1, 2, 3].map((i) => `**${number}.${i}**`));
    expect(exercises).toHaveLength(3);
    const next = chapters[number];
    if (next !== undefined) expect(text).toContain(`[${next.number}. ${next.title}](../${basename(next.folder)}/README.md)`);
  });

  test('the solutions pass', async () => {
    const outcomes = exercises.map((e) => judgeFile(e, exerciseFile(folder, 'solutions', e)));
    expect(await Promise.all(outcomes)).toEqual(exercises.map(() => ({ state: 'done' })));
  });

  test('the starters are reported as not written', async () => {
    const outcomes = exercises.map((e) => judgeFile(e, exerciseFile(folder, 'exercises', e)));
    for (const outcome of await Promise.all(outcomes)) expect(outcome).toMatchObject({ state: 'open' });
  });

  test('each typical mistake fails, and the message says why', async () => {
    const { mistakes } = (await import(pathToFileURL(join(folder, 'checks/mistakes.ts')).href)) as { mistakes: readonly Mistake[] };
    for (const { exercise, title, module, source, says } of mistakes) {
      const { check, file, functions } = exercises[exercise - 1]!;
      const run = (): void => check(module, source ?? read(exerciseFile(folder, 'solutions', exercises[exercise - 1]!)));
      expect(run, `${file}, ${functions.join()}: ${title}`).toThrow(Wrong);
      expect(run, title).toThrow(says);
    }
    expect(new Set(mistakes.map(({ exercise }) => exercise))).toEqual(new Set([1, 2, 3]));
  });
});

describe.each(chapters)('chapter $number', ({ folder, exercises }) => {
  test.each([undefined, 0, [], {}])('functions that return %j get a message', async (result) => {
    for (const exercise of exercises) {
      const file = exerciseFile(folder, 'solutions', exercise);
      const solution = (await import(pathToFileURL(file).href)) as object;
      for (const name of exercise.functions) {
        const run = (): void => exercise.check({ ...solution, [name]: () => result }, read(file));
        expect(run, `${exercise.title}: ${name}`).toThrow(Wrong);
      }
    }
  });
});

test('an exercise that calls a function of another file names the file that is not written', async () => {
  const engine = pathToFileURL(join(root, 'docs/tour/01-scalar-engine/exercises/engine.ts')).href;
  const file = join(scratch, 'fit.ts');
  writeFileSync(file, `import { mul, value } from '${engine}';\nexport const fit = () => mul(value(1), value(2)).data;\n`);
  expect(await judgeFile(chapters[1]!.exercises[2]!, file)).toEqual({
    state: 'open',
    file: 'docs/tour/01-scalar-engine/exercises/engine.ts',
  });
});

test('a check of memory does not count what earlier code has left', () => {
  const meanLoss = (lossOf: (batch: Tensor) => Tensor, batches: readonly Tensor[]): number => {
    let sum = 0;
    for (const i of scoped(batches.length)) sum += lossOf(batches[i]!).item();
    return sum / batches.length;
  };
  // Outputs of a consumed graph, which the next recorded operation frees.
  ones([1000], { requiresGrad: true }).mul(2).sum().backward();
  chapters[9]!.exercises[0]!.check({ meanLoss }, '');
});

test('the index lists the chapters', () => {
  const links = chapters.map(({ number, title, folder }) => `${number}. [${title}](${basename(folder)}/README.md)`);
  expect(read(root, 'docs/tour/README.md').match(/^\d+\. \[.*?\]\(.*?\)/gm)).toEqual(links);
});

// ── The command ──────────────────────────────────────────────────────────────────────────────────────────────────────────

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function tour(...args: string[]): Ended {
  return spawnSync(process.execPath, ['--import', 'tsx', 'scripts/tour.ts', ...args], { cwd: root, encoding: 'utf8' });
}

/** Runs a command that ends before it reads exercises, which only tsx can import. */
async function refusedTour(...args: string[]): Promise<Ended> {
  return spawnSync(process.execPath, [await compileProgram(join(root, 'scripts/tour.ts')), ...args], { cwd: root, encoding: 'utf8' });
}

test('npm run tour lists the chapters and what is done', () => {
  const { status, stdout, stderr } = tour();
  expect(stderr).toBe('');
  expect(status).toBe(0);
  expect(stdout).toContain(`The tour: ${chapters.length} chapters, 0 of ${3 * chapters.length} exercises done.\n`);
  for (const { number, title } of chapters) expect(stdout).toContain(`${number}  ···  ${title}\n`);
  expect(stdout).toContain('Next: read docs/tour/01-scalar-engine/README.md, then run: npm run tour 1\n');
});

test('the list shows exercises with a file of an earlier chapter as open until their chapter has begun', () => {
  const wrong = { state: 'wrong', file: '', message: '' } as const;
  const open = { state: 'open', file: '' } as const;
  const states = (number: number, ...outcomes: Outcome[]): string[] => listedStates(chapters[number - 1]!, 'exercises', outcomes);
  expect(states(3, open, wrong, wrong)).toEqual(['open', 'open', 'open']);
  expect(states(3, wrong, wrong, wrong)).toEqual(['wrong', 'open', 'open']);
  expect(states(3, { state: 'done' }, wrong, wrong)).toEqual(['done', 'wrong', 'wrong']);
  expect(states(1, wrong, open, open)).toEqual(['wrong', 'open', 'open']);
});

test('npm run tour 1 checks a chapter: done, not written, wrong', () => {
  expect(tour('1', 'solutions')).toMatchObject({ status: 0, stdout: expect.stringContaining('3 of 3 exercises done.') as string });
  const starters = tour('1');
  expect(starters.status).toBe(1);
  expect(starters.stdout).toContain(
    '· 1.2  exp, tanh, relu and power\n         not written yet: docs/tour/01-scalar-engine/exercises/engine.ts\n',
  );

  writeFileSync(join(scratch, 'engine.ts'), read(root, 'docs/tour/01-scalar-engine/solutions/engine.ts').replace('[1, -1]', '[1, 1]'));
  const { status, stdout } = tour('1', scratch);
  expect(status).toBe(1);
  // The index shows this output.
  const example = blocks(read(root, 'docs/tour/README.md'), 'text');
  expect(stdout.replaceAll(scratch, 'docs/tour/01-scalar-engine/exercises')).toContain(example);
  expect(stdout).toMatch(
    /engine\.ts: sub\(6, 4\): the derivative by argument 2: got 1, expected -1\. a − b falls when b grows\n {9}Hint: /,
  );
  expect(stdout).toContain('2 of 3 exercises done.');
});

test('each fault in the reader’s files is one line', () => {
  writeFileSync(join(scratch, 'shape.ts'), 'export const broadcastShape = (;\n');
  writeFileSync(join(scratch, 'sum-to.ts'), "\nthrow new TypeError('no such thing');\n");
  writeFileSync(join(scratch, 'mul.ts'), 'export const mulBackward = 1;\n');
  const { status, stdout, stderr } = tour('4', scratch);
  expect(stderr).toBe('');
  expect(status).toBe(1);
  expect(stdout).toMatch(/shape\.ts: line 1: syntax error: .*\n {9}Hint: /);
  expect(stdout).toMatch(/sum-to\.ts: line 2: TypeError: no such thing\n {9}Hint: /);
  expect(stdout).toMatch(/mul\.ts: mul\.ts must export a function named mulBackward\n {9}Hint: /);
  expect(stdout).toContain('0 of 3 exercises done.');
});

test('an exercise that does not end, or ends the process, leaves the others', () => {
  // Waits as a loop that does not end does, and leaves the processor to the others.
  writeFileSync(join(scratch, 'matmul.ts'), 'Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);\n');
  writeFileSync(join(scratch, 'softmax.ts'), 'process.exit(3);\n');
  writeFileSync(join(scratch, 'jacobian.ts'), 'export const jacobianOf = () => 0;\n');
  const { status, stdout, stderr } = tour('5', scratch, '--limit', '6');
  expect(stderr).toBe('');
  expect(status).toBe(1);
  expect(stdout).toMatch(/matmul\.ts: stopped after 6 s: look for a loop that does not end/);
  expect(stdout).toMatch(/softmax\.ts: the code ended the process with status 3\n/);
  expect(stdout).toMatch(/jacobian\.ts: .*expected a tensor of shape \[2, 3\], got the number 0\n/);
});

test.each([
  [['99'], /^npm run tour: there is no chapter 99; the chapters are 1 to \d+\. Try: npm run tour -- --help\n$/],
  [['one'], /there is no chapter one/],
  [['1', 'solution'], /there is no folder docs\/tour\/01-scalar-engine\/solution\./],
  [['1', 'solutions', 'more'], /too many arguments: more/],
  [['1', '--limit', 'soon'], /--limit must be a number of seconds, got soon/],
  [['--all'], /Unknown option '--all'/],
])('the arguments %j are refused in one line', async (args, message) => {
  const { status, stdout, stderr } = await refusedTour(...args);
  expect(status).toBe(2);
  expect(stdout).toBe('');
  expect(stderr).toMatch(message);
  expect(stderr.split('\n')).toHaveLength(2);
});

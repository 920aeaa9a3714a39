/**
 * Checks the exercises of the tour: docs/tour/README.md.
 *
 *   npm run tour               lists the chapters and what is done
 *   npm run tour 3             checks the exercises of chapter 3
 *   npm run tour 3 solutions   checks the files of another folder of the chapter
 */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { type Chapter, type Outcome, chapterFolders, exerciseFile, listedStates, loadChapter, shown } from './tour/chapters.ts';
import { runExercises } from './tour/run.ts';

const USAGE = `Usage: npm run tour [chapter [folder]]

  npm run tour               lists the chapters and which exercises are done
  npm run tour 3             checks the exercises of chapter 3
  npm run tour 3 solutions   checks the solutions of chapter 3

  --limit seconds            the time that one exercise may take (default 10), written behind --
`;

const MARKS = { done: '✓', open: '·', wrong: '✗' } as const;
const print = (text: string): void => void process.stdout.write(text);

/** A fault of the command line, to be shown in one line. */
class UsageError extends Error {}

interface Options {
  readonly chapter: number | null;
  readonly where: string;
  readonly limit: number;
}

/** Splits the command line. Throws UsageError for unknown options. */
function parseCommand() {
  try {
    return parseArgs({ allowPositionals: true, options: { help: { type: 'boolean', short: 'h' }, limit: { type: 'string' } } });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message.split('. ')[0] : String(error));
  }
}

/** The folder of a chapter by its number. */
function folderOf(chapter: string): string {
  const folders = chapterFolders();
  const folder = /^\d+$/.test(chapter) ? folders[Number(chapter) - 1] : undefined;
  if (folder === undefined) throw new UsageError(`there is no chapter ${chapter}; the chapters are 1 to ${folders.length}`);
  return folder;
}

/** Reads the command line; null for --help. */
function readOptions(): Options | null {
  const { values, positionals } = parseCommand();
  if (values.help === true) return null;
  const [chapter, where = 'exercises', ...rest] = positionals;
  if (rest.length > 0) throw new UsageError(`too many arguments: ${rest.join(' ')}`);
  const limit = Number(values.limit ?? 10);
  if (!(limit > 0 && limit <= 3600)) throw new UsageError(`--limit must be a number of seconds, got ${values.limit}`);
  if (chapter === undefined) return { chapter: null, where, limit };
  const folder = resolve(folderOf(chapter), where);
  if (!existsSync(folder)) throw new UsageError(`there is no folder ${shown(folder)}`);
  return { chapter: Number(chapter), where, limit };
}

/** Runs the exercises of the chapters. Returns their outcomes by chapter. */
async function outcomesOf(chapters: readonly Chapter[], { where, limit }: Options, prints: boolean): Promise<Outcome[][]> {
  const ids = chapters.map(({ number, exercises }) => exercises.map((_, i) => `${number}.${i + 1}`));
  const fileOf = (id: string): string => {
    const [number, exercise] = id.split('.').map(Number) as [number, number];
    const chapter = chapters.find((c) => c.number === number)!;
    return shown(exerciseFile(chapter.folder, where, chapter.exercises[exercise - 1]!));
  };
  const outcomes = await runExercises(ids.flat(), { where, limit, prints, fileOf });
  return ids.map((list) => list.map((id) => outcomes.get(id)!));
}

async function list(options: Options): Promise<void> {
  const chapters = await Promise.all(chapterFolders().map(loadChapter));
  const outcomes = await outcomesOf(chapters, options, false);
  const all = outcomes.flat();
  const done = all.filter(({ state }) => state === 'done').length;
  print(`The tour: ${chapters.length} chapters, ${done} of ${all.length} exercises done.\n\n`);
  for (const [i, chapter] of chapters.entries()) {
    const { number, title } = chapter;
    const marks = listedStates(chapter, options.where, outcomes[i]!)
      .map((state) => MARKS[state])
      .join('');
    print(`  ${String(number).padStart(2)}  ${marks}  ${title}\n`);
  }
  const next = outcomes.findIndex((states) => states.some(({ state }) => state !== 'done'));
  if (next < 0) print('\nAll exercises are done.\n');
  else print(`\nNext: read ${shown(resolve(chapters[next]!.folder, 'README.md'))}, then run: npm run tour ${next + 1}\n`);
}

/** Checks one chapter. Returns whether all its exercises are done. */
async function checkChapter(number: number, options: Options): Promise<boolean> {
  const chapter = await loadChapter(chapterFolders()[number - 1]!);
  const [outcomes] = (await outcomesOf([chapter], options, true)) as [Outcome[]];
  print(`Chapter ${number}: ${chapter.title}\n\n`);
  for (const [i, outcome] of outcomes.entries()) {
    const { title, hint } = chapter.exercises[i]!;
    print(`  ${MARKS[outcome.state]} ${number}.${i + 1}  ${title}\n`);
    if (outcome.state === 'open') print(`         not written yet: ${outcome.file}\n`);
    if (outcome.state === 'wrong') print(`         ${outcome.file}: ${outcome.message}\n         Hint: ${hint}\n`);
  }
  const done = outcomes.filter(({ state }) => state === 'done').length;
  print(`\n${done} of ${outcomes.length} exercises done.\n`);
  return done === outcomes.length;
}

try {
  const options = readOptions();
  if (options === null) print(USAGE);
  else if (options.chapter === null) await list(options);
  else if (!(await checkChapter(options.chapter, options))) process.exitCode = 1;
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  process.stderr.write(`npm run tour: ${error.message}. Try: npm run tour -- --help\n`);
  process.exitCode = 2;
}

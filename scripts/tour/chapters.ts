/** The chapters of docs/tour, and how one exercise is judged. */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { type Exercise, NotWritten, Wrong } from '../../docs/tour/support/exercise.ts';

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const tour = join(root, 'docs/tour');

/** A chapter: its number, its folder, its title and its exercises. */
export interface Chapter {
  readonly number: number;
  readonly folder: string;
  readonly title: string;
  readonly exercises: readonly Exercise[];
}

/** What became of an exercise. `message` says what is wrong in one line. */
export type Outcome =
  | { readonly state: 'done' }
  | { readonly state: 'open'; readonly file: string }
  | { readonly state: 'wrong'; readonly file: string; readonly message: string };

/** The folders of the chapters, in order. */
export function chapterFolders(): string[] {
  return readdirSync(tour)
    .filter((name) => /^\d\d-/.test(name))
    .sort()
    .map((name) => join(tour, name));
}

/** Reads a chapter's title and imports its exercises. */
export async function loadChapter(folder: string): Promise<Chapter> {
  const number = Number(basename(folder).slice(0, 2));
  const title = /^# \d+\. (.+)$/m.exec(readFileSync(join(folder, 'README.md'), 'utf8'))?.[1];
  if (title === undefined) throw new Error(`${shown(join(folder, 'README.md'))} must begin with a heading such as "# ${number}. Title"`);
  const checks = (await import(pathToFileURL(join(folder, 'checks/index.ts')).href)) as { exercises: readonly Exercise[] };
  return { number, folder, title, exercises: checks.exercises };
}

/** The file of an exercise in the folder `where` of its chapter, or of the nearest earlier chapter that has it. */
export function exerciseFile(chapterFolder: string, where: string, exercise: Exercise): string {
  const folders = chapterFolders().filter((folder) => folder <= chapterFolder);
  const files = folders.map((folder) => join(resolve(folder, where), `${exercise.file}.ts`));
  return files.findLast((file) => existsSync(file)) ?? files.at(-1)!;
}

/**
 * The outcomes of a chapter as the list of all chapters shows them. Chapters share files: an exercise whose file comes from an earlier
 * chapter fails before the reader has begun this chapter. It counts as open until an exercise of its chapter is done.
 */
export function listedStates({ folder, exercises }: Chapter, where: string, outcomes: readonly Outcome[]): Outcome['state'][] {
  const hasBegun = outcomes.some(({ state }) => state === 'done');
  const isShared = (exercise: Exercise): boolean => dirname(exerciseFile(folder, where, exercise)) !== resolve(folder, where);
  return outcomes.map(({ state }, i) => (state === 'wrong' && !hasBegun && isShared(exercises[i]!) ? 'open' : state));
}

/** Imports the file and runs the check. */
export async function judgeFile(exercise: Exercise, file: string): Promise<Outcome> {
  try {
    const module = (await import(pathToFileURL(file).href)) as object;
    exercise.check(module, readFileSync(file, 'utf8'));
    return { state: 'done' };
  } catch (error) {
    if (error instanceof NotWritten) return { state: 'open', file: callerOf(error) ?? shown(file) };
    return { state: 'wrong', file: shown(file), message: describe(error, file) };
  }
}

/** The file of the exercise that called `notWritten`: the reader's file may call another that is not written. */
function callerOf(error: NotWritten): string | null {
  return /docs\/tour\/\d\d-[\w-]+\/[\w-]+\/[\w-]+\.ts/.exec(error.stack!.replaceAll('\\', '/'))?.[0] ?? null;
}

/** An error in one line. Errors of the reader's own code name their line. */
export function describe(error: unknown, file: string): string {
  if (!(error instanceof Error)) return `the code threw ${String(error).split('\n')[0]}`;
  const message = error.message.trim();
  if (error instanceof Wrong) return message;
  if (!existsSync(file)) return 'the file does not exist';
  // A syntax error as tsx reports it: "Transform failed with 1 error:\n<file>:<line>:<column>: ERROR: <message>".
  const syntax = /:(\d+):\d+: ERROR: (.+)/.exec(message);
  if (syntax !== null) return `line ${syntax[1]}: syntax error: ${syntax[2]}`;
  const line = error.stack?.split('\n').find((frame) => frame.includes(basename(file)) && frame.includes(basename(dirname(file))));
  const place = /:(\d+):\d+\)?$/.exec(line ?? '')?.[1];
  return `${place === undefined ? '' : `line ${place}: `}${error.name}: ${message.split('\n')[0]}`;
}

/** A path as it is shown: from the root of the project. */
export function shown(path: string): string {
  const fromRoot = relative(root, path).replaceAll('\\', '/');
  return fromRoot.startsWith('..') ? path : fromRoot;
}

/**
 * Judges exercises in a process of its own, which the command can stop. Arguments: the folder of the solutions to judge, and the
 * exercises as "chapter.exercise". Sends a message before and after each.
 */
import { chapterFolders, exerciseFile, judgeFile, loadChapter } from './chapters.ts';
import type { Message } from './run.ts';

const [where, ...ids] = process.argv.slice(2) as [string, ...string[]];

/** Sends a message, and waits until it is out: the reader's code may block or end the process. */
function send(message: Message): Promise<void> {
  return new Promise((resolve, reject) => {
    process.send!(message, (error: Error | null) => (error === null ? resolve() : reject(error)));
  });
}

for (const id of ids) {
  const [chapterNumber, exerciseNumber] = id.split('.').map(Number) as [number, number];
  const chapter = await loadChapter(chapterFolders()[chapterNumber - 1]!);
  const exercise = chapter.exercises[exerciseNumber - 1]!;
  const file = exerciseFile(chapter.folder, where, exercise);
  await send({ id, started: true });
  await send({ id, started: false, outcome: await judgeFile(exercise, file) });
}
process.disconnect();

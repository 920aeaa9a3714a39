/**
 * Judges exercises in a process of its own, which the command can stop. Arguments: the folder of the solutions to judge, and the
 * exercises as "chapter.exercise". Sends a message before and after each.
 */
import { chapterFolders, exerciseFile, judgeFile, loadChapter } from './chapters.ts';
import type { Message } from './run.ts';

const [where, ...ids] = process.argv.slice(2) as [string, ...string[]];
const send = (message: Message): void => void process.send!(message);

for (const id of ids) {
  const [chapterNumber, exerciseNumber] = id.split('.').map(Number) as [number, number];
  const chapter = await loadChapter(chapterFolders()[chapterNumber - 1]!);
  const exercise = chapter.exercises[exerciseNumber - 1]!;
  const file = exerciseFile(chapter.folder, where, exercise);
  send({ id, started: true });
  send({ id, started: false, outcome: await judgeFile(exercise, file) });
}
process.disconnect();

/**
 * Says what was trained, and how well it does.
 */
import type { Trained } from './training.ts';

/** `asked` is the seed that was asked for; training takes a later one where a start did not learn the task. */
export function aboutTraining({ settings: { seed }, accuracy }: Pick<Trained, 'settings' | 'accuracy'>, asked: number): string {
  const hits = `${Math.round(100 * accuracy)} % of new pictures right`;
  const seeds = seed - asked === 1 ? `Seed ${asked}` : `Seeds ${asked} to ${seed - 1}`;
  const why =
    seed === asked ? '' : ` ${seeds} did not learn the task with this gate and reduction: hidden units that give 0 early stay at 0.`;
  return (
    `Trained in this page from seed ${seed}: a 3×3 convolution, this block, another convolution and a classifier; ${hits}.${why} ` +
    'A warm band exchanges the classes, so the block has to notice it.'
  );
}

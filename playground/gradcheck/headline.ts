/**
 * The result of a check in a sentence.
 */
import type { CheckResult } from './model.ts';

type Found = Pick<CheckResult, 'ok' | 'rows' | 'problems' | 'diagnosis' | 'moved'>;

export function headlineOf(result: Found): string {
  const { ok, rows, problems, moved } = result;
  const count = rows.length;
  if (ok) return rightText(count);
  const wrong = rows.filter((r) => !r.right).length;
  if (count === 0) return 'No gradient could be compared';
  if (wrong > 0 && count > 1) return `${wrong} of ${count} gradients ${wrong === 1 ? 'is' : 'are'} wrong`;
  const place = placeOf(result);
  if (wrong === 0 && moved > 0 && problems.length > 0)
    return `The gradients agree away from the ${place}, but the rule at the ${place} is wrong`;
  return 'The gradient is wrong';
}

function rightText(count: number): string {
  if (count === 1) return 'The gradient is right';
  return count === 2 ? 'Both gradients are right' : `All ${count} gradients are right`;
}

/** Says whether the point was moved, and what the table then shows; null if it was not. */
export function movedText(result: Found): string | null {
  const { moved, rows } = result;
  if (moved === 0) return null;
  const times = moved === 1 ? 'once' : `${moved} times`;
  const table = rows.length > 0 ? ' The table compares the gradients at the moved point.' : '';
  return `The point was moved away from a ${placeOf(result)} ${times}.${table}`;
}

function placeOf({ diagnosis }: Found): 'tie' | 'kink' {
  return diagnosis.some((text) => text.includes(': at a tie ')) ? 'tie' : 'kink';
}

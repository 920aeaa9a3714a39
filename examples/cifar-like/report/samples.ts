/**
 * Test images for the report: which ones, and as PNG.
 */
import { PNG } from 'pngjs';
import { type Data, imageOf } from '../data.ts';
import type { Result } from '../table.ts';

export interface Group {
  readonly title: string;
  /** How many test images belong here. */
  readonly total: number;
  /** The first of them. */
  readonly indices: readonly number[];
}

/** The test images by which nets are right; groups without any are left out. */
export function groupsOf(results: readonly Result[], most = 8): Group[] {
  const [first, second] = results;
  if (first === undefined) return [];
  const right = (r: Result, i: number) => r.predictions[i] === r.labels[i];
  const all = Array.from(first.labels, (_, i) => i);
  const group = (title: string, belongs: (i: number) => boolean): Group => {
    const members = all.filter(belongs);
    return { title, total: members.length, indices: members.slice(0, most) };
  };
  const groups =
    second === undefined
      ? [group('Right', (i) => right(first, i)), group('Wrong', (i) => !right(first, i))]
      : [
          group(`Only ${second.title} is right`, (i) => right(second, i) && !right(first, i)),
          group('Both are right', (i) => right(second, i) && right(first, i)),
          group('Both are wrong', (i) => !right(second, i) && !right(first, i)),
          group(`Only the net ${first.title} is right`, (i) => !right(second, i) && right(first, i)),
        ];
  return groups.filter(({ total }) => total > 0);
}

/** A test image as a data: URL. */
export function imageUrl(data: Data, index: number): string {
  const { data: x, shape } = imageOf(data.test, index);
  const [channels, height, width] = [shape[0]!, shape[1]!, shape[2]!];
  const area = height * width;
  const png = new PNG({ width, height });
  for (let i = 0; i < area; i++) {
    for (let c = 0; c < 3; c++) png.data[4 * i + c] = Math.round(255 * x[(channels === 1 ? 0 : c) * area + i]!);
    png.data[4 * i + 3] = 255;
  }
  return `data:image/png;base64,${PNG.sync.write(png).toString('base64')}`;
}

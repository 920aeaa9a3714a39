/**
 * Selects test images for the report and encodes them as PNG.
 */
import { PNG } from 'pngjs';
import type { Dataset, ImageAndLabel } from 'chainrule/data';
import { imageOf } from '../data.ts';
import type { Result } from '../table.ts';

export interface Group {
  readonly title: string;
  /** Number of test images in the group. */
  readonly total: number;
  /** Indices of the first few of them. */
  readonly indices: readonly number[];
}

/** Groups the test images by the nets that classify them correctly. Empty groups are left out. */
export function groupsOf(results: readonly Result[], most = 8): Group[] {
  const [first, second] = results;
  if (first === undefined) return [];
  const isRight = (r: Result, i: number) => r.predictions[i] === r.labels[i];
  const all = Array.from(first.labels, (_, i) => i);
  const group = (title: string, belongs: (i: number) => boolean): Group => {
    const members = all.filter(belongs);
    return { title, total: members.length, indices: members.slice(0, most) };
  };
  const groups: Group[] = [];
  if (second === undefined) {
    groups.push(
      group('Right', (i) => isRight(first, i)),
      group('Wrong', (i) => !isRight(first, i)),
    );
  } else {
    groups.push(
      group(`Only ${second.title} is right`, (i) => isRight(second, i) && !isRight(first, i)),
      group('Both are right', (i) => isRight(second, i) && isRight(first, i)),
      group('Both are wrong', (i) => !isRight(second, i) && !isRight(first, i)),
      group(`Only the net ${first.title} is right`, (i) => !isRight(second, i) && isRight(first, i)),
    );
  }
  return groups.filter(({ total }) => total > 0);
}

/** Returns an image as a data: URL. */
export function imageUrl(images: Dataset<ImageAndLabel>, index: number): string {
  const { data: x, shape } = imageOf(images, index);
  const [channels, height, width] = shape as [number, number, number];
  const area = height * width;
  const png = new PNG({ width, height });
  for (let i = 0; i < area; i++) {
    for (let c = 0; c < 3; c++) {
      // A grey image has one channel for red, green and blue.
      const plane = channels === 1 ? 0 : c;
      png.data[4 * i + c] = Math.round(255 * x[plane * area + i]!);
    }
    png.data[4 * i + 3] = 255;
  }
  return `data:image/png;base64,${PNG.sync.write(png).toString('base64')}`;
}
